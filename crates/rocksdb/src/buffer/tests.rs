//! Buffers against a model: freezes, landings one by one, reads in between.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop on errors")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc;

use millpond_state::{BackendContext, EntryKey, ErrorKind, KeyGroup, MaxParallelism, StateId};
use tempfile::TempDir;

use super::landing::LANDED_KEPT;
use super::*;
use crate::layout;
use crate::tables::Tables;
use crate::tuning::scan_read_options;
use crate::{RocksDbBackend, RocksDbBackendFactory, RocksDbOptions, RocksDbProfile};

const LISTS: u16 = 0;
const MAPS: u16 = 1;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// An instance whose generations land when the test says so.
struct Fixture {
    backend: RocksDbBackend,
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = RocksDbOptions::with_profile(dir.path(), RocksDbProfile::SmallMemory)
            .with_landing_threads(0)
            .with_rocksdb_options("level0_file_num_compaction_trigger=2");
        let factory = RocksDbBackendFactory::create(options).unwrap();
        let max = MaxParallelism::new(4).unwrap();
        let context = BackendContext::new("test", max.full_range(), max);
        Self { backend: factory.open_backend(&context).unwrap(), dir }
    }

    fn tables(&mut self) -> &mut Tables {
        &mut self.backend.tables
    }

    fn buffer(&mut self) -> &mut Buffer {
        self.backend.tables.buffer.as_mut().unwrap()
    }

    fn freeze(&mut self) {
        self.buffer().freeze(None);
    }

    fn land_one(&mut self) -> bool {
        self.buffer().landing.land_next()
    }

    fn get(&mut self, key: &[u8], map_bytes: usize) -> Option<Vec<u8>> {
        let mut read = Vec::new();
        self.tables().get(key, map_bytes, &mut read).unwrap().map(<[u8]>::to_vec)
    }

    fn instance(&self) -> PathBuf {
        let mut folders = std::fs::read_dir(self.dir.path()).unwrap();
        folders.find_map(|it| Some(it.unwrap().path()).filter(|path| path.is_dir())).unwrap()
    }
}

fn entry(state: u16, key: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let at = EntryKey::in_group(core::slice::from_ref(&key), KeyGroup::new(u16::from(key % 4)));
    layout::push_entry(&mut out, StateId::new(state), &at);
    out
}

fn rest_of(overlay: &mut Overlay<'_>) -> Model {
    let mut found = Model::new();
    while overlay.advance().unwrap() {
        let (key, value) = overlay.entry();
        assert!(found.insert(key.to_vec(), value.to_vec()).is_none(), "a key came twice");
        assert_eq!(found.last_key_value().unwrap().0, key, "a key came too late");
    }
    found
}

fn map_in(model: &Model, map: &[u8]) -> Model {
    let entries = model.iter().filter(|(key, _)| key.starts_with(map));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }
}

/// One random schedule of writes, freezes, landings and reads.
struct Schedule {
    it: Fixture,
    rng: Rng,
    model: Model,
    snapshots: Vec<(Frozen, Model)>,
}

impl Schedule {
    fn run(seed: u64, steps: usize) {
        let mut schedule =
            Self { it: Fixture::new(), rng: Rng(seed), model: Model::new(), snapshots: Vec::new() };
        for _ in 0..steps {
            schedule.step();
        }
        schedule.it.tables().settle().unwrap();
        schedule.read_all();
    }

