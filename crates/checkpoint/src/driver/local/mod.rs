//! Local recovery: a second copy of the newest completed checkpoint's files on local disk, so that
//! a restore on the same machine need not fetch them from storage.
//!
//! ```text
//! <folder>/shared/<object>@<offset>   a file of an object that checkpoints share
//! <folder>/chk-<n>/<object>@<offset>  one of an object of checkpoint <n> alone
//! <folder>/.copy-<n>                  one being written
//! ```
//!
//! # Invariants
//! - Copies are a cache: nothing depends on them. One is used only if its length and the checksum
//!   of all its bytes are those that metadata states of the file, found out by reading it.
//! - A copy is known by the place of the file in storage, which is given once and never again: any
//!   subtask of any later run finds it.
//! - Only files of the newest completed checkpoint stay, beside those of checkpoints under way.
//!
//! # How it fails
//! It does not: a disk that is full or cannot be written to costs the copy and is told once to the
//! listener; a copy that is missing, damaged or cannot be read is fetched from storage.

mod draft;
mod reader;
mod sets;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_snapshot::CheckpointMetadata;
use millpond_state::{CheckpointId, FileIdentity};
use millpond_storage::FolderLock;

use super::CheckpointFolder;
use crate::error::{CheckpointError, ErrorKind, Result};
use crate::name;
pub(super) use draft::Draft;
pub(super) use reader::CopyReader;
use sets::Sets;

/// How the names of copies being written begin.
const TEMPORARY_PREFIX: &str = ".copy-";

/// What is wrong with local copies; the job goes on without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalProblem<'a> {
    /// A copy was there and is not what it must be: the file is read from storage
    /// instead.
    Damaged {
        /// The copy.
        file: &'a str,
        /// What is wrong with it.
        reason: &'a str,
    },
    /// A copy could not be written. Said once.
    CannotWrite {
        /// Why.
        reason: &'a str,
    },
}

/// Hears of [`LocalProblem`]s, on whatever thread meets them.
pub trait LocalCopiesListener: Send + Sync {
    /// Takes a problem.
    fn on_problem(&self, problem: &LocalProblem<'_>);
}

/// The local copies of one job's checkpoint files. Shared by threads; may block on local I/O.
pub struct LocalCopies {
    folder: PathBuf,
    sets: Mutex<Sets>,
    next_temporary: AtomicU64,
    has_failed: AtomicBool,
    listener: Box<dyn LocalCopiesListener>,
    _lock: FolderLock,
}

impl LocalCopies {
    /// The folder within `root` for the copies of the job called `job`, whose checkpoints are at
    /// the URL `storage`: its own, so that many jobs may share a root.
    #[must_use]
    pub fn job_folder(root: &Path, job: &str, storage: &str) -> PathBuf {
        root.join(name::job_folder(job, storage))
    }

