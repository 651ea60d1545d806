//! Snapshots in RocksDB's own files: what they write, when they come to nothing, and damage.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millpond_rocksdb::RocksDbBackend;
use millpond_state::{
    CancelFlag, ErrorKind, FileIdentity, FileReader, FileSource, FileTransfer, FileWriter,
    KeyGroupRange, KeyedBackend, Result, StateError, StateId, StateKind, StoredFile,
};
use millpond_testkit::native::{MemoryFiles, MemorySource, MemoryTransfer};

use crate::cluster::{Taken, finish, freeze, logical};
use crate::support::{TemporaryFactory, VALUE_BYTES, at, descriptor, max, value};

const KEYS: u64 = 20_000;

fn filled(factory: &TemporaryFactory) -> (RocksDbBackend, StateId) {
    let mut backend = factory.backend();
    let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    put(&mut backend, state, 0..KEYS);
    (backend, state)
}

fn put(backend: &mut RocksDbBackend, state: StateId, keys: std::ops::Range<u64>) {
    for key in keys {
        backend.put(state, at(&key.to_be_bytes()), &value(key)).unwrap();
    }
}

fn all() -> KeyGroupRange {
    max().full_range()
}

fn checkpoint(backend: &mut RocksDbBackend, files: &MemoryFiles, id: u64) -> Taken {
    let task = freeze(backend, id);
    finish(files, all(), task)
}

fn restored(factory: &TemporaryFactory, source: &mut dyn FileSource) -> Result<RocksDbBackend> {
    let mut backend = factory.backend();
    backend.restore_files(source, all())?;
    Ok(backend)
}

fn source(files: &MemoryFiles, taken: &Taken) -> MemorySource {
    files.source("rocksdb", all(), &taken.snapshot)
}

#[test]
fn a_snapshot_adds_what_changed_and_kilobytes_if_nothing_did() {
    let factory = TemporaryFactory::usual();
    let (mut backend, state) = filled(&factory);
    let files = MemoryFiles::new();
    let first = checkpoint(&mut backend, &files, 1);
    assert!(first.added_bytes > KEYS * VALUE_BYTES as u64 / 2, "{}", first.added_bytes);
    assert_eq!((first.summary.entries, first.summary.entries_changed), (KEYS, KEYS));
    let same = checkpoint(&mut backend, &files, 2);
    assert!(same.added_bytes < 64 << 10, "{} bytes for nothing", same.added_bytes);
    assert_eq!((same.summary.entries, same.summary.entries_changed), (KEYS, 0));
    assert_eq!(same.tables(), first.tables());
    put(&mut backend, state, 0..KEYS / 100);
    let next = checkpoint(&mut backend, &files, 3);
    assert!(next.added_bytes * 10 < first.added_bytes, "{} bytes", next.added_bytes);
    assert_eq!(next.summary.entries_changed, KEYS / 100);
    assert!(first.tables().iter().all(|name| next.tables().contains(name)));
    for taken in [&first, &same, &next] {
        let mut again = restored(&factory, &mut source(&files, taken)).unwrap();
        assert!(logical(&mut again) == logical(&mut backend));
    }
}

#[test]
fn the_manifest_stays_small_however_many_checkpoints_there_are() {
    let factory = TemporaryFactory::tiny_buffers();
    let (mut backend, state) = filled(&factory);
    let files = MemoryFiles::new();
    for id in 1..150 {
        put(&mut backend, state, id * 10..id * 10 + 5);
        checkpoint(&mut backend, &files, id);
    }
    let last = checkpoint(&mut backend, &files, 150);
    let manifest = last.snapshot.files.iter().find(|file| file.name.starts_with("MANIFEST"));
    let bytes = manifest.unwrap().identity.bytes();
    assert!(bytes < 64 << 10, "{bytes} bytes of MANIFEST");
}

#[test]
fn a_snapshot_shows_its_instant_and_outlives_its_backend() {
    let factory = TemporaryFactory::tiny_buffers();
    let (mut backend, state) = filled(&factory);
    let files = MemoryFiles::new();
    let expected = logical(&mut backend);
    let early = freeze(&mut backend, 1);
    for key in 0..KEYS {
        backend.delete(state, at(&key.to_be_bytes())).unwrap();
    }
    put(&mut backend, state, KEYS..KEYS + 10);
    let later = logical(&mut backend);
    let late = freeze(&mut backend, 2);
    drop(backend);
    let late = finish(&files, all(), late);
    let early = finish(&files, all(), early);
    for (taken, expected) in [(early, expected), (late, later)] {
        let mut again = restored(&factory, &mut source(&files, &taken)).unwrap();
        assert!(logical(&mut again) == expected);
    }
}

