//! Stores by URL.

use millpond_storage::{ErrorKind, Store, StoreExt, open_url};
use tempfile::tempdir;

use crate::path;

#[test]
fn a_file_url_and_a_plain_path_open_the_same_store() {
    let folder = tempdir().unwrap();
    let plain = folder.path().join("with space");
    let plain = plain.to_str().unwrap();
    let store = open_url(plain, true).unwrap();
    store.put_if_absent(&path("a"), b"x").unwrap();
    assert!(store.url().starts_with("file:///") && store.url().ends_with("/with%20space"));
    assert_eq!(open_url(store.url(), false).unwrap().read_all(&path("a")).unwrap(), b"x");
    let upper = store.url().replacen("file", "FILE", 1);
    assert_eq!(open_url(&upper, false).unwrap().url(), store.url());
}

#[test]
fn a_missing_folder_is_made_only_when_asked() {
    let folder = tempdir().unwrap();
    let url = format!("file://{}/x/y", folder.path().display());
    assert_eq!(open_url(&url, false).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!folder.path().join("x").exists());
    open_url(&url, true).unwrap();
    open_url(&url, false).unwrap();
}

#[test]
fn a_relative_path_stays_where_the_current_folder_was() {
    let here = std::env::current_dir().unwrap();
    let store = open_url(".", false).unwrap();
    assert_eq!(store.url(), format!("file://{}", here.canonicalize().unwrap().display()));
}

#[test]
fn each_memory_url_is_a_new_empty_store() {
    let store = open_url("memory://", false).unwrap();
    assert_eq!(store.url(), "memory://");
    store.put_if_absent(&path("a"), b"x").unwrap();
    assert!(open_url("memory://", true).unwrap().list(None).unwrap().is_empty());
}