    /// Opens the copies in `folder`, after making it where missing and removing what a process
    /// that died was writing.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the folder cannot be made or is in use by another process.
    pub fn open(folder: &Path, listener: Box<dyn LocalCopiesListener>) -> Result<Arc<Self>> {
        let failed = |error: io::Error| {
            let message = format!("cannot use {}: {error}", folder.display());
            CheckpointError::new(ErrorKind::Storage, message)
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = FolderLock::acquire(folder, "local copies of a job's checkpoints")
            .map_err(super::storage)?;
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(Arc::new(Self {
            folder: lock.folder().to_owned(),
            sets: Mutex::default(),
            next_temporary: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            listener,
            _lock: lock,
        }))
    }

    /// The job runs from `restored` on, or from its beginning: copies of anything else go.
    pub fn keep_only(&self, restored: Option<(&CheckpointFolder, &CheckpointMetadata)>) {
        let wanted = restored.map(|(folder, metadata)| folder.places(metadata));
        let wanted: BTreeSet<String> = wanted.into_iter().flatten().collect();
        let mut kept = BTreeSet::new();
        for folder in self.subfolders() {
            let Ok(entries) = fs::read_dir(self.folder.join(&folder)) else { continue };
            for entry in entries.flatten() {
                let place = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if wanted.contains(&place) {
                    kept.insert(place);
                } else {
                    self.remove(&place);
                }
            }
            self.remove_if_empty(&folder);
        }
        let restored = restored.map(|(_, metadata)| (metadata.checkpoint, kept));
        self.sets().restart(restored);
    }

    /// Files of this checkpoint are to be copied. Not for savepoints.
    pub fn begin(&self, checkpoint: CheckpointId) {
        self.sets().begin(checkpoint);
    }

    /// The checkpoint exists: copies that it does not use go.
    pub fn complete(&self, checkpoint: CheckpointId) {
        let unused = self.sets().complete(checkpoint);
        self.remove_all(&unused);
    }

    /// The checkpoint came to nothing.
    pub fn abort(&self, checkpoint: CheckpointId) {
        let unused = self.sets().abort(checkpoint);
        self.remove_all(&unused);
    }

    /// Starts a copy of a file of `checkpoint`, unless none is wanted.
    pub(super) fn draft(self: &Arc<Self>, checkpoint: CheckpointId) -> Option<Draft> {
        if !self.sets().wants(checkpoint) {
            return None;
        }
        let temporary = self.temporary();
        let draft = Draft::create(self, checkpoint, temporary.clone());
        self.written(checkpoint, &temporary, draft)
    }

    /// Likewise of a local file, which need not be copied if it can be linked to.
    pub(super) fn draft_of(
        self: &Arc<Self>,
        checkpoint: CheckpointId,
        original: &Path,
    ) -> Option<Draft> {
        if !self.sets().wants(checkpoint) {
            return None;
        }
        Draft::link(self, checkpoint, (original, self.temporary()))
            .ok()
            // Another disk, or one without links.
            .or_else(|| self.draft(checkpoint))
    }

    /// The checkpoint re-uses the file at `place`.
    pub(super) fn reuse(&self, checkpoint: CheckpointId, place: &str) {
        self.sets().reuse(checkpoint, place);
    }

    /// Opens the copy of `file`, if there is a whole one; reads all of it.
    pub(super) fn open_whole(&self, file: &FileIdentity) -> Option<PathBuf> {
        let path = self.folder.join(file.place());
        let flaw = match whole(&path, file) {
            Ok(()) => return Some(path),
            Err(None) => return None,
            Err(Some(flaw)) => flaw,
        };
        let (file_name, reason) = (&*path.to_string_lossy(), flaw.as_str());
        self.listener.on_problem(&LocalProblem::Damaged { file: file_name, reason });
        self.remove(file.place());
        self.sets().forget(file.place());
        None
    }

    fn publish(&self, checkpoint: CheckpointId, temporary: &Path, place: &str) {
        let path = self.folder.join(place);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        let published = made.and_then(|()| fs::rename(temporary, &path));
        if self.written(checkpoint, &path, published).is_some()
            && !self.sets().add(checkpoint, place.to_owned())
        {
            self.remove(place);
        }
    }

    fn written<T>(
        &self,
        checkpoint: CheckpointId,
        path: &Path,
        written: io::Result<T>,
    ) -> Option<T> {
        written.map_err(|error| self.cannot_write(checkpoint, path, &error)).ok()
    }

    fn cannot_write(&self, checkpoint: CheckpointId, path: &Path, error: &io::Error) {
        self.sets().give_up(checkpoint);
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            let reason = &format!("cannot write {}: {error}", path.display());
            self.listener.on_problem(&LocalProblem::CannotWrite { reason });
        }
    }

    fn temporary(&self) -> PathBuf {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{TEMPORARY_PREFIX}{number}"))
    }

    fn subfolders(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn remove_all(&self, places: &[String]) {
        places.iter().for_each(|place| self.remove(place));
        let folders: BTreeSet<&str> =
            places.iter().filter_map(|place| Some(place.rsplit_once('/')?.0)).collect();
        folders.into_iter().for_each(|folder| self.remove_if_empty(folder));
    }

    fn remove(&self, place: &str) {
        // What cannot be removed now goes at the next start.
        let _ = fs::remove_file(self.folder.join(place));
    }

    fn remove_if_empty(&self, folder: &str) {
        // Another subtask may be about to publish to the one that all checkpoints share.
        if folder != name::SHARED_FOLDER {
            // One with files in it is refused.
            let _ = fs::remove_dir(self.folder.join(folder));
        }
    }

    fn sets(&self) -> MutexGuard<'_, Sets> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for LocalCopies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalCopies").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Whether the copy at `path` has all of the file's bytes; if not, what is wrong, or nothing if
/// there is none.
fn whole(path: &Path, file: &FileIdentity) -> Result<(), Option<String>> {
    let copy = match CopyReader::open(path) {
        Ok(copy) => copy,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(None),
        Err(error) => return Err(Some(format!("it cannot be opened: {error}"))),
    };
    let bytes = millpond_storage::StoreReader::len(&copy);
    if bytes != file.bytes() {
        return Err(Some(format!("it has {bytes} bytes instead of {}", file.bytes())));
    }
    match copy.crc32() {
        Ok(crc32) if crc32 == file.crc32() => Ok(()),
        Ok(crc32) => {
            Err(Some(format!("its checksum is {crc32:08x} instead of {:08x}", file.crc32())))
        }
        Err(error) => Err(Some(format!("it cannot be read: {error}"))),
    }
}
