//! Whose the output folder and the checkpoint storage are, and that nobody else uses them.
//!
//! Both hold an object `_job` that says which job and which input they belong to. A run that would
//! mix its results with another's is refused before anything is changed, with the way out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millpond_checkpoint::driver::{CheckpointStorage, FoundCheckpoint};
use millpond_storage::{FolderLock, LocalStore, Store, open_url};
use serde::{Deserialize, Serialize};

use super::input::{Identity, JobInput};
use crate::error::{CliError, Result};

/// What stands in `_job`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    job: String,
    /// For people: the input may be moved.
    input: String,
    /// The input's first bytes: how many, and their hash. None for standard input.
    input_bytes: Option<u64>,
    input_hash: Option<String>,
}

/// The folders of a run, locked.
#[derive(Debug)]
pub(crate) struct Folders {
    pub(crate) storage: Arc<CheckpointStorage>,
    /// Checkpoints that are there already, oldest first.
    pub(crate) found: Vec<FoundCheckpoint>,
    /// The folder that they are in; `None` if they end with the process.
    pub(crate) checkpoints: Option<PathBuf>,
    _locks: Vec<FolderLock>,
}

/// What a run wants to use.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) job: &'a str,
    pub(crate) input: &'a dyn JobInput,
    pub(crate) output: &'a Path,
    /// URL or folder of the checkpoint storage; `None` for the usual place.
    pub(crate) storage: Option<&'a str>,
    /// Folders of the job's sinks within the output.
    pub(crate) sinks: &'a [&'a str],
    /// Whether the run goes on from a checkpoint.
    pub(crate) restore: bool,
}

impl Folders {
    /// Locks and claims the folders, after checking that they are free or ours.
    ///
    /// # Errors
    /// If another process holds one, if one belongs to another run, or if one cannot be used.
    pub(crate) fn prepare(wanted: &Wanted<'_>) -> Result<Self> {
        let purpose = format!("output of job {}", wanted.job);
        let output = LocalStore::create(wanted.output)
            .map_err(|error| CliError::from(error).context("cannot use the output folder"))?;
        let mut locks = vec![lock(&output, &purpose, "--output")?];
        let (store, local) = open_storage(wanted)?;
        if let Some(local) = &local {
            if local.root() == output.root() {
                return Err(CliError::Usage(
                    "--checkpoint-storage and --output are the same folder: give each its own"
                        .to_owned(),
                ));
            }
            let purpose = format!("checkpoints of job {}", wanted.job);
            locks.push(lock(local, &purpose, "--checkpoint-storage")?);
        }
        let storage = CheckpointStorage::new(store);
        let found = storage.list()?;
        // The owner's text is an object like any other: `claim` and `owner` work on any store.
        let outputs = CheckpointStorage::new(Arc::new(output.clone()));
        check_owner(wanted, &outputs, "the output folder", "--output")?;
        check_owner(wanted, &storage, "the checkpoint storage", "--checkpoint-storage")?;
        check_unused(wanted, &found, &storage)?;
        let owner = owner(wanted)?;
        for (claimed, lock) in [(Some(&output), locks.first()), (local.as_ref(), locks.get(1))] {
            if let (Some(store), Some(lock)) = (claimed, lock) {
                store.sweep_temporaries(lock)?;
            }
        }
        for claimed in [&outputs, &storage] {
            claimed.claim(&owner).map_err(|error| {
                let what = format!("cannot write to {}", claimed.url());
                CliError::from(error).context(what)
            })?;
        }
        let checkpoints = local.map(|local| local.root().to_owned());
        Ok(Self { storage: Arc::new(storage), found, checkpoints, _locks: locks })
    }
}

fn lock(store: &LocalStore, purpose: &str, option: &str) -> Result<FolderLock> {
    FolderLock::acquire(store.root(), purpose)
        .map_err(|error| CliError::from(error).context(format!("{option} cannot be used")))
}

