//! The contract between a stream engine and its keyed-state backends.
//!
//! - [`KeyedBackend`] is the byte-level contract: what a backend implements. It knows entries by
//!   ([state](StateId), [key group](KeyGroup), key, namespace \[, user key\]), reads and writes
//!   them one by one and in batches, enumerates them, takes snapshots and restores them.
//! - [`ValueState`], [`ListState`], [`MapState`], [`ReducingState`] and [`AggregatingState`] are
//!   what operators use: typed, written once over any backend, with [codecs](codec) whose identity
//!   goes into every snapshot.
//! - [`StateOptions`] let state [expire](ttl), and say how values that an older program wrote are
//!   [migrated](migration).
//! - [`SnapshotTask`], [`EntrySink`] and [`EntrySource`] carry state out and in, in canonical
//!   order; [`FilesTask`], [`FileTransfer`] and [`FileSource`] do so in a backend's own files.
//!
//! No I/O, no threads, no globals: an engine brings those. The key is always an argument; there is
//! no hidden current key.
//!
//! ```
//! use millpond_state::{KeyContext, KeyedBackend, Result, ValueState};
//!
//! /// Counts a visit of `page`, on any backend.
//! fn count(backend: &mut dyn KeyedBackend, page: &String) -> Result<u64> {
//!     let visits = ValueState::<String, u64>::register(backend, "visits")?;
//!     let key = KeyContext::new(page, backend.max_parallelism())?;
//!     let next = visits.get(backend, key.at())?.unwrap_or(0) + 1;
//!     visits.put(backend, key.at(), &next)?;
//!     Ok(next)
//! }
//! ```

pub mod backend;
mod buffer;
pub mod codec;
mod descriptor;
mod edit;
mod entry;
mod error;
mod id;
mod key_group;
pub mod kinds;
pub mod migration;
pub mod operator_state;
mod place;
mod registry;
pub mod seam;
mod snapshot_api;
mod snapshot_files;
mod snapshot_filter;
mod time;
mod timers;
pub mod ttl;

pub use backend::{
    BackendContext, BackendFactory, BatchVisitor, EntryVisitor, KeyedBackend, MapVisitor,
};
pub use buffer::Scratch;
pub use descriptor::{STATE_NAME_BYTES_MAX, StateCodecs, StateDescriptor, StateKind};
pub use edit::{Decision, Edit, EditBuffer};
pub use entry::{EntryKey, KEY_BYTES_MAX, VALUE_BYTES_MAX, check_user_key_len, check_value_len};
pub use error::{ErrorKind, Result, StateError};
pub use id::{AttemptId, CheckpointId, StateId, SubtaskId, SubtaskIndex};
pub use key_group::{KeyGroup, KeyGroupRange, MAX_PARALLELISM_LIMIT, MaxParallelism, key_hash};
pub use kinds::{Aggregate, AggregatingState, ListState, MapState, ReducingState, ValueState};
pub use migration::{
    Compatibility, MigrationMode, MigrationPlan, Migrations, StateOptions, plan_migration,
};
pub use operator_state::{
    BroadcastState, OperatorList, OperatorState, OperatorStateCodecs, OperatorStatePart,
    OperatorStateSnapshot, Redistribution,
};
pub use place::{At, KeyContext, NamespaceContext};
pub use registry::{STATES_MAX, StateRegistry};
pub use snapshot_api::{
    CancelFlag, EntrySink, EntrySource, SnapshotEntry, SnapshotForm, SnapshotRequest,
    SnapshotSummary, SnapshotTask,
};
pub use snapshot_files::{
    FileIdentity, FileReader, FileSink, FileSource, FileTransfer, FileWriter, FilesSummary,
    FilesTask, LocalFile, StoredFile,
};
pub use snapshot_filter::SnapshotFilter;
pub use time::{StateTime, TimeDomain};
pub use timers::{DueTimer, Timers};
pub use ttl::{Expiry, ExpiryFilter, Refresh, SweepStep, Sweeper, Ttl, Visibility};
