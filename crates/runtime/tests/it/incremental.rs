//! Incremental checkpoints of whole jobs: what is in storage, and what a job goes on from.

use std::sync::atomic::Ordering;

use millpond_checkpoint::registry::{GcCheckpoint, GcFacts, ListedObject, ObjectClass, plan_gc};
use millpond_runtime::{JobOutcome, RestartStrategy, StartFrom};
use millpond_storage::{LocalStore, Store};

use crate::checkpoints::run_and_stop;
use crate::fixture::{Counting, FailPlan};

/// Checks that every object in storage is referred to, and every one referred to is there.
fn assert_nothing_unreferenced(counting: &Counting<'_>) {
    let store = LocalStore::create(counting.folder.join("checkpoints")).unwrap();
    let listed = store.list(None).unwrap();
    let found = counting.storage().list().unwrap();
    let folders: Vec<String> = found.iter().map(|it| format!("chk-{}", it.id)).collect();
    let checkpoints = found.iter().zip(&folders).map(|(it, folder)| GcCheckpoint {
        folder,
        metadata: Ok(it.metadata.as_ref().unwrap()),
        is_void: false,
    });
    let checkpoints: Vec<GcCheckpoint<'_>> = checkpoints.collect();
    let object = |it: &millpond_storage::ObjectInfo| (it.path.to_string(), it.len);
    let objects: Vec<(String, u64)> = listed.iter().map(object).collect();
    let objects: Vec<ListedObject<'_>> = objects
        .iter()
        .map(|(name, bytes)| ListedObject { name, bytes: *bytes, age_ms: Some(1) })
        .collect();
    assert!(objects.iter().any(|object| object.name.starts_with("shared/")), "{objects:?}");
    let plan = plan_gc(&GcFacts {
        objects: &objects,
        checkpoints: &checkpoints,
        safe_age_ms: 0,
        in_flight_from: None,
        is_in_use: &|_| false,
    });
    assert_eq!((plan.blocked.len(), plan.missing.len()), (0, 0), "{plan:?}");
    for object in &plan.objects {
        assert_eq!(object.class, ObjectClass::Referenced, "{object:?}");
    }
    for it in found {
        assert!(it.folder.verify().unwrap().is_whole());
    }
}

fn incremental(folder: &std::path::Path) -> Counting<'_> {
    let mut counting = Counting::new(folder);
    counting.incremental = true;
    counting
}

#[test]
fn a_bounded_job_leaves_only_what_its_retained_checkpoints_refer_to() {
    for at_least_once in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut counting = incremental(folder.path());
        counting.at_least_once = at_least_once;
        counting.keys = 5_000;
        let report = counting.job().run(StartFrom::Beginning).unwrap();
        assert_eq!(report.outcome, JobOutcome::Finished);
        assert_eq!(counting.committed(), counting.expected());
        assert_eq!(counting.notes.count("CleanupFailed"), 0);
        assert_nothing_unreferenced(&counting);
    }
}

#[test]
fn a_stopped_job_goes_on_at_any_parallelism_with_and_without_incremental_checkpoints() {
    for (before, after, counters) in [(true, true, 2), (true, false, 3), (false, true, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let mut counting = incremental(folder.path());
        counting.incremental = before;
        assert_eq!(run_and_stop(&counting, StartFrom::Beginning), JobOutcome::Stopped);
        counting.hold.store(false, Ordering::SeqCst);
        (counting.counters, counting.incremental) = (counters, after);
        let report = counting.job().run(StartFrom::Latest).unwrap();
        assert_eq!(report.outcome, JobOutcome::Finished);
        assert_eq!(counting.committed(), counting.expected(), "{before} {after} {counters}");
        if after {
            assert_nothing_unreferenced(&counting);
        }
    }
}

#[test]
fn a_job_that_fails_goes_on_from_its_incremental_checkpoints() {
    for at in [7_777, 15_000, 19_999] {
        let folder = tempfile::tempdir().unwrap();
        let mut counting = incremental(folder.path());
        counting.restart = RestartStrategy::FixedDelay { attempts_max: 1, delay_ms: 1 };
        (counting.interval_ms, counting.pause_every) = (Some(1), 200);
        counting.fail = FailPlan::at(at);
        let report = counting.job().run(StartFrom::Beginning).unwrap();
        assert_eq!((report.outcome, report.restarts), (JobOutcome::Finished, 1));
        assert_eq!(counting.committed(), counting.expected(), "failed at {at}");
    }
}
