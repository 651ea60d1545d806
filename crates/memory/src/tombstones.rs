//! What was deleted since the last confirmed incremental checkpoint, as append-only logs, one for
//! each epoch.
//!
//! # Invariants
//! - Off until the first incremental snapshot: whoever takes none pays nothing.
//! - A deletion is noted only once it has happened, so that an entry which is there although a log
//!   names it was written after that, and has a newer epoch than the deletions it must outlive.
//! - Logs of epochs above `complete_from` are complete. Past the bound all are dropped: the next
//!   snapshot is then a base.

use core::cmp::Ordering;
use std::sync::Arc;

use millpond_snapshot::ChangeKind;

/// Bytes of logs that are kept however small the state is.
const LOG_BYTES_FLOOR: u64 = 64 * 1_024;

/// Bytes before the key.
const HEADER_BYTES: usize = 11;

/// The deletions of one epoch, in the order in which they happened.
///
/// ```text
/// entry = state:u16 group:u16 kind:u8 key_len:u16 ns_len:u16 user_key_len:u16 key ns user_key
/// ```
#[derive(Debug)]
pub(crate) struct Log {
    epoch: u32,
    bytes: Vec<u8>,
}

/// Something that was deleted. The order is that of deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tombstone<'l> {
    pub(crate) group: u16,
    pub(crate) state: u16,
    pub(crate) key: &'l [u8],
    pub(crate) namespace: &'l [u8],
    pub(crate) change: ChangeKind,
    pub(crate) user_key: &'l [u8],
}

impl<'l> Tombstone<'l> {
    /// The state and key group.
    pub(crate) const fn table(&self) -> (u16, u16) {
        (self.group, self.state)
    }

    /// Compares key and namespace.
    pub(crate) fn compare_entry(&self, key: &[u8], namespace: &[u8]) -> Ordering {
        self.key.cmp(key).then_with(|| self.namespace.cmp(namespace))
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.table()
            .cmp(&other.table())
            .then_with(|| self.compare_entry(other.key, other.namespace))
            .then_with(|| self.change.cmp(&other.change))
            .then_with(|| self.user_key.cmp(other.user_key))
    }

    fn read(bytes: &'l [u8]) -> Option<(Self, &'l [u8])> {
        let (head, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [s0, s1, g0, g1, kind, k0, k1, n0, n1, u0, u1] = *head;
        let (key, rest) = rest.split_at_checked(u16::from_le_bytes([k0, k1]).into())?;
        let (namespace, rest) = rest.split_at_checked(u16::from_le_bytes([n0, n1]).into())?;
        let (user_key, rest) = rest.split_at_checked(u16::from_le_bytes([u0, u1]).into())?;
        let change = if kind == 0 { ChangeKind::Deleted } else { ChangeKind::MapDeleted };
        let (group, state) = (u16::from_le_bytes([g0, g1]), u16::from_le_bytes([s0, s1]));
        Some((Self { group, state, key, namespace, change, user_key }, rest))
    }
}

/// All tombstones of `logs`, sorted, each once.
pub(crate) fn sorted(logs: &[Arc<Log>]) -> Vec<Tombstone<'_>> {
    let mut all = Vec::new();
    for log in logs {
        let mut rest = log.bytes.as_slice();
        while let Some((tombstone, after)) = Tombstone::read(rest) {
            all.push(tombstone);
            rest = after;
        }
    }
    all.sort_unstable_by(Tombstone::compare);
    all.dedup();
    all
}

/// The logs of a backend instance.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    is_on: bool,
    /// Of the present epoch.
    open: Vec<u8>,
    /// Of earlier epochs, oldest first.
    sealed: Vec<Arc<Log>>,
    sealed_bytes: u64,
    complete_from: u32,
    /// The state and key group of the operation under way.
    table: (u16, u16),
}

impl Tombstones {
    /// Says which table the next deletions are of.
    #[inline]
    pub(crate) const fn set_table(&mut self, state: u16, group: u16) {
        self.table = (state, group);
    }

    /// Says which key group the next deletions are of.
    #[inline]
    pub(crate) const fn set_group(&mut self, group: u16) {
        self.table.1 = group;
    }

