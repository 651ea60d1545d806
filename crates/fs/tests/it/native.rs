//! Native snapshots: which files they write, and what those stand for.

use millpond_fs::FsBackend;
use millpond_state::{
    CancelFlag, CheckpointId, ErrorKind, FilesTask, KeyGroup, KeyGroupRange, KeyedBackend,
    SnapshotRequest, StateId, StateKind,
};
use millpond_testkit::entries::CollectedSnapshot;
use millpond_testkit::native::{MemoryFiles, MemorySnapshot};

use crate::support::{TemporaryFactory, at, collect, descriptor, max};

/// A backend of some key groups with its files.
struct Job {
    backend: FsBackend,
    files: MemoryFiles,
    values: StateId,
    lists: StateId,
    maps: StateId,
}

/// What a snapshot wrote.
#[derive(Clone, Debug)]
struct Taken {
    files: MemorySnapshot,
    groups: KeyGroupRange,
    entries: u64,
    changed: u64,
    added_bytes: u64,
}

fn range(first: u16, last: u16) -> KeyGroupRange {
    KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last)).unwrap()
}

impl Job {
    /// A backend restored from snapshots in `files`, each of which has some of its key groups.
    fn open(
        factory: &TemporaryFactory,
        files: &MemoryFiles,
        groups: KeyGroupRange,
        from: &[Taken],
    ) -> Self {
        let mut backend = factory.backend_of(groups);
        let mut restored = 0;
        for taken in from {
            let Some(overlap) = taken.groups.intersection(groups) else { continue };
            let mut source = files.source("fs", taken.groups, &taken.files);
            restored += backend.restore_files(&mut source, overlap).unwrap();
        }
        let [values, lists, maps] =
            [("values", StateKind::Value), ("lists", StateKind::List), ("maps", StateKind::Map)]
                .map(|(name, kind)| backend.register(&descriptor(name, kind)).unwrap());
        let mut job = Self { backend, files: files.clone(), values, lists, maps };
        assert_eq!(restored, job.now().entries.len() as u64);
        job
    }

    fn new(factory: &TemporaryFactory) -> Self {
        Self::open(factory, &MemoryFiles::new(), max().full_range(), &[])
    }

    fn put(&mut self, numbers: std::ops::Range<u64>, value: &[u8]) {
        for number in numbers {
            let key = number.to_be_bytes();
            if self.backend.key_groups().contains(at(&key).group()) {
                self.backend.put(self.values, at(&key), value).unwrap();
            }
        }
    }

    fn delete(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let key = number.to_be_bytes();
            if self.backend.key_groups().contains(at(&key).group()) {
                self.backend.delete(self.values, at(&key)).unwrap();
            }
        }
    }

    /// Appends to lists and puts into maps.
    fn grow(&mut self, numbers: std::ops::Range<u64>, bytes: &[u8]) {
        for number in numbers {
            let key = (number % 7).to_be_bytes();
            if self.backend.key_groups().contains(at(&key).group()) {
                self.backend.append(self.lists, at(&key), bytes).unwrap();
                self.backend.map_put(self.maps, at(&key), &number.to_be_bytes(), bytes).unwrap();
            }
        }
    }

    fn freeze(&mut self, id: u64) -> Box<dyn FilesTask> {
        let request = SnapshotRequest::incremental(CheckpointId::new(id));
        self.backend.snapshot_files(&request).unwrap().unwrap()
    }

    fn finish(&self, task: Box<dyn FilesTask>) -> Taken {
        let mut transfer = self.files.transfer();
        let summary = task.run(&mut transfer, &CancelFlag::new()).unwrap();
        Taken {
            added_bytes: transfer.added_bytes(),
            files: transfer.finish(summary.manifest),
            groups: self.backend.key_groups(),
            entries: summary.entries,
            changed: summary.entries_changed,
        }
    }

    /// Takes a checkpoint that completes.
    fn checkpoint(&mut self, id: u64) -> Taken {
        let task = self.freeze(id);
        let taken = self.finish(task);
        self.backend.checkpoint_completed(CheckpointId::new(id));
        taken
    }

    fn now(&mut self) -> CollectedSnapshot {
        collect(&mut self.backend)
    }
}

