//! Migrating one key group at a time, and remembering which are done.

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::StoredPlan;
use crate::backend::KeyedBackend;
use crate::buffer::Scratch;
use crate::entry::EntryKey;
use crate::error::{ErrorKind, Result, StateError};
use crate::id::StateId;
use crate::key_group::{KeyGroup, KeyGroupRange};

/// A migration under way: shared by all handles of the state, through its descriptor.
#[derive(Debug)]
pub(crate) struct PendingMigration {
    state: String,
    plan: StoredPlan,
    is_map: bool,
    groups: KeyGroupRange,
    /// One bit for each key group of `groups`.
    done: Vec<AtomicU64>,
    /// Set if a key group was left in pieces: storing failed, and so did taking it back.
    broken: AtomicBool,
}

/// Migrates `group` of `state` if a migration is under way and has not come to it.
pub(crate) fn ensure_migrated<B: KeyedBackend + ?Sized>(
    backend: &mut B,
    state: StateId,
    group: KeyGroup,
) -> Result<()> {
    let pending = backend.states().get(state.index()).and_then(|known| known.migration().cloned());
    match pending {
        Some(pending) => pending.ensure(backend, state, group),
        None => Ok(()),
    }
}

impl PendingMigration {
    pub(super) fn new(state: &str, plan: StoredPlan, is_map: bool, groups: KeyGroupRange) -> Self {
        let words = groups.count().div_ceil(64);
        let done = (0..words).map(|_| AtomicU64::new(0)).collect();
        let (state, broken) = (state.to_owned(), AtomicBool::new(false));
        Self { state, plan, is_map, groups, done, broken }
    }

    /// Migrates `group` unless that is done.
    #[inline]
    pub(crate) fn ensure<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        id: StateId,
        group: KeyGroup,
    ) -> Result<()> {
        if self.is_done(group) { Ok(()) } else { self.migrate(backend, id, group) }
    }

    /// The plan, and which key groups it still has to be applied to: as of now.
    pub(crate) fn freeze(&self) -> FrozenMigration {
        let done = self.done.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        let broken = self.broken.load(Ordering::Relaxed).then(|| self.state.clone());
        let (plan, groups, now) = (self.plan.clone(), self.groups, self.plan.now());
        FrozenMigration { plan, groups, done, now, broken }
    }

    /// Whether every key group is done.
    pub(crate) fn is_complete(&self) -> bool {
        self.groups.iter().all(|group| self.is_done(group))
    }

    /// Converts all values and keeps none, to see whether it fails.
    pub(super) fn rehearse<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        id: StateId,
    ) -> Result<()> {
        self.groups.iter().try_for_each(|group| self.convert(backend, id, group).map(drop))
    }

    /// A key group that is not of this backend counts as done: the backend will refuse it.
    #[inline]
    fn is_done(&self, group: KeyGroup) -> bool {
        let Some((word, bit)) = bit_of(self.groups, group) else { return true };
        self.done.get(word).is_none_or(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Converts all values of the key group, then stores them all: if converting fails, nothing was
    /// changed; if storing does, it is taken back.
    #[cold]
    #[inline(never)]
    fn migrate<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        id: StateId,
        group: KeyGroup,
    ) -> Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(is_broken(&self.state));
        }
        let converted = self.convert(backend, id, group)?;
        for (index, value) in converted.iter().enumerate() {
            let Err(error) = value.store(backend, id, group, &value.new) else { continue };
            let mut stored = converted.iter().take(index + 1);
            if stored.try_for_each(|value| value.store(backend, id, group, &value.old)).is_err() {
                self.broken.store(true, Ordering::Relaxed);
            }
            return Err(error.context(format!(
                "state {:?}: storing the migrated values of key group {group}",
                self.state
            )));
        }
        if let Some((word, bit)) = bit_of(self.groups, group)
            && let Some(word) = self.done.get(word)
        {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }

    fn convert<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        id: StateId,
        group: KeyGroup,
    ) -> Result<Vec<Converted>> {
        let now = self.plan.now();
        let context = |error: StateError| {
            error.context(format!("state {:?}: migrating key group {group}", self.state))
        };
        let convert = |stored: &[u8]| {
            let mut new = Scratch::new();
            self.plan.convert(stored, now, &mut new).map_err(context)?;
            Ok((stored.to_vec(), new.as_slice().to_vec()))
        };
        let mut converted = Vec::new();
        for (key, namespace) in addresses(backend, id, group)? {
            let at = EntryKey::in_group(&key, group).in_namespace(&namespace);
            if self.is_map {
                backend.map_visit(id, at, &mut |user_key, edit| {
                    let (old, new) = convert(edit.current().unwrap_or_default())?;
                    let (key, namespace) = (key.clone(), namespace.clone());
                    let user_key = Some(user_key.to_vec());
                    converted.push(Converted { key, namespace, user_key, old, new });
                    Ok(ControlFlow::Continue(()))
                })?;
            } else if let Some(stored) = backend.get(id, at)? {
                let (old, new) = convert(stored)?;
                converted.push(Converted { key, namespace, user_key: None, old, new });
            }
        }
        Ok(converted)
    }
}

#[cold]
fn is_broken(state: &str) -> StateError {
    StateError::new(
        ErrorKind::InvalidArgument,
        format!(
            "state {state:?}: a migration failed half way and could not be taken back: drop this \
             backend and restore again"
        ),
    )
}

/// A [`PendingMigration`] as it was at one instant.
#[derive(Debug)]
pub(crate) struct FrozenMigration {
    plan: StoredPlan,
    groups: KeyGroupRange,
    done: Vec<u64>,
    now: i64,
    /// The state's name, if a key group was left in pieces.
    broken: Option<String>,
}

impl FrozenMigration {
    /// Appends what the entry `stored` becomes; `false` if it was migrated already.
    pub(crate) fn convert(
        &self,
        group: KeyGroup,
        stored: &[u8],
        out: &mut Scratch,
    ) -> Result<bool> {
        let Some((word, bit)) = bit_of(self.groups, group) else { return Ok(false) };
        if self.done.get(word).is_none_or(|word| word & bit != 0) {
            return Ok(false);
        }
        if let Some(state) = &self.broken {
            return Err(is_broken(state));
        }
        self.plan.convert(stored, self.now, out)?;
        Ok(true)
    }
}

/// The word and bit that stand for `group`, if it is one of `groups`.
#[inline]
fn bit_of(groups: KeyGroupRange, group: KeyGroup) -> Option<(usize, u64)> {
    if !groups.contains(group) {
        return None;
    }
    let index = group.index() - groups.first().index();
    Some((index / 64, 1 << (index % 64)))
}

/// Key and namespace of each entry of a key group.
fn addresses<B: KeyedBackend + ?Sized>(
    backend: &mut B,
    id: StateId,
    group: KeyGroup,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut addresses = Vec::new();
    backend.visit_entries(
        id,
        KeyGroupRange::new(group, group)?,
        None,
        &mut |_, key, namespace| {
            addresses.push((key.to_vec(), namespace.to_vec()));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(addresses)
}

/// A value before and after.
struct Converted {
    key: Vec<u8>,
    namespace: Vec<u8>,
    user_key: Option<Vec<u8>>,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Converted {
    fn store<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        id: StateId,
        group: KeyGroup,
        value: &[u8],
    ) -> Result<()> {
        let at = EntryKey::in_group(&self.key, group).in_namespace(&self.namespace);
        match &self.user_key {
            None => backend.put(id, at, value),
            Some(user_key) => backend.map_put(id, at, user_key, value),
        }
    }
}
