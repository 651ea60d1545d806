//! Random operations against the model.

use millpond_testkit::native::NativeFactory;
use millpond_testkit::ops;

use crate::support::TemporaryFactory;

#[test]
fn random_operations_agree_with_the_model() {
    let factory = TemporaryFactory::usual();
    for seed in 0..20 {
        ops::run_model_test(&factory, seed, 400).unwrap();
    }
}

#[test]
fn random_operations_agree_with_the_model_while_files_are_written_and_compacted() {
    let factory = TemporaryFactory::tiny_segments();
    for seed in 1_000..1_030 {
        ops::run_model_test(&factory, seed, 400).unwrap();
    }
}

#[test]
fn random_operations_agree_with_the_model_by_way_of_segment_files() {
    for (first, factory) in
        [(2_000, TemporaryFactory::usual()), (3_000, TemporaryFactory::tiny_segments())]
    {
        let factory = NativeFactory::new(factory);
        for seed in first..first + 20 {
            ops::run_model_test(&factory, seed, 400).unwrap();
        }
    }
}
