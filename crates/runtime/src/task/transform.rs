//! A stateless operator as the loop runs it.

use std::convert::Infallible;
use std::marker::PhantomData;

use millpond_state::{CheckpointId, SnapshotRequest};

use super::input::{FrozenState, InputOperator};
use crate::channel::Signal;
use crate::error::Result;
use crate::output::{Collector, Outputs, VertexOutputs};
use crate::watermark::Timestamp;

/// Runs user code on each record, and makes watermarks if it knows the records' time.
pub(crate) struct TransformTask<T, U, F, W> {
    transform: F,
    /// Tells the event time of an output record, if watermarks come from here: the subtask then
    /// takes the records of each channel to be in order of time.
    timestamp: Option<W>,
    watermark: Timestamp,
    types: PhantomData<fn(T) -> U>,
}

impl<T, U, F, W> TransformTask<T, U, F, W> {
    pub(crate) fn new(transform: F, timestamp: Option<W>) -> Self {
        Self { transform, timestamp, watermark: Timestamp::MIN, types: PhantomData }
    }
}

/// Passes records on and remembers the latest time among them.
struct Timed<'a, U, W> {
    outputs: &'a mut Outputs<U>,
    timestamp: Option<&'a W>,
    latest: Timestamp,
}

impl<U, W: Fn(&U) -> Option<Timestamp>> Collector<U> for Timed<'_, U, W> {
    fn emit(&mut self, record: &U) -> Result<()> {
        if let Some(at) = self.timestamp.and_then(|timestamp| timestamp(record)) {
            self.latest = self.latest.max(at);
        }
        self.outputs.emit(record)
    }

    fn emit_all(&mut self, records: &[U]) -> Result<()> {
        records.iter().try_for_each(|record| self.emit(record))
    }
}

impl<T, U, F, W> InputOperator for TransformTask<T, U, F, W>
where
    F: FnMut(T, &mut dyn Collector<U>) -> Result<()>,
    W: Fn(&U) -> Option<Timestamp>,
{
    type In = T;
    type Broadcast = Infallible;
    type Out = U;
    type Side = Infallible;

    fn on_batch(
        &mut self,
        batch: Vec<T>,
        outputs: &mut VertexOutputs<U, Infallible>,
    ) -> Result<()> {
        let (latest, timestamp) = (self.watermark, self.timestamp.as_ref());
        let mut timed = Timed { outputs: &mut outputs.main, timestamp, latest };
        for record in batch {
            (self.transform)(record, &mut timed)?;
        }
        let latest = timed.latest;
        if latest > self.watermark {
            self.watermark = latest;
            // Records of the same time may still come: everything before it is complete.
            let before = Timestamp::from_ms(latest.as_ms().saturating_sub(1));
            outputs.signal(Signal::Watermark(before))?;
        }
        Ok(())
    }

    fn on_broadcast(
        &mut self,
        _: Vec<Infallible>,
        _: &mut VertexOutputs<U, Infallible>,
    ) -> Result<()> {
        Ok(())
    }

    fn on_watermark(&mut self, _: Timestamp, _: &mut VertexOutputs<U, Infallible>) -> Result<()> {
        Ok(())
    }

    fn next_wake_ms(&self) -> Option<i64> {
        None
    }

    fn on_wake(&mut self, _: &mut VertexOutputs<U, Infallible>) -> Result<()> {
        Ok(())
    }

    fn on_end(&mut self, _: &mut VertexOutputs<U, Infallible>) -> Result<()> {
        Ok(())
    }

    fn snapshot(&mut self, _: &SnapshotRequest) -> Result<FrozenState> {
        Ok(FrozenState::default())
    }

    fn on_completed(&mut self, _: CheckpointId) {}

    fn on_aborted(&mut self, _: CheckpointId) {}
}
