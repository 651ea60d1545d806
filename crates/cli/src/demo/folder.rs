//! Where the demonstration works. A folder is only ever emptied if an earlier demonstration made
//! it, which a marker in it says.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use millpond_storage::FolderLock;

use crate::error::{CliError, Result};

const MARKER: &str = "_millpond_demo";

/// A folder to work in, held against other demonstrations.
#[derive(Debug)]
pub(super) struct Workplace {
    folder: PathBuf,
    _lock: FolderLock,
}

impl Workplace {
    /// Takes `folder`, or the usual one, and removes what an earlier demonstration left in it.
    ///
    /// # Errors
    /// If it holds anything else, is in use, or cannot be written.
    pub(super) fn open(folder: Option<&Path>) -> Result<Self> {
        let folder =
            folder.map_or_else(|| std::env::temp_dir().join("millpond-demo"), Path::to_path_buf);
        let failed = |error| {
            CliError::from(error).context(format!("cannot use the folder {}", folder.display()))
        };
        fs::create_dir_all(&folder).map_err(failed)?;
        let marker = folder.join(MARKER);
        let ours = marker.try_exists().map_err(failed)?;
        if !ours && fs::read_dir(&folder).map_err(failed)?.next().is_some() {
            return Err(CliError::new(format!(
                "{} holds something else: give a new or empty folder with --output",
                folder.display()
            )));
        }
        let lock = FolderLock::acquire(&folder, "millpond demo")?;
        fs::write(&marker, "A demonstration of millpond may empty this folder.\n")
            .map_err(failed)?;
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().as_encoded_bytes().starts_with(b"run-") {
                remove(&entry.path())?;
            }
        }
        Ok(Self { folder, _lock: lock })
    }

    /// The folder of a round.
    pub(super) fn round(&self, round: u32) -> PathBuf {
        self.folder.join(format!("run-{round}"))
    }
}

/// Removes the folder of a round.
///
/// # Errors
/// If something in it cannot be removed.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(CliError::from(error).context(format!("cannot remove {}", folder.display())))
        }
        _ => Ok(()),
    }
}
