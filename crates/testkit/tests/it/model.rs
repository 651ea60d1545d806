//! The reference backend passes the whole suite, and agrees with itself on random operations.

use millpond_testkit::model::ModelFactory;
use millpond_testkit::ops;

mod conformance {
    millpond_testkit::backend_conformance!(millpond_testkit::model::ModelFactory);
}

#[test]
fn random_operations_run_through_on_the_model() -> Result<(), ops::Failure> {
    (0..10).try_for_each(|seed| ops::run_model_test(&ModelFactory, seed, 300))
}
