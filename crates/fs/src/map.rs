//! Files mapped into memory: the one place of this crate with unsafe code.
//!
//! # Why this is sound
//! A mapping is a slice of bytes for as long as it lives. Two things could break that: another
//! mutable view of the bytes, and bytes that go away (a file that is cut short makes an access to
//! the missing pages a fault).
//!
//! - The file was created by [`NewFile::create`] under a name that did not exist before, in a
//!   folder of this instance's own that no other user may enter. Only its [`NewFile`] can write to
//!   it, and [`NewFile::map`] consumes that: there is no writable handle afterwards. No handle is
//!   ever given away.
//! - The name is removed before the mapping is handed out. From then on no path leads to the file:
//!   nobody can open it, to write or to cut it short. What a process with the same or higher rights
//!   can do through the operating system's tables of open files (`/proc/<pid>/map_files`) it could
//!   equally do to the memory itself. If the name cannot be removed, there is no mapping.
//! - The length of the mapping is what the file was found to have after the last write, and the
//!   blocks of all of it were allocated by those writes: the disk cannot be full later.
//! - The mapping is read-only: nothing here writes to it.
//!
//! A disk that fails to read a page is a fault like memory that fails.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use memmap2::{Advice, Mmap};

/// A file that is being written. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Creates the file at `path`, where none must be.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok(Self { file, path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends all of another file.
    pub(crate) fn copy_from(&mut self, from: &mut File) -> io::Result<()> {
        io::copy(from, &mut self.file).map(drop)
    }

    /// Maps what was written. The file has no name afterwards.
    #[expect(unsafe_code, reason = "mapping a file; the module says why it is sound here")]
    pub(crate) fn map(self) -> io::Result<Mapping> {
        let bytes = self.file.metadata()?.len();
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        std::fs::remove_file(&self.path)?;
        // SAFETY: the file is this instance's own, nothing can write to it or cut it short once
        // `self` is gone, and no path leads to it any longer. See the module.
        let map = unsafe { memmap2::MmapOptions::new().len(bytes).map(&self.file)? };
        // Advice only: a system that does not take it reads ahead.
        let _ = map.advise(Advice::Random);
        Ok(Mapping { map })
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Gone already once it is mapped; otherwise the folder's removal will see to it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The bytes of a file that never changes.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: Mmap,
}

impl Mapping {
    /// All of them.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_mapped_and_has_no_name_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = NewFile::create(path.clone()).unwrap();
        file.write_all(b"millpond").unwrap();
        let mapping = file.map().unwrap();
        assert!(!path.exists());
        assert_eq!(mapping.bytes(), b"millpond");
    }

    #[test]
    fn a_file_that_is_there_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"other").unwrap();
        assert!(NewFile::create(path.clone()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"other");
    }

    #[test]
    fn a_file_that_is_not_mapped_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = NewFile::create(dir.path().join("file")).unwrap();
        let path = file.path().to_owned();
        drop(file);
        assert!(!path.exists());
    }
}
