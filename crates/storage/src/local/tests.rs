//! The order of file-system calls on the publish and delete paths, and every one of them failing.

use std::sync::Mutex;

use super::*;
use crate::FolderLock;

type Log = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

/// Which call fails (counted from 0), at which moment and how.
#[derive(Clone, Copy, Debug)]
struct Fault {
    call: usize,
    moment: Moment,
    error: io::ErrorKind,
}

#[derive(Clone, Debug)]
struct Probe {
    root: std::path::PathBuf,
    log: Log,
    fault: Option<Fault>,
}

impl Probe {
    fn show(&self, path: &Path) -> String {
        let Ok(path) = path.strip_prefix(&self.root) else { return "elsewhere".to_owned() };
        let path = path.to_str().unwrap();
        match path.split_once(TEMPORARY_PREFIX) {
            Some((folder, _)) => format!("{folder}.tmp"),
            None if path.is_empty() => ".".to_owned(),
            None => path.to_owned(),
        }
    }

    /// Logs a call that changes something and does it, or fails before or after it.
    fn call<T>(&self, line: String, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let number = {
            let mut log = self.log.lock().unwrap();
            log.push(line);
            log.len() - 1
        };
        let fault = self.fault.filter(|fault| fault.call == number);
        match fault {
            None => act(),
            Some(Fault { moment: Moment::Before, error, .. }) => Err(error.into()),
            Some(Fault { moment: Moment::After, error, .. }) => {
                act()?;
                Err(error.into())
            }
        }
    }
}

