//! Writes that go to one database together.
//!
//! Made for callers that mostly have none: nothing is allocated before the first.

use millpond_state::Result;
use rocksdb::{WriteBatch, WriteBatchIteratorCf};

use crate::store::Store;
use crate::tables::Tables;

/// So many bytes are sent without waiting for more.
const BYTES_MAX: usize = 1 << 20;

/// Puts and deletions to be sent.
#[derive(Default)]
pub(crate) struct Writes {
    batch: Option<WriteBatch>,
    /// Bytes of the map's entry that all keys start with, if they are a map's.
    map_bytes: usize,
}

impl Writes {
    /// Writes to a map with an entry of so many bytes.
    pub(crate) const fn of_map(map_bytes: usize) -> Self {
        Self { batch: None, map_bytes }
    }

    pub(crate) fn put(&mut self, store: &Store, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch.get_or_insert_default().put_cf(store.family()?, key, value);
        Ok(())
    }

    pub(crate) fn delete(&mut self, store: &Store, key: &[u8]) -> Result<()> {
        self.batch.get_or_insert_default().delete_cf(store.family()?, key);
        Ok(())
    }

    /// Deletes from `start` to before `end`.
    pub(crate) fn delete_range(&mut self, store: &Store, start: &[u8], end: &[u8]) -> Result<()> {
        self.batch.get_or_insert_default().delete_range_cf(store.family()?, start, end);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.batch.as_ref().map_or(0, WriteBatch::len)
    }

    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        if let Some(batch) = &mut self.batch {
            batch.clear();
        }
    }

    /// Whether they are many bytes: time to send them.
    pub(crate) fn is_large(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.size_in_bytes() >= BYTES_MAX)
    }

    /// Sends them if they are many bytes.
    pub(crate) fn send_if_large(&mut self, tables: &mut Tables) -> Result<()> {
        if self.is_large() { self.send(tables) } else { Ok(()) }
    }

    /// Sends them.
    pub(crate) fn send(&mut self, tables: &mut Tables) -> Result<()> {
        let Some(batch) = self.batch.as_mut().filter(|batch| !batch.is_empty()) else {
            return Ok(());
        };
        if tables.buffer.is_some() {
            let mut replay = Replay { tables, map_bytes: self.map_bytes, done: Ok(()) };
            batch.iterate_cf(&mut replay);
            replay.done?;
        } else {
            tables.store.write(batch)?;
        }
        batch.clear();
        Ok(())
    }
}

/// Does what a batch says, up to the first failure.
struct Replay<'t> {
    tables: &'t mut Tables,
    map_bytes: usize,
    done: Result<()>,
}

impl WriteBatchIteratorCf for Replay<'_> {
    fn put_cf(&mut self, _: u32, key: &[u8], value: &[u8]) {
        if self.done.is_ok() {
            self.done = self.tables.put(key, self.map_bytes, value);
        }
    }

    fn delete_cf(&mut self, _: u32, key: &[u8]) {
        if self.done.is_ok() {
            self.done = self.tables.delete(key, self.map_bytes);
        }
    }

    /// There are none.
    fn merge_cf(&mut self, _: u32, _: &[u8], _: &[u8]) {}
}
