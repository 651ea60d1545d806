//! Files of the local disk on their way into storage: packed, several at once, all or none.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use millpond_checkpoint::driver::{
    CheckpointStorage, KeyedPart, LocalCopies, LocalCopiesListener, LocalProblem, WriteKeyedState,
};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_checkpoint::{CheckpointKind, Result as CheckpointResult};
use millpond_snapshot::metadata::{IncrementalHandle, KeyedStateHandle};
use millpond_state::{
    AttemptId, CancelFlag, CheckpointId, FileIdentity, FileTransfer, FilesSummary, FilesTask,
    LocalFile, MaxParallelism, Result, SubtaskId,
};
use millpond_storage::{
    LocalStore, MemoryStore, ObjectInfo, Store, StoreExt, StorePath, StoreReader, StoreWriter,
};
use millpond_testkit::double::{FaultPlan, FaultStore, FaultTime, Operation};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// Adds a streamed file, then local ones; sends what they are known by.
struct Task {
    files: Vec<LocalFile>,
    identities: std::sync::mpsc::Sender<Vec<FileIdentity>>,
}

impl FilesTask for Task {
    fn run(self: Box<Self>, files: &mut dyn FileTransfer, _: &CancelFlag) -> Result<FilesSummary> {
        let mut all = vec![files.add("manifest", &mut |sink| sink.write(b"streamed"))?];
        all.extend(files.add_local(&self.files)?);
        self.identities.send(all).unwrap();
        Ok(FilesSummary::default())
    }
}

/// Local files of these sizes, all of other bytes.
fn local_files(folder: &Path, sizes: &[usize]) -> Vec<LocalFile> {
    let file = |(at, size): (usize, &usize)| {
        let path = folder.join(format!("{at}.sst"));
        let mut bytes = vec![at as u8; *size];
        bytes[size / 2] = 77;
        std::fs::write(&path, bytes).unwrap();
        LocalFile { name: format!("db/{at}.sst"), path }
    };
    sizes.iter().enumerate().map(file).collect()
}

fn write(
    storage: &CheckpointStorage,
    files: &[LocalFile],
    cancel: &CancelFlag,
) -> CheckpointResult<(KeyedPart, Vec<FileIdentity>)> {
    let shared = storage.open_shared_files(RegistrySettings::default()).unwrap();
    let checkpoint = CheckpointId::new(1);
    shared.with(|it| it.begin(checkpoint, CheckpointKind::Periodic)).unwrap();
    let subtask = SubtaskId::new("sum", 0);
    let key_groups = MaxParallelism::new(16).unwrap().full_range();
    let attempt = AttemptId::new(7);
    let write = WriteKeyedState {
        checkpoint,
        attempt,
        subtask: &subtask,
        key_groups,
        compression_level: 1,
    };
    let (identities, received) = std::sync::mpsc::channel();
    let task = Box::new(Task { files: files.to_vec(), identities });
    let part = storage.write_files((&write, "test"), task, &shared, cancel)?;
    Ok((part, received.recv().unwrap()))
}

fn native(part: &KeyedPart) -> &IncrementalHandle {
    match part.handle() {
        KeyedStateHandle::Incremental(native) => native,
        other => panic!("{other:?}"),
    }
}

#[test]
fn local_files_are_packed_into_few_objects_and_keep_their_order() {
    let folder = TempDir::new().unwrap();
    for (sizes, threads, objects) in [
        // Little enough for the object that files are streamed to.
        (&[5, 3, MIB][..], 4, 1),
        // Two of more than 8 MiB and the streamed one.
        (&[6 * MIB, 5 * MIB, 4 * MIB, 3 * MIB], 4, 3),
        (&[6 * MIB, 5 * MIB, 4 * MIB, 3 * MIB], 1, 1),
        // A large file is alone, the small ones go with the streamed one.
        (&[9 * MIB, 1, 9 * MIB, 2, 9 * MIB, 3], 2, 4),
        (&[1, 64 * MIB, 2], 3, 2),
    ] {
        let files = local_files(folder.path(), sizes);
        let store = Arc::new(MemoryStore::new());
        let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
        let storage = storage.with_upload_threads(threads);
        let (part, identities) = write(&storage, &files, &CancelFlag::new()).unwrap();
        let handle = native(&part);
        assert_eq!(store.list(None).unwrap().len(), objects, "{sizes:?} {threads}");
        assert_eq!(handle.objects.len(), objects);
        assert_eq!(part.bytes(), sizes.iter().sum::<usize>() as u64 + 8);
        let names: Vec<&str> =
            handle.logical_files.iter().map(|logical| logical.name.as_str()).collect();
        let expected = files.iter().map(|file| file.name.as_str());
        assert_eq!(names, std::iter::once("manifest").chain(expected).collect::<Vec<_>>());
        for ((logical, object), identity) in handle.placed_files().zip(&identities) {
            let bytes = store.read_all(&StorePath::new(object.name()).unwrap()).unwrap();
            assert_eq!((object.bytes(), object.crc32()), (bytes.len() as u64, crc32(&bytes)));
            let bytes = &bytes[logical.offset as usize..(logical.offset + logical.bytes) as usize];
            let file = files.iter().find(|file| file.name == logical.name);
            let wanted =
                file.map_or(b"streamed".to_vec(), |file| std::fs::read(&file.path).unwrap());
            assert!(bytes == wanted, "{} has other bytes", logical.name);
            assert_eq!(logical.crc32, crc32(bytes));
            assert_eq!((identity.bytes(), identity.crc32()), (logical.bytes, logical.crc32));
            assert_eq!(identity.place(), format!("{}@{}", object.name(), logical.offset));
        }
    }
}

