//! Damage to any file of a checkpoint of any kind is found by verification and by restore, and
//! named, and a restore falls back to the checkpoint before: each bit, each length, files of the
//! right name that hold something else.
//!
//! The cases are counted and printed (`cargo test -p millpond-tests --test corruption --
//! --nocapture`). A debug build restores one bit or length in 31; with `EVERY_BIT=1`, or in a build
//! without debug assertions, every one is restored. All are verified.

#![allow(clippy::panic, reason = "this is all test: a panic is how it reports")]
#![allow(clippy::print_stdout, reason = "the number of cases is a result")]

use std::collections::BTreeMap;
use std::sync::Arc;

use millpond_checkpoint::driver::{CheckpointFolder, CheckpointStorage};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_memory::{IncrementalOptions, MemoryBackendFactory, MemoryOptions};
use millpond_state::{BackendFactory, CheckpointId, MaxParallelism};
use millpond_storage::{MemoryStore, ObjectInfo, Store, StoreExt, StorePath};
use millpond_testkit::SplitMix64;
use millpond_testkit::double::{FlipStore, ReplaceStore};
use millpond_testkit::entries::LogicalState;
use millpond_testkit::model::ModelFactory;
use millpond_tests::{Cluster, Fallible, Taking};

/// The checkpoint that is damaged; the whole ones before it are what a restore falls back to.
const DAMAGED: u64 = 7;

fn folder_of(id: u64) -> Fallible<StorePath> {
    Ok(StorePath::new(format!("chk-{id}"))?)
}

/// The state that each checkpoint in a store stands for.
struct World {
    name: &'static str,
    store: Arc<dyn Store>,
    factory: Box<dyn BackendFactory>,
    contents: BTreeMap<u64, LogicalState>,
}

impl World {
    fn new(name: &'static str, factory: impl BackendFactory + 'static) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        Self { name, store, factory: Box::new(factory), contents: BTreeMap::new() }
    }

    fn open(&self) -> Fallible<Cluster> {
        Cluster::open(self.factory.as_ref(), MaxParallelism::new(4)?, 2)
    }

    fn take(&mut self, cluster: &mut Cluster, taking: &Taking<'_>) -> Fallible<()> {
        cluster.take(taking)?;
        self.contents.insert(taking.id, cluster.contents()?);
        Ok(())
    }

    /// Full snapshots, with operator state in the metadata.
    fn full(compression_level: i32, operator_state: bool) -> Fallible<Self> {
        let mut world = Self::new("full", ModelFactory);
        let storage = CheckpointStorage::new(Arc::clone(&world.store));
        let mut cluster = world.open()?;
        for (id, keys) in [(DAMAGED - 1, 1), (DAMAGED, 2)] {
            cluster.fill(keys)?;
            let taking = Taking { compression_level, operator_state, ..Taking::full(&storage, id) };
            world.take(&mut cluster, &taking)?;
        }
        Ok(world)
    }

    /// A base and two deltas, in shared objects; before them a full checkpoint.
    fn chain() -> Fallible<Self> {
        let options = IncrementalOptions::new().with_delta_percent_max(1_000);
        let factory = MemoryBackendFactory::new(MemoryOptions::new().with_incremental(options));
        let mut world = Self::new("chain", factory);
        let storage = CheckpointStorage::new(Arc::clone(&world.store));
        let shared = storage.open_shared_files(RegistrySettings::default())?;
        let mut cluster = world.open()?;
        cluster.fill(1)?;
        world.take(&mut cluster, &Taking::full(&storage, DAMAGED - 3))?;
        for (id, keys) in [(DAMAGED - 2, 1), (DAMAGED - 1, 2), (DAMAGED, 3)] {
            cluster.fill(keys)?;
            world.take(&mut cluster, &Taking::full(&storage, id).incremental(&shared))?;
        }
        let metadata = storage.folder(CheckpointId::new(DAMAGED))?.load()?;
        let files: Vec<usize> =
            metadata.incremental_handles().map(|handle| handle.logical_files.len()).collect();
        assert!(files.contains(&3), "a base and two deltas: {files:?}");
        Ok(world)
    }

    fn all() -> Fallible<Vec<Self>> {
        Ok(vec![Self::full(0, false)?, Self::full(1, true)?, Self::chain()?])
    }

    fn folder(&self, store: &Arc<dyn Store>) -> Fallible<CheckpointFolder> {
        Ok(CheckpointFolder::new(Arc::clone(store), Some(folder_of(DAMAGED)?)))
    }

    /// The files that the checkpoint consists of.
    fn files(&self) -> Fallible<Vec<ObjectInfo>> {
        let metadata = self.folder(&self.store)?.load()?;
        let folder = folder_of(DAMAGED)?;
        let mut names = vec![folder.join("_metadata")?];
        for file in metadata.files() {
            let name = file.name();
            names.push(if file.is_shared() { StorePath::new(name)? } else { folder.join(name)? });
        }
        names.sort();
        names.dedup();
        let mut listed = self.store.list(None)?;
        listed.retain(|object| names.contains(&object.path));
        assert_eq!(listed.len(), names.len(), "{names:?}");
        Ok(listed)
    }

    /// Checks that verification finds the damage that `shown` has, and names the file.
    fn assert_verify_finds(
        &self,
        shown: &Arc<dyn Store>,
        files: &[&StorePath],
        case: &str,
    ) -> Fallible<()> {
        let case = format!("{}, {case} of {files:?}", self.name);
        let report = match self.folder(shown)?.verify() {
            Ok(report) => report,
            // No metadata, no checkpoint: that is for the caller to expect.
            Err(error) => panic!("{case}: {error}"),
        };
        assert!(!report.is_whole(), "{case}: not found");
        let is_named = |name: &str| files.iter().any(|file| name.ends_with(file.name()));
        let named = report.damage.iter().any(|damage| is_named(&damage.file));
        assert!(named, "{case}: another file is blamed: {:?}", report.damage);
        Ok(())
    }

    /// Checks that a restore finds the damage, names the file, and takes an older checkpoint as it
    /// was. At another parallelism than that of the checkpoint files are not read as a whole.
    fn assert_restore_finds(
        &self,
        shown: &Arc<dyn Store>,
        files: &[&StorePath],
        (case, parallelism): (&str, u32),
    ) -> Fallible<()> {
        let case = format!("{}, {case} of {files:?}", self.name);
        let storage = CheckpointStorage::new(Arc::clone(shown));
        let max = MaxParallelism::new(4)?;
        let restored = Cluster::restore_whole(self.factory.as_ref(), &storage, max, parallelism);
        let mut restored = restored.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(restored.checkpoint < DAMAGED, "{case}: restored as if it were whole");
        let why = restored.skipped.get(&CheckpointId::new(DAMAGED));
        let named = why.is_some_and(|why| files.iter().any(|file| why.contains(file.name())));
        assert!(named, "{case}: another file is blamed: {:?}", restored.skipped);
        let contents = restored.cluster.contents()?;
        let expected = self.contents.get(&restored.checkpoint);
        assert!(expected == Some(&contents), "{case}: not the state of {}", restored.checkpoint);
        Ok(())
    }

    /// Checks both, for damage to one or more of `files`.
    fn assert_found(
        &self,
        shown: Arc<dyn Store>,
        files: &[&StorePath],
        case: &str,
    ) -> Fallible<()> {
        self.assert_verify_finds(&shown, files, case)?;
        for parallelism in [2, 3] {
            self.assert_restore_finds(&shown, files, (case, parallelism))?;
        }
        Ok(())
    }
}

