//! Stores and checkpoints for the tests of offline tools.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond_checkpoint::CheckpointMode;
use millpond_checkpoint::driver::{CheckpointFolder, JobDescription, VertexDescription};
use millpond_checkpoint::offline::{
    KeyedEntry, NewCheckpoint, OfflineCheckpoint, OfflineOptions, Spill, Target,
};
use millpond_snapshot::metadata::{FullHandle, KeyedStateHandle};
use millpond_snapshot::{CheckpointMetadata, FullOptions, FullWriter};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    EntrySink, MaxParallelism, OperatorStatePart, Redistribution, SnapshotEntry, StateCodecs,
    StateDescriptor, StateKind,
};
use millpond_storage::{
    Effect, ErrorKind, MemoryStore, ObjectInfo, Result, StorageError, Store, StoreExt, StorePath,
    StoreReader, StoreWriter,
};

/// A folder in memory.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn Store>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { store: Arc::new(MemoryStore::new()) }
    }

    pub(crate) fn target(&self) -> Target {
        Target::create(self.store.clone(), None).unwrap()
    }

    pub(crate) fn folder(&self) -> CheckpointFolder {
        CheckpointFolder::new(self.store.clone(), None)
    }
}

pub(crate) fn spill(memory_bytes: usize) -> Spill {
    let folder = StorePath::new("runs").unwrap();
    Spill::new(Arc::new(MemoryStore::new()), Some(folder), memory_bytes)
}

pub(crate) fn job(groups: u32, vertices: &[(&str, u32)]) -> JobDescription {
    let vertices = vertices.iter().map(|(name, parallelism)| VertexDescription {
        name: (*name).to_owned(),
        parallelism: *parallelism,
    });
    JobDescription {
        name: "job".to_owned(),
        kind: "test".to_owned(),
        state_backend: "none".to_owned(),
        mode: CheckpointMode::ExactlyOnce,
        max_parallelism: MaxParallelism::new(groups).unwrap(),
        vertices: vertices.collect(),
    }
}

pub(crate) fn keyed<K, V>(key: K, value: V) -> KeyedEntry<K, (), V> {
    KeyedEntry { key, namespace: (), value }
}

/// A list of operator state that is split over subtasks.
pub(crate) fn split_list(name: &str, items: &[&[u8]]) -> OperatorStatePart {
    let items = items.iter().map(|item| item.to_vec()).collect();
    OperatorStatePart::opaque(name, Redistribution::Split, items)
}

/// All objects but metadata, by name.
pub(crate) fn files(store: &Arc<dyn Store>) -> BTreeMap<String, Vec<u8>> {
    let objects = store.list(None).unwrap();
    let mut files: BTreeMap<String, Vec<u8>> = objects
        .iter()
        .map(|object| (object.path.as_str().to_owned(), store.read_all(&object.path).unwrap()))
        .collect();
    files.remove("_metadata");
    files
}

/// A checkpoint as two subtasks write it that register their states in different orders, with
/// keys in the groups that `hash` gives.
pub(crate) fn written_by_subtasks(place: &Place, hash: impl Fn(&[u8]) -> u64) -> OfflineCheckpoint {
    let descriptor = |name: &str| {
        let codecs = StateCodecs {
            key: CodecIdentity::new("u64", 1),
            namespace: CodecIdentity::void(),
            user_key: None,
            value: CodecIdentity::new("u64", 1),
        };
        StateDescriptor::new(name, StateKind::Value, codecs).unwrap()
    };
    let base = Place::new();
    let spill = spill(1_000);
    let empty = NewCheckpoint::create(&job(10, &[("op", 2)]), OfflineOptions::new(&spill));
    let mut metadata: CheckpointMetadata = empty.write(base.target()).unwrap().metadata().clone();
    let max = metadata.max_parallelism;
    let vertex = &mut metadata.vertices[0];
    for (subtask, names) in [(0, ["one", "two"]), (1, ["two", "one"])] {
        let range = max.range_of(subtask, 2).unwrap();
        let mut keys: Vec<_> = (0..200u64)
            .flat_map(|key| [(key, 0), (key, 1)])
            .map(|(key, state)| (max.group_of_hash(hash(&key.to_be_bytes())), state, key))
            .filter(|(group, ..)| range.contains(*group))
            .collect();
        keys.sort_unstable();
        let mut bytes = Vec::new();
        let mut writer = FullWriter::create(&mut bytes, FullOptions::default()).unwrap();
        writer.begin(&names.map(descriptor)).unwrap();
        for (group, state, key) in keys {
            let key = key.to_be_bytes();
            let (namespace, user_key, value) = (&[][..], &[][..], &key[..]);
            writer
                .entry(&SnapshotEntry { group, state, key: &key, namespace, user_key, value })
                .unwrap();
        }
        let summary = writer.finish().unwrap();
        let name = format!("part-{subtask}.full");
        place.store.put_if_absent(&StorePath::new(&name).unwrap(), &bytes).unwrap();
        let part = &mut vertex.subtasks[subtask as usize];
        part.key_groups = Some(range);
        let handle = FullHandle::new(name, range, &summary).unwrap();
        part.keyed_state = vec![KeyedStateHandle::Full(handle)];
        for state in names.map(descriptor) {
            vertex.add_state(&state).unwrap();
        }
    }
    let path = StorePath::new("_metadata").unwrap();
    place.store.put_if_absent(&path, &metadata.encode().unwrap()).unwrap();
    OfflineCheckpoint::open(place.folder()).unwrap()
}

/// A store with room for so many objects.
#[derive(Debug)]
pub(crate) struct FullStore {
    store: MemoryStore,
    room: AtomicUsize,
}

impl FullStore {
    pub(crate) fn new(room: usize) -> Self {
        Self { store: MemoryStore::new(), room: AtomicUsize::new(room) }
    }
}

impl Store for FullStore {
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        let taken =
            self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1));
        match taken {
            Ok(_) => self.store.create(path),
            Err(_) => Ok(Box::new(FullWriterOfNothing)),
        }
    }

    fn create_linked(&self, _: &StorePath, _: &std::path::Path) -> Option<Box<dyn StoreWriter>> {
        None
    }

    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>> {
        self.store.open(path)
    }

    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>> {
        self.store.list(prefix)
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>> {
        self.store.list_folders(prefix)
    }

    fn written_wall_ms(&self, path: &StorePath) -> millpond_storage::Result<Option<u64>> {
        self.store.written_wall_ms(path)
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        self.store.delete(path)
    }

    fn url(&self) -> &str {
        self.store.url()
    }
}

#[derive(Debug)]
struct FullWriterOfNothing;

fn full() -> StorageError {
    StorageError::new(ErrorKind::NoSpace, Effect::DidNotHappen, "the disk is full")
}

impl StoreWriter for FullWriterOfNothing {
    fn write(&mut self, _: &[u8]) -> Result<()> {
        Err(full())
    }

    fn finish(self: Box<Self>) -> Result<ObjectInfo> {
        Err(full())
    }

    fn abort(self: Box<Self>) {}
}
