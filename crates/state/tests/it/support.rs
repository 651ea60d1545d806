//! A small backend, its snapshots, and keys for it.

use core::time::Duration;

use millpond_state::{
    Aggregate, CancelFlag, CheckpointId, ErrorKind, KeyContext, KeyedBackend, MaxParallelism,
    NamespaceContext, Result, SnapshotRequest, SnapshotSummary, StateError, StateTime, TimeDomain,
    Ttl,
};
use millpond_testkit::entries::{CollectedSnapshot, CollectingSink};
use millpond_testkit::model::ModelBackend;

pub(crate) const GROUPS: u32 = 8;

pub(crate) fn max_parallelism() -> MaxParallelism {
    MaxParallelism::new(GROUPS).unwrap()
}

pub(crate) fn open() -> ModelBackend {
    ModelBackend::open(max_parallelism().full_range(), max_parallelism()).unwrap()
}

pub(crate) fn key(key: u64) -> KeyContext<u64> {
    KeyContext::new(&key, max_parallelism()).unwrap()
}

pub(crate) fn namespace(namespace: u8) -> NamespaceContext<u8> {
    NamespaceContext::new(&namespace).unwrap()
}

/// A snapshot, and what its task said about it.
pub(crate) fn summed_snapshot<B: KeyedBackend>(
    backend: &mut B,
) -> (CollectedSnapshot, SnapshotSummary) {
    let task = backend.snapshot(&SnapshotRequest::full(CheckpointId::new(1))).unwrap();
    let mut sink = CollectingSink::new();
    let summary = task.run(&mut sink, &CancelFlag::new()).unwrap();
    (sink.into_snapshot(), summary)
}

pub(crate) fn snapshot<B: KeyedBackend>(backend: &mut B) -> CollectedSnapshot {
    summed_snapshot(backend).0
}

pub(crate) fn restored(snapshot: &CollectedSnapshot) -> ModelBackend {
    let mut backend = open();
    backend.restore(&mut snapshot.source(max_parallelism().full_range())).unwrap();
    backend
}

pub(crate) fn ttl(ms: u64, domain: TimeDomain, time: &StateTime) -> Ttl {
    Ttl::new(Duration::from_millis(ms), domain, time).unwrap()
}

/// Moves both clocks.
pub(crate) fn advance(time: &StateTime, now: i64) {
    time.set_processing_ms(now);
    time.advance_event_ms(now);
}

/// The error of `result`, which must be of `kind` and name all of `parts`.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, kind: ErrorKind, parts: &[&str]) -> StateError {
    let error = result.err().expect("an error");
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.message().contains(part), "{part:?} is not in: {error}");
    }
    error
}

/// Sum and number of what was added.
#[derive(Debug)]
pub(crate) struct Mean;

impl Aggregate for Mean {
    type Input = u64;
    type Accumulator = (u64, u64);
    type Output = (u64, u64);

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, accumulator: &mut (u64, u64), input: &u64) {
        accumulator.0 += input;
        accumulator.1 += 1;
    }

    fn merge(&self, accumulator: &mut (u64, u64), other: (u64, u64)) {
        accumulator.0 += other.0;
        accumulator.1 += other.1;
    }

    fn result(&self, accumulator: &(u64, u64)) -> (u64, u64) {
        *accumulator
    }
}
