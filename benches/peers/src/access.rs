//! What a single access costs: the filesystem backend and `cobble`, each with a floor in the same
//! run, a `hashbrown` map.
//!
//! The state fits in the page cache and was overwritten once at random, so that both engines
//! compact while they are measured. Series run in turn, round by round; the table shows medians.
//! *get* reads the number in a value, *update* reads it and writes the value back with another one.

use std::hint::black_box;
use std::time::Instant;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use millpond_bench::measure::median;
use millpond_bench::{Backend, Distribution, Sampler, key, max_parallelism};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, EntryKey, KeyedBackend, MaxParallelism, StateCodecs, StateDescriptor, StateId,
    StateKind,
};
use tempfile::TempDir;

use crate::Outcome;
use crate::store::{Cobble, Store};

/// Accesses of a series in one round.
const ACCESSES: usize = 192_000;

/// The state that is accessed, and how often.
#[derive(Clone, Copy)]
pub struct AccessOptions {
    pub keys: u64,
    pub value_bytes: usize,
    pub rounds: usize,
}

/// Measures and prints.
pub fn access(options: AccessOptions) -> Outcome<()> {
    let mut subjects = Subjects::filled(options)?;
    for distribution in [Distribution::Uniform, Distribution::Zipf(1.0)] {
        compare(&mut subjects, options, distribution)?;
    }
    Ok(())
}

/// Stores with the same contents.
struct Subjects {
    raw: HashMap<u64, Box<[u8]>, FixedState>,
    fs: Box<dyn KeyedBackend>,
    state: StateId,
    max: MaxParallelism,
    cobble: Cobble,
    /// A value to be written; its last bytes are the number that changes.
    value: Vec<u8>,
    _folder: TempDir,
}

impl Subjects {
    fn filled(options: AccessOptions) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let max = max_parallelism()?;
        let factory = Backend::find("fs")?.factory(&folder.path().join("fs"))?;
        let mut fs = factory.open(&BackendContext::new("access", max.full_range(), max))?;
        let state = fs.register(&descriptor()?)?;
        let place = folder.path().join("cobble");
        std::fs::create_dir(&place)?;
        let cobble = Cobble::open(&place)?;
        let raw = HashMap::with_hasher(FixedState::default());
        let value = vec![0; options.value_bytes];
        let mut subjects = Self { raw, fs, state, max, cobble, value, _folder: folder };
        for number in 0..options.keys {
            subjects.put(key(number), number)?;
        }
        let mut sampler = Sampler::new(Distribution::Uniform, options.keys, 1);
        for _ in 0..options.keys {
            let number = sampler.next_number();
            subjects.put(key(number), number)?;
        }
        Ok(subjects)
    }

    fn set_number(&mut self, number: u64) {
        if let Some(place) = self.value.last_chunk_mut() {
            *place = number.to_be_bytes();
        }
    }

    fn put(&mut self, key: u64, number: u64) -> Outcome<()> {
        self.set_number(number);
        self.raw.insert(key, self.value.clone().into_boxed_slice());
        let bytes = key.to_be_bytes();
        self.cobble.put(&bytes, &self.value)?;
        Ok(self.fs.put(self.state, EntryKey::new(&bytes, self.max), &self.value)?)
    }
}

