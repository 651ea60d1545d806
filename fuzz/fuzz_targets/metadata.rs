//! Any bytes as checkpoint metadata, as they are and with length and checksum made to fit: decoding
//! must not panic, and what it accepts must encode to something that decodes alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_snapshot::CheckpointMetadata;

#[path = "../../crates/snapshot/tests/it/seal.rs"]
#[allow(dead_code, reason = "shared with the tests and other targets")]
mod seal;

fn check(bytes: &[u8]) {
    let Ok(metadata) = CheckpointMetadata::decode_from("fuzz", bytes) else { return };
    let again = metadata.encode().expect("what was decoded can be encoded");
    let decoded = CheckpointMetadata::decode_from("fuzz", &again).expect("and decoded");
    assert_eq!(decoded, metadata);
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut sealed = bytes.to_vec();
    seal::seal_metadata(&mut sealed);
    check(&sealed);
});