/// Restores `taken` into a new instance of all key groups.
fn restored(factory: &TemporaryFactory, files: &MemoryFiles, taken: &Taken) -> CollectedSnapshot {
    Job::open(factory, files, max().full_range(), std::slice::from_ref(taken)).now()
}

#[test]
fn a_restored_snapshot_has_everything_and_only_new_segments_are_written() {
    let factory = TemporaryFactory::usual();
    let mut job = Job::new(&factory);
    job.put(0..20_000, &[1; 100]);
    job.grow(0..3_000, b"first");
    let base = job.checkpoint(1);
    assert!(base.added_bytes > 2_000_000, "{base:?}");
    assert_eq!(base.entries, job.now().entries.len() as u64);
    job.put(100..300, &[2; 100]);
    job.delete(0..50);
    job.grow(3_000..3_010, b"second");
    let next = job.checkpoint(2);
    let changed_bytes = 250 * 132 + 7 * 4_096;
    assert!(next.added_bytes < 3 * changed_bytes, "{} bytes", next.added_bytes);
    assert!((250..400).contains(&next.changed), "{}", next.changed);
    assert_eq!(next.entries, job.now().entries.len() as u64);
    assert_eq!(restored(&factory, &job.files, &next), job.now());
    let unchanged = job.checkpoint(3);
    assert_eq!(unchanged.added_bytes, 0);
    assert_eq!(unchanged.files.files, next.files.files);
}

#[test]
fn files_of_checkpoints_that_did_not_complete_are_written_again() {
    let factory = TemporaryFactory::usual();
    let mut job = Job::new(&factory);
    job.put(0..1_000, b"value");
    let task = job.freeze(1);
    let aborted = job.finish(task);
    job.backend.checkpoint_aborted(CheckpointId::new(1));
    let pending = job.freeze(2);
    let pending = job.finish(pending);
    assert_eq!(pending.added_bytes, aborted.added_bytes);
    let next = job.freeze(3);
    let next = job.finish(next);
    assert_eq!(next.added_bytes, pending.added_bytes);
    job.backend.checkpoint_completed(CheckpointId::new(3));
    assert_eq!(job.checkpoint(4).added_bytes, 0);
    // Storage has the files no longer: they are written once more.
    job.files.retain(|_| false);
    let again = job.checkpoint(5);
    assert_eq!(again.added_bytes, next.added_bytes);
    assert_eq!(restored(&factory, &job.files, &again), job.now());
}

#[test]
fn what_is_restored_from_its_own_files_writes_only_what_is_new() {
    let factory = TemporaryFactory::tiny_segments();
    let mut job = Job::new(&factory);
    job.put(0..2_000, &[1; 40]);
    job.grow(0..500, b"some bytes");
    let taken = job.checkpoint(1);
    let mut next = Job::open(&factory, &job.files, max().full_range(), &[taken]);
    assert_eq!(next.now(), job.now());
    let unchanged = next.checkpoint(2);
    assert_eq!(unchanged.added_bytes, 0);
    next.put(0..10, &[2; 40]);
    let changed = next.checkpoint(3);
    assert!(changed.added_bytes < 8_192, "{}", changed.added_bytes);
    assert_eq!(restored(&factory, &next.files, &changed), next.now());
}

/// The same operations on all jobs: each does what is in its key groups.
fn churn(jobs: &mut [Job], round: u64) {
    for job in jobs {
        job.put(0..600, &round.to_le_bytes().repeat(5));
        job.put(round * 100..round * 100 + 300, &[round as u8; 60]);
        job.delete(round * 70..round * 70 + 60);
        job.grow(round * 200..round * 200 + 200, &[round as u8; 20]);
    }
}

fn all_entries(jobs: &mut [Job]) -> CollectedSnapshot {
    let mut all = CollectedSnapshot::default();
    for job in jobs {
        let mut part = job.now();
        all.states = part.states;
        all.entries.append(&mut part.entries);
    }
    all
}

fn checkpoints(jobs: &mut [Job], id: u64) -> Vec<Taken> {
    jobs.iter_mut().map(|job| job.checkpoint(id)).collect()
}

