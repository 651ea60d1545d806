//! A keyed operator as the loop runs it, with or without a broadcast input.

use std::convert::Infallible;
use std::sync::Arc;

use millpond_state::seam::Clock;
use millpond_state::{CheckpointId, SnapshotRequest};

use super::input::{FrozenState, InputOperator, KeyedSnapshot};
use super::runner::{Emitters, KeyedCore};
use crate::error::Result;
use crate::operator::{BroadcastOperator, KeyedOperator};
use crate::output::{Keyed, VertexOutputs};
use crate::watermark::Timestamp;

/// A keyed operator with one input.
pub(crate) struct KeyedTask<Op: KeyedOperator, F> {
    core: KeyedCore<Op, F>,
    clock: Arc<dyn Clock>,
}

impl<Op: KeyedOperator, F: Fn(&Op::In) -> Op::Key> KeyedTask<Op, F> {
    pub(crate) fn new(core: KeyedCore<Op, F>, clock: Arc<dyn Clock>) -> Self {
        Self { core, clock }
    }

    fn advance_time(&mut self, outputs: &mut VertexOutputs<Op::Out, Op::Side>) -> Result<()> {
        self.core.advance_processing_ms(wall_ms(self.clock.as_ref()), emitters(outputs))
    }
}

impl<Op: KeyedOperator, F: Fn(&Op::In) -> Op::Key> InputOperator for KeyedTask<Op, F> {
    type In = Keyed<Op::In>;
    type Broadcast = Infallible;
    type Out = Op::Out;
    type Side = Op::Side;

    fn on_batch(
        &mut self,
        batch: Vec<Self::In>,
        outputs: &mut VertexOutputs<Op::Out, Op::Side>,
    ) -> Result<()> {
        self.advance_time(outputs)?;
        self.core.process(&batch, emitters(outputs))
    }

    fn on_broadcast(
        &mut self,
        _: Vec<Infallible>,
        _: &mut VertexOutputs<Op::Out, Op::Side>,
    ) -> Result<()> {
        Ok(())
    }

    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        outputs: &mut VertexOutputs<Op::Out, Op::Side>,
    ) -> Result<()> {
        self.advance_time(outputs)?;
        self.core.advance_watermark(watermark, emitters(outputs))
    }

    fn next_wake_ms(&self) -> Option<i64> {
        self.core.next_wake_ms()
    }

    fn on_wake(&mut self, outputs: &mut VertexOutputs<Op::Out, Op::Side>) -> Result<()> {
        self.advance_time(outputs)
    }

    fn on_end(&mut self, outputs: &mut VertexOutputs<Op::Out, Op::Side>) -> Result<()> {
        self.core.end(emitters(outputs))
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> Result<FrozenState> {
        let state = self.core.state();
        let task = match state.backend.snapshot_files(request)? {
            Some(task) => KeyedSnapshot::Files(task),
            None => KeyedSnapshot::Canonical(state.backend.snapshot(request)?),
        };
        let keyed = Some((task, state.backend.key_groups()));
        Ok(FrozenState { keyed, operator: Some(state.operator.snapshot()) })
    }

    fn on_completed(&mut self, checkpoint: CheckpointId) {
        self.core.state().backend.checkpoint_completed(checkpoint);
    }

    fn on_aborted(&mut self, checkpoint: CheckpointId) {
        self.core.state().backend.checkpoint_aborted(checkpoint);
    }
}

/// A keyed operator with a broadcast input beside its own.
pub(crate) struct BroadcastTask<Op: KeyedOperator, F>(pub(crate) KeyedTask<Op, F>);

impl<Op: BroadcastOperator, F: Fn(&Op::In) -> Op::Key> InputOperator for BroadcastTask<Op, F> {
    type In = Keyed<Op::In>;
    type Broadcast = Op::Broadcast;
    type Out = Op::Out;
    type Side = Op::Side;

    fn on_batch(
        &mut self,
        batch: Vec<Self::In>,
        outputs: &mut VertexOutputs<Op::Out, Op::Side>,
    ) -> Result<()> {
        self.0.on_batch(batch, outputs)
    }

    fn on_broadcast(
        &mut self,
        batch: Vec<Op::Broadcast>,
        outputs: &mut VertexOutputs<Op::Out, Op::Side>,
    ) -> Result<()> {
        self.0.advance_time(outputs)?;
        self.0.core.process_broadcast(&batch, emitters(outputs))
    }

    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        outputs: &mut VertexOutputs<Op::Out, Op::Side>,
    ) -> Result<()> {
        self.0.on_watermark(watermark, outputs)
    }

    fn next_wake_ms(&self) -> Option<i64> {
        self.0.next_wake_ms()
    }

    fn on_wake(&mut self, outputs: &mut VertexOutputs<Op::Out, Op::Side>) -> Result<()> {
        self.0.on_wake(outputs)
    }

    fn on_end(&mut self, outputs: &mut VertexOutputs<Op::Out, Op::Side>) -> Result<()> {
        self.0.on_end(outputs)
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> Result<FrozenState> {
        self.0.snapshot(request)
    }

    fn on_completed(&mut self, checkpoint: CheckpointId) {
        self.0.on_completed(checkpoint);
    }

    fn on_aborted(&mut self, checkpoint: CheckpointId) {
        self.0.on_aborted(checkpoint);
    }
}

fn emitters<Out, Side>(outputs: &mut VertexOutputs<Out, Side>) -> Emitters<'_, Out, Side> {
    Emitters { output: &mut outputs.main, side: &mut outputs.side }
}

/// Processing time as state and timers have it.
pub(crate) fn wall_ms(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.wall_ms()).unwrap_or(i64::MAX)
}