fn descriptor() -> millpond_state::Result<StateDescriptor> {
    let bytes = || CodecIdentity::new("bytes", 1);
    let (key, namespace, value) = (bytes(), CodecIdentity::void(), bytes());
    let codecs = StateCodecs { key, namespace, user_key: None, value };
    StateDescriptor::new("totals", StateKind::Value, codecs)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Accesses these keys; returns the sum of what was read.
type Run = fn(&mut Subjects, &[u64]) -> Outcome<u64>;

const SERIES: [(&str, Run); 6] = [
    ("hashbrown get", raw_get),
    ("fs get", fs_get),
    ("cobble get", cobble_get),
    ("hashbrown update", raw_update),
    ("fs update", fs_update),
    ("cobble update", cobble_update),
];

fn raw_get(s: &mut Subjects, keys: &[u64]) -> Outcome<u64> {
    let read = keys.iter().map(|key| s.raw.get(key).map_or(0, |value| number(value)));
    Ok(read.fold(0, u64::wrapping_add))
}

fn fs_get(s: &mut Subjects, keys: &[u64]) -> Outcome<u64> {
    let mut sum = 0u64;
    for key in keys {
        let key = key.to_be_bytes();
        let value = s.fs.get(s.state, EntryKey::new(&key, s.max))?;
        sum = sum.wrapping_add(number(value.unwrap_or_default()));
    }
    Ok(sum)
}

fn cobble_get(s: &mut Subjects, keys: &[u64]) -> Outcome<u64> {
    let mut sum = 0u64;
    for key in keys {
        sum = sum.wrapping_add(s.cobble.get(&key.to_be_bytes())?);
    }
    Ok(sum)
}

fn raw_update(s: &mut Subjects, keys: &[u64]) -> Outcome<u64> {
    let mut sum = 0u64;
    for key in keys {
        let value = s.raw.get_mut(key).ok_or("a key is missing")?;
        let read = number(value);
        sum = sum.wrapping_add(read);
        if let Some(place) = value.last_chunk_mut() {
            *place = (read ^ 1).to_be_bytes();
        }
    }
    Ok(sum)
}

fn fs_update(s: &mut Subjects, keys: &[u64]) -> Outcome<u64> {
    let mut sum = 0u64;
    for key in keys {
        let key = key.to_be_bytes();
        s.fs.update_many(s.state, &[EntryKey::new(&key, s.max)], &mut |_, edit| {
            let current = edit.current().unwrap_or_default();
            let read = number(current);
            sum = sum.wrapping_add(read);
            edit.replace_with(|out| {
                out.extend_from_slice(current.split_last_chunk::<8>().map_or(&[], |it| it.0));
                out.extend_from_slice(&(read ^ 1).to_be_bytes());
                Ok(())
            })
        })?;
    }
    Ok(sum)
}

fn cobble_update(s: &mut Subjects, keys: &[u64]) -> Outcome<u64> {
    let mut sum = 0u64;
    for key in keys {
        let key = key.to_be_bytes();
        let read = s.cobble.get(&key)?;
        sum = sum.wrapping_add(read);
        s.set_number(read ^ 1);
        s.cobble.put(&key, &s.value)?;
    }
    Ok(sum)
}

/// Runs all series in turn and prints medians, and how many times as fast as `cobble` the backend
/// is. All series of a kind have to read the same.
fn compare(s: &mut Subjects, options: AccessOptions, distribution: Distribution) -> Outcome<()> {
    let mut figures = vec![Vec::new(); SERIES.len()];
    for round in 0..=options.rounds {
        let mut sampler = Sampler::new(distribution, options.keys, 2 + round as u64);
        let keys: Vec<u64> = (0..ACCESSES).map(|_| key(sampler.next_number())).collect();
        let mut sums = Vec::new();
        for ((_, run), figures) in SERIES.iter().zip(&mut figures) {
            let start = Instant::now();
            sums.push(black_box(run(s, &keys)?));
            if round > 0 {
                figures.push(start.elapsed().as_nanos() as f64 / keys.len() as f64);
            }
        }
        if sums.chunks(3).any(|kind| kind.iter().any(|sum| *sum != kind[0])) {
            return Err(format!("the stores read different values: {sums:x?}").into());
        }
    }
    println!("\n{} keys, {} bytes a value, {distribution}", options.keys, options.value_bytes);
    let medians: Vec<f64> = figures.iter().map(|figures| median(figures)).collect();
    for ((name, _), ns) in SERIES.iter().zip(&medians) {
        println!("  {name:<18} {ns:>9.1} ns {:>8.3} million a second", 1e3 / ns);
    }
    if let [_, get, cobble_get, _, update, cobble_update] = medians[..] {
        let (gets, updates) = (cobble_get / get, cobble_update / update);
        println!("  fs of cobble: get {gets:.1}, update {updates:.1}");
    }
    Ok(())
}
