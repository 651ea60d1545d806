//! Folders come, stay with their owner and go.

#![allow(clippy::unwrap_used, reason = "tests stop on errors")]

use millpond_state::MaxParallelism;

use super::*;

fn context(operator: &str) -> BackendContext {
    let max = MaxParallelism::new(128).unwrap();
    BackendContext::new(operator, max.full_range(), max)
}

fn folders(path: &Path) -> Vec<String> {
    let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name != STATE_LOCK);
    names.sort();
    names
}

#[test]
fn instances_of_one_operator_have_folders_of_their_own_until_they_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateFolder::create(&dir.path().join("a/b")).unwrap();
    let path = dir.path().join("a/b");
    let first = state.create_instance(&context("count per key/1")).unwrap();
    let second = state.create_instance(&context("count per key/1")).unwrap();
    let expected = ["count_per_key_1-0-127.0", "count_per_key_1-0-127.1"];
    assert_eq!(folders(&path), expected);
    drop(first);
    assert_eq!(folders(&path), expected[1..]);
    drop(second);
    assert!(folders(&path).is_empty());
}

#[test]
fn what_nobody_holds_is_removed_and_what_is_held_or_foreign_stays() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateFolder::create(dir.path()).unwrap();
    let held = state.create_instance(&context("held")).unwrap();
    std::fs::create_dir_all(dir.path().join("left-0-127.0/db")).unwrap();
    std::fs::write(dir.path().join("left-0-127.0").join(INSTANCE_LOCK), "").unwrap();
    std::fs::create_dir(dir.path().join("foreign")).unwrap();
    std::fs::write(dir.path().join("foreign.txt"), "").unwrap();
    StateFolder::create(dir.path()).unwrap();
    assert_eq!(folders(dir.path()), ["foreign", "foreign.txt", "held-0-127.0"]);
    drop(held);
}

#[test]
fn a_state_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = StateFolder::create(&file.join("below")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains("file/below"), "{error}");
}

#[test]
fn places_in_a_folder_are_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateFolder::create(dir.path()).unwrap();
    let instance = state.create_instance(&context("count")).unwrap();
    let places = [instance.unused("db"), instance.unused("db"), instance.unused("fetched")];
    for (index, place) in places.iter().enumerate() {
        assert!(!places[..index].contains(place), "{places:?}");
        assert_eq!(place.parent(), instance.file("x").parent());
        assert!(!place.exists());
    }
}

#[cfg(unix)]
#[test]
fn no_other_user_may_enter_an_instances_folder() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let state = StateFolder::create(dir.path()).unwrap();
    let instance = state.create_instance(&context("count")).unwrap();
    let folder = instance.file("x").parent().unwrap().to_path_buf();
    let mode = std::fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}
