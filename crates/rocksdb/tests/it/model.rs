//! Random operations against the model.

use millpond_testkit::native::NativeFactory;
use millpond_testkit::ops;

use crate::support::TemporaryFactory;

fn run(factory: &TemporaryFactory, seeds: core::ops::Range<u64>) {
    for seed in seeds {
        ops::run_model_test(factory, seed, 400).unwrap();
    }
}

#[test]
fn random_operations_agree_with_the_model() {
    run(&TemporaryFactory::usual(), 0..20);
}

#[test]
fn random_operations_agree_with_the_model_while_everything_lands_and_compacts() {
    run(&TemporaryFactory::tiny_buffers(), 1_000..1_010);
}

#[test]
fn random_operations_agree_with_the_model_when_the_writer_lands_itself() {
    run(&TemporaryFactory::tiny_buffers_without_threads(), 2_000..2_010);
}

#[test]
fn random_operations_agree_with_the_model_without_a_hash_buffer() {
    run(&TemporaryFactory::memtables(), 0..20);
}

#[test]
fn random_operations_agree_with_the_model_while_everything_flushes_and_compacts() {
    run(&TemporaryFactory::tiny_memtables(), 1_000..1_010);
}

#[test]
fn random_operations_agree_with_the_model_by_way_of_native_files() {
    let usual = NativeFactory::new(TemporaryFactory::usual());
    let tiny = NativeFactory::new(TemporaryFactory::tiny_buffers());
    let alone = NativeFactory::new(TemporaryFactory::tiny_buffers_without_threads());
    let memtables = NativeFactory::new(TemporaryFactory::tiny_memtables());
    for (index, factory) in (0..).zip([&usual, &tiny, &alone, &memtables]) {
        for seed in 0..4 {
            ops::run_model_test(factory, 2_000 + 1_000 * index + seed, 300).unwrap();
        }
    }
}
