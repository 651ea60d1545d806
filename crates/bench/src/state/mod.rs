//! Access to keyed state, in the shape of Flink's own state benchmarks, so that figures can be put
//! side by side: preset and new keys of eight bytes in random order, long values, lists of 100,
//! maps of 10, one thread, typed states through a virtual call, one key at a time.
//!
//! | case | starts from | does |
//! |---|---|---|
//! | `value_add` | preset values | puts a value at a new key |
//! | `value_update`, `value_get` | preset values | puts, reads |
//! | `list_add` | lists of one | puts a list of one at a new key |
//! | `list_update` | lists of one | replaces a list by a list of one |
//! | `list_append`, `list_add_all` | lists of one | appends one element, or 100 |
//! | `list_get`, `list_get_and_iterate` | lists of 100 | reads a list, visits its elements |
//! | `map_add` | maps of 10 | puts one user key at a new key |
//! | `map_update`, `map_put_all` | maps of 10 | puts one user key that is there, or all 10 |
//! | `map_get`, `map_contains` | maps of 10 | asks for one; half of those asked for are not there |
//! | `map_is_empty`, `map_remove` | maps of 10 | asks; removes one user key |
//! | `map_keys`, `map_values`, `map_entries`, `map_iterator` | maps of 10 | visits or reads all |
//! | `reducing_add`, `aggregating_add` | values | adds to a sum, to a mean |
//!
//! Elements, sums and means are longs; the bytes of a value are a setting for value and map states.
//! As in Flink's, an operation is one call, but for the four walks over maps one user key.
//!
//! A round of the backend and one of its floor take turns; rates are medians over the rounds, and
//! the ratio is the median of the rounds' ratios. The first round, which warms caches, counts only
//! if it is the only one. What both read, and what both left behind, is compared.
//!
//! Where a round leaves other state behind than it started from (`*_add`, `list_append`,
//! `list_add_all`, `map_remove`), each round has a subject of its own. Backends and hash maps are
//! filled anew. A raw database is filled once, since that takes minutes, and each round opens a
//! checkpoint of it, hard links, taken when its compactions are done: the round finds the same
//! entries in the same files, an empty memtable, and an empty block cache, which none of these
//! accesses reads.

mod case;
mod hash_floor;
#[cfg(feature = "rocksdb")]
mod rocksdb_floor;
mod subject;
mod typed;
mod workload;

use std::path::Path;

use millpond_state::seam::Clock;

pub use case::{Access, StateCase};
use hash_floor::HashFloor;
use subject::Subject;
use typed::Typed;
use workload::{Accesses, MAP_KEYS, Payload};

use crate::backends::{Backend, Floor};
use crate::distribution::Distribution;
use crate::error::{BenchError, ErrorKind, Result};
use crate::measure::{median, peak_rss_bytes, reset_peak_rss, timed};
use crate::record::{Record, per_second};

/// Sizes of the state and of the work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StateOptions {
    /// Keys that are there before a round.
    pub keys: u64,
    /// Accesses in a round; also the number of new keys where those are used.
    pub ops: u64,
    /// Bytes of a value of value and map states. With 8, values are longs.
    pub value_bytes: usize,
    /// Which preset keys are used how often.
    pub distribution: Distribution,
    /// Rounds that count.
    pub rounds: u32,
    /// Whether the floor is measured, too.
    pub raw: bool,
    /// What the work follows from.
    pub seed: u64,
}

/// Bytes of a long.
const LONG_BYTES: usize = 8;

impl StateOptions {
    /// Flink's sizes: 500,000 preset keys and as many accesses, long values, uniform, 5 rounds,
    /// without the floor.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            keys: 500_000,
            ops: 500_000,
            value_bytes: LONG_BYTES,
            distribution: Distribution::Uniform,
            rounds: 5,
            raw: false,
            seed: 1,
        }
    }

    fn check(&self) -> Result<()> {
        if self.keys == 0 || self.ops == 0 || self.rounds == 0 || self.value_bytes == 0 {
            let what = "keys, operations, rounds and bytes of a value must be above 0";
            return Err(BenchError::invalid(what));
        }
        Ok(())
    }
}

impl Default for StateOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Measures one case on one backend, which keeps its files below `folder`. Peak memory is that of
/// this process from here on: measure each case in a process of its own for it to mean anything.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for sizes of 0; [`ErrorKind::Disagreement`] if the backend and
/// its floor do not have the same results; what the backend fails with.
pub fn run_case(
    backend: Backend,
    case: StateCase,
    options: &StateOptions,
    (folder, clock): (&Path, &dyn Clock),
) -> Result<Record> {
    options.check()?;
    let sides = Sides { backend, case, options, folder, clock };
    if options.value_bytes == LONG_BYTES { sides.run::<u64>() } else { sides.run::<Vec<u8>>() }
}

/// How many operations a round of a case does.
#[must_use]
pub fn operations(case: StateCase, options: &StateOptions) -> u64 {
    options.ops * if case.access.walks_map() { MAP_KEYS } else { 1 }
}

/// The keys that a round goes to, in order: what a subject outside of this crate does the same work
/// with. Preset are the [keys](crate::key) of the numbers below [`StateOptions::keys`].
#[must_use]
pub fn keys_of_round(case: StateCase, options: &StateOptions, round: u64) -> Vec<u64> {
    Accesses::of_round(case, options, round).keys
}

