//! Reading one object of a local store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::DiskFile;
use super::folders::Folders;
use crate::error::{Effect, Result, StorageError};
use crate::path::StorePath;
use crate::store::StoreReader;

#[derive(Debug)]
pub(super) struct LocalReader {
    pub(super) folders: Arc<Folders>,
    pub(super) path: StorePath,
    pub(super) file: Box<dyn DiskFile>,
    /// Length when it was opened. Objects never change, so this is their length.
    pub(super) len: u64,
    /// Where it is, if it is the operating system's file.
    pub(super) place: Option<PathBuf>,
}

impl StoreReader for LocalReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(self.truncated(offset, buffer.len(), self.len));
        }
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            // Cut behind our back: say how long it is now.
            io::ErrorKind::UnexpectedEof => {
                let len = self.file.len().unwrap_or(self.len);
                self.truncated(offset, buffer.len(), len)
            }
            _ => self.folders.error(
                error,
                Effect::DidNotHappen,
                &format!("cannot read {} bytes at offset {offset}", buffer.len()),
                Some(&self.path),
            ),
        })
    }

    fn local_file(&self) -> Option<&Path> {
        self.place.as_deref()
    }
}

impl LocalReader {
    fn truncated(&self, offset: u64, wanted: usize, len: u64) -> StorageError {
        self.folders.placed(StorageError::truncated(offset, wanted, len), Some(&self.path))
    }
}
