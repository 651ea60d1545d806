//! The public conformance suite.

use millpond_memory::{IncrementalOptions, MemoryBackendFactory, MemoryOptions};
use millpond_testkit::native::NativeFactory;

millpond_testkit::backend_conformance!(MemoryBackendFactory::new(MemoryOptions::new()));

/// The same with snapshots that go by way of a chain's files.
mod native {
    use millpond_testkit::conformance::backend::Capabilities;

    millpond_testkit::backend_conformance!(
        super::native(50, 32),
        Capabilities::all().without_counts_changes()
    );
}

pub(crate) fn native(delta_percent_max: u32, chain_files_max: u32) -> NativeFactory {
    let incremental = IncrementalOptions::new()
        .with_delta_percent_max(delta_percent_max)
        .with_chain_files_max(chain_files_max);
    NativeFactory::new(MemoryBackendFactory::new(
        MemoryOptions::new().with_incremental(incremental),
    ))
}

#[test]
fn random_operations_match_the_model_whatever_chains_grow_to() {
    for (seed, (percent, files)) in
        [(1_000_000, 1_000), (1_000_000, 3), (50, 32), (0, 1)].into_iter().enumerate()
    {
        for round in 0..10 {
            let seed = seed as u64 * 1_000 + round;
            millpond_testkit::ops::run_model_test(&native(percent, files), seed, 400).unwrap();
        }
    }
}