#[test]
fn large_files_become_objects_by_a_second_name_where_the_store_has_files_of_this_machine() {
    let folder = TempDir::new().unwrap();
    let files = local_files(folder.path(), &[9 * MIB, 1, 9 * MIB]);
    let store = LocalStore::create(folder.path().join("store")).unwrap();
    let storage = CheckpointStorage::new(Arc::new(store.clone()));
    let (part, _) = write(&storage, &files, &CancelFlag::new()).unwrap();
    let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
    let mut linked = 0;
    for (logical, object) in native(&part).placed_files() {
        let at = store.root().join(object.name());
        let bytes = std::fs::read(&at).unwrap();
        assert_eq!((object.bytes(), object.crc32()), (bytes.len() as u64, crc32(&bytes)));
        let Some(file) = files.iter().find(|file| file.name == logical.name) else { continue };
        let is_large = logical.bytes == 9 * MIB as u64;
        assert_eq!(inode(&at) == inode(&file.path), is_large, "{}", logical.name);
        linked += usize::from(is_large);
    }
    assert_eq!(linked, 2);
}

fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

// Which operation is the n-th depends on how the threads run; what must hold does not.
#[test]
fn whichever_operation_fails_nothing_is_left_behind() {
    let folder = TempDir::new().unwrap();
    let files = local_files(folder.path(), &[9 * MIB, 9 * MIB, 1, 9 * MIB]);
    for time in [FaultTime::Before, FaultTime::After] {
        let (mut succeeded, mut failed) = (false, 0);
        for skip in (0..4).chain((4..).step_by(9)) {
            let store = Arc::new(FaultStore::new(MemoryStore::new()));
            let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
            // The registry lists the storage and reads the log first.
            store.set_plan(FaultPlan::after(skip + 3, time));
            match write(&storage, &files, &CancelFlag::new()) {
                Ok(_) => succeeded = true,
                Err(error) => {
                    failed += 1;
                    store.clear_plan();
                    let left = store.list(None).unwrap();
                    assert!(left.is_empty(), "after {skip} {time:?}, {error}: {left:?}");
                }
            }
            if succeeded {
                break;
            }
        }
        assert!(failed > 5, "{failed}");
    }
    // Some are published already when another cannot be.
    for (skip, time) in (0..4).flat_map(|at| [(at, FaultTime::Before), (at, FaultTime::After)]) {
        let store = Arc::new(FaultStore::new(MemoryStore::new()));
        let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
        store.set_plan(FaultPlan::after(skip, time).only(Operation::Finish));
        write(&storage, &files, &CancelFlag::new()).unwrap_err();
        assert!(store.has_fired() && store.list(None).unwrap().is_empty(), "{skip} {time:?}");
    }
}

/// Holds whoever creates an object until another does, too; sets `cancel` at a write.
struct Meeting {
    inner: MemoryStore,
    inside: Mutex<usize>,
    more: Condvar,
    most: AtomicU64,
    cancel: Option<CancelFlag>,
}

impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meeting")
    }
}

#[derive(Debug)]
struct Cancelling(Box<dyn StoreWriter>, Option<CancelFlag>, u64);

impl StoreWriter for Cancelling {
    fn write(&mut self, bytes: &[u8]) -> millpond_storage::Result<()> {
        self.2 += bytes.len() as u64;
        if let Some(cancel) = &self.1
            && self.2 > 2 * MIB as u64
        {
            cancel.cancel();
        }
        assert!(self.2 < 6 * MIB as u64 || self.1.is_none(), "it was cancelled long ago");
        self.0.write(bytes)
    }
    fn finish(self: Box<Self>) -> millpond_storage::Result<ObjectInfo> {
        self.0.finish()
    }
    fn abort(self: Box<Self>) {
        self.0.abort();
    }
}

