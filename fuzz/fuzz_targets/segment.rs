//! Any bytes as a segment file, as they are and with their checksums made to fit: opening it,
//! making the index from its hints, and reading, changing and walking what that leads to must not
//! panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use millpond_state::{CancelFlag, CheckpointId, EntryKey, KeyedBackend, SnapshotRequest};
use millpond_testkit::native::MemoryFiles;

#[path = "../shared/fs_instance.rs"]
mod fs_instance;
#[path = "../../crates/fs/tests/it/seal.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod seal;

/// The manifest of one segment.
static MANIFEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut backend = fs_instance::open().expect("an instance opens");
    let [values, ..] = fs_instance::register(&mut backend).expect("states are registered");
    let at = EntryKey::new(b"a", fs_instance::max());
    backend.put(values, at, b"one").expect("a value is put");
    let request = SnapshotRequest::incremental(CheckpointId::new(1));
    let task = backend.snapshot_files(&request).expect("a snapshot").expect("a native one");
    let summary = task.run(&mut MemoryFiles::new().transfer(), &CancelFlag::new());
    summary.expect("a manifest").manifest
});

fn check(bytes: &[u8]) {
    let _ = fs_instance::restore_and_use([bytes], &MANIFEST);
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut sealed = bytes.to_vec();
    seal::seal_segment(&mut sealed);
    check(&sealed);
});
