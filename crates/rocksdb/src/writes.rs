//! Writes that go to the database together.
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
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.batch.get_or_insert_default().put(key, value);
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.batch.get_or_insert_default().delete(key);
    }

    /// Deletes from `start` to before `end`.
    pub(crate) fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        self.batch.get_or_insert_default().delete_range(start, end);
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
