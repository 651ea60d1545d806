//! The committed segment files of every version, and the manifest of one, read as they did when
//! they were written, and current code writes the same bytes.
//!
//! `BLESS=1` writes files that are missing. What is committed for a version stays as it is.

use std::path::{Path, PathBuf};

use millpond_fs::FsBackend;
use millpond_state::{
    CancelFlag, CheckpointId, ErrorKind, FileSink, FileTransfer, KeyedBackend, Result,
    SnapshotRequest, StateKind,
};
use millpond_testkit::entries::CollectedSnapshot;
use millpond_testkit::native::{MemoryFiles, MemorySnapshot};

use crate::seal::{item_bytes, items, seal_segment};
use crate::support::{TemporaryFactory, at, collect, descriptor, max};

/// One golden file: its name, its bytes, and how reading it fails.
struct Golden {
    name: &'static str,
    bytes: Vec<u8>,
    broken: Option<Broken>,
}

struct Broken {
    kind: ErrorKind,
    offset: usize,
    message: &'static str,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/segment/v1")
}

/// The manifest of a log that is the good file.
fn manifest_path() -> PathBuf {
    folder().join("../../segment-manifest/v1/good/every-record.manifest")
}

/// Writes a file that is missing, if asked to.
fn bless(path: &Path, bytes: &[u8]) {
    if std::env::var_os("BLESS").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

impl Golden {
    fn path(&self) -> PathBuf {
        let folder = folder().join(if self.broken.is_some() { "broken" } else { "good" });
        folder.join(format!("{}.seg", self.name))
    }

    fn committed(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// State whose one segment has records of every kind.
fn written() -> (TemporaryFactory, FsBackend) {
    let factory = TemporaryFactory::usual();
    let mut backend = factory.backend();
    let [values, lists, maps] =
        [("values", StateKind::Value), ("lists", StateKind::List), ("maps", StateKind::Map)]
            .map(|(name, kind)| backend.register(&descriptor(name, kind)).unwrap());
    backend.put(values, at(b"a"), b"one").unwrap();
    backend.put(values, at(b"b").in_namespace(b"space"), b"").unwrap();
    // A filler comes behind what got shorter.
    backend.put(values, at(b"c"), b"a value of some length").unwrap();
    backend.put(values, at(b"c"), b"short").unwrap();
    // An older record and a newer one, and one that is deleted.
    backend.put(values, at(b"d"), b"older").unwrap();
    backend.put(values, at(b"e"), b"deleted").unwrap();
    backend.put(values, at(b"d"), b"newer, and longer than it was").unwrap();
    backend.delete(values, at(b"e")).unwrap();
    // A list in three parts.
    for part in [b'x', b'y', b'z'] {
        backend.append(lists, at(b"l"), &[part; 200]).unwrap();
        backend.append(lists, at(b"m"), &[part; 2]).unwrap();
    }
    for user_key in [&b""[..], b"one", b"two"] {
        backend.map_put(maps, at(b"s"), user_key, b"small").unwrap();
    }
    // A map that is a tree.
    for user_key in 0..60u8 {
        backend.map_put(maps, at(b"t"), &[user_key], &[user_key; 60]).unwrap();
    }
    (factory, backend)
}

/// A snapshot of a backend, and its files.
fn snapshot(backend: &mut FsBackend) -> (MemoryFiles, MemorySnapshot) {
    let files = MemoryFiles::new();
    let request = SnapshotRequest::incremental(CheckpointId::new(1));
    let task = backend.snapshot_files(&request).unwrap().unwrap();
    let mut transfer = files.transfer();
    let summary = task.run(&mut transfer, &CancelFlag::new()).unwrap();
    (files, transfer.finish(summary.manifest))
}

fn segment() -> (Vec<u8>, Vec<u8>) {
    let (_factory, mut backend) = written();
    let (files, snapshot) = snapshot(&mut backend);
    assert_eq!(snapshot.files.len(), 1, "golden state is one segment");
    let mut bytes = Vec::new();
    files.damage(snapshot.files[0].identity.place(), |file| bytes.clone_from(file));
    (bytes, snapshot.manifest)
}

/// Restores from a segment file, and reads everything.
fn read(bytes: &[u8], manifest: &[u8]) -> Result<CollectedSnapshot> {
    let files = MemoryFiles::new();
    let mut transfer = files.transfer();
    transfer.add("0.seg", &mut |sink: &mut dyn FileSink| sink.write(bytes))?;
    let snapshot = transfer.finish(manifest.to_vec());
    let factory = TemporaryFactory::usual();
    let mut backend = factory.backend();
    let groups = max().full_range();
    backend.restore_files(&mut files.source("fs", groups, &snapshot), groups)?;
    let task = backend.snapshot(&SnapshotRequest::full(CheckpointId::new(1)))?;
    let mut sink = millpond_testkit::entries::CollectingSink::new();
    task.run(&mut sink, &CancelFlag::new())?;
    Ok(sink.into_snapshot())
}

/// The good file with a change, its checksums made to fit.
fn sealed(good: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = good.to_vec();
    change(&mut bytes);
    seal_segment(&mut bytes);
    bytes
}

fn flipped(good: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = good.to_vec();
    bytes[at] ^= 0x10;
    bytes
}

fn broken(good: &[u8]) -> Vec<Golden> {
    use ErrorKind::{Corrupt, Incompatible};

    let footer = good.len() - 56;
    let place = |at: usize| u32::from_le_bytes(good[at..at + 4].try_into().unwrap()) as usize;
    let (hints, groups) = (place(footer), place(footer + 8));
    let record = items(good)[0];
    let case = |name, bytes, kind, offset, message| Golden {
        name,
        bytes,
        broken: Some(Broken { kind, offset, message }),
    };
    let cut = good[..good.len() - 1].to_vec();
    let other_magic = sealed(good, |it| it[3] = b'X');
    let newer = sealed(good, |it| it[8] = 2);
    let newer_flags = sealed(good, |it| it[footer + 40] = 1);
    let far_hint = sealed(good, |it| it[hints + 15] |= 0x3f);
    let twice = sealed(good, |it| it[groups + 24] = it[groups]);
    let too_much = sealed(good, |it| it[groups + 22] = 0xFF);
    let kind_of_record = sealed(good, |it| it[record + 13] |= 0x80);
    let long_value = sealed(good, |it| it[record + 7] |= 0x40);
    vec![
        case("empty", Vec::new(), Corrupt, 0, "too short"),
        case("other-magic", other_magic, Corrupt, 0, "no segment"),
        case("flip-header", flipped(good, 9), Corrupt, 0, "checksum"),
        case("newer-version", newer, Incompatible, 0, "version 2"),
        case("newer-flags", newer_flags, Incompatible, 0, "flags 0x1"),
        case("cut-tail", cut, Corrupt, footer - 1, "cut short"),
        case("flip-footer", flipped(good, footer + 26), Corrupt, footer, "checksum"),
        case("flip-key-groups", flipped(good, groups), Corrupt, groups, "checksum"),
        case("key-group-twice", twice, Corrupt, groups, "table of key groups is wrong"),
        case("more-than-its-records", too_much, Corrupt, groups, "table of key groups is wrong"),
        case("flip-hint", flipped(good, hints + 3), Corrupt, hints, "checksum"),
        case("hint-out-of-records", far_hint, Corrupt, hints, "leads out"),
        case("flip-record", flipped(good, record + 18), Corrupt, record, "checksum"),
        case("unknown-record-flag", kind_of_record, Corrupt, record, "record"),
        case("value-out-of-records", long_value, Corrupt, record, "record"),
    ]
}

fn all() -> (Vec<Golden>, Vec<u8>) {
    let (good, manifest) = segment();
    let mut all = broken(&good);
    all.push(Golden { name: "every-record", bytes: good, broken: None });
    (all, manifest)
}

#[test]
fn current_code_writes_the_committed_bytes() {
    let (all, manifest) = all();
    bless(&manifest_path(), &manifest);
    assert!(std::fs::read(manifest_path()).unwrap() == manifest, "the manifest has other bytes");
    for file in &all {
        bless(&file.path(), &file.bytes);
        assert!(file.committed() == file.bytes, "{} has other bytes", file.name);
    }
    let files = ["good", "broken"].map(|of| std::fs::read_dir(folder().join(of)).unwrap().count());
    assert_eq!(files, [1, all.len() - 1], "a committed file is left out of the tests");
}

#[test]
fn the_good_file_reads_as_what_was_written() {
    let (all, _) = all();
    let manifest = std::fs::read(manifest_path()).unwrap();
    let (_factory, mut backend) = written();
    let good = all.iter().find(|file| file.broken.is_none()).unwrap();
    let found = read(&good.committed(), &manifest).unwrap();
    assert_eq!(found, collect(&mut backend));
    assert_eq!(found.entries.len(), 4 + 2 + 3 + 60);
    let bytes = good.committed();
    let kinds: Vec<u8> = items(&bytes).iter().map(|at| bytes[at + 13] & 0xf0).collect();
    assert!(kinds.contains(&0x10) && kinds.contains(&0x20), "parts and tombstones: {kinds:?}");
    let fillers = items(&bytes).iter().filter(|at| bytes[*at + 7] & 0x80 != 0).count();
    assert!(fillers > 0);
    let sizes = items(&bytes).iter().map(|at| item_bytes(&bytes, *at).unwrap()).sum::<usize>();
    assert!(sizes > 4_000, "{sizes}");
}

#[test]
fn broken_files_are_refused_with_file_kind_and_offset() {
    let (all, manifest) = all();
    for file in all {
        let Some(Broken { kind, offset, message }) = file.broken else { continue };
        let error = read(&std::fs::read(file.path()).unwrap(), &manifest).unwrap_err();
        let text = error.message();
        assert_eq!(error.kind(), kind, "{}: {text}", file.name);
        assert!(text.contains(message), "{}: {text}", file.name);
        assert!(text.contains("0.seg"), "{}: {text}", file.name);
        if kind == ErrorKind::Corrupt {
            assert!(text.contains(&format!("offset {offset}:")), "{}: {text}", file.name);
        }
    }
}