/// A backend and its floor under the same work.
struct Sides<'a> {
    backend: Backend,
    case: StateCase,
    options: &'a StateOptions,
    folder: &'a Path,
    clock: &'a dyn Clock,
}

/// One side, as its rounds find it; none if the next round has to make it.
type Side = Option<Box<dyn Subject>>;

impl Sides<'_> {
    fn run<V: Payload>(&self) -> Result<Record> {
        let options = self.options;
        let (mut own, mut raw): (Side, Side) = (None, None);
        let (mut own_s, mut raw_s) = (Vec::new(), Vec::new());
        let mut peak = None;
        reset_peak_rss();
        let last = if options.rounds == 1 { 0 } else { u64::from(options.rounds) };
        for round in 0..=last {
            let counts = round > 0 || last == 0;
            let accesses = Accesses::of_round(self.case, options, round);
            let (seconds, sums) = self.round(&mut own, &accesses, || self.open::<V>())?;
            // Before there is a floor that would count as well.
            peak = peak.or_else(peak_rss_bytes);
            if counts {
                own_s.push(seconds);
            }
            if options.raw {
                let (seconds, raw_sums) = self.round(&mut raw, &accesses, || self.floor::<V>())?;
                if counts {
                    raw_s.push(seconds);
                }
                self.compare(sums, raw_sums)?;
            }
        }
        Ok(self.record((&own_s, &raw_s), peak))
    }

    /// One round of one side: seconds, and checksums of what it read and left behind.
    fn round(
        &self,
        side: &mut Side,
        accesses: &Accesses,
        make: impl FnOnce() -> Result<Box<dyn Subject>>,
    ) -> Result<(f64, (u64, u64))> {
        let access = self.case.access;
        let mut filled = match side.take() {
            Some(filled) => filled,
            None => {
                let mut subject = make()?;
                subject.preset(access, self.options.keys)?;
                subject
            }
        };
        if !access.changes_size() {
            let done = self.run_on(filled.as_mut(), accesses)?;
            *side = Some(filled);
            return Ok(done);
        }
        let Some(mut copy) = filled.copy()? else {
            return self.run_on(filled.as_mut(), accesses);
        };
        *side = Some(filled);
        self.run_on(copy.as_mut(), accesses)
    }

    /// Seconds, and checksums of what was read and left behind.
    fn run_on(&self, subject: &mut dyn Subject, accesses: &Accesses) -> Result<(f64, (u64, u64))> {
        let access = self.case.access;
        let (took, read) = timed(self.clock, || subject.run(access, accesses))?;
        let left = subject.read_back(access, &accesses.sample())?;
        Ok((took.as_secs_f64(), (read, left)))
    }

    fn open<V: Payload>(&self) -> Result<Box<dyn Subject>> {
        let backend = self.backend.open(self.folder)?;
        Ok(Box::new(Typed::<V>::new(backend, self.case, self.options.value_bytes)?))
    }

    fn floor<V: Payload>(&self) -> Result<Box<dyn Subject>> {
        let value_bytes = self.options.value_bytes;
        Ok(match (self.backend.floor, self.case.ttl) {
            (Floor::HashMap, false) => Box::new(HashFloor::<V, ()>::new(value_bytes)),
            (Floor::HashMap, true) => Box::new(HashFloor::<V, i64>::new(value_bytes)),
            #[cfg(feature = "rocksdb")]
            (Floor::RocksDb, false) => {
                Box::new(rocksdb_floor::RocksDbFloor::<V, ()>::new(self.folder, value_bytes)?)
            }
            #[cfg(feature = "rocksdb")]
            (Floor::RocksDb, true) => {
                Box::new(rocksdb_floor::RocksDbFloor::<V, i64>::new(self.folder, value_bytes)?)
            }
        })
    }

    fn compare(&self, own: (u64, u64), raw: (u64, u64)) -> Result<()> {
        if own == raw {
            return Ok(());
        }
        let message = format!(
            "{} on {}: the backend and its floor do not have the same results, read {:x} and {:x}, \
             left {:x} and {:x}",
            self.case, self.backend.name, own.0, raw.0, own.1, raw.1
        );
        Err(BenchError::new(ErrorKind::Disagreement, message))
    }

    fn record(&self, (own_s, raw_s): (&[f64], &[f64]), peak: Option<u64>) -> Record {
        let options = self.options;
        let mut record = Record::new(self.backend.name, &self.case.to_string(), self.clock);
        record.keys = options.keys;
        record.value_bytes = match self.case.access.kind() {
            case::Kind::Value | case::Kind::Map => options.value_bytes as u64,
            _ => LONG_BYTES as u64,
        };
        record.distribution = match self.case.access.adds_keys() {
            true => "shuffled".to_owned(),
            false => options.distribution.to_string(),
        };
        record.seed = options.seed;
        record.peak_rss_bytes = peak;
        let ops = operations(self.case, options);
        record.set_rounds(ops, own_s);
        if options.raw {
            let rates: Vec<f64> = raw_s.iter().map(|seconds| per_second(ops, *seconds)).collect();
            let ratios: Vec<f64> = own_s.iter().zip(raw_s).map(|(own, raw)| raw / own).collect();
            record.raw_ops_per_s = Some(median(&rates));
            record.ratio_to_raw = Some(median(&ratios));
        }
        record
    }
}

#[cfg(test)]
mod tests;
