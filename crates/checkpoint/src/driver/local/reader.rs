//! Reading a local copy as if it were an object.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use millpond_storage::{Effect, StorageError, StoreReader};

/// Bytes read at once to compare a checksum.
const CHUNK_BYTES: usize = 1 << 20;

/// An open local copy.
#[derive(Debug)]
pub(in crate::driver) struct CopyReader {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl CopyReader {
    pub(in crate::driver) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, path: path.to_owned(), bytes })
    }

    /// The CRC-32 of all bytes.
    pub(super) fn crc32(&self) -> io::Result<u32> {
        let mut hasher = crc32fast::Hasher::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut at = 0;
        loop {
            let read = self.file.read_at(&mut chunk, at)?;
            match chunk.get(..read) {
                Some([]) | None => return Ok(hasher.finalize()),
                Some(bytes) => hasher.update(bytes),
            }
            at += read as u64;
        }
    }
}

impl StoreReader for CopyReader {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> millpond_storage::Result<()> {
        let path = self.path.display();
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                StorageError::truncated(offset, buffer.len(), self.bytes).with_path(path)
            }
            _ => {
                let message = format!("cannot read {} bytes at offset {offset}", buffer.len());
                StorageError::from_io(error, Effect::DidNotHappen, message).with_path(path)
            }
        })
    }

    fn local_file(&self) -> Option<&Path> {
        None
    }
}