fn replaced(store: &Arc<dyn Store>, path: &StorePath, bytes: &[u8]) -> Arc<dyn Store> {
    Arc::new(ReplaceStore::new(Arc::clone(store)).replace(path.clone(), bytes))
}

/// One case in so many is restored, not only verified.
fn restored_one_in() -> u64 {
    let every = cfg!(not(debug_assertions)) || std::env::var_os("EVERY_BIT").is_some();
    if every { 1 } else { 31 }
}

#[test]
fn each_flipped_bit_of_each_file_of_each_kind_of_checkpoint_is_found() -> Fallible<()> {
    for world in World::all()? {
        let (mut verified, mut restored, mut bits) = (0_u64, 0_u64, 0);
        for file in world.files()? {
            bits += file.len * 8;
            for bit in 0..file.len * 8 {
                let flipped = FlipStore::new(Arc::clone(&world.store), file.path.clone(), bit);
                let shown: Arc<dyn Store> = Arc::new(flipped);
                let case = format!("bit {bit}");
                world.assert_verify_finds(&shown, &[&file.path], &case)?;
                verified += 1;
                if bit % restored_one_in() == 0 {
                    world.assert_restore_finds(&shown, &[&file.path], (&case, 2))?;
                    restored += 1;
                }
            }
        }
        assert_eq!(verified, bits, "every bit of every file");
        println!(
            "{}: {verified} of {bits} flipped bits found by verification, {restored} of {restored} \
             by restore",
            world.name
        );
    }
    Ok(())
}

#[test]
fn a_file_cut_to_any_length_or_with_something_behind_it_is_found() -> Fallible<()> {
    for world in World::all()? {
        let (mut cases, mut restored) = (0, 0);
        for file in world.files()? {
            let whole = world.store.read_all(&file.path)?;
            let longer = [whole.as_slice(), b"x"].concat();
            let cuts = (0..whole.len()).filter_map(|len| whole.get(..len));
            for bytes in cuts.chain([longer.as_slice()]) {
                let shown = replaced(&world.store, &file.path, bytes);
                let case = format!("length {}", bytes.len());
                world.assert_verify_finds(&shown, &[&file.path], &case)?;
                cases += 1;
                if (bytes.len() as u64).is_multiple_of(restored_one_in()) {
                    world.assert_restore_finds(&shown, &[&file.path], (&case, 2))?;
                    restored += 1;
                }
            }
        }
        println!(
            "{}: {cases} of {cases} wrong lengths found by verification, {restored} of {restored} \
             by restore",
            world.name
        );
    }
    Ok(())
}

