//! A keyed operator as the loop runs it: cuts batches, encodes keys, brings state and time.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use millpond_state::codec::{Codec, DefaultCodec};
use millpond_state::{
    CheckpointId, EntryKey, KeyGroupRange, KeyedBackend, MaxParallelism, Scratch, SnapshotRequest,
    SnapshotTask,
};

use super::input::InputOperator;
use crate::error::Result;
use crate::operator::{KeyedBatch, KeyedOperator, OperatorContext};
use crate::output::{Keyed, Outputs};
use crate::watermark::Timestamp;

/// Runs a [`KeyedOperator`] on its part of the key groups.
pub(crate) struct KeyedTask<Op: KeyedOperator, F> {
    operator: Op,
    key: F,
    backend: Box<dyn KeyedBackend>,
    max_parallelism: MaxParallelism,
    watermark: Timestamp,
    late_records: Arc<AtomicU64>,
    /// Encoded keys of a batch.
    keys: Vec<Scratch>,
}

impl<Op: KeyedOperator, F: Fn(&Op::In) -> Op::Key> KeyedTask<Op, F> {
    /// Opens `operator` over `backend`, which holds restored state already.
    pub(crate) fn open(
        mut operator: Op,
        key: F,
        mut backend: Box<dyn KeyedBackend>,
        late_records: Arc<AtomicU64>,
    ) -> Result<Self> {
        operator.open(backend.as_mut())?;
        Ok(Self {
            operator,
            key,
            max_parallelism: backend.max_parallelism(),
            backend,
            watermark: Timestamp::MIN,
            late_records,
            keys: vec![Scratch::new(); KeyedBatch::<()>::RECORDS_MAX],
        })
    }

    fn process(&mut self, records: &[Keyed<Op::In>], outputs: &mut Outputs<Op::Out>) -> Result<()> {
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
            backend: self.backend.as_mut(),
            output: outputs,
            watermark: self.watermark,
            late_records: &self.late_records,
        };
        self.operator.process(&KeyedBatch { records, entries }, &mut cx)
    }
}

impl<Op: KeyedOperator, F: Fn(&Op::In) -> Op::Key> InputOperator<Keyed<Op::In>>
    for KeyedTask<Op, F>
{
    type Out = Op::Out;

    fn on_batch(
        &mut self,
        batch: Vec<Keyed<Op::In>>,
        outputs: &mut Outputs<Op::Out>,
    ) -> Result<()> {
        batch
            .chunks(KeyedBatch::<()>::RECORDS_MAX)
            .try_for_each(|records| self.process(records, outputs))
    }

    fn on_watermark(&mut self, watermark: Timestamp, outputs: &mut Outputs<Op::Out>) -> Result<()> {
        self.watermark = watermark;
        let mut cx = OperatorContext {
            backend: self.backend.as_mut(),
            output: outputs,
            watermark,
            late_records: &self.late_records,
        };
        self.operator.on_watermark(&mut cx)
    }

    fn on_end(&mut self, outputs: &mut Outputs<Op::Out>) -> Result<()> {
        let mut cx = OperatorContext {
            backend: self.backend.as_mut(),
            output: outputs,
            watermark: self.watermark,
            late_records: &self.late_records,
        };
        self.operator.on_end(&mut cx)
    }

    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<Option<(Box<dyn SnapshotTask>, KeyGroupRange)>> {
        let task = self.backend.snapshot(&SnapshotRequest::full(checkpoint))?;
        Ok(Some((task, self.backend.key_groups())))
    }

    fn on_completed(&mut self, checkpoint: CheckpointId) {
        self.backend.checkpoint_completed(checkpoint);
    }

    fn on_aborted(&mut self, checkpoint: CheckpointId) {
        self.backend.checkpoint_aborted(checkpoint);
    }
}
