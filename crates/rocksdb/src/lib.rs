//! Keyed state larger than memory, on RocksDB.
//!
//! One RocksDB database for each instance, in a folder of its own that lives as long as the
//! instance and its snapshots do. There is no write-ahead log: what makes state durable is the
//! checkpoint. List appends are merge operands, maps are ranges of keys with a common prefix, and a
//! snapshot is a RocksDB snapshot, which costs nothing to take and is written out by an iterator,
//! since the order of keys is the canonical order. An incremental snapshot is links to the files of
//! the database, of which those that storage lacks are uploaded; it restores as a database, at
//! another parallelism too.
//!
//! In front of the database is a buffer of hash tables. A barrier freezes it by moving a pointer;
//! threads of the factory write what is frozen out as files that the database takes over.
//! [`WriteBuffer::Memtable`] leaves that to RocksDB's own write buffers: then barriers wait for a
//! flush.
//!
//! ```text
//! RocksDbBackendFactory      one for a process: options, state folder, memory budget
//!   RocksDbBackend           one for a subtask and operator: buffers, registry
//!     Buffer                 what was written last, and what is read often
//!     Store                  its database, shared with the snapshots under way
//! ```
//!
//! # Memory
//! The block cache and all write buffers of all instances of a factory share one
//! [budget](RocksDbOptions::memory_bytes). What compactions and flushes need while they run, and
//! 200 to 500 KiB for each open database, comes on top.
//!
//! # Failures
//! A full disk is [`ErrorKind::ResourceExhausted`](millpond_state::ErrorKind), damaged files are
//! [`Corrupt`](millpond_state::ErrorKind), all else that RocksDB reports is
//! [`Io`](millpond_state::ErrorKind).
//!
//! ```no_run
//! use millpond_rocksdb::{RocksDbBackendFactory, RocksDbOptions};
//! use millpond_state::{BackendContext, BackendFactory, MaxParallelism};
//!
//! let options = RocksDbOptions::new("state").with_memory_bytes(256 << 20);
//! let factory = RocksDbBackendFactory::create(options)?;
//! let max = MaxParallelism::new(128)?;
//! let backend = factory.open(&BackendContext::new("count", max.full_range(), max))?;
//! assert!(backend.states().is_empty());
//! # Ok::<(), millpond_state::StateError>(())
//! ```

mod backend;
mod batch;
mod budget;
mod buffer;
mod error;
mod expiry;
mod factory;
mod folder;
mod layout;
mod map;
mod merge;
mod native;
mod options;
mod restore;
mod scan;
mod snapshot_task;
mod sorted_files;
mod store;
mod sync;
mod tables;
mod tuning;
mod writes;

pub use backend::RocksDbBackend;
pub use factory::{MemoryUsage, RocksDbBackendFactory};
pub use options::{RocksDbOptions, RocksDbProfile, WriteBuffer};
