//! Incremental snapshots: which files they write, and what those stand for.

use std::time::Duration;

use millpond_memory::{IncrementalOptions, MemoryBackend, MemoryOptions};
use millpond_snapshot::incremental::CHAIN_FORMAT;
use millpond_state::{
    CancelFlag, CheckpointId, ErrorKind, FilesTask, KeyContext, KeyGroupRange, KeyedBackend,
    SnapshotRequest, StateId, StateKind, StateOptions, StateTime, TimeDomain, Ttl, ValueState,
};
use millpond_testkit::native::{MemoryFiles, MemorySnapshot};

use crate::support::{Collected, at, descriptor, max, run, snapshot};

/// A backend with its files, and the checkpoints taken of it.
struct Job {
    backend: MemoryBackend,
    files: MemoryFiles,
    values: StateId,
    maps: StateId,
}

/// What a snapshot wrote.
#[derive(Debug)]
struct Taken {
    files: MemorySnapshot,
    changed: u64,
    added_bytes: u64,
}

impl Taken {
    fn names(&self) -> Vec<&str> {
        self.files.files.iter().map(|file| file.name.as_str()).collect()
    }
}

impl Job {
    fn new(options: IncrementalOptions) -> Self {
        Self::open(options, MemoryFiles::new(), None)
    }

    /// A backend of all key groups, restored from a snapshot if there is one.
    fn open(
        options: IncrementalOptions,
        files: MemoryFiles,
        from: Option<(&MemorySnapshot, KeyGroupRange)>,
    ) -> Self {
        let options = MemoryOptions::new().with_incremental(options);
        let all = max().full_range();
        let mut backend = MemoryBackend::create(all, max(), options).unwrap();
        if let Some((snapshot, groups)) = from {
            let mut source = files.source(CHAIN_FORMAT, groups, snapshot);
            backend.restore_files(&mut source, groups).unwrap();
        }
        let values = backend.register(&descriptor("values", StateKind::Value)).unwrap();
        let maps = backend.register(&descriptor("maps", StateKind::Map)).unwrap();
        Self { backend, files, values, maps }
    }

    fn put(&mut self, numbers: std::ops::Range<u64>, value: &[u8]) {
        for number in numbers {
            self.backend.put(self.values, at(&number.to_be_bytes()), value).unwrap();
        }
    }

    fn delete(&mut self, number: u64) {
        self.backend.delete(self.values, at(&number.to_be_bytes())).unwrap();
    }

    fn freeze(&mut self, id: u64) -> Box<dyn FilesTask> {
        let request = SnapshotRequest::incremental(CheckpointId::new(id));
        self.backend.snapshot_files(&request).unwrap().unwrap()
    }

    fn finish(&self, task: Box<dyn FilesTask>) -> Taken {
        let mut transfer = self.files.transfer();
        let summary = task.run(&mut transfer, &CancelFlag::new()).unwrap();
        let added_bytes = transfer.added_bytes();
        let files = transfer.finish(summary.manifest);
        Taken { files, changed: summary.entries_changed, added_bytes }
    }

    /// Takes a checkpoint that completes.
    fn checkpoint(&mut self, id: u64) -> Taken {
        let task = self.freeze(id);
        let taken = self.finish(task);
        self.backend.checkpoint_completed(CheckpointId::new(id));
        taken
    }

    /// Restores `taken` elsewhere and compares it with the present state.
    fn assert_restores(&mut self, taken: &Taken) {
        let (now, _) = run(snapshot(&mut self.backend, 1_000_000));
        let restored = self.restored(taken, max().full_range());
        assert_eq!((restored.states, restored.entries), (now.states, now.entries));
    }

    fn restored(&self, taken: &Taken, groups: KeyGroupRange) -> Collected {
        let mut backend = crate::support::backend_of(groups);
        let mut source = self.files.source(CHAIN_FORMAT, max().full_range(), &taken.files);
        backend.restore_files(&mut source, groups).unwrap();
        run(snapshot(&mut backend, 1)).0
    }
}

fn defaults() -> IncrementalOptions {
    IncrementalOptions::new()
}

#[test]
fn the_first_snapshot_is_a_base_and_later_ones_add_what_changed() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    let base = job.checkpoint(1);
    assert_eq!((base.names(), base.changed), (vec!["0.full"], 1_000));
    job.put(10..15, b"second");
    job.put(2_000..2_003, b"new");
    job.delete(0);
    job.delete(1);
    job.put(1..2, b"again");
    let second = job.checkpoint(2);
    assert_eq!(second.names(), ["0.full", "1.delta"]);
    assert_eq!(second.changed, 5 + 3 + 1 + 1);
    assert_eq!(second.files.files[0], base.files.files[0]);
    assert!(second.added_bytes * 5 < base.added_bytes, "{second:?}");
    job.assert_restores(&second);
    let nothing = job.checkpoint(3);
    assert_eq!((nothing.names(), nothing.added_bytes), (vec!["0.full", "1.delta"], 0));
    job.assert_restores(&nothing);
}

