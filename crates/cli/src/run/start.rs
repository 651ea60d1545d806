//! Where a run starts, and with how many key groups.

use millpond_checkpoint::driver::{CheckpointFolder, CheckpointStorage};
use millpond_runtime::StartFrom;
use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::FileHandle;
use millpond_state::MaxParallelism;
use millpond_storage::open_url;

use super::DEAD_LETTER;
use super::folders::Folders;
use crate::args::RestoreFrom;
use crate::checkpoint::within_storage;
use crate::error::{CliError, Result};

/// Key groups of a new job.
const MAX_PARALLELISM_DEFAULT: u32 = 128;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) job: &'a str,
    pub(crate) restore: Option<&'a RestoreFrom>,
    pub(crate) max_parallelism: Option<u32>,
    /// Whether bad records go to a file.
    pub(crate) dead_letter: bool,
}

/// A start that fits.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) from: StartFrom,
    pub(crate) max_parallelism: MaxParallelism,
    /// Whether the run begins with nothing before it.
    pub(crate) fresh: bool,
}

/// Finds the checkpoint that was asked for and checks that it fits the job.
///
/// # Errors
/// If it is not there, damaged, or of another job.
pub(crate) fn plan_start(asked: &Asked<'_>, folders: &Folders) -> Result<Start> {
    let (from, metadata) = match asked.restore {
        None => (StartFrom::Beginning, None),
        Some(RestoreFrom::Latest) => {
            // The runtime looks closer; here the newest that can be read decides about key groups.
            let newest = folders.found.iter().rev().find_map(|it| it.metadata.as_ref().ok());
            (StartFrom::Latest, newest.cloned())
        }
        Some(RestoreFrom::Path(path)) => {
            let (folder, metadata) = open_checkpoint(path)?;
            (StartFrom::Folder(folder), Some(metadata))
        }
    };
    let fresh = asked.restore.is_none();
    if let Some(metadata) = &metadata {
        check_fits(asked, metadata)?;
    }
    let stored = metadata.map(|metadata| metadata.max_parallelism);
    let max_parallelism = match (stored, asked.max_parallelism) {
        (Some(stored), _) => stored,
        (None, asked) => MaxParallelism::new(asked.unwrap_or(MAX_PARALLELISM_DEFAULT))?,
    };
    Ok(Start { from, max_parallelism, fresh })
}

fn open_checkpoint(path: &str) -> Result<(CheckpointFolder, CheckpointMetadata)> {
    let context = || format!("cannot restore from {path}");
    let store = open_url(path, false).map_err(|error| CliError::from(error).context(context()))?;
    let folder = CheckpointFolder::new(store.clone(), None);
    match folder.load() {
        Ok(metadata) => match within_storage(path) {
            Ok(folder) => Ok((folder, metadata)),
            Err(error) if metadata.files().any(FileHandle::is_shared) => {
                Err(error.context(context()))
            }
            // What shares nothing may lie anywhere.
            Err(_) => Ok((folder, metadata)),
        },
        Err(error) if error.kind() == millpond_checkpoint::ErrorKind::NotFound => {
            let there = CheckpointStorage::new(store).list().unwrap_or_default();
            let names: Vec<String> = there.iter().map(|it| format!("chk-{}", it.id)).collect();
            let message = if names.is_empty() {
                format!("{path} is no checkpoint; give latest or the folder of one (chk-N)")
            } else {
                format!("{path} holds several checkpoints; give one of {}", names.join(", "))
            };
            Err(CliError::new(message))
        }
        Err(error) => {
            let way_out =
                "give another checkpoint, or --restore latest to take the newest whole one";
            Err(CliError::from(error).context(context()).advice(way_out))
        }
    }
}

fn check_fits(asked: &Asked<'_>, metadata: &CheckpointMetadata) -> Result<()> {
    let checkpoint = metadata.checkpoint;
    if metadata.job_name != asked.job {
        return Err(CliError::new(format!(
            "checkpoint {checkpoint} belongs to job {}, not {}: restore a checkpoint of this job",
            metadata.job_name, asked.job
        )));
    }
    let stored = metadata.max_parallelism.get();
    if let Some(max_parallelism) = asked.max_parallelism
        && max_parallelism != stored
    {
        return Err(CliError::new(format!(
            "--max-parallelism {max_parallelism} does not fit checkpoint {checkpoint}, which has \
             {stored}; it is fixed for a job's life: leave the option out or start anew in other \
             folders"
        )));
    }
    if metadata.vertex(DEAD_LETTER).is_some() && !asked.dead_letter {
        return Err(CliError::new(format!(
            "checkpoint {checkpoint} was taken with a dead-letter file: restore it with \
             --on-bad-record dead-letter FILE, naming the same file"
        )));
    }
    Ok(())
}