/// The checkpoint storage, and the folder it is if it is one.
fn open_storage(wanted: &Wanted<'_>) -> Result<(Arc<dyn Store>, Option<LocalStore>)> {
    let failed = |error| {
        CliError::from(error).context("cannot use the checkpoint storage (--checkpoint-storage)")
    };
    let local = |folder: PathBuf| {
        let store = LocalStore::create(folder).map_err(failed)?;
        Ok((Arc::new(store.clone()) as Arc<dyn Store>, Some(store)))
    };
    match wanted.storage {
        None => local(wanted.output.join("checkpoints")),
        Some(url) if !url.is_empty() && !url.contains("://") => local(PathBuf::from(url)),
        Some(url) => {
            let store = open_url(url, true).map_err(failed)?;
            match file_folder(store.url()) {
                Some(folder) => local(folder),
                None => Ok((store, None)),
            }
        }
    }
}

/// The folder of a `file://` URL as stores write it.
pub(crate) fn file_folder(url: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = url.strip_prefix("file://")?.bytes();
    let mut folder = Vec::new();
    while let Some(byte) = bytes.next() {
        folder.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(folder)))
}

fn owner(wanted: &Wanted<'_>) -> Result<String> {
    let identity = wanted.input.identity(None)?;
    let owner = Owner {
        job: wanted.job.to_owned(),
        input: wanted.input.name(),
        input_bytes: identity.map(|it| it.bytes),
        input_hash: identity.map(|it| format!("{:016x}", it.hash)),
    };
    serde_json::to_string(&owner).map_err(|error| CliError::new(error.to_string()))
}

/// Refuses a place that another job, or this job over another input, has claimed.
fn check_owner(
    wanted: &Wanted<'_>,
    place: &CheckpointStorage,
    what: &str,
    option: &str,
) -> Result<()> {
    let Some(text) = place.owner()? else { return Ok(()) };
    let way_out = format!("choose another {option}, or delete that folder");
    let place = place.url();
    let Ok(owner) = serde_json::from_str::<Owner>(&text) else {
        let message = format!("{what} {place} is marked as belonging to something else ({text:?})");
        return Err(CliError::new(message).advice(&way_out));
    };
    if owner.job != wanted.job {
        let message = format!("{what} {place} belongs to job {}, not {}", owner.job, wanted.job);
        return Err(CliError::new(message).advice(&way_out));
    }
    let now = wanted.input.identity(owner.input_bytes)?;
    let same = match (now, owner.input_bytes, &owner.input_hash) {
        (Some(Identity { bytes, hash }), Some(stored_bytes), Some(stored_hash)) => {
            bytes == stored_bytes && format!("{hash:016x}") == *stored_hash
        }
        (None, None, None) => true,
        _ => false,
    };
    if same {
        return Ok(());
    }
    let message = format!(
        "{what} {place} belongs to a run over another input ({}), not {}",
        owner.input,
        wanted.input.name()
    );
    Err(CliError::new(message).advice(&way_out))
}

/// Without a restore, nothing may be there that the run would mix with.
fn check_unused(
    wanted: &Wanted<'_>,
    found: &[FoundCheckpoint],
    storage: &CheckpointStorage,
) -> Result<()> {
    if wanted.restore {
        return Ok(());
    }
    let way_out = "go on from its last checkpoint with --restore latest, or choose other folders, \
                   or delete these";
    if !found.is_empty() {
        let (count, url) = (found.len(), storage.url());
        let message = format!("{url} already holds {count} checkpoints of an earlier run");
        return Err(CliError::new(message).advice(way_out));
    }
    for sink in wanted.sinks {
        let folder = wanted.output.join(sink);
        if has_output(&folder)? {
            let message = format!("{} already holds output of an earlier run", folder.display());
            return Err(CliError::new(message).advice(way_out));
        }
    }
    Ok(())
}

/// Whether a folder has anything that consumers see.
fn has_output(folder: &Path) -> Result<bool> {
    let failed = |error| CliError::from(error).context(folder.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        if !entry.map_err(failed)?.file_name().as_encoded_bytes().starts_with(b".") {
            return Ok(true);
        }
    }
    Ok(false)
}
