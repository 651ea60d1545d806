//! A job that counts numbers by their value, with sources that can be slowed and code that can
//! fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_memory::MemoryBackendFactory;
use millpond_runtime::sink::{PartFileFormat, PartFiles};
use millpond_runtime::{
    Job, JobEnvironment, JobGraph, JobListener, JobNotice, JobSettings, KeyedBatch, KeyedOperator,
    OpenContext, OperatorContext, RestartStrategy, Result, Source, SourceStatus, Timestamp,
};
use millpond_state::kinds::for_each_entry;
use millpond_state::seam::{Clock, SystemClock};
use millpond_state::{KeyContext, MaxParallelism, ReducingState};
use millpond_storage::{LocalStore, Store};

/// Yields `first + i * step` for i below `count`; split over subtasks by taking turns.
pub(crate) struct Numbers {
    /// Next index and end, for each split.
    splits: Vec<(u64, u64, u64)>,
    pub(crate) pause_every: u64,
    emitted: u64,
    hold: Option<Arc<AtomicBool>>,
}

impl Numbers {
    /// `count` numbers dealt out to `parallelism` splits; this one is `index`.
    pub(crate) fn new(count: u64, index: u32, parallelism: u32) -> Self {
        let splits = vec![(u64::from(index), count, u64::from(parallelism))];
        Self { splits, pause_every: u64::MAX, emitted: 0, hold: None }
    }

    /// Waits at its end while `hold` is set.
    pub(crate) fn holding(mut self, hold: Arc<AtomicBool>) -> Self {
        self.hold = Some(hold);
        self
    }
}

impl Source for Numbers {
    type Record = u64;
    type Position = (u64, u64, u64);

    fn restore(&mut self, positions: Vec<(u64, u64, u64)>) -> Result<()> {
        self.splits = positions;
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<u64>, records_max: usize) -> Result<SourceStatus> {
        let Some(split) = self.splits.iter_mut().find(|(next, end, _)| next < end) else {
            if self.hold.as_ref().is_some_and(|hold| hold.load(Ordering::SeqCst)) {
                return Ok(SourceStatus::Idle(Duration::from_millis(1)));
            }
            return Ok(SourceStatus::End);
        };
        let (next, end, step) = split;
        while *next < *end && out.len() < records_max.min(100) {
            out.push(*next);
            *next += *step;
        }
        self.emitted += out.len() as u64;
        if self.emitted >= self.pause_every {
            self.emitted = 0;
            return Ok(SourceStatus::Idle(Duration::from_millis(1)));
        }
        Ok(SourceStatus::Ready)
    }

    fn watermark(&self) -> Option<Timestamp> {
        None
    }

    fn positions(&mut self) -> Result<Vec<(u64, u64, u64)>> {
        Ok(self.splits.clone())
    }
}

/// Counts records by key and says the counts at the end of input.
pub(crate) struct Count {
    state: Option<ReducingState<u64, u64>>,
    pub(crate) fail: Arc<FailPlan>,
}

/// When user code fails: once, at the record with this number.
#[derive(Default)]
pub(crate) struct FailPlan {
    pub(crate) panic_at: AtomicU64,
    seen: AtomicU64,
}

impl FailPlan {
    pub(crate) fn never() -> Arc<Self> {
        Self::at(u64::MAX)
    }

    pub(crate) fn at(record: u64) -> Arc<Self> {
        Arc::new(Self { panic_at: AtomicU64::new(record), seen: AtomicU64::new(0) })
    }

    pub(crate) fn see(&self, records: u64) {
        let before = self.seen.fetch_add(records, Ordering::SeqCst);
        let at = self.panic_at.load(Ordering::SeqCst);
        if before <= at && at < before + records {
            panic!("user code fails at record {at}");
        }
    }
}

impl KeyedOperator for Count {
    type In = u64;
    type Key = u64;
    type Out = (u64, u64);
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.state = Some(ReducingState::register(cx.backend(), "count", |a, b| a + b)?);
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, u64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        self.fail.see(batch.len() as u64);
        Ok(self.state.as_ref().unwrap().add_many(cx.backend(), batch.entries(), |_| 1)?)
    }

    fn on_end(&mut self, cx: &mut OperatorContext<'_, Self>) -> Result<()> {
        let state = self.state.as_ref().unwrap();
        let mut keys = Vec::new();
        for_each_entry::<u64, (), _>(cx.backend(), state.id(), |key, ()| {
            keys.push(key);
            std::ops::ControlFlow::Continue(())
        })?;
        let max = cx.backend().max_parallelism();
        for key in keys {
            let context = KeyContext::new(&key, max)?;
            let count = state.get(cx.backend(), context.at())?.unwrap();
            cx.emit(&(key, count))?;
        }
        Ok(())
    }
}

pub(crate) struct Pairs;

