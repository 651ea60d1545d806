//! A loss of power at any moment of any publish or delete path leaves every acknowledged checkpoint
//! whole and restorable, the rest either whole or not there, and a storage that works: everything
//! goes through a file system that keeps only what was synced.
//!
//! The calls of each path are pinned in `tests/golden/traces/`: a lost sync is a difference there.
//! `BLESS=1 cargo test -p millpond-tests --test power_loss` writes them anew, with `--features
//! rocksdb` those of that backend too. Of a moment of RocksDB, which takes long to restore, some
//! images are tried, and with `EVERY_IMAGE=1` all.

#![allow(clippy::panic, reason = "this is all test: a panic is how it reports")]
#![allow(clippy::print_stdout, reason = "the number of cases is a result")]

mod backends;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millpond_checkpoint::driver::{AttemptLog, AttemptStart, CheckpointStorage, SharedFiles};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::{BackendFactory, CheckpointId, MaxParallelism};
use millpond_storage::{FolderLock, LocalStore, Store, StoreExt, StorePath};
use millpond_testkit::double::{CrashDisk, CrashMoment};
use millpond_testkit::entries::LogicalState;
use millpond_tests::{Cluster, Fallible, Taking};

/// Most images of one moment.
const IMAGES_MAX: usize = 200;

/// Likewise of one moment in five, where a restore takes long.
const IMAGES_MAX_SLOW: usize = 2;
const MOMENTS_SLOW: usize = 5;

/// A storage on a file system that can lose power, and what its checkpoints stand for.
struct World {
    /// Kept for the lock of the folder, which is the kernel's.
    _folder: tempfile::TempDir,
    root: PathBuf,
    disk: CrashDisk,
    storage: CheckpointStorage,
    shared: SharedFiles,
    factory: Box<dyn BackendFactory>,
    cluster: Cluster,
    /// The log of a storage that has one.
    log: Option<AttemptLog>,
    contents: BTreeMap<u64, LogicalState>,
    is_slow: bool,
}

fn max() -> Fallible<MaxParallelism> {
    Ok(MaxParallelism::new(4)?)
}

fn memory() -> backends::Named {
    ("memory", Box::new(MemoryBackendFactory::new(MemoryOptions::new())))
}

/// Starts an attempt from the newest checkpoint.
fn begin(storage: &CheckpointStorage) -> Fallible<AttemptLog> {
    let history = storage.history()?;
    let newest = storage.list_existing(&history)?.pop().map(|found| found.metadata).transpose()?;
    let start = newest.as_ref().map_or(AttemptStart::Beginning, AttemptStart::Here);
    Ok(storage.begin_attempt(&history, start)?.ok_or("somebody else has begun")?)
}

fn open(disk: &CrashDisk, root: &Path) -> Fallible<Arc<LocalStore>> {
    Ok(Arc::new(LocalStore::open_on(Box::new(disk.clone()), root)?))
}

