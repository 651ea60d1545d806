//! A loss of power at any moment of any publish or delete path leaves every acknowledged checkpoint
//! whole and restorable, the rest either whole or not there, and a storage that works: everything
//! goes through a file system that keeps only what was synced.
//!
//! The calls of each path are pinned in `tests/golden/traces/`: a lost sync is a difference there.
//! `BLESS=1 cargo test -p millpond-tests --test power_loss` writes them anew.

#![allow(clippy::panic, reason = "this is all test: a panic is how it reports")]
#![allow(clippy::print_stdout, reason = "the number of cases is a result")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millpond_checkpoint::driver::{CheckpointStorage, SharedFiles};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::{CheckpointId, MaxParallelism};
use millpond_storage::{FolderLock, LocalStore, Store, StoreExt, StorePath};
use millpond_testkit::double::{CrashDisk, CrashMoment};
use millpond_testkit::entries::LogicalState;
use millpond_tests::{Cluster, Fallible, Taking};

/// Most images of one moment.
const IMAGES_MAX: usize = 200;

/// A storage on a file system that can lose power, and what its checkpoints stand for.
struct World {
    /// Kept for the lock of the folder, which is the kernel's.
    _folder: tempfile::TempDir,
    root: PathBuf,
    disk: CrashDisk,
    storage: CheckpointStorage,
    shared: SharedFiles,
    cluster: Cluster,
    contents: BTreeMap<u64, LogicalState>,
}

fn max() -> Fallible<MaxParallelism> {
    Ok(MaxParallelism::new(4)?)
}

fn factory() -> MemoryBackendFactory {
    MemoryBackendFactory::new(MemoryOptions::new())
}

fn open(disk: &CrashDisk, root: &Path) -> Fallible<Arc<LocalStore>> {
    Ok(Arc::new(LocalStore::open_on(Box::new(disk.clone()), root)?))
}

impl World {
    fn new() -> Fallible<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().canonicalize()?;
        let disk = CrashDisk::new(&root);
        let storage = CheckpointStorage::new(open(&disk, &root)?);
        let shared = storage.open_shared_files(RegistrySettings::default())?;
        let cluster = Cluster::open(&factory(), max()?, 1)?;
        let contents = BTreeMap::new();
        Ok(Self { _folder: folder, root, disk, storage, shared, cluster, contents })
    }

    fn take(&mut self, id: u64, keys: u64, incremental: bool) -> Fallible<()> {
        self.cluster.fill(keys)?;
        self.contents.insert(id, self.cluster.contents()?);
        let taking = Taking { operator_state: true, ..Taking::full(&self.storage, id) };
        let taking = if incremental { taking.incremental(&self.shared) } else { taking };
        self.cluster.take(&taking)?;
        self.disk.mark(format!("completed {id}"));
        Ok(())
    }

    /// Discards an incremental checkpoint, and then what nothing refers to any more.
    fn discard(&mut self, id: u64) -> Fallible<()> {
        self.disk.mark(format!("discarding {id}"));
        self.shared.with(|files| files.discard(CheckpointId::new(id)));
        assert!(self.shared.collect_deletions());
        self.storage.execute_deletions(&self.shared)?;
        self.disk.mark(format!("discarded {id}"));
        Ok(())
    }

    /// Looks at what a loss of power leaves at every moment; returns how many images there were.
    fn check(&self) -> Fallible<usize> {
        let mut images = 0;
        for (number, moment) in self.disk.moments().iter().enumerate() {
            for image in moment.images(IMAGES_MAX, number as u64) {
                self.check_image(moment, &image, number)
                    .map_err(|error| format!("after call {number}, {}: {error}", moment.after()))?;
                images += 1;
            }
        }
        Ok(images)
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
        let mut restored = Cluster::restore_whole(&factory(), storage, max()?, 2)?;
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
        storage.remove_incomplete(storage.next_id()?)?;
        let shared = storage.open_shared_files(RegistrySettings::default())?;
        let id = storage.next_id()?;
        let mut cluster = Cluster::open(&factory(), max()?, 1)?;
        cluster.fill(1)?;
        cluster.take(&Taking::full(storage, id.get()).incremental(&shared))?;
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
    let images = world.check()?;
    let moments = world.disk.moments().len();
    assert!(images > moments, "{images} images of {moments} moments");
    println!("{name}: {images} images of {moments} moments, every one recovered");
    Ok(())
}

#[test]
fn full_checkpoints_survive_a_loss_of_power_at_any_call() -> Fallible<()> {
    let mut world = World::new()?;
    for id in 1..=2 {
        world.take(id, id, false)?;
    }
    world.check_trace("full_checkpoints.txt")?;
    report("full checkpoints", &world)
}

#[test]
fn incremental_checkpoints_and_their_deletion_survive_a_loss_of_power_at_any_call() -> Fallible<()>
{
    let mut world = World::new()?;
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

#[test]
fn discarding_a_full_checkpoint_survives_a_loss_of_power_at_any_call() -> Fallible<()> {
    let mut world = World::new()?;
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
