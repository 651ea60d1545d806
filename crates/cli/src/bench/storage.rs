//! The checkpoint storage of a benchmark: a place of its own, which goes with it.

use std::path::PathBuf;
use std::sync::Arc;

use millpond_bench::snapshot::CheckpointStore;
use millpond_checkpoint::driver::CheckpointStorage;
use millpond_storage::{LocalStore, MemoryStore, Store, open_url};

use super::workplace::Workplace;
use crate::args::BenchStorageArgs;
use crate::error::{CliError, Result};
use crate::run::file_folder;

/// Makes empty stores.
pub(super) enum Storage {
    Memory,
    Folder(Workplace),
}

impl Storage {
    /// The storage that `args` ask for.
    ///
    /// # Errors
    /// If it cannot be used.
    pub(super) fn open(args: &BenchStorageArgs) -> Result<Self> {
        let Some(url) = args.checkpoint_storage.as_deref() else {
            return Ok(Self::Folder(Workplace::create(None)?));
        };
        let context = "cannot use the checkpoint storage (--checkpoint-storage)";
        let folder = if url.contains("://") || url.is_empty() {
            let store = open_url(url, true).map_err(|it| CliError::from(it).context(context))?;
            file_folder(store.url())
        } else {
            Some(PathBuf::from(url))
        };
        match folder {
            Some(folder) => {
                let place = Workplace::create(Some(&folder));
                Ok(Self::Folder(place.map_err(|error| error.context(context))?))
            }
            None => Ok(Self::Memory),
        }
    }

    /// An empty store called `name`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn store(&self, name: &str) -> Result<CheckpointStore> {
        match self {
            Self::Memory => {
                let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
                Ok(CheckpointStore { store, folder: None })
            }
            Self::Folder(place) => {
                let folder = place.path().join(name);
                let store: Arc<dyn Store> = Arc::new(LocalStore::create(&folder)?);
                Ok(CheckpointStore { store, folder: Some(place.path().to_path_buf()) })
            }
        }
    }

    /// Removes the store called `name`.
    pub(super) fn remove(&self, name: &str) {
        if let Self::Folder(place) = self {
            let _ = std::fs::remove_dir_all(place.path().join(name));
        }
    }

    /// An empty storage called `name`.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub(super) fn checkpoints(&self, name: &str) -> Result<CheckpointStorage> {
        Ok(CheckpointStorage::new(self.store(name)?.store))
    }
}

/// The arguments that name the storage to a process that measures.
pub(super) fn child_args(args: &BenchStorageArgs) -> Vec<String> {
    let url = args.checkpoint_storage.iter();
    url.flat_map(|url| ["--checkpoint-storage".to_owned(), url.clone()]).collect()
}
