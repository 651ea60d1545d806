//! The asynchronous part of a subtask's snapshot: writes keyed state, makes prepared output
//! durable, and acknowledges.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millpond_checkpoint::driver::{SubtaskSnapshot, WriteKeyedState};
use millpond_checkpoint::{DeclineReason, SubtaskMetrics};
use millpond_state::{CancelFlag, CheckpointId, OperatorStatePart, Redistribution};

use super::control::JobEvent;
use super::env::SubtaskEnv;
use super::input::{FrozenState, KeyedSnapshot};
use crate::error::Result;
use crate::sink::PreCommit;
use crate::threads::catch;

/// What a subtask acknowledges with.
pub(crate) type SubtaskPayload = SubtaskSnapshot;

/// The cancel flags of checkpoints under way, shared by the subtasks and the job.
#[derive(Debug, Default)]
pub(crate) struct CancelBoard {
    flags: Mutex<BTreeMap<CheckpointId, CancelFlag>>,
}

impl CancelBoard {
    /// The flag of a checkpoint.
    pub(crate) fn flag(&self, checkpoint: CheckpointId) -> CancelFlag {
        let mut flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        flags.entry(checkpoint).or_default().clone()
    }

    /// Cancels a checkpoint's snapshots.
    pub(crate) fn cancel(&self, checkpoint: CheckpointId) {
        self.flag(checkpoint).cancel();
    }

    /// Cancels everything under way.
    pub(crate) fn cancel_all(&self) {
        let flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        flags.values().for_each(CancelFlag::cancel);
    }

    /// Forgets checkpoints up to this one, which is decided.
    pub(crate) fn forget(&self, checkpoint: CheckpointId) {
        let mut flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        *flags = flags.split_off(&checkpoint.next());
    }
}

/// What the synchronous part hands over.
pub(crate) struct Frozen {
    pub(crate) checkpoint: CheckpointId,
    /// The state of the operator or source.
    pub(crate) state: FrozenState,
    /// Operator-state lists that come out of preparing output.
    pub(crate) pre_commits: Vec<(String, PreCommit)>,
    pub(crate) at_end: bool,
    pub(crate) sync: Duration,
    pub(crate) align: Duration,
}

impl SubtaskEnv {
    /// Queues the asynchronous part. It ends in an acknowledgement, a decline, or, if prepared
    /// output may not be durable, in the failure of the subtask.
    pub(crate) fn submit(&self, frozen: Frozen) {
        let env = self.clone();
        let checkpoint = frozen.checkpoint;
        let refused = self.pool.submit(Box::new(move || env.run_asynchronous_part(frozen)));
        if refused.is_err() {
            self.decline(checkpoint, DeclineReason::NotReady);
        }
    }

    fn run_asynchronous_part(&self, mut frozen: Frozen) {
        let started = self.clock.monotonic();
        let checkpoint = frozen.checkpoint;
        let prepared = match catch(|| prepare_output(&mut frozen)) {
            Ok(prepared) => prepared,
            Err(error) => {
                let error = error.context("output could not be prepared").context(&self.id);
                return self.report(JobEvent::Failed(error));
            }
        };
        let cancel = self.cancels.flag(checkpoint);
        match catch(|| self.write_snapshot(frozen, prepared, &cancel, started)) {
            Ok((payload, metrics)) => {
                let (payload, subtask) = (Box::new(payload), self.id.clone());
                self.report(JobEvent::Acknowledged { checkpoint, subtask, payload, metrics });
            }
            Err(_) if cancel.is_cancelled() => self.decline(checkpoint, DeclineReason::Cancelled),
            Err(error) => self.decline(checkpoint, DeclineReason::Failed(error.to_string())),
        }
    }

    fn write_snapshot(
        &self,
        frozen: Frozen,
        prepared: Vec<OperatorStatePart>,
        cancel: &CancelFlag,
        started: Duration,
    ) -> Result<(SubtaskPayload, SubtaskMetrics)> {
        let mut operator_state = match frozen.state.operator {
            Some(snapshot) => snapshot.run(cancel)?,
            None => Vec::new(),
        };
        operator_state.extend(prepared);
        let keyed = match frozen.state.keyed {
            Some((task, key_groups)) => {
                let write = WriteKeyedState {
                    checkpoint: frozen.checkpoint,
                    attempt: self.attempt,
                    subtask: &self.id,
                    key_groups,
                    compression_level: self.compression_level,
                };
                Some(match task {
                    KeyedSnapshot::Canonical(task) => {
                        self.storage.write_keyed_state(&write, task, cancel)?
                    }
                    KeyedSnapshot::Files(task) => {
                        let write = (&write, self.backends.name());
                        self.storage.write_files(write, task, &self.shared, cancel)?
                    }
                })
            }
            None => None,
        };
        let metrics = SubtaskMetrics {
            sync_ms: millis(frozen.sync),
            async_ms: millis(self.clock.monotonic().saturating_sub(started)),
            align_ms: millis(frozen.align),
            bytes: keyed.as_ref().map_or(0, |keyed| keyed.bytes()),
        };
        let payload = SubtaskSnapshot {
            keyed,
            operator_state,
            at_end: frozen.at_end,
            sync_us: u64::try_from(frozen.sync.as_micros()).unwrap_or(u64::MAX),
        };
        Ok((payload, metrics))
    }
}

/// Makes output durable; returns what it takes to commit it.
fn prepare_output(frozen: &mut Frozen) -> Result<Vec<OperatorStatePart>> {
    let prepare = |(list, pre_commit): (String, PreCommit)| {
        Ok(OperatorStatePart::opaque(list, Redistribution::Split, pre_commit()?))
    };
    frozen.pre_commits.drain(..).map(prepare).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