impl PartFileFormat<(u64, u64)> for Pairs {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"key,count\n"
    }

    fn append(&self, (key, count): &(u64, u64), out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(format!("{key},{count}\n").as_bytes());
        Ok(())
    }
}

/// Remembers what it hears.
#[derive(Default)]
pub(crate) struct Notes(pub(crate) Mutex<Vec<String>>);

impl JobListener for Notes {
    fn on_notice(&self, notice: &JobNotice<'_>) {
        self.0.lock().unwrap().push(format!("{notice:?}"));
    }
}

impl Notes {
    /// The notices that begin so.
    pub(crate) fn all(&self, start: &str) -> Vec<String> {
        let notes = self.0.lock().unwrap();
        notes.iter().filter(|note| note.starts_with(start)).cloned().collect()
    }

    pub(crate) fn count(&self, start: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|note| note.starts_with(start)).count()
    }
}

/// What a run of the counting job is made of.
pub(crate) struct Counting<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) numbers: u64,
    pub(crate) keys: u64,
    pub(crate) sources: u32,
    pub(crate) counters: u32,
    pub(crate) max_parallelism: u32,
    pub(crate) interval_ms: Option<u64>,
    pub(crate) restart: RestartStrategy,
    pub(crate) fail: Arc<FailPlan>,
    pub(crate) hold: Arc<AtomicBool>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) at_least_once: bool,
    pub(crate) incremental: bool,
    pub(crate) pause_every: u64,
    pub(crate) local_recovery: Option<PathBuf>,
    pub(crate) compression_level: i32,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<'a> Counting<'a> {
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            numbers: 20_000,
            keys: 500,
            sources: 2,
            counters: 2,
            max_parallelism: 16,
            interval_ms: Some(5),
            restart: RestartStrategy::Never,
            fail: FailPlan::never(),
            hold: Arc::default(),
            notes: Arc::default(),
            at_least_once: false,
            incremental: false,
            pause_every: 1_000,
            local_recovery: None,
            compression_level: 1,
            clock: Arc::new(SystemClock::new()),
        }
    }

    pub(crate) fn storage(&self) -> Arc<CheckpointStorage> {
        let store: Arc<dyn Store> =
            Arc::new(LocalStore::create(self.folder.join("checkpoints")).unwrap());
        Arc::new(CheckpointStorage::new(store))
    }

    pub(crate) fn job(&self) -> Job {
        let mut settings =
            JobSettings::new("counting", MaxParallelism::new(self.max_parallelism).unwrap());
        settings.checkpoints.interval_ms = self.interval_ms;
        settings.checkpoints.retained_max = 3;
        settings.incremental = self.incremental;
        settings.compression_level = self.compression_level;
        settings.local_recovery.clone_from(&self.local_recovery);
        if self.at_least_once {
            settings.checkpoints.mode = millpond_checkpoint::CheckpointMode::AtLeastOnce;
        }
        settings.restart = self.restart.clone();
        let mut graph = JobGraph::new(settings);
        let (count, hold, pause_every) = (self.numbers, Arc::clone(&self.hold), self.pause_every);
        let numbers = graph.source("numbers", self.sources, move |cx| {
            let mut source = Numbers::new(count, cx.index, cx.parallelism).holding(hold.clone());
            source.pause_every = pause_every;
            Ok(source)
        });
        let (keys, fail) = (self.keys, Arc::clone(&self.fail));
        let counts = graph.keyed(
            "count",
            self.counters,
            &numbers,
            (
                |number: &u64| Some(*number),
                move |number: &u64| number % keys,
                move |_| Ok(Count { state: None, fail: Arc::clone(&fail) }),
            ),
        );
        graph.sink(&counts, "counts", PartFiles::create(self.folder.join("out"), Pairs).unwrap());
        let environment = JobEnvironment {
            storage: self.storage(),
            backends: Arc::new(MemoryBackendFactory::default()),
            clock: Arc::clone(&self.clock),
            listener: Arc::clone(&self.notes) as Arc<dyn JobListener>,
        };
        Job::new(graph, environment).unwrap()
    }

    /// Committed output, by key; panics on a key that occurs twice.
    pub(crate) fn committed(&self) -> BTreeMap<u64, u64> {
        let mut counts = BTreeMap::new();
        for entry in std::fs::read_dir(self.folder.join("out")).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with('.') {
                continue;
            }
            for line in std::fs::read_to_string(path).unwrap().lines().skip(1) {
                let (key, count) = line.split_once(',').unwrap();
                let duplicate = counts.insert(key.parse().unwrap(), count.parse().unwrap());
                assert_eq!(duplicate, None, "key {key} was committed twice");
            }
        }
        counts
    }

    pub(crate) fn expected(&self) -> BTreeMap<u64, u64> {
        let mut counts = BTreeMap::new();
        for number in 0..self.numbers {
            *counts.entry(number % self.keys).or_insert(0) += 1;
        }
        counts
    }
}
