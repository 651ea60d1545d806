//! Objects of a store as the formats see them.

use std::sync::Arc;

use millpond_snapshot::{ByteSink, ByteSource, SnapshotError, SnapshotErrorKind};
use millpond_storage::{ErrorKind, ObjectInfo, Store, StorePath, StoreReader, StoreWriter};

use super::storage;
use crate::error::Result;

/// A new object that a format writer writes to. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct ObjectSink {
    writer: Box<dyn StoreWriter>,
}

impl ObjectSink {
    /// Starts the object `path` in `store`.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn create(store: &dyn Store, path: &StorePath) -> Result<Self> {
        Ok(Self { writer: store.create(path).map_err(storage)? })
    }

    /// Publishes the object.
    ///
    /// # Errors
    /// As [`StoreWriter::finish`].
    pub fn finish(self) -> Result<ObjectInfo> {
        self.writer.finish().map_err(storage)
    }
}

impl ByteSink for ObjectSink {
    fn write(&mut self, bytes: &[u8]) -> millpond_snapshot::Result<()> {
        let failed = |error| SnapshotError::io("cannot write", error);
        self.writer.write(bytes).map_err(failed)
    }
}

/// An object that a format reader reads from.
#[derive(Debug)]
pub struct ObjectSource {
    reader: Box<dyn StoreReader>,
    name: String,
}

impl ObjectSource {
    /// Opens the object `path` of `store`; errors call it by the store's URL and its path.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(store: &Arc<dyn Store>, path: &StorePath) -> Result<Self> {
        let reader = store.open(path).map_err(storage)?;
        Ok(Self { reader, name: format!("{}/{path}", store.url().trim_end_matches('/')) })
    }
}

impl ByteSource for ObjectSource {
    fn len(&self) -> u64 {
        self.reader.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> millpond_snapshot::Result<()> {
        self.reader.read_exact_at(offset, buffer).map_err(|error| {
            if error.kind() == ErrorKind::Truncated {
                return SnapshotError::new(SnapshotErrorKind::Corrupt, error.to_string())
                    .in_file(&self.name)
                    .at(offset);
            }
            SnapshotError::io("cannot read", error).in_file(&self.name).at(offset)
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}
