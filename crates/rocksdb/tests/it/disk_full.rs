//! A full disk: a small tmpfs, mounted in a process that has a view of mounts of its own.

use std::process::Command;

use millpond_rocksdb::{RocksDbBackendFactory, RocksDbOptions, RocksDbProfile};
use millpond_state::{ErrorKind, KeyedBackend, StateKind};

use crate::support::{at, context, descriptor, max, run_alone};

const FOLDER: &str = "MILLPOND_TEST_DISK";

const UNSHARE: [&str; 3] = ["unshare", "--map-root-user", "--mount"];

#[test]
fn a_full_disk_is_an_exhausted_resource_and_leaves_what_was_written_readable() {
    let mut probe = Command::new(UNSHARE[0]);
    let possible = probe.args(&UNSHARE[1..]).args(["true"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return; // Not here: the system forbids mounts to its users, or is no Linux.
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=24m none {} && exec \"$@\"", dir.path().display());
    let wrapper = [&UNSHARE[..], &["sh", "-c", &mount, "sh"]].concat();
    let folder = dir.path().to_string_lossy().into_owned();
    run_alone("disk_full::writes_until_the_disk_is_full", &wrapper, &[(FOLDER, folder)]);
}

/// Run by the other test, on a disk of its own.
#[test]
fn writes_until_the_disk_is_full() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = std::path::PathBuf::from(folder);
    let options = RocksDbOptions::with_profile(folder.join("state"), RocksDbProfile::SmallMemory)
        .with_write_buffer_size(1 << 20)
        .with_rocksdb_options("compression=kNoCompression");
    let factory = RocksDbBackendFactory::create(options).unwrap();
    let mut backend = factory.open_backend(&context(max().full_range())).unwrap();
    let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    let value = |key: u64| key.to_le_bytes().repeat(1_000);
    let mut written = 0;
    let error = loop {
        match backend.put(state, at(&u64::to_be_bytes(written)), &value(written)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100_000, "the disk is not full");
    };
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
    assert!(error.message().contains("make room"), "{error}");
    let refused = backend.put_many(state, &[at(b"a")], &[b"b"]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceExhausted, "{refused}");
    assert!(written > 1_000, "{written}");
    for key in 0..written {
        let found = backend.get(state, at(&key.to_be_bytes())).unwrap();
        assert_eq!(found, Some(&value(key)[..]), "key {key} of {written}");
    }
    assert_eq!(backend.get(state, at(&written.to_be_bytes())).unwrap(), None);
    assert_eq!(backend.entry_count(state).unwrap(), written);
}