#[test]
fn dropped_failed_and_cancelled_snapshots_leave_no_file() {
    for factory in [TemporaryFactory::usual(), TemporaryFactory::memtables()] {
        drop_fail_and_cancel(&factory);
    }
}

/// Waits until there are so many SST files in all folders of a factory, all of databases.
fn wait_for_files(factory: &TemporaryFactory, count: usize) -> Vec<PathBuf> {
    let start = Instant::now();
    loop {
        let found = factory.sst_files();
        let landed = found.iter().all(|path| !path.to_string_lossy().contains("landing"));
        if (landed && found.len() == count) || start.elapsed() > Duration::from_secs(60) {
            assert_eq!((landed, found.len()), (true, count), "{found:?}");
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn drop_fail_and_cancel(factory: &TemporaryFactory) {
    let (mut backend, state) = filled(factory);
    let files = MemoryFiles::new();
    checkpoint(&mut backend, &files, 1);
    let (stored, before) = (files.count(), factory.sst_files());
    put(&mut backend, state, 0..10);
    drop(freeze(&mut backend, 2));
    // Only what was written out is new.
    let flushed = wait_for_files(factory, before.len() + 1);
    let (cancel, mut transfer) = (CancelFlag::new(), files.transfer());
    cancel.cancel();
    let task = freeze(&mut backend, 3);
    let error = task.run(&mut transfer, &cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let mut broken = Broken { inner: files.transfer(), adds_left: 1 };
    let task = freeze(&mut backend, 4);
    let error = task.run(&mut broken, &CancelFlag::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(wait_for_files(factory, flushed.len()), flushed);
    // What the failed one had added is there, as is what the next one needs.
    assert_eq!(files.count(), stored + 1);
    let taken = checkpoint(&mut backend, &files, 5);
    assert!(taken.added_bytes < 64 << 10, "{} bytes", taken.added_bytes);
    let mut again = restored(factory, &mut source(&files, &taken)).unwrap();
    assert!(logical(&mut again) == logical(&mut backend));
}

/// Fails after some files were added.
struct Broken {
    inner: MemoryTransfer,
    adds_left: u32,
}

impl FileTransfer for Broken {
    fn reuse(&mut self, name: &str, file: &FileIdentity) -> Result<bool> {
        self.inner.reuse(name, file)
    }

    fn reuse_all(&mut self, files: &[(&str, &FileIdentity)]) -> Result<bool> {
        self.inner.reuse_all(files)
    }

    fn add(&mut self, name: &str, write: &mut FileWriter<'_>) -> Result<FileIdentity> {
        if self.adds_left == 0 {
            return Err(StateError::new(ErrorKind::Io, "the store is gone"));
        }
        self.adds_left -= 1;
        self.inner.add(name, write)
    }

    fn compression_level(&self) -> i32 {
        0
    }
}

#[test]
fn files_that_the_transfer_refuses_are_added_anew() {
    let factory = TemporaryFactory::usual();
    let (mut backend, _) = filled(&factory);
    let files = MemoryFiles::new();
    let first = checkpoint(&mut backend, &files, 1);
    let gone = &first.snapshot.files[0].identity;
    files.retain(|place| place != gone.place());
    let second = checkpoint(&mut backend, &files, 2);
    assert_eq!(second.tables(), first.tables());
    let mut again = restored(&factory, &mut source(&files, &second)).unwrap();
    assert!(logical(&mut again) == logical(&mut backend));
    files.retain(|_| false);
    let third = checkpoint(&mut again, &files, 3);
    assert!(third.added_bytes > KEYS * VALUE_BYTES as u64 / 2);
    let mut again = restored(&factory, &mut source(&files, &third)).unwrap();
    assert!(logical(&mut again) == logical(&mut backend));
}

#[test]
fn files_of_an_abandoned_life_are_not_taken_for_new_ones_of_the_same_name() {
    let factory = TemporaryFactory::usual();
    let (mut backend, state) = filled(&factory);
    let files = MemoryFiles::new();
    let first = checkpoint(&mut backend, &files, 1);
    put(&mut backend, state, KEYS..KEYS + 100);
    let abandoned = checkpoint(&mut backend, &files, 2);
    let mut again = restored(&factory, &mut source(&files, &first)).unwrap();
    // As much, so that length and number of the new file are likely the same.
    put(&mut again, state, KEYS + 100..KEYS + 200);
    let taken = checkpoint(&mut again, &files, 2);
    let new = |taken: &Taken| {
        taken.snapshot.files.iter().find(|it| !first.snapshot.files.contains(it)).cloned().unwrap()
    };
    assert_ne!(new(&taken).identity.place(), new(&abandoned).identity.place());
    let mut third = restored(&factory, &mut source(&files, &taken)).unwrap();
    assert!(logical(&mut third) == logical(&mut again));
}

#[test]
fn damage_of_any_file_is_found_and_named() {
    let factory = TemporaryFactory::usual();
    let (mut backend, state) = filled(&factory);
    let files = MemoryFiles::new();
    checkpoint(&mut backend, &files, 1);
    put(&mut backend, state, 0..100);
    let taken = checkpoint(&mut backend, &files, 2);
    let third = max().range_of(1, 3).unwrap();
    for file in &taken.snapshot.files {
        let place = file.identity.place();
        let bytes = file.identity.bytes() as usize;
        for at in [0, bytes / 3, bytes - 1] {
            files.damage(place, |bytes| bytes[at] ^= 0x10);
            assert_damaged(&factory, &files, &taken, all(), &file.name);
            if file.name.ends_with(".sst") {
                assert_damaged(&factory, &files, &taken, third, &file.name);
            }
            files.damage(place, |bytes| bytes[at] ^= 0x10);
        }
        let mut cut = None;
        files.damage(place, |bytes| cut = bytes.pop());
        assert_damaged(&factory, &files, &taken, all(), &file.name);
        files.damage(place, |bytes| bytes.extend(cut));
    }
    assert!(restored(&factory, &mut source(&files, &taken)).is_ok(), "all is mended");
    let file = &taken.snapshot.files[0];
    files.retain(|place| place != file.identity.place());
    assert_damaged(&factory, &files, &taken, all(), &file.name);
}

/// Restores `groups`, which must fail naming `file`.
fn assert_damaged(
    factory: &TemporaryFactory,
    files: &MemoryFiles,
    taken: &Taken,
    groups: KeyGroupRange,
    file: &str,
) {
    let mut backend = factory.backend_of(groups);
    let error = backend.restore_files(&mut source(files, taken), groups).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.message().contains(file), "{error} does not name {file}");
}

#[test]
fn swapped_files_are_found() {
    let factory = TemporaryFactory::tiny_files();
    let (mut backend, _) = filled(&factory);
    let files = MemoryFiles::new();
    let taken = checkpoint(&mut backend, &files, 1);
    let tables: Vec<_> =
        taken.snapshot.files.iter().filter(|file| file.name.ends_with(".sst")).collect();
    let (first, second) = (tables[0].identity.place(), tables[1].identity.place());
    let (mut one, mut other) = (Vec::new(), Vec::new());
    files.damage(first, |bytes| one.clone_from(bytes));
    files.damage(second, |bytes| other.clone_from(bytes));
    // A stale file of the right name and length, too.
    other.resize(one.len(), 0);
    files.damage(first, |bytes| *bytes = other);
    assert_damaged(&factory, &files, &taken, all(), &tables[0].name);
}

#[test]
fn files_of_another_backend_and_damaged_manifests_are_refused() {
    let factory = TemporaryFactory::usual();
    let (mut backend, _) = filled(&factory);
    let files = MemoryFiles::new();
    let mut taken = checkpoint(&mut backend, &files, 1);
    let mut foreign = files.source("memory", all(), &taken.snapshot);
    let error = restored(&factory, &mut foreign).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    taken.snapshot.manifest.truncate(40);
    let error = restored(&factory, &mut source(&files, &taken)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// Files that lie on the local disk, checked.
struct Local {
    inner: MemorySource,
    folder: PathBuf,
}

struct LocalReader {
    inner: Box<dyn FileReader>,
    path: PathBuf,
}

impl FileReader for LocalReader {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_exact_at(&self, _: u64, _: &mut [u8]) -> Result<()> {
        Err(StateError::new(ErrorKind::Io, "read although it is there"))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn local_path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

impl FileSource for Local {
    fn backend(&self) -> &str {
        self.inner.backend()
    }

    fn key_groups(&self) -> KeyGroupRange {
        self.inner.key_groups()
    }

    fn manifest(&self) -> &[u8] {
        self.inner.manifest()
    }

    fn files(&self) -> &[StoredFile] {
        self.inner.files()
    }

    fn open(&self, name: &str) -> Result<Box<dyn FileReader>> {
        let inner = self.inner.open(name)?;
        if !name.ends_with(".sst") {
            return Ok(inner);
        }
        let path = self.folder.join(name);
        let mut bytes = vec![0; inner.len() as usize];
        inner.read_exact_at(0, &mut bytes)?;
        std::fs::write(&path, bytes).unwrap();
        Ok(Box::new(LocalReader { inner, path }))
    }
}

#[test]
fn what_the_local_disk_has_is_linked_and_never_changed() {
    let factory = TemporaryFactory::tiny_files();
    let (mut backend, state) = filled(&factory);
    let files = MemoryFiles::new();
    let taken = checkpoint(&mut backend, &files, 1);
    // Beside the state folder, on the same disk.
    let dir = tempfile::tempdir().unwrap();
    let mut local = Local { inner: source(&files, &taken), folder: dir.path().to_path_buf() };
    let mut again = restored(&factory, &mut local).unwrap();
    assert!(logical(&mut again) == logical(&mut backend));
    put(&mut again, state, 0..KEYS);
    drop(again);
    for file in taken.snapshot.files.iter().filter(|file| file.name.ends_with(".sst")) {
        let bytes = std::fs::read(dir.path().join(&file.name)).unwrap();
        let mut stored = vec![0; bytes.len()];
        local.inner.open(&file.name).unwrap().read_exact_at(0, &mut stored).unwrap();
        assert!(bytes == stored, "{} was changed", file.name);
    }
}

#[test]
fn states_registered_in_another_order_are_put_entry_by_entry() {
    let factory = TemporaryFactory::usual();
    let files = MemoryFiles::new();
    let mut backend = factory.backend();
    let [a, b] =
        ["a", "b"].map(|name| backend.register(&descriptor(name, StateKind::List)).unwrap());
    for key in 0..1_000u64 {
        backend.append(a, at(&key.to_be_bytes()), b"of a").unwrap();
        backend.append(b, at(&key.to_be_bytes()), b"of b").unwrap();
    }
    let taken = checkpoint(&mut backend, &files, 1);
    let mut other = factory.backend();
    for name in ["b", "c", "a"] {
        other.register(&descriptor(name, StateKind::List)).unwrap();
    }
    assert_eq!(other.restore_files(&mut source(&files, &taken), all()).unwrap(), 2_000);
    assert!(logical(&mut other) == logical(&mut backend));
    let error = restored_with(&factory, &mut source(&files, &taken), StateKind::Value);
    assert_eq!(error.kind(), ErrorKind::Incompatible);
}

/// Restores into an instance that knows state "a" as another kind.
fn restored_with(
    factory: &TemporaryFactory,
    source: &mut dyn FileSource,
    kind: StateKind,
) -> StateError {
    let mut backend = factory.backend();
    backend.register(&descriptor("a", kind)).unwrap();
    backend.restore_files(source, all()).unwrap_err()
}

#[test]
fn key_groups_that_come_twice_are_added_up() {
    let factory = TemporaryFactory::usual();
    let files = MemoryFiles::new();
    let parts = [0..1_000u64, 1_000..1_500].map(|keys| {
        let mut backend = factory.backend();
        let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
        put(&mut backend, state, keys);
        checkpoint(&mut backend, &files, 1)
    });
    let mut both = factory.backend();
    for taken in &parts {
        both.restore_files(&mut source(&files, taken), all()).unwrap();
    }
    let state = both.register(&descriptor("values", StateKind::Value)).unwrap();
    assert_eq!(both.entry_count(state).unwrap(), 1_500);
    for key in 0..1_500u64 {
        assert_eq!(both.get(state, at(&key.to_be_bytes())).unwrap(), Some(&value(key)[..]));
    }
}

#[test]
fn what_was_written_before_a_restore_stays() {
    let factory = TemporaryFactory::usual();
    let files = MemoryFiles::new();
    let (mut backend, _) = filled(&factory);
    let taken = checkpoint(&mut backend, &files, 1);
    let mut other = factory.backend();
    let state = other.register(&descriptor("values", StateKind::Value)).unwrap();
    put(&mut other, state, KEYS..KEYS + 5);
    other.restore_files(&mut source(&files, &taken), all()).unwrap();
    assert_eq!(other.entry_count(state).unwrap(), KEYS + 5);
}