    fn step(&mut self) {
        let key = self.rng.below(6) as u8;
        match self.rng.below(24) {
            0..6 => self.append(&entry(LISTS, key)),
            6..8 => self.put(entry(LISTS, key), 0),
            8 => self.delete(&entry(LISTS, key), 0),
            9..13 => self.put_in_map(key),
            13 => self.remove_from_map(key),
            14 => self.delete_map(key),
            15..17 => self.it.freeze(),
            17..19 => drop(self.it.land_one()),
            19 => self.take_snapshot(),
            20 => self.check_snapshot(),
            21 => self.read_all(),
            22 => self.read_map(key),
            _ => self.read(key),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let len = self.rng.below(12) as usize;
        (0..len).map(|_| self.rng.below(256) as u8).collect()
    }

    fn append(&mut self, key: &[u8]) {
        let more = self.value();
        self.it.tables().append(key, &more).unwrap();
        self.model.entry(key.to_vec()).or_default().extend(more);
    }

    fn put(&mut self, key: Vec<u8>, map_bytes: usize) {
        let value = self.value();
        self.it.tables().put(&key, map_bytes, &value).unwrap();
        self.model.insert(key, value);
    }

    fn delete(&mut self, key: &[u8], map_bytes: usize) {
        self.it.tables().delete(key, map_bytes).unwrap();
        self.model.remove(key);
    }

    /// A user key of a map, the empty one among them.
    fn element(&mut self, map: u8) -> (Vec<u8>, usize) {
        let mut key = entry(MAPS, map);
        let map_bytes = key.len();
        let number = self.rng.below(8) as u8;
        key.extend((number > 0).then_some(number));
        (key, map_bytes)
    }

    fn put_in_map(&mut self, map: u8) {
        let (key, map_bytes) = self.element(map);
        self.put(key, map_bytes);
    }

    fn remove_from_map(&mut self, map: u8) {
        let (key, map_bytes) = self.element(map);
        self.delete(&key, map_bytes);
    }

    fn delete_map(&mut self, map: u8) {
        let map = entry(MAPS, map);
        self.it.buffer().delete_map(&map).unwrap();
        self.model.retain(|key, _| !key.starts_with(&map));
    }

    fn take_snapshot(&mut self) {
        let frozen = self.it.buffer().freeze_all();
        self.snapshots.push((frozen, self.model.clone()));
    }

    fn check_snapshot(&mut self) {
        let Some((frozen, model)) = self.snapshots.pop() else { return };
        assert_eq!(rest_of(&mut frozen.walk(scan_read_options()).unwrap()), model);
    }

    fn read(&mut self, key: u8) {
        let list = entry(LISTS, key);
        assert_eq!(self.it.get(&list, 0), self.model.get(&list).cloned());
        let (element, map_bytes) = self.element(key);
        assert_eq!(self.it.get(&element, map_bytes), self.model.get(&element).cloned());
    }

    fn read_map(&mut self, map: u8) {
        let map = entry(MAPS, map);
        let found = rest_of(&mut self.it.buffer().walk_map(&map, None).unwrap());
        assert_eq!(found, map_in(&self.model, &map));
        let Some(middle) = found.keys().nth(found.len() / 2) else { return };
        let found =
            rest_of(&mut self.it.buffer().walk_map(&map, Some(&middle[map.len()..])).unwrap());
        assert!(found.iter().all(|(key, _)| key > middle));
        assert_eq!(found.len() + 1 + found_before(&self.model, &map, middle), {
            map_in(&self.model, &map).len()
        });
    }

    fn read_all(&mut self) {
        let mut keys = self.it.buffer().walk_keys(scan_read_options()).unwrap();
        keys.seek(&[]);
        let found: Vec<_> = rest_of(&mut keys).into_keys().collect();
        drop(keys);
        assert_eq!(found, self.model.keys().cloned().collect::<Vec<_>>());
        for key in 0..6 {
            self.read(key);
        }
    }
}

fn found_before(model: &Model, map: &[u8], middle: &[u8]) -> usize {
    map_in(model, map).keys().filter(|key| &key[..] < middle).count()
}

#[test]
fn writers_are_slowed_down_by_what_compactions_have_not_taken_from_the_first_level() {
    let mut fixture = Fixture::new();
    let generation = fixture.buffer().limit_bytes();
    assert_eq!(fixture.buffer().excess().to_bits(), 0f64.to_bits());
    let landing = Arc::clone(&fixture.buffer().landing);
    for files in 1..=27 {
        landing.note_taken_over(2, generation);
        landing.note_first_level(2 * files);
    }
    assert_eq!(landing.first_level_bytes(), 27 * generation);
    assert!((fixture.buffer().excess() - 0.5).abs() < 1e-9);
    // A compaction has taken the oldest ones, the last of them in part.
    landing.note_first_level(23);
    assert_eq!(landing.first_level_bytes(), 11 * generation);
    // Small generations in many files wait for little.
    landing.note_first_level(0);
    (0..30).for_each(|_| landing.note_taken_over(1, generation / 100));
    landing.note_first_level(30);
    assert!(fixture.buffer().excess() <= 0.0);
}

#[test]
fn every_schedule_of_freezes_landings_and_reads_agrees_with_the_model() {
    let seeds = std::env::var("MILLPOND_BUFFER_SEEDS").map_or(6, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        Schedule::run(seed, 400);
    }
}

#[test]
fn an_append_that_lands_between_two_looks_is_counted_once() {
    let mut it = Fixture::new();
    let list = entry(LISTS, 1);
    it.tables().put(&list, 0, b"a").unwrap();
    it.freeze();
    assert!(it.land_one());
    it.tables().append(&list, b"b").unwrap();
    it.freeze();
    it.tables().append(&list, b"c").unwrap();
    it.buffer().catch_up();
    it.buffer().landing.forget_landed();
    it.buffer().refresh();
    let key = Key::new(&list);
    assert!(matches!(it.buffer().look_up(&key), Known::Operands));
    assert!(it.land_one());
    let mut read = Vec::new();
    let place = it.buffer().compose(&key, &mut read).unwrap().unwrap();
    assert_eq!(it.buffer().value(&place, &read), b"abc");
    assert_eq!(it.get(&list, 0).unwrap(), b"abc");
}

#[test]
fn what_is_appended_to_a_copy_lands_as_an_append() {
    let mut it = Fixture::new();
    let list = entry(LISTS, 1);
    for (round, byte) in (b'a'..b'j').enumerate() {
        it.tables().append(&list, &[byte]).unwrap();
        let found = it.get(&list, 0).unwrap();
        assert_eq!(found.len(), round + 1);
        it.freeze();
        assert!(it.land_one());
        it.buffer().catch_up();
    }
    it.tables().settle().unwrap();
    it.buffer().landing.forget_landed();
    assert_eq!(it.get(&list, 0).unwrap(), b"abcdefghi");
    let mut keys = it.buffer().walk_keys(scan_read_options()).unwrap();
    keys.seek(&[]);
    assert!(keys.advance().unwrap() && !keys.advance().unwrap());
}

#[test]
fn what_was_read_outlives_the_freeze_and_the_landing() {
    let mut it = Fixture::new();
    let list = entry(LISTS, 1);
    it.tables().put(&list, 0, b"value").unwrap();
    for _ in 0..5 {
        it.freeze();
        while it.land_one() {}
        let mut read = Vec::new();
        let key = Key::new(&list);
        let store = Arc::clone(&it.tables().store);
        let place = it.buffer().get(&key, &store, &mut read).unwrap().unwrap();
        assert!(!matches!(place, Place::Read(_)), "it was read from the database");
    }
}

#[test]
fn a_landing_that_fails_is_told_to_writers_and_loses_nothing() {
    let mut it = Fixture::new();
    let (old, new) = (entry(LISTS, 1), entry(LISTS, 2));
    it.tables().append(&old, b"kept").unwrap();
    let blocked = |number| it.instance().join(format!("landing-{number}.sst"));
    let blocked: Vec<_> = (0..20).map(blocked).collect();
    blocked.iter().for_each(|path| std::fs::create_dir(path).unwrap());
    it.freeze();
    assert!(!it.land_one());
    for _ in 0..3 {
        let refused = it.tables().append(&new, b"refused").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
        assert_eq!(it.get(&old, 0).unwrap(), b"kept");
        assert_eq!(it.get(&new, 0), None);
    }
    assert_eq!(it.tables().settle().unwrap_err().kind(), ErrorKind::Io);
    blocked.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    it.tables().append(&new, b"taken").unwrap();
    it.tables().settle().unwrap();
    assert_eq!(it.get(&old, 0).unwrap(), b"kept");
    assert_eq!(it.get(&new, 0).unwrap(), b"taken");
    let left = std::fs::read_dir(it.instance()).unwrap();
    let left = left.filter(|it| it.as_ref().unwrap().path().extension().is_some());
    assert_eq!(left.count(), 0, "files of landings are left");
}

/// What a database holds under a key.
fn stored(store: &Store, key: &[u8]) -> Option<Vec<u8>> {
    store.get(key).unwrap().map(|value| value.to_vec())
}

#[test]
fn what_is_done_after_a_landing_meets_the_state_of_the_freeze() {
    let mut it = Fixture::new();
    let list = entry(LISTS, 1);
    let (sender, seen) = mpsc::channel();
    for byte in [b"a", b"b", b"c"] {
        it.tables().append(&list, byte).unwrap();
        let (sender, list) = (sender.clone(), list.clone());
        drop(it.buffer().freeze_and(Box::new(move |store| {
            sender.send(stored(store, &list).unwrap()).unwrap();
        })));
    }
    it.tables().settle().unwrap();
    let seen: Vec<_> = seen.try_iter().collect();
    assert_eq!(seen, [b"a".to_vec(), b"ab".to_vec(), b"abc".to_vec()]);
}

#[test]
fn what_is_to_be_done_after_a_landing_is_done_although_the_buffer_goes() {
    let mut it = Fixture::new();
    let list = entry(LISTS, 1);
    let (sender, seen) = mpsc::channel();
    it.tables().append(&list, b"a").unwrap();
    let key = list.clone();
    let starter = it.buffer().freeze_and(Box::new(move |store| {
        sender.send(stored(store, &key)).unwrap();
    }));
    it.tables().append(&list, b"b").unwrap();
    it.freeze();
    drop(it);
    drop(starter);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Some(b"a".to_vec())]);
    assert!(seen.recv().is_err(), "it was done twice");
}

