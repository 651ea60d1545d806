//! Restores: state that `P` subtasks wrote, restored by `Q`, each on a thread of its own.
//!
//! Full snapshots are in canonical form; incremental ones, if the backend has such a form, are a
//! base and one checkpoint on top of it with a tenth of the keys changed. The floors are zstd over
//! the same bytes and a file of as many bytes read back, both on one thread.

use std::path::Path;
use std::sync::Arc;

use millpond_checkpoint::driver::{CheckpointFolder, KeyedStateSource};
use millpond_snapshot::metadata::KeyedStateHandle;
use millpond_state::seam::Clock;
use millpond_state::{BackendFactory, KeyGroupRange, KeyedBackend};

use crate::backends::{Backend, max_parallelism, open_range};
use crate::checkpoints::{Checkpoints, Form, storage};
use crate::error::{BenchError, ErrorKind, Result};
use crate::fill::Filled;
use crate::floor::{disk_ms, entry_bytes, zstd_ms};
use crate::measure::{median, peak_rss_bytes, reset_peak_rss, timed};
use crate::record::Record;
use crate::snapshot::CheckpointStore;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Number of keys.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Parallelism that the state is written at.
    pub from: u32,
    /// Parallelism that it is restored at.
    pub to: u32,
    /// Restores of each form.
    pub rounds: u32,
    /// What the work follows from.
    pub seed: u64,
}

impl RestoreOptions {
    /// 500,000 keys of 100 bytes, from 2 subtasks to 2, 3 rounds.
    #[must_use]
    pub const fn new() -> Self {
        Self { keys: 500_000, value_bytes: 100, from: 2, to: 2, rounds: 3, seed: 1 }
    }

