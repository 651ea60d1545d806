//! Keyed state in memory: segmented byte arenas with copy-on-write snapshots.
//!
//! A state is a linear hash table of segments for each key group; a segment is a byte array of tags
//! and one byte arena in which key and value lie side by side. As long as all entries of a segment
//! have one size, the number of its slot says where an entry is; so a read mostly misses the cache
//! once, and an entry costs little more than its bytes. A snapshot shares the segments and returns
//! at once; the first write to a shared segment copies that segment. Batches
//! ([`get_many`](millpond_state::KeyedBackend::get_many) and its kin) overlap their cache misses.
//!
//! ```text
//! MemoryBackend
//!   Table                    one state
//!     LinearTable            one key group: linear hashing over segments
//!       Slot                 a segment, owned or shared with snapshots
//!         Segment            an index of tags, an arena of entries,
//!                            large values and maps beside it
//! ```
//!
//! An incremental snapshot writes what changed since the last confirmed one: entries carry the
//! epoch of their last change, and deletions are noted until they are confirmed.
//!
//! The state is lost with the process: restore it from a checkpoint.
//!
//! ```
//! use millpond_memory::{MemoryBackend, MemoryOptions};
//! use millpond_state::{KeyedBackend, MaxParallelism};
//!
//! let max = MaxParallelism::new(128)?;
//! let backend = MemoryBackend::create(max.full_range(), max, MemoryOptions::new())?;
//! assert!(backend.states().is_empty());
//! # Ok::<(), millpond_state::StateError>(())
//! ```

mod backend;
mod batch;
mod blob;
mod chain;
mod delta;
mod entry_layout;
mod env;
mod epochs;
mod index;
mod line;
mod linear_table;
mod map_chunks;
mod map_visit;
mod options;
mod packed_map;
mod probe;
mod restore;
mod segment;
mod segment_list;
mod segment_map;
mod short;
mod side;
mod slot;
mod snapshot_task;
mod table;
mod tombstones;

pub use backend::MemoryBackend;
pub use options::{IncrementalOptions, MemoryBackendFactory, MemoryOptions};
