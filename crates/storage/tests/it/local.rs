//! What only a store in a folder has: files under it that are not objects, a folder that goes
//! away, remains of dead processes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use millpond_storage::{ErrorKind, FolderLock, LocalStore, MemoryStore, Store, StoreExt};
use tempfile::{TempDir, tempdir};

use crate::path;

fn local() -> (TempDir, LocalStore) {
    let folder = tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    (folder, store)
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_published_object_is_one_plain_file_and_nothing_else_is_left() {
    let (folder, store) = local();
    store.put_if_absent(&path("chk-1/metadata"), b"bytes").unwrap();
    assert_eq!(entries(folder.path()), ["chk-1"]);
    assert_eq!(entries(&folder.path().join("chk-1")), ["metadata"]);
    assert_eq!(fs::read(folder.path().join("chk-1/metadata")).unwrap(), b"bytes");
}

#[test]
fn an_unfinished_writer_keeps_a_marked_temporary_file_that_dropping_removes() {
    let (folder, store) = local();
    let store = store.with_writer_tag("attempt-7").unwrap();
    let writer = store.create(&path("a/b")).unwrap();
    let names = entries(&folder.path().join("a"));
    assert_eq!(names.len(), 1);
    let marked = format!(".tmp-attempt-7-{}-", std::process::id());
    assert!(names[0].starts_with(&marked), "{names:?}");
    drop(writer);
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[test]
fn a_lost_race_leaves_no_temporary_file() {
    let (folder, store) = local();
    let writer = store.create(&path("a")).unwrap();
    store.put_if_absent(&path("a"), b"winner").unwrap();
    writer.finish().unwrap_err();
    assert_eq!(entries(folder.path()), ["a"]);
}

#[test]
fn two_handles_on_one_folder_see_and_exclude_each_other() {
    let (folder, one) = local();
    let two = LocalStore::open(folder.path()).unwrap();
    let writer = one.create(&path("chk-1/a")).unwrap();
    two.put_if_absent(&path("chk-1/a"), b"two").unwrap();
    assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(one.read_all(&path("chk-1/a")).unwrap(), b"two");
    two.delete(&path("chk-1/a")).unwrap();
    one.put_if_absent(&path("chk-1/b"), b"one").unwrap();
    assert_eq!(two.read_all(&path("chk-1/b")).unwrap(), b"one");
}

#[test]
fn remains_of_a_killed_process_are_invisible_until_swept_under_the_lock() {
    let (folder, store) = local();
    store.put_if_absent(&path("chk-1/a"), b"kept").unwrap();
    fs::create_dir_all(folder.path().join("chk-2/deep")).unwrap();
    for name in [".tmp-w-1-0", "chk-1/.tmp-w-1-1", "chk-2/deep/.tmp-w-1-2"] {
        fs::write(folder.path().join(name), b"half").unwrap();
    }
    assert_eq!(store.list(None).unwrap().len(), 1);
    assert_eq!(store.list_folders(None).unwrap(), [path("chk-1")]);

    let lock = FolderLock::acquire(folder.path(), "sweep").unwrap();
    assert_eq!(store.sweep_temporaries(&lock).unwrap(), 3);
    assert_eq!(store.sweep_temporaries(&lock).unwrap(), 0);
    assert_eq!(entries(folder.path()), [".millpond.lock", "chk-1"]);
    assert_eq!(entries(&folder.path().join("chk-1")), ["a"]);
}

#[test]
fn a_writer_whose_temporary_file_was_swept_publishes_nothing() {
    let (folder, store) = local();
    let writer = store.create(&path("a")).unwrap();
    let lock = FolderLock::acquire(folder.path(), "sweep").unwrap();
    assert_eq!(store.sweep_temporaries(&lock).unwrap(), 1);
    writer.finish().unwrap_err();
    assert_eq!(store.list(None).unwrap(), []);
}

#[test]
fn the_lock_of_another_folder_does_not_allow_a_sweep() {
    let (folder, store) = local();
    fs::write(folder.path().join(".tmp-w-1-0"), b"half").unwrap();
    let elsewhere = tempdir().unwrap();
    let lock = FolderLock::acquire(elsewhere.path(), "sweep").unwrap();
    assert_eq!(store.sweep_temporaries(&lock).unwrap_err().kind(), ErrorKind::InvalidName);
    assert_eq!(entries(folder.path()), [".tmp-w-1-0"]);
}

#[test]
fn foreign_files_that_no_path_can_name_are_left_alone() {
    let (folder, store) = local();
    for name in ["with space", ".hidden", "caf\u{e9}"] {
        fs::write(folder.path().join(name), b"").unwrap();
    }
    fs::create_dir(folder.path().join(".git")).unwrap();
    fs::write(folder.path().join(".git/config"), b"").unwrap();
    store.put_if_absent(&path("a"), b"").unwrap();
    assert_eq!(store.list(None).unwrap().len(), 1);
    assert_eq!(store.list_folders(None).unwrap(), []);
}

#[test]
fn symbolic_links_in_the_store_lead_nowhere() {
    let (folder, store) = local();
    let outside = tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"s").unwrap();
    symlink(outside.path(), folder.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("file")).unwrap();
    symlink(folder.path(), folder.path().join("loop")).unwrap();

    assert_eq!(store.list(None).unwrap(), []);
    assert_eq!(store.list_folders(None).unwrap(), []);
    assert_eq!(store.list(Some(&path("out"))).unwrap(), []);
    for name in ["out/secret", "file"] {
        assert_eq!(store.open(&path(name)).unwrap_err().kind(), ErrorKind::NotFound);
        store.delete(&path(name)).unwrap();
        store.put_if_absent(&path(name), b"x").unwrap_err();
    }
    let error = store.put_if_absent(&path("out/new"), b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(entries(outside.path()), ["secret"]);
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"s");
    assert_eq!(entries(folder.path()), ["file", "loop", "out"]);
}

#[test]
fn an_object_cut_short_is_truncated_also_when_already_open() {
    let (folder, store) = local();
    store.put_if_absent(&path("a"), &[7; 100]).unwrap();
    let opened_before = store.open(&path("a")).unwrap();
    let file = fs::OpenOptions::new().write(true).open(folder.path().join("a")).unwrap();
    file.set_len(60).unwrap();
    for reader in [opened_before, store.open(&path("a")).unwrap()] {
        reader.read_exact_at(0, &mut [0; 60]).unwrap();
        let error = reader.read_exact_at(50, &mut [0; 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        let wanted = "20 bytes at offset 50 of an object of 60 bytes";
        assert!(error.message().contains(wanted), "{error}");
    }
}

#[test]
fn a_folder_that_has_gone_is_an_error_and_no_empty_store() {
    let (folder, store) = local();
    store.put_if_absent(&path("a/b"), b"").unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    let unavailable = ErrorKind::Unavailable;
    assert_eq!(store.list(None).unwrap_err().kind(), unavailable);
    assert_eq!(store.list(Some(&path("a"))).unwrap_err().kind(), unavailable);
    assert_eq!(store.list_folders(None).unwrap_err().kind(), unavailable);
    assert_eq!(store.open(&path("a/b")).unwrap_err().kind(), unavailable);
    assert_eq!(store.open(&path("x")).unwrap_err().kind(), unavailable);
    assert_eq!(store.exists(&path("a/b")).unwrap_err().kind(), unavailable);
    assert_eq!(store.delete(&path("a/b")).unwrap_err().kind(), unavailable);
    assert_eq!(store.put_if_absent(&path("a/c"), b"").unwrap_err().kind(), unavailable);
    assert_eq!(store.put_if_absent(&path("c"), b"").unwrap_err().kind(), unavailable);
    assert!(!folder.path().exists(), "a vanished root is not made again");
}

#[test]
fn open_needs_the_folder_and_create_makes_it_with_its_parents() {
    let folder = tempdir().unwrap();
    let root = folder.path().join("x/y/z");
    let error = LocalStore::open(&root).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("x/y/z"), "{error}");
    let store = LocalStore::create(&root).unwrap();
    store.put_if_absent(&path("a"), b"").unwrap();
    assert_eq!(LocalStore::create(&root).unwrap().list(None).unwrap().len(), 1);
    assert_eq!(LocalStore::open(&root).unwrap().list(None).unwrap().len(), 1);
}

#[test]
fn a_file_where_the_folder_should_be_is_named_as_such() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("file"), b"").unwrap();
    for root in ["file", "file/below"] {
        let root = folder.path().join(root);
        for error in [LocalStore::open(&root).unwrap_err(), LocalStore::create(&root).unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
            assert!(error.to_string().contains("is not a folder"), "{error}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_nobody_may_write_to_is_refused_with_its_path() {
    // Not even the superuser can make files here.
    let store = LocalStore::open("/proc/self").unwrap();
    let error = store.put_if_absent(&path("a"), b"").unwrap_err();
    assert!(error.to_string().contains("(a in file:///proc/"), "{error}");
    LocalStore::create("/proc/self/x").unwrap_err();
}

#[test]
fn the_last_deletion_leaves_the_root_itself() {
    let (folder, store) = local();
    store.put_if_absent(&path("a/b/c"), b"").unwrap();
    store.delete(&path("a/b/c")).unwrap();
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[test]
fn writer_tags_follow_the_rules_of_names() {
    let (_folder, store) = local();
    for tag in ["", "a/b", ".x", "a b", &"a".repeat(65)] {
        let error = store.clone().with_writer_tag(tag).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{tag:?}");
    }
    store.with_writer_tag(&"a".repeat(64)).unwrap().put_if_absent(&path("a"), b"").unwrap();
}

#[test]
fn clones_of_a_memory_store_share_contents_and_new_ones_do_not() {
    let store = MemoryStore::new();
    let clone = store.clone();
    store.put_if_absent(&path("a"), b"x").unwrap();
    assert_eq!(clone.read_all(&path("a")).unwrap(), b"x");
    assert_eq!(MemoryStore::new().list(None).unwrap(), []);
}
