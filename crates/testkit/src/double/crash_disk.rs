//! A file system in memory that knows what is durable and what a loss of power may take.

mod files;
mod image;

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use millpond_storage::{Disk, DiskEntry, DiskFile};

use self::files::Files;
pub use self::image::{CrashMoment, Images};

/// A file system in memory for a [`LocalStore`](millpond_storage::LocalStore), of which every
/// state that a loss of power could leave can be looked at.
///
/// What it takes to be durable is as little as a file system may promise: the content of a file
/// once that file was synced, the names in a folder once that folder was synced, and nothing else.
/// In particular, of what was not synced
/// - written bytes may be lost from any place on, or be zeros although the length is there, or be
///   there;
/// - of each name in a folder any earlier or later state may be there, whatever became of other
///   names, so that two calls may show in the other order or only one of them, but for this: where
///   a rename took a name away, it gave the other one, or both are there;
/// - all that is below a folder goes with the folder's own name.
///
/// Clones are the same file system. Names and lengths only grow with what a test does, so that the
/// states can be listed; contents are kept whole.
///
/// ```
/// use std::path::Path;
/// use millpond_storage::{LocalStore, Store, StoreExt, StorePath};
/// use millpond_testkit::double::CrashDisk;
///
/// let disk = CrashDisk::new(Path::new("/data"));
/// let store = LocalStore::open_on(Box::new(disk.clone()), Path::new("/data"))?;
/// let path = StorePath::new("a/b")?;
/// store.put_if_absent(&path, b"still water")?;
/// disk.mark("acknowledged");
/// for moment in disk.moments() {
///     for image in moment.images(100, 0) {
///         let left = LocalStore::open_on(Box::new(image), Path::new("/data"))?;
///         let there = left.exists(&path)?;
///         assert!(there || moment.marks().is_empty(), "an acknowledged object is lost");
///         assert!(!there || left.read_all(&path)? == b"still water");
///     }
/// }
/// # Ok::<(), millpond_storage::StorageError>(())
/// ```
#[derive(Clone)]
pub struct CrashDisk(Arc<Mutex<Recorded>>);

struct Recorded {
    root: PathBuf,
    files: Files,
    moments: Vec<CrashMoment>,
    marks: Vec<String>,
    trace: Vec<String>,
}

impl CrashDisk {
    /// A file system with the folder `root`, durable and empty, and the folders it is in.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self::of(Files::new(root), root)
    }

    fn of(files: Files, root: &Path) -> Self {
        let root = root.to_owned();
        let first = CrashMoment::new(files.clone(), &root, "start", &[]);
        let (moments, marks, trace) = (vec![first], Vec::new(), Vec::new());
        Self(Arc::new(Mutex::new(Recorded { root, files, moments, marks, trace })))
    }

    /// Notes that a test was told something, for instance that a checkpoint is complete: every
    /// later [`CrashMoment`] knows.
    pub fn mark(&self, mark: impl Into<String>) {
        let mut recorded = self.lock();
        let mark = mark.into();
        recorded.trace.push(format!("-- {mark}"));
        recorded.marks.push(mark);
        recorded.keep("marked");
    }

    /// The states after each call that changed something, the first before any.
    #[must_use]
    pub fn moments(&self) -> Vec<CrashMoment> {
        self.lock().moments.clone()
    }

    /// The calls that change something, and the marks, one a line. Temporary files are called
    /// `.tmp`, since their numbers differ from run to run.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what changes something, and remembers the state afterwards.
    fn change<T>(
        &self,
        line: impl FnOnce(&Recorded) -> String,
        change: impl FnOnce(&mut Files) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut recorded = self.lock();
        let done = change(&mut recorded.files)?;
        let line = line(&recorded);
        recorded.keep(&line);
        recorded.trace.push(line);
        Ok(done)
    }
}

impl Recorded {
    fn keep(&mut self, after: &str) {
        let moment = CrashMoment::new(self.files.clone(), &self.root, after, &self.marks);
        self.moments.push(moment);
    }

    /// A path as traces show it.
    fn show(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy();
        match path.split_once(".tmp-") {
            Some((folder, _)) => format!("{folder}.tmp"),
            None if path.is_empty() => ".".to_owned(),
            None => path.into_owned(),
        }
    }
}

impl fmt::Debug for CrashDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashDisk").field("root", &self.lock().root).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl Disk for CrashDisk {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let line = |it: &Recorded| format!("create {}", it.show(path));
        let file = self.change(line, |files| files.create_file(path))?;
        Ok(Box::new(CrashFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.lock().files.file(path)?;
        Ok(Box::new(CrashFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let line = |it: &Recorded| format!("link {} {}", it.show(from), it.show(to));
        self.change(line, |files| files.link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let line = |it: &Recorded| format!("rename {} {}", it.show(from), it.show(to));
        self.change(line, |files| files.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let line = |it: &Recorded| format!("unlink {}", it.show(path));
        self.change(line, |files| files.remove_file(path))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let line = |it: &Recorded| format!("mkdir {}", it.show(path));
        self.change(line, |files| files.create_folder(path))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let line = |it: &Recorded| format!("rmdir {}", it.show(path));
        self.change(line, |files| files.remove_folder(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let line = |it: &Recorded| format!("sync folder {}", it.show(path));
        self.change(line, |files| files.sync_folder(path))
    }

    fn entry(&self, path: &Path) -> io::Result<Option<DiskEntry>> {
        Ok(self.lock().files.entry(path))
    }

    fn written_at(&self, path: &Path) -> io::Result<SystemTime> {
        self.lock().files.file(path).map(|_| SystemTime::UNIX_EPOCH)
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        match self.lock().files.entry(path) {
            Some(_) => Ok(path.to_owned()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        self.lock().files.names(path)
    }

    fn has_real_files(&self) -> bool {
        false
    }
}

/// An open file. It stays readable when its name is removed.
#[derive(Debug)]
struct CrashFile {
    disk: CrashDisk,
    path: PathBuf,
    file: usize,
}

#[deny(clippy::missing_trait_methods)]
impl DiskFile for CrashFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let line = |it: &Recorded| format!("write {}", it.show(&self.path));
        self.disk.change(line, |files| files.append(self.file, bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        let line = |it: &Recorded| format!("sync file {}", it.show(&self.path));
        self.disk.change(line, |files| files.sync_file(self.file))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files.content(self.file)?.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.disk.lock();
        let content = disk.files.content(self.file)?;
        let from = usize::try_from(offset).ok();
        let range = from.and_then(|from| Some(from..from.checked_add(buffer.len())?));
        match range.and_then(|range| content.get(range)) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
