//! A full disk: a small tmpfs, mounted in a process that has a view of mounts of its own.

use std::process::Command;

use millpond_fs::{FsBackendFactory, FsOptions};
use millpond_state::{BackendContext, ErrorKind, KeyedBackend, StateKind};

use crate::support::{at, descriptor, max};

const FOLDER: &str = "MILLPOND_TEST_DISK";

const UNSHARE: [&str; 3] = ["unshare", "--map-root-user", "--mount"];

#[test]
fn a_full_disk_refuses_writes_and_leaves_what_was_written_readable() {
    let mut probe = Command::new(UNSHARE[0]);
    let possible = probe.args(&UNSHARE[1..]).args(["true"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return; // Not here: the system forbids mounts to its users, or is no Linux.
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=8m none {} && exec \"$@\"", dir.path().display());
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new(UNSHARE[0]);
    command.args(&UNSHARE[1..]).args(["sh", "-c", &mount, "sh"]).arg(exe);
    command.args(["--exact", "disk_full::writes_until_the_disk_is_full", "--nocapture"]);
    let output = command.env(FOLDER, dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "it failed on its own:\n{text}");
    assert!(text.contains("1 passed"), "it did not run:\n{text}");
}

/// Run by the other test, on a disk of its own.
#[test]
fn writes_until_the_disk_is_full() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = std::path::PathBuf::from(folder);
    let options = FsOptions::new(folder.join("state"))
        .with_segment_bytes(256 << 10)
        .with_tail_bytes(512 << 10);
    let factory = FsBackendFactory::new(options).unwrap();
    let context = BackendContext::new("test", max().full_range(), max());
    let mut backend = factory.open_backend(&context).unwrap();
    let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    let lists = backend.register(&descriptor("lists", StateKind::List)).unwrap();
    let maps = backend.register(&descriptor("maps", StateKind::Map)).unwrap();
    let value = |key: u64| key.to_le_bytes().repeat(100);
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20]).unwrap();
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
    assert!(written > 3_000, "{written}");
    for _ in 0..3 {
        let refused = [
            backend.put_many(state, &[at(b"a")], &[b"b"]),
            backend.delete(state, at(&0u64.to_be_bytes())),
            backend.append(lists, at(b"a"), b"b"),
            backend.map_put(maps, at(b"a"), b"b", b"c"),
        ];
        for refused in refused {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
        }
    }
    for key in 0..written {
        let found = backend.get(state, at(&key.to_be_bytes())).unwrap();
        assert_eq!(found, Some(&value(key)[..]), "key {key} of {written}");
    }
    assert_eq!(backend.get(state, at(&written.to_be_bytes())).unwrap(), None);
    assert_eq!(backend.entry_count(state).unwrap(), written);
    // Room is made: after an attempt that succeeds, writes go on.
    std::fs::remove_file(&ballast).unwrap();
    let tries =
        (0..100).take_while(|_| backend.put(state, at(b"again"), b"there").is_err()).count();
    assert!(tries < 100, "writes are still refused");
    assert_eq!(backend.get(state, at(b"again")).unwrap(), Some(&b"there"[..]));
}
