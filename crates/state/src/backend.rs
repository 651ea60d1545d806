//! The byte-level contract of a keyed state backend.
//!
//! State is a map from (state, key group, key, namespace [, user key]) to bytes. A backend stores
//! and finds those bytes, enumerates them, and takes and restores snapshots; everything typed is
//! built once on top, in [`kinds`](crate::kinds). The public conformance suite of
//! `millpond-testkit` tests exactly what is written here.
//!
//! # Rules for implementers
//! - One writer: methods take `&mut self`, an instance belongs to one subtask and operator. It is
//!   `Send`, so that it may be created on one thread and used on another.
//! - Key context is an argument; there is no current key.
//! - An entry whose key group is outside [`KeyedBackend::key_groups`] is refused with
//!   [`ErrorKind::InvalidArgument`], reads included, and so is
//!   an unknown state id or an operation on the wrong kind of state.
//! - A failed write leaves the entry as it was. A failed batch has applied a prefix of its entries.
//! - Batches behave as if their entries were processed one by one in order, also when the same
//!   entry occurs twice.
//! - Any value, also the empty one, differs from an absent entry.
//!   An empty batch is still checked for its state and kind.
//! - Visitors may not reach the backend; they decide through [`Edit`]. A decision counts also when
//!   the visitor ends the walk with it, but not when the visitor fails.
//! - The task of each snapshot passes through
//!   [`filter_snapshot`](crate::StateRegistry::filter_snapshot) of the registry, and lists its
//!   [`persisted_descriptors`](crate::StateRegistry::persisted_descriptors).
//! - Plain reads and writes of values no longer than those stored before allocate nothing.

use core::ops::ControlFlow;

use crate::descriptor::StateDescriptor;
use crate::edit::Edit;
use crate::entry::EntryKey;
use crate::error::{ErrorKind, Result, StateError};
use crate::id::{CheckpointId, StateId};
use crate::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use crate::snapshot_api::{EntrySource, SnapshotRequest, SnapshotTask};
use crate::snapshot_files::{FileSource, FilesTask};

/// Decides about each entry of a batch: its position in the batch, and the edit.
pub type BatchVisitor<'v> = dyn FnMut(usize, &mut Edit<'_>) -> Result<()> + 'v;

/// Sees each user key of a map with its value as [`Edit::current`].
pub type MapVisitor<'v> = dyn FnMut(&[u8], &mut Edit<'_>) -> Result<ControlFlow<()>> + 'v;

/// Sees key group, key and namespace of each entry.
pub type EntryVisitor<'v> = dyn FnMut(KeyGroup, &[u8], &[u8]) -> Result<ControlFlow<()>> + 'v;

/// A keyed state backend, seen as bytes. See the [module](self) for the rules that all methods
/// share; each method's errors add [`ErrorKind::Io`] for backends that reach
/// a disk.
pub trait KeyedBackend: Send {
    /// The key groups that this instance owns.
    fn key_groups(&self) -> KeyGroupRange;

    /// The job's number of key groups.
    fn max_parallelism(&self) -> MaxParallelism;

    /// Registers a state, or finds it if a state of that name was registered or restored before.
    ///
    /// # Errors
    /// As [`StateRegistry::register`](crate::StateRegistry::register).
    fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId>;

    /// All registered and restored states, in order of their ids.
    fn states(&self) -> &[StateDescriptor];

    /// The value of an entry. For list states the concatenation of all appended bytes.
    ///
    /// # Errors
    /// See the module's rules.
    fn get<'a>(&'a mut self, state: StateId, at: EntryKey<'_>) -> Result<Option<&'a [u8]>>;

