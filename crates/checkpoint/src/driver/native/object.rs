//! Objects being written: new native files one after the other, checksummed.

use std::sync::atomic::{AtomicBool, Ordering};

use crc32fast::Hasher;
use millpond_snapshot::metadata::FileHandle;
use millpond_state::{
    CancelFlag, ErrorKind as StateErrorKind, FileSink, FileWriter, LocalFile,
    Result as StateResult, StateError,
};
use millpond_storage::{Effect, Store, StorePath, StoreWriter};

use super::super::local::Draft;
use super::super::storage;
use crate::error::Result;

/// Why the objects of a snapshot are given up.
#[derive(Clone, Copy)]
pub(super) struct Stop<'c> {
    pub(super) cancel: &'c CancelFlag,
    /// Set when one of several that are written at once has failed.
    pub(super) failed: &'c AtomicBool,
}

impl Stop<'_> {
    /// Fails once there is no point in going on.
    fn check(&self) -> StateResult<()> {
        self.cancel.check()?;
        if self.failed.load(Ordering::Relaxed) {
            let message = "another file of the snapshot could not be written";
            return Err(StateError::new(StateErrorKind::Cancelled, message));
        }
        Ok(())
    }
}

/// Where a new file is in its object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) crc32: u32,
}

/// A new object. Dropped unfinished, it leaves nothing behind.
pub(super) struct NewObject {
    name: String,
    writer: Box<dyn StoreWriter>,
    /// The writer has the bytes already.
    is_linked: bool,
    bytes: u64,
    hasher: Hasher,
}

impl NewObject {
    pub(super) fn create(store: &dyn Store, name: String) -> StateResult<Self> {
        let path = StorePath::new(&name).map_err(cannot_write)?;
        let writer = store.create(&path).map_err(cannot_write)?;
        Ok(Self { name, writer, is_linked: false, bytes: 0, hasher: Hasher::new() })
    }

    /// A new object that is `file`: to be appended to it, and nothing else. `None` if the store
    /// has to be given the bytes.
    pub(super) fn link(store: &dyn Store, name: &str, file: &LocalFile) -> Option<Self> {
        let writer = store.create_linked(&StorePath::new(name).ok()?, &file.path)?;
        let name = name.to_owned();
        Some(Self { name, writer, is_linked: true, bytes: 0, hasher: Hasher::new() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Appends what `write` writes, also to `draft`. After an error the object is unusable.
    pub(super) fn append(
        &mut self,
        draft: &mut Option<Draft>,
        stop: Stop<'_>,
        write: &mut FileWriter<'_>,
    ) -> StateResult<Part> {
        let offset = self.bytes;
        let mut sink = PartSink { object: self, hasher: Hasher::new(), draft, stop };
        write(&mut sink)?;
        let hasher = sink.hasher;
        self.hasher.combine(&hasher);
        Ok(Part { offset, bytes: self.bytes - offset, crc32: hasher.finalize() })
    }

    /// Publishes the object. One that may be there in spite of an error is deleted again.
    pub(super) fn finish(self, store: &dyn Store) -> Result<FileHandle> {
        let Self { name, writer, bytes, hasher, is_linked: _ } = self;
        if let Err(error) = writer.finish() {
            if error.effect() != Effect::DidNotHappen {
                remove(store, &name);
            }
            return Err(storage(error));
        }
        Ok(FileHandle::shared(name, bytes, hasher.finalize())?)
    }
}

/// Deletes a published object that nobody has heard of.
pub(super) fn remove(store: &dyn Store, name: &str) {
    // What stays is an orphan: garbage collection finds it.
    let _ = StorePath::new(name).and_then(|path| store.delete(&path));
}

/// Appends a file to an object.
struct PartSink<'o> {
    object: &'o mut NewObject,
    hasher: Hasher,
    draft: &'o mut Option<Draft>,
    stop: Stop<'o>,
}

impl FileSink for PartSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> StateResult<()> {
        self.stop.check()?;
        if !self.object.is_linked {
            self.object.writer.write(bytes).map_err(cannot_write)?;
        }
        self.hasher.update(bytes);
        self.object.bytes += bytes.len() as u64;
        Draft::write(self.draft, bytes);
        Ok(())
    }
}

/// The length of a local file.
pub(super) fn local_bytes(file: &LocalFile) -> StateResult<u64> {
    let metadata = file.path.metadata().map_err(|error| unreadable(file, error))?;
    Ok(metadata.len())
}

#[cold]
fn unreadable(file: &LocalFile, error: std::io::Error) -> StateError {
    let message = format!("cannot read {}", file.path.display());
    StateError::new(StateErrorKind::Io, message).with_source(error)
}

#[cold]
pub(super) fn cannot_write(error: millpond_storage::StorageError) -> StateError {
    StateError::new(StateErrorKind::Io, "cannot write").with_source(error)
}
