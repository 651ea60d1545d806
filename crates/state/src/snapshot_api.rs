//! What backends speak when state is taken out or put in: entries in canonical order, a task that
//! writes them, a source that yields them. No bytes on disk and no store are known here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::descriptor::StateDescriptor;
use crate::error::{ErrorKind, Result, StateError};
use crate::id::CheckpointId;
use crate::key_group::KeyGroup;

/// One entry of a canonical snapshot.
///
/// A list state's entry holds the concatenation of its encoded elements; a map state has one entry
/// for each user key, so an empty map has none. A value of no bytes is an entry like any other;
/// typed list states never store one, since an empty list and no list are the same there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry<'a> {
    /// The key group of the key.
    pub group: KeyGroup,
    /// Index of the entry's state in the list of descriptors given with the snapshot.
    pub state: u16,
    /// Encoded key.
    pub key: &'a [u8],
    /// Encoded namespace; empty for the void namespace.
    pub namespace: &'a [u8],
    /// Encoded user key; empty for all but map states.
    pub user_key: &'a [u8],
    /// Encoded value.
    pub value: &'a [u8],
}

/// Takes the entries of one canonical snapshot.
pub trait EntrySink {
    /// Starts the snapshot: `states` are the descriptors that entries refer to by index. Called
    /// once, before any entry.
    ///
    /// # Errors
    /// What the sink meets in writing.
    fn begin(&mut self, states: &[StateDescriptor]) -> Result<()>;

    /// Takes the next entry. Entries come sorted by key group, state index, key, namespace and user
    /// key, each at most once.
    ///
    /// # Errors
    /// What the sink meets in writing; [`ErrorKind::InvalidArgument`] if the order is broken.
    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()>;
}

/// Yields the entries of one snapshot, or of the part of it that was asked for.
pub trait EntrySource {
    /// The descriptors that entries refer to by index.
    fn states(&self) -> &[StateDescriptor];

    /// The next entry in canonical order, or `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] naming file, offset and key group for damaged bytes;
    /// [`ErrorKind::Io`] if they cannot be read.
    fn next_entry(&mut self) -> Result<Option<SnapshotEntry<'_>>>;
}

/// In which form a snapshot is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SnapshotForm {
    /// All entries, in canonical order.
    Canonical,
    /// The backend's own files, if it has such a form: only what storage does not have is written.
    Incremental,
}

/// What a snapshot is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotRequest {
    /// The checkpoint that the snapshot belongs to.
    pub checkpoint: CheckpointId,
    /// The form that is wanted.
    pub form: SnapshotForm,
}

impl SnapshotRequest {
    /// A full snapshot for `checkpoint`.
    #[must_use]
    pub const fn full(checkpoint: CheckpointId) -> Self {
        Self { checkpoint, form: SnapshotForm::Canonical }
    }

    /// An incremental snapshot for `checkpoint`.
    #[must_use]
    pub const fn incremental(checkpoint: CheckpointId) -> Self {
        Self { checkpoint, form: SnapshotForm::Incremental }
    }
}

/// What a finished snapshot says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SnapshotSummary {
    /// Entries written.
    pub entries: u64,
    /// Of those, how many changed since the last completed checkpoint that the backend was told of.
    pub entries_changed: u64,
}

/// The asynchronous part of a snapshot: owns the state as it was at the barrier, runs on any
/// thread, and releases what it holds when it ends or is dropped.
pub trait SnapshotTask: Send {
    /// Writes the state as it was when the snapshot was taken to `sink`, in canonical order.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] at most 10,000 entries after `cancel` is set; what the sink
    /// reports.
    fn run(
        self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary>;
}

/// Tells a running snapshot to stop. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag, for good.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Fails once the flag is set.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`].
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(StateError::new(ErrorKind::Cancelled, "the snapshot was cancelled"));
        }
        Ok(())
    }
}
