//! Any bytes as a segment file, as they are and with their checksums made to fit: opening it,
//! making the index from its hints, and reading, changing and walking what that leads to must not
//! panic.
#![no_main]

use std::ops::ControlFlow;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use millpond_fs::{FsBackend, FsBackendFactory, FsOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, CancelFlag, CheckpointId, EntryKey, FileSink, FileTransfer, KeyedBackend,
    MaxParallelism, Result, SnapshotRequest, StateCodecs, StateDescriptor, StateId, StateKind,
};
use millpond_testkit::entries::CollectingSink;
use millpond_testkit::native::MemoryFiles;

#[path = "../../crates/fs/tests/it/seal.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod seal;

/// What all inputs share: where state lies, and a manifest of one segment.
struct World {
    factory: FsBackendFactory,
    manifest: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("millpond-fuzz-{}", std::process::id()));
    let options = FsOptions::new(folder).with_segment_bytes(4 << 10).with_tail_bytes(8 << 10);
    let factory = FsBackendFactory::new(options).expect("the temporary folder is usable");
    let mut backend = open(&factory).expect("an instance opens");
    let [values, ..] = register(&mut backend).expect("states are registered");
    backend.put(values, EntryKey::new(b"a", max()), b"one").expect("a value is put");
    let request = SnapshotRequest::incremental(CheckpointId::new(1));
    let task = backend.snapshot_files(&request).expect("a snapshot").expect("a native one");
    let summary = task.run(&mut MemoryFiles::new().transfer(), &CancelFlag::new());
    World { factory, manifest: summary.expect("a manifest").manifest }
});

fn max() -> MaxParallelism {
    MaxParallelism::new(16).expect("16 is in range")
}

fn open(factory: &FsBackendFactory) -> Result<FsBackend> {
    factory.open_backend(&BackendContext::new("test", max().full_range(), max()))
}

fn register(backend: &mut FsBackend) -> Result<[StateId; 3]> {
    let mut register = |name, kind: StateKind| {
        let bytes = || CodecIdentity::new("bytes", 1);
        let user_key = kind.is_map().then(bytes);
        let codecs = StateCodecs { key: bytes(), namespace: bytes(), user_key, value: bytes() };
        backend.register(&StateDescriptor::new(name, kind, codecs)?)
    };
    let values = register("values", StateKind::Value)?;
    Ok([values, register("lists", StateKind::List)?, register("maps", StateKind::Map)?])
}

fn read_all(backend: &mut FsBackend) -> Result<()> {
    let task = backend.snapshot(&SnapshotRequest::full(CheckpointId::new(1)))?;
    task.run(&mut CollectingSink::new(), &CancelFlag::new()).map(drop)
}

/// Reads and changes what is there under some keys; errors are as good as values.
fn use_all(backend: &mut FsBackend) -> Result<()> {
    let [values, lists, maps] = register(backend)?;
    for key in [&b"a"[..], b"b", b"c", b"d", b"e", b"l", b"m", b"s", b"t"] {
        let at = EntryKey::new(key, max());
        let _ = backend.get(values, at);
        let _ = backend.get(lists, at);
        let _ = backend.append(lists, at, &[7; 300]);
        let _ = backend.map_get(maps, at, b"one");
        let _ = backend.map_put(maps, at, b"one", &[8; 600]);
        let _ = backend.map_visit(maps, at, &mut |_, edit| {
            edit.remove();
            Ok(ControlFlow::Continue(()))
        });
        let _ = backend.delete(values, at);
    }
    for number in 0..200u32 {
        let _ = backend.put(values, EntryKey::new(&(number % 20).to_be_bytes(), max()), &[9; 50]);
    }
    read_all(backend)
}

fn check(bytes: &[u8]) -> Result<()> {
    let files = MemoryFiles::new();
    let mut transfer = files.transfer();
    transfer.add("0.seg", &mut |sink: &mut dyn FileSink| sink.write(bytes))?;
    let snapshot = transfer.finish(WORLD.manifest.clone());
    let mut backend = open(&WORLD.factory)?;
    let groups = max().full_range();
    backend.restore_files(&mut files.source("fs", groups, &snapshot), groups)?;
    let _ = read_all(&mut backend);
    use_all(&mut backend)
}

fuzz_target!(|bytes: &[u8]| {
    let _ = check(bytes);
    let mut sealed = bytes.to_vec();
    seal::seal_segment(&mut sealed);
    let _ = check(&sealed);
});
