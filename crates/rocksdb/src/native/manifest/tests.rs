//! Manifests round trip, nothing else decodes, and the committed ones of every version read as they
//! did when they were written. `BLESS=1` writes those that are missing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop on errors")]

use std::path::Path;

use millpond_state::codec::CodecIdentity;
use millpond_state::{StateCodecs, StateKind};

use super::*;

fn example() -> Manifest {
    let bytes = || CodecIdentity::new("bytes", 1);
    let codecs = StateCodecs { key: bytes(), namespace: bytes(), user_key: None, value: bytes() };
    let state = |name| StateDescriptor::new(name, StateKind::Value, codecs.clone()).unwrap();
    let file = |name: &str, group| SstFile {
        name: name.into(),
        level: 6,
        smallest: vec![0, group, 0, 0],
        largest: vec![0, group + 1, 0, 1],
        smallest_seqno: 0,
        largest_seqno: 1 << 40,
        entries: 300,
        deletions: 2,
    };
    Manifest {
        states: vec![state("b"), state("a")],
        family: "default".into(),
        files: vec![file("000012.sst", 3), file("000009.sst", 5)],
    }
}

#[test]
fn a_manifest_decodes_to_what_was_encoded() {
    for manifest in [example(), Manifest { states: vec![], family: String::new(), files: vec![] }] {
        assert_eq!(Manifest::decode(&manifest.encode().unwrap()).unwrap(), manifest);
    }
}

#[test]
fn a_cut_or_prolonged_manifest_is_refused() {
    let bytes = example().encode().unwrap();
    for end in 0..bytes.len() {
        let error = Manifest::decode(&bytes[..end]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{end}: {error}");
    }
    let prolonged = [&bytes[..], &[0]].concat();
    assert_eq!(Manifest::decode(&prolonged).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_newer_version_is_refused_as_newer() {
    let mut bytes = example().encode().unwrap();
    bytes[0] = 2;
    let error = Manifest::decode(&bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.message().contains("newer Millpond"), "{error}");
}

#[test]
fn names_that_lead_elsewhere_and_impossible_levels_are_refused() {
    let mut manifest = example();
    manifest.files[0].name = "../000012.sst".into();
    let error = Manifest::decode(&manifest.encode().unwrap()).unwrap_err();
    assert!(error.message().contains("../000012.sst"), "{error}");
    let mut manifest = example();
    manifest.files[1].level = 64;
    let error = Manifest::decode(&manifest.encode().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let mut manifest = example();
    manifest.files[1].largest = vec![1; KEY_BYTES_MAX + 1];
    let error = Manifest::decode(&manifest.encode().unwrap()).unwrap_err();
    assert!(error.message().contains("the greatest key of a file"), "{error}");
}

/// A manifest that must be refused: its name, its bytes, and how.
type Broken = (&'static str, Vec<u8>, ErrorKind, &'static str);

fn broken(good: &Manifest) -> Vec<Broken> {
    use ErrorKind::{Corrupt, Incompatible};

    let bytes = good.encode().unwrap();
    let changed = |change: fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        manifest.encode().unwrap()
    };
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let no_level = changed(|it| it.files[1].level = 64);
    let elsewhere = changed(|it| it.files[0].name = "../000012.sst".into());
    let backwards = changed(|it| it.files[0].smallest = vec![0, 9, 0, 0]);
    let no_group = changed(|it| it.files[0].largest = vec![0]);
    vec![
        ("empty", Vec::new(), Corrupt, "varint"),
        ("newer-version", [&[2], &bytes[1..]].concat(), Incompatible, "newer Millpond"),
        ("flip-states", flipped(20), Corrupt, "checksum"),
        ("cut-tail", bytes[..bytes.len() - 1].to_vec(), Corrupt, "varint"),
        ("left-over", [&bytes[..], &[0]].concat(), Corrupt, "left over"),
        ("name-leads-elsewhere", elsewhere, Corrupt, "no name of an SST file"),
        ("level-out-of-range", no_level, Corrupt, "level 64"),
        ("bounds-backwards", backwards, Corrupt, "keys that are no entries"),
        ("bound-without-key-group", no_group, Corrupt, "keys that are no entries"),
    ]
}

fn golden(folder: &str, name: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/rocksdb-manifest/v1");
    root.join(folder).join(format!("{name}.manifest"))
}

#[test]
fn the_committed_manifests_are_what_current_code_writes_and_are_read_or_refused_as_ever() {
    let good = golden("good", "every-field");
    let broken = broken(&example());
    let mut files = vec![(good.clone(), example().encode().unwrap())];
    files.extend(broken.iter().map(|(name, bytes, ..)| (golden("broken", name), bytes.clone())));
    for (path, bytes) in &files {
        if std::env::var_os("BLESS").is_some() && !path.exists() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        assert!(std::fs::read(path).unwrap() == *bytes, "{} has other bytes", path.display());
    }
    assert_eq!(Manifest::decode(&std::fs::read(good).unwrap()).unwrap(), example());
    for (name, bytes, kind, message) in broken {
        let error = Manifest::decode(&bytes).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(message), "{name}: {error}");
    }
    let committed = std::fs::read_dir(golden("broken", "any").parent().unwrap()).unwrap().count();
    assert_eq!(committed, files.len() - 1, "a committed file is left out of the tests");
}