    fn check(&self) -> Result<()> {
        let most = max_parallelism()?.get();
        if [self.from, self.to].iter().any(|it| *it == 0 || *it > most) {
            let what = format!("a parallelism must be from 1 to {most}");
            return Err(BenchError::invalid(what));
        }
        if self.keys == 0 || self.value_bytes == 0 || self.rounds == 0 {
            let what = "keys, rounds and bytes of a value must be above 0";
            return Err(BenchError::invalid(what));
        }
        Ok(())
    }
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Measures restores of one backend, which keeps its files below `folder`, one record for each form
/// that it has. Peak memory is that of this process, the instances that wrote the state included.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for sizes that make no sense; [`ErrorKind::Disagreement`] if not
/// all keys came back; what the backend or the store fails with.
pub fn run(
    backend: Backend,
    options: &RestoreOptions,
    store: &CheckpointStore,
    (folder, clock): (&Path, &dyn Clock),
) -> Result<Vec<Record>> {
    options.check()?;
    reset_peak_rss();
    let factory = backend.factory(folder)?;
    let mut records = Vec::new();
    for form in Form::ALL {
        let written = write(backend, options, (store, form), (&factory, clock))?;
        let Some((mut instances, written)) = written else { continue };
        let mut times = Vec::new();
        for _ in 0..options.rounds {
            times.push(restore(&factory, options, &written, clock)?);
        }
        records.push(record(backend, options, (form, &times), clock));
        let peak = peak_rss_bytes();
        let floors = floors(&mut instances, (store, written.bytes), clock)?;
        if let Some(record) = records.last_mut() {
            record.peak_rss_bytes = peak;
            record.snapshot.bytes_total = Some(written.bytes);
            record.snapshot.zstd_ms = Some(floors.0);
            record.snapshot.disk_ms = floors.1;
            let floor = floors.0.max(floors.1.unwrap_or(0.0));
            let took = record.restore.restore_ms.unwrap_or_default().max(1e-6);
            record.snapshot.ratio_to_floor = Some(floor / took);
        }
    }
    Ok(records)
}

/// The instances that a checkpoint is of.
type Instances = Vec<Box<dyn KeyedBackend>>;

/// A checkpoint.
struct Stored {
    folder: CheckpointFolder,
    handles: Vec<Arc<KeyedStateHandle>>,
    bytes: u64,
}

/// Milliseconds to decompress the same bytes, and to read as many from disk.
fn floors(
    instances: &mut Instances,
    (store, bytes): (&CheckpointStore, u64),
    clock: &dyn Clock,
) -> Result<(f64, Option<f64>)> {
    let mut zstd = 0.0;
    for instance in instances {
        zstd += zstd_ms(&entry_bytes(instance.as_mut())?, clock)?.1;
    }
    let folder = store.folder.as_deref();
    let disk = folder.map(|folder| disk_ms(folder, bytes, clock)).transpose()?;
    Ok((zstd, disk.map(|(_, read)| read)))
}

fn ranges(parallelism: u32) -> Result<Vec<KeyGroupRange>> {
    let max = max_parallelism()?;
    let ranges = (0..parallelism).map(|index| max.range_of(index, parallelism));
    Ok(ranges.collect::<Result<_, _>>()?)
}

/// Fills instances and takes a checkpoint; `None` if the backend has no such form.
fn write(
    backend: Backend,
    options: &RestoreOptions,
    (store, form): (&CheckpointStore, Form),
    (factory, clock): (&Arc<dyn BackendFactory>, &dyn Clock),
) -> Result<Option<(Instances, Stored)>> {
    let (mut instances, mut states) = (Vec::new(), Vec::new());
    for range in ranges(options.from)? {
        let mut instance = open_range(factory.as_ref(), range)?;
        let mut state = Filled::register(instance.as_mut(), options.value_bytes, options.seed)?;
        state.put(instance.as_mut(), 0..options.keys)?;
        instances.push(instance);
        states.push(state);
    }
    let mut checkpoints = Checkpoints::open(storage(&store.store), backend.name)?;
    let Some(mut taken) = checkpoints.take(form, &mut instances, clock)? else { return Ok(None) };
    if form == Form::Incremental {
        for (state, instance) in states.iter_mut().zip(&mut instances) {
            state.put(instance.as_mut(), (0..options.keys).step_by(10))?;
        }
        if let Some(next) = checkpoints.take(form, &mut instances, clock)? {
            taken = next;
        }
    }
    let (folder, handles, bytes) = taken;
    let handles = handles.into_iter().map(Arc::new).collect();
    Ok(Some((instances, Stored { folder, handles, bytes })))
}

/// Seconds until all subtasks have their state.
fn restore(
    factory: &Arc<dyn BackendFactory>,
    options: &RestoreOptions,
    written: &Stored,
    clock: &dyn Clock,
) -> Result<f64> {
    let ranges = ranges(options.to)?;
    // One for all subtasks, so that each file is checked once.
    let folder = &written.folder.for_restore(None);
    let (took, instances) = timed(clock, || {
        std::thread::scope(|scope| {
            let subtask = |range: KeyGroupRange| {
                move || restore_one(factory, range, (folder, &written.handles))
            };
            let threads: Vec<_> = ranges.iter().map(|range| scope.spawn(subtask(*range))).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(BenchError::failed("a restore panicked")))
            });
            joined.collect::<Result<Vec<_>>>()
        })
    })?;
    let mut entries = 0;
    for mut instance in instances {
        let state = Filled::register(instance.as_mut(), options.value_bytes, options.seed)?;
        entries += state.entry_count(instance.as_mut())?;
    }
    if entries != options.keys {
        let message = format!("{entries} of {} keys came back", options.keys);
        return Err(BenchError::new(ErrorKind::Disagreement, message));
    }
    Ok(took.as_secs_f64())
}

fn restore_one(
    factory: &Arc<dyn BackendFactory>,
    range: KeyGroupRange,
    (folder, handles): (&CheckpointFolder, &[Arc<KeyedStateHandle>]),
) -> Result<Box<dyn KeyedBackend>> {
    let mut instance = open_range(factory.as_ref(), range)?;
    for handle in handles {
        if let Some(key_groups) = handle.key_groups().intersection(range) {
            let (folder, handle) = (folder.clone(), Arc::clone(handle));
            KeyedStateSource { folder, handle, key_groups }.restore_into(instance.as_mut())?;
        }
    }
    Ok(instance)
}

fn record(
    backend: Backend,
    options: &RestoreOptions,
    (form, seconds): (Form, &[f64]),
    clock: &dyn Clock,
) -> Record {
    let mut record = Record::new(backend.name, &format!("restore_{}", form.name()), clock);
    record.keys = options.keys;
    record.value_bytes = options.value_bytes as u64;
    record.seed = options.seed;
    record.set_rounds(options.keys, seconds);
    record.restore.from_parallelism = Some(options.from);
    record.restore.to_parallelism = Some(options.to);
    record.restore.restore_ms =
        Some(median(&seconds.iter().map(|it| it * 1e3).collect::<Vec<_>>()));
    record
}
