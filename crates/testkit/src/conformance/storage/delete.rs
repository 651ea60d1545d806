//! Deleting.

use millpond_storage::{ErrorKind, Store, StoreExt as _};

use super::{failed, names, path, put};
use crate::violation::{Verdict, ensure_eq};

/// Deleting removes the object and the folders that this leaves empty.
pub fn deleting_removes_the_object_and_its_empty_folders(store: &dyn Store) -> Verdict {
    put(store, "a/b/c", b"")?;
    put(store, "a/d", b"")?;
    store.delete(&path("a/b/c")?)?;
    failed(store.open(&path("a/b/c")?), ErrorKind::NotFound, "open of a deleted object")?;
    ensure_eq!(names(store, None)?, ["a/d"], "objects");
    // The folder's name is free again, for an object too.
    put(store, "a/b", b"x")?;
    ensure_eq!(names(store, None)?, ["a/b", "a/d"], "objects with one of the folder's name");
    Ok(())
}

/// Deleting what is not there succeeds and deletes nothing, so that it can be repeated.
pub fn deleting_what_is_missing_succeeds(store: &dyn Store) -> Verdict {
    put(store, "a/b", b"")?;
    for name in ["x", "x/y", "a/x", "a/b/c"] {
        store.delete(&path(name)?)?;
    }
    ensure_eq!(names(store, None)?, ["a/b"], "objects");
    Ok(())
}

/// Deleting the name of a folder deletes nothing.
pub fn deleting_a_folder_name_deletes_nothing(store: &dyn Store) -> Verdict {
    put(store, "a/b", b"")?;
    store.delete(&path("a")?)?;
    ensure_eq!(names(store, None)?, ["a/b"], "objects");
    Ok(())
}

/// Deleting a prefix deletes what is below it and nothing else.
pub fn delete_prefix_deletes_what_is_below_and_nothing_else(store: &dyn Store) -> Verdict {
    for name in ["chk-1/a", "chk-1/b/c", "chk-10/a", "other"] {
        put(store, name, b"")?;
    }
    ensure_eq!(store.delete_prefix(&path("chk-1")?)?, 2, "objects deleted");
    ensure_eq!(store.delete_prefix(&path("chk-1")?)?, 0, "objects deleted the second time");
    ensure_eq!(names(store, None)?, ["chk-10/a", "other"], "objects");
    Ok(())
}
