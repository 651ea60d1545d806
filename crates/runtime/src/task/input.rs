//! The thread of a subtask with inputs: reads its channels, aligns barriers, runs its operator.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, SelectedOperation};
use millpond_checkpoint::{CheckpointKind, CheckpointMode, DeclineReason};
use millpond_state::{
    CheckpointId, FilesTask, KeyGroupRange, OperatorStateSnapshot, SnapshotRequest, SnapshotTask,
};

use super::control::Control;
use super::env::SubtaskEnv;
use super::keyed::wall_ms;
use super::snapshot::Frozen;
use crate::barrier::{Aligner, BarrierAction, BarrierEvent, BarrierHandler, ChannelSet, Tracker};
use crate::channel::{Barrier, Message, Signal, disconnected};
use crate::error::{JobErrorKind, Result};
use crate::output::VertexOutputs;
use crate::watermark::{Timestamp, WatermarkTracker};

/// Longest wait for a timer: the wall clock may be set while we wait.
const TIMER_WAIT_MAX: Duration = Duration::from_secs(60);

/// The synchronous part of a snapshot of keyed state, in one of its forms.
pub(crate) enum KeyedSnapshot {
    Canonical(Box<dyn SnapshotTask>),
    Files(Box<dyn FilesTask>),
}

/// The synchronous part of a snapshot of an operator's state.
#[derive(Default)]
pub(crate) struct FrozenState {
    /// Keyed state and the key groups it covers.
    pub(crate) keyed: Option<(KeyedSnapshot, KeyGroupRange)>,
    /// State that belongs to no key.
    pub(crate) operator: Option<OperatorStateSnapshot>,
}

/// What a subtask does with what arrives; the loop around it does the rest.
pub(crate) trait InputOperator {
    /// Records of its first input.
    type In;
    /// Records of its broadcast input.
    type Broadcast;
    /// What it emits.
    type Out;
    /// What it emits to its side output.
    type Side;

    /// Takes records.
    fn on_batch(
        &mut self,
        batch: Vec<Self::In>,
        outputs: &mut VertexOutputs<Self::Out, Self::Side>,
    ) -> Result<()>;

    /// Takes records of the broadcast input.
    fn on_broadcast(
        &mut self,
        batch: Vec<Self::Broadcast>,
        outputs: &mut VertexOutputs<Self::Out, Self::Side>,
    ) -> Result<()>;

    /// The subtask's watermark rose. The loop sends it on afterwards.
    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        outputs: &mut VertexOutputs<Self::Out, Self::Side>,
    ) -> Result<()>;

    /// The wall-clock time at which it wants [`Self::on_wake`], if nothing arrives before.
    fn next_wake_ms(&self) -> Option<i64>;

    /// The time it wanted has come.
    fn on_wake(&mut self, outputs: &mut VertexOutputs<Self::Out, Self::Side>) -> Result<()>;

    /// All input has been processed. Not called when that was so at the restored checkpoint.
    fn on_end(&mut self, outputs: &mut VertexOutputs<Self::Out, Self::Side>) -> Result<()>;

    /// The synchronous part of a snapshot.
    fn snapshot(&mut self, request: &SnapshotRequest) -> Result<FrozenState>;

    /// A checkpoint is complete.
    fn on_completed(&mut self, checkpoint: CheckpointId);

    /// A checkpoint came to nothing.
    fn on_aborted(&mut self, checkpoint: CheckpointId);
}

/// The input channels of a subtask: first those of the first input, then those of the broadcast
/// input. Barriers are aligned over all of them; the watermark is that of the first ones.
pub(crate) struct Inputs<A, B> {
    pub(crate) first: Vec<Receiver<Message<A>>>,
    pub(crate) broadcast: Vec<Receiver<Message<B>>>,
}

impl<A, B> Inputs<A, B> {
    /// The channels of a subtask without a broadcast input.
    pub(crate) const fn of(first: Vec<Receiver<Message<A>>>) -> Self {
        Self { first, broadcast: Vec::new() }
    }

    fn len(&self) -> usize {
        self.first.len() + self.broadcast.len()
    }

    /// Adds channel `channel` to those waited for.
    fn select<'a>(&'a self, channel: usize, select: &mut Select<'a>) {
        match self.first.get(channel) {
            Some(receiver) => {
                select.recv(receiver);
            }
            None => {
                if let Some(receiver) = self.broadcast.get(channel - self.first.len()) {
                    select.recv(receiver);
                }
            }
        }
    }

    /// Takes the message of `channel`, which the select has chosen.
    fn receive(&self, channel: usize, chosen: SelectedOperation<'_>) -> Result<Arrived<A, B>> {
        match self.first.get(channel) {
            Some(receiver) => match chosen.recv(receiver) {
                Ok(message) => Ok(Arrived::First(channel, message)),
                Err(_) => Err(disconnected()),
            },
            None => match self.broadcast.get(channel - self.first.len()) {
                Some(receiver) => match chosen.recv(receiver) {
                    Ok(message) => Ok(Arrived::Broadcast(channel, message)),
                    Err(_) => Err(disconnected()),
                },
                None => Err(disconnected()),
            },
        }
    }
}

