//! The asynchronous part of a snapshot: an iterator over a RocksDB snapshot.
//!
//! Taking a RocksDB snapshot notes a sequence number and nothing else. Until it is let go,
//! compactions keep the versions that it shows.
//!
//! # Invariants
//! - The order of keys is the canonical order, so that entries stream and nothing is held but the
//!   present one.
//! - An iterator pins the write buffers and files that existed when it was made. It is made anew
//!   every so often, so that a long snapshot does not keep what was flushed and compacted since.
//! - The task shares the store: the database stays open, and its folder in place, until the last
//!   task ends or is dropped.

use std::sync::Arc;

use millpond_state::{
    CancelFlag, EntrySink, KeyGroupRange, Result, SnapshotEntry, SnapshotSummary, SnapshotTask,
    StateDescriptor,
};
use rocksdb::{DBRawIterator, Snapshot};

use crate::error::foreign_key;
use crate::expiry::Hold;
use crate::layout;
use crate::store::{Store, check_ended};
use crate::tuning::range_read_options;

/// Entries written between two looks at the cancel flag.
const CANCEL_CHECK_ENTRIES: u64 = 256;

/// Bytes of entries written by one iterator.
const ITERATOR_BYTES_MAX: usize = 64 << 20;

self_cell::self_cell!(
    /// A RocksDB snapshot together with the database that it borrows.
    struct HeldSnapshot {
        owner: Arc<Store>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// A snapshot that was taken and is to be written.
pub(crate) struct RocksDbSnapshot {
    states: Vec<StateDescriptor>,
    held: HeldSnapshot,
    key_groups: KeyGroupRange,
    _hold: Hold,
}

impl RocksDbSnapshot {
    /// Takes a snapshot of what `store` holds now of `key_groups`; `hold` keeps it from expiring.
    pub(crate) fn take(
        states: Vec<StateDescriptor>,
        store: Arc<Store>,
        key_groups: KeyGroupRange,
        hold: Hold,
    ) -> Self {
        let held = HeldSnapshot::new(store, |store| store.snapshot());
        Self { states, held, key_groups, _hold: hold }
    }

    /// An iterator over what it shows.
    fn items(&self) -> Result<DBRawIterator<'_>> {
        let family = self.held.borrow_owner().family()?;
        let options = range_read_options(self.key_groups);
        Ok(self.held.borrow_dependent().raw_iterator_cf_opt(family, options))
    }
}

impl SnapshotTask for RocksDbSnapshot {
    fn run(
        self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary> {
        cancel.check()?;
        sink.begin(&self.states)?;
        let mut out = Output { sink, cancel, entries: 0, key: Vec::new(), namespace: Vec::new() };
        let mut from = Vec::new();
        while out.write_some(self.items()?, &mut from)? {}
        let mut summary = SnapshotSummary::default();
        summary.entries = out.entries;
        summary.entries_changed = out.entries;
        Ok(summary)
    }
}

/// Where entries go.
struct Output<'a> {
    sink: &'a mut dyn EntrySink,
    cancel: &'a CancelFlag,
    entries: u64,
    key: Vec<u8>,
    namespace: Vec<u8>,
}

impl Output<'_> {
    /// Writes what `items` yield at `from` and behind. Tells whether there is more, and moves
    /// `from` there.
    fn write_some(&mut self, mut items: DBRawIterator<'_>, from: &mut Vec<u8>) -> Result<bool> {
        items.seek(&from[..]);
        let mut bytes = 0;
        while let Some((key, value)) = items.item() {
            if bytes >= ITERATOR_BYTES_MAX {
                from.clear();
                from.extend_from_slice(key);
                return Ok(true);
            }
            bytes += key.len() + value.len();
            self.write(key, value)?;
            items.next();
        }
        check_ended(&items)?;
        Ok(false)
    }

    #[inline]
    fn write(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.entries.is_multiple_of(CANCEL_CHECK_ENTRIES) {
            self.cancel.check()?;
        }
        let parts = layout::parts(key).ok_or_else(|| foreign_key(key))?;
        self.entries += 1;
        self.sink.entry(&SnapshotEntry {
            group: parts.group,
            state: parts.state.get(),
            key: layout::unescape(parts.key, &mut self.key),
            namespace: layout::unescape(parts.namespace, &mut self.namespace),
            user_key: parts.user_key,
            value,
        })
    }
}
