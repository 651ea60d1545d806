//! A keyed operator with its state, timers and times, without threads or channels: what a subtask
//! runs, and what the [harness](crate::harness) drives by hand.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use millpond_state::codec::{Codec, DefaultCodec};
use millpond_state::{
    EntryKey, KeyedBackend, MaxParallelism, OperatorState, Scratch, StateTime, Sweeper, TimeDomain,
};

use crate::error::Result;
use crate::operator::{
    BroadcastOperator, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, TimerStore,
};
use crate::output::{Collector, Keyed};
use crate::watermark::Timestamp;

/// Where an operator's records go during a call.
pub(crate) struct Emitters<'a, Out, Side> {
    pub(crate) output: &'a mut dyn Collector<Out>,
    pub(crate) side: &'a mut dyn Collector<Side>,
}

/// The state that an operator is opened with: restored, or empty.
pub(crate) struct SubtaskState {
    pub(crate) backend: Box<dyn KeyedBackend>,
    pub(crate) operator: OperatorState,
}

/// Runs a [`KeyedOperator`] on its part of the key groups.
pub(crate) struct KeyedCore<Op: KeyedOperator, F> {
    operator: Op,
    key: F,
    state: SubtaskState,
    timers: TimerStore<Op::Key, Op::TimerNamespace>,
    max_parallelism: MaxParallelism,
    time: StateTime,
    sweeper: Sweeper,
    watermark: Timestamp,
    late_records: Arc<AtomicU64>,
    /// Encoded keys of a batch.
    keys: Vec<Scratch>,
}

impl<Op: KeyedOperator, F: Fn(&Op::In) -> Op::Key> KeyedCore<Op, F> {
    /// Opens `operator` over `state`, at the processing time `now_ms`.
    pub(crate) fn open(
        mut operator: Op,
        key: F,
        mut state: SubtaskState,
        late_records: Arc<AtomicU64>,
        now_ms: i64,
    ) -> Result<Self> {
        let time = StateTime::new();
        time.set_processing_ms(now_ms);
        operator.open(&mut OpenContext {
            backend: state.backend.as_mut(),
            operator_state: &mut state.operator,
            time: &time,
        })?;
        Ok(Self {
            operator,
            key,
            timers: TimerStore::open(state.backend.as_mut())?,
            max_parallelism: state.backend.max_parallelism(),
            state,
            time,
            sweeper: Sweeper::new(),
            watermark: Timestamp::MIN,
            late_records,
            keys: vec![Scratch::new(); KeyedBatch::<()>::RECORDS_MAX],
        })
    }

    /// Tells the operator's state that it is `now_ms`, and fires the timers whose time is over:
    /// more records may be processed in the millisecond that `now_ms` is.
    pub(crate) fn advance_processing_ms(
        &mut self,
        now_ms: i64,
        emitters: Emitters<'_, Op::Out, Op::Side>,
    ) -> Result<()> {
        self.time.set_processing_ms(now_ms);
        match self.next_wake_ms() {
            Some(wake_ms) if wake_ms <= now_ms => {
                self.fire(TimeDomain::Processing, now_ms.saturating_sub(1), emitters)
            }
            _ => Ok(()),
        }
    }

    /// The processing time before which no timer fires; `None` if there are none.
    pub(crate) fn next_wake_ms(&self) -> Option<i64> {
        self.timers.next_processing_ms().map(|time_ms| time_ms.saturating_add(1))
    }

    /// Hands records to the operator, in batches of its size; then looks at some of the state for
    /// what has expired, if there is state that does.
    pub(crate) fn process(
        &mut self,
        records: &[Keyed<Op::In>],
        emitters: Emitters<'_, Op::Out, Op::Side>,
    ) -> Result<()> {
        let Emitters { output, side } = emitters;
        records
            .chunks(KeyedBatch::<()>::RECORDS_MAX)
            .try_for_each(|records| self.process_batch(records, Emitters { output, side }))?;
        self.sweeper.step(self.state.backend.as_mut())?;
        Ok(())
    }

