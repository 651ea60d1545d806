//! Listing.

use millpond_storage::Store;

use super::{folders, names, path, put, writer};
use crate::violation::{Verdict, ensure_eq};

const NONE: [&str; 0] = [];

/// A listing is sorted by path, goes to any depth, and has lengths.
pub fn list_is_sorted_recursive_and_has_lengths(store: &dyn Store) -> Verdict {
    for (name, len) in [("b", 1), ("a/z", 2), ("a/b/c", 3), ("a-b", 4), ("a.b/x", 0)] {
        put(store, name, &vec![0; len])?;
    }
    let objects = store.list(None)?;
    let found: Vec<_> = objects.iter().map(|object| (object.path.as_str(), object.len)).collect();
    let expected = [("a-b", 4), ("a.b/x", 0), ("a/b/c", 3), ("a/z", 2), ("b", 1)];
    ensure_eq!(found, expected, "objects");
    Ok(())
}

/// A prefix is a folder: whole segments count, and an object is not below itself.
pub fn list_takes_whole_segments_as_prefix(store: &dyn Store) -> Verdict {
    for name in ["chk-1/a", "chk-1/b/c", "chk-10/a", "chk-1-b", "chk/a"] {
        put(store, name, b"")?;
    }
    ensure_eq!(names(store, Some("chk-1"))?, ["chk-1/a", "chk-1/b/c"], "below chk-1");
    ensure_eq!(names(store, Some("chk-1/b"))?, ["chk-1/b/c"], "below chk-1/b");
    ensure_eq!(names(store, Some("chk-1/a"))?, NONE, "below an object");
    Ok(())
}

/// A folder that is not there has no objects and no folders.
pub fn listing_a_missing_folder_is_empty(store: &dyn Store) -> Verdict {
    for prefix in [None, Some("x"), Some("x/y")] {
        ensure_eq!(names(store, prefix)?, NONE, "objects below {prefix:?}");
        ensure_eq!(folders(store, prefix)?, NONE, "folders in {prefix:?}");
    }
    put(store, "a/b", b"")?;
    ensure_eq!(names(store, Some("x"))?, NONE, "objects below x");
    Ok(())
}

/// Folders are listed one level down, sorted.
pub fn list_folders_goes_one_level_down(store: &dyn Store) -> Verdict {
    for name in ["chk-2/a", "chk-10/b/c", "chk-10/d/e", "chk-10/f", "top"] {
        put(store, name, b"")?;
    }
    ensure_eq!(folders(store, None)?, ["chk-10", "chk-2"], "folders at the top");
    ensure_eq!(folders(store, Some("chk-10"))?, ["chk-10/b", "chk-10/d"], "folders in chk-10");
    ensure_eq!(folders(store, Some("chk-2"))?, NONE, "folders in chk-2");
    Ok(())
}

/// A folder without finished objects does not show.
pub fn a_folder_without_finished_objects_does_not_show(store: &dyn Store) -> Verdict {
    let writer = writer(store, "chk-1/parts/a", b"x")?;
    ensure_eq!(folders(store, None)?, NONE, "folders with an unfinished object");
    writer.finish()?;
    ensure_eq!(folders(store, None)?, ["chk-1"], "folders with a finished object");
    store.delete(&path("chk-1/parts/a")?)?;
    ensure_eq!(folders(store, None)?, NONE, "folders after it is deleted");
    Ok(())
}
