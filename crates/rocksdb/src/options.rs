//! Settings.

use std::path::{Path, PathBuf};

/// Settings for a kind of machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RocksDbProfile {
    /// State much larger than memory on a local SSD: 512 MiB of memory, LZ4.
    #[default]
    Ssd,
    /// Most of the state fits in memory: 4 GiB, no compression but on the last level, filters of
    /// few false positives.
    LargeMemory,
    /// Many small jobs on one machine: 64 MiB, small buffers and blocks of many entries, zstd on
    /// the last level.
    SmallMemory,
}

/// Where writes go before they are in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteBuffer {
    /// Hash tables in front of the database: updates in place, and copies of what is read often.
    /// A barrier freezes them by moving a pointer; threads of the factory sort what is frozen into
    /// files, which the database takes over.
    #[default]
    Hash,
    /// RocksDB's own, sorted at each write.
    Memtable,
}

/// Settings of the RocksDB backend. They hold for a factory and all instances it opens; fields have
/// the names of the RocksDB options that they set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RocksDbOptions {
    /// The folder under which each instance has its own. Made if it is missing. Processes may share
    /// it; what a killed process left there is removed by the next.
    pub state_dir: PathBuf,
    /// Bytes of memory for the block cache (index and filter blocks included) and the write buffers
    /// of all instances together.
    pub memory_bytes: usize,
    /// The part of `memory_bytes` that write buffers may take, above 0 and below 1.
    pub write_buffer_ratio: f64,
    /// Where writes go first.
    pub write_buffer: WriteBuffer,
    /// Threads that write [`WriteBuffer::Hash`] out, for all instances; one instance uses one. With
    /// 0, writers do it themselves when they run out of room.
    pub landing_threads: usize,
    /// Bytes of one write buffer before it is frozen and written out. Of the hash buffer an
    /// instance gets a quarter of its share of the memory for write buffers if that is less.
    pub write_buffer_size: usize,
    /// Memtables of one instance before writers wait for flushes.
    pub max_write_buffer_number: i32,
    /// Bytes of an SST file.
    pub target_file_size_base: u64,
    /// Bytes of the first level.
    pub max_bytes_for_level_base: u64,
    /// Bytes of an uncompressed data block.
    pub block_size: usize,
    /// Bits of bloom filter for each key; 0 for none.
    pub bloom_bits_per_key: f64,
    /// Threads for flushes and compactions, of which RocksDB has one pool for a process: as many as
    /// there are processors, from 2 to 4, and 2 with little memory. With more of them than
    /// processors, compactions take from whoever writes state.
    pub max_background_jobs: i32,
    /// Files that one instance keeps open; -1 for all.
    pub max_open_files: i32,
    /// Files older than that are compacted, so that expired entries go even if nothing is written
    /// near them; 0 for never.
    pub periodic_compaction_seconds: u64,
    /// Parts of files that a restore fetches at once, each with a buffer of 2 MiB; at least 1.
    pub transfer_threads: usize,
    /// Any options in RocksDB's own syntax, applied over all others:
    /// `compression=kZSTD;block_based_table_factory={block_size=16384}`.
    pub rocksdb_options: String,
    /// What `rocksdb_options` starts from.
    pub(crate) profile: RocksDbProfile,
}

/// How many threads this process may run at once.
fn processors() -> i32 {
    std::thread::available_parallelism().map_or(2, |it| it.get().try_into().unwrap_or(i32::MAX))
}

impl RocksDbOptions {
    /// The settings of [`RocksDbProfile::Ssd`].
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self::with_profile(state_dir, RocksDbProfile::default())
    }

    /// The settings of a profile.
    #[must_use]
    pub fn with_profile(state_dir: impl Into<PathBuf>, profile: RocksDbProfile) -> Self {
        let ssd = Self {
            state_dir: state_dir.into(),
            memory_bytes: 512 << 20,
            write_buffer_ratio: 0.5,
            write_buffer: WriteBuffer::default(),
            landing_threads: 2,
            write_buffer_size: 64 << 20,
            max_write_buffer_number: 3,
            target_file_size_base: 64 << 20,
            max_bytes_for_level_base: 256 << 20,
            block_size: 4 << 10,
            bloom_bits_per_key: 10.0,
            max_background_jobs: processors().clamp(2, 4),
            max_open_files: -1,
            periodic_compaction_seconds: 30 * 24 * 3600,
            transfer_threads: 4,
            rocksdb_options: String::new(),
            profile,
        };
        match profile {
            RocksDbProfile::Ssd => ssd,
            RocksDbProfile::LargeMemory => Self {
                memory_bytes: 4 << 30,
                write_buffer_size: 128 << 20,
                max_write_buffer_number: 4,
                max_bytes_for_level_base: 512 << 20,
                bloom_bits_per_key: 14.0,
                ..ssd
            },
            RocksDbProfile::SmallMemory => Self {
                memory_bytes: 64 << 20,
                write_buffer_size: 8 << 20,
                target_file_size_base: 16 << 20,
                max_bytes_for_level_base: 32 << 20,
                block_size: 16 << 10,
                max_background_jobs: 2,
                landing_threads: 1,
                max_open_files: 256,
                ..ssd
            },
        }
    }

    /// Sets [`Self::memory_bytes`].
    #[must_use]
    pub const fn with_memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets [`Self::write_buffer`].
    #[must_use]
    pub const fn with_write_buffer(mut self, buffer: WriteBuffer) -> Self {
        self.write_buffer = buffer;
        self
    }

    /// Sets [`Self::landing_threads`].
    #[must_use]
    pub const fn with_landing_threads(mut self, threads: usize) -> Self {
        self.landing_threads = threads;
        self
    }

    /// Sets [`Self::write_buffer_size`].
    #[must_use]
    pub const fn with_write_buffer_size(mut self, bytes: usize) -> Self {
        self.write_buffer_size = bytes;
        self
    }

    /// Sets [`Self::transfer_threads`].
    #[must_use]
    pub const fn with_transfer_threads(mut self, threads: usize) -> Self {
        self.transfer_threads = threads;
        self
    }

    /// Sets [`Self::rocksdb_options`].
    #[must_use]
    pub fn with_rocksdb_options(mut self, options: impl Into<String>) -> Self {
        self.rocksdb_options = options.into();
        self
    }

    /// The folder under which each instance has its own.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }
}
