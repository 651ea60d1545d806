//! What tests across crates share: subtasks with state of every kind, and checkpoints of them made
//! and restored the way an engine does it, through the real files.

mod checkpoints;

use std::error::Error;
use std::time::Duration;

pub use checkpoints::{Restored, Taking};

use millpond_state::{
    Aggregate, AggregatingState, BackendContext, BackendFactory, CancelFlag, CheckpointId,
    KeyContext, KeyedBackend, ListState, MapState, MaxParallelism, NamespaceContext, ReducingState,
    SnapshotRequest, StateError, StateOptions, StateTime, TimeDomain, Timers, Ttl, ValueState,
};
use millpond_testkit::entries::{CollectingSink, LogicalState};

/// What can go wrong here.
pub type Fallible<T> = Result<T, Box<dyn Error>>;

/// The vertex whose subtasks the tests play.
pub const VERTEX: &str = "count";

/// The watermark that all clusters have seen.
const EVENT_TIME_MS: i64 = 1_700_000_000_000;

/// Sum and number of inputs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean;

impl Aggregate for Mean {
    type Input = u64;
    type Accumulator = (u64, u64);
    type Output = u64;

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

    fn result(&self, accumulator: &(u64, u64)) -> u64 {
        accumulator.0.checked_div(accumulator.1).unwrap_or_default()
    }
}

/// All subtasks of one vertex.
pub struct Cluster {
    backends: Vec<Box<dyn KeyedBackend>>,
    backend_name: String,
    max_parallelism: MaxParallelism,
    time: StateTime,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("parallelism", &self.parallelism()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Empty subtasks.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn open(
        factory: &dyn BackendFactory,
        max_parallelism: MaxParallelism,
        parallelism: u32,
    ) -> Fallible<Self> {
        let open = |index| {
            let range = max_parallelism.range_of(index, parallelism)?;
            factory.open(&BackendContext::new(VERTEX, range, max_parallelism))
        };
        let backends = (0..parallelism).map(open).collect::<Result<_, _>>()?;
        let time = StateTime::new();
        time.advance_event_ms(EVENT_TIME_MS);
        let backend_name = factory.name().to_owned();
        Ok(Self { backends, backend_name, max_parallelism, time })
    }

    /// Number of subtasks.
    #[must_use]
    pub fn parallelism(&self) -> u32 {
        u32::try_from(self.backends.len()).unwrap_or(u32::MAX)
    }

    fn owner<K>(&mut self, key: &KeyContext<K>) -> Fallible<&mut dyn KeyedBackend>
    where
        K: millpond_state::codec::HasCodec,
    {
        let index = self.max_parallelism.subtask_of(key.group(), self.parallelism());
        let backend = self.backends.get_mut(index as usize).ok_or("no subtask owns the key")?;
        Ok(backend.as_mut())
    }

    /// Writes state of every kind for `keys` keys. States have content for some keys only; some
    /// entries are written twice and some deleted.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn fill(&mut self, keys: u64) -> Fallible<()> {
        for key in 0..keys {
            let context = KeyContext::new(&key, self.max_parallelism)?;
            let backend = self.owner(&context)?;
            fill_plain(backend, &context, key)?;
            fill_windows(backend, &context, key)?;
        }
        for backend in &mut self.backends {
            fill_expiring(backend.as_mut(), &self.time, keys)?;
            fill_timers(backend.as_mut(), keys)?;
        }
        Ok(())
    }

