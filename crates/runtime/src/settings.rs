//! How a job runs: plain values, checked once.

use std::path::PathBuf;

use millpond_checkpoint::CoordinatorSettings;
use millpond_checkpoint::registry::{RegistrySettings, RestoreMode};
use millpond_state::MaxParallelism;

use crate::error::{JobError, JobErrorKind, Result};
use crate::restart::RestartStrategy;

/// Settings of a job.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// Name of the job: checkpoints carry it, and a job restores its own only.
    pub name: String,
    /// What sort of job it is, for people who look at its checkpoints.
    pub kind: String,
    /// Number of key groups; fixed for the job's life.
    pub max_parallelism: MaxParallelism,
    /// When and how checkpoints are taken.
    pub checkpoints: CoordinatorSettings,
    /// What happens after a failure.
    pub restart: RestartStrategy,
    /// Most records in a batch between subtasks.
    pub batch_records: usize,
    /// Messages that a channel between two subtasks holds before its sender waits.
    pub channel_messages: usize,
    /// Threads that write snapshots.
    pub snapshot_threads: usize,
    /// Whether checkpoints hold the backend's own files, of which only those are written that
    /// storage does not have; without effect on savepoints and on backends without such files.
    pub incremental: bool,
    /// Who may delete the checkpoint that the job is told by name to start from. One in another
    /// storage than the job's is never claimed.
    pub restore_mode: RestoreMode,
    /// Most objects of one subtask's snapshot that are written at once, each by a thread.
    pub upload_threads: usize,
    /// What of the files that checkpoints share is kept for re-use.
    pub shared_files: RegistrySettings,
    /// A folder of the local disk for a second copy of the newest checkpoint's files, which a
    /// restore on the same machine then reads from there. Many jobs may share it.
    pub local_recovery: Option<PathBuf>,
    /// zstd level of snapshots; 0 switches compression off.
    pub compression_level: i32,
}

impl JobSettings {
    /// Settings for a job called `name`, with everything else as most jobs want it.
    #[must_use]
    pub fn new(name: impl Into<String>, max_parallelism: MaxParallelism) -> Self {
        Self {
            name: name.into(),
            kind: "job".to_owned(),
            max_parallelism,
            checkpoints: CoordinatorSettings::default(),
            restart: RestartStrategy::default(),
            batch_records: 1_024,
            channel_messages: 4,
            snapshot_threads: 2,
            incremental: false,
            restore_mode: RestoreMode::Claim,
            upload_threads: 4,
            shared_files: RegistrySettings::default(),
            local_recovery: None,
            compression_level: 1,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let flaw = if self.name.is_empty() {
            "the job has no name"
        } else if self.batch_records == 0 {
            "batch_records must be at least 1"
        } else if self.channel_messages == 0 {
            "channel_messages must be at least 1"
        } else if self.snapshot_threads == 0 {
            "snapshot_threads must be at least 1"
        } else if self.upload_threads == 0 {
            "upload_threads must be at least 1"
        } else {
            return Ok(());
        };
        Err(JobError::new(JobErrorKind::InvalidArgument, flaw))
    }
}
