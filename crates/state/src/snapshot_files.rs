//! The native form of a snapshot: immutable files of the backend's own, most of which storage has
//! already from earlier checkpoints.
//!
//! A [`FilesTask`] names each file that the state consists of to a [`FileTransfer`], which either
//! knows it or takes its bytes; a [`FileSource`] hands the files out again for a restore. No store
//! is known here, and nothing is said of what is in a file: only a backend for which
//! [`KeyedBackend::opens_files_of`](crate::KeyedBackend::opens_files_of) holds understands it.
//!
//! # Invariants
//! - A file is known by its [`FileIdentity`], never by its name: each snapshot names the files it
//!   consists of as it likes, each name once.
//! - A backend that restores from a file compares the bytes it read of it with the identity's
//!   checksum if it reads all of them: an older file of the same name and length is damage.
//! - A backend keeps the identities that a transfer or a source gave it, and re-uses a file only if
//!   the transfer of the present snapshot says that it may.
//! - What a transfer was given does not exist before its snapshot's task has ended well.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::descriptor::StateDescriptor;
use crate::error::{ErrorKind, Result, StateError};
use crate::key_group::KeyGroupRange;
use crate::snapshot_api::CancelFlag;

/// Which file it is: where storage has it, how long it is and its checksum. Made by transfers and
/// sources, opaque to backends. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    place: Arc<str>,
    bytes: u64,
    crc32: u32,
}

impl FileIdentity {
    /// The file of `bytes` bytes with this CRC-32 at `place`, a name that storage gives once and
    /// never again.
    #[must_use]
    pub fn new(place: impl Into<Arc<str>>, bytes: u64, crc32: u32) -> Self {
        Self { place: place.into(), bytes, crc32 }
    }

    /// Where storage has it.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Its length.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// CRC-32 of its bytes.
    #[must_use]
    pub const fn crc32(&self) -> u32 {
        self.crc32
    }
}

/// Bytes of a local file that are read at once.
const COPY_BYTES: usize = 1 << 20;

/// Takes the bytes of one new file, front to back.
pub trait FileSink {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; the snapshot cannot go on then.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Writes one new file.
pub type FileWriter<'w> = dyn FnMut(&mut dyn FileSink) -> Result<()> + 'w;

/// Takes the files of one snapshot.
pub trait FileTransfer {
    /// Makes a file that storage has a part of this snapshot, called `name`. `false`: storage has
    /// it no longer, or it must not be re-used; nothing has happened then, and the backend adds its
    /// contents anew.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the name is taken or
    /// none that metadata takes.
    fn reuse(&mut self, name: &str, file: &FileIdentity) -> Result<bool>;

    /// As [`Self::reuse`] for all of `files`, or for none of them.
    ///
    /// # Errors
    /// As [`Self::reuse`].
    fn reuse_all(&mut self, files: &[(&str, &FileIdentity)]) -> Result<bool>;

    /// Takes what `write` writes as a new file, called `name`: streamed, and checksummed.
    /// Returns what later snapshots re-use it by.
    ///
    /// # Errors
    /// What `write` or storage reports; the snapshot cannot go on then.
    fn add(&mut self, name: &str, write: &mut FileWriter<'_>) -> Result<FileIdentity>;

    /// Takes files of the local disk as new files, each as it is: what [`Self::add`] does for each
    /// of them in order, but storage may take several at once. They must not change any more, since
    /// a link to them may be kept. Returns what later snapshots re-use them by, in their order.
    ///
    /// # Errors
    /// As [`Self::add`]; [`ErrorKind::Io`] if a file cannot be read.
    fn add_local(&mut self, files: &[LocalFile]) -> Result<Vec<FileIdentity>> {
        let add = |file: &LocalFile| self.add(&file.name, &mut |sink| file.copy_to(sink));
        files.iter().map(add).collect()
    }

    /// The zstd level that new files shall be compressed with, as far as their format leaves the
    /// choice; 0 for no compression.
    fn compression_level(&self) -> i32;
}

/// A complete file of the local disk that a snapshot consists of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalFile {
    /// What the snapshot calls it.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
}

impl LocalFile {
    /// Writes all bytes of the file to `sink`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read; what the sink reports.
    pub fn copy_to(&self, sink: &mut dyn FileSink) -> Result<()> {
        let unreadable = |error| {
            let message = format!("cannot read {}", self.path.display());
            StateError::new(ErrorKind::Io, message).with_source(error)
        };
        let mut file = File::open(&self.path).map_err(unreadable)?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let read = file.read(&mut buffer).map_err(unreadable)?;
            match buffer.get(..read) {
                Some([]) | None => return Ok(()),
                Some(bytes) => sink.write(bytes)?,
            }
        }
    }
}

/// What a finished snapshot of files says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FilesSummary {
    /// The states, as snapshots list them.
    pub states: Vec<StateDescriptor>,
    /// Entries of the state, as far as the backend knows.
    pub entries: u64,
    /// Entries that the new files hold, deletions included.
    pub entries_changed: u64,
    /// What the backend needs to open the files beside their names; empty if nothing.
    pub manifest: Vec<u8>,
}

/// The asynchronous part of a snapshot of files: owns what it needs, runs on any thread, and
/// releases what it holds when it ends or is dropped.
pub trait FilesTask: Send {
    /// Names every file of the state as it was when the snapshot was taken.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] soon after `cancel` is set; what the
    /// transfer reports.
    fn run(
        self: Box<Self>,
        files: &mut dyn FileTransfer,
        cancel: &CancelFlag,
    ) -> Result<FilesSummary>;
}

/// A file that can be read at any place, by any number of threads.
pub trait FileReader: Send + Sync {
    /// Length in bytes. Never changes.
    fn len(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the file ends before;
    /// [`ErrorKind::Io`] if it cannot be read.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// What errors call the file.
    fn name(&self) -> &str;

    /// Where the local disk has the same bytes, if it does: an unchanging file whose checksum was
    /// compared, at the latest by this call, which then reads all of it. It may be linked to but
    /// not written, and its name may go at any time: the reader still reads the bytes then.
    fn local_path(&self) -> Option<&Path> {
        None
    }

    /// Whether the length is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredFile {
    /// What the snapshot calls it.
    pub name: String,
    /// Which file it is.
    pub identity: FileIdentity,
}

/// The files of one snapshot.
pub trait FileSource {
    /// Name of the backend whose files they are.
    fn backend(&self) -> &str;

    /// The key groups that the state was taken of.
    fn key_groups(&self) -> KeyGroupRange;

    /// The backend's [`FilesSummary::manifest`].
    fn manifest(&self) -> &[u8];

    /// All files.
    fn files(&self) -> &[StoredFile];

    /// Opens the file called `name`. Several may be open at once.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is missing or has another length;
    /// [`ErrorKind::Io`] if that cannot be found out.
    fn open(&self, name: &str) -> Result<Box<dyn FileReader>>;
}
