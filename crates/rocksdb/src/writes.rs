//! Writes that go to one database together.
//!
//! Made for callers that mostly have none: nothing is allocated before the first.

use millpond_state::Result;
use rocksdb::WriteBatch;

use crate::store::Store;

/// So many bytes are sent without waiting for more.
const BYTES_MAX: usize = 1 << 20;

/// Puts and deletions to be sent.
#[derive(Default)]
pub(crate) struct Writes {
    batch: Option<WriteBatch>,
}

impl Writes {
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

    /// Sends them if they are many bytes.
    pub(crate) fn send_if_large(&mut self, store: &Store) -> Result<()> {
        match &self.batch {
            Some(batch) if batch.size_in_bytes() >= BYTES_MAX => self.send(store),
            _ => Ok(()),
        }
    }

    /// Sends them.
    pub(crate) fn send(&mut self, store: &Store) -> Result<()> {
        match &mut self.batch {
            Some(batch) if !batch.is_empty() => {
                store.write(batch)?;
                batch.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
