//! Integration tests: the contract of every store, and what only local folders have.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how tests report"
)]

mod contract;
mod ext;
mod local;
mod lock;
mod url;

use std::sync::Arc;

use millpond_storage::{LocalStore, MemoryStore, Store};

contract_tests!(memory_store, || ((), Arc::new(MemoryStore::new()) as Arc<dyn Store>));
contract_tests!(local_store, || {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    (folder, Arc::new(store) as Arc<dyn Store>)
});
