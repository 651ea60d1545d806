//! Storage of native snapshots in a folder, so that what a test stores is not in its memory.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use millpond_state::{
    ErrorKind, FileIdentity, FileReader, FileSink, FileSource, FileTransfer, FileWriter,
    KeyGroupRange, Result, StateError, StoredFile,
};

/// Adds the files of one snapshot to a folder, or hands them out again.
pub(crate) struct FolderFiles {
    folder: PathBuf,
    files: Vec<StoredFile>,
    key_groups: KeyGroupRange,
    pub(crate) manifest: Vec<u8>,
}

impl FolderFiles {
    /// Makes `folder`.
    pub(crate) fn create(folder: PathBuf, key_groups: KeyGroupRange) -> Self {
        std::fs::create_dir(&folder).unwrap();
        Self { folder, files: Vec::new(), key_groups, manifest: Vec::new() }
    }
}

fn failed(error: std::io::Error) -> StateError {
    StateError::new(ErrorKind::Io, "the folder cannot be used").with_source(error)
}

struct Sink {
    file: File,
    hasher: crc32fast::Hasher,
    bytes: u64,
}

impl FileSink for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(failed)
    }
}

impl FileTransfer for FolderFiles {
    fn reuse(&mut self, _: &str, _: &FileIdentity) -> Result<bool> {
        Ok(false)
    }

    fn reuse_all(&mut self, _: &[(&str, &FileIdentity)]) -> Result<bool> {
        Ok(false)
    }

    fn add(&mut self, name: &str, write: &mut FileWriter<'_>) -> Result<FileIdentity> {
        let path = self.folder.join(name);
        let file = File::create_new(&path).map_err(failed)?;
        let mut sink = Sink { file, hasher: crc32fast::Hasher::new(), bytes: 0 };
        write(&mut sink)?;
        let (bytes, crc) = (sink.bytes, sink.hasher.finalize());
        let identity = FileIdentity::new(path.to_string_lossy(), bytes, crc);
        self.files.push(StoredFile { name: name.to_owned(), identity: identity.clone() });
        Ok(identity)
    }

    fn compression_level(&self) -> i32 {
        0
    }
}

struct Reader {
    file: File,
    bytes: u64,
    path: PathBuf,
}

impl FileReader for Reader {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(failed)
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn local_path(&self) -> Option<&Path> {
        None
    }
}

impl FileSource for FolderFiles {
    fn backend(&self) -> &str {
        "rocksdb"
    }

    fn key_groups(&self) -> KeyGroupRange {
        self.key_groups
    }

    fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    fn files(&self) -> &[StoredFile] {
        &self.files
    }

    fn open(&self, name: &str) -> Result<Box<dyn FileReader>> {
        let path = self.folder.join(name);
        let file = File::open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(Box::new(Reader { file, bytes, path }))
    }
}
