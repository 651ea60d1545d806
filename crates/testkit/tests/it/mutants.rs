//! No behaviour is vacuous: each is failed by a backend that breaks it, and each broken backend is
//! caught by the behaviours that are named for it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use millpond_testkit::conformance::backend::{BEHAVIOURS, BackendUnderTest};
use millpond_testkit::model::ModelFactory;
use millpond_testkit::{ops, typed_ops};

use crate::broken::{BrokenFactory, Fault};
use crate::broken_path::{BrokenPath, PathFault};

/// Which behaviours catch which fault. Others may catch it too.
pub(crate) const CAUGHT_BY: &[(Fault, &[&str])] = &[
    (Fault::AbsentReadsAsEmpty, &["an_absent_entry_reads_as_none"]),
    (Fault::EmptyReadsAsAbsent, &["an_empty_value_differs_from_an_absent_entry"]),
    (Fault::EmptyMapValueReadsAsAbsent, &["empty_user_keys_and_map_values_are_entries"]),
    (Fault::EmptyKeyIsZeroKey, &["the_empty_key_is_a_key"]),
    (Fault::KeysAreCutShort, &["keys_are_independent"]),
    (
        Fault::ValuesAreCutShort,
        &["a_large_value_is_stored_like_any_other", "large_entries_survive_restore"],
    ),
    (
        Fault::PutKeepsTheFirstValue,
        &[
            "a_value_stays_until_it_is_replaced_or_deleted",
            "put_many_lets_the_last_write_of_an_entry_win",
        ],
    ),
    (Fault::PutKeepsTheLongerValue, &["values_change_their_length_at_will"]),
    (Fault::DeleteOfAbsentFails, &["deleting_an_absent_entry_does_nothing"]),
    (
        Fault::DeleteForgotten,
        &[
            "many_keys_survive_growth_and_deletion",
            "delete_clears_a_whole_list",
            "delete_removes_a_whole_map",
            "one_key_has_thousands_of_namespaces",
        ],
    ),
    (
        Fault::DeleteTombstonesTheKey,
        &["states_of_one_backend_are_independent", "namespaces_of_one_key_are_independent"],
    ),
    (Fault::StatesShareEntries, &["states_of_one_backend_are_independent"]),
    (
        Fault::LongKeysAreCut,
        &[
            "keys_past_the_limit_are_refused_and_change_nothing",
            "user_keys_past_the_limit_are_refused",
        ],
    ),
    (Fault::ListKindIsReadOnly, &["every_kind_but_map_takes_plain_values"]),
    (
        Fault::AppendReplaces,
        &["appended_bytes_keep_their_order", "lists_of_ten_thousand_appends_grow_side_by_side"],
    ),
    (Fault::AppendPrepends, &["appended_bytes_keep_their_order"]),
    (Fault::PutAppends, &["put_replaces_a_whole_list"]),
    (Fault::MapPutKeepsTheFirstValue, &["a_map_value_stays_until_it_is_replaced_or_removed"]),
    (
        Fault::MapVisitDescends,
        &["a_map_visit_ascends", "a_map_of_a_hundred_thousand_user_keys_works"],
    ),
    (Fault::MapVisitDecidesNothing, &["a_map_visitor_removes_and_replaces"]),
    (Fault::BreakIgnored, &["breaking_ends_a_map_visit", "breaking_or_failing_ends_a_visit"]),
    (Fault::BreakDropsItsDecision, &["breaking_ends_a_map_visit"]),
    (
        Fault::VisitorErrorSwallowed,
        &["a_map_visitors_error_keeps_earlier_decisions", "breaking_or_failing_ends_a_visit"],
    ),
    (Fault::FailedDecisionApplied, &["a_map_visitors_error_keeps_earlier_decisions"]),
    (Fault::EmptyMapStays, &["an_empty_map_is_no_entry"]),
    (Fault::MapDeleteLeavesTheLast, &["delete_removes_a_whole_map"]),
    (Fault::MapNamespaceIgnored, &["maps_are_independent"]),
    (
        Fault::NamespaceIgnored,
        &["namespaces_of_one_key_are_independent", "one_key_has_thousands_of_namespaces"],
    ),
    (Fault::NamespaceJoinedToKey, &["the_border_of_key_and_namespace_matters"]),
    (Fault::UserKeyJoinedToNamespace, &["the_border_of_namespace_and_user_key_matters"]),
    (
        Fault::VisitIgnoresRange,
        &[
            "a_visit_meets_the_entries_of_a_range_by_key_group",
            "a_visit_is_confined_to_the_instances_groups",
        ],
    ),
    (Fault::VisitIgnoresNamespace, &["a_visit_meets_one_namespace_if_asked"]),
    (Fault::VisitByNamespaceMatchesPrefix, &["a_visit_meets_one_namespace_if_asked"]),
    (Fault::VisitInReverse, &["a_visit_meets_the_entries_of_a_range_by_key_group"]),
    (Fault::MapCountsUserKeys, &["a_map_is_one_entry"]),
    (Fault::CountNeverFalls, &["the_entry_count_follows_every_write"]),
    (Fault::GroupsRecomputed, &["the_engine_may_assign_key_groups_itself"]),
    (Fault::BatchTailSkipped, &["batches_of_any_size_match_single_calls"]),
    (Fault::RepeatedReadsSkipped, &["get_many_reads_repeated_entries_each_time"]),
    (Fault::FirstWriteOfBatchWins, &["put_many_lets_the_last_write_of_an_entry_win"]),
    (Fault::BatchSeesOldValues, &["update_many_shows_earlier_effects_of_the_batch"]),
    (Fault::RemoveInBatchForgotten, &["update_many_keeps_replaces_and_removes"]),
    (Fault::FailingUpdateRunsOn, &["a_failing_update_leaves_the_changed_prefix"]),
    (Fault::FailingPutManyRunsOn, &["a_failing_put_many_has_applied_a_prefix"]),
    (Fault::UnequalBatchesZipped, &["batches_of_unequal_lengths_are_refused"]),
    (Fault::ForeignGroupsAccepted, &["foreign_key_groups_are_refused"]),
    (Fault::ForeignGroupsReadAsAbsent, &["foreign_key_groups_are_refused"]),
    (Fault::UnknownStatesAccepted, &["unknown_states_are_refused"]),
    (Fault::WrongKindAccepted, &["operations_on_the_wrong_kind_are_refused"]),
    (Fault::EmptyBatchUnchecked, &["empty_batches_are_checked_like_others"]),
    (Fault::OwnsAllGroups, &["an_instance_owns_the_key_groups_it_was_opened_for"]),
    (Fault::OpensPastMax, &["key_groups_past_the_max_parallelism_are_refused"]),
    (Fault::RegisterFailsTheSecondTime, &["registering_a_state_again_finds_it"]),
    (
        Fault::RegisterIgnoresKindAndCodec,
        &[
            "registering_with_another_kind_or_codec_is_refused",
            "a_restored_state_declared_otherwise_is_refused",
            "a_snapshot_that_contradicts_declared_states_is_refused",
        ],
    ),
    (
        Fault::IncompatibleNamesNothing,
        &[
            "a_restored_state_declared_otherwise_is_refused",
            "a_snapshot_that_contradicts_declared_states_is_refused",
        ],
    ),
    (
        Fault::SnapshotShowsLaterWrites,
        &[
            "a_snapshot_shows_its_instant_whatever_is_written_after",
            "a_snapshot_keeps_what_is_deleted_after",
            "a_snapshot_is_not_changed_in_place",
            "dropping_a_snapshot_task_changes_nothing",
            "a_snapshot_outlives_its_backend",
        ],
    ),
    (Fault::SnapshotLosesOlderOnes, &["snapshots_under_way_are_independent"]),
    (Fault::SnapshotDropBreaksOthers, &["dropping_a_snapshot_task_changes_nothing"]),
    (Fault::SnapshotsNeverReleased, &["dropped_snapshots_release_their_resources"]),
    (
        Fault::SnapshotEntryTwice,
        &[
            "a_snapshot_has_each_entry_once_in_canonical_order",
            "writes_do_not_wait_for_a_running_snapshot",
            "a_snapshot_may_be_taken_while_another_runs",
        ],
    ),
    (Fault::SnapshotByNamespaceFirst, &["canonical_order_is_by_state_key_namespace_and_user_key"]),
    (Fault::SnapshotNotBegunIfEmpty, &["an_untouched_backend_has_an_empty_snapshot"]),
    (Fault::SnapshotForgetsUndeclared, &["undeclared_states_survive_the_next_snapshot"]),
    (
        Fault::SnapshotDiesWithBackend,
        &["a_snapshot_outlives_its_backend", "a_backend_may_be_dropped_while_its_snapshot_runs"],
    ),
    (Fault::SinkErrorSwallowed, &["a_sinks_error_ends_the_snapshot"]),
    (
        Fault::CancelIgnored,
        &[
            "a_snapshot_cancelled_before_it_runs_writes_nothing",
            "a_running_snapshot_stops_soon_after_it_is_cancelled",
        ],
    ),
    (
        Fault::CancelCheckedAtTheEnd,
        &[
            "a_snapshot_cancelled_before_it_runs_writes_nothing",
            "a_running_snapshot_stops_soon_after_it_is_cancelled",
        ],
    ),
    (
        Fault::RestoreLosesTheLast,
        &[
            "restore_at_equal_parallelism_gives_each_key_once",
            "restore_at_larger_parallelism_gives_each_key_once",
            "restore_at_smaller_parallelism_gives_each_key_once",
            "restore_at_uneven_parallelism_gives_each_key_once",
            "a_restored_backend_has_an_equal_snapshot",
            "large_entries_survive_restore",
        ],
    ),
    (
        Fault::RestoreByIndex,
        &["states_are_restored_by_name", "sources_with_different_state_orders_are_merged"],
    ),
    (Fault::RestoreAcceptsForeignGroups, &["restoring_foreign_key_groups_is_refused"]),
    (
        Fault::RestoreWithoutEntriesForgetsStates,
        &["an_empty_snapshot_restores_to_an_empty_backend"],
    ),
    (Fault::RestoredListsAreFrozen, &["a_restored_backend_is_written_like_any_other"]),
    (Fault::ChangesNeverSafe, &["changes_are_counted_since_the_last_completed_checkpoint"]),
    (
        Fault::AnyCompletionMakesAllSafe,
        &[
            "changes_after_a_snapshot_are_not_covered_by_its_completion",
            "unknown_checkpoints_are_ignored",
        ],
    ),
    (Fault::MemoryAlwaysZero, &["reported_memory_follows_what_is_stored"]),
    (Fault::MemoryNeverFalls, &["reported_memory_follows_what_is_stored"]),
    (Fault::AppendReplaces, &["a_typed_list_keeps_its_order"]),
    (
        Fault::DeleteForgotten,
        &[
            "a_typed_value_is_read_as_it_was_put",
            "reducing_state_folds_each_added_value",
            "aggregating_state_folds_into_its_accumulator",
        ],
    ),
    (
        Fault::RemoveInBatchForgotten,
        &["updating_a_value_to_nothing_deletes_it", "applying_to_all_keys_may_change_the_state"],
    ),
    (
        Fault::BatchSeesOldValues,
        &["reducing_state_folds_each_added_value", "aggregating_state_folds_into_its_accumulator"],
    ),
    (Fault::MapVisitDescends, &["a_typed_map_is_walked_in_the_order_of_its_keys"]),
    (Fault::EmptyMapValueReadsAsAbsent, &["a_map_to_nothing_is_a_set"]),
    (Fault::NamespaceIgnored, &["typed_namespaces_are_enumerated"]),
    (Fault::AbsentReadsAsEmpty, &["a_typed_value_is_read_as_it_was_put"]),
    (Fault::RestoreLosesTheLast, &["typed_states_survive_restore"]),
    (Fault::RestoreWithoutEntriesForgetsStates, &["restored_states_refuse_other_types"]),
    (Fault::EndedSnapshotsCounted, &["ended_snapshots_hold_no_memory"]),
    (Fault::CountNeverZero, &["an_element_without_bytes_is_refused"]),
    // Who owns what, and walks that change what they walk over.
    (Fault::ReadsMoveTheValueOut, &["what_is_read_belongs_to_the_caller"]),
    (Fault::ReadsShowTheLastWrite, &["what_is_written_may_be_reused_by_the_caller"]),
    (Fault::BatchValuesShareOneBuffer, &["values_of_a_batch_are_valid_together"]),
    (Fault::AppendReplaces, &["a_refused_element_leaves_the_list_as_it_was"]),
    (Fault::StatesShareEntries, &["accumulators_may_be_changed_in_place_or_made_anew"]),
    (Fault::MapVisitDecidesNothing, &["a_typed_map_is_changed_through_its_walk"]),
    (Fault::VisitIgnoresRange, &["applying_to_all_keys_may_add_and_delete_entries"]),
    (Fault::CountStartsAtZeroAfterRestore, &["the_entry_count_is_right_after_restore"]),
    (Fault::SnapshotsNeverReleased, &["cancelled_snapshots_release_what_they_held"]),
    // Merging namespaces.
    (
        Fault::DeleteForgotten,
        &[
            "merging_namespaces_moves_lists_to_the_target",
            "merging_namespaces_combines_reductions",
            "merging_namespaces_combines_aggregates",
        ],
    ),
    (Fault::AppendPrepends, &["merging_namespaces_moves_lists_to_the_target"]),
    (
        Fault::PutKeepsTheFirstValue,
        &["merging_namespaces_combines_reductions", "merging_namespaces_combines_aggregates"],
    ),
    (Fault::AbsentReadsAsEmpty, &["absent_namespaces_of_a_merge_are_harmless"]),
    (Fault::NamespaceIgnored, &["a_merge_counts_each_namespace_once"]),
    // Timers.
    (Fault::EmptyMapValueReadsAsAbsent, &["a_timer_is_registered_once_for_its_time"]),
    (Fault::UserKeysAreCutShort, &["timers_are_polled_in_order_of_time"]),
    (
        Fault::MapRemoveForgotten,
        &[
            "deleted_timers_do_not_fire",
            "timers_may_be_changed_between_polls",
            "many_timers_keep_their_order",
        ],
    ),
    (Fault::MapNamespaceIgnored, &["timers_of_keys_and_namespaces_are_independent"]),
    (
        Fault::RestoreLosesTimers,
        &["timers_survive_snapshot_and_restore", "it_restores_snapshots_of_the_reference_backend"],
    ),
    (
        Fault::RestoreLosesOneKeyGroup,
        &["timers_are_restored_at_any_parallelism", "a_migration_meets_a_rescale"],
    ),
    (Fault::SnapshotShowsLaterWrites, &["timers_survive_snapshot_and_restore"]),
    (Fault::VisitIgnoresRange, &["timers_are_enumerated_by_key_group"]),
    // Codecs that differ.
    (
        Fault::RestoreTrustsTheDeclaration,
        &[
            "restored_states_refuse_other_types",
            "a_refused_codec_is_named_in_full",
            "keys_and_namespaces_are_never_migrated",
            "restored_timers_refuse_other_types",
            "an_eager_migration_converts_every_kind",
            "a_lazy_migration_converts_every_kind",
            "records_evolve_by_the_names_of_their_fields",
        ],
    ),
    (
        Fault::PutKeepsTheFirstValue,
        &[
            "an_eager_migration_converts_every_kind",
            "a_lazy_migration_converts_every_kind",
            "migrations_chain_over_several_versions",
            "a_failing_migration_changes_nothing",
            "records_evolve_by_the_names_of_their_fields",
        ],
    ),
    (
        Fault::SnapshotNotFiltered,
        &["the_snapshot_after_a_migration_is_all_new", "migrations_chain_over_several_versions"],
    ),
    (
        Fault::RegisterIgnoresKindAndCodec,
        &[
            "the_snapshot_after_a_migration_is_all_new",
            "a_declared_state_is_not_migrated_again",
            "two_times_to_live_for_one_state_are_refused",
        ],
    ),
    (Fault::PutKeepsTheFirstValue, &["a_lazy_migration_meets_batches_merges_and_walks"]),
    // Time to live switched on, off, and changed.
    (
        Fault::PutKeepsTheFirstValue,
        &[
            "a_ttl_switched_on_begins_with_the_restore",
            "a_changed_ttl_counts_as_documented",
            "a_ttl_and_a_codec_change_together",
        ],
    ),
    (
        Fault::SnapshotNotFiltered,
        &[
            "a_ttl_switched_on_begins_with_the_restore",
            "a_ttl_switched_off_leaves_what_was_live",
            "a_ttl_and_a_codec_change_together",
        ],
    ),
    // What expires is not seen, and nothing else.
    (
        Fault::DeleteForgotten,
        &["expired_state_is_not_seen", "expired_state_takes_no_part_in_a_merge"],
    ),
    (
        Fault::CompactionIgnoresTheClock,
        &[
            "state_expires_by_its_own_clock",
            "a_clock_that_goes_back_is_ignored",
            "nothing_expires_while_time_is_unknown",
            "times_at_the_ends_of_their_range_do_not_wrap",
            "reads_refresh_state_if_asked",
        ],
    ),
    (
        Fault::CompactionDropsWhatItShouldRewrite,
        &["list_elements_expire_one_by_one", "state_without_a_stamp_gets_one"],
    ),
    (Fault::SnapshotNotFiltered, &["expired_state_may_be_seen_until_it_is_cleaned"]),
    (
        Fault::PutKeepsTheFirstValue,
        &["writes_refresh_state_and_reads_do_not", "reads_refresh_state_if_asked"],
    ),
    (Fault::MapVisitDecidesNothing, &["map_entries_expire_one_by_one"]),
    (Fault::StatesShareEntries, &["keys_namespaces_and_states_expire_on_their_own"]),
    (Fault::NamespaceIgnored, &["keys_namespaces_and_states_expire_on_their_own"]),
    (
        Fault::DescriptorsForgetWhatExpires,
        &[
            "walks_leave_out_expired_state",
            "a_snapshot_leaves_out_what_has_expired",
            "a_sweeper_removes_expired_state_that_nobody_reads",
            "expired_state_is_dropped_after_restore_and_rescale",
            "a_backend_can_judge_stored_bytes_by_itself",
        ],
    ),
    (
        Fault::SnapshotNotFiltered,
        &["a_snapshot_leaves_out_what_has_expired", "state_without_a_stamp_gets_one"],
    ),
    (Fault::BatchSeesOldValues, &["batches_expire_like_single_calls"]),
    (Fault::SnapshotFilteredLate, &["a_snapshot_judges_expiry_at_its_instant"]),
    (
        Fault::DeleteForgotten,
        &[
            "a_sweeper_removes_expired_state_that_nobody_reads",
            "expired_state_is_dropped_after_restore_and_rescale",
        ],
    ),
    (Fault::VisitIgnoresRange, &["a_sweep_ends_while_entries_change"]),
    // Snapshots that others restore, and small ones.
    (Fault::SnapshotByNamespaceFirst, &["the_reference_backend_restores_its_snapshots"]),
    (
        Fault::SnapshotAfterCompletionIsPartial,
        &["many_small_snapshots_lose_no_key", "an_unchanged_backend_has_equal_snapshots"],
    ),
    (Fault::RestoreLosesTheLast, &["a_chain_of_small_restores_loses_no_key"]),
];

