//! Random operations on states that expire, against a plain model of what must be seen.

use std::collections::BTreeMap;

use millpond_state::{
    ListState, MapState, ReducingState, Refresh, StateOptions, StateTime, Sweeper, TimeDomain,
    ValueState,
};
use millpond_testkit::model::ModelBackend;
use proptest::prelude::*;

use crate::support::{advance, key, open, restored, snapshot, ttl};

const TTL_MS: i64 = 20;

#[derive(Clone, Debug)]
enum Op {
    Advance(u8),
    Put(u8),
    Update,
    Get,
    Delete,
    Add(Vec<u8>),
    Replace(Vec<u8>),
    List,
    MapPut(u8, u8),
    MapGet(u8),
    MapContains(u8),
    MapRemove(u8),
    MapIsEmpty,
    MapEntries,
    MapUpdateEach,
    Reduce(u8),
    Reduced,
    Sweep,
    Restore,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..4);
    let user_key = 0u8..4;
    let op = prop_oneof![
        6 => (0u8..15).prop_map(Op::Advance),
        1 => any::<u8>().prop_map(Op::Put),
        2 => Just(Op::Update),
        2 => Just(Op::Get),
        1 => Just(Op::Delete),
        3 => bytes().prop_map(Op::Add),
        1 => bytes().prop_map(Op::Replace),
        2 => Just(Op::List),
        3 => (user_key.clone(), any::<u8>()).prop_map(|(k, v)| Op::MapPut(k, v)),
        1 => user_key.clone().prop_map(Op::MapGet),
        1 => user_key.clone().prop_map(Op::MapContains),
        1 => user_key.prop_map(Op::MapRemove),
        1 => Just(Op::MapIsEmpty),
        1 => Just(Op::MapEntries),
        1 => Just(Op::MapUpdateEach),
        2 => any::<u8>().prop_map(Op::Reduce),
        1 => Just(Op::Reduced),
        2 => Just(Op::Sweep),
        1 => Just(Op::Restore),
    ];
    prop::collection::vec(op, 1..80)
}

/// A part and when it was touched.
type Part<V> = (i64, V);

/// What must be seen, kept in the simplest way.
struct Model {
    now: i64,
    on_read: bool,
    value: Option<Part<u64>>,
    list: Vec<Part<u8>>,
    map: BTreeMap<u8, Part<u8>>,
    reduced: Option<Part<u64>>,
}

impl Model {
    fn drop_expired(&mut self) {
        let live = |stamp: i64| i128::from(self.now) - i128::from(stamp) < i128::from(TTL_MS);
        self.value = self.value.filter(|part| live(part.0));
        self.list.retain(|part| live(part.0));
        self.map.retain(|_, part| live(part.0));
        self.reduced = self.reduced.filter(|part| live(part.0));
    }

    fn touch<V>(&self, part: &mut Part<V>) {
        if self.on_read {
            part.0 = self.now;
        }
    }
}

struct States {
    value: ValueState<u64, u64>,
    list: ListState<u64, u8>,
    map: MapState<u64, u8, u8>,
    reducing: ReducingState<u64, u64>,
}

impl States {
    fn register(backend: &mut ModelBackend, options: &StateOptions) -> Self {
        let o = || options.clone();
        let sum = |a: u64, b: u64| a.wrapping_mul(31).wrapping_add(b);
        Self {
            value: ValueState::register_with(backend, "v", o()).unwrap(),
            list: ListState::register_with(backend, "l", o()).unwrap(),
            map: MapState::register_with(backend, "m", o()).unwrap(),
            reducing: ReducingState::register_with(backend, "r", sum, o()).unwrap(),
        }
    }
}

struct Run {
    backend: ModelBackend,
    states: States,
    options: StateOptions,
    time: StateTime,
    sweeper: Sweeper,
    model: Model,
}

impl Run {
    fn new(start: i64, domain: TimeDomain, on_read: bool) -> Self {
        let (mut backend, time) = (open(), StateTime::new());
        advance(&time, start);
        let refresh = if on_read { Refresh::OnReadAndWrite } else { Refresh::OnWrite };
        let ttl = ttl(TTL_MS as u64, domain, &time).refresh(refresh).sweep(3);
        let options = StateOptions::new().ttl(ttl);
        let states = States::register(&mut backend, &options);
        let model = Model {
            now: start,
            on_read,
            value: None,
            list: Vec::new(),
            map: BTreeMap::new(),
            reduced: None,
        };
        Self { backend, states, options, time, sweeper: Sweeper::new(), model }
    }

    fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        self.model.drop_expired();
        let key = key(1);
        let (at, now) = (key.at(), self.model.now);
        let (b, s, m) = (&mut self.backend, &self.states, &mut self.model);
        match op {
            Op::Advance(by) => {
                m.now = now.saturating_add(i64::from(*by)).min(i64::MAX - 1);
                advance(&self.time, m.now);
            }
            Op::Put(value) => {
                s.value.put(b, at, &u64::from(*value)).unwrap();
                m.value = Some((now, u64::from(*value)));
            }
            Op::Update => {
                let next = |old: Option<u64>| Some(old.map_or(7, |old| old + 1));
                s.value.update(b, at, next).unwrap();
                m.value = next(m.value.map(|part| part.1)).map(|value| (now, value));
            }
            Op::Get => {
                prop_assert_eq!(s.value.get(b, at).unwrap(), m.value.map(|part| part.1));
                let mut value = m.value;
                value.iter_mut().for_each(|part| m.touch(part));
                m.value = value;
            }
            Op::Delete => {
                s.value.delete(b, at).unwrap();
                s.map.delete(b, at).unwrap();
                (m.value, m.map) = (None, BTreeMap::new());
            }
            Op::Reduce(by) => {
                s.reducing.add(b, at, u64::from(*by)).unwrap();
                let by = u64::from(*by);
                let next = m.reduced.map_or(by, |old| old.1.wrapping_mul(31).wrapping_add(by));
                m.reduced = Some((now, next));
            }
            Op::Reduced => {
                prop_assert_eq!(s.reducing.get(b, at).unwrap(), m.reduced.map(|part| part.1));
                let mut reduced = m.reduced;
                reduced.iter_mut().for_each(|part| m.touch(part));
                m.reduced = reduced;
            }
            Op::Sweep => drop(self.sweeper.step(b).unwrap()),
            Op::Restore => {
                self.backend = restored(&snapshot(b));
                self.states = States::register(&mut self.backend, &self.options);
            }
            _ => return self.apply_to_many(op),
        }
        Ok(())
    }

    fn apply_to_many(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let key = key(1);
        let (at, now) = (key.at(), self.model.now);
        let (b, s, m) = (&mut self.backend, &self.states, &mut self.model);
        match op {
            Op::Add(elements) => {
                s.list.add_all(b, at, elements).unwrap();
                m.list.extend(elements.iter().map(|element| (now, *element)));
            }
            Op::Replace(elements) => {
                s.list.replace(b, at, elements).unwrap();
                m.list = elements.iter().map(|element| (now, *element)).collect();
            }
            Op::List => {
                let seen: Vec<u8> = m.list.iter().map(|part| part.1).collect();
                prop_assert_eq!(s.list.get(b, at).unwrap(), seen);
                let mut list = core::mem::take(&mut m.list);
                list.iter_mut().for_each(|part| m.touch(part));
                m.list = list;
            }
            Op::MapPut(user_key, value) => {
                s.map.put(b, at, user_key, value).unwrap();
                m.map.insert(*user_key, (now, *value));
            }
            Op::MapGet(user_key) | Op::MapContains(user_key) => {
                let expected = m.map.get(user_key).map(|part| part.1);
                if matches!(op, Op::MapGet(_)) {
                    prop_assert_eq!(s.map.get(b, at, user_key).unwrap(), expected);
                } else {
                    prop_assert_eq!(s.map.contains(b, at, user_key).unwrap(), expected.is_some());
                }
                if m.on_read {
                    m.map.entry(*user_key).and_modify(|part| part.0 = now);
                }
            }
            Op::MapRemove(user_key) => {
                s.map.remove(b, at, user_key).unwrap();
                m.map.remove(user_key);
            }
            Op::MapIsEmpty => {
                prop_assert_eq!(s.map.is_empty(b, at).unwrap(), m.map.is_empty());
            }
            Op::MapEntries => {
                let seen: Vec<_> = m.map.iter().map(|(key, part)| (*key, part.1)).collect();
                prop_assert_eq!(s.map.entries(b, at).unwrap(), seen);
                if m.on_read {
                    m.map.values_mut().for_each(|part| part.0 = now);
                }
            }
            _ => {
                let change =
                    |key: &u8, old: u8| key.is_multiple_of(2).then_some(old.wrapping_add(1));
                s.map.update_each(b, at, change).unwrap();
                m.map.retain(|key, _| key % 2 == 0);
                m.map.values_mut().for_each(|part| *part = (now, part.1.wrapping_add(1)));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn what_is_seen_is_what_was_touched_lately(
        ops in ops(),
        start in prop_oneof![
            Just(0),
            -1_000i64..1_000,
            i64::MIN + 1..i64::MIN + 50,
            i64::MAX - 200..i64::MAX - 1,
        ],
        event in any::<bool>(),
        on_read in any::<bool>(),
    ) {
        let domain = if event { TimeDomain::Event } else { TimeDomain::Processing };
        let mut run = Run::new(start, domain, on_read);
        for op in &ops {
            run.apply(op)?;
        }
    }
}