#[test]
fn a_map_deleted_and_made_again_has_only_its_new_user_keys() {
    let mut job = Job::new(defaults());
    job.put(0..100, b"so that a delta is worth it");
    for map in [b"a", b"b", b"c"] {
        for user_key in [&b""[..], b"u", b"w"] {
            job.backend.map_put(job.maps, at(map), user_key, b"old").unwrap();
        }
    }
    job.checkpoint(1);
    job.backend.map_remove(job.maps, at(b"a"), b"u").unwrap();
    job.backend.delete(job.maps, at(b"a")).unwrap();
    job.backend.map_put(job.maps, at(b"a"), b"", b"new").unwrap();
    job.backend.delete(job.maps, at(b"b")).unwrap();
    job.backend.map_remove(job.maps, at(b"c"), b"u").unwrap();
    let taken = job.checkpoint(2);
    assert_eq!(taken.names(), ["0.full", "1.delta"]);
    // The deletion of map a, its user key u in vain, and its new one; that of map b; one of c.
    assert_eq!(taken.changed, 5);
    job.assert_restores(&taken);
    let restored = job.restored(&taken, max().full_range());
    let left: Vec<_> = restored
        .entries
        .iter()
        .filter(|entry| entry.state == 1)
        .map(|entry| (entry.key.as_slice(), entry.user_key.as_slice()))
        .collect();
    let mut sorted = left.clone();
    sorted.sort_unstable();
    let expected: [(&[u8], &[u8]); 3] = [(b"a", b""), (b"c", b""), (b"c", b"w")];
    assert_eq!(sorted, expected);
}

#[test]
fn after_aborted_checkpoints_the_next_delta_starts_at_the_last_completed_one() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    job.checkpoint(1);
    for id in 2..5 {
        job.put(id * 10..id * 10 + 1, b"next");
        job.delete(id * 10 + 1);
        let task = job.freeze(id);
        let taken = job.finish(task);
        assert_eq!(taken.names(), ["0.full", "1.delta"]);
        assert_eq!(taken.changed, 2 * (id - 1));
        job.backend.checkpoint_aborted(CheckpointId::new(id));
    }
    let taken = job.checkpoint(5);
    assert_eq!((taken.names(), taken.changed), (vec!["0.full", "1.delta"], 6));
    job.assert_restores(&taken);
}

#[test]
fn snapshots_under_way_at_once_show_their_instant_whichever_completes() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    job.checkpoint(1);
    job.put(0..10, b"second");
    job.delete(500);
    let second = job.freeze(2);
    job.put(5..15, b"third");
    job.delete(501);
    let third = job.freeze(3);
    let third = job.finish(third);
    job.assert_restores(&third);
    let second = job.finish(second);
    job.backend.checkpoint_completed(CheckpointId::new(2));
    job.put(20..21, b"fourth");
    let fourth = job.checkpoint(4);
    assert_eq!(fourth.names(), ["0.full", "1.delta", "2.delta"]);
    assert_eq!(fourth.files.files[1], second.files.files[1]);
    assert_eq!(fourth.changed, 10 + 1 + 1);
    job.assert_restores(&fourth);
}

#[test]
fn chains_that_cost_too_much_are_folded_into_a_base() {
    let by_entries = defaults().with_delta_percent_max(10);
    let by_files = defaults().with_chain_files_max(3);
    for (options, longest) in [(by_entries, 3), (by_files, 3)] {
        let mut job = Job::new(options);
        job.put(0..1_000, b"first");
        let mut lengths = Vec::new();
        for id in 1..=8 {
            let taken = job.checkpoint(id);
            lengths.push(taken.names().len());
            job.assert_restores(&taken);
            job.put(0..50, &id.to_be_bytes());
        }
        assert_eq!(lengths, [1, 2, longest, 1, 2, longest, 1, 2], "{options:?}");
    }
}

#[test]
fn all_changed_is_a_base_again() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    job.checkpoint(1);
    job.put(0..1_000, b"other");
    assert_eq!(job.checkpoint(2).names(), ["0.full"]);
}

#[test]
fn files_that_may_not_be_re_used_are_written_again_as_a_base() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    job.checkpoint(1);
    job.put(0..10, b"second");
    job.checkpoint(2);
    job.files.retain(|_| false);
    job.put(0..1, b"third");
    let taken = job.checkpoint(3);
    assert_eq!((taken.names(), taken.changed), (vec!["0.full"], 1_000));
    job.assert_restores(&taken);
}

