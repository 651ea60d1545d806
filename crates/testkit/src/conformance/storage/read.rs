//! Opening and reading.

use millpond_storage::{ErrorKind, Store, StoreExt as _};

use super::{failed, path, put};
use crate::violation::{Verdict, ensure, ensure_eq};

/// Opening what is not there is `NotFound`, and the error says what and where.
pub fn opening_a_missing_object_is_not_found(store: &dyn Store) -> Verdict {
    put(store, "a/b", b"")?;
    for name in ["x", "a/x", "x/y", "a/b/c"] {
        let error = failed(store.open(&path(name)?), ErrorKind::NotFound, name)?;
        let line = error.to_string();
        ensure!(
            line.contains(name) && line.contains(store.url()),
            "{line}: names not what or where"
        );
    }
    Ok(())
}

/// A folder is no object.
pub fn a_folder_is_no_object(store: &dyn Store) -> Verdict {
    put(store, "a/b", b"")?;
    failed(store.open(&path("a")?), ErrorKind::NotFound, "open of a folder")?;
    ensure!(!store.exists(&path("a")?)?, "the folder exists as an object");
    Ok(())
}

/// A range is read at its offset.
pub fn a_range_is_read_at_its_offset(store: &dyn Store) -> Verdict {
    let bytes = b"0123456789";
    put(store, "a", bytes)?;
    let reader = store.open(&path("a")?)?;
    for (offset, len) in [(0, 10), (0, 0), (10, 0), (3, 4), (9, 1)] {
        let mut buffer = vec![0; len];
        reader.read_exact_at(offset as u64, &mut buffer)?;
        ensure_eq!(Some(buffer.as_slice()), bytes.get(offset..offset + len), "{len} at {offset}");
    }
    Ok(())
}

/// Reading past the end is `Truncated`; the error names object, offset, what was wanted and length.
pub fn reading_past_the_end_is_truncated(store: &dyn Store) -> Verdict {
    put(store, "a/b", b"0123456789")?;
    let reader = store.open(&path("a/b")?)?;
    let past = [(0, 11), (7, 4), (10, 1), (11, 0), (u64::MAX, 1), (u64::MAX - 1, 7)];
    for (offset, len) in past {
        let what = format!("read of {len} bytes at {offset}");
        let read = reader.read_exact_at(offset, &mut vec![0; len]);
        let error = failed(read, ErrorKind::Truncated, &what)?;
        ensure_eq!(error.path(), Some("a/b"), "object that the error names");
        let line = error.to_string();
        for part in [offset.to_string(), len.to_string(), "10 bytes".to_owned()] {
            ensure!(line.contains(&part), "{line}: does not say {part}");
        }
    }
    Ok(())
}