/// Runs a subtask until it is told to stop. `at_end` says whether the operator had processed all
/// its input at the checkpoint it was restored from.
pub(crate) fn run_operator<O: InputOperator>(
    env: SubtaskEnv,
    inputs: Inputs<O::In, O::Broadcast>,
    operator: O,
    outputs: VertexOutputs<O::Out, O::Side>,
    at_end: bool,
) -> Result<()> {
    if !env.ready() {
        return Ok(());
    }
    let channels = inputs.len();
    let barriers = match env.mode {
        CheckpointMode::AtLeastOnce => BarrierHandler::Track(Tracker::new(channels)),
        _ => BarrierHandler::Align(Aligner::new(channels)),
    };
    let task = OperatorTask {
        env,
        operator,
        outputs,
        barriers,
        watermarks: WatermarkTracker::new(inputs.first.len()),
        ended: ChannelSet::empty(channels),
        end_said: at_end,
        kinds: BTreeMap::new(),
        align_started: None,
        actions: Vec::new(),
    };
    task.run(&inputs)
}

struct OperatorTask<O: InputOperator> {
    env: SubtaskEnv,
    operator: O,
    outputs: VertexOutputs<O::Out, O::Side>,
    barriers: BarrierHandler,
    watermarks: WatermarkTracker,
    ended: ChannelSet,
    /// Whether the operator has had its `on_end`, in this attempt or before the restore.
    end_said: bool,
    /// Why the checkpoints whose barriers have come and that are not decided were taken.
    kinds: BTreeMap<CheckpointId, CheckpointKind>,
    align_started: Option<Duration>,
    actions: Vec<BarrierAction>,
}

/// What a wait brought.
enum Arrived<A, B> {
    Control(Control),
    First(usize, Message<A>),
    Broadcast(usize, Message<B>),
    /// The time has come that the operator waits for.
    Time,
    /// The job's end of the control channel has gone.
    JobGone,
}

impl<O: InputOperator> OperatorTask<O> {
    fn run(mut self, inputs: &Inputs<O::In, O::Broadcast>) -> Result<()> {
        match self.work(inputs) {
            Err(error) if error.kind() == JobErrorKind::Cancelled => {
                let commit = |checkpoint| self.outputs.commit(checkpoint);
                self.env.outlive_neighbour(error, commit)
            }
            outcome => outcome,
        }
    }

    fn work(&mut self, inputs: &Inputs<O::In, O::Broadcast>) -> Result<()> {
        loop {
            match self.wait(inputs)? {
                Arrived::JobGone | Arrived::Control(Control::Stop) => return Ok(()),
                Arrived::Control(control) => self.on_control(control)?,
                Arrived::First(_, Message::Batch(batch)) => {
                    self.env.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    self.operator.on_batch(batch, &mut self.outputs)?;
                }
                Arrived::First(channel, Message::Signal(signal)) => {
                    self.on_signal(channel, signal)?;
                }
                Arrived::Broadcast(_, Message::Batch(batch)) => {
                    self.env.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    self.operator.on_broadcast(batch, &mut self.outputs)?;
                }
                // The watermark tracker knows the channels of the first input only.
                Arrived::Broadcast(channel, Message::Signal(signal)) => {
                    self.on_signal(channel, signal)?;
                }
                Arrived::Time => self.operator.on_wake(&mut self.outputs)?,
            }
        }
    }