#[test]
fn deletions_past_their_bound_make_the_next_snapshot_a_base() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    job.checkpoint(1);
    let before = job.backend.memory_bytes();
    for round in 0..20_000u64 {
        job.put(round % 7..round % 7 + 1, b"there");
        job.delete(round % 7);
    }
    assert!(job.backend.memory_bytes() < before + 200_000, "deletions are bounded");
    let taken = job.checkpoint(2);
    assert_eq!(taken.names(), ["0.full"]);
    job.assert_restores(&taken);
    job.delete(500);
    let taken = job.checkpoint(3);
    assert_eq!((taken.names(), taken.changed), (vec!["0.full", "1.delta"], 1));
    job.assert_restores(&taken);
}

#[test]
fn a_restored_instance_goes_on_with_its_chain() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    job.checkpoint(1);
    job.put(0..10, b"second");
    let second = job.checkpoint(2);
    let all = max().full_range();
    let mut job = Job::open(defaults(), job.files.clone(), Some((&second.files, all)));
    job.put(5..6, b"third");
    job.delete(700);
    let third = job.checkpoint(3);
    assert_eq!((third.names(), third.changed), (vec!["0.full", "1.delta", "2.delta"], 2));
    assert_eq!(third.files.files[..2], second.files.files[..]);
    job.assert_restores(&third);
}

#[test]
fn an_instance_restored_from_part_of_a_chain_or_from_entries_begins_with_a_base() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    let first = job.checkpoint(1);
    let half = max().range_of(0, 2).unwrap();
    let other = max().range_of(1, 2).unwrap();
    let mut mixed = Job::open(defaults(), job.files.clone(), Some((&first.files, half)));
    let mut source = job.files.source(CHAIN_FORMAT, max().full_range(), &first.files);
    mixed.backend.restore_files(&mut source, other).unwrap();
    let taken = mixed.checkpoint(2);
    assert_eq!(taken.names(), ["0.full"]);
    job.assert_restores(&taken);
    let (entries, _) = run(snapshot(&mut job.backend, 9));
    let mut canonical = Job::new(defaults());
    canonical.backend.restore(&mut entries.restricted(max().full_range())).unwrap();
    assert_eq!(canonical.checkpoint(1).names(), ["0.full"]);
}

#[test]
fn a_state_registered_between_snapshots_joins_the_chain() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    job.checkpoint(1);
    let late = job.backend.register(&descriptor("late", StateKind::List)).unwrap();
    job.backend.append(late, at(b"k"), b"v").unwrap();
    let taken = job.checkpoint(2);
    assert_eq!(taken.names(), ["0.full", "1.delta"]);
    job.assert_restores(&taken);
}

#[test]
fn canonical_snapshots_between_incremental_ones_change_nothing() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    job.checkpoint(1);
    job.put(0..10, b"second");
    job.delete(900);
    run(snapshot(&mut job.backend, 2));
    job.backend.checkpoint_completed(CheckpointId::new(2));
    job.put(20..21, b"third");
    let taken = job.checkpoint(3);
    assert_eq!((taken.names(), taken.changed), (vec!["0.full", "1.delta"], 12));
    job.assert_restores(&taken);
}

#[test]
fn damage_to_any_file_of_a_chain_is_found_on_restore() {
    let mut job = Job::new(defaults());
    job.put(0..200, b"first");
    job.checkpoint(1);
    job.put(0..20, b"second");
    let taken = job.checkpoint(2);
    for file in &taken.files.files {
        let place = file.identity.place();
        for at in 0..file.identity.bytes() as usize {
            job.files.damage(place, |bytes| bytes[at] ^= 1 << (at % 8));
            let mut backend = crate::support::backend();
            let all = max().full_range();
            let mut source = job.files.source(CHAIN_FORMAT, all, &taken.files);
            let error = backend.restore_files(&mut source, all).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.message().contains(&file.name), "{error}");
            job.files.damage(place, |bytes| bytes[at] ^= 1 << (at % 8));
        }
    }
    let mut foreign = job.files.source("other", max().full_range(), &taken.files);
    let error = job.backend.restore_files(&mut foreign, max().full_range()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
}