    /// Sets an entry's value. For list states this replaces the whole list.
    ///
    /// # Errors
    /// See the module's rules; [`ErrorKind::InvalidArgument`] if
    /// key, namespace or value pass their limits.
    fn put(&mut self, state: StateId, at: EntryKey<'_>, value: &[u8]) -> Result<()>;

    /// Deletes an entry, if there is one: a value, a whole list, a whole map.
    ///
    /// # Errors
    /// See the module's rules.
    fn delete(&mut self, state: StateId, at: EntryKey<'_>) -> Result<()>;

    /// Appends bytes to an entry's value; an absent entry starts out empty. Amortised cost is that
    /// of the appended bytes, not of the value.
    ///
    /// # Errors
    /// As [`Self::put`].
    fn append(&mut self, state: StateId, at: EntryKey<'_>, bytes: &[u8]) -> Result<()>;

    /// Reads many entries at once: `out[i]` becomes the value of `entries[i]`. Backends overlap the
    /// cache or disk misses of the entries; batches of 16 to 64 serve best.
    ///
    /// # Errors
    /// As [`Self::get`]; [`ErrorKind::InvalidArgument`] if the
    /// slices differ in length. On an error `out` is unspecified.
    fn get_many<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()>;

    /// Writes many entries at once: `entries[i]` becomes `values[i]`.
    ///
    /// # Errors
    /// As [`Self::put`]; [`ErrorKind::InvalidArgument`] if the
    /// slices differ in length.
    fn put_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        values: &[&[u8]],
    ) -> Result<()>;

    /// Reads, modifies and writes many entries at once: `change` sees each in order, with the
    /// effects of those before.
    ///
    /// # Errors
    /// As [`Self::put`], and what `change` returns: then the entries before it are changed, its own
    /// and those after are not.
    fn update_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()>;

    /// The value of one user key of a map.
    ///
    /// # Errors
    /// See the module's rules.
    fn map_get<'a>(
        &'a mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
    ) -> Result<Option<&'a [u8]>>;

    /// Sets the value of one user key of a map.
    ///
    /// # Errors
    /// As [`Self::put`].
    fn map_put(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
        value: &[u8],
    ) -> Result<()>;

    /// Removes one user key of a map, if it is there. A map without user keys is no entry.
    ///
    /// # Errors
    /// See the module's rules.
    fn map_remove(&mut self, state: StateId, at: EntryKey<'_>, user_key: &[u8]) -> Result<()>;

    /// Visits the user keys of one map in ascending byte order, each once, and applies what the
    /// visitor decides. Breaking ends the walk.
    ///
    /// # Errors
    /// See the module's rules, and what `visit` returns: decisions made before stay applied.
    fn map_visit(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        visit: &mut MapVisitor<'_>,
    ) -> Result<()>;

    /// Visits key and namespace of each entry of a state in the given key groups (those that this
    /// instance owns), key groups ascending, in any order within one; a map counts once. With
    /// `namespace`, only entries of that namespace.
    ///
    /// # Errors
    /// See the module's rules, and what `visit` returns.
    fn visit_entries(
        &mut self,
        state: StateId,
        groups: KeyGroupRange,
        namespace: Option<&[u8]>,
        visit: &mut EntryVisitor<'_>,
    ) -> Result<()>;

    /// How many entries (pairs of key and namespace) a state has; a map counts once.
    ///
    /// # Errors
    /// See the module's rules.
    fn entry_count(&mut self, state: StateId) -> Result<u64>;

    /// Bytes of memory that the instance holds for state and indexes, snapshots that still run
    /// included where they hold memory of their own.
    fn memory_bytes(&self) -> u64;

    /// The synchronous part of a snapshot: freezes the present state and returns the task that
    /// writes it. The cost does not depend on the size of values. Several snapshots may be under
    /// way at once; each shows the instant it was taken. Dropping the task cancels it.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceExhausted`] if the backend bounds
    /// the number of snapshots under way.
    fn snapshot(&mut self, request: &SnapshotRequest) -> Result<Box<dyn SnapshotTask>>;

    /// The synchronous part of a snapshot in the backend's native form, if `request` wants an
    /// incremental one and the backend has such a form; `None`, with nothing done, if not: take the
    /// canonical [`Self::snapshot`] then. Otherwise as that, except that the task writes files.
    /// Files of a checkpoint that has completed may be re-used as long as the transfer allows it;
    /// what was changed or deleted since then is in this snapshot, whatever became of checkpoints
    /// in between.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    fn snapshot_files(&mut self, request: &SnapshotRequest) -> Result<Option<Box<dyn FilesTask>>> {
        let _ = request;
        Ok(None)
    }

    /// Whether [`Self::restore_files`] understands the files of the backend called `backend`.
    fn opens_files_of(&self, backend: &str) -> bool {
        let _ = backend;
        false
    }

    /// Tells that `checkpoint`, for which a snapshot of this instance was taken, is complete: what
    /// changed before it is safe.
    fn checkpoint_completed(&mut self, checkpoint: CheckpointId);

    /// Tells that `checkpoint` will never complete.
    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId);

    /// Adds the entries of a snapshot. States that are unknown so far become known under the
    /// descriptors they were written with. Call it once for each snapshot that overlaps this
    /// instance's key groups, before the instance is used and before typed handles are registered,
    /// which is when values of older codecs are [migrated](crate::migration); entries outside
    /// [`Self::key_groups`] are refused as invalid arguments, so restrict the source. Returns how
    /// many entries were added (one for each user key of a map).
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] if a state is known with another
    /// kind or codec; what the source reports. After an error the instance must be dropped.
    fn restore(&mut self, source: &mut dyn EntrySource) -> Result<u64>;

    /// As [`Self::restore`], from files in the backend's native form, of which only the entries of
    /// `groups` are taken; those lie within [`Self::key_groups`]. A backend may re-use the files in
    /// its next snapshots, as far as their transfers allow it. The number of entries is returned as
    /// far as the files tell it.
    ///
    /// # Errors
    /// As [`Self::restore`]; [`ErrorKind::Incompatible`] if the files are not of a backend that
    /// [`Self::opens_files_of`] names.
    fn restore_files(&mut self, source: &mut dyn FileSource, groups: KeyGroupRange) -> Result<u64> {
        let _ = groups;
        Err(foreign_files(source.backend()))
    }
}

/// The error of a backend that is given files that it does not understand.
#[cold]
fn foreign_files(backend: &str) -> StateError {
    StateError::new(
        ErrorKind::Incompatible,
        format!(
            "the checkpoint holds native files of the state backend {backend:?}: only that opens \
             them; take a savepoint with it to go elsewhere"
        ),
    )
}

/// Where and for whom a backend instance is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendContext {
    /// Stable name of the operator that owns the state.
    pub operator: String,
    /// The key groups that the instance shall own.
    pub key_groups: KeyGroupRange,
    /// The job's number of key groups.
    pub max_parallelism: MaxParallelism,
}

impl BackendContext {
    /// A context for `operator`.
    #[must_use]
    pub fn new(
        operator: impl Into<String>,
        key_groups: KeyGroupRange,
        max_parallelism: MaxParallelism,
    ) -> Self {
        Self { operator: operator.into(), key_groups, max_parallelism }
    }
}

/// Opens backend instances; what an engine is configured with. Shared between threads.
pub trait BackendFactory: Send + Sync {
    /// The backend's short name, as users write it: `memory`, `fs`, `rocksdb`.
    fn name(&self) -> &str;

    /// Opens an empty instance.
    ///
    /// # Errors
    /// What the backend meets in opening; [`ErrorKind::InvalidArgument`](crate::ErrorKind) if the
    /// key groups are not below the max parallelism.
    fn open(&self, context: &BackendContext) -> Result<Box<dyn KeyedBackend>>;
}
