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
mod enumerate;
mod list;
mod map;
mod namespace;
mod population;
mod refuse;
mod register;
mod restore;
mod snapshot;
mod subject;
mod typed;
mod value;

pub use account::*;
pub use batch::*;
pub use cancel::*;
pub use enumerate::*;
pub use list::*;
pub use map::*;
pub use namespace::*;
pub use refuse::*;
pub use register::*;
pub use restore::*;
pub use snapshot::*;
pub use subject::{BackendUnderTest, Capabilities};
pub use typed::*;
pub use value::*;

use crate::violation::Verdict;

/// One behaviour of the contract.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Behaviour {
    /// The behaviour as a sentence; the name of its function.
    pub name: &'static str,
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
    (() $($name:ident)*) => {
        &[$(Behaviour { name: stringify!($name), check: $name }),*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __backend_tests {
    (($factory:expr, $capabilities:expr) $($name:ident)*) => {$(
        #[test]
        fn $name() -> $crate::Verdict {
            let subject = $crate::conformance::backend::BackendUnderTest::new($factory)?;
            $crate::conformance::backend::$name(&subject.with_capabilities($capabilities))
        }
    )*};
}

/// The one list of behaviours: hands their names to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __backend_behaviours {
    ($callback:ident ! ($($arguments:tt)*)) => {
        $crate::$callback! { ($($arguments)*)
            an_instance_owns_the_key_groups_it_was_opened_for
            key_groups_past_the_max_parallelism_are_refused
            registering_a_state_again_finds_it
            registering_with_another_kind_or_codec_is_refused
            foreign_key_groups_are_refused
            unknown_states_are_refused
            operations_on_the_wrong_kind_are_refused
            empty_batches_are_checked_like_others
            an_absent_entry_reads_as_none
            a_value_stays_until_it_is_replaced_or_deleted
            deleting_an_absent_entry_does_nothing
            an_empty_value_differs_from_an_absent_entry
            the_empty_key_is_a_key
            keys_are_independent
            states_of_one_backend_are_independent
            every_kind_but_map_takes_plain_values
            values_change_their_length_at_will
            many_keys_survive_growth_and_deletion
            a_large_value_is_stored_like_any_other
            keys_past_the_limit_are_refused_and_change_nothing
            appended_bytes_keep_their_order
            put_replaces_a_whole_list
            delete_clears_a_whole_list
            lists_of_ten_thousand_appends_grow_side_by_side
            a_map_value_stays_until_it_is_replaced_or_removed
            empty_user_keys_and_map_values_are_entries
            a_map_visit_ascends
            a_map_visitor_removes_and_replaces
            breaking_ends_a_map_visit
            a_map_visitors_error_keeps_earlier_decisions
            an_empty_map_is_no_entry
            delete_removes_a_whole_map
            maps_are_independent
            a_map_of_a_hundred_thousand_user_keys_works
            user_keys_past_the_limit_are_refused
            namespaces_of_one_key_are_independent
            the_border_of_key_and_namespace_matters
            the_border_of_namespace_and_user_key_matters
            one_key_has_thousands_of_namespaces
            a_visit_meets_the_entries_of_a_range_by_key_group
            a_visit_meets_one_namespace_if_asked
            a_visit_is_confined_to_the_instances_groups
            breaking_or_failing_ends_a_visit
            a_map_is_one_entry
            the_entry_count_follows_every_write
            the_engine_may_assign_key_groups_itself
            batches_of_any_size_match_single_calls
            get_many_reads_repeated_entries_each_time
            put_many_lets_the_last_write_of_an_entry_win
            update_many_keeps_replaces_and_removes
            update_many_shows_earlier_effects_of_the_batch
            a_failing_update_leaves_the_changed_prefix
            a_failing_put_many_has_applied_a_prefix
            batches_of_unequal_lengths_are_refused
            an_untouched_backend_has_an_empty_snapshot
            a_snapshot_has_each_entry_once_in_canonical_order
            canonical_order_is_by_state_key_namespace_and_user_key
            a_snapshot_shows_its_instant_whatever_is_written_after
            a_snapshot_keeps_what_is_deleted_after
            a_snapshot_is_not_changed_in_place
            snapshots_under_way_are_independent
            a_sinks_error_ends_the_snapshot
            a_snapshot_cancelled_before_it_runs_writes_nothing
            a_running_snapshot_stops_soon_after_it_is_cancelled
            dropping_a_snapshot_task_changes_nothing
            dropped_snapshots_release_their_resources
            a_snapshot_outlives_its_backend
            a_backend_may_be_dropped_while_its_snapshot_runs
            writes_do_not_wait_for_a_running_snapshot
            a_snapshot_may_be_taken_while_another_runs
            restore_at_equal_parallelism_gives_each_key_once
            restore_at_larger_parallelism_gives_each_key_once
            restore_at_smaller_parallelism_gives_each_key_once
            restore_at_uneven_parallelism_gives_each_key_once
            an_empty_snapshot_restores_to_an_empty_backend
            a_restored_backend_has_an_equal_snapshot
            undeclared_states_survive_the_next_snapshot
            states_are_restored_by_name
            sources_with_different_state_orders_are_merged
            a_restored_state_declared_otherwise_is_refused
            a_snapshot_that_contradicts_declared_states_is_refused
            restoring_foreign_key_groups_is_refused
            a_restored_backend_is_written_like_any_other
            large_entries_survive_restore
            changes_are_counted_since_the_last_completed_checkpoint
            changes_after_a_snapshot_are_not_covered_by_its_completion
            unknown_checkpoints_are_ignored
            reported_memory_follows_what_is_stored
            ended_snapshots_hold_no_memory
            a_typed_value_is_read_as_it_was_put
            updating_a_value_to_nothing_deletes_it
            a_typed_list_keeps_its_order
            an_element_without_bytes_is_refused
            reducing_state_folds_each_added_value
            aggregating_state_folds_into_its_accumulator
            a_typed_map_is_walked_in_the_order_of_its_keys
            a_map_to_nothing_is_a_set
            typed_namespaces_are_enumerated
            applying_to_all_keys_may_change_the_state
            typed_states_survive_restore
            restored_states_refuse_other_types
        }
    };
}