#[test]
fn a_cancelled_or_dropped_snapshot_leaves_the_next_one_as_it_was() {
    let mut job = Job::new(defaults());
    job.put(0..1_000, b"first");
    job.checkpoint(1);
    job.put(0..10, b"second");
    drop(job.freeze(2));
    let cancel = CancelFlag::new();
    cancel.cancel();
    let task = job.freeze(3);
    let error = task.run(&mut job.files.transfer(), &cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let taken = job.checkpoint(4);
    assert_eq!((taken.names(), taken.changed), (vec!["0.full", "1.delta"], 10));
    job.assert_restores(&taken);
}

#[test]
fn what_expired_since_it_was_written_is_deleted_and_what_is_unchanged_expires_where_it_is() {
    let time = StateTime::new();
    let register = |backend: &mut MemoryBackend| {
        let ttl = Ttl::new(Duration::from_millis(10), TimeDomain::Event, &time).unwrap();
        let options = StateOptions::new().ttl(ttl);
        ValueState::<u64, u64>::register_with(backend, "expiring", options).unwrap()
    };
    time.advance_event_ms(0);
    let mut job = Job::new(defaults());
    let expiring = register(&mut job.backend);
    let keys: Vec<KeyContext<_>> =
        (0..3u64).map(|key| KeyContext::new(&key, max()).unwrap()).collect();
    for key in &keys {
        expiring.put(&mut job.backend, key.at(), &1).unwrap();
    }
    job.put(0..100, b"so that a delta is worth it");
    job.checkpoint(1);
    expiring.put(&mut job.backend, keys[0].at(), &2).unwrap();
    time.advance_event_ms(5);
    expiring.put(&mut job.backend, keys[1].at(), &2).unwrap();
    time.advance_event_ms(12);
    let taken = job.checkpoint(2);
    assert_eq!((taken.names(), taken.changed), (vec!["0.full", "1.delta"], 2));
    let restored = job.restored(&taken, max().full_range());
    let left = restored.entries.iter().filter(|entry| entry.state == 2).count();
    assert_eq!(left, 2, "one is gone, one lives, one will be found to have expired");
    let all = max().full_range();
    let mut again = Job::open(defaults(), job.files.clone(), Some((&taken.files, all)));
    let expiring = register(&mut again.backend);
    for (key, expected) in keys.iter().zip([None, Some(2), None]) {
        assert_eq!(expiring.get(&mut again.backend, key.at()).unwrap(), expected);
    }
}

/// Writes, in the instances that own them, values and maps that tell `round` apart.
fn populate(backends: &mut [MemoryBackend], round: u64) {
    for backend in backends {
        let values = backend.register(&descriptor("values", StateKind::Value)).unwrap();
        let maps = backend.register(&descriptor("maps", StateKind::Map)).unwrap();
        for number in (0..600u64).filter(|number| number % 7 >= round) {
            let bytes = number.to_be_bytes();
            let key = at(&bytes);
            if !backend.key_groups().contains(key.group()) {
                continue;
            }
            let user_key = [(number % 3 + round) as u8];
            match (number + round) % 5 {
                0 => backend.delete(values, key).unwrap(),
                1 => backend.delete(maps, key).unwrap(),
                2 => backend.map_put(maps, key, &user_key, &round.to_be_bytes()).unwrap(),
                3 => backend.map_remove(maps, key, &user_key).unwrap(),
                _ => backend.put(values, key, &round.to_be_bytes()).unwrap(),
            }
        }
    }
}

fn open_all(parallelism: u32) -> Vec<MemoryBackend> {
    let range = |index| max().range_of(index, parallelism).unwrap();
    (0..parallelism).map(|index| crate::support::backend_of(range(index))).collect()
}

#[test]
fn chains_taken_at_one_parallelism_restore_at_any_other() {
    for (from, to) in [1, 2, 3, 7, 8].into_iter().flat_map(|p| [1, 2, 3, 7, 8].map(|q| (p, q))) {
        let files = MemoryFiles::new();
        let mut old = open_all(from);
        let mut handles = Vec::new();
        for round in 0..4 {
            populate(&mut old, round);
            handles.clear();
            for backend in &mut old {
                let id = CheckpointId::new(round + 1);
                let request = SnapshotRequest::incremental(id);
                let task = backend.snapshot_files(&request).unwrap().unwrap();
                let mut transfer = files.transfer();
                let summary = task.run(&mut transfer, &CancelFlag::new()).unwrap();
                backend.checkpoint_completed(id);
                handles.push((backend.key_groups(), transfer.finish(summary.manifest)));
            }
        }
        assert!(handles.iter().any(|(_, handle)| handle.files.len() > 1), "{from}: no deltas");
        let all = |backends: &mut [MemoryBackend]| {
            let mut entries = Vec::new();
            for backend in backends {
                entries.extend(run(snapshot(backend, 99)).0.entries);
            }
            entries
        };
        let mut new = open_all(to);
        for backend in &mut new {
            for (groups, handle) in &handles {
                let Some(overlap) = groups.intersection(backend.key_groups()) else { continue };
                let mut source = files.source(CHAIN_FORMAT, *groups, handle);
                backend.restore_files(&mut source, overlap).unwrap();
            }
        }
        assert_eq!(all(&mut new), all(&mut old), "{from} to {to}");
        // They go on: with the chain if it is just theirs, else with a base.
        populate(&mut old, 4);
        populate(&mut new, 4);
        assert_eq!(all(&mut new), all(&mut old), "{from} to {to}, later");
    }
}
