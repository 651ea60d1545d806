//! Native files of backends in storage: what is written, named again, and left behind.

use std::sync::Arc;

use millpond_checkpoint::CheckpointKind;
use millpond_checkpoint::driver::{CheckpointStorage, KeyedPart, SharedFiles, WriteKeyedState};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_snapshot::metadata::{IncrementalHandle, KeyedStateHandle};
use millpond_state::{
    AttemptId, CancelFlag, CheckpointId, ErrorKind, FileIdentity, FileTransfer, FilesSummary,
    FilesTask, MaxParallelism, Result, StateError, SubtaskId,
};
use millpond_storage::{MemoryStore, Store};

/// What a task does with its transfer.
type Script = Box<dyn FnOnce(&mut dyn FileTransfer) -> Result<()> + Send>;

struct Scripted(Script);

impl FilesTask for Scripted {
    fn run(self: Box<Self>, files: &mut dyn FileTransfer, _: &CancelFlag) -> Result<FilesSummary> {
        (self.0)(files)?;
        Ok(FilesSummary::default())
    }
}

struct World {
    store: Arc<dyn Store>,
    storage: CheckpointStorage,
    shared: SharedFiles,
}

impl World {
    fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let storage = CheckpointStorage::new(Arc::clone(&store));
        let shared = storage.open_shared_files(RegistrySettings::default()).unwrap();
        Self { store, storage, shared }
    }

    fn begin(&self, id: u64, kind: CheckpointKind) {
        self.shared.with(|files| files.begin(CheckpointId::new(id), kind)).unwrap();
    }

    fn write(
        &self,
        id: u64,
        script: impl FnOnce(&mut dyn FileTransfer) -> Result<()> + Send + 'static,
    ) -> millpond_checkpoint::Result<KeyedPart> {
        let subtask = SubtaskId::new("sum", 3);
        let write = WriteKeyedState {
            checkpoint: CheckpointId::new(id),
            attempt: AttemptId::new(7),
            subtask: &subtask,
            key_groups: MaxParallelism::new(16).unwrap().full_range(),
            compression_level: 1,
        };
        let task = Box::new(Scripted(Box::new(script)));
        self.storage.write_files((&write, "test"), task, &self.shared, &CancelFlag::new())
    }

    fn objects(&self) -> Vec<String> {
        self.store.list(None).unwrap().iter().map(|object| object.path.to_string()).collect()
    }
}

fn add(files: &mut dyn FileTransfer, name: &str, content: &[u8]) -> Result<FileIdentity> {
    files.add(name, &mut |sink| content.chunks(3).try_for_each(|part| sink.write(part)))
}

fn native(part: &KeyedPart) -> &IncrementalHandle {
    match part.handle() {
        KeyedStateHandle::Incremental(native) => native,
        other => panic!("{other:?}"),
    }
}

#[test]
fn new_files_lie_in_one_object_and_uploads_of_an_aborted_checkpoint_are_re_used() {
    let world = World::new();
    world.begin(1, CheckpointKind::Periodic);
    let (send, receive) = std::sync::mpsc::channel();
    let first = world.write(1, move |files| {
        assert_eq!(files.compression_level(), 1);
        for (name, content) in [("a", b"first".as_slice()), ("b", b"second")] {
            send.send(add(files, name, content)?).unwrap();
        }
        Ok(())
    });
    let first = first.unwrap();
    let (a, b) = (receive.recv().unwrap(), receive.recv().unwrap());
    assert_eq!((a.bytes(), a.crc32()), (5, 0x9271_ee57));
    let handle = native(&first);
    assert_eq!((handle.backend.as_str(), handle.objects.len(), first.bytes()), ("test", 1, 11));
    let places: Vec<_> = handle
        .logical_files
        .iter()
        .map(|file| (file.name.as_str(), file.offset, file.bytes))
        .collect();
    assert_eq!(places, [("a", 0, 5), ("b", 5, 6)]);
    assert_eq!(world.objects(), [handle.objects[0].name()]);
    // It timed out; the next one need not upload b again, whatever it calls it.
    world.shared.with(|files| files.abort(CheckpointId::new(1)));
    assert!(!world.shared.collect_deletions());
    world.begin(2, CheckpointKind::Periodic);
    let again = b.clone();
    let second = world.write(2, move |files| {
        assert!(files.reuse("other", &again)?);
        let stranger = FileIdentity::new("shared/x@0", 1, 1);
        assert!(!files.reuse("no", &stranger)?);
        assert!(!files.reuse_all(&[("yes", &again), ("no", &stranger)])?);
        add(files, "c", b"third").map(|_| ())
    });
    let second = second.unwrap();
    assert_eq!((second.bytes(), native(&second).objects.len()), (5, 2));
    let names: Vec<_> =
        native(&second).logical_files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["other", "c"]);
    // Nothing is offered to a savepoint.
    world.begin(3, CheckpointKind::Savepoint);
    let third = world.write(3, move |files| {
        assert!(!files.reuse("other", &b)?);
        Ok(())
    });
    assert!(native(&third.unwrap()).objects.is_empty());
    assert_eq!(world.objects().len(), 2);
}

#[test]
fn a_task_that_fails_leaves_nothing_behind() {
    let world = World::new();
    world.begin(1, CheckpointKind::Periodic);
    let failed = world.write(1, |files| {
        add(files, "a", b"content")?;
        Err(StateError::new(ErrorKind::Io, "no"))
    });
    assert!(failed.is_err());
    let twice = world.write(1, |files| {
        add(files, "a", b"content")?;
        add(files, "a", b"content").map(|_| ())
    });
    assert!(twice.unwrap_err().to_string().contains("two files"));
    let outside = world.write(1, |files| add(files, "../a", b"content").map(|_| ()));
    assert!(outside.is_err());
    assert!(world.objects().is_empty());
    assert!(world.write(1, |files| add(files, "a", b"content").map(|_| ())).is_ok());
    assert_eq!(world.objects().len(), 1);
}

#[test]
fn numbers_of_checkpoints_go_on_above_those_of_uploads_that_came_to_nothing() {
    let world = World::new();
    world.begin(41, CheckpointKind::Periodic);
    world.write(41, |files| add(files, "a", b"content").map(|_| ())).unwrap();
    assert_eq!(world.storage.next_id().unwrap(), CheckpointId::new(42));
}

#[test]
fn garbage_is_told_from_what_is_young_or_not_ours() {
    let world = World::new();
    world.begin(1, CheckpointKind::Periodic);
    world.write(1, |files| add(files, "a", b"content").map(|_| ())).unwrap();
    // A store that does not know ages gives nothing up.
    let garbage = world.storage.find_garbage(1_000, 0).unwrap();
    assert_eq!((garbage.objects.len(), garbage.deletable().count()), (1, 0));
    assert_eq!(world.storage.delete_garbage(&garbage).unwrap(), 0);
    assert_eq!(world.objects().len(), 1);
}
