//! All subtasks of one operator, driven by hand, and moved to another parallelism through real
//! snapshots.

use std::sync::Arc;

use millpond_checkpoint::driver::{CheckpointStorage, KeyedStateSource, WriteKeyedState};
use millpond_memory::MemoryBackendFactory;
use millpond_runtime::harness::OperatorHarness;
use millpond_runtime::{KeyedOperator, Timestamp};
use millpond_state::codec::{Codec, DefaultCodec};
use millpond_state::{
    AttemptId, BackendContext, BackendFactory, CancelFlag, CheckpointId, KeyGroupRange,
    MaxParallelism, Scratch, SnapshotRequest, SubtaskId, key_hash,
};
use millpond_storage::MemoryStore;

const MAX_PARALLELISM: u32 = 16;

/// Pseudo-random numbers, the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

pub(crate) struct Subtasks<Op: KeyedOperator, M, F> {
    make: M,
    key: F,
    pub(crate) all: Vec<OperatorHarness<Op, F>>,
    max: MaxParallelism,
    storage: CheckpointStorage,
    checkpoint: CheckpointId,
    late_before: u64,
}

impl<Op, M, F> Subtasks<Op, M, F>
where
    Op: KeyedOperator<Out: Clone, Side: Clone>,
    M: Fn() -> Op,
    F: Fn(&Op::In) -> Op::Key + Clone,
{
    pub(crate) fn open(parallelism: u32, make: M, key: F) -> Self {
        let max = MaxParallelism::new(MAX_PARALLELISM).unwrap();
        let storage = CheckpointStorage::new(Arc::new(MemoryStore::new()));
        let (all, checkpoint) = (Vec::new(), CheckpointId::new(1));
        let mut subtasks = Self { make, key, all, max, storage, checkpoint, late_before: 0 };
        subtasks.open_all(parallelism, &[]);
        subtasks
    }

    fn open_all(&mut self, parallelism: u32, sources: &[KeyedStateSource]) {
        for index in 0..parallelism {
            let range = self.max.range_of(index, parallelism).unwrap();
            let context = BackendContext::new("operator", range, self.max);
            let mut backend = MemoryBackendFactory::default().open(&context).unwrap();
            for source in sources {
                if let Some(key_groups) = source.key_groups.intersection(range) {
                    let part = KeyedStateSource { key_groups, ..source.clone() };
                    part.restore_into(backend.as_mut()).unwrap();
                }
            }
            let harness = OperatorHarness::open((self.make)(), self.key.clone(), backend);
            self.all.push(harness.unwrap());
        }
    }

    /// Takes a snapshot of all subtasks and restores it at another parallelism.
    pub(crate) fn rescale(&mut self, parallelism: u32) {
        self.checkpoint = self.checkpoint.next();
        let mut sources = Vec::new();
        for (index, harness) in (0..).zip(&mut self.all) {
            self.late_before += harness.late_records();
            let backend = harness.backend();
            let key_groups: KeyGroupRange = backend.key_groups();
            let task = backend.snapshot(&SnapshotRequest::full(self.checkpoint)).unwrap();
            let write = WriteKeyedState {
                checkpoint: self.checkpoint,
                attempt: AttemptId::new(1),
                subtask: &SubtaskId::new("operator", index),
                key_groups,
                compression_level: 0,
            };
            let part = self.storage.write_keyed_state(&write, task, &CancelFlag::new()).unwrap();
            sources.push(KeyedStateSource {
                folder: self.storage.folder(self.checkpoint).unwrap(),
                handle: Arc::new(part.handle().clone()),
                key_groups,
            });
        }
        self.all.clear();
        self.open_all(parallelism, &sources);
    }

    /// Hands each record to the subtask that owns its key.
    pub(crate) fn process(&mut self, records: impl IntoIterator<Item = Op::In>) {
        let parallelism = self.all.len() as u32;
        let mut shares: Vec<Vec<Op::In>> = self.all.iter().map(|_| Vec::new()).collect();
        for record in records {
            let mut bytes = Scratch::new();
            let key = (self.key)(&record);
            DefaultCodec::<Op::Key>::default().encode_into(&key, &mut bytes).unwrap();
            let group = self.max.group_of_hash(key_hash(bytes.as_slice()));
            shares[self.max.subtask_of(group, parallelism) as usize].push(record);
        }
        for (harness, share) in self.all.iter_mut().zip(shares) {
            harness.process(share).unwrap();
        }
    }

    pub(crate) fn advance_watermark(&mut self, ms: i64) {
        for harness in &mut self.all {
            harness.advance_watermark(Timestamp::from_ms(ms)).unwrap();
        }
    }

    pub(crate) fn advance_processing_ms(&mut self, ms: i64) {
        for harness in &mut self.all {
            harness.advance_processing_ms(ms).unwrap();
        }
    }

    pub(crate) fn end(&mut self) {
        for harness in &mut self.all {
            harness.end().unwrap();
        }
    }

    pub(crate) fn take_output(&mut self) -> Vec<Op::Out> {
        self.all.iter_mut().flat_map(OperatorHarness::take_output).collect()
    }

    pub(crate) fn take_side(&mut self) -> Vec<Op::Side> {
        self.all.iter_mut().flat_map(OperatorHarness::take_side).collect()
    }

    pub(crate) fn late_records(&self) -> u64 {
        self.late_before + self.all.iter().map(OperatorHarness::late_records).sum::<u64>()
    }

    /// Entries of the state called `name` over all subtasks; 0 if it does not exist.
    pub(crate) fn entries(&mut self, name: &str) -> u64 {
        let mut entries = 0;
        for harness in &mut self.all {
            let backend = harness.backend();
            let position = backend.states().iter().position(|state| state.name() == name);
            if let Some(position) = position {
                let id = millpond_state::StateId::new(position as u16);
                entries += backend.entry_count(id).unwrap();
            }
        }
        entries
    }
}
