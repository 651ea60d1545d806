//! A two-phase-commit sink that writes part files into a folder.
//!
//! ```text
//! part-<checkpoint>-<subtask>.csv               committed: rows of one subtask up to a checkpoint
//! .part-<attempt>-<subtask>-<n>.pending         being written, or pre-committed
//! .superseded-part-<checkpoint>-<subtask>.csv   committed after a checkpoint that was restored
//! ```
//!
//! Numbers are decimal, padded with zeros to 6 (checkpoint) and 4 (subtask) digits; the attempt is
//! 16 hexadecimal digits. A commit is a rename within the folder, made durable by syncing it. A
//! subtask without rows writes no file.
//!
//! Invariant: the folder is touched through [`Disk`] only, so that tests see what a loss of power
//! leaves of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use millpond_state::{AttemptId, CheckpointId};
use millpond_storage::{Disk, DiskEntry, DiskFile, OsDisk};

use super::{Committable, PreCommit, RecoverySummary, Sink, SinkFactory, SinkRecovery};
use crate::error::{JobError, JobErrorKind, Result};

/// How records become lines of a part file.
pub trait PartFileFormat<T>: Send + Sync {
    /// File name extension without the dot.
    fn extension(&self) -> &str;

    /// What every file begins with.
    fn header(&self) -> &[u8];

    /// Appends one record.
    ///
    /// # Errors
    /// If the record cannot be written in this format.
    fn append(&self, record: &T, out: &mut Vec<u8>) -> Result<()>;
}

/// A folder of part files: makes the sinks of its subtasks and recovers it after a crash.
pub struct PartFiles<T> {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    format: Arc<dyn PartFileFormat<T>>,
}

impl<T> Clone for PartFiles<T> {
    fn clone(&self) -> Self {
        let (disk, format) = (Arc::clone(&self.disk), Arc::clone(&self.format));
        Self { disk, folder: self.folder.clone(), format }
    }
}

