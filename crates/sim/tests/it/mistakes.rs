//! Deliberate mistakes in the protocol, built in around the parts under test. Each is found.

use millpond_sim::{Breakage, Plan, Profile, simulate};

/// Schedules that may be needed to find a mistake. The search begins at a seed that finds it, so
/// more are run only after a change of the simulator.
const SCHEDULES_MAX: u64 = 4_000;

/// Asserts that a schedule fails with the mistake, in one of the ways in which it must show, and
/// holds without it.
fn is_found(mistake: Breakage, (profile, from): (Profile, u64), ways: &[&str]) {
    let found = (from..from + SCHEDULES_MAX).find_map(|seed| {
        let plan = Plan::new(seed, profile);
        let violation = simulate(&plan, Some(mistake)).violation?;
        Some((plan, violation.what))
    });
    let (plan, what) = found.unwrap_or_else(|| panic!("{mistake} is not found"));
    assert!(ways.iter().any(|way| what.contains(way)), "{mistake}, {plan}: {what}");
    assert_eq!(simulate(&plan, None).violation, None, "{plan}");
}

#[test]
fn every_mistake_has_a_test() {
    let source = include_str!("mistakes.rs");
    for mistake in Breakage::ALL {
        assert!(source.contains(&format!("is_found(Breakage::{mistake:?},")), "{mistake:?}");
    }
}

#[test]
fn an_acknowledgement_counted_for_another_subtask_is_found() {
    let ways = ["key groups", "positions of", "without metadata"];
    is_found(Breakage::AckCountsTwice, (Profile::Mixed, 0), &ways);
}

#[test]
fn a_late_acknowledgement_that_counts_for_the_next_checkpoint_is_found() {
    let ways = ["which is not there", "is no consistent cut", "output is there twice"];
    is_found(Breakage::LateAckCounts, (Profile::Mixed, 3), &ways);
}

#[test]
fn a_reference_dropped_too_early_is_found() {
    let ways = ["is deleted"];
    is_found(Breakage::ReferenceDroppedEarly, (Profile::Mixed, 0), &ways);
}

#[test]
fn shared_files_deleted_at_an_abort_are_found() {
    let ways = ["is deleted, which checkpoint"];
    is_found(Breakage::AbortDeletesShared, (Profile::Mixed, 0), &ways);
}

#[test]
fn metadata_and_log_entries_that_overwrite_are_found() {
    let ways = ["is written after", "given up", "without metadata", "twice", "which is not there"];
    is_found(Breakage::OverwritesMetadata, (Profile::Mixed, 3), &ways);
}

#[test]
fn a_commit_before_the_checkpoint_is_complete_is_found() {
    let ways = ["output is there twice", "was not counted, or twice"];
    is_found(Breakage::CommitsEarly, (Profile::Mixed, 0), &ways);
}

#[test]
fn barriers_that_are_not_aligned_are_found() {
    let ways = ["is no consistent cut", "output is there twice", "was not counted, or twice"];
    is_found(Breakage::NotAligned, (Profile::Mixed, 11), &ways);
}

#[test]
fn a_zombie_that_takes_its_checkpoint_for_complete_is_found() {
    let ways = ["without metadata", "is of attempt"];
    is_found(Breakage::ZombieCompletes, (Profile::Mixed, 5), &ways);
}

#[test]
fn deleting_a_checkpoint_in_doubt_is_found() {
    let ways = ["the newest checkpoint", "is deleted"];
    is_found(Breakage::DoubtDeleted, (Profile::Mixed, 361), &ways);
}

#[test]
fn a_start_that_removes_files_of_living_attempts_is_found() {
    let ways = ["which is not there", "is deleted"];
    is_found(Breakage::StartRemovesAll, (Profile::Mixed, 3_578), &ways);
}

#[test]
fn a_start_that_believes_a_listing_is_found() {
    let ways = ["given up", "output is there twice", "records", "damaged", "is deleted"];
    is_found(Breakage::BelievesListing, (Profile::Mixed, 0), &ways);
}

#[test]
fn positions_noted_too_late_are_found() {
    let ways = ["is no consistent cut", "output is there twice", "was not counted, or twice"];
    is_found(Breakage::PositionsLate, (Profile::Mixed, 0), &ways);
}

#[test]
fn a_recovery_that_forgets_prepared_output_is_found() {
    let ways = ["records", "given up"];
    is_found(Breakage::RecoveryForgets, (Profile::Mixed, 0), &ways);
}

#[test]
fn output_dropped_at_an_abort_is_found() {
    let ways = ["records", "stuck"];
    is_found(Breakage::AbortDropsPrepared, (Profile::Mixed, 0), &ways);
}

#[test]
fn a_sink_that_makes_only_its_newest_output_durable_is_found() {
    let ways = ["was never prepared", "given up"];
    is_found(Breakage::PreparesOwnOnly, (Profile::Mixed, 5_314), &ways);
}
