//! Checkpoints without a job: read their state, make new ones from tables, change one state and
//! keep the rest, move them to another number of key groups.
//!
//! - [`OfflineCheckpoint`] opens a checkpoint and iterates a state, [typed](kind) or by the names
//!   of its codecs ([`DynFormat`]), in canonical order over all subtasks.
//! - [`NewCheckpoint`] makes one from nothing or from a copy: puts states from iterators in any
//!   order, transforms, drops and renames states, sets operator state.
//! - [`rekey`] rewrites a checkpoint for another max parallelism, and compares both sides.
//!
//! Invariants: a checkpoint is never changed in place. A new one is written into an empty
//! [`Target`], its metadata last and atomically, as a savepoint: it needs no other files, can be
//! moved, and no job deletes it. What fails leaves nothing behind in the target. Memory is bounded
//! by [`Spill::new`] whatever the size of the state: entries are sorted in runs on disk.
//!
//! Everything here blocks on I/O. Nothing is shared between threads.
//!
//! ```
//! use std::sync::Arc;
//! use millpond_checkpoint::driver::{JobDescription, VertexDescription};
//! use millpond_checkpoint::offline::{
//!     KeyedEntry, NewCheckpoint, OfflineCheckpoint, OfflineOptions, Spill, Target, kind,
//! };
//! use millpond_checkpoint::{CheckpointMode, CheckpointError};
//! use millpond_state::MaxParallelism;
//! use millpond_storage::MemoryStore;
//!
//! let spill = Spill::new(Arc::new(MemoryStore::new()), None, Spill::MEMORY_BYTES_DEFAULT);
//! let job = JobDescription {
//!     name: "visits".into(),
//!     kind: "visits".into(),
//!     state_backend: "memory".into(),
//!     mode: CheckpointMode::ExactlyOnce,
//!     max_parallelism: MaxParallelism::new(128)?,
//!     vertices: vec![VertexDescription { name: "count".into(), parallelism: 2 }],
//! };
//! let table = [("home", 7u64), ("about", 1)];
//! let entries = table.iter().map(|(page, visits)| {
//!     Ok(KeyedEntry { key: page.to_string(), namespace: (), value: *visits })
//! });
//!
//! let target = Target::create(Arc::new(MemoryStore::new()), None)?;
//! let mut new = NewCheckpoint::create(&job, OfflineOptions::new(&spill));
//! new.put_state::<kind::Value<String, u64>>("count", "visits", entries)?;
//! let checkpoint: OfflineCheckpoint = new.write(target)?;
//!
//! let state = checkpoint.state("count", "visits")?;
//! let visits: u64 = state
//!     .entries::<kind::Value<String, u64>>()?
//!     .map(|entry| Ok(entry?.value))
//!     .sum::<Result<u64, CheckpointError>>()?;
//! assert_eq!(visits, 8);
//! # Ok::<(), CheckpointError>(())
//! ```

mod checkpoint;
mod content;
mod dynamic;
mod edit;
mod entry;
pub mod kind;
mod options;
mod plan;
mod read;
mod rekey;
mod sort;
mod target;
mod touched;
mod vertex_writer;

pub use checkpoint::OfflineCheckpoint;
pub use content::StateContent;
pub use dynamic::{DynEntry, DynFormat};
pub use edit::NewCheckpoint;
pub use entry::{EncodedEntry, EntryFormat, KeyedEntry, MapEntry, StateType, TimerEntry};
pub use options::{OfflineOptions, OfflinePhase, OfflineProgress};
pub use read::{Entries, StateReader};
pub use rekey::{RekeyReport, rekey};
pub use sort::Spill;
pub use target::Target;
pub use touched::{ExpiringByEventTime, ExpiringByProcessingTime, Touched};

use millpond_state::StateError;

use crate::error::{CheckpointError, ErrorKind};

/// Sorts a state error by what the caller can do.
fn state_error(error: StateError) -> CheckpointError {
    use millpond_state::ErrorKind as State;
    let kind = match error.kind() {
        State::Corrupt => ErrorKind::Corrupt,
        State::Incompatible => ErrorKind::Incompatible,
        State::InvalidArgument | State::UserCode => ErrorKind::InvalidArgument,
        _ => ErrorKind::Storage,
    };
    CheckpointError::new(kind, error.to_string())
}

/// An argument that makes no sense.
#[cold]
fn invalid(message: impl Into<String>) -> CheckpointError {
    CheckpointError::new(ErrorKind::InvalidArgument, message)
}
