//! The public conformance suite: with the usual settings, and with ones that write and compact
//! files all the time.

use millpond_testkit::conformance::backend::{BEHAVIOURS, BackendUnderTest, Capabilities};
use millpond_testkit::native::NativeFactory;

use crate::support::TemporaryFactory;

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

/// What does not hold of snapshots by way of segment files: there is no such form while values
/// await migration, and files hold what has expired, or has no stamp, until compaction or a sweep
/// meets it.
const NOT_OF_FILES: [&str; 9] = [
    "migrations_chain_over_several_versions",
    "the_snapshot_after_a_migration_is_all_new",
    "a_migration_meets_a_rescale",
    "a_ttl_switched_on_begins_with_the_restore",
    "a_ttl_switched_off_leaves_what_was_live",
    "a_ttl_and_a_codec_change_together",
    "a_snapshot_leaves_out_what_has_expired",
    "a_snapshot_judges_expiry_at_its_instant",
    "state_without_a_stamp_gets_one",
];

/// What behaviours guard that take no snapshots.
const WITHOUT_SNAPSHOTS: [&str; 11] =
    ["B-1", "B-2", "B-3", "B-4", "B-5", "B-6", "B-7", "B-8", "B-15", "B-21", "B-24"];

#[test]
fn snapshots_by_way_of_segment_files_show_the_same_behaviours() {
    let factory = NativeFactory::new(TemporaryFactory::usual());
    let subject = BackendUnderTest::new(factory).unwrap().with_capabilities(capabilities());
    let mut failed = Vec::new();
    for behaviour in BEHAVIOURS {
        let takes_snapshots = !behaviour.guards.iter().all(|it| WITHOUT_SNAPSHOTS.contains(it));
        if takes_snapshots
            && !NOT_OF_FILES.contains(&behaviour.name)
            && let Err(violation) = (behaviour.check)(&subject)
        {
            failed.push(format!("{}: {violation:?}", behaviour.name));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
