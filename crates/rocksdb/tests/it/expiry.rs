//! Expired state goes by itself when files are compacted, and never from under a snapshot.

use core::time::Duration;

use millpond_rocksdb::RocksDbBackend;
use millpond_state::{
    CancelFlag, CheckpointId, KeyContext, KeyedBackend, SnapshotRequest, StateOptions, StateTime,
    TimeDomain, Ttl, ValueState,
};

use crate::support::{Sum, TemporaryFactory, max};

const EXPIRING: u64 = 2_000;

fn put_all(
    backend: &mut RocksDbBackend,
    state: &ValueState<u64, u64>,
    keys: core::ops::Range<u64>,
) {
    for key in keys {
        let context = KeyContext::new(&key, max()).unwrap();
        state.put(backend, context.at(), &key).unwrap();
    }
}

struct Fixture {
    _factory: TemporaryFactory,
    backend: RocksDbBackend,
    time: StateTime,
    expiring: ValueState<u64, u64>,
    lasting: ValueState<u64, u64>,
}

impl Fixture {
    /// Values that expire a second after 0.
    fn new() -> Self {
        let factory = TemporaryFactory::tiny_buffers();
        let mut backend = factory.backend();
        let time = StateTime::new();
        let ttl = Ttl::new(Duration::from_secs(1), TimeDomain::Event, &time).unwrap();
        let options = StateOptions::new().ttl(ttl);
        let expiring = ValueState::register_with(&mut backend, "expiring", options).unwrap();
        let lasting = ValueState::register(&mut backend, "lasting").unwrap();
        time.advance_event_ms(0);
        put_all(&mut backend, &expiring, 0..EXPIRING);
        Self { _factory: factory, backend, time, expiring, lasting }
    }

    /// Writes elsewhere until the files of the expiring state were compacted, or so much that they
    /// must have been.
    fn write_until_expired(&mut self, rounds: u64) -> u64 {
        for round in 0..rounds {
            put_all(&mut self.backend, &self.lasting, round * 500..(round + 1) * 500);
            let left = self.backend.entry_count(self.expiring.id()).unwrap();
            if left < EXPIRING / 2 {
                return left;
            }
        }
        self.backend.entry_count(self.expiring.id()).unwrap()
    }
}

#[test]
fn expired_entries_go_without_being_read() {
    let mut it = Fixture::new();
    assert_eq!(it.write_until_expired(20), EXPIRING, "before they expired");
    it.time.advance_event_ms(1_001);
    let left = it.write_until_expired(400);
    assert!(left < EXPIRING / 2, "{left} expired entries are left");
}

#[test]
fn what_was_alive_at_a_snapshot_stays_until_it_is_written() {
    let mut it = Fixture::new();
    let request = SnapshotRequest::full(CheckpointId::new(1));
    let task = it.backend.snapshot(&request).unwrap();
    it.time.advance_event_ms(1_001);
    assert_eq!(it.write_until_expired(100), EXPIRING, "while a snapshot needs them");
    let mut sum = Sum::default();
    task.run(&mut sum, &CancelFlag::new()).unwrap();
    assert_eq!(sum.entries, EXPIRING);
    let left = it.write_until_expired(400);
    assert!(left < EXPIRING / 2, "{left} expired entries are left");
}
