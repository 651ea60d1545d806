//! One local copy being made.
//!
//! A copy has a temporary name until the whole snapshot is in storage; dropped before, it is
//! removed. Whatever fails here ends the copy and never the snapshot.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millpond_state::CheckpointId;

use super::LocalCopies;

/// A copy of one file, written along with the file.
#[derive(Debug)]
pub(in crate::driver) struct Draft {
    copies: Arc<LocalCopies>,
    checkpoint: CheckpointId,
    temporary: PathBuf,
    /// `None` for a link, which has all bytes.
    file: Option<File>,
}

impl Draft {
    /// Starts an empty copy at `temporary`.
    pub(super) fn create(
        copies: &Arc<LocalCopies>,
        checkpoint: CheckpointId,
        temporary: PathBuf,
    ) -> std::io::Result<Self> {
        let file = Some(File::create_new(&temporary)?);
        Ok(Self { copies: Arc::clone(copies), checkpoint, temporary, file })
    }

    /// A second name for the file `original`, which must never change.
    pub(super) fn link(
        copies: &Arc<LocalCopies>,
        checkpoint: CheckpointId,
        (original, temporary): (&Path, PathBuf),
    ) -> std::io::Result<Self> {
        fs::hard_link(original, &temporary)?;
        Ok(Self { copies: Arc::clone(copies), checkpoint, temporary, file: None })
    }

    /// Adds `bytes`; gives the copy up if that fails. A link has them.
    pub(in crate::driver) fn write(draft: &mut Option<Self>, bytes: &[u8]) {
        if let Some(it) = draft
            && let Some(file) = &mut it.file
            && let Err(error) = file.write_all(bytes)
        {
            it.copies.cannot_write(it.checkpoint, &it.temporary, &error);
            *draft = None;
        }
    }

    /// The file that was copied is in storage, at `place`: the copy is of use from now on.
    pub(in crate::driver) fn publish(self, place: &str) {
        self.copies.publish(self.checkpoint, &self.temporary, place);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After publication there is nothing of this name. What stays is swept at the next start.
        let _ = fs::remove_file(&self.temporary);
    }
}
