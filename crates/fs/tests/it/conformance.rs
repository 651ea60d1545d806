//! The public conformance suite: with the usual settings, and with ones that write and compact
//! files all the time.

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

mod tiny_segments {
    millpond_testkit::backend_conformance!(
        crate::support::TemporaryFactory::tiny_segments(),
        super::capabilities()
    );
}
