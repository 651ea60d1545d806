//! Any bytes as the manifest of RocksDB's files, as they are and with the checksums of the list of
//! states made to fit: decoding must not panic, and what it accepts encodes to what decodes alike.
//!
//! The codec's own source is compiled here, without the crate around it: that links with RocksDB, a
//! C++ library which the other targets need not wait for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use manifest::Manifest;

#[path = "../../crates/rocksdb/src/native/manifest.rs"]
mod manifest;
#[path = "../../crates/snapshot/tests/it/seal.rs"]
#[allow(dead_code, reason = "shared with the tests and other targets")]
mod seal;
#[path = "../../crates/rocksdb/src/native/sst.rs"]
#[allow(dead_code, reason = "the manifest uses a part of it")]
mod sst;

fn check(bytes: &[u8]) {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    for file in &manifest.files {
        assert!(sst::file_number(&file.name).is_some(), "{:?} leads elsewhere", file.name);
        file.key_groups().expect("key groups were checked");
    }
    sst::estimated_entries(&manifest.files);
    let again = manifest.encode().expect("what was decoded can be encoded");
    assert_eq!(Manifest::decode(&again).expect("and decoded"), manifest);
}

/// Where the list of states lies: behind the version of one byte, and its length.
fn states(bytes: &mut [u8]) -> Option<&mut [u8]> {
    let mut at = 1;
    let mut len = 0;
    loop {
        let byte = *bytes.get(at)?;
        len |= usize::from(byte & 0x7f).checked_shl(7 * (at as u32 - 1))?;
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    bytes.get_mut(at..at.checked_add(len)?)
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut sealed = bytes.to_vec();
    if let Some(states) = states(&mut sealed) {
        seal::seal_full(states);
        check(&sealed);
    }
});
