//! The memory that all instances of a factory share.
//!
//! RocksDB's write-buffer manager starts flushes in time for write buffers to stay at 1.5 times
//! their share, and charges them to the block cache, which shrinks accordingly. So with a share of
//! 2/3 r for write buffers, a cache of (1 - r/3) keeps both within the whole.
//!
//! Hash buffers have a pool of their own instead, which is all of the share, and a cache that is
//! the rest.
//!
//! Writers are not stalled at the bound: a snapshot under way pins write buffers, and a writer that
//! waited for them to go would wait for the snapshot.

use millpond_state::{ErrorKind, Result, StateError};
use rocksdb::{Cache, LruCacheOptions, WriteBufferManager};

use crate::buffer::Pool;
use crate::options::{RocksDbOptions, WriteBuffer};

/// Least bytes that an instance can work with.
const MEMORY_BYTES_MIN: usize = 4 << 20;

/// A shard of the cache must hold the largest block: RocksDB splits filters and indexes, so blocks
/// are small, but write buffers are charged to it too.
const SHARD_BYTES_MIN: usize = 16 << 20;

/// At most 2 to the power of this many shards: they keep threads apart, of which there are few.
const SHARD_BITS_MAX: u32 = 6;

/// Block cache and write-buffer manager. Clones share them.
#[derive(Clone)]
pub(crate) struct Budget {
    pub(crate) cache: Cache,
    pub(crate) write_buffers: WriteBufferManager,
    /// The memory of hash buffers.
    pub(crate) pool: Pool,
}

impl Budget {
    /// A budget as `options` say.
    pub(crate) fn new(options: &RocksDbOptions) -> Result<Self> {
        let (memory, ratio) = (options.memory_bytes, options.write_buffer_ratio);
        if memory < MEMORY_BYTES_MIN || !(ratio > 0.0 && ratio < 1.0) {
            return Err(StateError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "RocksDB cannot work in {memory} bytes of memory with a part of {ratio} for \
                     write buffers: give it {MEMORY_BYTES_MIN} bytes and more, and a part above 0 \
                     and below 1"
                ),
            ));
        }
        let write_buffer_bytes = (memory as f64 * ratio * 2.0 / 3.0) as usize;
        let hash_bytes = (memory as f64 * ratio) as usize;
        let cache_bytes = match options.write_buffer {
            WriteBuffer::Hash => memory - hash_bytes,
            WriteBuffer::Memtable => memory - write_buffer_bytes / 2,
        };
        let mut lru = LruCacheOptions::default();
        lru.set_capacity(cache_bytes);
        let shard_bits = (cache_bytes / SHARD_BYTES_MIN).max(1).ilog2().min(SHARD_BITS_MAX);
        lru.set_num_shard_bits(shard_bits as i32);
        let cache = Cache::new_lru_cache_opts(&lru);
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            write_buffer_bytes,
            false,
            cache.clone(),
        );
        Ok(Self { cache, write_buffers, pool: Pool::new(hash_bytes) })
    }

    /// Bytes of memory in write buffers of either kind.
    pub(crate) fn write_buffer_bytes(&self) -> usize {
        self.write_buffers.get_usage() + self.pool.taken_bytes()
    }
}
