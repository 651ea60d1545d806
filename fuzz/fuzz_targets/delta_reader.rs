//! Any bytes as a delta file, as they are and with checksums made to fit: reading and verification
//! must not panic, and must agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_snapshot::{DeltaReader, SliceSource, verify_delta};
use millpond_state::{MAX_PARALLELISM_LIMIT, MaxParallelism, StateError};

#[path = "../../crates/snapshot/tests/it/seal.rs"]
#[allow(dead_code, reason = "shared with the tests and other targets")]
mod seal;

fn read_all(bytes: &[u8]) -> Result<(), StateError> {
    let reader = DeltaReader::open(SliceSource::new("fuzz", bytes))?;
    let mut changes = reader.changes(MaxParallelism::new(MAX_PARALLELISM_LIMIT)?.full_range());
    let mut count = 0;
    while changes.next_change()?.is_some() {
        count += 1;
    }
    assert_eq!(count, reader.change_count(), "a reader hands out what the footer counts");
    Ok(())
}

fn check(bytes: &[u8]) {
    let read = read_all(bytes);
    let report = verify_delta(&SliceSource::new("fuzz", bytes), None);
    if report.is_ok_and(|report| report.is_whole()) {
        assert!(read.is_ok(), "verified as whole, but cannot be read: {read:?}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut sealed = bytes.to_vec();
    seal::seal_full(&mut sealed);
    check(&sealed);
});
