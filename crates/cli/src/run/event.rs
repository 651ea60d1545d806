//! What a run tells: one list of events, shown as JSON to machines and as lines to people.

use millpond_runtime::{JobNotice, JobOutcome};
use serde::Serialize;

use crate::table;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Started {
        job: String,
        input: String,
        output: String,
        checkpoint_storage: String,
        parallelism: u32,
        max_parallelism: u32,
        mode: String,
    },
    NothingToRestore,
    SkippedDamaged {
        checkpoint: u64,
        reason: String,
    },
    Restored {
        checkpoint: u64,
        written_by: String,
        completed_at_ms: u64,
        local_bytes: u64,
        storage_bytes: u64,
    },
    LocalCopyDamaged {
        file: String,
        reason: String,
    },
    NoLocalCopies {
        reason: String,
    },
    NoControl {
        reason: String,
    },
    OutputRecovered {
        sink: String,
        committed: u64,
        aborted: u64,
        hidden: u64,
    },
    Running,
    Progress {
        records: u64,
        position: u64,
        per_second: u64,
    },
    CheckpointCompleted {
        checkpoint: u64,
        kind: String,
        duration_ms: u64,
        bytes: u64,
    },
    CheckpointAborted {
        checkpoint: u64,
        reason: String,
    },
    CleanupFailed {
        checkpoint: u64,
        reason: String,
    },
    EndOfInput,
    Restarting {
        reason: String,
        pause_ms: u64,
    },
    Stopping,
    Finished {
        outcome: &'static str,
        records: u64,
        bad_records: u64,
        late_records: u64,
        checkpoints: u64,
        last_checkpoint: Option<u64>,
        restarts: u32,
    },
    Checked {
        lost: u64,
        duplicated: u64,
        wrong: u64,
    },
}

/// How machines are told of an outcome.
pub(crate) fn outcome_name(outcome: JobOutcome) -> &'static str {
    match outcome {
        JobOutcome::AlreadyFinished => "already_finished",
        JobOutcome::Stopped => "stopped",
        _ => "finished",
    }
}

impl Event {
    /// The event that a notice of the job amounts to.
    pub(crate) fn of_notice(notice: &JobNotice<'_>) -> Option<Self> {
        Some(match notice {
            JobNotice::SkippedDamaged { checkpoint, reason } => {
                Self::SkippedDamaged { checkpoint: checkpoint.get(), reason: (*reason).to_owned() }
            }
            JobNotice::NothingToRestore => Self::NothingToRestore,
            JobNotice::Restored { checkpoint, written_by, completed_wall_ms, bytes } => {
                Self::Restored {
                    checkpoint: checkpoint.get(),
                    written_by: (*written_by).to_owned(),
                    completed_at_ms: *completed_wall_ms,
                    local_bytes: bytes.local,
                    storage_bytes: bytes.storage,
                }
            }
            JobNotice::LocalCopyDamaged { file, reason } => {
                let (file, reason) = ((*file).to_owned(), (*reason).to_owned());
                Self::LocalCopyDamaged { file, reason }
            }
            JobNotice::NoLocalCopies { reason } => {
                Self::NoLocalCopies { reason: (*reason).to_owned() }
            }
            JobNotice::OutputRecovered { sink, summary } => Self::OutputRecovered {
                sink: (*sink).to_owned(),
                committed: summary.committed,
                aborted: summary.aborted,
                hidden: summary.hidden,
            },
            JobNotice::Running => Self::Running,
            JobNotice::CheckpointCompleted { checkpoint, kind, duration, bytes } => {
                Self::CheckpointCompleted {
                    checkpoint: checkpoint.get(),
                    kind: kind.to_string(),
                    duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                    bytes: *bytes,
                }
            }
            JobNotice::CheckpointAborted { checkpoint, reason } => {
                Self::CheckpointAborted { checkpoint: checkpoint.get(), reason: reason.to_string() }
            }
            JobNotice::CleanupFailed { checkpoint, reason } => {
                Self::CleanupFailed { checkpoint: checkpoint.get(), reason: (*reason).to_owned() }
            }
            JobNotice::EndOfInput => Self::EndOfInput,
            JobNotice::Restarting { error, pause } => Self::Restarting {
                reason: error.to_string(),
                pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            },
            _ => return None,
        })
    }

    /// A line for people; `None` for what the progress line or the summary shows.
    pub(crate) fn text(&self) -> Option<String> {
        Some(match self {
            Self::Started { job, input, parallelism, checkpoint_storage, .. } => format!(
                "job {job} reads {input} at parallelism {parallelism}, checkpoints in \
                 {checkpoint_storage}"
            ),
            Self::NothingToRestore => {
                "there is no checkpoint yet: starting at the beginning".to_owned()
            }
            Self::SkippedDamaged { checkpoint, reason } => {
                format!("checkpoint {checkpoint} is damaged, taking an older one: {reason}")
            }
            Self::Restored { checkpoint, completed_at_ms, local_bytes, storage_bytes, .. } => {
                format!(
                    "restored checkpoint {checkpoint} of {} UTC, {} from the local disk, {} from \
                     storage; what was read after it is read again",
                    table::time(*completed_at_ms),
                    table::bytes(*local_bytes),
                    table::bytes(*storage_bytes)
                )
            }
            Self::LocalCopyDamaged { file, reason } => {
                format!("the local copy {file} is damaged, reading storage instead: {reason}")
            }
            Self::NoLocalCopies { reason } => {
                format!("checkpoints go on without local copies: {reason}")
            }
            Self::NoControl { reason } => {
                format!("millpond savepoint cannot reach this job: {reason}")
            }
            Self::OutputRecovered { sink, committed, aborted, hidden } => {
                if committed + aborted + hidden == 0 {
                    return None;
                }
                format!(
                    "output {sink}: {committed} files committed, {aborted} leftovers removed, \
                     {hidden} files of after the checkpoint taken back"
                )
            }
            Self::CheckpointAborted { checkpoint, reason } => {
                format!("checkpoint {checkpoint} failed, the job goes on: {reason}")
            }
            Self::CleanupFailed { checkpoint, reason } => {
                format!("files of checkpoint {checkpoint} could not be deleted: {reason}")
            }
            Self::Restarting { reason, pause_ms } => {
                format!("the job failed and restarts in {}: {reason}", table::millis(*pause_ms))
            }
            Self::Stopping => {
                "stopping with a last checkpoint; Ctrl-C again ends at once".to_owned()
            }
            Self::Running
            | Self::Progress { .. }
            | Self::CheckpointCompleted { .. }
            | Self::EndOfInput
            | Self::Finished { .. }
            | Self::Checked { .. } => return None,
        })
    }
}
