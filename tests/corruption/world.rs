//! Checkpoints of every kind, and what is checked of one that somebody damaged.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millpond_checkpoint::driver::{CheckpointFolder, CheckpointStorage};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_state::{BackendFactory, CheckpointId, MaxParallelism};
use millpond_storage::{MemoryStore, ObjectInfo, Store, StoreExt, StorePath};
use millpond_testkit::SplitMix64;
use millpond_testkit::double::ReplaceStore;
use millpond_testkit::entries::LogicalState;
use millpond_testkit::model::ModelFactory;
use millpond_tests::{Cluster, Fallible, Taking};
use tempfile::TempDir;

use crate::backends;

/// The checkpoint that is damaged; the whole ones before it are what a restore falls back to.
pub(crate) const DAMAGED: u64 = 7;

pub(crate) fn folder_of(id: u64) -> Fallible<StorePath> {
    Ok(StorePath::new(format!("chk-{id}"))?)
}

/// The state that each checkpoint in a store stands for.
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) factory: Box<dyn BackendFactory>,
    pub(crate) contents: BTreeMap<u64, LogicalState>,
    sample: Sample,
    /// Where a backend has its state.
    _state: Option<TempDir>,
}

/// Whether a restore may leave out what is damaged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    Allowed,
    Refused,
}

/// Of how many cases one is tried, by chance of a seed.
#[derive(Clone, Copy)]
struct Sample {
    verified_one_in: u64,
    restored_one_in: u64,
}

impl Sample {
    /// Every case with `EVERY_BIT=1`, but for restores of RocksDB; else fewer, the longer a restore
    /// takes.
    fn of(name: &str) -> Self {
        let every = std::env::var_os("EVERY_BIT").is_some();
        let (verified_one_in, restored_one_in) = match (name, every) {
            ("rocksdb", true) => (1, 53),
            ("rocksdb", false) => (53, 53 * 53),
            (_, true) => (1, 1),
            ("fs", false) => (13, 13 * 19),
            (_, false) => (1, 31),
        };
        Self { verified_one_in, restored_one_in }
    }
}

impl World {
    pub(crate) fn new(name: &'static str, factory: Box<dyn BackendFactory>) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let sample = Sample::of(name);
        Self { name, store, factory, contents: BTreeMap::new(), sample, _state: None }
    }

    /// The same, which removes the folder in the end.
    pub(crate) fn keeping(self, state: TempDir) -> Self {
        Self { _state: Some(state), ..self }
    }

    pub(crate) fn open(&self) -> Fallible<Cluster> {
        Cluster::open(self.factory.as_ref(), MaxParallelism::new(4)?, 2)
    }

    pub(crate) fn take(&mut self, cluster: &mut Cluster, taking: &Taking<'_>) -> Fallible<()> {
        cluster.take(taking)?;
        self.contents.insert(taking.id, cluster.contents()?);
        Ok(())
    }

    /// Full snapshots, with operator state in the metadata.
    fn full(
        name: &'static str,
        (compression_level, operator_state): (i32, bool),
    ) -> Fallible<Self> {
        let mut world = Self::new(name, Box::new(ModelFactory));
        let storage = CheckpointStorage::new(Arc::clone(&world.store));
        let mut cluster = world.open()?;
        for (id, keys) in [(DAMAGED - 1, 1), (DAMAGED, 2)] {
            cluster.fill(keys)?;
            let taking = Taking { compression_level, operator_state, ..Taking::full(&storage, id) };
            world.take(&mut cluster, &taking)?;
        }
        Ok(world)
    }

    /// Three incremental checkpoints, each of which uses files of the one before; before them a
    /// full one.
    pub(crate) fn incremental((name, factory): backends::Named) -> Fallible<Self> {
        let mut world = Self::new(name, factory);
        let storage = CheckpointStorage::new(Arc::clone(&world.store)).with_upload_threads(1);
        let shared = storage.open_shared_files(RegistrySettings::default())?;
        let mut cluster = world.open()?;
        cluster.fill(1)?;
        world.take(&mut cluster, &Taking::full(&storage, DAMAGED - 3))?;
        for (id, keys) in [(DAMAGED - 2, 1), (DAMAGED - 1, 2), (DAMAGED, 3)] {
            cluster.fill(keys)?;
            world.take(&mut cluster, &Taking::full(&storage, id).incremental(&shared))?;
        }
        let metadata = world.folder(&world.store)?.load()?;
        let files: Vec<usize> =
            metadata.incremental_handles().map(|handle| handle.logical_files.len()).collect();
        assert!(files.iter().any(|files| *files >= 2), "{name}: several files: {files:?}");
        let objects = metadata.files().filter(|file| file.is_shared()).count();
        assert!(objects > 2, "{name}: of more than one checkpoint: {objects}");
        Ok(world)
    }