impl Disk for Probe {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.call(format!("create {}", self.show(path)), || OsDisk.create_file(path))?;
        Ok(Box::new(ProbeFile { probe: self.clone(), name: self.show(path), file }))
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OsDisk.open_file(path)?;
        Ok(Box::new(ProbeFile { probe: self.clone(), name: self.show(path), file }))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let line = format!("link {} {}", self.show(from), self.show(to));
        self.call(line, || OsDisk.link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let line = format!("rename {} {}", self.show(from), self.show(to));
        self.call(line, || OsDisk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(format!("unlink {}", self.show(path)), || OsDisk.remove_file(path))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.call(format!("mkdir {}", self.show(path)), || OsDisk.create_folder(path))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.call(format!("rmdir {}", self.show(path)), || OsDisk.remove_folder(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.call(format!("sync folder {}", self.show(path)), || OsDisk.sync_folder(path))
    }

    fn entry(&self, path: &Path) -> io::Result<Option<DiskEntry>> {
        OsDisk.entry(path)
    }

    fn written_at(&self, path: &Path) -> io::Result<SystemTime> {
        OsDisk.written_at(path)
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        OsDisk.real_path(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        OsDisk.names(path)
    }

    fn has_real_files(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct ProbeFile {
    probe: Probe,
    name: String,
    file: Box<dyn DiskFile>,
}

impl DiskFile for ProbeFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let line = format!("write {} {}", self.name, bytes.len());
        self.probe.call(line, || self.file.append(bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.probe.call(format!("sync file {}", self.name), || self.file.sync())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// A store on a probed disk in a new folder.
fn probed(fault: Option<Fault>) -> (tempfile::TempDir, Log, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let log = Log::default();
    let probe = Probe { root: root.clone(), log: Arc::clone(&log), fault };
    let store = LocalStore::open_on(Box::new(probe), &root).unwrap();
    (folder, log, store)
}

fn path(name: &str) -> StorePath {
    StorePath::new(name).unwrap()
}

fn publish(store: &LocalStore, name: &str) -> Result<ObjectInfo> {
    let mut writer = store.create(&path(name))?;
    writer.write(b"still")?;
    writer.write(b" water")?;
    writer.finish()
}

fn taken(log: &Log) -> Vec<String> {
    core::mem::take(&mut log.lock().unwrap())
}

fn temporaries(folder: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            count += temporaries(&entry.path());
        } else if entry.file_name().to_str().unwrap().starts_with(TEMPORARY_PREFIX) {
            count += 1;
        }
    }
    count
}

const PUBLISH_INTO_NEW_FOLDERS: [&str; 10] = [
    "mkdir a",
    "sync folder .",
    "mkdir a/b",
    "sync folder a",
    "create a/b/.tmp",
    "write a/b/.tmp 11",
    "sync file a/b/.tmp",
    "link a/b/.tmp a/b/c",
    "unlink a/b/.tmp",
    "sync folder a/b",
];

#[test]
fn publishing_syncs_file_before_link_and_each_folder_after_its_new_name() {
    let (_folder, log, store) = probed(None);
    publish(&store, "a/b/c").unwrap();
    assert_eq!(taken(&log), PUBLISH_INTO_NEW_FOLDERS);

    publish(&store, "a/b/d").unwrap();
    assert_eq!(
        taken(&log),
        [
            "create a/b/.tmp",
            "write a/b/.tmp 11",
            "sync file a/b/.tmp",
            "link a/b/.tmp a/b/d",
            "unlink a/b/.tmp",
            "sync folder a/b"
        ]
    );
}

const PUBLISH_A_LINK: [&str; 7] = [
    "mkdir a",
    "sync folder .",
    "link elsewhere a/.tmp",
    "sync file a/.tmp",
    "link a/.tmp a/b",
    "unlink a/.tmp",
    "sync folder a",
];

fn publish_linked(store: &LocalStore, file: &Path) -> Option<Result<ObjectInfo>> {
    Some(store.create_linked(&path("a/b"), file)?.finish())
}

#[test]
fn a_linked_object_is_durable_before_it_is_visible() {
    let (_folder, log, store) = probed(None);
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(elsewhere.path(), b"still water").unwrap();
    let info = publish_linked(&store, elsewhere.path()).unwrap().unwrap();
    assert_eq!(info, ObjectInfo { path: path("a/b"), len: 11 });
    assert_eq!(taken(&log), PUBLISH_A_LINK);
}

#[test]
fn whichever_call_of_a_link_fails_the_object_can_be_written_or_the_error_says_it_may_be_there() {
    for (call, line) in PUBLISH_A_LINK.iter().enumerate() {
        for moment in [Moment::Before, Moment::After] {
            let case = format!("{moment:?} {line}");
            let (folder, _log, store) =
                probed(Some(Fault { call, moment, error: io::ErrorKind::Other }));
            let elsewhere = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(elsewhere.path(), b"still water").unwrap();
            let published = publish_linked(&store, elsewhere.path());
            let fresh = LocalStore::open(folder.path()).unwrap();
            let visible = !fresh.list(None).unwrap().is_empty();
            match &published {
                None => assert!(call <= 2 && !visible, "{case}"),
                Some(Ok(_)) => assert!(visible && line.starts_with("unlink"), "{case}"),
                Some(Err(error)) => {
                    let may_be_there = error.effect() == Effect::MayHaveHappened;
                    assert!(call > 2 && (may_be_there || !visible), "{case}");
                }
            }
            assert_eq!(publish(&fresh, "a/b").is_ok(), !visible, "{case}");
            let left = usize::from(line.starts_with("unlink") && moment == Moment::Before);
            assert_eq!(temporaries(folder.path()), left, "{case}");
        }
    }
}

#[test]
fn what_cannot_be_linked_is_left_to_be_written() {
    let (folder, _log, store) = probed(None);
    assert!(store.create_linked(&path("a/b"), folder.path()).is_none());
    assert!(store.create_linked(&path("a/b"), &folder.path().join("missing")).is_none());
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    publish(&store, "a/b").unwrap();
    assert!(store.create_linked(&path("a/b"), elsewhere.path()).is_none());
    assert_eq!(temporaries(folder.path()), 0);
}

/// Whoever deletes what is old must not take an old file for an old object.
#[test]
#[expect(clippy::disallowed_methods, reason = "the kernel's time of a file is compared with it")]
fn an_object_is_as_old_as_its_name() {
    let (_folder, _log, store) = probed(None);
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    elsewhere.as_file().set_modified(long_ago).unwrap();
    publish_linked(&store, elsewhere.path()).unwrap().unwrap();
    let written = store.written_wall_ms(&path("a/b")).unwrap().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(u128::from(written) + 3_600_000 > now.as_millis(), "{written}");
}

#[test]
fn a_folder_made_by_another_process_is_synced_into_its_parent_before_first_use() {
    let (folder, log, store) = probed(None);
    std::fs::create_dir(folder.path().join("a")).unwrap();
    publish(&store, "a/x").unwrap();
    assert_eq!(taken(&log)[..2], ["mkdir a", "sync folder ."]);
}

#[test]
fn deleting_syncs_the_folder_before_pruning_and_pruned_folders_are_made_durable_again() {
    let (_folder, log, store) = probed(None);
    publish(&store, "a/b/c").unwrap();
    taken(&log);
    store.delete(&path("a/b/c")).unwrap();
    assert_eq!(taken(&log), ["unlink a/b/c", "sync folder a/b", "rmdir a/b", "rmdir a"]);
    publish(&store, "a/b/d").unwrap();
    assert_eq!(taken(&log)[..4], PUBLISH_INTO_NEW_FOLDERS[..4]);
}

#[test]
fn aborting_removes_the_file_and_the_folders_made_for_it() {
    let (folder, log, store) = probed(None);
    let writer = store.create(&path("a/b")).unwrap();
    taken(&log);
    writer.abort();
    assert_eq!(taken(&log), ["unlink a/.tmp", "rmdir a"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_pruned_between_making_and_using_it_is_made_again() {
    let (folder, log, store) = probed(None);
    publish(&store, "a/b/c").unwrap();
    std::fs::remove_dir_all(folder.path().join("a")).unwrap();
    taken(&log);
    publish(&store, "a/b/d").unwrap();
    let log = taken(&log);
    assert_eq!(log[0], "create a/b/.tmp", "the store believed the folder to be there");
    // The failed creation is cleaned up after, then all is done anew.
    assert_eq!(log[2..], PUBLISH_INTO_NEW_FOLDERS.map(|line| line.replace("a/b/c", "a/b/d")));
}

/// What a publication came to whose call number `call` failed.
fn publish_with(fault: Fault) -> (Result<ObjectInfo>, bool, usize) {
    let (folder, _log, store) = probed(Some(fault));
    let result = publish(&store, "a/b/c");
    let fresh = LocalStore::open(folder.path()).unwrap();
    let listed = fresh.list(None).unwrap();
    let visible = !listed.is_empty();
    if visible {
        assert_eq!(listed, [ObjectInfo { path: path("a/b/c"), len: 11 }]);
    }
    // Whatever happened, publishing again ends with the object there, whole.
    match publish(&fresh, "a/b/c") {
        Ok(_) => assert!(!visible),
        Err(error) => assert!(visible && error.kind() == ErrorKind::AlreadyExists, "{error}"),
    }
    let mut bytes = [0; 11];
    fresh.open(&path("a/b/c")).unwrap().read_exact_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"still water");
    drop(store);
    (result, visible, temporaries(folder.path()))
}

#[test]
fn whichever_call_fails_the_object_is_absent_or_the_error_says_it_may_be_there() {
    for error in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied, io::ErrorKind::Other]
    {
        for (call, line) in PUBLISH_INTO_NEW_FOLDERS.iter().enumerate() {
            for moment in [Moment::Before, Moment::After] {
                // The kernel gives these two instead of a link, never after one.
                if moment == Moment::After
                    && line.starts_with("link")
                    && error != io::ErrorKind::Other
                {
                    continue;
                }
                let case = format!("{error:?} {moment:?} {line}");
                let (result, visible, left) = publish_with(Fault { call, moment, error });
                check_outcome(&case, line, &result, visible);
                let stuck = line.starts_with("unlink") && moment == Moment::Before;
                assert_eq!(left, usize::from(stuck), "temporaries after {case}");
            }
        }
    }
}

fn check_outcome(case: &str, line: &str, result: &Result<ObjectInfo>, visible: bool) {
    match result {
        // Only a temporary name that stays is no failure.
        Ok(_) => assert!(visible && line.starts_with("unlink"), "{case}"),
        Err(error) => {
            let published = line.starts_with("link") || line == "sync folder a/b";
            match error.effect() {
                Effect::DidNotHappen => assert!(!visible, "{case}"),
                Effect::MayHaveHappened => assert!(published, "{case}"),
            }
            assert!(error.to_string().contains("(a"), "{case} does not say where: {error}");
        }
    }
    if line == "sync folder a/b" {
        let error = result.as_ref().unwrap_err();
        assert_eq!(error.effect(), Effect::MayHaveHappened, "{case}");
        assert!(visible, "{case}");
    }
}

#[test]
fn error_kinds_follow_what_the_file_system_said() {
    let link = 7;
    for (error, kind) in [
        (io::ErrorKind::StorageFull, ErrorKind::NoSpace),
        (io::ErrorKind::QuotaExceeded, ErrorKind::NoSpace),
        (io::ErrorKind::PermissionDenied, ErrorKind::PermissionDenied),
        (io::ErrorKind::ReadOnlyFilesystem, ErrorKind::PermissionDenied),
        (io::ErrorKind::Unsupported, ErrorKind::Unsupported),
        (io::ErrorKind::TimedOut, ErrorKind::Unavailable),
    ] {
        let fault = Fault { call: link, moment: Moment::Before, error };
        assert_eq!(publish_with(fault).0.unwrap_err().kind(), kind);
    }
}

#[test]
fn a_writer_that_failed_once_never_publishes() {
    let write = 2;
    for moment in [Moment::Before, Moment::After] {
        let fault = Fault { call: write, moment, error: io::ErrorKind::StorageFull };
        let (folder, log, store) = probed(Some(fault));
        let mut writer = store.create(&path("a")).unwrap();
        assert_eq!(taken(&log), ["create .tmp"]);
        // Fill the log up to the call that is to fail: writes this large are not gathered.
        let block = vec![7; 64 * 1024];
        writer.write(&block).unwrap();
        writer.write(&block).unwrap();
        assert_eq!(writer.write(&block).unwrap_err().kind(), ErrorKind::NoSpace);
        let again = writer.write(b"more").unwrap_err();
        assert_eq!((again.kind(), again.effect()), (ErrorKind::NoSpace, Effect::DidNotHappen));
        assert!(again.message().contains("earlier write failed"), "{again}");
        assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::NoSpace);
        assert!(!taken(&log).iter().any(|line| line.starts_with("link")));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn small_writes_reach_the_disk_gathered_and_in_order() {
    let (_folder, log, store) = probed(None);
    let mut writer = store.create(&path("a")).unwrap();
    let mut expected = Vec::new();
    for i in 0..30_000u32 {
        writer.write(&i.to_le_bytes()).unwrap();
        expected.extend(i.to_le_bytes());
    }
    let large = vec![9; 100_000];
    writer.write(&large).unwrap();
    expected.extend(&large);
    let info = writer.finish().unwrap();
    assert_eq!(info.len, expected.len() as u64);
    let mut bytes = vec![0; expected.len()];
    store.open(&path("a")).unwrap().read_exact_at(0, &mut bytes).unwrap();
    assert!(bytes == expected);
    let writes: Vec<_> = taken(&log).into_iter().filter(|l| l.starts_with("write")).collect();
    assert_eq!(writes, ["write .tmp 65536", "write .tmp 54464", "write .tmp 100000"]);
}

#[test]
fn a_failed_deletion_says_whether_it_may_have_happened_and_can_be_repeated() {
    let (_folder, log, store) = probed(None);
    publish(&store, "a/x").unwrap();
    // The deletion's own calls come after those of the publication.
    let first = taken(&log).len();
    for (offset, moment, error, effect) in [
        (0, Moment::Before, io::ErrorKind::PermissionDenied, Effect::DidNotHappen),
        (0, Moment::Before, io::ErrorKind::Other, Effect::MayHaveHappened),
        (0, Moment::After, io::ErrorKind::Other, Effect::MayHaveHappened),
        (1, Moment::Before, io::ErrorKind::Other, Effect::MayHaveHappened),
    ] {
        let (folder, log, store) = probed(Some(Fault { call: first + offset, moment, error }));
        publish(&store, "a/x").unwrap();
        assert_eq!(store.delete(&path("a/x")).unwrap_err().effect(), effect);
        taken(&log);
        store.delete(&path("a/x")).unwrap();
        assert!(taken(&log).contains(&"sync folder a".to_owned()), "{error:?} {offset}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_root_is_made_with_every_new_folder_synced_into_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let log = Log::default();
    let probe = Probe { root: root.clone(), log: Arc::clone(&log), fault: None };
    LocalStore::create_on(Box::new(probe), &root.join("x/y")).unwrap();
    assert_eq!(taken(&log), ["mkdir x", "sync folder .", "mkdir x/y", "sync folder x"]);

    // One that is there may have been made by a process that died before syncing.
    let probe = Probe { root: root.clone(), log: Arc::clone(&log), fault: None };
    LocalStore::create_on(Box::new(probe), &root.join("x")).unwrap();
    assert_eq!(taken(&log), ["sync folder ."]);
}

#[test]
fn sweeping_syncs_every_folder_so_that_what_is_found_afterwards_is_durable() {
    let (folder, log, store) = probed(None);
    std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
    std::fs::write(folder.path().join("a/b/published"), b"x").unwrap();
    std::fs::write(folder.path().join("a/.tmp-w-1-1"), b"x").unwrap();
    let lock = FolderLock::acquire(folder.path(), "sweep").unwrap();
    assert_eq!(store.sweep_temporaries(&lock).unwrap(), 1);
    let log: Vec<_> = taken(&log).into_iter().filter(|l| !l.starts_with("rmdir")).collect();
    assert_eq!(log, ["sync folder .", "unlink a/.tmp", "sync folder a", "sync folder a/b"]);
}

#[test]
fn a_taken_name_is_noticed_before_anything_is_written() {
    let (_folder, log, store) = probed(None);
    publish(&store, "a/b").unwrap();
    taken(&log);
    assert_eq!(store.create(&path("a/b")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(taken(&log), [""; 0]);
}

#[test]
fn an_object_may_be_deleted_by_two_at_once() {
    let (_folder, log, store) = probed(None);
    publish(&store, "a/b").unwrap();
    taken(&log);
    store.delete(&path("a/b")).unwrap();
    store.delete(&path("a/b")).unwrap();
    // The second finds no folder: whoever pruned it had synced the deletion before.
    assert_eq!(taken(&log), ["unlink a/b", "sync folder a", "rmdir a"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_link_that_failed_is_told_apart_by_what_linux_answers() {
    let (did_not, may) = (Effect::DidNotHappen, Effect::MayHaveHappened);
    for (name, raw, kind, effect) in [
        ("EPERM", 1, ErrorKind::Unsupported, did_not),
        ("EOPNOTSUPP", 95, ErrorKind::Unsupported, did_not),
        ("ENOENT", 2, ErrorKind::NotFound, did_not),
        ("EACCES", 13, ErrorKind::PermissionDenied, did_not),
        ("EEXIST", 17, ErrorKind::AlreadyExists, did_not),
        ("ENOSPC", 28, ErrorKind::NoSpace, did_not),
        ("EROFS", 30, ErrorKind::PermissionDenied, did_not),
        ("EDQUOT", 122, ErrorKind::NoSpace, did_not),
        ("EIO", 5, ErrorKind::Unavailable, may),
        ("ETIMEDOUT", 110, ErrorKind::Unavailable, may),
    ] {
        let error = io::Error::from_raw_os_error(raw);
        assert_eq!(writer::derive_link_failure(&error), (kind, effect), "{name}");
    }
}

/// A process that is killed and started again in a container gets the same number, and counts its
/// temporary files from 0 again: those of its predecessor must not look like a taken object name.
#[test]
fn temporary_files_of_a_dead_process_of_the_same_number_are_stepped_over() {
    let (folder, _log, store) = probed(None);
    let first = NEXT_TEMPORARY.load(Ordering::Relaxed);
    let stale = |number| format!("{TEMPORARY_PREFIX}w-{}-{number}", std::process::id());
    for number in first..first + 2000 {
        std::fs::write(folder.path().join(stale(number)), b"stale").unwrap();
    }
    publish(&store, "a").unwrap();
    assert!(NEXT_TEMPORARY.load(Ordering::Relaxed) > first + 2000);
    let mut bytes = [0; 11];
    store.open(&path("a")).unwrap().read_exact_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"still water");
    assert_eq!(temporaries(folder.path()), 2000);
    assert_eq!(std::fs::read(folder.path().join(stale(first + 1999))).unwrap(), b"stale");
}

#[test]
fn a_creation_that_fails_removes_the_folders_made_for_it() {
    let create = 4;
    for moment in [Moment::Before, Moment::After] {
        let fault = Fault { call: create, moment, error: io::ErrorKind::StorageFull };
        let (folder, _log, store) = probed(Some(fault));
        assert_eq!(store.create(&path("a/b/c")).unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