    fn process_batch(
        &mut self,
        records: &[Keyed<Op::In>],
        emitters: Emitters<'_, Op::Out, Op::Side>,
    ) -> Result<()> {
        let codec = DefaultCodec::<Op::Key>::default();
        for (keyed, key) in records.iter().zip(&mut self.keys) {
            key.clear();
            codec.encode_into(&(self.key)(&keyed.record), key)?;
        }
        let none = EntryKey::from_hash(&[], 0, self.max_parallelism);
        let mut entries = [none; KeyedBatch::<()>::RECORDS_MAX];
        for ((keyed, key), entry) in records.iter().zip(&self.keys).zip(&mut entries) {
            *entry = EntryKey::from_hash(key.as_slice(), keyed.hash, self.max_parallelism);
        }
        let entries = entries.get(..records.len()).unwrap_or_default();
        let mut cx = OperatorContext {
            backend: self.state.backend.as_mut(),
            operator_state: &mut self.state.operator,
            timers: &mut self.timers,
            output: emitters.output,
            side: emitters.side,
            time: &self.time,
            watermark: self.watermark,
            late_records: &self.late_records,
        };
        self.operator.process(&KeyedBatch { records, entries }, &mut cx)
    }

    /// Event time has come to `watermark`: fires the timers that are due, then tells the operator.
    pub(crate) fn advance_watermark(
        &mut self,
        watermark: Timestamp,
        emitters: Emitters<'_, Op::Out, Op::Side>,
    ) -> Result<()> {
        let Emitters { output, side } = emitters;
        self.watermark = watermark;
        self.time.advance_event_ms(watermark.as_ms());
        self.fire(TimeDomain::Event, watermark.as_ms(), Emitters { output, side })?;
        self.with_context(Emitters { output, side }, |operator, cx| operator.on_watermark(cx))
    }

    /// How far event time has come.
    pub(crate) const fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// All input has been processed.
    pub(crate) fn end(&mut self, emitters: Emitters<'_, Op::Out, Op::Side>) -> Result<()> {
        self.with_context(emitters, |operator, cx| operator.on_end(cx))
    }

    fn fire(
        &mut self,
        domain: TimeDomain,
        now_ms: i64,
        emitters: Emitters<'_, Op::Out, Op::Side>,
    ) -> Result<()> {
        let Emitters { output, side } = emitters;
        while let Some(timer) = self.timers.poll(self.state.backend.as_mut(), domain, now_ms)? {
            self.with_context(Emitters { output, side }, |operator, cx| {
                operator.on_timer(&timer, cx)
            })?;
        }
        Ok(())
    }

    fn with_context(
        &mut self,
        emitters: Emitters<'_, Op::Out, Op::Side>,
        call: impl FnOnce(&mut Op, &mut OperatorContext<'_, Op>) -> Result<()>,
    ) -> Result<()> {
        let mut cx = OperatorContext {
            backend: self.state.backend.as_mut(),
            operator_state: &mut self.state.operator,
            timers: &mut self.timers,
            output: emitters.output,
            side: emitters.side,
            time: &self.time,
            watermark: self.watermark,
            late_records: &self.late_records,
        };
        call(&mut self.operator, &mut cx)
    }

    /// The operator's state, to take snapshots of it.
    pub(crate) fn state(&mut self) -> &mut SubtaskState {
        &mut self.state
    }

    /// Ends with the state as it is.
    pub(crate) fn into_state(self) -> SubtaskState {
        self.state
    }
}

impl<Op: BroadcastOperator, F: Fn(&Op::In) -> Op::Key> KeyedCore<Op, F> {
    /// Hands records of the broadcast input to the operator.
    pub(crate) fn process_broadcast(
        &mut self,
        records: &[Op::Broadcast],
        emitters: Emitters<'_, Op::Out, Op::Side>,
    ) -> Result<()> {
        self.with_context(emitters, |operator, cx| operator.on_broadcast(records, cx))
    }
}