    /// Whether deletions are noted.
    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.sealed_bytes + self.open.capacity() as u64
    }

    /// Notes a deletion in the table that was set. Past `bytes_max`, all are dropped.
    pub(crate) fn note(
        &mut self,
        (key, namespace): (&[u8], &[u8]),
        (change, user_key): (ChangeKind, &[u8]),
        bytes_max: u64,
    ) {
        if !self.is_on {
            return;
        }
        let (state, group) = self.table;
        let kind = u8::from(change == ChangeKind::MapDeleted);
        self.open.extend_from_slice(&state.to_le_bytes());
        self.open.extend_from_slice(&group.to_le_bytes());
        self.open.push(kind);
        for part in [key, namespace, user_key] {
            // The limits of keys are those of the length field.
            self.open.extend_from_slice(&(part.len() as u16).to_le_bytes());
        }
        for part in [key, namespace, user_key] {
            self.open.extend_from_slice(part);
        }
        if self.memory_bytes() > bytes_max.max(LOG_BYTES_FLOOR) {
            *self = Self { table: self.table, ..Self::default() };
        }
    }

    /// Ends `epoch`. From an incremental snapshot on deletions are noted.
    pub(crate) fn seal(&mut self, epoch: u32, turn_on: bool) {
        if self.is_on && !self.open.is_empty() {
            let bytes = core::mem::take(&mut self.open);
            self.sealed_bytes += (bytes.capacity() + size_of::<Log>()) as u64;
            self.sealed.push(Arc::new(Log { epoch, bytes }));
        }
        if turn_on && !self.is_on {
            self.is_on = true;
            self.complete_from = epoch;
        }
    }

    /// The logs of the epochs above `epoch`; `None` if they are not complete.
    pub(crate) fn since(&self, epoch: u32) -> Option<Vec<Arc<Log>>> {
        let wanted = self.sealed.iter().filter(|log| log.epoch > epoch).cloned();
        (self.is_on && epoch >= self.complete_from).then(|| wanted.collect())
    }

    /// Forgets the epochs up to `epoch`, which are confirmed.
    pub(crate) fn forget(&mut self, epoch: u32) {
        self.sealed.retain(|log| log.epoch > epoch);
        let bytes = |log: &Arc<Log>| (log.bytes.capacity() + size_of::<Log>()) as u64;
        self.sealed_bytes = self.sealed.iter().map(bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(logs: &mut Tombstones, key: &[u8]) {
        logs.note((key, b""), (ChangeKind::Deleted, b""), 0);
    }

    #[test]
    fn tombstones_are_kept_from_the_first_seal_until_they_are_confirmed() {
        let mut logs = Tombstones::default();
        note(&mut logs, b"early");
        assert_eq!((logs.memory_bytes(), logs.since(0).is_none()), (0, true));
        logs.seal(1, true);
        logs.set_table(7, 3);
        note(&mut logs, b"b");
        note(&mut logs, b"a");
        logs.seal(2, true);
        note(&mut logs, b"a");
        logs.note((b"a", b"n"), (ChangeKind::MapDeleted, b""), 0);
        logs.seal(3, false);
        assert!(logs.since(0).is_none(), "epoch 1 was not logged");
        let since = logs.since(1).unwrap();
        let keys: Vec<_> = sorted(&since).iter().map(|it| (it.key, it.namespace)).collect();
        assert_eq!(keys, [(b"a".as_slice(), b"".as_slice()), (b"a", b"n"), (b"b", b"")]);
        assert!(sorted(&since).iter().all(|it| it.table() == (3, 7)));
        assert_eq!(sorted(&logs.since(2).unwrap()).len(), 2);
        logs.forget(2);
        assert_eq!(logs.since(2).unwrap().len(), 1);
        logs.forget(3);
        assert_eq!(logs.memory_bytes(), 0);
    }

    #[test]
    fn past_the_bound_all_are_dropped_and_the_next_seal_begins_anew() {
        let mut logs = Tombstones::default();
        logs.seal(1, true);
        // Each takes some bytes.
        for _ in 0..LOG_BYTES_FLOOR {
            if logs.is_on() {
                note(&mut logs, b"key");
            }
        }
        note(&mut logs, b"key");
        assert!(!logs.is_on() && logs.since(1).is_none());
        logs.seal(2, true);
        note(&mut logs, b"key");
        logs.seal(3, true);
        assert!(logs.since(1).is_none());
        assert_eq!(sorted(&logs.since(2).unwrap()).len(), 1);
    }
}
