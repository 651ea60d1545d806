//! Sweeping state that nobody reads.

use millpond_state::{
    KeyedBackend, ListState, MapState, StateOptions, StateTime, Sweeper, TimeDomain, ValueState,
};
use millpond_testkit::SplitMix64;
use millpond_testkit::model::ModelBackend;

use crate::support::{advance, key, open, ttl};

const ROUND_STEPS_MAX: usize = 10_000;

/// Steps until a round ends; the most that a step looked at, and how many entries it removed in
/// all.
fn sweep_round(backend: &mut ModelBackend, sweeper: &mut Sweeper) -> (u64, u64) {
    let (mut most, mut removed) = (0, 0);
    for _ in 0..ROUND_STEPS_MAX {
        let step = sweeper.step(backend).unwrap();
        most = most.max(step.examined);
        removed += step.removed;
        if step.round_ended {
            return (most, removed);
        }
    }
    panic!("a round does not end");
}

#[test]
fn cold_expired_entries_are_given_back_without_being_read() {
    let (mut backend, time) = (open(), StateTime::new());
    let options = StateOptions::new().ttl(ttl(10, TimeDomain::Event, &time).sweep(7));
    let b = &mut backend;
    let value = ValueState::<u64, u64>::register_with(b, "v", options.clone()).unwrap();
    let plain = ValueState::<u64, u64>::register(b, "plain").unwrap();
    let list = ListState::<u64, u64>::register_with(b, "l", options.clone()).unwrap();
    let map = MapState::<u64, u8, u64>::register_with(b, "m", options).unwrap();
    for (from, now) in [(0, 0), (100, 8)] {
        advance(&time, now);
        for number in from..from + 100 {
            value.put(b, key(number).at(), &number).unwrap();
            plain.put(b, key(number).at(), &number).unwrap();
            list.add(b, key(number % 100).at(), &number).unwrap();
            map.put(b, key(number % 100).at(), &((from / 100) as u8), &number).unwrap();
        }
    }
    let full = b.memory_bytes();
    advance(&time, 12);
    let mut sweeper = Sweeper::new();
    let (most, removed) = sweep_round(b, &mut sweeper);
    assert!(most <= 8, "a step looked at {most} entries");
    assert_eq!(removed, 200, "values and map entries");
    assert_eq!(b.entry_count(value.id()).unwrap(), 100);
    assert_eq!(b.entry_count(plain.id()).unwrap(), 200, "others are left alone");
    assert!(b.memory_bytes() < full * 3 / 4);
    assert_eq!(list.get(b, key(3).at()).unwrap(), [103]);
    assert_eq!(map.entries(b, key(3).at()).unwrap(), [(1, 103)]);
    advance(&time, 18);
    sweep_round(b, &mut sweeper);
    for state in [value.id(), list.id(), map.id()] {
        assert_eq!(b.entry_count(state).unwrap(), 0);
    }
}

#[test]
fn a_sweep_stamps_what_was_written_before_time_was_known() {
    let (mut backend, time) = (open(), StateTime::new());
    let options = StateOptions::new().ttl(ttl(10, TimeDomain::Event, &time));
    let b = &mut backend;
    let value = ValueState::<u64, u64>::register_with(b, "v", options.clone()).unwrap();
    let map = MapState::<u64, u8, u64>::register_with(b, "m", options).unwrap();
    value.put(b, key(1).at(), &1).unwrap();
    map.put(b, key(1).at(), &1, &1).unwrap();
    let mut sweeper = Sweeper::new();
    for (now, left) in [(100, 2), (109, 2), (110, 0)] {
        advance(&time, now);
        sweep_round(b, &mut sweeper);
        let count = b.entry_count(value.id()).unwrap() + b.entry_count(map.id()).unwrap();
        assert_eq!(count, left, "at {now}");
    }
}

#[test]
fn a_sweeper_stays_away_from_states_that_say_so_and_from_backends_without_any() {
    let (mut backend, time) = (open(), StateTime::new());
    let mut sweeper = Sweeper::new();
    assert!(sweeper.step(&mut backend).unwrap().round_ended);
    advance(&time, 0);
    let options = StateOptions::new().ttl(ttl(10, TimeDomain::Event, &time).sweep(0));
    let state = ValueState::<u64, u64>::register_with(&mut backend, "v", options).unwrap();
    state.put(&mut backend, key(1).at(), &1).unwrap();
    advance(&time, 100);
    let step = sweeper.step(&mut backend).unwrap();
    assert!(step.round_ended && step.examined == 0);
    assert_eq!(backend.entry_count(state.id()).unwrap(), 1);
}

#[test]
fn rounds_end_and_take_only_what_has_expired_while_entries_come_and_go() {
    for seed in 0..40 {
        let mut random = SplitMix64::new(seed);
        let (mut backend, time) = (open(), StateTime::new());
        let b = &mut backend;
        let sweep = 1 + (seed as u32) % 5;
        let options = StateOptions::new().ttl(ttl(50, TimeDomain::Event, &time).sweep(sweep));
        let state = ValueState::<u64, u64>::register_with(b, "v", options).unwrap();
        let mut sweeper = Sweeper::new();
        let mut touched = std::collections::BTreeMap::new();
        let (mut rounds, mut now) = (0, 0i64);
        for _ in 0..3_000 {
            now += (random.next_u64() % 3) as i64;
            advance(&time, now);
            let number = random.next_u64() % 200;
            if random.next_u64().is_multiple_of(4) {
                state.delete(b, key(number).at()).unwrap();
                touched.remove(&number);
            } else {
                state.put(b, key(number).at(), &number).unwrap();
                touched.insert(number, now);
            }
            rounds += u32::from(sweeper.step(b).unwrap().round_ended);
            touched.retain(|_, at| now - *at < 50);
        }
        assert!(rounds > 0, "no round ended in 3,000 steps");
        sweep_round(b, &mut sweeper);
        sweep_round(b, &mut sweeper);
        assert_eq!(b.entry_count(state.id()).unwrap(), touched.len() as u64, "seed {seed}");
        for number in touched.keys() {
            assert_eq!(state.get(b, key(*number).at()).unwrap(), Some(*number));
        }
    }
}