impl World {
    /// A storage without a log.
    fn new((name, factory): backends::Named) -> Fallible<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().canonicalize()?;
        let disk = CrashDisk::new(&root);
        // One after the other, so that the calls have an order.
        let storage = CheckpointStorage::new(open(&disk, &root)?).with_upload_threads(1);
        let shared = storage.open_shared_files(RegistrySettings::default())?;
        let cluster = Cluster::open(factory.as_ref(), max()?, 1)?;
        let contents = BTreeMap::new();
        let is_slow = name == "rocksdb" && std::env::var_os("EVERY_IMAGE").is_none();
        let (_folder, log) = (folder, None);
        Ok(Self { _folder, root, disk, storage, shared, factory, cluster, log, contents, is_slow })
    }

    /// One in which an attempt has begun.
    fn with_log(backend: backends::Named) -> Fallible<Self> {
        let mut world = Self::new(backend)?;
        world.begin()?;
        Ok(world)
    }

    /// Begins the first or next attempt.
    fn begin(&mut self) -> Fallible<()> {
        let log = begin(&self.storage)?;
        self.shared = log.open_shared_files(RegistrySettings::default())?;
        self.log = Some(log);
        self.disk.mark("begun");
        Ok(())
    }

    fn take(&mut self, id: u64, keys: u64, incremental: bool) -> Fallible<()> {
        self.cluster.fill(keys)?;
        self.contents.insert(id, self.cluster.contents()?);
        let log = self.log.as_ref();
        let taking = Taking { operator_state: true, log, ..Taking::full(&self.storage, id) };
        let taking = if incremental { taking.incremental(&self.shared) } else { taking };
        self.cluster.take(&taking)?;
        self.disk.mark(format!("completed {id}"));
        Ok(())
    }

    /// Discards an incremental checkpoint, and then what nothing refers to any more.
    fn discard(&mut self, id: u64) -> Fallible<()> {
        self.disk.mark(format!("discarding {id}"));
        if let Some(log) = &self.log {
            log.forget(CheckpointId::new(id));
        }
        self.shared.with(|files| files.discard(CheckpointId::new(id)));
        assert!(self.shared.collect_deletions());
        self.storage.execute_deletions(&self.shared)?;
        self.disk.mark(format!("discarded {id}"));
        Ok(())
    }

    /// Looks at what a loss of power leaves at every moment; returns how many moments and images
    /// there were.
    fn check(&self) -> Fallible<(usize, usize)> {
        let (images_max, one_in) =
            if self.is_slow { (IMAGES_MAX_SLOW, MOMENTS_SLOW) } else { (IMAGES_MAX, 1) };
        let (mut moments, mut images) = (0, 0);
        for (number, moment) in self.disk.moments().iter().enumerate().step_by(one_in) {
            moments += 1;
            for image in moment.images(images_max, number as u64) {
                self.check_image(moment, &image, number)
                    .map_err(|error| format!("after call {number}, {}: {error}", moment.after()))?;
                images += 1;
            }
        }
        Ok((moments, images))
    }

    fn check_image(&self, moment: &CrashMoment, image: &CrashDisk, number: usize) -> Fallible<()> {
        let case = format!("power lost after call {number}, {}", moment.after());
        let store = open(image, &self.root)?;
        // What a job does first.
        let lock = FolderLock::acquire(&self.root, "test")?;
        store.sweep_temporaries(&lock)?;
        let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
        let mut found = Vec::new();
        for checkpoint in storage.list()? {
            let report = checkpoint.folder.verify()?;
            assert!(report.is_whole(), "{case}: {} {:?}", checkpoint.id, report.damage);
            found.push(checkpoint.id.get());
        }
        let [completed, discarding, discarded] =
            ["completed", "discarding", "discarded"].map(|what| marked(moment, what));
        for id in completed.iter().filter(|id| !discarding.contains(id)) {
            assert!(found.contains(id), "{case}: acknowledged checkpoint {id} is lost: {found:?}");
        }
        for id in &discarded {
            assert!(!found.contains(id), "{case}: discarded checkpoint {id} is back");
        }
        self.check_restore(&storage, &found, &case)?;
        self.check_goes_on(&storage, store.as_ref(), &case)
    }

    fn check_restore(
        &self,
        storage: &CheckpointStorage,
        found: &[u64],
        case: &str,
    ) -> Fallible<()> {
        let Some(newest) = found.last() else { return Ok(()) };
        let mut restored = Cluster::restore_whole(self.factory.as_ref(), storage, max()?, 2)?;
        assert_eq!(restored.checkpoint, *newest, "{case}: {:?}", restored.skipped);
        let contents = restored.cluster.contents()?;
        assert!(self.contents.get(newest) == Some(&contents), "{case}: not the state of {newest}");
        Ok(())
    }

    /// The next owner clears up, takes a checkpoint and deletes what nothing refers to.
    fn check_goes_on(
        &self,
        storage: &CheckpointStorage,
        store: &LocalStore,
        case: &str,
    ) -> Fallible<()> {
        let log = self.log.as_ref().map(|_| begin(storage)).transpose()?;
        let (id, shared) = match &log {
            Some(log) => {
                (log.first_checkpoint(), log.open_shared_files(RegistrySettings::default())?)
            }
            None => (storage.next_id()?, storage.open_shared_files(RegistrySettings::default())?),
        };
        storage.remove_incomplete(id)?;
        let mut cluster = Cluster::open(self.factory.as_ref(), max()?, 1)?;
        cluster.fill(1)?;
        let taking = Taking { log: log.as_ref(), ..Taking::full(storage, id.get()) };
        cluster.take(&taking.incremental(&shared))?;
        assert!(storage.list()?.iter().any(|it| it.id == id), "{case}: {id} does not exist");
        // All objects are of time 0 on this disk.
        storage.delete_garbage(&storage.find_garbage(2, 1)?)?;
        let left = storage.find_garbage(2, 1)?;
        assert_eq!(left.deletable().count(), 0, "{case}");
        for checkpoint in storage.list()? {
            assert!(checkpoint.folder.verify()?.is_whole(), "{case}: gc broke {}", checkpoint.id);
        }
        assert!(store.list(None)?.iter().all(|object| !object.path.name().starts_with('.')));
        Ok(())
    }

    /// Compares the calls with those that are pinned.
    fn check_trace(&self, name: &str) -> Fallible<()> {
        let trace: String = self.disk.trace().iter().map(|line| format!("{line}\n")).collect();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/traces").join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            std::fs::write(&path, &trace)?;
        }
        let pinned = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}: BLESS=1 writes it", path.display()))?;
        assert!(pinned == trace, "{name} is another: compare, then BLESS=1\n{trace}");
        Ok(())
    }
}

