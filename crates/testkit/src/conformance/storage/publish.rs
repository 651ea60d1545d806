//! Writing and publishing.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_storage::{
    Disk as _, Effect, ErrorKind, ObjectInfo, OsDisk, Store, StoreExt as _, WriteAdapter,
    redact_url,
};

use super::{failed, names, path, put, writer};
use crate::violation::{Verdict, Violation, ensure, ensure_eq};

const NONE: [&str; 0] = [];

/// An object written in pieces of any size is read back whole, with its length.
pub fn an_object_is_read_back_as_it_was_written(store: &dyn Store) -> Verdict {
    let name = path("chk-1/a")?;
    let mut writer = store.create(&name)?;
    let mut expected = Vec::new();
    for len in [0, 1, 7, 4_096, 65_535, 65_536, 65_537, 200_000, 3] {
        let part: Vec<u8> = (0..len).map(|i: u32| (i % 251) as u8).collect();
        writer.write(&part)?;
        expected.extend(part);
    }
    let info = writer.finish()?;
    let len = expected.len() as u64;
    ensure_eq!(info, ObjectInfo { path: name.clone(), len }, "what finish says");
    ensure_eq!(store.open(&name)?.len(), len, "length of the opened object");
    ensure!(store.read_all(&name)? == expected, "the object is not what was written");
    Ok(())
}

/// An object without bytes is an object.
pub fn an_empty_object_is_an_object(store: &dyn Store) -> Verdict {
    let info = store.create(&path("e")?)?.finish()?;
    ensure_eq!(info.len, 0, "length");
    ensure_eq!(store.read_all(&path("e")?)?, b"", "content");
    ensure_eq!(names(store, None)?, ["e"], "objects");
    Ok(())
}

/// An object is visible from the moment it is finished, not before.
pub fn an_object_appears_only_when_finished(store: &dyn Store) -> Verdict {
    let writer = writer(store, "chk-1/a", &[1; 100_000])?;
    failed(store.open(&path("chk-1/a")?), ErrorKind::NotFound, "open of an unfinished object")?;
    ensure_eq!(names(store, None)?, NONE, "objects before it is finished");
    writer.finish()?;
    store.open(&path("chk-1/a")?)?;
    ensure_eq!(names(store, None)?, ["chk-1/a"], "objects after it is finished");
    Ok(())
}

/// An aborted writer leaves nothing that shows.
pub fn an_aborted_writer_leaves_nothing(store: &dyn Store) -> Verdict {
    writer(store, "chk-1/a", b"x")?.abort();
    ensure!(!store.exists(&path("chk-1/a")?)?, "the aborted object exists");
    ensure_eq!(names(store, None)?, NONE, "objects");
    Ok(())
}

/// A writer that is dropped unfinished leaves nothing that shows.
pub fn a_dropped_writer_leaves_nothing(store: &dyn Store) -> Verdict {
    drop(writer(store, "chk-1/a", b"x")?);
    ensure!(!store.exists(&path("chk-1/a")?)?, "the dropped object exists");
    ensure_eq!(names(store, None)?, NONE, "objects");
    Ok(())
}

/// Publishing under a name that is taken fails, says which, and changes nothing.
pub fn publishing_over_an_existing_name_changes_nothing(store: &dyn Store) -> Verdict {
    put(store, "a/b", b"first")?;
    let again = store.put_if_absent(&path("a/b")?, b"second, longer");
    let error = failed(again, ErrorKind::AlreadyExists, "second publish")?;
    ensure_eq!(error.effect(), Effect::DidNotHappen, "effect");
    ensure!(error.to_string().contains("a/b"), "{error} does not name the object");
    ensure_eq!(store.read_all(&path("a/b")?)?, b"first", "content");
    ensure_eq!(names(store, None)?, ["a/b"], "objects");
    Ok(())
}

/// A name whose writer was aborted is free.
pub fn a_name_is_free_again_after_an_abort(store: &dyn Store) -> Verdict {
    writer(store, "a", b"aborted")?.abort();
    drop(writer(store, "a", b"dropped")?);
    put(store, "a", b"kept")?;
    ensure_eq!(store.read_all(&path("a")?)?, b"kept", "content");
    Ok(())
}

