//! Objects of a store as the formats see them.

use std::path::Path;
use std::sync::Arc;

use millpond_snapshot::{ByteSink, ByteSource, SnapshotError, SnapshotErrorKind};
use millpond_storage::{ObjectInfo, Store, StorePath, StoreReader, StoreWriter};

use super::local::{CopyReader, Draft};
use super::reads::FileCheck;
use super::storage;
use crate::error::{CheckpointError, ErrorKind, Result};

/// The whole content of an object that has no reason to be longer than `bytes_max`. Others may have
/// written it: no memory is taken for more.
pub(super) fn read_small(
    store: &Arc<dyn Store>,
    path: &StorePath,
    bytes_max: usize,
) -> Result<Vec<u8>> {
    let source = ObjectSource::open(store, path)?;
    let len = source.len();
    if len > bytes_max as u64 {
        let message = format!("{} has {len} bytes, more than the limit {bytes_max}", source.name());
        return Err(CheckpointError::new(ErrorKind::Corrupt, message));
    }
    let mut bytes = vec![0; len as usize];
    source.read_exact_at(0, &mut bytes)?;
    Ok(bytes)
}

/// A new object that a format writer writes to. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct ObjectSink {
    writer: Box<dyn StoreWriter>,
    /// The copy on the local disk, written along.
    draft: Option<Draft>,
}

impl ObjectSink {
    /// Starts the object `path` in `store`.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn create(store: &dyn Store, path: &StorePath) -> Result<Self> {
        Ok(Self { writer: store.create(path).map_err(storage)?, draft: None })
    }

    /// Writes to `draft`, too.
    pub(super) fn with_draft(self, draft: Option<Draft>) -> Self {
        Self { draft, ..self }
    }

    /// Publishes the object.
    ///
    /// # Errors
    /// As [`StoreWriter::finish`].
    pub fn finish(self) -> Result<ObjectInfo> {
        self.writer.finish().map_err(storage)
    }

    /// Publishes the object; it and its local copy hold the file that is known by `place`.
    pub(super) fn finish_at(self, place: &str) -> Result<()> {
        self.writer.finish().map_err(storage)?;
        if let Some(draft) = self.draft {
            draft.publish(place);
        }
        Ok(())
    }
}

impl ByteSink for ObjectSink {
    fn write(&mut self, bytes: &[u8]) -> millpond_snapshot::Result<()> {
        let failed = |error| SnapshotError::io("cannot write", error);
        self.writer.write(bytes).map_err(failed)?;
        Draft::write(&mut self.draft, bytes);
        Ok(())
    }
}

/// An object that a format reader reads from.
#[derive(Debug)]
pub struct ObjectSource {
    reader: Box<dyn StoreReader>,
    name: String,
    /// The check of the file that begins at this place of the object.
    check: Option<(u64, Arc<FileCheck>)>,
}

impl ObjectSource {
    /// Opens the object `path` of `store`; errors call it by the store's URL and its path.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(store: &Arc<dyn Store>, path: &StorePath) -> Result<Self> {
        let reader = store.open(path).map_err(storage)?;
        let name = format!("{}/{path}", store.url().trim_end_matches('/'));
        Ok(Self { reader, name, check: None })
    }

    /// Reads a whole local copy of the file that `check` is of.
    pub(super) fn open_copy(copy: &Path, check: Arc<FileCheck>) -> Result<Self> {
        let name = copy.display().to_string();
        let reader = CopyReader::open(copy).map_err(|error| {
            CheckpointError::new(ErrorKind::Storage, format!("cannot open {name}: {error}"))
        })?;
        Ok(Self { reader: Box::new(reader), name, check: Some((0, check)) })
    }

    /// Tells `check` what is read from `offset` on, where the file it is of begins.
    pub(super) fn with_check(self, offset: u64, check: Arc<FileCheck>) -> Self {
        Self { check: Some((offset, check)), ..self }
    }

    /// The file of this machine that is the object, if there is one.
    pub(super) fn local_file(&self) -> Option<&Path> {
        self.reader.local_file()
    }

    /// The check of the file that is read, if it is read for a restore.
    pub(super) fn check(&self) -> Option<&FileCheck> {
        self.check.as_ref().map(|(_, check)| check.as_ref())
    }
}

impl ByteSource for ObjectSource {
    fn len(&self) -> u64 {
        self.reader.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> millpond_snapshot::Result<()> {
        self.reader.read_exact_at(offset, buffer).map_err(|error| {
            if error.kind() == millpond_storage::ErrorKind::Truncated {
                return SnapshotError::new(SnapshotErrorKind::Corrupt, error.to_string())
                    .in_file(&self.name)
                    .at(offset);
            }
            SnapshotError::io("cannot read", error).in_file(&self.name).at(offset)
        })?;
        if let Some((start, check)) = &self.check
            && let Some(offset) = offset.checked_sub(*start)
        {
            check.see(offset, buffer);
        }
        Ok(())
    }

    fn name(&self) -> &str {
        &self.name
    }
}
