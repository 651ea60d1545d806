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
fn random_operations_agree_with_the_model_while_everything_flushes_and_compacts() {
    let factory = TemporaryFactory::tiny_buffers();
    for seed in 1_000..1_010 {
        ops::run_model_test(&factory, seed, 400).unwrap();
    }
}

#[test]
fn random_operations_agree_with_the_model_by_way_of_native_files() {
    let usual = NativeFactory::new(TemporaryFactory::usual());
    let tiny = NativeFactory::new(TemporaryFactory::tiny_buffers());
    for seed in 2_000..2_010 {
        ops::run_model_test(&usual, seed, 300).unwrap();
        ops::run_model_test(&tiny, seed + 1_000, 300).unwrap();
    }
}
