//! Which checkpoints a URL means.

use millpond_checkpoint::driver::{CheckpointFolder, CheckpointStorage};
use millpond_checkpoint::offline::OfflineCheckpoint;
use millpond_checkpoint::{CheckpointError, ErrorKind};
use millpond_snapshot::CheckpointMetadata;
use millpond_state::CheckpointId;
use millpond_storage::{StorePath, open_url};

use crate::args::OriginalArgs;
use crate::error::{CliError, Result};

/// A checkpoint that was asked for.
#[derive(Debug)]
pub(super) struct Found {
    /// Its number, as far as that is known.
    pub(super) id: Option<CheckpointId>,
    pub(super) folder: CheckpointFolder,
    pub(super) metadata: Result<CheckpointMetadata, CheckpointError>,
}

impl Found {
    /// What messages call it.
    pub(super) fn name(&self) -> String {
        self.id.map_or_else(|| self.folder.url(), |id| format!("checkpoint {id}"))
    }

    /// Its metadata.
    ///
    /// # Errors
    /// Why that cannot be read.
    pub(super) fn into_metadata(self) -> Result<(CheckpointFolder, CheckpointMetadata)> {
        let name = self.name();
        match self.metadata {
            Ok(metadata) => Ok((self.folder, metadata)),
            Err(error) => Err(CliError::from(error).context(name)),
        }
    }
}

/// The checkpoints at `url`, oldest first: a storage's, or the one whose folder it is. With `id`,
/// only that one.
///
/// # Errors
/// If there are none.
pub(super) fn find(url: &str, id: Option<u64>) -> Result<Vec<Found>> {
    let store = open_url(url, false)
        .map_err(|error| CliError::from(error).context(format!("cannot open {url}")))?;
    let folder = CheckpointFolder::new(store.clone(), None);
    let mut found = match folder.load() {
        Err(error) if error.kind() == ErrorKind::NotFound => CheckpointStorage::new(store)
            .list()?
            .into_iter()
            .map(|it| Found { id: Some(it.id), folder: it.folder, metadata: it.metadata })
            .collect(),
        metadata => {
            let id = metadata.as_ref().ok().map(|metadata| metadata.checkpoint);
            // Files that it shares with others are in the storage around it.
            let folder = within_storage(url).unwrap_or(folder);
            vec![Found { id, folder, metadata }]
        }
    };
    if found.is_empty() {
        return Err(CliError::new(format!(
            "there is no checkpoint in {url}: name a checkpoint storage (of a run with --output \
             DIR usually DIR/checkpoints) or the folder of one checkpoint (chk-N)"
        )));
    }
    if let Some(id) = id {
        let there: Vec<String> =
            found.iter().filter_map(|it| it.id).map(|it| it.to_string()).collect();
        found.retain(|it| it.id == Some(CheckpointId::new(id)));
        if found.is_empty() {
            let there = there.join(", ");
            return Err(CliError::new(format!(
                "there is no checkpoint {id} in {url}; there are: {there}"
            )));
        }
    }
    Ok(found)
}

/// The folder `path` as a part of its checkpoint storage, which has the files that it shares with
/// other checkpoints and may be a job's own.
///
/// # Errors
/// If there is no such storage or the folder's name is none that a storage has.
pub(crate) fn within_storage(path: &str) -> Result<CheckpointFolder> {
    let (storage, name) = split_folder(path);
    let store = open_url(storage, false)?;
    Ok(CheckpointFolder::new(store, Some(StorePath::new(name)?)))
}

/// The folder that holds `path`, and its name there.
fn split_folder(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((storage, name)) => (storage, name),
        None => (".", path),
    }
}

/// The newest of them.
///
/// # Errors
/// As [`find`].
pub(super) fn newest(url: &str, id: Option<u64>) -> Result<Found> {
    find(url, id)?.pop().ok_or_else(|| CliError::new(format!("there is no checkpoint in {url}")))
}

/// The checkpoint that `args` mean, to be read or copied.
///
/// # Errors
/// As [`find`], and if its metadata cannot be read.
pub(super) fn original(args: &OriginalArgs) -> Result<OfflineCheckpoint> {
    let (folder, _) = newest(&args.path, args.id)?.into_metadata()?;
    Ok(OfflineCheckpoint::open(folder)?)
}