/// Which behaviours catch which fault in the way of operator state.
pub(crate) const OPERATOR_CAUGHT_BY: &[(PathFault, &[&str])] = &[
    (
        PathFault::SplitItemsAreLost,
        &["split_items_go_to_one_subtask_each", "undeclared_operator_state_survives"],
    ),
    (PathFault::SplitItemsGoToAll, &["split_items_go_to_one_subtask_each"]),
    (PathFault::SplitItemsGoToTheFirst, &["split_items_go_to_one_subtask_each"]),
    (PathFault::UnionItemsStayWithTheirSubtask, &["union_items_go_to_every_subtask"]),
    (PathFault::BroadcastIsGivenByEach, &["broadcast_state_is_the_same_on_every_subtask"]),
    (
        PathFault::BroadcastGoesToTheFirst,
        &[
            "broadcast_state_is_the_same_on_every_subtask",
            "empty_operator_state_is_restored_beside_full",
            "undeclared_operator_state_survives",
        ],
    ),
    (PathFault::SnapshotIsTakenLate, &["an_operator_snapshot_shows_its_instant"]),
    (PathFault::CancelIgnored, &["an_operator_snapshot_is_cancelled_without_harm"]),
    (PathFault::CodecsAreForgotten, &["operator_state_is_migrated_between_codecs"]),
];

