//! Integration tests: the contract of every store, and what only local folders have.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how tests report"
)]

mod ext;
mod local;
mod lock;
mod url;

use millpond_storage::StorePath;

mod memory_store {
    millpond_testkit::storage_conformance!(((), millpond_storage::MemoryStore::new()));
}

mod local_store {
    millpond_testkit::storage_conformance!({
        let folder = tempfile::tempdir().unwrap();
        let store = millpond_storage::LocalStore::open(folder.path()).unwrap();
        (folder, store)
    });
}

fn path(name: &str) -> StorePath {
    StorePath::new(name).unwrap()
}
