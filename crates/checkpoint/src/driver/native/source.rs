//! Native files on their way out of storage.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use millpond_snapshot::ByteSource;
use millpond_snapshot::metadata::{FileHandle, IncrementalHandle, LogicalFile};
use millpond_state::{
    ErrorKind as StateErrorKind, FileIdentity, FileReader, FileSource, KeyGroupRange,
    Result as StateResult, StateError, StoredFile,
};

use super::super::adapter::ObjectSource;
use super::super::folder::CheckpointFolder;
use super::place;
use crate::error::{CheckpointError, Result};

/// The files of a handle.
pub(in crate::driver) struct HandleFiles<'f> {
    folder: &'f CheckpointFolder,
    handle: &'f IncrementalHandle,
    files: Vec<StoredFile>,
    by_name: BTreeMap<&'f str, (&'f LogicalFile, &'f FileHandle)>,
    /// Names of the files that were opened.
    opened: RefCell<BTreeSet<String>>,
}

impl<'f> HandleFiles<'f> {
    pub(in crate::driver) fn new(
        folder: &'f CheckpointFolder,
        handle: &'f IncrementalHandle,
    ) -> Self {
        let files = handle.placed_files().map(|(logical, object)| {
            let place = place(&folder.rooted_name(object), logical.offset);
            let identity = FileIdentity::new(place, logical.bytes, logical.crc32);
            StoredFile { name: logical.name.clone(), identity }
        });
        let by_name = handle.placed_files().map(|file| (file.0.name.as_str(), file));
        let (files, by_name) = (files.collect(), by_name.collect());
        Self { folder, handle, files, by_name, opened: RefCell::default() }
    }

    /// Compares the checksums of all files that were opened.
    pub(in crate::driver) fn settle(&self) -> Result<()> {
        let opened = self.opened.borrow();
        let files = self.handle.placed_files();
        for (logical, object) in files.filter(|(logical, _)| opened.contains(&logical.name)) {
            ObjectPart::open(self.folder, logical, object)?.settle()?;
        }
        Ok(())
    }
}

impl FileSource for HandleFiles<'_> {
    fn backend(&self) -> &str {
        &self.handle.backend
    }

    fn key_groups(&self) -> KeyGroupRange {
        self.handle.key_groups
    }

    fn manifest(&self) -> &[u8] {
        &self.handle.manifest
    }

    fn files(&self) -> &[StoredFile] {
        &self.files
    }

    fn open(&self, name: &str) -> StateResult<Box<dyn FileReader>> {
        let Some((logical, object)) = self.by_name.get(name).copied() else {
            let message = format!("the handle has no file {name:?}");
            return Err(StateError::new(StateErrorKind::InvalidArgument, message));
        };
        let part = ObjectPart::open(self.folder, logical, object).map_err(state_error)?;
        self.opened.borrow_mut().insert(logical.name.clone());
        Ok(Box::new(part))
    }
}

fn state_error(error: CheckpointError) -> StateError {
    use crate::error::ErrorKind;
    let kind = match error.kind() {
        ErrorKind::Corrupt => StateErrorKind::Corrupt,
        ErrorKind::Incompatible => StateErrorKind::Incompatible,
        ErrorKind::InvalidArgument => StateErrorKind::InvalidArgument,
        _ => StateErrorKind::Io,
    };
    StateError::new(kind, error.to_string())
}

/// A logical file within its object, as readers of formats see it.
#[derive(Debug)]
pub struct ObjectPart {
    object: ObjectSource,
    offset: u64,
    bytes: u64,
    name: String,
}

impl ObjectPart {
    pub(in crate::driver) fn open(
        folder: &CheckpointFolder,
        logical: &LogicalFile,
        object: &FileHandle,
    ) -> Result<Self> {
        let place = (logical.offset, logical.bytes, logical.crc32);
        let (source, offset) = folder.open_part(object, place)?;
        let name = format!("{}, logical file {}", ByteSource::name(&source), logical.name);
        Ok(Self { object: source, offset, bytes: logical.bytes, name })
    }

    fn is_whole_object(&self) -> bool {
        self.offset == 0 && self.bytes == ByteSource::len(&self.object)
    }

    /// Compares the checksum of all bytes, if the file is read for a restore.
    pub(in crate::driver) fn settle(&self) -> Result<()> {
        self.object.check().map_or(Ok(()), |check| check.settle(self))
    }
}

impl ByteSource for ObjectPart {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> millpond_snapshot::Result<()> {
        self.object.read_exact_at(self.offset.saturating_add(offset), buffer)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl FileReader for ObjectPart {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> StateResult<()> {
        ByteSource::read_exact_at(self, offset, buffer).map_err(StateError::from)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn local_path(&self) -> Option<&Path> {
        let check = self.object.check()?;
        if let Some(copy) = check.copy() {
            return Some(copy);
        }
        let object = self.object.local_file().filter(|_| self.is_whole_object())?;
        // Of a damaged file, who reads it tells more.
        self.settle().ok().map(|()| object)
    }
}

#[cfg(test)]
mod tests;
