//! One process at a time in a folder.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use millpond_storage::{ErrorKind, FolderLock, LOCK_FILE_NAME};
use tempfile::tempdir;

/// Tells a run of this test binary to be the other process: the folder to lock.
const HOLD: &str = "MILLPOND_STORAGE_TEST_HOLD";

#[test]
fn a_second_handle_is_refused_until_the_first_is_dropped() {
    let folder = tempdir().unwrap();
    let first = FolderLock::acquire(folder.path(), "job flights").unwrap();
    assert_eq!(first.folder(), folder.path().canonicalize().unwrap());
    let error = FolderLock::acquire(folder.path(), "job\nwords").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let line = error.to_string();
    let holder = format!("held by process {}, job flights", std::process::id());
    assert!(line.contains(&holder) && line.contains("(job words)"), "{line}");
    assert!(line.contains("stop that process or choose another folder"), "{line}");
    drop(first);
    FolderLock::acquire(folder.path(), "job words").unwrap();
}

#[test]
fn the_next_owner_replaces_what_the_last_one_wrote() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join(LOCK_FILE_NAME), "process 1, ".to_owned() + &"x".repeat(500))
        .unwrap();
    let _lock = FolderLock::acquire(folder.path(), "short").unwrap();
    let written = fs::read_to_string(folder.path().join(LOCK_FILE_NAME)).unwrap();
    assert_eq!(written, format!("process {}, short\n", std::process::id()));
}

#[test]
fn a_missing_folder_is_not_made() {
    let folder = tempdir().unwrap();
    let error = FolderLock::acquire(folder.path().join("x"), "job").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!folder.path().join("x").exists());
}

#[test]
fn a_lock_of_another_process_ends_when_that_is_killed() {
    let folder = tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["lock::helper_process_that_holds_a_lock", "--exact", "--nocapture"])
        .env(HOLD, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(other.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap().contains("lock held")));

    let error = FolderLock::acquire(folder.path(), "second").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&format!("process {}", other.id())), "{error}");

    other.kill().unwrap();
    other.wait().unwrap();
    FolderLock::acquire(folder.path(), "second").unwrap();
}

#[test]
#[allow(clippy::print_stdout, reason = "tells the parent process that the lock is held")]
fn helper_process_that_holds_a_lock() {
    let Some(folder) = std::env::var_os(HOLD) else {
        return;
    };
    let _lock = FolderLock::acquire(folder, "first").unwrap();
    println!("lock held");
    // Until killed, or until the parent is gone.
    let _ = std::io::stdin().lines().count();
}
