//! The byte-level contract of [`KeyedBackend`](millpond_state::KeyedBackend) as behaviours.
//!
//! [`backend_conformance!`](crate::backend_conformance) makes a `#[test]` of each; [`BEHAVIOURS`]
//! lists them for other harnesses. A behaviour opens fresh instances, and asks nothing of a backend
//! that the contract does not promise; what is optional is in [`Capabilities`].
//!
//! # Failures
//! A behaviour returns a [`Violation`](crate::Violation) that names the place of the check. Panics
//! are the backend's own.
#![expect(
    clippy::missing_errors_doc,
    reason = "a behaviour fails if the backend does not show it; the module says so once"
)]

mod account;
mod batch;
mod cancel;
mod cleanup;
mod enumerate;
mod exchange;
pub(crate) mod kinds;
mod list;
mod map;
mod merge;
mod migration;
mod namespace;
mod operator;
mod own;
mod population;
mod refuse;
mod register;
mod requirements;
mod restore;
mod snapshot;
mod subject;
mod timers;
mod ttl;
mod typed;
mod value;

pub use account::*;
pub use batch::*;
pub use cancel::*;
pub use cleanup::*;
pub use enumerate::*;
pub use exchange::*;
pub use list::*;
pub use map::*;
pub use merge::*;
pub use migration::*;
pub use namespace::*;
pub use operator::*;
pub use own::*;
pub use refuse::*;
pub use register::*;
pub use requirements::{REQUIREMENTS, Requirement};
pub use restore::*;
pub use snapshot::*;
pub use subject::{BackendUnderTest, Capabilities};
pub use timers::*;
pub use ttl::*;
pub use typed::*;
pub use value::*;

use crate::violation::Verdict;

/// One behaviour of the contract.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Behaviour {
    /// The behaviour as a sentence; the name of its function.
    pub name: &'static str,
    /// What it guards: requirements `B-1` to `B-24` of `docs/conformance.md`, or `ours` for what
    /// this contract promises beyond them.
    pub guards: &'static [&'static str],
    /// Checks it.
    pub check: fn(&BackendUnderTest) -> Verdict,
}

/// All behaviours.
pub const BEHAVIOURS: &[Behaviour] = crate::__backend_behaviours!(__backend_table!());

