//! What an instance keeps in its folder.
//!
//! ```text
//! <instance's folder>/
//!   db-<n>/      a database: the present one, or one that snapshots still read
//!   <what>-<n>/  files on their way from and to storage
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millpond_state::{Result, StateError};
use millpond_state_folder::InstanceFolder;

/// Databases within an instance's folder.
const DATABASE: &str = "db";

/// A folder within an instance's folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct TemporaryFolder {
    path: PathBuf,
    instance: Arc<InstanceFolder>,
}

impl TemporaryFolder {
    /// A path for a folder that something else will make.
    pub(crate) fn reserve(instance: &Arc<InstanceFolder>, what: &str) -> Self {
        Self { path: instance.unused(what), instance: Arc::clone(instance) }
    }

    /// Makes a folder.
    pub(crate) fn create(instance: &Arc<InstanceFolder>, what: &str) -> Result<Self> {
        let folder = Self::reserve(instance, what);
        std::fs::create_dir(&folder.path).map_err(|error| {
            StateError::from_io(format_args!("make {}", folder.path.display()), error)
        })?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // It may never have been made. What stays goes with the instance's folder.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The folder of a database; removed when dropped.
#[derive(Debug)]
pub(crate) struct DatabaseFolder(TemporaryFolder);

impl DatabaseFolder {
    /// A path for a database that RocksDB will make.
    pub(crate) fn reserve(instance: &Arc<InstanceFolder>) -> Self {
        Self(TemporaryFolder::reserve(instance, DATABASE))
    }

    /// Makes a folder for the files of a database.
    pub(crate) fn create(instance: &Arc<InstanceFolder>) -> Result<Self> {
        TemporaryFolder::create(instance, DATABASE).map(Self)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) const fn instance(&self) -> &Arc<InstanceFolder> {
        &self.0.instance
    }
}
