//! What all tables of a backend instance share: the epoch, the account of memory, scratch space.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_snapshot::ChangeKind;
use millpond_state::{ErrorKind, Result, StateError};

use crate::options::MemoryOptions;
use crate::segment::Segment;
use crate::tombstones::Tombstones;

/// State of a backend instance that is not in its tables.
#[derive(Debug)]
pub(crate) struct Env {
    /// The epoch that writes are stamped with; grows with each snapshot.
    pub(crate) epoch: u32,
    /// Counts the changes that may move entries, so that a batch knows whether places that it
    /// looked up before are still good.
    pub(crate) moves: u64,
    /// Memory held by the live tables.
    memory_bytes: u64,
    memory_bytes_max: u64,
    /// Whether the bound doesn't hold just now: deleting may copy a segment to make room.
    is_deleting: bool,
    /// What was deleted since the last confirmed incremental checkpoint.
    pub(crate) tombstones: Tombstones,
    tombstone_percent_max: u32,
    /// Memory that only snapshots hold.
    pub(crate) detached: DetachedBytes,
    /// Offsets and hashes of a segment that is being rebuilt.
    pub(crate) offsets: Vec<(u32, u64)>,
    /// A small value or map that is being put together.
    pub(crate) bytes: Vec<u8>,
}

impl Env {
    /// The environment of an empty backend with these settings.
    pub(crate) fn new(options: MemoryOptions) -> Self {
        Self {
            epoch: 1,
            moves: 0,
            memory_bytes: 0,
            memory_bytes_max: options.memory_bytes_max.unwrap_or(u64::MAX),
            is_deleting: false,
            tombstones: Tombstones::default(),
            tombstone_percent_max: options.incremental.tombstone_percent_max,
            detached: DetachedBytes::default(),
            offsets: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Memory held by tables and snapshots.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let scratch = self.offsets.capacity() * size_of::<(u32, u64)>() + self.bytes.capacity();
        let noted = self.tombstones.memory_bytes();
        self.memory_bytes + self.detached.get() + scratch as u64 + noted
    }

    /// Notes that something was deleted in the table that the tombstones were told of.
    #[inline]
    pub(crate) fn note_deleted(&mut self, entry: (&[u8], &[u8]), deleted: (ChangeKind, &[u8])) {
        if self.tombstones.is_on() {
            let percent = u64::from(self.tombstone_percent_max);
            let bytes_max = self.memory_bytes.saturating_mul(percent) / 100;
            self.tombstones.note(entry, deleted, bytes_max);
        }
    }

    /// Notes that something held `before` bytes and holds `after` now.
    pub(crate) const fn account(&mut self, before: usize, after: usize) {
        self.memory_bytes = (self.memory_bytes + after as u64).saturating_sub(before as u64);
    }

    /// Deletes something, without regard to the bound.
    pub(crate) fn delete<R>(&mut self, delete: impl FnOnce(&mut Self) -> R) -> R {
        self.is_deleting = true;
        let result = delete(self);
        self.is_deleting = false;
        result
    }

    /// Checks that memory may grow by `bytes`.
    pub(crate) fn admit(&self, bytes: usize) -> Result<()> {
        if self.memory_bytes_max == u64::MAX || self.is_deleting {
            return Ok(());
        }
        let wanted = self.memory_bytes().saturating_add(bytes as u64);
        if wanted <= self.memory_bytes_max { Ok(()) } else { Err(self.over_bound(wanted)) }
    }

    #[cold]
    fn over_bound(&self, wanted: u64) -> StateError {
        StateError::new(
            ErrorKind::ResourceExhausted,
            format!(
                "the write may take the memory backend to {wanted} bytes, past its bound of {} \
                 bytes: raise memory_bytes_max, delete state or use a backend on disk",
                self.memory_bytes_max
            ),
        )
    }
}

/// Bytes of the buffers of segments that a writer replaced while a snapshot still needs them.
/// Shared between the writer, which adds, and whoever lets go of a segment last, who subtracts.
/// Side objects are not in it: the copy shares them until they change.
#[derive(Clone, Debug, Default)]
pub(crate) struct DetachedBytes(Arc<AtomicU64>);

impl DetachedBytes {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that the writer is about to let go of a segment whose buffers have `bytes`. Call it
    /// before letting go.
    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Lets go of a segment that the live table no longer refers to, or that a snapshot is done
    /// with. The one who is last takes its bytes off the account; if that is the snapshot of a
    /// table that still refers to the segment, it isn't last.
    pub(crate) fn release(&self, segment: Arc<Segment>) {
        if let Some(segment) = Arc::into_inner(segment) {
            let bytes = segment.buffer_bytes() as u64;
            // Saturates because a dropped backend lets go without adding first.
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                Some(held.saturating_sub(bytes))
            });
        }
    }
}