/// Makes one `#[test]` for each behaviour of [`conformance::backend`](crate::conformance::backend).
///
/// The first argument is an expression that gives a
/// [`BackendFactory`](millpond_state::BackendFactory); each test evaluates it anew. A second one
/// gives [`Capabilities`](crate::conformance::backend::Capabilities); without it all are expected.
/// Put it in a module of its own.
///
/// ```
/// mod model {
///     millpond_testkit::backend_conformance!(millpond_testkit::model::ModelFactory);
/// }
/// ```
#[macro_export]
macro_rules! backend_conformance {
    ($factory:expr $(,)?) => {
        $crate::backend_conformance!($factory, $crate::conformance::backend::Capabilities::all());
    };
    ($factory:expr, $capabilities:expr $(,)?) => {
        $crate::__backend_behaviours!(__backend_tests!($factory, $capabilities));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __backend_table {
    (() $([$($guard:literal),*] $name:ident)*) => {
        &[$(Behaviour { name: stringify!($name), guards: &[$($guard),*], check: $name }),*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __backend_tests {
    (($factory:expr, $capabilities:expr) $([$($guard:literal),*] $name:ident)*) => {$(
        #[test]
        fn $name() -> $crate::Verdict {
            let subject = $crate::conformance::backend::BackendUnderTest::new($factory)?;
            $crate::conformance::backend::$name(&subject.with_capabilities($capabilities))
        }
    )*};
}

/// The one list of behaviours, each after what it guards: handed to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __backend_behaviours {
    ($callback:ident ! ($($arguments:tt)*)) => {
        $crate::$callback! { ($($arguments)*)
            ["ours"] an_instance_owns_the_key_groups_it_was_opened_for
            ["ours"] key_groups_past_the_max_parallelism_are_refused
            ["ours"] registering_a_state_again_finds_it
            ["ours"] registering_with_another_kind_or_codec_is_refused
            ["ours"] foreign_key_groups_are_refused
            ["ours"] unknown_states_are_refused
            ["ours"] operations_on_the_wrong_kind_are_refused
            ["ours"] empty_batches_are_checked_like_others
            ["B-1"] an_absent_entry_reads_as_none
            ["B-1"] a_value_stays_until_it_is_replaced_or_deleted
            ["B-1"] deleting_an_absent_entry_does_nothing
            ["B-1"] an_empty_value_differs_from_an_absent_entry
            ["ours"] the_empty_key_is_a_key
            ["B-1"] keys_are_independent
            ["B-1"] states_of_one_backend_are_independent
            ["B-1"] every_kind_but_map_takes_plain_values
            ["B-1"] values_change_their_length_at_will
            ["B-1"] many_keys_survive_growth_and_deletion
            ["B-1"] a_large_value_is_stored_like_any_other
            ["ours"] keys_past_the_limit_are_refused_and_change_nothing
            ["B-3"] appended_bytes_keep_their_order
            ["B-3"] put_replaces_a_whole_list
            ["B-3"] delete_clears_a_whole_list
            ["B-3"] lists_of_ten_thousand_appends_grow_side_by_side
            ["B-5"] a_map_value_stays_until_it_is_replaced_or_removed
            ["B-5"] empty_user_keys_and_map_values_are_entries
            ["B-5"] a_map_visit_ascends
            ["B-5"] a_map_visitor_removes_and_replaces
            ["B-5"] breaking_ends_a_map_visit
            ["B-5"] a_map_visitors_error_keeps_earlier_decisions
            ["B-5"] an_empty_map_is_no_entry
            ["B-5"] delete_removes_a_whole_map
            ["B-5"] maps_are_independent
            ["B-5"] a_map_of_a_hundred_thousand_user_keys_works
            ["ours"] user_keys_past_the_limit_are_refused
            ["B-6"] namespaces_of_one_key_are_independent
            ["B-6"] the_border_of_key_and_namespace_matters
            ["B-6"] the_border_of_namespace_and_user_key_matters
            ["B-6"] one_key_has_thousands_of_namespaces
            ["B-8"] a_visit_meets_the_entries_of_a_range_by_key_group
            ["B-8"] a_visit_meets_one_namespace_if_asked
            ["B-8"] a_visit_is_confined_to_the_instances_groups
            ["B-8"] breaking_or_failing_ends_a_visit
            ["B-9"] a_map_is_one_entry
            ["B-9"] the_entry_count_follows_every_write
            ["ours"] the_engine_may_assign_key_groups_itself
            ["ours"] batches_of_any_size_match_single_calls
            ["B-1"] get_many_reads_repeated_entries_each_time
            ["ours"] put_many_lets_the_last_write_of_an_entry_win
            ["ours"] update_many_keeps_replaces_and_removes
            ["ours"] update_many_shows_earlier_effects_of_the_batch
            ["ours"] a_failing_update_leaves_the_changed_prefix
            ["ours"] a_failing_put_many_has_applied_a_prefix
            ["ours"] batches_of_unequal_lengths_are_refused
            ["B-11"] an_untouched_backend_has_an_empty_snapshot
            ["ours"] a_snapshot_has_each_entry_once_in_canonical_order
            ["ours"] canonical_order_is_by_state_key_namespace_and_user_key
            ["B-12"] a_snapshot_shows_its_instant_whatever_is_written_after
            ["B-12"] a_snapshot_keeps_what_is_deleted_after
            ["B-12"] a_snapshot_is_not_changed_in_place
            ["B-12"] snapshots_under_way_are_independent
            ["B-13"] a_sinks_error_ends_the_snapshot
            ["B-13"] a_snapshot_cancelled_before_it_runs_writes_nothing
            ["B-13"] a_running_snapshot_stops_soon_after_it_is_cancelled
            ["B-13"] dropping_a_snapshot_task_changes_nothing
            ["B-13"] dropped_snapshots_release_their_resources
            ["B-13"] a_snapshot_outlives_its_backend
            ["B-13"] a_backend_may_be_dropped_while_its_snapshot_runs
            ["B-12"] writes_do_not_wait_for_a_running_snapshot
            ["B-12"] a_snapshot_may_be_taken_while_another_runs
            ["B-14"] restore_at_equal_parallelism_gives_each_key_once
            ["B-14"] restore_at_larger_parallelism_gives_each_key_once
            ["B-14"] restore_at_smaller_parallelism_gives_each_key_once
            ["B-14"] restore_at_uneven_parallelism_gives_each_key_once
            ["B-11"] an_empty_snapshot_restores_to_an_empty_backend
            ["B-14"] a_restored_backend_has_an_equal_snapshot
            ["ours"] undeclared_states_survive_the_next_snapshot
            ["ours"] states_are_restored_by_name
            ["ours"] sources_with_different_state_orders_are_merged
            ["B-15"] a_restored_state_declared_otherwise_is_refused
            ["B-15"] a_snapshot_that_contradicts_declared_states_is_refused
            ["ours"] restoring_foreign_key_groups_is_refused
            ["ours"] a_restored_backend_is_written_like_any_other
            ["ours"] large_entries_survive_restore
            ["ours"] changes_are_counted_since_the_last_completed_checkpoint
            ["ours"] changes_after_a_snapshot_are_not_covered_by_its_completion
            ["ours"] unknown_checkpoints_are_ignored
            ["ours"] reported_memory_follows_what_is_stored
            ["B-13"] ended_snapshots_hold_no_memory
            ["B-1"] a_typed_value_is_read_as_it_was_put
            ["B-2"] updating_a_value_to_nothing_deletes_it
            ["B-3"] a_typed_list_keeps_its_order
            ["B-3"] an_element_without_bytes_is_refused
            ["B-4"] reducing_state_folds_each_added_value
            ["B-4"] aggregating_state_folds_into_its_accumulator
            ["B-5"] a_typed_map_is_walked_in_the_order_of_its_keys
            ["B-5"] a_map_to_nothing_is_a_set
            ["B-6", "B-8"] typed_namespaces_are_enumerated
            ["B-8"] applying_to_all_keys_may_change_the_state
            ["B-14"] typed_states_survive_restore
            ["B-15"] restored_states_refuse_other_types
            ["B-7"] merging_namespaces_moves_lists_to_the_target
            ["B-7"] merging_namespaces_combines_reductions
            ["B-7"] merging_namespaces_combines_aggregates
            ["B-7"] absent_namespaces_of_a_merge_are_harmless
            ["B-7"] a_merge_counts_each_namespace_once
            ["B-10"] a_timer_is_registered_once_for_its_time
            ["B-10"] timers_are_polled_in_order_of_time
            ["B-10"] deleted_timers_do_not_fire
            ["B-10"] timers_of_keys_and_namespaces_are_independent
            ["B-10"] timers_may_be_changed_between_polls
            ["B-10"] many_timers_keep_their_order
            ["B-10"] timers_survive_snapshot_and_restore
            ["B-10"] timers_are_restored_at_any_parallelism
            ["B-10"] timers_are_enumerated_by_key_group
            ["B-17"] restored_timers_refuse_other_types
            ["B-3"] a_refused_element_leaves_the_list_as_it_was
            ["B-4"] accumulators_may_be_changed_in_place_or_made_anew
            ["B-5"] a_typed_map_is_changed_through_its_walk
            ["B-8"] applying_to_all_keys_may_add_and_delete_entries
            ["B-9"] the_entry_count_is_right_after_restore
            ["B-12"] an_unchanged_backend_has_equal_snapshots
            ["B-13"] cancelled_snapshots_release_what_they_held
            ["B-21"] what_is_read_belongs_to_the_caller
            ["B-21"] what_is_written_may_be_reused_by_the_caller
            ["B-21"] values_of_a_batch_are_valid_together
            ["B-22"] the_reference_backend_restores_its_snapshots
            ["B-22"] it_restores_snapshots_of_the_reference_backend
            ["B-23"] many_small_snapshots_lose_no_key
            ["B-23"] a_chain_of_small_restores_loses_no_key
            ["B-15"] a_refused_codec_is_named_in_full
            ["B-16"] an_eager_migration_converts_every_kind
            ["B-16"] a_lazy_migration_converts_every_kind
            ["B-16"] a_lazy_migration_meets_batches_merges_and_walks
            ["B-16"] migrations_chain_over_several_versions
            ["B-16"] the_snapshot_after_a_migration_is_all_new
            ["B-16"] a_migration_meets_a_rescale
            ["B-16"] a_failing_migration_changes_nothing
            ["B-16"] records_evolve_by_the_names_of_their_fields
            ["B-16"] operator_state_is_migrated_between_codecs
            ["B-16"] a_declared_state_is_not_migrated_again
            ["B-17"] keys_and_namespaces_are_never_migrated
            ["B-18"] a_ttl_switched_on_begins_with_the_restore
            ["B-18"] a_ttl_switched_off_leaves_what_was_live
            ["B-18"] a_changed_ttl_counts_as_documented
            ["B-18"] a_ttl_and_a_codec_change_together
            ["B-18"] two_times_to_live_for_one_state_are_refused
            ["B-19"] expired_state_is_not_seen
            ["B-19"] state_expires_by_its_own_clock
            ["B-19"] expired_state_may_be_seen_until_it_is_cleaned
            ["B-19"] writes_refresh_state_and_reads_do_not
            ["B-19"] reads_refresh_state_if_asked
            ["B-19"] list_elements_expire_one_by_one
            ["B-19"] map_entries_expire_one_by_one
            ["B-19"] times_at_the_ends_of_their_range_do_not_wrap
            ["B-19"] nothing_expires_while_time_is_unknown
            ["B-19"] keys_namespaces_and_states_expire_on_their_own
            ["B-19"] expired_state_takes_no_part_in_a_merge
            ["B-19"] a_clock_that_goes_back_is_ignored
            ["B-19"] batches_expire_like_single_calls
            ["B-19"] walks_leave_out_expired_state
            ["B-20"] a_snapshot_leaves_out_what_has_expired
            ["B-20"] a_snapshot_judges_expiry_at_its_instant
            ["B-20"] a_sweeper_removes_expired_state_that_nobody_reads
            ["B-20"] a_sweep_ends_while_entries_change
            ["B-20"] expired_state_is_dropped_after_restore_and_rescale
            ["B-20"] state_without_a_stamp_gets_one
            ["B-20"] a_backend_can_judge_stored_bytes_by_itself
            ["B-24"] split_items_go_to_one_subtask_each
            ["B-24"] union_items_go_to_every_subtask
            ["B-24"] broadcast_state_is_the_same_on_every_subtask
            ["B-24"] empty_operator_state_is_restored_beside_full
            ["B-24"] undeclared_operator_state_survives
            ["B-24"] an_operator_snapshot_shows_its_instant
            ["B-24"] an_operator_snapshot_is_cancelled_without_harm
        }
    };
}