    /// How long the operator may be left alone; `None` if it wants nothing.
    fn wake_after(&self) -> Option<Duration> {
        let wake_ms = self.operator.next_wake_ms().filter(|_| !self.end_said)?;
        let wait_ms = wake_ms.saturating_sub(wall_ms(self.env.clock.as_ref()));
        Some(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)).min(TIMER_WAIT_MAX))
    }

    /// Waits for a control message, a message of a channel that is not held back, or a timer.
    fn wait(&self, inputs: &Inputs<O::In, O::Broadcast>) -> Result<Arrived<O::In, O::Broadcast>> {
        let wake_after = self.wake_after();
        if wake_after.is_some_and(|wait| wait.is_zero()) {
            return Ok(Arrived::Time);
        }
        let mut select = Select::new();
        select.recv(&self.env.control);
        let mut open = Vec::with_capacity(inputs.len());
        for channel in 0..inputs.len() {
            if !self.barriers.is_blocked(channel) {
                inputs.select(channel, &mut select);
                open.push(channel);
            }
        }
        let chosen = match wake_after {
            None => select.select(),
            Some(wait) => match select.select_timeout(wait) {
                Ok(chosen) => chosen,
                Err(_) => return Ok(Arrived::Time),
            },
        };
        match chosen.index().checked_sub(1).and_then(|index| open.get(index)) {
            None => Ok(match chosen.recv(&self.env.control) {
                Ok(control) => Arrived::Control(control),
                Err(_) => Arrived::JobGone,
            }),
            Some(channel) => inputs.receive(*channel, chosen),
        }
    }

    fn on_control(&mut self, control: Control) -> Result<()> {
        match control {
            Control::Completed { checkpoint, commit } => {
                self.operator.on_completed(checkpoint);
                if commit { self.outputs.commit(checkpoint) } else { Ok(()) }
            }
            Control::Aborted(checkpoint) => {
                self.operator.on_aborted(checkpoint);
                if self.barriers.under_way() == Some(checkpoint) {
                    // Channels held back for it must not wait for barriers that may be far off.
                    return self.on_barrier_event(0, BarrierEvent::Cancelled(checkpoint));
                }
                Ok(())
            }
            // The next wait looks at the clock anyway.
            Control::ClockMoved => Ok(()),
            Control::Start | Control::Trigger(_) | Control::Pause | Control::Stop => Ok(()),
        }
    }

    fn on_signal(&mut self, channel: usize, signal: Signal) -> Result<()> {
        match signal {
            Signal::Watermark(watermark) => match self.watermarks.advance(channel, watermark) {
                Some(watermark) => {
                    self.operator.on_watermark(watermark, &mut self.outputs)?;
                    self.outputs.signal(Signal::Watermark(watermark))
                }
                None => Ok(()),
            },
            Signal::Barrier(barrier) => {
                self.kinds.insert(barrier.checkpoint, barrier.kind);
                self.on_barrier_event(channel, BarrierEvent::Barrier(barrier.checkpoint))
            }
            Signal::Cancelled(checkpoint) => {
                self.on_barrier_event(channel, BarrierEvent::Cancelled(checkpoint))
            }
            Signal::EndOfInput => self.on_channel_end(channel),
        }
    }

    fn on_channel_end(&mut self, channel: usize) -> Result<()> {
        self.ended.insert(channel);
        if !self.ended.is_full() {
            return Ok(());
        }
        if !self.end_said {
            self.end_said = true;
            self.operator.on_end(&mut self.outputs)?;
        }
        self.outputs.signal(Signal::EndOfInput)
    }

    fn on_barrier_event(&mut self, channel: usize, event: BarrierEvent) -> Result<()> {
        let before = self.barriers.under_way();
        let mut actions = std::mem::take(&mut self.actions);
        self.barriers.on_event(channel, event, &mut actions);
        let started = self.align_started.unwrap_or_else(|| self.env.clock.monotonic());
        for action in actions.drain(..) {
            match action {
                BarrierAction::Abandon(checkpoint) => {
                    self.kinds.remove(&checkpoint);
                    self.env.decline(checkpoint, DeclineReason::Cancelled);
                    self.outputs.signal(Signal::Cancelled(checkpoint))?;
                }
                BarrierAction::Snapshot(checkpoint) => self.snapshot(checkpoint, started)?,
            }
        }
        self.actions = actions;
        let after = self.barriers.under_way();
        if after != before {
            self.align_started = after.map(|_| self.env.clock.monotonic());
        }
        Ok(())
    }

    fn snapshot(&mut self, checkpoint: CheckpointId, align_started: Duration) -> Result<()> {
        let started = self.env.clock.monotonic();
        let kind = self.kinds.remove(&checkpoint).unwrap_or(CheckpointKind::Periodic);
        // Barriers come in the order of their checkpoints on each channel: earlier ones are over.
        self.kinds = self.kinds.split_off(&checkpoint);
        self.outputs.signal(Signal::Barrier(Barrier { checkpoint, kind }))?;
        let pre_commits = self.outputs.pre_commit(checkpoint)?;
        match self.operator.snapshot(&self.env.snapshot_request(checkpoint, kind)) {
            Ok(state) => self.env.submit(Frozen {
                checkpoint,
                state,
                pre_commits,
                at_end: self.ended.is_full() || self.end_said,
                sync: self.env.clock.monotonic().saturating_sub(started),
                align: started.saturating_sub(align_started),
            }),
            Err(error) => self.env.decline(checkpoint, DeclineReason::Failed(error.to_string())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
