//! From settings to RocksDB's options.

use millpond_state::{ErrorKind, KeyGroupRange, Result, StateError};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, DBCompressionType, DataBlockIndexType, Options,
    ReadOptions, SliceTransform, WriteOptions,
};

use crate::budget::Budget;
use crate::expiry::Expiries;
use crate::layout;
use crate::merge::set_merge_operator;
use crate::options::{RocksDbOptions, RocksDbProfile, WriteBuffer};

/// Recorded in the database.
const PREFIX_NAME: &str = "millpond.entry.1";

/// Memtables allocate in pieces of this size. Small, so that many idle instances cost little.
const ARENA_BLOCK_BYTES: usize = 64 << 10;

/// Options that only RocksDB's own syntax reaches.
///
/// What is unflushed when an instance is dropped is not wanted any more. And a file on the last
/// level would be written anew as soon as the snapshot goes that was there when it was ingested,
/// for nothing but smaller sequence numbers: the next checkpoint would upload it a second time.
/// In an hour, most are gone anyway.
const UNWRAPPED_OPTIONS: &str =
    "avoid_flush_during_shutdown=true;bottommost_file_compaction_delay=3600";

/// A MANIFEST that has grown to this size is written anew. Each checkpoint has the whole of it.
const MANIFEST_BYTES_MAX: usize = 16 << 10;

/// Files of the first level from which on they are compacted if the hash buffer writes them.
const FIRST_LEVEL_FILES_COMPACTED: i32 = 8;

/// More files of the first level than there ever are.
const FIRST_LEVEL_FILES_ANY: i32 = 1 << 20;

/// Bytes that a scan reads ahead.
const SCAN_READAHEAD_BYTES: usize = 1 << 20;

/// The options of a database.
pub(crate) fn database_options(
    settings: &RocksDbOptions,
    budget: &Budget,
    expiries: &Expiries,
) -> Result<Options> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_error_if_exists(true);
    set_buffers(&mut options, settings, budget);
    set_compression(&mut options, settings.profile);
    options.set_block_based_table_factory(&table_options(settings, budget));
    options.set_max_background_jobs(settings.max_background_jobs);
    options.set_max_open_files(settings.max_open_files);
    options.set_periodic_compaction_seconds(settings.periodic_compaction_seconds);
    options.set_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(8 << 20);
    options.set_max_manifest_file_size(MANIFEST_BYTES_MAX);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    set_merge_operator(&mut options);
    options.set_compaction_filter_factory(expiries.clone());
    options.set_prefix_extractor(SliceTransform::create(
        PREFIX_NAME,
        layout::entry_of,
        Some(layout::has_entry),
    ));
    let mut options = from_string(&mut options, UNWRAPPED_OPTIONS)?;
    from_string(&mut options, &settings.rocksdb_options)
}

fn from_string(base: &mut Options, text: &str) -> Result<Options> {
    base.get_options_from_string(text).map_err(|error| {
        StateError::new(
            ErrorKind::InvalidArgument,
            format!("RocksDB does not take these options: {text:?}"),
        )
        .with_source(error)
    })
}

fn set_buffers(options: &mut Options, settings: &RocksDbOptions, budget: &Budget) {
    options.set_write_buffer_manager(&budget.write_buffers);
    options.set_write_buffer_size(settings.write_buffer_size);
    options.set_max_write_buffer_number(settings.max_write_buffer_number);
    options.set_arena_block_size(ARENA_BLOCK_BYTES);
    options.set_target_file_size_base(settings.target_file_size_base);
    options.set_max_bytes_for_level_base(settings.max_bytes_for_level_base);
    options.set_level_compaction_dynamic_level_bytes(true);
    if settings.write_buffer == WriteBuffer::Hash {
        // The buffer slows writers down itself. The database would only hold back captures: each
        // waits until a flush, which has nothing to flush, would not slow down anybody.
        options.set_level_zero_slowdown_writes_trigger(FIRST_LEVEL_FILES_ANY);
        options.set_level_zero_stop_writes_trigger(FIRST_LEVEL_FILES_ANY);
        // Each compaction of the first level rewrites what lies below, too: half as many of them.
        options.set_level_zero_file_num_compaction_trigger(FIRST_LEVEL_FILES_COMPACTED);
    }
    // One writer: nothing to gain from concurrent inserts, and they cost.
    options.set_allow_concurrent_memtable_write(false);
    options.set_enable_write_thread_adaptive_yield(false);
}

fn set_compression(options: &mut Options, profile: RocksDbProfile) {
    let (most, last) = match profile {
        RocksDbProfile::Ssd => (DBCompressionType::Lz4, DBCompressionType::Lz4),
        RocksDbProfile::LargeMemory => (DBCompressionType::None, DBCompressionType::Lz4),
        RocksDbProfile::SmallMemory => (DBCompressionType::Lz4, DBCompressionType::Zstd),
    };
    options.set_compression_type(most);
    options.set_bottommost_compression_type(last);
}

/// Index and filter blocks lie in the cache, in pieces, so that the budget covers them and a large
/// file's filter can stay there.
fn table_options(settings: &RocksDbOptions, budget: &Budget) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&budget.cache);
    table.set_block_size(settings.block_size);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    if settings.bloom_bits_per_key > 0.0 {
        table.set_bloom_filter(settings.bloom_bits_per_key, false);
        table.set_whole_key_filtering(true);
        table.set_optimize_filters_for_memory(true);
    }
    table
}

/// For writes: no write-ahead log, and no waiting within RocksDB.
pub(crate) fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options.set_no_slowdown(true);
    options
}

/// For walks over the keys of one map, up to `end`. The bound keeps the walk within the map; that
/// RocksDB compares prefixes besides would cost a call for each key. Files are passed over by their
/// prefix filters all the same.
pub(crate) fn map_read_options(end: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(end);
    options
}

/// For walks over all entries of key groups.
pub(crate) fn range_read_options(groups: KeyGroupRange) -> ReadOptions {
    let (start, end) = layout::bounds(groups);
    let mut options = scan_read_options();
    options.set_iterate_lower_bound(start);
    options.set_iterate_upper_bound(end);
    options
}

/// For walks over whole states: they shall not push hot blocks out of the cache.
pub(crate) fn scan_read_options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_total_order_seek(true);
    options.fill_cache(false);
    options.set_readahead_size(SCAN_READAHEAD_BYTES);
    options
}
