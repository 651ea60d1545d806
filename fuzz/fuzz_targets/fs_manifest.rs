//! Any bytes as the manifest of a log of segments: decoding it, restoring what it says of segments
//! that are whole, and reading and changing what that leads to must not panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../shared/fs_instance.rs"]
#[allow(dead_code, reason = "shared with another target")]
mod fs_instance;

/// There are as many of it as a short manifest can ask for.
const SEGMENT: &[u8] = include_bytes!("../../tests/golden/segment/v1/good/every-record.seg");
const SEGMENTS: usize = 4;

fuzz_target!(|bytes: &[u8]| {
    let _ = fs_instance::restore_and_use([SEGMENT; SEGMENTS], bytes);
});