impl Store for Meeting {
    fn create(&self, path: &StorePath) -> millpond_storage::Result<Box<dyn StoreWriter>> {
        // The object that files are streamed to is created alone.
        if !path.name().ends_with("-0") {
            let mut inside = self.inside.lock().unwrap();
            *inside += 1;
            self.more.notify_all();
            // So long only if it never happens, which the test then finds.
            let limit = Duration::from_secs(60);
            let alone = |inside: &mut usize| *inside < 2;
            drop(self.more.wait_timeout_while(inside, limit, alone).unwrap());
            self.most.fetch_max(*self.inside.lock().unwrap() as u64, Ordering::SeqCst);
        }
        Ok(Box::new(Cancelling(self.inner.create(path)?, self.cancel.clone(), 0)))
    }
    fn create_linked(&self, _: &StorePath, _: &Path) -> Option<Box<dyn StoreWriter>> {
        None
    }

    fn open(&self, path: &StorePath) -> millpond_storage::Result<Box<dyn StoreReader>> {
        self.inner.open(path)
    }
    fn list(&self, prefix: Option<&StorePath>) -> millpond_storage::Result<Vec<ObjectInfo>> {
        self.inner.list(prefix)
    }
    fn list_folders(&self, prefix: Option<&StorePath>) -> millpond_storage::Result<Vec<StorePath>> {
        self.inner.list_folders(prefix)
    }
    fn written_wall_ms(&self, path: &StorePath) -> millpond_storage::Result<Option<u64>> {
        self.inner.written_wall_ms(path)
    }
    fn delete(&self, path: &StorePath) -> millpond_storage::Result<()> {
        self.inner.delete(path)
    }
    fn url(&self) -> &str {
        self.inner.url()
    }
}

fn meeting(cancel: Option<CancelFlag>) -> Arc<Meeting> {
    let (inside, more, most) = (Mutex::default(), Condvar::new(), AtomicU64::new(0));
    Arc::new(Meeting { inner: MemoryStore::new(), inside, more, most, cancel })
}

#[test]
fn several_objects_are_written_at_once_and_a_cancellation_ends_all_of_them_between_chunks() {
    let folder = TempDir::new().unwrap();
    let files = local_files(folder.path(), &[9 * MIB, 9 * MIB]);
    let store = meeting(None);
    let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
    write(&storage, &files, &CancelFlag::new()).unwrap();
    assert_eq!(store.most.load(Ordering::SeqCst), 2);
    let cancel = CancelFlag::new();
    let store = meeting(Some(cancel.clone()));
    let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
    let error = write(&storage, &files, &cancel).unwrap_err();
    assert!(error.to_string().contains("cancelled"), "{error}");
    assert!(store.list(None).unwrap().is_empty());
}

/// Nothing is wrong.
struct Fine;

impl LocalCopiesListener for Fine {
    fn on_problem(&self, problem: &LocalProblem<'_>) {
        panic!("{problem:?}");
    }
}

#[test]
fn local_copies_are_links_and_there_only_once_the_snapshot_is() {
    let folder = TempDir::new().unwrap();
    let files = local_files(folder.path(), &[9 * MIB, 9 * MIB, 4]);
    let copies = LocalCopies::open(&folder.path().join("copies"), Box::new(Fine)).unwrap();
    let store = Arc::new(FaultStore::new(MemoryStore::new()));
    let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
    let storage = storage.with_local_copies(Some(Arc::clone(&copies)));
    let there = || {
        let mut there: Vec<String> = std::fs::read_dir(folder.path().join("copies"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".millpond.lock")
            .collect();
        there.sort();
        there
    };
    copies.begin(CheckpointId::new(1));
    store.set_plan(FaultPlan::after(1, FaultTime::Before).only(Operation::Finish));
    write(&storage, &files, &CancelFlag::new()).unwrap_err();
    store.clear_plan();
    assert!(there().is_empty(), "{:?}", there());
    let (part, identities) = write(&storage, &files, &CancelFlag::new()).unwrap();
    assert_eq!(there(), ["shared"]);
    assert_eq!(native(&part).logical_files.len(), 4);
    for (file, identity) in files.iter().zip(&identities[1..]) {
        let copy = folder.path().join("copies").join(identity.place());
        let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&copy), inode(&file.path), "{}", file.name);
    }
    // A checkpoint that it was not told of, such as a savepoint, has no copies.
    copies.complete(CheckpointId::new(1));
    copies.begin(CheckpointId::new(2));
    copies.complete(CheckpointId::new(2));
    assert!(std::fs::read_dir(folder.path().join("copies/shared")).unwrap().next().is_none());
}
