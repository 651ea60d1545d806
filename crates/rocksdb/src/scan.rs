//! Walks over the entries of a state.
//!
//! The keys of one state lie together within each key group: a walk seeks to the state in each key
//! group that has it. A map is met once: its further keys are stepped over, many of them by a seek.

use core::ops::ControlFlow;

use millpond_state::{EntryVisitor, KeyGroup, KeyGroupRange, KeyedBackend, Result, StateId};
use rocksdb::DBRawIterator;

use crate::backend::RocksDbBackend;
use crate::buffer::Overlay;
use crate::error::foreign_key;
use crate::layout::{self, Parts};
use crate::store::check_ended;
use crate::tuning::scan_read_options;

/// Keys of one map that are stepped over one by one before a seek passes the rest.
const STEPS_MAX: usize = 16;

impl RocksDbBackend {
    /// [`KeyedBackend::visit_entries`] of a known state.
    pub(crate) fn walk_entries(
        &mut self,
        state: StateId,
        groups: KeyGroupRange,
        namespace: Option<&[u8]>,
        visit: &mut EntryVisitor<'_>,
    ) -> Result<()> {
        let wanted = namespace.map(|namespace| {
            let mut escaped = Vec::with_capacity(namespace.len() + 2);
            layout::push_namespace(&mut escaped, namespace);
            escaped
        });
        let (mut key, mut namespace) = (Vec::new(), Vec::new());
        self.walk(state, groups, &mut |entry| {
            if wanted.as_ref().is_some_and(|wanted| wanted != entry.namespace.bytes) {
                return Ok(ControlFlow::Continue(()));
            }
            let key = entry.key.plain(&mut key);
            visit(entry.group, key, entry.namespace.plain(&mut namespace))
        })
    }

    /// [`KeyedBackend::entry_count`] of a known state.
    pub(crate) fn count_entries(&mut self, state: StateId) -> Result<u64> {
        let mut count = 0;
        let groups = self.key_groups();
        self.walk(state, groups, &mut |_| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(count)
    }

    /// Calls `visit` for each entry of a state in those of `groups` that this instance owns.
    fn walk(
        &mut self,
        state: StateId,
        groups: KeyGroupRange,
        visit: &mut dyn FnMut(&Parts<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let own = self.key_groups();
        let first = groups.first().max(own.first());
        let last = groups.last().min(own.last());
        let is_map = self.registry.get(state)?.kind().is_map();
        let mut keys = match &mut self.tables.buffer {
            Some(buffer) => Walk::Buffered(buffer.walk_keys(scan_read_options())?),
            None => Walk::Plain(self.tables.store.iterator(scan_read_options())?),
        };
        let mut entry = Vec::new();
        keys.seek(&layout::scope(first, state))?;
        while let Some(key) = keys.key() {
            let parts = layout::parts(key).ok_or_else(|| foreign_key(key))?;
            if parts.group > last {
                return Ok(());
            }
            if parts.state != state {
                let Some(next) = next_scope(&parts, state) else { return Ok(()) };
                keys.seek(&next)?;
                continue;
            }
            if visit(&parts)?.is_break() {
                return Ok(());
            }
            if is_map {
                entry.clear();
                entry.extend_from_slice(parts.entry);
                pass_map(&mut keys, &mut entry)?;
            } else {
                keys.next()?;
            }
        }
        Ok(())
    }
}

/// A walk over keys: of the database, or of the buffer and the database.
enum Walk<'a> {
    Plain(DBRawIterator<'a>),
    Buffered(Overlay<'a>),
}

impl Walk<'_> {
    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(keys) => keys.key(),
            Self::Buffered(keys) => keys.key(),
        }
    }

    fn next(&mut self) -> Result<()> {
        match self {
            Self::Plain(keys) => keys.next(),
            Self::Buffered(keys) => return keys.advance().map(drop),
        }
        self.check()
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        match self {
            Self::Plain(keys) => keys.seek(key),
            Self::Buffered(keys) => {
                keys.seek(key);
                return keys.advance().map(drop);
            }
        }
        self.check()
    }

    /// Fails if the walk ended for another reason than its end.
    fn check(&self) -> Result<()> {
        match self {
            Self::Plain(keys) if !keys.valid() => check_ended(keys),
            _ => Ok(()),
        }
    }
}

/// Where the next entries of `state` may be, seen from an entry of another state.
fn next_scope(from: &Parts<'_>, state: StateId) -> Option<[u8; layout::SCOPE_BYTES]> {
    let group = from.group.get();
    let group = if from.state < state { group } else { group.checked_add(1)? };
    Some(layout::scope(KeyGroup::new(group), state))
}

/// Moves behind the keys of a map.
fn pass_map(keys: &mut Walk<'_>, entry: &mut [u8]) -> Result<()> {
    for _ in 0..STEPS_MAX {
        keys.next()?;
        if !keys.key().is_some_and(|key| key.starts_with(entry)) {
            return Ok(());
        }
    }
    layout::to_end_of_entry(entry);
    keys.seek(entry)
}