#[test]
fn state_is_rescaled_from_files_again_and_again() {
    for factory in [TemporaryFactory::usual(), TemporaryFactory::tiny_segments()] {
        let files = MemoryFiles::new();
        let open = |parallelism: u32, from: &[Taken]| -> Vec<Job> {
            let range = |index| max().range_of(index, parallelism).unwrap();
            (0..parallelism).map(|index| Job::open(&factory, &files, range(index), from)).collect()
        };
        let of_model = TemporaryFactory::usual();
        let mut model = vec![Job::new(&of_model)];
        let mut jobs = open(2, &[]);
        for (round, parallelism) in [3, 2, 1, 5, 4, 2, 3].into_iter().enumerate() {
            let round = round as u64;
            churn(&mut model, round);
            churn(&mut jobs, round);
            // Twice, so that files of several checkpoints make up the state.
            checkpoints(&mut jobs, 2 * round + 1);
            churn(&mut model, round + 10);
            churn(&mut jobs, round + 10);
            let taken = checkpoints(&mut jobs, 2 * round + 2);
            jobs = open(parallelism, &taken);
            assert_eq!(all_entries(&mut jobs), all_entries(&mut model), "round {round}");
            let states = [model[0].values, model[0].lists, model[0].maps];
            for state in states {
                let count = |job: &mut Job| job.backend.entry_count(state).unwrap();
                let counts = (jobs.iter_mut().map(count).sum::<u64>(), count(&mut model[0]));
                assert_eq!(counts.0, counts.1, "round {round}, {state}");
            }
        }
    }
}

/// Segments are fetched only by who owns a key group that they have something of.
#[test]
fn a_subtask_fetches_no_segment_that_has_none_of_its_key_groups() {
    let factory = TemporaryFactory::tiny_segments();
    let mut job = Job::new(&factory);
    let (lower, upper) = (range(0, 7), range(8, 15));
    let of = |groups: KeyGroupRange| {
        move |number: &u64| groups.contains(at(&number.to_be_bytes()).group())
    };
    (0..4_000).filter(of(lower)).for_each(|number| job.put(number..number + 1, &[1; 40]));
    let first = job.checkpoint(1);
    (0..4_000).filter(of(upper)).for_each(|number| job.put(number..number + 1, &[2; 40]));
    let both = job.checkpoint(2);
    let of_lower =
        |place: &str| first.files.files.iter().any(|file| file.identity.place() == place);
    job.files.retain(|place| !of_lower(place));
    let mut restored = Job::open(&factory, &job.files, upper, std::slice::from_ref(&both));
    let mut expected = job.now();
    expected.entries.retain(|entry| upper.contains(entry.group));
    assert_eq!(restored.now(), expected);
    let mut source = job.files.source("fs", both.groups, &both.files);
    let missing = factory.backend_of(lower).restore_files(&mut source, lower).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Corrupt);
}

#[test]
fn states_of_other_numbers_are_restored_by_name() {
    let factory = TemporaryFactory::usual();
    let mut job = Job::new(&factory);
    job.put(0..300, b"value");
    job.grow(0..2_000, &[9; 50]);
    let taken = job.checkpoint(1);
    let mut other = factory.backend();
    other.register(&descriptor("maps", StateKind::Map)).unwrap();
    let mut source = job.files.source("fs", taken.groups, &taken.files);
    other.restore_files(&mut source, taken.groups).unwrap();
    let (mut found, expected) = (collect(&mut other), job.now());
    assert_eq!(found.states[0].name(), "maps");
    let by_name =
        |of: &CollectedSnapshot, number: u16| of.states[number as usize].name().to_owned();
    let names: Vec<String> = (0..3).map(|number| by_name(&found, number)).collect();
    for entry in &mut found.entries {
        entry.state = expected
            .states
            .iter()
            .position(|state| state.name() == names[entry.state as usize])
            .unwrap() as u16;
    }
    found.entries.sort();
    assert_eq!(found.entries, expected.entries);
}

#[test]
fn a_snapshot_keeps_its_segments_while_compaction_goes_on() {
    let factory = TemporaryFactory::tiny_segments();
    let mut job = Job::new(&factory);
    job.put(0..500, &[1; 50]);
    job.grow(0..500, b"abc");
    let expected = job.now();
    let task = job.freeze(1);
    for round in 2..20 {
        job.put(0..500, &[round; 50]);
    }
    job.delete(0..400);
    let copied = job.backend.statistics().copied_bytes;
    assert!(copied > 0, "nothing was compacted");
    let taken = job.finish(task);
    assert_eq!(restored(&factory, &job.files, &taken), expected);
}