    /// Takes all timers that are due at `now`: their times and keys, sorted.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn fire(&mut self, now: i64) -> Fallible<Vec<(i64, u64)>> {
        let mut fired = Vec::new();
        for backend in &mut self.backends {
            let mut timers = Timers::<u64>::register(backend.as_mut(), "reminders")?;
            while let Some(timer) = timers.poll(backend.as_mut(), now)? {
                fired.push((timer.time(), timer.key()?));
            }
        }
        fired.sort_unstable();
        Ok(fired)
    }

    /// All subtasks' state together, by the names of states.
    ///
    /// # Errors
    /// What a snapshot reports; if two subtasks have the same entry.
    pub fn contents(&mut self) -> Fallible<LogicalState> {
        let mut all = LogicalState::new();
        for backend in &mut self.backends {
            let mut sink = CollectingSink::new();
            let task = backend.snapshot(&SnapshotRequest::full(CheckpointId::new(u64::MAX)))?;
            task.run(&mut sink, &CancelFlag::new())?;
            for (place, value) in sink.into_snapshot().logical() {
                if all.insert(place, value).is_some() {
                    return Err("two subtasks have the same entry".into());
                }
            }
        }
        Ok(all)
    }

    /// Puts `value` under every one of 40 keys.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn put_blob(&mut self, value: &[u8]) -> Fallible<()> {
        for key in 0..40_u64 {
            let context = KeyContext::new(&key, self.max_parallelism)?;
            let backend = self.owner(&context)?;
            let blobs = ValueState::<u64, String>::register(backend, "blobs")?;
            blobs.put(backend, context.at(), &String::from_utf8_lossy(value).into_owned())?;
        }
        Ok(())
    }

    /// Deletes every other key that [`Self::put_blob`] put.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn delete_half_the_blobs(&mut self) -> Fallible<()> {
        for key in (0..40_u64).step_by(2) {
            let context = KeyContext::new(&key, self.max_parallelism)?;
            let backend = self.owner(&context)?;
            let blobs = ValueState::<u64, String>::register(backend, "blobs")?;
            blobs.delete(backend, context.at())?;
        }
        Ok(())
    }

    /// The mean of one key's window, read through a typed state.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn mean(&mut self, key: u64, window: i64) -> Fallible<Option<u64>> {
        let context = KeyContext::new(&key, self.max_parallelism)?;
        let backend = self.owner(&context)?;
        let means = AggregatingState::<u64, Mean, i64>::register(backend, "means", Mean)?;
        let window = NamespaceContext::new(&window)?;
        Ok(means.get(backend, context.within(&window))?)
    }
}

/// A value, a list and a map in the void namespace.
fn fill_plain(
    backend: &mut dyn KeyedBackend,
    context: &KeyContext<u64>,
    key: u64,
) -> Result<(), StateError> {
    let totals = ValueState::<u64, u64>::register(backend, "totals")?;
    totals.put(backend, context.at(), &key)?;
    totals.put(backend, context.at(), &(key * 3))?;
    let names = ValueState::<u64, String>::register(backend, "names")?;
    names.put(backend, context.at(), &"n".repeat((key % 40) as usize))?;
    if key.is_multiple_of(7) {
        names.delete(backend, context.at())?;
    }
    let visits = ListState::<u64, String>::register(backend, "visits")?;
    for visit in 0..key % 5 {
        visits.add(backend, context.at(), &format!("visit {visit}"))?;
    }
    let pages = MapState::<u64, String, i64>::register(backend, "pages")?;
    for page in 0..key % 4 {
        pages.put(backend, context.at(), &format!("page {page}"), &-(page as i64))?;
    }
    if key % 4 == 3 {
        pages.remove(backend, context.at(), &"page 1".to_owned())?;
    }
    Ok(())
}

/// Sums and means in windows.
fn fill_windows(
    backend: &mut dyn KeyedBackend,
    context: &KeyContext<u64>,
    key: u64,
) -> Result<(), StateError> {
    let sum = |a: u64, b: u64| a + b;
    let sums = ReducingState::<u64, u64, i64>::register(backend, "sums", sum)?;
    let means = AggregatingState::<u64, Mean, i64>::register(backend, "means", Mean)?;
    for window in -1..(key % 3) as i64 {
        let namespace = NamespaceContext::new(&(window * 3_600_000))?;
        for input in 0..3 {
            sums.add(backend, context.within(&namespace), key + input)?;
            means.add(backend, context.within(&namespace), &(key + input))?;
        }
    }
    Ok(())
}

/// A list for each key of the instance whose elements expire some day.
fn fill_expiring(
    backend: &mut dyn KeyedBackend,
    time: &StateTime,
    keys: u64,
) -> Result<(), StateError> {
    let ttl = Ttl::new(Duration::from_secs(3_600), TimeDomain::Event, time)?;
    let options = StateOptions::new().ttl(ttl);
    let recent = ListState::<u64, u64>::register_with(backend, "recent", options)?;
    for key in 0..keys {
        let context = KeyContext::new(&key, backend.max_parallelism())?;
        if backend.key_groups().contains(context.group()) {
            recent.add_all(backend, context.at(), &[key, key + 1])?;
        }
    }
    Ok(())
}

/// Two timers for each key of the instance.
fn fill_timers(backend: &mut dyn KeyedBackend, keys: u64) -> Result<(), StateError> {
    let mut timers = Timers::<u64>::register(backend, "reminders")?;
    for key in 0..keys {
        let context = KeyContext::new(&key, backend.max_parallelism())?;
        if backend.key_groups().contains(context.group()) {
            timers.add(backend, context.at(), (key % 10) as i64)?;
            timers.add(backend, context.at(), i64::MAX - key as i64)?;
        }
    }
    Ok(())
}
