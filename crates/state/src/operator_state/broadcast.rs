//! A map without keys of the stream, the same on all subtasks.

use core::marker::PhantomData;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::OperatorState;
use super::part::{OperatorStateCodecs, Redistribution};
use super::slot::{Bytes, Declaration, Items, SlotId};
use crate::buffer::Scratch;
use crate::codec::{Codec, DefaultCodec};
use crate::error::{ErrorKind, Result, StateError};
use crate::migration::{Migrations, plan_migration};

/// A map from `K` to `V` that every subtask holds alike. Nothing enforces that: change it only in
/// answer to records that all subtasks see, and from them alone. Walks ascend by encoded key, so
/// that they agree on all subtasks too.
#[derive(Debug)]
pub struct BroadcastState<K, V, CK = DefaultCodec<K>, CV = DefaultCodec<V>> {
    id: SlotId,
    key_codec: CK,
    value_codec: CV,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, CK: Codec<K>, CV: Codec<V>> BroadcastState<K, V, CK, CV> {
    /// Registers the broadcast state called `name`, or finds it restored.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] if a state of that name has another redistribution or key codec,
    /// or another value codec that this one [does not offer](Codec::evolve_from) to read; one
    /// restored without the names of its codecs must decode with these. [`ErrorKind::Corrupt`] if
    /// restored items are no entries of a map; [`ErrorKind::InvalidArgument`] if no state can have
    /// that name; [`ErrorKind::ResourceExhausted`] past [`STATES_MAX`](crate::STATES_MAX) states.
    pub fn register(store: &mut OperatorState, name: &str) -> Result<Self> {
        Self::register_with(store, name, &Migrations::new())
    }

    /// As [`Self::register`]; values of older codecs are migrated along these steps, all of them
    /// now.
    ///
    /// # Errors
    /// As [`Self::register`], if no chain of steps leads to the declared codec; what a step
    /// returns, and then nothing was changed.
    pub fn register_with(
        store: &mut OperatorState,
        name: &str,
        migrations: &Migrations,
    ) -> Result<Self> {
        let (key_codec, value_codec) = (CK::default(), CV::default());
        let codecs =
            OperatorStateCodecs { key: Some(key_codec.identity()), value: value_codec.identity() };
        let id = store.declare(&Declaration {
            name,
            redistribution: Redistribution::Broadcast,
            codecs,
            check_key: &|bytes| key_codec.decode_all(bytes).map(drop),
            check_value: &|bytes| value_codec.decode_all(bytes).map(drop),
            plan_values: &|written| plan_migration::<V, CV>(written, migrations),
        })?;
        Ok(Self { id, key_codec, value_codec, types: PhantomData })
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// What the codecs report.
    pub fn get(&self, store: &OperatorState, key: &K) -> Result<Option<V>> {
        let key = self.encode_key(key)?;
        let value = self.entries(store)?.get(key.as_slice());
        value.map(|bytes| self.value_codec.decode_all(bytes)).transpose()
    }

    /// Whether there is a value under `key`.
    ///
    /// # Errors
    /// What the key's codec reports.
    pub fn contains(&self, store: &OperatorState, key: &K) -> Result<bool> {
        let key = self.encode_key(key)?;
        Ok(self.entries(store)?.contains_key(key.as_slice()))
    }

    /// Sets the value under `key`.
    ///
    /// # Errors
    /// What the codecs report.
    pub fn put(&self, store: &mut OperatorState, key: &K, value: &V) -> Result<()> {
        let key = self.encode_key(key)?;
        let mut bytes = Scratch::new();
        self.value_codec.encode_into(value, &mut bytes)?;
        let entries = self.entries_mut(store)?;
        entries.insert(Bytes::from(key.as_slice()), Bytes::from(bytes.as_slice()));
        Ok(())
    }

    /// Removes the value under `key`, if there is one.
    ///
    /// # Errors
    /// What the key's codec reports.
    pub fn remove(&self, store: &mut OperatorState, key: &K) -> Result<()> {
        let key = self.encode_key(key)?;
        if self.entries(store)?.contains_key(key.as_slice()) {
            self.entries_mut(store)?.remove(key.as_slice());
        }
        Ok(())
    }

    /// Calls `visit` with each entry, ascending by encoded key, without holding them all.
    ///
    /// # Errors
    /// What the codecs report.
    pub fn for_each(&self, store: &OperatorState, mut visit: impl FnMut(K, V)) -> Result<()> {
        for (key, value) in self.entries(store)? {
            visit(self.key_codec.decode_all(key)?, self.value_codec.decode_all(value)?);
        }
        Ok(())
    }

    /// Number of entries.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the handle is of another store.
    pub fn len(&self, store: &OperatorState) -> Result<usize> {
        Ok(self.entries(store)?.len())
    }

    /// Whether there are no entries.
    ///
    /// # Errors
    /// As [`Self::len`].
    pub fn is_empty(&self, store: &OperatorState) -> Result<bool> {
        Ok(self.entries(store)?.is_empty())
    }

    /// Removes all entries. The state itself stays, empty.
    ///
    /// # Errors
    /// As [`Self::len`].
    pub fn clear(&self, store: &mut OperatorState) -> Result<()> {
        self.entries(store)?;
        *store.slot_mut(self.id)?.items_mut() = Items::Map(Arc::default());
        Ok(())
    }

    fn encode_key(&self, key: &K) -> Result<Scratch> {
        let mut bytes = Scratch::new();
        self.key_codec.encode_into(key, &mut bytes)?;
        Ok(bytes)
    }

    fn entries<'s>(&self, store: &'s OperatorState) -> Result<&'s BTreeMap<Bytes, Bytes>> {
        match store.items(self.id)? {
            Items::Map(entries) => Ok(entries),
            Items::List(_) => Err(no_map()),
        }
    }

    fn entries_mut<'s>(
        &self,
        store: &'s mut OperatorState,
    ) -> Result<&'s mut BTreeMap<Bytes, Bytes>> {
        match store.slot_mut(self.id)?.items_mut() {
            Items::Map(entries) => Ok(Arc::make_mut(entries)),
            Items::List(_) => Err(no_map()),
        }
    }
}

#[cold]
fn no_map() -> StateError {
    StateError::new(
        ErrorKind::InvalidArgument,
        "the operator state is no broadcast state: handles are not valid across stores",
    )
}