impl<T> std::fmt::Debug for PartFiles<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartFiles").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl<T: 'static> PartFiles<T> {
    /// Opens the folder, making it durably if it is missing.
    ///
    /// # Errors
    /// [`JobErrorKind::Output`] if it cannot be made.
    pub fn create(
        folder: impl Into<PathBuf>,
        format: impl PartFileFormat<T> + 'static,
    ) -> Result<Self> {
        Self::create_on(Arc::new(OsDisk), folder, format)
    }

    /// As [`Self::create`], on another file system than the kernel's.
    ///
    /// # Errors
    /// As of [`Self::create`].
    pub fn create_on(
        disk: Arc<dyn Disk>,
        folder: impl Into<PathBuf>,
        format: impl PartFileFormat<T> + 'static,
    ) -> Result<Self> {
        let folder = folder.into();
        disk.create_folders(&folder).map_err(|error| failed("cannot make", &folder, error))?;
        Ok(Self { disk, folder, format: Arc::new(format) })
    }

    /// The sink of subtask `subtask` in execution attempt `attempt`.
    #[must_use]
    pub fn sink(&self, attempt: AttemptId, subtask: u32) -> PartFileSink<T> {
        PartFileSink {
            files: self.clone(),
            attempt,
            subtask,
            files_started: 0,
            current: None,
            row: Vec::new(),
            pre_committed: BTreeMap::new(),
            unsynced: Arc::default(),
        }
    }

    fn committed_names(&self) -> Result<Vec<(CheckpointId, String)>> {
        let suffix = format!(".{}", self.format.extension());
        let names = self.names()?.into_iter().filter_map(|name| {
            let middle = name.strip_prefix("part-")?.strip_suffix(&suffix)?;
            let checkpoint = middle.split_once('-')?.0.parse().ok()?;
            Some((CheckpointId::new(checkpoint), name))
        });
        Ok(names.collect())
    }

    fn names(&self) -> Result<Vec<String>> {
        let names = self.disk.names(&self.folder);
        let mut names = names.map_err(|error| failed("cannot list", &self.folder, error))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Makes names in the folder durable.
    fn sync_folder(&self) -> Result<()> {
        sync_folder(&*self.disk, &self.folder)
    }

    /// Makes a pre-committed file visible; `false` if it was already.
    fn commit_file(&self, committable: &Committable) -> Result<bool> {
        let pending = self.path_of(&committable.pending_name)?;
        let visible = self.path_of(&committable.final_name)?;
        match self.disk.rename(&pending, &visible) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let len = self
                    .len(&visible)
                    .map_err(|error| failed("pre-committed output has gone:", &visible, error))?;
                if len == committable.len {
                    return Ok(false);
                }
                let message = format!(
                    "{} has {len} bytes but the checkpoint committed {}: somebody changed \
                     it; put it back, or restore an older checkpoint",
                    visible.display(),
                    committable.len
                );
                Err(JobError::new(JobErrorKind::Output, message).permanent())
            }
            Err(error) => Err(failed("cannot commit", &visible, error)),
        }
    }

    /// The length of a file.
    fn len(&self, path: &Path) -> io::Result<u64> {
        match self.disk.entry(path)? {
            Some(DiskEntry::File { len }) => Ok(len),
            Some(_) => Err(io::Error::other("it is no file")),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// At the beginning nothing is committed yet: a folder that has parts is another run's.
    fn recover_to_beginning(
        &self,
        committed: &[(CheckpointId, String)],
    ) -> Result<RecoverySummary> {
        if let Some((_, name)) = committed.first() {
            let message = format!(
                "{} holds the output of another run ({name}): restore from that run's checkpoint, \
                 or choose an empty folder",
                self.folder.display()
            );
            return Err(JobError::new(JobErrorKind::Output, message).permanent());
        }
        let aborted = self.remove_pending()?;
        self.sync_folder()?;
        Ok(RecoverySummary { aborted, ..RecoverySummary::default() })
    }

    /// Removes files that no checkpoint names; returns how many.
    fn remove_pending(&self) -> Result<u64> {
        let mut removed = 0;
        for name in self.names()? {
            if name.starts_with(".part-") && name.ends_with(".pending") {
                let path = self.folder.join(name);
                let removed_it = self.disk.remove_file(&path);
                removed_it.map_err(|error| failed("cannot remove", &path, error))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Takes a committed file out of sight.
    fn hide(&self, name: &str) -> Result<()> {
        let from = self.folder.join(name);
        let to = self.folder.join(format!(".superseded-{name}"));
        let hide = || -> io::Result<()> {
            self.disk.rename(&from, &to)?;
            // Between two names of one file, which a loss of power during a rename may leave, there
            // is nothing to rename.
            if self.disk.entry(&from)?.is_some() { self.disk.remove_file(&from) } else { Ok(()) }
        };
        hide().map_err(|error| failed("cannot hide", &from, error))
    }

    /// Names come out of checkpoint files: they must not lead out of the folder.
    fn path_of(&self, name: &str) -> Result<PathBuf> {
        if Path::new(name).file_name() == Some(OsStr::new(name)) {
            return Ok(self.folder.join(name));
        }
        let message =
            format!("checkpoint names {name:?} as an output file, which is no plain name");
        Err(JobError::new(JobErrorKind::Restore, message))
    }
}

impl<T: 'static> SinkFactory<T> for PartFiles<T> {
    fn open(&self, attempt: AttemptId, subtask: u32) -> Result<Box<dyn Sink<T>>> {
        Ok(Box::new(self.sink(attempt, subtask)))
    }
}

impl<T: 'static> SinkRecovery for PartFiles<T> {
    fn recover(
        &self,
        restored: Option<CheckpointId>,
        committables: &[Vec<u8>],
    ) -> Result<RecoverySummary> {
        let committed = self.committed_names()?;
        let Some(restored) = restored else {
            return self.recover_to_beginning(&committed);
        };
        let mut summary = RecoverySummary::default();
        for bytes in committables {
            if self.commit_file(&Committable::decode(bytes)?)? {
                summary.committed += 1;
            }
        }
        summary.aborted = self.remove_pending()?;
        for (_, name) in committed.iter().filter(|(checkpoint, _)| *checkpoint > restored) {
            self.hide(name)?;
            summary.hidden += 1;
        }
        self.sync_folder()?;
        Ok(summary)
    }
}

/// One subtask's sink of [`PartFiles`].
pub struct PartFileSink<T> {
    files: PartFiles<T>,
    attempt: AttemptId,
    subtask: u32,
    files_started: u64,
    current: Option<Current>,
    row: Vec<u8>,
    /// Pre-committed and not yet committed, by checkpoint.
    pre_committed: BTreeMap<CheckpointId, Committable>,
    /// Closed files that may not be durable yet.
    unsynced: Arc<Mutex<Unsynced>>,
}

/// What has to become durable before a checkpoint may name it.
#[derive(Default)]
struct Unsynced {
    files: Vec<(Appending, PathBuf)>,
    /// A sync failed. What the kernel then still holds of a file nobody knows, and a second sync
    /// may say that all is well.
    is_failed: bool,
}

impl Unsynced {
    fn sync(&mut self, disk: &dyn Disk, folder: &Path) -> Result<()> {
        if self.is_failed {
            let message = format!(
                "output in {} may be lost, since an earlier sync of it failed: restore",
                folder.display()
            );
            return Err(JobError::new(JobErrorKind::Output, message));
        }
        self.is_failed = true;
        for (file, path) in &mut self.files {
            file.0.sync().map_err(|error| failed("cannot sync", path, error))?;
        }
        if !self.files.is_empty() {
            sync_folder(disk, folder)?;
        }
        self.files.clear();
        self.is_failed = false;
        Ok(())
    }
}

/// The file being written.
struct Current {
    name: String,
    path: PathBuf,
    writer: BufWriter<Appending>,
    len: u64,
}

/// A file to which a buffer is written whenever it is full.
struct Appending(Box<dyn DiskFile>);

impl Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T> std::fmt::Debug for PartFileSink<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartFileSink")
            .field("folder", &self.files.folder)
            .field("subtask", &self.subtask)
            .finish_non_exhaustive()
    }
}

