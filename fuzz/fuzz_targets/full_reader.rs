//! Any bytes as a full snapshot file, as they are and with their checksums made to fit: reading
//! and verification must not panic, and must agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_snapshot::{FullReader, SliceSource, verify_full};
use millpond_state::{EntrySource, MAX_PARALLELISM_LIMIT, MaxParallelism, StateError};

#[path = "../../crates/snapshot/tests/it/seal.rs"]
#[allow(dead_code, reason = "shared with the tests and other targets")]
mod seal;

fn read_all(bytes: &[u8]) -> Result<u64, StateError> {
    let reader = FullReader::open(SliceSource::new("fuzz", bytes))?;
    let mut entries = reader.entries(MaxParallelism::new(MAX_PARALLELISM_LIMIT)?.full_range());
    let mut count = 0;
    while entries.next_entry()?.is_some() {
        count += 1;
    }
    assert_eq!(count, reader.entry_count(), "a reader hands out what the footer counts");
    Ok(count)
}

fn check(bytes: &[u8]) {
    let read = read_all(bytes);
    let report = verify_full(&SliceSource::new("fuzz", bytes), None);
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
