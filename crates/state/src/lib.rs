//! wip
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

pub mod backend;
mod buffer;
pub mod codec;
mod descriptor;
mod edit;
mod entry;
mod error;
mod id;
mod key_group;
mod registry;
pub mod seam;
mod snapshot_api;

pub use backend::{
    BackendContext, BackendFactory, BatchVisitor, EntryVisitor, KeyedBackend, MapVisitor,
};
pub use buffer::Scratch;
pub use descriptor::{STATE_NAME_BYTES_MAX, StateCodecs, StateDescriptor, StateKind};
pub use edit::{Decision, Edit, EditBuffer};
pub use entry::{
    EntryKey, KEY_BYTES_MAX, VALUE_BYTES_MAX, check_user_key_len, check_value_len,
};
pub use error::{ErrorKind, Result, StateError};
pub use id::{AttemptId, CheckpointId, StateId, SubtaskId, SubtaskIndex};
pub use key_group::{KeyGroup, KeyGroupRange, MAX_PARALLELISM_LIMIT, MaxParallelism, key_hash};
pub use registry::{STATES_MAX, StateRegistry};
pub use snapshot_api::{
    CancelFlag, EntrySink, EntrySource, SnapshotEntry, SnapshotRequest, SnapshotSummary,
    SnapshotTask,
};
