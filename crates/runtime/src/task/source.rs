//! The thread of a source subtask: reads, emits, and starts barriers when told to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use millpond_checkpoint::DeclineReason;
use millpond_state::{OperatorList, OperatorState, OperatorStateSnapshot};

use super::SOURCE_POSITIONS;
use super::control::{Control, JobEvent};
use super::env::{SubtaskEnv, SubtaskRestore};
use super::input::FrozenState;
use super::snapshot::Frozen;
use crate::channel::{Barrier, Signal};
use crate::error::Result;
use crate::output::{Collector, Outputs};
use crate::source::{Source, SourceStatus};
use crate::watermark::Timestamp;

/// Where a source subtask is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    /// All input was read and its end sent on.
    AtEnd,
    /// Told to read no more; there may be more input.
    Paused,
}

/// Runs a source subtask until it is told to stop.
pub(crate) fn run_source<S: Source>(
    env: SubtaskEnv,
    mut source: S,
    outputs: Outputs<S::Record>,
    restore: SubtaskRestore,
) -> Result<()> {
    let mut state = env.open_operator_state(&restore)?;
    let positions = state.split_list(SOURCE_POSITIONS)?;
    source.open(&mut state)?;
    if restore.checkpoint.is_some() {
        source.restore(positions.get(&state)?)?;
    }
    if !env.ready() {
        return Ok(());
    }
    let records = Vec::with_capacity(env.batch_records);
    let (phase, watermark) = (Phase::Reading, Timestamp::MIN);
    SourceTask { env, source, state, positions, outputs, records, phase, watermark }.run()
}

struct SourceTask<S: Source> {
    env: SubtaskEnv,
    source: S,
    state: OperatorState,
    positions: OperatorList<S::Position>,
    outputs: Outputs<S::Record>,
    records: Vec<S::Record>,
    phase: Phase,
    watermark: Timestamp,
}

impl<S: Source> SourceTask<S> {
    fn run(mut self) -> Result<()> {
        let mut wait = Duration::ZERO;
        loop {
            let control = if self.phase != Phase::Reading {
                self.env.control.recv().ok()
            } else if wait.is_zero() {
                match self.env.control.try_recv() {
                    Ok(control) => Some(control),
                    Err(error) if error.is_disconnected() => return Ok(()),
                    Err(_) => None,
                }
            } else {
                match self.env.control.recv_timeout(wait) {
                    Ok(control) => Some(control),
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    Err(RecvTimeoutError::Timeout) => None,
                }
            };
            match control {
                Some(Control::Stop) => return Ok(()),
                Some(control) => self.on_control(control)?,
                None if self.phase != Phase::Reading => return Ok(()),
                None => wait = self.read()?,
            }
        }
    }

    fn on_control(&mut self, control: Control) -> Result<()> {
        match control {
            Control::Trigger(barrier) => self.trigger(barrier),
            Control::Pause => {
                if self.phase == Phase::Reading {
                    self.phase = Phase::Paused;
                    self.outputs.flush()?;
                    let subtask = self.env.id.clone();
                    self.env.report(JobEvent::AtEnd { subtask, paused: true });
                }
                Ok(())
            }
            Control::Completed { checkpoint, commit } => {
                if commit {
                    self.outputs.commit(checkpoint)
                } else {
                    Ok(())
                }
            }
            Control::Start | Control::Aborted(_) | Control::ClockMoved | Control::Stop => Ok(()),
        }
    }

    /// Reads and emits a batch; returns how long to wait before the next.
    fn read(&mut self) -> Result<Duration> {
        self.records.clear();
        let status = self.source.poll(&mut self.records, self.env.batch_records)?;
        self.outputs.emit_all(&self.records)?;
        self.env.records.fetch_add(self.records.len() as u64, Ordering::Relaxed);
        if let Some(watermark) = self.source.watermark().filter(|new| *new > self.watermark) {
            self.watermark = watermark;
            self.outputs.signal(Signal::Watermark(watermark))?;
        }
        match status {
            SourceStatus::Ready => Ok(Duration::ZERO),
            SourceStatus::Idle(wait) => {
                self.outputs.flush()?;
                Ok(wait.max(Duration::from_micros(1)))
            }
            SourceStatus::End => {
                self.outputs.signal(Signal::Watermark(Timestamp::MAX))?;
                self.outputs.signal(Signal::EndOfInput)?;
                self.phase = Phase::AtEnd;
                let subtask = self.env.id.clone();
                self.env.report(JobEvent::AtEnd { subtask, paused: false });
                Ok(Duration::ZERO)
            }
        }
    }

    fn trigger(&mut self, barrier: Barrier) -> Result<()> {
        let checkpoint = barrier.checkpoint;
        let started = self.env.clock.monotonic();
        self.outputs.signal(Signal::Barrier(barrier))?;
        let pre_commits = self.outputs.pre_commit(checkpoint)?;
        match self.freeze() {
            Ok(snapshot) => self.env.submit(Frozen {
                checkpoint,
                state: FrozenState { keyed: None, operator: Some(snapshot) },
                pre_commits,
                at_end: self.phase == Phase::AtEnd,
                sync: self.env.clock.monotonic().saturating_sub(started),
                align: Duration::ZERO,
            }),
            Err(error) => {
                self.env.decline(checkpoint, DeclineReason::Failed(error.to_string()));
            }
        }
        Ok(())
    }

    /// The source's state as it is now.
    fn freeze(&mut self) -> Result<OperatorStateSnapshot> {
        let positions = self.source.positions()?;
        self.positions.replace(&mut self.state, &positions)?;
        self.source.snapshot(&mut self.state)?;
        Ok(self.state.snapshot())
    }
}
