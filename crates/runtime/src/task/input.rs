//! The thread of a subtask with inputs: reads its channels, aligns barriers, runs its operator.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select};
use millpond_checkpoint::{CheckpointKind, CheckpointMode, DeclineReason};
use millpond_state::{CheckpointId, KeyGroupRange, SnapshotTask};

use super::control::Control;
use super::env::SubtaskEnv;
use super::snapshot::Frozen;
use crate::barrier::{Aligner, BarrierAction, BarrierEvent, BarrierHandler, ChannelSet, Tracker};
use crate::channel::{Barrier, Message, Signal, disconnected};
use crate::error::Result;
use crate::output::Outputs;
use crate::watermark::{Timestamp, WatermarkTracker};

/// What a subtask does with what arrives; the loop around it does the rest.
pub(crate) trait InputOperator<M> {
    type Out;

    /// Takes records.
    fn on_batch(&mut self, batch: Vec<M>, outputs: &mut Outputs<Self::Out>) -> Result<()>;

    /// The subtask's watermark rose. The loop sends it on afterwards.
    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        outputs: &mut Outputs<Self::Out>,
    ) -> Result<()>;

    /// All input has been processed. Not called when that was so at the restored checkpoint.
    fn on_end(&mut self, outputs: &mut Outputs<Self::Out>) -> Result<()>;

    /// The synchronous part of a snapshot of keyed state, if there is any.
    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<Option<(Box<dyn SnapshotTask>, KeyGroupRange)>>;

    /// A checkpoint is complete.
    fn on_completed(&mut self, checkpoint: CheckpointId);

    /// A checkpoint came to nothing.
    fn on_aborted(&mut self, checkpoint: CheckpointId);
}

/// Runs a subtask until it is told to stop. `at_end` says whether the operator had processed all
/// its input at the checkpoint it was restored from.
pub(crate) fn run_operator<M, O: InputOperator<M>>(
    env: SubtaskEnv,
    inputs: Vec<Receiver<Message<M>>>,
    operator: O,
    outputs: Outputs<O::Out>,
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
        watermarks: WatermarkTracker::new(channels),
        ended: ChannelSet::empty(channels),
        end_said: at_end,
        kind: CheckpointKind::Periodic,
        align_started: None,
        actions: Vec::new(),
    };
    task.run(&inputs)
}

struct OperatorTask<O, Out> {
    env: SubtaskEnv,
    operator: O,
    outputs: Outputs<Out>,
    barriers: BarrierHandler,
    watermarks: WatermarkTracker,
    ended: ChannelSet,
    /// Whether the operator has had its `on_end`, in this attempt or before the restore.
    end_said: bool,
    kind: CheckpointKind,
    align_started: Option<Duration>,
    actions: Vec<BarrierAction>,
}

/// What a wait for messages brought.
enum Arrived<M> {
    Control(Control),
    Data(usize, Message<M>),
    /// The job's end of the control channel has gone.
    JobGone,
}

impl<O, Out> OperatorTask<O, Out> {
    fn run<M>(mut self, inputs: &[Receiver<Message<M>>]) -> Result<()>
    where
        O: InputOperator<M, Out = Out>,
    {
        loop {
            match self.wait(inputs)? {
                Arrived::JobGone | Arrived::Control(Control::Stop) => return Ok(()),
                Arrived::Control(control) => self.on_control(control)?,
                Arrived::Data(channel, message) => self.on_message(channel, message)?,
            }
        }
    }

    /// Waits for a control message or a message of a channel that is not held back.
    fn wait<M>(&self, inputs: &[Receiver<Message<M>>]) -> Result<Arrived<M>> {
        let mut select = Select::new();
        select.recv(&self.env.control);
        let mut open = Vec::with_capacity(inputs.len());
        for (channel, input) in inputs.iter().enumerate() {
            if !self.barriers.is_blocked(channel) {
                select.recv(input);
                open.push((channel, input));
            }
        }
        let operation = select.select();
        match operation.index().checked_sub(1).and_then(|index| open.get(index)) {
            None => Ok(match operation.recv(&self.env.control) {
                Ok(control) => Arrived::Control(control),
                Err(_) => Arrived::JobGone,
            }),
            Some((channel, input)) => match operation.recv(input) {
                Ok(message) => Ok(Arrived::Data(*channel, message)),
                Err(_) => Err(disconnected()),
            },
        }
    }

    fn on_control<M>(&mut self, control: Control) -> Result<()>
    where
        O: InputOperator<M, Out = Out>,
    {
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
            Control::Start | Control::Trigger(_) | Control::Pause | Control::Stop => Ok(()),
        }
    }

    fn on_message<M>(&mut self, channel: usize, message: Message<M>) -> Result<()>
    where
        O: InputOperator<M, Out = Out>,
    {
        match message {
            Message::Batch(batch) => {
                self.env.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
                self.operator.on_batch(batch, &mut self.outputs)
            }
            Message::Watermark(watermark) => match self.watermarks.advance(channel, watermark) {
                Some(watermark) => {
                    self.operator.on_watermark(watermark, &mut self.outputs)?;
                    self.outputs.signal(Signal::Watermark(watermark))
                }
                None => Ok(()),
            },
            Message::Barrier(barrier) => {
                self.kind = barrier.kind;
                self.on_barrier_event(channel, BarrierEvent::Barrier(barrier.checkpoint))
            }
            Message::Cancelled(checkpoint) => {
                self.on_barrier_event(channel, BarrierEvent::Cancelled(checkpoint))
            }
            Message::EndOfInput => self.on_channel_end(channel),
        }
    }

    fn on_channel_end<M>(&mut self, channel: usize) -> Result<()>
    where
        O: InputOperator<M, Out = Out>,
    {
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

    fn on_barrier_event<M>(&mut self, channel: usize, event: BarrierEvent) -> Result<()>
    where
        O: InputOperator<M, Out = Out>,
    {
        let before = self.barriers.under_way();
        let mut actions = std::mem::take(&mut self.actions);
        self.barriers.on_event(channel, event, &mut actions);
        let started = self.align_started.unwrap_or_else(|| self.env.clock.monotonic());
        for action in actions.drain(..) {
            match action {
                BarrierAction::Abandon(checkpoint) => {
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

    fn snapshot<M>(&mut self, checkpoint: CheckpointId, align_started: Duration) -> Result<()>
    where
        O: InputOperator<M, Out = Out>,
    {
        let started = self.env.clock.monotonic();
        self.outputs.signal(Signal::Barrier(Barrier { checkpoint, kind: self.kind }))?;
        let pre_commits = self.outputs.pre_commit(checkpoint)?;
        match self.operator.snapshot(checkpoint) {
            Ok(keyed) => self.env.submit(Frozen {
                checkpoint,
                keyed,
                lists: BTreeMap::new(),
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
