//! Snapshots: how long the writer stands still, how long and how many bytes a snapshot takes when
//! this share of the keys has changed since the last one, and what that does to the latency of
//! single operations meanwhile.
//!
//! Full snapshots are in canonical form; incremental ones in the backend's own files, if it has
//! such a form. Each is one in a row of checkpoints that complete, in a real store; the one before
//! is discarded. The floors are zstd at the same level over the same bytes (of an incremental
//! snapshot: over the changed share of them), and a file of as many bytes, synced, in the store's
//! folder.

mod latency;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millpond_state::KeyedBackend;
use millpond_state::seam::Clock;
use millpond_storage::Store;

use crate::backends::Backend;
use crate::checkpoints::{Checkpoints, Form, Written, storage};
use crate::error::{BenchError, Result};
use crate::fill::Filled;
use crate::floor::{disk_ms, entry_bytes, zstd_ms};
use crate::measure::{median, millis, peak_rss_bytes, reset_peak_rss};
use crate::record::Record;
use crate::rng::Rng;

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotOptions {
    /// Number of keys.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Keys changed since the last checkpoint, in percent: 0 to 100.
    pub changed_percent: Vec<f64>,
    /// Snapshots of each share.
    pub rounds: u32,
    /// How long latency is measured before and after a checkpoint; 0 for not at all.
    pub latency_ms: u64,
    /// What the work follows from.
    pub seed: u64,
}

impl SnapshotOptions {
    /// 500,000 keys of 100 bytes, 0, 1 and 10 percent changed, 3 rounds, latency for a second.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: 500_000,
            value_bytes: 100,
            changed_percent: vec![0.0, 1.0, 10.0],
            rounds: 3,
            latency_ms: 1_000,
            seed: 1,
        }
    }

    fn check(&self) -> Result<()> {
        if self.keys == 0 || self.value_bytes == 0 || self.rounds == 0 {
            let what = "keys, rounds and bytes of a value must be above 0";
            return Err(BenchError::invalid(what));
        }
        match self.changed_percent.iter().find(|percent| !(0.0..=100.0).contains(*percent)) {
            Some(wrong) => Err(BenchError::invalid(format!(
                "{wrong} percent cannot have changed: give numbers from 0 to 100"
            ))),
            None => Ok(()),
        }
    }
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Where checkpoints go.
#[derive(Clone)]
pub struct CheckpointStore {
    /// The store; nothing else may write to it.
    pub store: Arc<dyn Store>,
    /// The folder that it is, if it is one of this machine: its disk is a floor.
    pub folder: Option<PathBuf>,
}

/// Measures snapshots of one backend, which keeps its files below `folder`: those of each form and
/// share, then latency. Peak memory is that of this process up to the end of the snapshots.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for sizes that make no sense;
/// what the backend or the store fails with.
pub fn run(
    backend: Backend,
    options: &SnapshotOptions,
    store: &CheckpointStore,
    (folder, clock): (&Path, &dyn Clock),
) -> Result<Vec<Record>> {
    options.check()?;
    reset_peak_rss();
    let mut instances = vec![backend.open(folder)?];
    let [instance] = instances.as_mut_slice() else { return Ok(Vec::new()) };
    let mut filled = Filled::register(instance.as_mut(), options.value_bytes, options.seed)?;
    filled.put(instance.as_mut(), 0..options.keys)?;
    let checkpoints = Checkpoints::open(storage(&store.store), backend.name)?;
    let mut row = Row { backend, options, store, clock, instances, filled, checkpoints };
    let mut records = Vec::new();
    for form in Form::ALL {
        records.extend(row.measure(form)?);
    }
    let peak = peak_rss_bytes();
    row.add_floors(&mut records)?;
    if options.latency_ms > 0 {
        records.extend(latency::measure(&mut row)?);
    }
    records.iter_mut().for_each(|record| record.peak_rss_bytes = peak);
    Ok(records)
}

/// A row of checkpoints of one instance.
struct Row<'a> {
    backend: Backend,
    options: &'a SnapshotOptions,
    store: &'a CheckpointStore,
    clock: &'a dyn Clock,
    instances: Vec<Box<dyn KeyedBackend>>,
    filled: Filled,
    checkpoints: Checkpoints,
}

/// What one snapshot came to.
struct Figures {
    sync_ms: f64,
    async_ms: f64,
    bytes_total: u64,
    bytes_new: u64,
}