#[test]
fn a_large_record_is_read_and_lands_like_a_small_one() {
    let mut it = Fixture::new();
    let list = entry(LISTS, 1);
    let large = vec![7; 3 << 20];
    it.tables().append(&list, &large).unwrap();
    it.tables().append(&list, b"more").unwrap();
    let whole = [&large[..], b"more"].concat();
    assert_eq!(it.get(&list, 0).unwrap(), whole);
    it.tables().settle().unwrap();
    it.buffer().landing.forget_landed();
    assert_eq!(it.get(&list, 0).unwrap(), whole);
}

#[test]
fn memory_comes_back_when_a_buffer_goes() {
    let mut it = Fixture::new();
    let pool = it.buffer().member.pool().clone();
    for number in 0..20_000u32 {
        let mut key = entry(LISTS, 1);
        key.extend(number.to_be_bytes());
        it.tables().put(&key, 0, &[1; 100]).unwrap();
    }
    assert!(pool.taken_bytes() > 2 << 20);
    it.tables().append(&entry(LISTS, 2), &[1; 1 << 20]).unwrap();
    drop(it);
    assert_eq!(pool.taken_bytes(), 0);
}

#[test]
fn several_landed_generations_are_read_and_take_half_of_the_share_at_most() {
    let mut it = Fixture::new();
    let value = vec![b'v'; 60 << 10];
    let (mut most, mut least_after_large) = (0, usize::MAX);
    let many = (it.buffer().limit_bytes() * 3 / 4 / value.len()).min(255) as u8;
    for round in 0..4 * LANDED_KEPT {
        let is_large = round >= 2 * LANDED_KEPT;
        for key in 0..if is_large { many } else { 1 } {
            it.tables().put(&entry(LISTS, key), 0, &value[round..]).unwrap();
        }
        it.freeze();
        while it.land_one() {}
        it.buffer().catch_up();
        let buffer = it.buffer();
        let landed = &buffer.view.landed;
        let bytes: usize = landed.iter().map(|generation| generation.bytes()).sum();
        assert!(landed.len() == 1 || bytes <= 2 * buffer.limit_bytes(), "{bytes} bytes");
        if is_large {
            least_after_large = least_after_large.min(landed.len());
        } else {
            most = most.max(landed.len());
        }
        assert_eq!(it.get(&entry(LISTS, 0), 0).unwrap(), value[round..]);
    }
    assert_eq!(most, LANDED_KEPT);
    assert!(least_after_large < LANDED_KEPT, "{least_after_large}");
}