#[test]
fn files_swapped_with_each_other_are_found() -> Fallible<()> {
    for world in World::all()? {
        let files = world.files()?;
        let mut cases = 0;
        for one in &files {
            for other in files.iter().filter(|other| other.path > one.path) {
                let (a, b) = (world.store.read_all(&one.path)?, world.store.read_all(&other.path)?);
                let shown = ReplaceStore::new(Arc::clone(&world.store));
                let shown = shown.replace(one.path.clone(), b).replace(other.path.clone(), a);
                let shown: Arc<dyn Store> = Arc::new(shown);
                world.assert_found(shown, &[&one.path, &other.path], "a swap")?;
                cases += 1;
            }
        }
        println!("{}: {cases} of {cases} swaps found", world.name);
    }
    Ok(())
}

/// A file is whole in itself and has the right name and length, but is of another time: what a
/// backup that was put back, or a cache that answers late, leaves.
#[test]
fn a_stale_file_of_the_right_name_and_length_is_found() -> Fallible<()> {
    let mut cases = 0;
    for compression_level in [0, 1] {
        let mut worlds = Vec::new();
        for value in [b"old".as_slice(), b"new".as_slice()] {
            let mut world = World::new("stale", ModelFactory);
            let storage = CheckpointStorage::new(Arc::clone(&world.store));
            let mut cluster = world.open()?;
            for id in [DAMAGED - 1, DAMAGED] {
                cluster.put_blob(value)?;
                let taking = Taking { compression_level, ..Taking::full(&storage, id) };
                world.take(&mut cluster, &taking)?;
            }
            worlds.push(world);
        }
        let [old, new] = worlds.as_slice() else { return Err("two worlds".into()) };
        let (old_files, new_files) = (old.files()?, new.files()?);
        assert_eq!(old_files, new_files, "names and lengths are alike");
        for file in &new_files {
            let (stale, now) = (old.store.read_all(&file.path)?, new.store.read_all(&file.path)?);
            if stale == now {
                continue;
            }
            let shown = replaced(&new.store, &file.path, &stale);
            // Stale metadata names the files of its time, which are not there any more.
            let named = match file.path.name() {
                "_metadata" => new_files.iter().find(|file| file.path.name().ends_with(".full")),
                _ => Some(file),
            };
            let named = &named.ok_or("there is no keyed state")?.path;
            new.assert_found(shown, &[named], "a stale file")?;
            cases += 1;
        }
    }
    assert!(cases >= 4, "{cases} stale files");
    println!("stale: {cases} of {cases} found");
    Ok(())
}

#[test]
fn metadata_of_another_checkpoint_is_found() -> Fallible<()> {
    for world in World::all()? {
        let path = folder_of(DAMAGED)?.join("_metadata")?;
        let other = folder_of(DAMAGED - 1)?.join("_metadata")?;
        let shown = replaced(&world.store, &path, &world.store.read_all(&other)?);
        world.assert_found(shown, &[&path], "older metadata")?;
    }
    Ok(())
}

#[test]
fn a_missing_file_is_found_and_named() -> Fallible<()> {
    for world in World::all()? {
        for file in world.files()? {
            let shown = ReplaceStore::new(Arc::clone(&world.store)).remove(file.path.clone());
            let shown: Arc<dyn Store> = Arc::new(shown);
            if file.path.name() == "_metadata" {
                let kind = world.folder(&shown)?.verify().map_err(|error| error.kind());
                assert_eq!(kind, Err(millpond_checkpoint::ErrorKind::NotFound));
                continue;
            }
            world.assert_found(shown, &[&file.path], "absence")?;
        }
    }
    Ok(())
}

#[test]
fn flipped_bits_of_a_large_checkpoint_are_found() -> Fallible<()> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let storage = CheckpointStorage::new(Arc::clone(&store));
    let factory = MemoryBackendFactory::new(MemoryOptions::new());
    let mut cluster = Cluster::open(&factory, MaxParallelism::new(16)?, 3)?;
    cluster.fill(20_000)?;
    cluster.checkpoint(&storage, DAMAGED, 1)?;
    let world = World { store, ..World::new("large", factory) };
    let files = world.files()?;
    let bytes: u64 = files.iter().map(|file| file.len).sum();
    assert!(bytes > 400_000, "{bytes} bytes are not large");
    let mut random = SplitMix64::new(0xF11B);
    for file in &files {
        for _ in 0..40 {
            let bit = random.next_u64() % (file.len * 8);
            let flipped = FlipStore::new(Arc::clone(&world.store), file.path.clone(), bit);
            let case = format!("bit {bit}");
            let shown: Arc<dyn Store> = Arc::new(flipped);
            world.assert_verify_finds(&shown, &[&file.path], &case)?;
        }
    }
    Ok(())
}
