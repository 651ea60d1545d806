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
use rocksdb::DBRawIterator;

use crate::buffer::{Frozen, HeldSnapshot};
use crate::error::foreign_key;
use crate::expiry::Hold;
use crate::layout;
use crate::store::check_ended;
use crate::tables::Tables;
use crate::tuning::range_read_options;

/// Entries written between two looks at the cancel flag.
const CANCEL_CHECK_ENTRIES: u64 = 256;

/// Bytes of entries written by one iterator.
const ITERATOR_BYTES_MAX: usize = 64 << 20;

/// What a snapshot shows.
enum Held {
    Plain(HeldSnapshot),
    /// The database, with what was in the buffer over it.
    Buffered(Frozen),
}

/// A snapshot that was taken and is to be written.
pub(crate) struct RocksDbSnapshot {
    states: Vec<StateDescriptor>,
    held: Held,
    key_groups: KeyGroupRange,
    _hold: Hold,
}

impl RocksDbSnapshot {
    /// Takes a snapshot of what `tables` hold now of `key_groups`; `hold` keeps it from expiring.
    pub(crate) fn take(
        states: Vec<StateDescriptor>,
        tables: &mut Tables,
        key_groups: KeyGroupRange,
        hold: Hold,
    ) -> Self {
        let held = match &mut tables.buffer {
            Some(buffer) => Held::Buffered(buffer.freeze_all()),
            None => Held::Plain(HeldSnapshot::new(Arc::clone(&tables.store), |it| it.snapshot())),
        };
        Self { states, held, key_groups, _hold: hold }
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
        let groups = self.key_groups;
        let (key, namespace) = (Vec::new(), Vec::new());
        let mut out = Output { sink, cancel, groups, entries: 0, key, namespace };
        match &self.held {
            Held::Plain(held) => {
                let mut from = Vec::new();
                while out.write_some(plain_items(held, groups)?, &mut from)? {}
            }
            Held::Buffered(frozen) => out.write_all(frozen)?,
        }
        let mut summary = SnapshotSummary::default();
        summary.entries = out.entries;
        summary.entries_changed = out.entries;
        Ok(summary)
    }
}

fn plain_items(held: &HeldSnapshot, groups: KeyGroupRange) -> Result<DBRawIterator<'_>> {
    let family = held.borrow_owner().family()?;
    Ok(held.borrow_dependent().raw_iterator_cf_opt(family, range_read_options(groups)))
}

/// Where entries go.
struct Output<'a> {
    sink: &'a mut dyn EntrySink,
    cancel: &'a CancelFlag,
    groups: KeyGroupRange,
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

    /// Writes what was in the buffer and below.
    fn write_all(&mut self, frozen: &Frozen) -> Result<()> {
        let mut entries = frozen.walk(range_read_options(self.groups))?;
        let mut bytes = 0;
        while entries.advance()? {
            let (key, value) = entries.entry();
            bytes += key.len() + value.len();
            self.write(key, value)?;
            if bytes >= ITERATOR_BYTES_MAX {
                bytes = 0;
                let from = entries.below_key().map(<[u8]>::to_vec);
                let Some(from) = from else { continue };
                let mut below = frozen.base().iterator(range_read_options(self.groups))?;
                below.seek(from);
                entries.set_below(below);
            }
        }
        Ok(())
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
            key: parts.key.plain(&mut self.key),
            namespace: parts.namespace.plain(&mut self.namespace),
            user_key: parts.user_key,
            value,
        })
    }
}
