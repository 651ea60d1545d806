//! Keyed state larger than memory in local files: a log-structured, memory-mapped hash store.
//!
//! Entries are records of a log. Its newest end is in memory, where records are updated in place;
//! what is full becomes an immutable segment file, written in the background and mapped. An index
//! in memory leads from the hash of an address to its newest record, so that a read costs one miss
//! in the index and one in the record, wherever that is. What is live in segments that are mostly
//! dead is appended again, a few records for each write.
//!
//! ```text
//! FsBackendFactory      one for a process: options, state folder, background threads
//!   FsBackend           one for a subtask and operator: states, counts
//!     tree, list        maps and long lists as several records
//!     Store             records by address
//!       Index           extendible hashing over small pages, key group by key group
//!       Log             open pieces, frozen pieces, mapped segments, in order
//! ```
//!
//! # Snapshots
//! A snapshot freezes the end of the log and shares the segments: it takes microseconds, whatever
//! the state's size. An incremental snapshot names segment files and writes only those that storage
//! does not have. A restore reads hints at the ends of the files, and no values.
//!
//! # Durability
//! Local files are gone with the process, and are not synced: what makes state durable is the
//! checkpoint.
//!
//! # Memory
//! The index takes 9 to 20 bytes for each record and can be
//! [bounded](FsOptions::index_bytes_max). The end of the log takes up to twice
//! [`FsOptions::tail_bytes`]. Mapped files are the operating system's cache.
//!
//! # Failures
//! Every record is compared with its checksum when it is read from a file; damage is
//! [`Corrupt`](millpond_state::ErrorKind) and names file and offset. When the disk is full, writes
//! are refused as [`ResourceExhausted`](millpond_state::ErrorKind) until there is room, and reads
//! go on.
//!
//! ```
//! use millpond_fs::{FsBackendFactory, FsOptions};
//! use millpond_state::{BackendContext, BackendFactory, MaxParallelism};
//!
//! let folder = tempfile::tempdir()?;
//! let factory = FsBackendFactory::new(FsOptions::new(folder.path()))?;
//! let max = MaxParallelism::new(128)?;
//! let backend = factory.open(&BackendContext::new("count", max.full_range(), max))?;
//! assert!(backend.states().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backend;
mod batch;
mod compaction;
mod error;
mod factory;
mod files_task;
mod format;
mod index;
mod list;
mod location;
mod log;
mod manifest;
mod map;
mod node;
mod options;
mod record;
mod restore;
mod restore_files;
mod seal;
mod segment;
mod snapshot_task;
mod store;
mod sync;
mod ticket;
mod tree;
mod view;
mod workers;

pub use backend::{FsBackend, FsStatistics};
pub use factory::FsBackendFactory;
pub use options::FsOptions;
