//! Where a benchmark keeps its files: a folder of its own, which goes with it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{CliError, Result};

/// A folder for one process. Removed when dropped.
#[derive(Debug)]
pub(super) struct Workplace(PathBuf);

impl Workplace {
    /// Makes a folder below `parent`, or below the one for temporary files.
    ///
    /// # Errors
    /// If that cannot be.
    pub(super) fn create(parent: Option<&Path>) -> Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let failed = |error| {
            CliError::from(error).context(format!("cannot use the folder {}", parent.display()))
        };
        fs::create_dir_all(&parent).map_err(failed)?;
        let folder = parent.join(format!("millpond-bench-{}", std::process::id()));
        // What a killed process of the same number left there.
        if folder.try_exists().map_err(failed)? {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        fs::create_dir(&folder).map_err(failed)?;
        Ok(Self(folder))
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
