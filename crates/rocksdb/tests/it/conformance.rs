//! The public conformance suite: with the usual settings, and with ones that make every other write
//! flush and compact.

use millpond_testkit::conformance::backend::Capabilities;

const fn capabilities() -> Capabilities {
    Capabilities::all().without_counts_changes().without_reports_memory().without_keeps_expired()
}

mod usual {
    millpond_testkit::backend_conformance!(
        crate::support::TemporaryFactory::usual(),
        super::capabilities()
    );
}

mod tiny_buffers {
    millpond_testkit::backend_conformance!(
        crate::support::TemporaryFactory::tiny_buffers(),
        super::capabilities()
    );
}

/// With snapshots that go by way of RocksDB's own files.
mod native {
    millpond_testkit::backend_conformance!(
        millpond_testkit::native::NativeFactory::new(crate::support::TemporaryFactory::usual()),
        super::capabilities()
    );
}