impl Row<'_> {
    /// One record for each share; none if the backend has no such form.
    fn measure(&mut self, form: Form) -> Result<Vec<Record>> {
        // The first of a row has everything to write.
        if self.snapshot(form)?.is_none() {
            return Ok(Vec::new());
        }
        let mut records = Vec::new();
        for (seed, percent) in (self.options.seed..).zip(self.options.changed_percent.clone()) {
            let mut rounds = Vec::new();
            for round in 0..self.options.rounds {
                self.change(percent, seed.wrapping_mul(1_000).wrapping_add(u64::from(round)))?;
                rounds.extend(self.snapshot(form)?);
            }
            records.push(self.record(form, percent, &rounds));
        }
        Ok(records)
    }

    /// Changes this share of the keys, each once.
    fn change(&mut self, percent: f64, seed: u64) -> Result<()> {
        let keys = self.options.keys;
        let count = (keys as f64 * percent / 100.0).round() as usize;
        let mut numbers: Vec<u64> = (0..keys).collect();
        Rng::new(seed).shuffle(&mut numbers);
        for instance in &mut self.instances {
            self.filled.put(instance.as_mut(), numbers.iter().copied().take(count))?;
        }
        Ok(())
    }

    fn snapshot(&mut self, form: Form) -> Result<Option<Figures>> {
        let id = self.checkpoints.begin()?;
        let Some(instance) = self.instances.first_mut() else { return Ok(None) };
        let frozen = Checkpoints::freeze(instance.as_mut(), (id, form), self.clock)?;
        let Some(frozen) = frozen else { return Ok(None) };
        let sync_ms = millis(frozen.sync);
        let written = self.checkpoints.write((id, 0), frozen, self.clock)?;
        let figures = figures(sync_ms, &written);
        self.checkpoints.complete(id, vec![written.part], &mut self.instances)?;
        Ok(Some(figures))
    }

    fn record(&self, form: Form, percent: f64, rounds: &[Figures]) -> Record {
        let name = format!("snapshot_{}", form.name());
        let mut record = Record::new(self.backend.name, &name, self.clock);
        record.keys = self.options.keys;
        record.value_bytes = self.options.value_bytes as u64;
        record.seed = self.options.seed;
        let of = |figure: fn(&Figures) -> f64| rounds.iter().map(figure).collect::<Vec<f64>>();
        let seconds: Vec<f64> = rounds.iter().map(|it| (it.sync_ms + it.async_ms) / 1e3).collect();
        record.set_rounds(self.options.keys, &seconds);
        record.snapshot.changed_percent = Some(percent);
        record.snapshot.sync_ms = Some(median(&of(|it| it.sync_ms)));
        record.snapshot.async_ms = Some(median(&of(|it| it.async_ms)));
        record.snapshot.bytes_total = Some(median(&of(|it| it.bytes_total as f64)) as u64);
        record.snapshot.bytes_new = Some(median(&of(|it| it.bytes_new as f64)) as u64);
        record
    }

    /// Measures zstd and the disk with as many bytes as each record has.
    fn add_floors(&mut self, records: &mut [Record]) -> Result<()> {
        let Some(instance) = self.instances.first_mut() else { return Ok(()) };
        let bytes = entry_bytes(instance.as_mut())?;
        for record in records {
            let figures = &mut record.snapshot;
            let share = figures.changed_percent.unwrap_or(100.0) / 100.0;
            let share = if record.bench.ends_with(Form::Incremental.name()) { share } else { 1.0 };
            let part = bytes.get(..(bytes.len() as f64 * share) as usize).unwrap_or_default();
            let zstd = zstd_ms(part, self.clock)?.0;
            figures.zstd_ms = Some(zstd);
            if let Some(folder) = &self.store.folder {
                let new = figures.bytes_new.unwrap_or(0);
                figures.disk_ms = Some(disk_ms(folder, new, self.clock)?.0);
            }
            let floor = zstd.max(figures.disk_ms.unwrap_or(0.0));
            // With nothing changed there is nothing to compare with.
            if share > 0.0 {
                figures.ratio_to_floor = figures.async_ms.map(|took| floor / took.max(1e-6));
            }
        }
        Ok(())
    }
}

fn figures(sync_ms: f64, written: &Written) -> Figures {
    Figures {
        sync_ms,
        async_ms: millis(written.took),
        bytes_total: written.bytes_total(),
        bytes_new: written.part.bytes(),
    }
}
