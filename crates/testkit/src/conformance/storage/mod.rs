//! The contract of [`Store`] as behaviours.
//!
//! [`storage_conformance!`](crate::storage_conformance) makes a `#[test]` of each; [`BEHAVIOURS`]
//! lists them for other harnesses. Each behaviour takes a new, empty store.
//!
//! # Failures
//! A behaviour returns a [`Violation`] that names the place of the check. Panics
//! are the store's own.
#![expect(
    clippy::missing_errors_doc,
    reason = "a behaviour fails if the store does not show it; the module says so once"
)]

mod delete;
mod list;
mod publish;
mod race;
mod read;

pub use delete::*;
pub use list::*;
pub use publish::*;
pub use race::*;
pub use read::*;

use millpond_storage::{ErrorKind, Result, Store, StorePath, StoreWriter};

use crate::violation::{Verdict, Violation};

/// One behaviour of the contract.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StoreBehaviour {
    /// The behaviour as a sentence; the name of its function.
    pub name: &'static str,
    /// Checks it on a new, empty store.
    pub check: fn(&dyn Store) -> Verdict,
}

/// All behaviours.
pub const BEHAVIOURS: &[StoreBehaviour] = crate::__storage_behaviours!(__storage_table!());

/// Makes one `#[test]` for each behaviour of [`conformance::storage`](crate::conformance::storage).
///
/// The argument is an expression that gives a pair: what keeps the store's place alive, and a new,
/// empty store. Each test evaluates it anew. Put it in a module of its own.
///
/// ```
/// mod memory {
///     millpond_testkit::storage_conformance!(((), millpond_storage::MemoryStore::new()));
/// }
/// ```
#[macro_export]
macro_rules! storage_conformance {
    ($place_and_store:expr $(,)?) => {
        $crate::__storage_behaviours!(__storage_tests!($place_and_store));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __storage_table {
    (() $($name:ident)*) => {
        &[$(StoreBehaviour { name: stringify!($name), check: $name }),*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __storage_tests {
    (($place_and_store:expr) $($name:ident)*) => {$(
        #[test]
        fn $name() -> $crate::Verdict {
            let (_place, store) = $place_and_store;
            $crate::conformance::storage::$name(&store)
        }
    )*};
}

/// The one list of behaviours: hands their names to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __storage_behaviours {
    ($callback:ident ! ($($arguments:tt)*)) => {
        $crate::$callback! { ($($arguments)*)
            an_object_is_read_back_as_it_was_written
            an_empty_object_is_an_object
            an_object_appears_only_when_finished
            an_aborted_writer_leaves_nothing
            a_dropped_writer_leaves_nothing
            publishing_over_an_existing_name_changes_nothing
            a_name_is_free_again_after_an_abort
            a_linked_object_is_published_like_one_that_was_written
            of_two_open_writers_the_first_to_finish_wins
            a_name_cannot_be_both_object_and_folder
            encoders_write_through_the_adapter
            the_url_has_a_scheme
            of_racing_publishers_exactly_one_wins
            racing_publishers_of_different_names_all_win
            creators_and_deleters_in_one_folder_do_not_disturb_each_other
            one_reader_serves_many_threads
            opening_a_missing_object_is_not_found
            a_folder_is_no_object
            a_range_is_read_at_its_offset
            reading_past_the_end_is_truncated
            list_is_sorted_recursive_and_has_lengths
            list_takes_whole_segments_as_prefix
            listing_a_missing_folder_is_empty
            list_folders_goes_one_level_down
            a_folder_without_finished_objects_does_not_show
            deleting_removes_the_object_and_its_empty_folders
            deleting_what_is_missing_succeeds
            deleting_a_folder_name_deletes_nothing
            delete_prefix_deletes_what_is_below_and_nothing_else
        }
    };
}

fn path(name: &str) -> Result<StorePath> {
    StorePath::new(name)
}

fn put(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<()> {
    writer(store, name, bytes)?.finish().map(drop)
}

fn writer(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<Box<dyn StoreWriter>> {
    let mut writer = store.create(&path(name)?)?;
    writer.write(bytes)?;
    Ok(writer)
}

fn names(store: &dyn Store, prefix: Option<&str>) -> Result<Vec<String>> {
    let prefix = prefix.map(path).transpose()?;
    let objects = store.list(prefix.as_ref())?;
    Ok(objects.iter().map(|object| object.path.to_string()).collect())
}

fn folders(store: &dyn Store, prefix: Option<&str>) -> Result<Vec<String>> {
    let prefix = prefix.map(path).transpose()?;
    Ok(store.list_folders(prefix.as_ref())?.iter().map(ToString::to_string).collect())
}

/// Checks that a call failed with `kind`, and hands its error on.
#[track_caller]
fn failed<T>(
    result: Result<T>,
    kind: ErrorKind,
    what: &str,
) -> Verdict<millpond_storage::StorageError> {
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => {
            Err(Violation::new(format!("{what}: failed with {error}, expected kind {kind:?}")))
        }
        Ok(_) => Err(Violation::new(format!("{what}: succeeded, expected an error ({kind:?})"))),
    }
}
