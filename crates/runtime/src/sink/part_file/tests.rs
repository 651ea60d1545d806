//! Part files over commits, crashes and restores.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use millpond_testkit::double::CrashDisk;

use super::*;

struct Lines;

impl PartFileFormat<u32> for Lines {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"n\n"
    }

    fn append(&self, record: &u32, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(format!("{record}\n").as_bytes());
        Ok(())
    }
}

fn id(raw: u64) -> CheckpointId {
    CheckpointId::new(raw)
}

fn open(folder: &Path) -> (PartFiles<u32>, PartFileSink<u32>) {
    let files = PartFiles::create(folder, Lines).unwrap();
    let sink = files.sink(AttemptId::new(7), 2);
    (files, sink)
}

fn visible(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "csv"))
        .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn rows_become_visible_only_when_their_checkpoint_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut sink) = open(folder.path());
    sink.write(&1).unwrap();
    let pre_commit = sink.pre_commit(id(1)).unwrap();
    sink.write(&2).unwrap();
    assert_eq!(pre_commit().unwrap().len(), 1);
    assert_eq!(visible(folder.path()), []);
    sink.commit(id(1)).unwrap();
    assert_eq!(visible(folder.path()), [("part-000001-0002.csv".into(), "n\n1\n".into())]);
    assert_eq!(sink.pre_commit(id(2)).unwrap()().unwrap().len(), 1);
    sink.commit(id(2)).unwrap();
    assert_eq!(visible(folder.path()).len(), 2);
}

#[test]
fn output_of_an_aborted_checkpoint_goes_with_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut sink) = open(folder.path());
    sink.write(&1).unwrap();
    sink.pre_commit(id(1)).unwrap()().unwrap();
    assert_eq!(sink.pre_commit(id(2)).unwrap()().unwrap().len(), 1);
    sink.commit(id(2)).unwrap();
    assert_eq!(visible(folder.path()).len(), 1);
}

#[test]
fn nothing_written_makes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut sink) = open(folder.path());
    assert_eq!(sink.pre_commit(id(1)).unwrap()().unwrap(), Vec::<Vec<u8>>::new());
    sink.commit(id(1)).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn recovery_commits_again_and_removes_what_no_checkpoint_knows() {
    let folder = tempfile::tempdir().unwrap();
    let (files, mut sink) = open(folder.path());
    sink.write(&1).unwrap();
    let committables = sink.pre_commit(id(1)).unwrap()().unwrap();
    sink.write(&2).unwrap();
    drop(sink);
    let summary = files.recover(Some(id(1)), &committables).unwrap();
    assert_eq!(summary, RecoverySummary { committed: 1, aborted: 1, hidden: 0 });
    let summary = files.recover(Some(id(1)), &committables).unwrap();
    assert_eq!(summary, RecoverySummary::default(), "a second recovery finds all done");
    assert_eq!(visible(folder.path()), [("part-000001-0002.csv".into(), "n\n1\n".into())]);
}

#[test]
fn output_committed_after_the_restored_checkpoint_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let (files, mut sink) = open(folder.path());
    for checkpoint in 1..=2 {
        sink.write(&1).unwrap();
        sink.pre_commit(id(checkpoint)).unwrap()().unwrap();
        sink.commit(id(checkpoint)).unwrap();
    }
    assert_eq!(files.recover(Some(id(1)), &[]).unwrap().hidden, 1);
    assert_eq!(visible(folder.path()).len(), 1);
}

#[test]
fn output_that_has_gone_is_an_error_and_names_cannot_leave_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = open(folder.path());
    let lost = |pending: &str| Committable {
        pending_name: pending.into(),
        final_name: "part-000001-0002.csv".into(),
        len: 4,
    };
    let error = files.recover(Some(id(1)), &[lost(".part-x.pending").encode().unwrap()]);
    assert_eq!(error.unwrap_err().kind(), JobErrorKind::Output);
    let error = files.recover(Some(id(1)), &[lost("../x").encode().unwrap()]);
    assert_eq!(error.unwrap_err().kind(), JobErrorKind::Restore);
}

#[test]
fn starting_at_the_beginning_in_a_folder_with_output_is_refused_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (files, mut sink) = open(folder.path());
    sink.write(&1).unwrap();
    sink.pre_commit(id(1)).unwrap()().unwrap();
    sink.commit(id(1)).unwrap();
    let error = files.recover(None, &[]).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (JobErrorKind::Output, false));
    assert_eq!(visible(folder.path()).len(), 1);
}

/// A disk that fails to make names durable while it is told to.
#[derive(Clone, Debug)]
struct Stubborn {
    disk: CrashDisk,
    is_failing: Arc<AtomicBool>,
}

#[deny(clippy::missing_trait_methods)]
impl Disk for Stubborn {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create_file(path)
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open_file(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.create_folder(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        if self.is_failing.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk does not answer"));
        }
        self.disk.sync_folder(path)
    }

    fn entry(&self, path: &Path) -> io::Result<Option<DiskEntry>> {
        self.disk.entry(path)
    }

    fn written_at(&self, path: &Path) -> io::Result<SystemTime> {
        self.disk.written_at(path)
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        self.disk.real_path(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.names(path)
    }

    fn has_real_files(&self) -> bool {
        false
    }
}

/// The second checkpoint has nothing new to sync, and names what the first could not make durable.
#[test]
fn output_whose_sync_failed_once_is_never_taken_for_durable() {
    let disk = CrashDisk::new(Path::new("/data"));
    let is_failing = Arc::new(AtomicBool::new(false));
    let disk = Stubborn { disk, is_failing: Arc::clone(&is_failing) };
    let files = PartFiles::create_on(Arc::new(disk), "/data", Lines).unwrap();
    let mut sink = files.sink(AttemptId::new(7), 2);
    sink.write(&1).unwrap();
    is_failing.store(true, Ordering::Relaxed);
    let error = sink.pre_commit(id(1)).unwrap()().unwrap_err();
    assert_eq!(error.kind(), JobErrorKind::Output);
    is_failing.store(false, Ordering::Relaxed);
    let error = sink.pre_commit(id(2)).unwrap()().unwrap_err();
    assert!(error.to_string().contains("an earlier sync"), "{error}");
}
