//! Incremental state as canonical entries: delta files, and chains of a base and its deltas.
//!
//! A *delta* lists, in canonical order, what changed since another file: entries that are new or
//! have new values, entries that are gone, maps that are gone as a whole. It is framed, compressed,
//! checksummed and indexed by key group like a [full snapshot](crate::full), whose reader and
//! writer it shares.
//!
//! A *chain* is a full snapshot, the base, and deltas, each of what changed since the files before
//! it. Its files are named by their position, see [`chain_file_name`]; [`ChainReader`] reads them
//! merged, as if they were one full snapshot. This is the native form of the memory backend, and
//! any backend can restore it.
//!
//! Invariant: the states of a file begin with those of the files before it, so that entries of all
//! files sort alike. Failures: as of full snapshots; damage names the file.

mod chain;
mod delta;

pub(crate) use chain::chain_state_entries;
pub use chain::{
    CHAIN_FILES_MAX, CHAIN_FORMAT, ChainEntries, ChainFileKind, ChainReader, chain_file_name,
    encode_chain_manifest, parse_chain_file,
};
pub use delta::{DeltaChanges, DeltaReader, DeltaWriter};
