//! Manifests round trip, and nothing else decodes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop on errors")]

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
}