impl<T: 'static> PartFileSink<T> {
    fn start_file(&mut self) -> Result<Current> {
        let name = format!(
            ".part-{:016x}-{:04}-{}.pending",
            self.attempt.get(),
            self.subtask,
            self.files_started
        );
        self.files_started += 1;
        let path = self.files.folder.join(&name);
        let header = self.files.format.header();
        let open = || -> io::Result<BufWriter<Appending>> {
            let file = Appending(self.files.disk.create_file(&path)?);
            let mut writer = BufWriter::with_capacity(1 << 16, file);
            writer.write_all(header)?;
            Ok(writer)
        };
        let writer = open().map_err(|error| failed("cannot write", &path, error))?;
        Ok(Current { name, path, writer, len: header.len() as u64 })
    }
}

impl<T: 'static> Sink<T> for PartFileSink<T> {
    fn write(&mut self, record: &T) -> Result<()> {
        self.row.clear();
        self.files.format.append(record, &mut self.row)?;
        if self.current.is_none() {
            self.current = Some(self.start_file()?);
        }
        if let Some(current) = &mut self.current {
            current
                .writer
                .write_all(&self.row)
                .map_err(|error| failed("cannot write", &current.path, error))?;
            current.len += self.row.len() as u64;
        }
        Ok(())
    }

    fn pre_commit(&mut self, checkpoint: CheckpointId) -> Result<PreCommit> {
        if let Some(current) = self.current.take() {
            let extension = self.files.format.extension();
            let final_name =
                format!("part-{:06}-{:04}.{extension}", checkpoint.get(), self.subtask);
            let committable =
                Committable { pending_name: current.name, final_name, len: current.len };
            let file = current
                .writer
                .into_inner()
                .map_err(|error| failed("cannot write", &current.path, error.into_error()))?;
            self.pre_committed.insert(checkpoint, committable);
            let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
            unsynced.files.push((file, current.path));
        }
        let unsynced = Arc::clone(&self.unsynced);
        let (disk, folder) = (Arc::clone(&self.files.disk), self.files.folder.clone());
        let committables: Vec<Committable> = self.pre_committed.values().cloned().collect();
        Ok(Box::new(move || {
            // Also those closed for earlier checkpoints, which are named here too: what makes them
            // durable may run after this. Who comes second waits.
            let mut unsynced = unsynced.lock().unwrap_or_else(PoisonError::into_inner);
            unsynced.sync(&*disk, &folder)?;
            drop(unsynced);
            committables.iter().map(Committable::encode).collect()
        }))
    }

    fn commit(&mut self, checkpoint: CheckpointId) -> Result<()> {
        let later = self.pre_committed.split_off(&checkpoint.next());
        let committing = std::mem::replace(&mut self.pre_committed, later);
        if committing.is_empty() {
            return Ok(());
        }
        for committable in committing.values() {
            self.files.commit_file(committable)?;
        }
        self.files.sync_folder()
    }
}

/// Makes names in a folder durable.
fn sync_folder(disk: &dyn Disk, folder: &Path) -> Result<()> {
    disk.sync_folder(folder).map_err(|error| failed("cannot sync", folder, error))
}

#[cold]
fn failed(what: &str, path: &Path, error: io::Error) -> JobError {
    let next = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ": free space, then restore",
        ErrorKind::PermissionDenied => ": give access, then restore",
        _ => "",
    };
    JobError::new(JobErrorKind::Output, format!("{what} {}{next}", path.display()))
        .with_source(error)
}

#[cfg(test)]
mod tests;