/// An object that is a second name of a file appears when it is finished and not before, takes no
/// bytes, never replaces another, and stays when the file's own name goes.
pub fn a_linked_object_is_published_like_one_that_was_written(store: &dyn Store) -> Verdict {
    let file = LinkTarget::create(b"of the file")?;
    let linked = |name| Ok::<_, Violation>(store.create_linked(&path(name)?, &file.0));
    let Some(mut writer) = linked("chk-1/a")? else { return Ok(()) };
    ensure_eq!(names(store, None)?, NONE, "objects before it is finished");
    failed(writer.write(b"more"), ErrorKind::Unsupported, "write to a linked object")?;
    drop(writer);
    ensure_eq!(names(store, None)?, NONE, "objects after a linked one was given up");
    let (Some(one), Some(two)) = (linked("chk-1/a")?, linked("chk-1/a")?) else {
        return Err(Violation::new("a store that could link to a file cannot any more"));
    };
    let info = one.finish()?;
    ensure_eq!(info, ObjectInfo { path: path("chk-1/a")?, len: 11 }, "what finish says");
    failed(two.finish(), ErrorKind::AlreadyExists, "second finish")?;
    drop(file);
    ensure_eq!(store.read_all(&path("chk-1/a")?)?, b"of the file", "content");
    ensure_eq!(names(store, None)?, ["chk-1/a"], "objects");
    store.delete(&path("chk-1/a")?)?;
    ensure_eq!(names(store, None)?, NONE, "objects after the deletion");
    Ok(())
}

/// A file of this machine; its name goes when this does.
struct LinkTarget(PathBuf);

impl LinkTarget {
    fn create(bytes: &[u8]) -> Verdict<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("millpond-linked-{}-{number}", std::process::id());
        let target = Self(std::env::temp_dir().join(name));
        let written = OsDisk.create_file(&target.0).and_then(|mut file| file.append(bytes));
        written
            .map_err(|error| Violation::new(format!("cannot write a file to link to: {error}")))?;
        Ok(target)
    }
}

impl Drop for LinkTarget {
    fn drop(&mut self) {
        // It is in the folder for what is temporary.
        let _ = OsDisk.remove_file(&self.0);
    }
}

/// Of two open writers of one name the first to finish wins.
pub fn of_two_open_writers_the_first_to_finish_wins(store: &dyn Store) -> Verdict {
    let (one, two) = (writer(store, "a", b"one")?, writer(store, "a", b"two")?);
    two.finish()?;
    failed(one.finish(), ErrorKind::AlreadyExists, "second finish")?;
    ensure_eq!(store.read_all(&path("a")?)?, b"two", "content");
    ensure_eq!(names(store, None)?, ["a"], "objects");
    Ok(())
}

/// One name cannot be an object and a folder with objects.
pub fn a_name_cannot_be_both_object_and_folder(store: &dyn Store) -> Verdict {
    put(store, "a", b"")?;
    put(store, "b/c", b"")?;
    for name in ["a/x", "a/x/y", "b"] {
        let error = failed(store.put_if_absent(&path(name)?, b""), ErrorKind::AlreadyExists, name)?;
        ensure_eq!(error.effect(), Effect::DidNotHappen, "effect of publishing {name}");
    }
    ensure_eq!(names(store, None)?, ["a", "b/c"], "objects");
    Ok(())
}

/// Encoders write objects through the adapter to `std::io::Write`.
pub fn encoders_write_through_the_adapter(store: &dyn Store) -> Verdict {
    let io = |error: std::io::Error| Violation::new(format!("unexpected error: {error}"));
    let mut adapter = WriteAdapter::new(store.create(&path("a")?)?);
    write!(adapter, "still {:>5}", 7).map_err(io)?;
    adapter.flush().map_err(io)?;
    ensure_eq!(adapter.finish()?.len, 11, "length");
    ensure_eq!(store.read_all(&path("a")?)?, b"still     7", "content");
    let mut adapter = WriteAdapter::new(store.create(&path("b")?)?);
    adapter.write_all(b"x").map_err(io)?;
    adapter.abort();
    ensure!(!store.exists(&path("b")?)?, "the aborted object exists");
    Ok(())
}

/// The URL has a scheme, and no credentials: errors and reports show it.
pub fn the_url_has_a_scheme(store: &dyn Store) -> Verdict {
    let scheme = store.url().split_once("://").map(|(scheme, _)| scheme).unwrap_or_default();
    let fine = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_lowercase());
    let shown = redact_url(store.url());
    ensure!(fine, "{shown:?} has no scheme");
    ensure!(shown == store.url(), "the URL shows what should be hidden: {shown}");
    Ok(())
}