    /// One of every kind. State in files goes below `state`.
    pub(crate) fn all(state: &Path) -> Fallible<Vec<Self>> {
        let mut all = vec![
            Self::full("full", (0, false))?,
            Self::full("full, compressed, operator state", (1, true))?,
        ];
        for backend in backends::native(state)? {
            all.push(Self::incremental(backend)?);
        }
        Ok(all)
    }

    pub(crate) fn folder(&self, store: &Arc<dyn Store>) -> Fallible<CheckpointFolder> {
        Ok(CheckpointFolder::new(Arc::clone(store), Some(folder_of(DAMAGED)?)))
    }

    /// The files that the checkpoint consists of.
    pub(crate) fn files(&self) -> Fallible<Vec<ObjectInfo>> {
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

    /// Of `cases` cases those that are verified, and whether each is restored too.
    pub(crate) fn sampled(&self, cases: u64) -> impl Iterator<Item = (u64, bool)> + use<> {
        let Sample { verified_one_in, restored_one_in } = self.sample;
        let mut random = SplitMix64::new(cases);
        (0..cases).filter_map(move |case| {
            let number = random.next_u64();
            let is_verified = number.is_multiple_of(verified_one_in);
            is_verified.then_some((case, number.is_multiple_of(restored_one_in)))
        })
    }

    /// The store with other bytes at `path`.
    pub(crate) fn replaced(&self, path: &StorePath, bytes: &[u8]) -> Arc<dyn Store> {
        Arc::new(ReplaceStore::new(Arc::clone(&self.store)).replace(path.clone(), bytes))
    }

    pub(crate) fn read(&self, path: &StorePath) -> Fallible<Vec<u8>> {
        Ok(self.store.read_all(path)?)
    }

    /// Checks that verification finds the damage that `shown` has, and names the file.
    pub(crate) fn assert_verify_finds(
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

    /// Whether the checkpoint consists of this byte of a file, too. Of an object that others share
    /// it may use a part.
    pub(crate) fn is_part(&self, file: &StorePath, byte: u64) -> Fallible<bool> {
        let metadata = self.folder(&self.store)?.load()?;
        let parts = metadata.incremental_handles().flat_map(|handle| handle.placed_files());
        let mut parts = parts.filter(|(_, object)| object.name() == file.as_ref()).peekable();
        let is_whole = parts.peek().is_none();
        Ok(is_whole || parts.any(|(it, _)| (it.offset..it.offset + it.bytes).contains(&byte)))
    }

    /// Checks that a restore finds the damage, names the file, and takes an older checkpoint as it
    /// was. Or, if that `may_be` so, that it does not read what is damaged and takes the state of
    /// the damaged checkpoint as it was; returns whether it found the damage.
    pub(crate) fn assert_restore_finds(
        &self,
        shown: &Arc<dyn Store>,
        files: &[&StorePath],
        (case, parallelism): (&str, u32),
        may_be: Unread,
    ) -> Fallible<bool> {
        let case = format!("{}, {case} of {files:?}", self.name);
        let storage = CheckpointStorage::new(Arc::clone(shown));
        let max = MaxParallelism::new(4)?;
        let restored = Cluster::restore_whole(self.factory.as_ref(), &storage, max, parallelism);
        let mut restored = restored.unwrap_or_else(|error| panic!("{case}: {error}"));
        let is_found = restored.checkpoint != DAMAGED;
        if is_found {
            let why = restored.skipped.get(&CheckpointId::new(DAMAGED));
            let named = why.is_some_and(|why| files.iter().any(|file| why.contains(file.name())));
            assert!(named, "{case}: another file is blamed: {:?}", restored.skipped);
        } else {
            assert!(may_be == Unread::Allowed, "{case}: restored as if it were whole");
        }
        let contents = restored.cluster.contents()?;
        let expected = self.contents.get(&restored.checkpoint);
        assert!(expected == Some(&contents), "{case}: not the state of {}", restored.checkpoint);
        Ok(is_found)
    }

    /// Checks both, for damage to one or more of `files`.
    pub(crate) fn assert_found(
        &self,
        shown: Arc<dyn Store>,
        files: &[&StorePath],
        case: &str,
    ) -> Fallible<()> {
        self.assert_verify_finds(&shown, files, case)?;
        self.assert_restore_finds(&shown, files, (case, 2), Unread::Refused)?;
        // At another parallelism nobody needs the MANIFEST of a database.
        let may_be = if self.name == "rocksdb" { Unread::Allowed } else { Unread::Refused };
        self.assert_restore_finds(&shown, files, (case, 3), may_be)?;
        Ok(())
    }
}
