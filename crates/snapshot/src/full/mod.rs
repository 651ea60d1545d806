//! The canonical full snapshot: all keyed state of one subtask, independent of the backend, the
//! parallelism and the machine that wrote it. Also the savepoint format.
//!
//! ```text
//! +-------------+--------------+-----------------+-----------------+-----+-------+--------+
//! | file header | schema block | entries block   | entries block   | ... | index | footer |
//! +-------------+--------------+-----------------+-----------------+-----+-------+--------+
//! ```
//!
//! Entries are sorted by key group, state, key, namespace and user key, each compared as unsigned
//! bytes. A block holds entries of one key group only. The index says, for each key group that has
//! entries, how many bytes, blocks and entries it has, so that a restore reads only the key groups
//! it needs.
//!
//! Invariants: everything lies under a CRC-32; a reader hands out nothing from a block before the
//! whole block is checked; entries come in strictly ascending order or not at all. A writer that
//! failed stays failed. Memory: a writer holds one block and the index, a reader one block, the
//! index and one read-ahead window.

mod entry;
mod index;
mod parts;
mod reader;
mod schema;
mod writer;

use millpond_state::{KeyGroup, StateDescriptor};

pub use entry::ChangeKind;
pub(crate) use entry::{EntryCursor, EntryRules, Last};
pub(crate) use parts::{
    GroupProgress, check_file_bytes, first_of_block, read_footer, read_header, read_index,
    read_schema_at, wrong_length,
};
pub use reader::{FullEntries, FullReader};
pub(crate) use schema::{decode_codec, decode_descriptor, encode_codec, encode_descriptor};
pub use writer::FullWriter;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// With zstd at this level; levels outside zstd's range are taken to its nearest one. A block
    /// that does not get smaller is stored as it is.
    Zstd {
        /// The level: 1 is fast, 3 is zstd's own default, higher is smaller and slower.
        level: i32,
    },
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd { level: 1 }
    }
}

/// Bytes that a block of entries aims at before compression.
pub const BLOCK_BYTES_DEFAULT: usize = 64 * 1024;

/// Settings of a [`FullWriter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullOptions {
    /// How blocks are compressed.
    pub compression: Compression,
    /// Bytes that a block aims at before compression, 1 to 64 MiB. A larger entry makes a larger
    /// block, the end of a key group a smaller one.
    pub block_bytes: usize,
}

impl Default for FullOptions {
    fn default() -> Self {
        Self { compression: Compression::default(), block_bytes: BLOCK_BYTES_DEFAULT }
    }
}

/// What one key group takes in a full snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGroupSummary {
    /// The key group; it has at least one entry.
    pub group: KeyGroup,
    /// Where in the file its first block begins.
    pub offset: u64,
    /// Bytes in the file: block headers and stored bytes.
    pub file_bytes: u64,
    /// Bytes of its blocks before compression.
    pub raw_bytes: u64,
    /// Its blocks.
    pub blocks: u64,
    /// Its entries.
    pub entries: u64,
    /// Entries by state: index into the file's descriptors, ascending, and how many, at least 1.
    pub state_entries: Vec<(u16, u64)>,
}

/// A state of a full snapshot file and how many entries it has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSummary {
    /// The state.
    pub descriptor: StateDescriptor,
    /// Its entries in all key groups of the file.
    pub entries: u64,
}

/// What a finished full snapshot file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullSummary {
    /// Length of the file.
    pub bytes: u64,
    /// Bytes of all entries blocks before compression.
    pub raw_bytes: u64,
    /// Entries.
    pub entries: u64,
    /// CRC-32 of the whole file.
    pub crc32: u32,
    /// The states, in the order of the descriptors that the file was begun with.
    pub states: Vec<StateSummary>,
    /// The key groups that have entries, ascending.
    pub key_groups: Vec<KeyGroupSummary>,
}

/// Sums the index by state; `states` are all states of the file.
pub(crate) fn summarize_states(
    states: &[StateDescriptor],
    key_groups: &[KeyGroupSummary],
) -> Vec<StateSummary> {
    let mut sums: Vec<StateSummary> = states
        .iter()
        .map(|descriptor| StateSummary { descriptor: descriptor.clone(), entries: 0 })
        .collect();
    for (state, entries) in key_groups.iter().flat_map(|group| &group.state_entries) {
        if let Some(sum) = sums.get_mut(usize::from(*state)) {
            sum.entries += entries;
        }
    }
    sums
}