#[test]
fn what_a_crash_amid_a_compaction_leaves_does_not_matter() {
    let factory = TemporaryFactory::tiny_segments();
    let mut job = Job::new(&factory);
    job.put(0..1_000, &[1; 50]);
    let taken = job.checkpoint(1);
    let expected = job.now();
    let files = job.files.clone();
    for number in (0..6_000u64).map(|number| number.wrapping_mul(0x9e37_79b9) % 1_000) {
        job.put(number..number + 1, &[2; 50]);
    }
    assert!(job.backend.statistics().copied_bytes > 0, "nothing was compacted");
    drop(job);
    assert_eq!(restored(&factory, &files, &taken), expected);
}

#[test]
fn every_changed_byte_and_every_missing_tail_is_found_and_the_file_named() {
    let factory = TemporaryFactory::usual();
    let mut job = Job::new(&factory);
    job.put(0..4, b"value");
    job.grow(0..3, b"abc");
    job.delete(1..2);
    let taken = job.checkpoint(1);
    let place = taken.files.files[0].identity.place().to_owned();
    let length = taken.files.files[0].identity.bytes() as usize;
    let try_restore = || {
        let mut backend = factory.backend();
        let mut source = job.files.source("fs", taken.groups, &taken.files);
        backend.restore_files(&mut source, taken.groups)
    };
    for at in (0..length).step_by(7) {
        job.files.damage(&place, |bytes| bytes[at] ^= 1 << (at % 8));
        let error = try_restore().unwrap_err();
        assert!(error.message().contains(&place), "{at}: {error}");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{at}: {error}");
        job.files.damage(&place, |bytes| bytes[at] ^= 1 << (at % 8));
    }
    let mut whole = Vec::new();
    job.files.damage(&place, |bytes| whole.clone_from(bytes));
    for at in (0..length).step_by(97) {
        job.files.damage(&place, |bytes| bytes.truncate(at));
        assert_eq!(try_restore().unwrap_err().kind(), ErrorKind::Corrupt, "cut at {at}");
        job.files.damage(&place, |bytes| bytes.clone_from(&whole));
    }
    try_restore().unwrap();
}

#[test]
fn another_segment_in_the_place_of_a_file_is_found() {
    let factory = TemporaryFactory::usual();
    let mut job = Job::new(&factory);
    job.put(0..100, b"older");
    let older = job.checkpoint(1);
    job.put(0..100, b"newer");
    let newer = job.checkpoint(2);
    let place = |taken: &Taken| taken.files.files.last().unwrap().identity.place().to_owned();
    let mut bytes = Vec::new();
    job.files.damage(&place(&older), |older| bytes.clone_from(older));
    job.files.damage(&place(&newer), |newer| {
        assert_eq!(newer.len(), bytes.len());
        newer.clone_from(&bytes);
    });
    let mut backend = factory.backend();
    let mut source = job.files.source("fs", newer.groups, &newer.files);
    let error = backend.restore_files(&mut source, newer.groups).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.message().contains("swapped"), "{error}");
}

#[test]
fn files_of_another_backend_and_foreign_key_groups_are_refused() {
    let factory = TemporaryFactory::usual();
    let mut job = Job::new(&factory);
    job.put(0..10, b"value");
    let taken = job.checkpoint(1);
    let mut source = job.files.source("rocksdb", taken.groups, &taken.files);
    let mut backend = factory.backend_of(range(0, 7));
    let error = backend.restore_files(&mut source, range(0, 7)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    let mut source = job.files.source("fs", taken.groups, &taken.files);
    let error = backend.restore_files(&mut source, range(0, 8)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_cancelled_snapshot_leaves_everything_as_it_was() {
    let factory = TemporaryFactory::usual();
    let mut job = Job::new(&factory);
    job.put(0..1_000, b"value");
    let task = job.freeze(1);
    let cancel = CancelFlag::new();
    cancel.cancel();
    let error = task.run(&mut job.files.transfer(), &cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    drop(job.freeze(2));
    let taken = job.checkpoint(3);
    assert_eq!(restored(&factory, &job.files, &taken), job.now());
}
