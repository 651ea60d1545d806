//! Instances of the filesystem backend over a temporary folder, with segments so small that little
//! state fills some. Errors of what is done with them are as good as values.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use millpond_fs::{FsBackend, FsBackendFactory, FsOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, CancelFlag, CheckpointId, EntryKey, FileSink, FileTransfer, KeyedBackend,
    MaxParallelism, Result, SnapshotRequest, StateCodecs, StateDescriptor, StateId, StateKind,
};
use millpond_testkit::entries::CollectingSink;
use millpond_testkit::native::MemoryFiles;

static FACTORY: LazyLock<FsBackendFactory> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("millpond-fuzz-{}", std::process::id()));
    let options = FsOptions::new(folder).with_segment_bytes(4 << 10).with_tail_bytes(8 << 10);
    FsBackendFactory::new(options).expect("the temporary folder is usable")
});

pub(crate) fn max() -> MaxParallelism {
    MaxParallelism::new(16).expect("16 is in range")
}

pub(crate) fn open() -> Result<FsBackend> {
    FACTORY.open_backend(&BackendContext::new("test", max().full_range(), max()))
}

pub(crate) fn register(backend: &mut FsBackend) -> Result<[StateId; 3]> {
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

/// Reads and changes what is there under some keys.
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

/// Restores an instance from segments and a manifest of them, and uses what that gives.
pub(crate) fn restore_and_use<'s>(
    segments: impl IntoIterator<Item = &'s [u8]>,
    manifest: &[u8],
) -> Result<()> {
    let files = MemoryFiles::new();
    let mut transfer = files.transfer();
    for (number, segment) in segments.into_iter().enumerate() {
        let name = format!("{number}.seg");
        transfer.add(&name, &mut |sink: &mut dyn FileSink| sink.write(segment))?;
    }
    let snapshot = transfer.finish(manifest.to_vec());
    let mut backend = open()?;
    let groups = max().full_range();
    backend.restore_files(&mut files.source("fs", groups, &snapshot), groups)?;
    let _ = read_all(&mut backend);
    use_all(&mut backend)
}
