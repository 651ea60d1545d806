//! Settings of the coordinator: plain values a user tunes, checked once.
//!
//! [`CoordinatorSettings`] is what a file or a command line gives; only [`ValidSettings`], made by
//! [`CoordinatorSettings::validate`], reaches the state machine, so that no transition has to
//! doubt them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{CheckpointError, ErrorKind, Result};

/// Most checkpoints that may be in flight at once.
pub const MAX_CONCURRENT_LIMIT: u32 = 64;
/// Most user requests that may be asked to wait.
pub const QUEUED_REQUESTS_LIMIT: u32 = 4_096;
/// Most finished checkpoints whose statistics may be kept.
pub const HISTORY_LIMIT: u32 = 10_000;
/// Longest interval, timeout or pause: 365 days.
pub const DURATION_MS_LIMIT: u64 = 365 * 24 * 3_600 * 1_000;

/// What a barrier guarantees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CheckpointMode {
    /// Subtasks align barriers: each record is in the state exactly once after a restore.
    #[default]
    ExactlyOnce,
    /// Subtasks do not wait for alignment: lower latency, records may count twice after a restore.
    AtLeastOnce,
}

/// When and how checkpoints are taken. All values may be changed while the job runs, with
/// [`Event::SettingsChanged`](super::Event::SettingsChanged).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoordinatorSettings {
    /// Time between the triggers of two periodic checkpoints, in milliseconds, at least 1. `None`:
    /// only user requests and the final checkpoint.
    pub interval_ms: Option<u64>,
    /// A checkpoint not complete (stored) so long after its trigger is aborted, in milliseconds,
    /// at least 1. A change holds for checkpoints triggered from then on.
    pub timeout_ms: u64,
    /// Shortest time from the end of a checkpoint, however it ended, to the next periodic trigger,
    /// in milliseconds. Above 0 it implies one checkpoint at a time, whatever
    /// [`Self::max_concurrent`] says: a pause after a checkpoint has no meaning while another one
    /// is on its way. Requests and the final checkpoint do not wait for it.
    pub min_pause_ms: u64,
    /// Most checkpoints of any kind in flight (collecting acknowledgements or being stored), 1 to
    /// [`MAX_CONCURRENT_LIMIT`].
    pub max_concurrent: u32,
    /// How many failed checkpoints in a row the job endures; one more fails the job. `None`:
    /// endures all.
    pub tolerable_consecutive_failures: Option<u32>,
    /// How many completed checkpoints to retain, at least 1. Savepoints do not count.
    pub retained_max: u32,
    /// What barriers guarantee.
    pub mode: CheckpointMode,
    /// Most user requests that wait for their turn, 1 to [`QUEUED_REQUESTS_LIMIT`].
    pub queued_requests_max: u32,
    /// Whether checkpoints may be taken when some subtasks have finished already.
    pub allow_finished_subtasks: bool,
    /// Whether the end of all sources takes a final checkpoint.
    pub final_checkpoint: bool,
    /// Time from the failure of a final checkpoint to its next attempt, in milliseconds, at least
    /// 1: a storage that fails at once must not be asked in a tight loop.
    pub final_retry_pause_ms: u64,
    /// Whether completed checkpoints outlive a job that was cancelled.
    pub retain_on_cancel: bool,
    /// Whether completed checkpoints outlive a job that failed for good.
    pub retain_on_failure: bool,
    /// Whether completed checkpoints outlive a job that finished.
    pub retain_on_finish: bool,
    /// Of how many ended checkpoints statistics are kept, at most [`HISTORY_LIMIT`].
    pub history_max: u32,
}

impl Default for CoordinatorSettings {
    fn default() -> Self {
        Self {
            interval_ms: Some(10_000),
            timeout_ms: 10 * 60 * 1_000,
            min_pause_ms: 0,
            max_concurrent: 1,
            tolerable_consecutive_failures: Some(0),
            retained_max: 1,
            mode: CheckpointMode::ExactlyOnce,
            queued_requests_max: 1_000,
            allow_finished_subtasks: true,
            final_checkpoint: true,
            final_retry_pause_ms: 1_000,
            retain_on_cancel: true,
            retain_on_failure: true,
            retain_on_finish: true,
            history_max: 100,
        }
    }
}

impl CoordinatorSettings {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] naming the first setting out of its range.
    pub fn validate(self) -> Result<ValidSettings> {
        check("interval_ms", self.interval_ms.unwrap_or(1), 1, DURATION_MS_LIMIT)?;
        check("timeout_ms", self.timeout_ms, 1, DURATION_MS_LIMIT)?;
        check("min_pause_ms", self.min_pause_ms, 0, DURATION_MS_LIMIT)?;
        check("final_retry_pause_ms", self.final_retry_pause_ms, 1, DURATION_MS_LIMIT)?;
        check("max_concurrent", self.max_concurrent.into(), 1, MAX_CONCURRENT_LIMIT.into())?;
        check("retained_max", self.retained_max.into(), 1, u32::MAX.into())?;
        check(
            "queued_requests_max",
            self.queued_requests_max.into(),
            1,
            QUEUED_REQUESTS_LIMIT.into(),
        )?;
        check("history_max", self.history_max.into(), 0, HISTORY_LIMIT.into())?;
        Ok(ValidSettings(self))
    }
}

fn check(name: &str, value: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(CheckpointError::new(
        ErrorKind::InvalidArgument,
        format!("setting {name} must be {least} to {most}, not {value}"),
    ))
}

/// Settings that passed [`CoordinatorSettings::validate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidSettings(CoordinatorSettings);

impl ValidSettings {
    /// The plain values.
    #[must_use]
    pub fn get(&self) -> &CoordinatorSettings {
        &self.0
    }

    /// Time between periodic triggers, if there are any.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.0.interval_ms.map(Duration::from_millis)
    }

    /// Time from trigger to abort.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.0.timeout_ms)
    }

    /// Time from the end of a checkpoint to the next periodic one.
    #[must_use]
    pub fn min_pause(&self) -> Duration {
        Duration::from_millis(self.0.min_pause_ms)
    }

    /// Time from a failed final checkpoint to the next attempt.
    #[must_use]
    pub fn final_retry_pause(&self) -> Duration {
        Duration::from_millis(self.0.final_retry_pause_ms)
    }

    /// Most checkpoints in flight, with the one at a time that a minimum pause implies.
    #[must_use]
    pub fn effective_max_concurrent(&self) -> usize {
        if self.0.min_pause_ms > 0 { 1 } else { self.0.max_concurrent as usize }
    }
}