/// The numbers that were marked with `what`.
fn marked(moment: &CrashMoment, what: &str) -> Vec<u64> {
    let numbers = moment.marks().iter().filter_map(|mark| mark.split_once(' '));
    numbers.filter(|(mark, _)| *mark == what).filter_map(|(_, id)| id.parse().ok()).collect()
}

fn report(name: &str, world: &World) -> Fallible<()> {
    let (moments, images) = world.check()?;
    assert!(images > moments, "{images} images of {moments} moments");
    println!("{name}: {images} images of {moments} moments, every one recovered");
    Ok(())
}

#[test]
fn full_checkpoints_survive_a_loss_of_power_at_any_call() -> Fallible<()> {
    let mut world = World::new(memory())?;
    for id in 1..=2 {
        world.take(id, id, false)?;
    }
    world.check_trace("full_checkpoints.txt")?;
    report("full checkpoints", &world)
}

#[test]
fn incremental_checkpoints_and_their_deletion_survive_a_loss_of_power_at_any_call() -> Fallible<()>
{
    let mut world = World::new(memory())?;
    // A full one first, which the registry finds when the job starts again.
    world.take(1, 1, false)?;
    world.shared = world.storage.open_shared_files(RegistrySettings::default())?;
    for (id, keys) in [(2, 1), (3, 2)] {
        world.take(id, keys, true)?;
    }
    world.discard(1)?;
    world.discard(2)?;
    // So much is new that it is a base: what the two before share goes with the last of them.
    world.take(4, 40, true)?;
    world.discard(3)?;
    world.check_trace("incremental_checkpoints.txt")?;
    report("incremental checkpoints", &world)
}

/// As a job takes them: with a log, a checkpoint of each form, what its successors share, and the
/// end of the job, which discards the last.
fn take_and_discard_with_a_log((name, factory): backends::Named) -> Fallible<()> {
    let mut world = World::with_log((name, factory))?;
    world.take(1, 1, false)?;
    world.begin()?;
    for (id, keys) in [(2, 1), (3, 2)] {
        world.take(id, keys, true)?;
    }
    world.discard(1)?;
    world.discard(2)?;
    world.take(4, 40, true)?;
    world.discard(3)?;
    world.disk.mark("discarding 4");
    world.log.as_ref().ok_or("no log")?.give_up(&[CheckpointId::new(4)])?;
    world.discard(4)?;
    world.check_trace(&format!("log_{name}.txt"))?;
    report(&format!("{name}, with a log"), &world)
}

#[test]
fn checkpoints_of_each_backend_in_its_own_form_survive_a_loss_of_power_at_any_call() -> Fallible<()>
{
    let state = tempfile::tempdir()?;
    for backend in backends::native(state.path())? {
        take_and_discard_with_a_log(backend)?;
    }
    Ok(())
}

#[test]
fn discarding_a_full_checkpoint_survives_a_loss_of_power_at_any_call() -> Fallible<()> {
    let mut world = World::new(memory())?;
    for id in 1..=2 {
        world.take(id, id, false)?;
    }
    world.disk.mark("discarding 1");
    world.storage.discard(CheckpointId::new(1))?;
    world.disk.mark("discarded 1");
    world.check_trace("discard.txt")?;
    report("discard", &world)
}

#[test]
fn an_object_published_by_itself_is_whole_or_not_there() -> Fallible<()> {
    let root = Path::new("/data");
    let disk = CrashDisk::new(root);
    let store = open(&disk, root)?;
    let path = StorePath::new("a/b/c")?;
    let mut writer = store.create(&path)?;
    for _ in 0..3 {
        // Too large to be gathered: each is a call of its own.
        writer.write(&[7; 70_000])?;
    }
    writer.finish()?;
    disk.mark("published");
    let mut images = 0;
    for moment in disk.moments() {
        for image in moment.images(10_000, 0) {
            let left = open(&image, root)?;
            let there = left.exists(&path)?;
            assert!(there || moment.marks().is_empty(), "{}: lost", moment.after());
            if there {
                assert!(left.read_all(&path)? == vec![7; 210_000], "{}: torn", moment.after());
            }
            images += 1;
        }
    }
    println!("one object: {images} images, every one whole or without it");
    Ok(())
}
