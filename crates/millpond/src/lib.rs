//! State backends, snapshots and checkpoints for stream processing: keyed state that is fast while
//! records flow, and still when it has to be kept.
//!
//! This crate re-exports the parts; take them one by one to depend on less.
//!
//! | module | what it has |
//! |---|---|
//! | [`state`] | the byte-level contract of a backend, typed states, timers, codecs, key groups |
//! | [`memory`] | keyed state in memory, with copy-on-write snapshots |
//! | [`fs`] | keyed state larger than memory, in files that are mapped |
//! | [`snapshot`] | every byte that is persisted: formats, readers, writers, verification |
//! | [`storage`] | where checkpoint bytes live: memory, durable local files |
//! | [`checkpoint`] | the coordinator as a pure state machine, restore plans, a driver, offline tools |
//! | `runtime` | threads, channels, barriers, operators, sinks (feature `runtime`, on by default) |
//!
//! An engine that has a runtime of its own needs only the first six: `examples/embed.rs` is one,
//! with its own threads and barriers. `examples/count.rs` is a job on the runtime.
//!
//! # State, a checkpoint, a restore at another parallelism
//!
//! ```
//! use std::sync::Arc;
//! use millpond::checkpoint::driver::{CheckpointStorage, KeyedStateSource, WriteKeyedState};
//! use millpond::{
//!     AttemptId, CancelFlag, CheckpointId, KeyContext, KeyedBackend, LocalStore, MaxParallelism,
//!     MemoryBackend, MemoryOptions, SnapshotRequest, SubtaskId, ValueState,
//! };
//!
//! // One subtask owns all 128 key groups. The key is an argument; nothing is hidden.
//! let max = MaxParallelism::new(128)?;
//! let mut backend = MemoryBackend::create(max.full_range(), max, MemoryOptions::new())?;
//! let visits = ValueState::<String, u64>::register(&mut backend, "visits")?;
//! let home = KeyContext::new(&"home".to_owned(), max)?;
//! visits.put(&mut backend, home.at(), &41)?;
//! visits.update(&mut backend, home.at(), |count| Some(count.unwrap_or(0) + 1))?;
//! assert_eq!(visits.get(&mut backend, home.at())?, Some(42));
//!
//! // The snapshot: an instant here, then a task that any thread may run while writes go on.
//! let (checkpoint, attempt) = (CheckpointId::new(1), AttemptId::new(1));
//! let task = backend.snapshot(&SnapshotRequest::full(checkpoint))?;
//! visits.delete(&mut backend, home.at())?;
//! let folder = tempfile::tempdir()?;
//! let storage = CheckpointStorage::new(Arc::new(LocalStore::create(folder.path())?));
//! let subtask = &SubtaskId::new("count", 0);
//! let (key_groups, compression_level) = (max.full_range(), 1);
//! let write = WriteKeyedState { checkpoint, attempt, subtask, key_groups, compression_level };
//! let part = storage.write_keyed_state(&write, task, &CancelFlag::new())?;
//!
//! // Two subtasks share what one wrote: each reads its key groups.
//! let (folder, handle) = (storage.folder(checkpoint)?, Arc::new(part.handle().clone()));
//! let mut found = Vec::new();
//! for index in 0..2 {
//!     let key_groups = max.range_of(index, 2)?;
//!     let mut backend = MemoryBackend::create(key_groups, max, MemoryOptions::new())?;
//!     let (folder, handle) = (folder.clone(), handle.clone());
//!     KeyedStateSource { folder, handle, key_groups }.restore_into(&mut backend)?;
//!     let visits = ValueState::<String, u64>::register(&mut backend, "visits")?;
//!     if key_groups.contains(home.group()) {
//!         found.extend(visits.get(&mut backend, home.at())?);
//!     }
//! }
//! assert_eq!(found, [42]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This writes the state of one subtask. The coordinator that asks many subtasks, waits for all and
//! publishes the metadata which makes a checkpoint exist is [`checkpoint::Coordinator`].

#[doc(inline)]
pub use millpond_checkpoint as checkpoint;
#[doc(inline)]
pub use millpond_fs as fs;
#[doc(inline)]
pub use millpond_memory as memory;
#[cfg(feature = "runtime")]
#[doc(inline)]
pub use millpond_runtime as runtime;
#[doc(inline)]
pub use millpond_snapshot as snapshot;
#[doc(inline)]
pub use millpond_state as state;
#[doc(inline)]
pub use millpond_storage as storage;

pub use millpond_checkpoint::driver::{CheckpointFolder, CheckpointStorage};
pub use millpond_checkpoint::{CheckpointMode, Coordinator, CoordinatorSettings};
pub use millpond_fs::{FsBackend, FsBackendFactory, FsOptions};
pub use millpond_memory::{MemoryBackend, MemoryBackendFactory, MemoryOptions};
#[cfg(feature = "runtime")]
pub use millpond_runtime::{Job, JobEnvironment, JobGraph, JobSettings, StartFrom};
pub use millpond_state::{
    Aggregate, AggregatingState, AttemptId, BackendContext, BackendFactory, BroadcastState,
    CancelFlag, CheckpointId, EntryKey, KeyContext, KeyGroup, KeyGroupRange, KeyedBackend,
    ListState, MapState, MaxParallelism, Migrations, NamespaceContext, OperatorList, OperatorState,
    ReducingState, SnapshotRequest, StateError, StateOptions, StateTime, SubtaskId, Sweeper,
    TimeDomain, Timers, Ttl, ValueState,
};
pub use millpond_storage::{LocalStore, MemoryStore, Store, StoreExt, StorePath};

/// The guide of `docs/embedding.md`, whose code is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
pub mod embedding {}

/// The front page of the repository, whose example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub mod readme {}
