//! Operator state: what a subtask keeps that belongs to no key, such as the offsets of a source or
//! the rules of a broadcast stream.
//!
//! - A **split** list is a bag of items: on a restore at another parallelism they are dealt out in
//!   turn, each to one subtask.
//! - A **union** list is handed whole to every subtask, which picks what it needs.
//! - **Broadcast** state is a map that is the same on all subtasks; each gets one copy.
//!
//! One [`OperatorState`] holds all operator state of one subtask, in memory, as encoded bytes.
//! [`OperatorList`] and [`BroadcastState`] are typed handles on it; like the handles of keyed state
//! they hold no data, are valid for the store they were registered with, and what they return is
//! owned by the caller. Reading takes `&OperatorState` and changing `&mut OperatorState`, so
//! nothing changes under an iteration.
//!
//! [`OperatorStatePart`] is one state as bytes, as checkpoints keep it. A state that was restored
//! and is not declared again goes into every later snapshot as it is, until it is
//! [discarded](OperatorState::discard).
//!
//! On restore the codecs that wrote a state are compared with those declared, by the rules of
//! [migration](crate::migration): keys as they are, items and values as they are or migrated, all
//! at once, when the state is registered.
//!
//! Failures leave the store as it was.
//!
//! ```
//! use millpond_state::{CancelFlag, OperatorState};
//!
//! let mut store = OperatorState::new();
//! let offsets = store.split_list::<(u32, u64)>("offsets")?;
//! offsets.add(&mut store, &(0, 1_700))?;
//! let rules = store.broadcast::<String, f64>("rules")?;
//! rules.put(&mut store, &"limit".to_owned(), &9.5)?;
//!
//! let parts = store.snapshot().run(&CancelFlag::new())?;
//! let mut restored = OperatorState::restore(parts)?;
//! let rules = restored.broadcast::<String, f64>("rules")?;
//! assert_eq!(rules.get(&restored, &"limit".to_owned())?, Some(9.5));
//! # Ok::<(), millpond_state::StateError>(())
//! ```

mod broadcast;
mod list;
mod part;
mod slot;
mod snapshot;

pub use broadcast::BroadcastState;
pub use list::OperatorList;
pub use part::{OperatorStateCodecs, OperatorStatePart, Redistribution};
pub use snapshot::OperatorStateSnapshot;

use crate::codec::HasCodec;
use crate::error::{ErrorKind, Result, StateError};
use crate::registry::STATES_MAX;
use slot::{Declaration, Items, Slot, SlotId};

/// All operator state of one subtask. `Send` and `Sync`; one writer at a time.
#[derive(Debug, Default)]
pub struct OperatorState {
    slots: Vec<Slot>,
}

impl OperatorState {
    /// An empty store.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: Vec::new() }
    }

    /// The store of a restored subtask. Parts of one name are put together in their order; they
    /// must be of one kind.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] if parts of one name differ in redistribution or codecs;
    /// [`ErrorKind::InvalidArgument`] for a name that no state can have;
    /// [`ErrorKind::ResourceExhausted`] past [`STATES_MAX`] states.
    pub fn restore(parts: impl IntoIterator<Item = OperatorStatePart>) -> Result<Self> {
        let mut store = Self::new();
        for part in parts {
            match store.find(&part.name) {
                Some(id) => store.slot_mut(id)?.extend(part)?,
                None => {
                    let slot = Slot::restored(part)?;
                    store.push(slot)?;
                }
            }
        }
        Ok(store)
    }

    /// Registers the split list called `name`, or finds it restored. For a codec other than the
    /// type's own see [`OperatorList::register_split`].
    ///
    /// # Errors
    /// As [`OperatorList::register_split`].
    pub fn split_list<T: HasCodec>(&mut self, name: &str) -> Result<OperatorList<T>> {
        OperatorList::register_split(self, name)
    }

    /// Registers the union list called `name`, or finds it restored. For a codec other than the
    /// type's own see [`OperatorList::register_union`].
    ///
    /// # Errors
    /// As [`OperatorList::register_union`].
    pub fn union_list<T: HasCodec>(&mut self, name: &str) -> Result<OperatorList<T>> {
        OperatorList::register_union(self, name)
    }

    /// Registers the broadcast state called `name`, or finds it restored. For codecs other than
    /// the types' own see [`BroadcastState::register`].
    ///
    /// # Errors
    /// As [`BroadcastState::register`].
    pub fn broadcast<K: HasCodec, V: HasCodec>(
        &mut self,
        name: &str,
    ) -> Result<BroadcastState<K, V>> {
        BroadcastState::register(self, name)
    }

    /// Freezes all states. Takes time by the number of states, not by what is in them: items are
    /// shared until the store changes them.
    pub fn snapshot(&self) -> OperatorStateSnapshot {
        OperatorStateSnapshot::new(self.slots.clone())
    }

    /// Names of the restored states that nobody has declared, in order of restore.
    pub fn undeclared(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter(|slot| !slot.is_declared()).map(Slot::name)
    }

    /// Drops a restored state that nobody has declared, so that later snapshots do not have it.
    /// Returns whether there was one of that name.
    pub fn discard(&mut self, name: &str) -> bool {
        // Slots are addressed by position, so a discarded one stays, empty and without a name.
        let found = self.slots.iter_mut().find(|slot| slot.name() == name && !slot.is_declared());
        found.map(Slot::discard).is_some()
    }

    fn declare(&mut self, declaration: &Declaration<'_>) -> Result<SlotId> {
        match self.find(declaration.name) {
            Some(id) => {
                self.slot_mut(id)?.declare(declaration)?;
                Ok(id)
            }
            None => self.push(Slot::new(declaration)?),
        }
    }

    fn push(&mut self, slot: Slot) -> Result<SlotId> {
        if self.slots.len() >= STATES_MAX {
            return Err(StateError::new(
                ErrorKind::ResourceExhausted,
                format!("a subtask has at most {STATES_MAX} operator states"),
            ));
        }
        self.slots.push(slot);
        Ok(SlotId(self.slots.len() - 1))
    }

    fn find(&self, name: &str) -> Option<SlotId> {
        // The empty name is that of discarded slots.
        let found = |slot: &Slot| slot.name() == name && !name.is_empty();
        self.slots.iter().position(found).map(SlotId)
    }

    fn items(&self, id: SlotId) -> Result<&Items> {
        self.slots.get(id.0).map(Slot::items).ok_or_else(unknown)
    }

    fn slot_mut(&mut self, id: SlotId) -> Result<&mut Slot> {
        self.slots.get_mut(id.0).ok_or_else(unknown)
    }
}

#[cold]
fn unknown() -> StateError {
    StateError::new(
        ErrorKind::InvalidArgument,
        "the operator state is not registered with this store: handles are not valid across stores",
    )
}

#[cfg(test)]
mod tests;
