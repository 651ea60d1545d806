//! What do time to live and timers cost, against the same value state without them in the same run?
//!
//! *Off*: a value state registered without options. *TTL*: with a time to live, refreshed on write
//! or on read too; time moves on between batches, as it does in a runtime. *Timers beside*: the
//! plain state in a backend that holds a timer for each key besides. Timers themselves are shown
//! too: adding, and taking all that are due.
//!
//! Series run in turn, round by round; the table shows medians and ratios.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures, prints, and stops on errors"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use millpond_benches::{Rng, Sizes, key, max_parallelism, median};
use millpond_memory::{MemoryBackend, MemoryOptions};
use millpond_state::{
    KeyContext, KeyedBackend, MaxParallelism, Refresh, StateOptions, StateTime, TimeDomain, Timers,
    Ttl, ValueState,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Accesses between two movements of time: what a runtime hands over at once.
const BATCH: usize = 64;

/// A backend with one value state of `keys` keys.
struct Subject {
    backend: MemoryBackend,
    state: ValueState<u64, u64>,
    time: StateTime,
    timers: Option<Timers<u64>>,
    max: MaxParallelism,
    keys: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    Off,
    OnWrite,
    OnReadAndWrite,
    TimersBeside,
}

impl Setting {
    const ALL: [Self; 4] = [Self::Off, Self::OnWrite, Self::OnReadAndWrite, Self::TimersBeside];

    const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::OnWrite => "ttl, on write",
            Self::OnReadAndWrite => "ttl, on read and write",
            Self::TimersBeside => "timers beside",
        }
    }
}

impl Subject {
    fn new(setting: Setting, keys: u64) -> Self {
        let max = max_parallelism().unwrap();
        let mut backend =
            MemoryBackend::create(max.full_range(), max, MemoryOptions::new()).unwrap();
        let time = StateTime::new();
        time.set_processing_ms(1_000);
        let ttl = || Ttl::new(HOUR, TimeDomain::Processing, &time).unwrap();
        let options = match setting {
            Setting::Off | Setting::TimersBeside => StateOptions::new(),
            Setting::OnWrite => StateOptions::new().ttl(ttl()),
            Setting::OnReadAndWrite => {
                StateOptions::new().ttl(ttl().refresh(Refresh::OnReadAndWrite))
            }
        };
        let state = ValueState::register_with(&mut backend, "values", options).unwrap();
        let mut timers = (setting == Setting::TimersBeside)
            .then(|| Timers::register(&mut backend, "timers").unwrap());
        for number in 0..keys {
            let key = KeyContext::new(&key(number), max).unwrap();
            state.put(&mut backend, key.at(), &number).unwrap();
            if let Some(timers) = &mut timers {
                timers.add(&mut backend, key.at(), 1_000 + number as i64).unwrap();
            }
        }
        Self { backend, state, time, timers, max, keys }
    }

    fn run(&mut self, access: Access, rng: &mut Rng, operations: usize) -> u64 {
        let backend: &mut dyn KeyedBackend = black_box(&mut self.backend);
        let mut sum = 0_u64;
        for operation in 0..operations {
            if operation % BATCH == 0 {
                self.time.set_processing_ms(1_000 + operation as i64 / 1_000);
            }
            let key = KeyContext::new(&key(rng.below(self.keys)), self.max).unwrap();
            match access {
                Access::Get => {
                    let value = self.state.get(backend, key.at()).unwrap();
                    sum = sum.wrapping_add(value.unwrap_or(0));
                }
                Access::Update => {
                    let change = |value: Option<u64>| value.map(|it| it.wrapping_add(1));
                    self.state.update(backend, key.at(), change).unwrap();
                }
                Access::Put => self.state.put(backend, key.at(), &7).unwrap(),
            }
        }
        assert!(self.timers.as_ref().is_none_or(|timers| timers.len() as u64 == self.keys));
        sum
    }
}

#[derive(Clone, Copy)]
enum Access {
    Get,
    Update,
    Put,
}

const ACCESSES: [(Access, &str); 3] =
    [(Access::Get, "get"), (Access::Update, "update"), (Access::Put, "put")];

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

fn compare(sizes: &Sizes, keys: u64) {
    let mut subjects = Setting::ALL.map(|setting| (setting, Subject::new(setting, keys)));
    println!("\nvalue state, typed, {keys} keys; million accesses a second, and of \"off\"");
    println!("{:24} {:>16} {:>16} {:>16}", "", "get", "update", "put");
    let mut times = vec![vec![Vec::new(); ACCESSES.len()]; Setting::ALL.len()];
    for round in 0..sizes.rounds {
        for (at, (access, _)) in ACCESSES.iter().enumerate() {
            for ((_, subject), times) in subjects.iter_mut().zip(&mut times) {
                let mut rng = Rng::new(round as u64);
                let took = seconds(|| {
                    black_box(subject.run(*access, &mut rng, sizes.operations));
                });
                times.get_mut(at).unwrap().push(sizes.operations as f64 / took / 1e6);
            }
        }
    }
    let medians: Vec<Vec<f64>> =
        times.into_iter().map(|row| row.into_iter().map(median).collect()).collect();
    for ((setting, _), row) in subjects.iter().zip(&medians) {
        print!("{:24}", setting.name());
        for (rate, off) in row.iter().zip(medians.first().unwrap()) {
            print!(" {:>9.2} ({:.2})", rate, rate / off);
        }
        println!();
    }
}

fn timers(sizes: &Sizes, keys: u64) {
    let max = max_parallelism().unwrap();
    let (mut adds, mut fires, mut bytes) = (Vec::new(), Vec::new(), 0.0);
    for round in 0..sizes.rounds.min(3) {
        let mut backend =
            MemoryBackend::create(max.full_range(), max, MemoryOptions::new()).unwrap();
        let mut timers = Timers::<u64>::register(&mut backend, "timers").unwrap();
        let mut rng = Rng::new(round as u64);
        let took = seconds(|| {
            for number in 0..keys {
                let key = KeyContext::new(&key(number), max).unwrap();
                timers.add(&mut backend, key.at(), rng.below(keys) as i64).unwrap();
            }
        });
        adds.push(keys as f64 / took / 1e6);
        bytes = timers.memory_bytes() as f64 / keys as f64;
        let took = seconds(|| {
            while let Some(timer) = timers.poll(&mut backend, i64::MAX).unwrap() {
                black_box(timer.time());
            }
        });
        assert!(timers.is_empty());
        fires.push(keys as f64 / took / 1e6);
    }
    println!(
        "timers, one a key, at random times: {:.2} M/s added, {:.2} M/s fired, index {bytes:.0} \
         bytes each",
        median(adds),
        median(fires)
    );
}

fn main() {
    let sizes = Sizes::from_environment();
    for keys in &sizes.keys {
        compare(&sizes, *keys);
        timers(&sizes, *keys);
    }
    let mut criterion = Criterion::default().configure_from_args();
    let keys = sizes.keys.first().copied().unwrap_or(1);
    for (access, name) in ACCESSES {
        let mut group = criterion.benchmark_group(format!("value_{name}"));
        group.throughput(Throughput::Elements(BATCH as u64));
        for setting in Setting::ALL {
            let mut subject = Subject::new(setting, keys);
            let mut rng = Rng::new(1);
            group.bench_function(setting.name(), |bench| {
                bench.iter(|| subject.run(access, &mut rng, BATCH));
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