fn check(behaviour: &str, subject: &BackendUnderTest) -> bool {
    let behaviour = BEHAVIOURS.iter().find(|b| b.name == behaviour);
    let behaviour = behaviour.unwrap_or_else(|| panic!("no such behaviour"));
    let outcome = catch_unwind(AssertUnwindSafe(|| (behaviour.check)(subject)));
    matches!(outcome, Ok(Ok(())))
}

#[test]
fn every_broken_way_of_operator_state_is_caught() {
    let mut missed = Vec::new();
    for (fault, names) in OPERATOR_CAUGHT_BY {
        for name in *names {
            let subject = BackendUnderTest::new(ModelFactory).unwrap();
            if check(name, &subject.with_operator_state(BrokenPath(*fault))) {
                missed.push((*fault, *name));
            }
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:#?}");
}

#[test]
fn every_broken_backend_is_caught_by_its_behaviours() {
    let mut missed = Vec::new();
    for (fault, names) in CAUGHT_BY {
        for name in *names {
            let subject = BackendUnderTest::new(BrokenFactory(*fault)).unwrap();
            if check(name, &subject) {
                missed.push((*fault, *name));
            }
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:#?}");
}

#[test]
fn every_behaviour_catches_some_broken_backend() {
    let all: BTreeSet<&str> = BEHAVIOURS.iter().map(|behaviour| behaviour.name).collect();
    let backends = CAUGHT_BY.iter().flat_map(|(_, names)| names.iter().copied());
    let paths = OPERATOR_CAUGHT_BY.iter().flat_map(|(_, names)| names.iter().copied());
    let named = backends.chain(paths).collect();
    let vacuous: Vec<_> = all.difference(&named).collect();
    assert!(vacuous.is_empty(), "no broken backend for {vacuous:#?}");
}

#[test]
fn every_public_behaviour_is_in_the_list() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conformance/backend");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let sources: Vec<String> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let listed: BTreeSet<&str> = BEHAVIOURS.iter().map(|behaviour| behaviour.name).collect();
    let defined: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.strip_prefix("pub fn ")?.split_once("(").map(|(name, _)| name))
        .collect();
    assert_eq!(defined, listed);
}

#[test]
fn random_operations_catch_broken_backends_and_shrink_to_a_few_lines() {
    let faults = [
        Fault::AppendReplaces,
        Fault::DeleteTombstonesTheKey,
        Fault::BatchSeesOldValues,
        Fault::BreakDropsItsDecision,
        Fault::MapDeleteLeavesTheLast,
        Fault::NamespaceIgnored,
        Fault::SnapshotShowsLaterWrites,
        Fault::SnapshotDropBreaksOthers,
        Fault::RestoreLosesTheLast,
        Fault::VisitIgnoresRange,
    ];
    for fault in faults {
        let factory = BrokenFactory(fault);
        let failure = (0..20)
            .find_map(|seed| ops::run_model_test(&factory, seed, 300).err())
            .unwrap_or_else(|| panic!("{fault:?} not caught"));
        let minimal = failure.minimal().unwrap();
        let lines = minimal.lines().filter(|line| !line.starts_with('#')).count();
        assert!(lines <= 8, "{fault:?} shrunk to {lines} lines only: {failure}");
        assert!(ops::replay_text(&factory, minimal).is_err(), "{fault:?}: {minimal}");
    }
}

#[test]
fn random_typed_operations_catch_broken_backends_and_shrink_to_a_few_lines() {
    let faults = [
        Fault::AppendReplaces,
        Fault::CompactionDropsWhatItShouldRewrite,
        Fault::CompactionIgnoresTheClock,
        Fault::DeleteForgotten,
        Fault::DescriptorsForgetWhatExpires,
        Fault::MapRemoveForgotten,
        Fault::NamespaceIgnored,
        Fault::PutKeepsTheFirstValue,
        Fault::RegisterIgnoresKindAndCodec,
        Fault::RestoreLosesOneKeyGroup,
        Fault::RestoreLosesTimers,
        Fault::RestoreTrustsTheDeclaration,
        Fault::SnapshotFilteredLate,
        Fault::SnapshotNotFiltered,
        Fault::SnapshotShowsLaterWrites,
    ];
    for fault in faults {
        let factory = BrokenFactory(fault);
        let failure = (0..200)
            .find_map(|seed| typed_ops::run_model_test(&factory, seed, 60).err())
            .unwrap_or_else(|| panic!("{fault:?} not caught"));
        let minimal = failure.minimal().unwrap();
        let lines = minimal.lines().filter(|line| !line.starts_with('#')).count();
        assert!(lines <= 8, "{fault:?} shrunk to {lines} lines only: {failure}");
        assert!(typed_ops::replay_text(&factory, minimal).is_err(), "{fault:?}: {minimal}");
        assert!(typed_ops::replay_text(&ModelFactory, minimal).is_ok(), "{fault:?}: {minimal}");
    }
}
