//! The reference backend passes the whole suite.

mod conformance {
    millpond_testkit::backend_conformance!(millpond_testkit::model::ModelFactory);
}
