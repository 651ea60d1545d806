//! Captures that wait for a landing: nothing expires meanwhile, and failures reach who waits.

#![allow(clippy::unwrap_used, reason = "tests stop on errors")]

use core::time::Duration;
use std::path::PathBuf;

use millpond_state::{
    BackendContext, CheckpointId, ErrorKind, FilesTask, KeyContext, KeyedBackend, MaxParallelism,
    SnapshotRequest, StateOptions, StateTime, TimeDomain, Ttl, ValueState,
};
use millpond_testkit::native::MemoryFiles;
use rocksdb::CompactOptions;
use tempfile::TempDir;

use super::*;
use crate::native::sst::estimated_entries;
use crate::{RocksDbBackend, RocksDbBackendFactory, RocksDbOptions, RocksDbProfile};

const KEYS: u64 = 500;

/// An instance whose generations land when somebody waits for them, of values that expire a second
/// after 0.
struct Fixture {
    backend: RocksDbBackend,
    time: StateTime,
    values: ValueState<u64, u64>,
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = RocksDbOptions::with_profile(dir.path(), RocksDbProfile::SmallMemory)
            .with_landing_threads(0);
        let factory = RocksDbBackendFactory::create(options).unwrap();
        let max = MaxParallelism::new(4).unwrap();
        let context = BackendContext::new("test", max.full_range(), max);
        let mut backend = factory.open_backend(&context).unwrap();
        let time = StateTime::new();
        let ttl = Ttl::new(Duration::from_secs(1), TimeDomain::Event, &time).unwrap();
        let options = StateOptions::new().ttl(ttl);
        let values = ValueState::register_with(&mut backend, "values", options).unwrap();
        time.advance_event_ms(0);
        let mut new = Self { backend, time, values, dir };
        new.put(0..KEYS);
        new
    }

    fn put(&mut self, keys: core::ops::Range<u64>) {
        for key in keys {
            let context = KeyContext::new(&key, self.backend.max_parallelism()).unwrap();
            self.values.put(&mut self.backend, context.at(), &key).unwrap();
        }
    }

    fn freeze(&mut self) -> Box<dyn FilesTask> {
        let request = SnapshotRequest::incremental(CheckpointId::new(1));
        self.backend.snapshot_files(&request).unwrap().unwrap()
    }

    /// Compacts all files of the database; returns how many entries are left.
    fn compact(&self) -> u64 {
        let store = &self.backend.tables.store;
        let (family, options) = (store.family().unwrap(), CompactOptions::default());
        store.db().compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        let files = crate::native::sys::live_files(store.db(), store.family_name()).unwrap();
        estimated_entries(&files)
    }

    /// Makes landings fail, until the returned folders are removed.
    fn block(&self) -> Vec<PathBuf> {
        let instance = std::fs::read_dir(self.dir.path()).unwrap().map(|it| it.unwrap().path());
        let instance = instance.into_iter().find(|path| path.is_dir()).unwrap();
        let paths = (0..20).map(|number| instance.join(format!("landing-{number}.sst")));
        let paths: Vec<_> = paths.filter(|path| !path.exists()).collect();
        paths.iter().for_each(|path| std::fs::create_dir(path).unwrap());
        paths
    }
}

#[test]
fn nothing_expires_between_the_freeze_and_the_capture() {
    let mut it = Fixture::new();
    it.backend.tables.settle().unwrap();
    let task = it.freeze();
    it.time.advance_event_ms(1_001);
    assert_eq!(it.compact(), KEYS, "while a snapshot waits for its capture");
    let files = MemoryFiles::new();
    let mut transfer = files.transfer();
    let summary = task.run(&mut transfer, &CancelFlag::new()).unwrap();
    assert_eq!(summary.entries, KEYS);
    assert_eq!(it.compact(), 0);
}

#[test]
fn a_landing_that_fails_is_told_to_the_snapshot_and_the_next_has_everything() {
    let mut it = Fixture::new();
    let blocked = it.block();
    let files = MemoryFiles::new();
    for _ in 0..2 {
        let task = it.freeze();
        let refused = task.run(&mut files.transfer(), &CancelFlag::new()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
    }
    blocked.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    let task = it.freeze();
    let summary = task.run(&mut files.transfer(), &CancelFlag::new()).unwrap();
    assert_eq!(summary.entries, KEYS);
}

#[test]
fn cancelled_while_the_landing_is_awaited() {
    let mut it = Fixture::new();
    let (task, cancel) = (it.freeze(), CancelFlag::new());
    cancel.cancel();
    let error = task.run(&mut MemoryFiles::new().transfer(), &cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(it.backend.entry_count(it.values.id()).unwrap(), KEYS);
}
