//! The public conformance suite: with either kind of write buffer, with the usual settings and with
//! ones that make every other write flush and compact.

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

mod tiny_buffers_without_threads {
    millpond_testkit::backend_conformance!(
        crate::support::TemporaryFactory::tiny_buffers_without_threads(),
        super::capabilities()
    );
}

mod memtables {
    millpond_testkit::backend_conformance!(
        crate::support::TemporaryFactory::memtables(),
        super::capabilities()
    );
}

mod tiny_memtables {
    millpond_testkit::backend_conformance!(
        crate::support::TemporaryFactory::tiny_memtables(),
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

mod native_of_tiny_buffers {
    millpond_testkit::backend_conformance!(
        millpond_testkit::native::NativeFactory::new(
            crate::support::TemporaryFactory::tiny_buffers()
        ),
        super::capabilities()
    );
}

mod native_of_memtables {
    millpond_testkit::backend_conformance!(
        millpond_testkit::native::NativeFactory::new(crate::support::TemporaryFactory::memtables()),
        super::capabilities()
    );
}
