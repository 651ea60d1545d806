//! Places to work in.

use std::path::Path;
use std::sync::Arc;

use millpond_bench::snapshot::CheckpointStore;
use millpond_storage::{LocalStore, MemoryStore};
use tempfile::TempDir;

pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A store in a folder, whose disk is a floor.
    pub(crate) fn local(&self) -> CheckpointStore {
        let store = LocalStore::create(self.path().join("checkpoints")).unwrap();
        CheckpointStore { store: Arc::new(store), folder: Some(self.path().to_path_buf()) }
    }
}

pub(crate) fn in_memory() -> CheckpointStore {
    CheckpointStore { store: Arc::new(MemoryStore::new()), folder: None }
}
