//! Who owns what: values handed in and out, and what a walk may change.

use millpond_state::kinds::{
    Aggregate, AggregatingState, ListState, MapState, ReducingState, ValueState,
};
use millpond_state::{KeyedBackend, StateKind};

use super::subject::{BackendUnderTest, describe, key};
use crate::violation::{Verdict, ensure_eq};

/// What is read belongs to the caller, of every kind: changing it does not change the state.
pub fn what_is_read_belongs_to_the_caller(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let backend: &mut dyn KeyedBackend = &mut *backend;
    let context = key(subject, &7u64)?;
    let at = context.at();
    let value = ValueState::<u64, Vec<u8>>::register(backend, "value")?;
    let list = ListState::<u64, String>::register(backend, "list")?;
    let map = MapState::<u64, u32, String>::register(backend, "map")?;
    let joined = |left: String, right: String| left + &right;
    let reducing = ReducingState::<u64, String>::register(backend, "reducing", joined)?;
    value.put(backend, at, &vec![1, 2, 3])?;
    list.add_all(backend, at, &["a".to_owned(), "b".to_owned()])?;
    map.put(backend, at, &1, &"one".to_owned())?;
    reducing.add(backend, at, "x".to_owned())?;
    for _ in 0..2 {
        let mut owned = value.get(backend, at)?.unwrap_or_default();
        ensure_eq!(owned, [1, 2, 3], "value");
        owned.clear();
        let mut owned = list.get(backend, at)?;
        ensure_eq!(owned, ["a", "b"], "list");
        owned.iter_mut().for_each(|element| element.push_str(", changed by the caller"));
        owned.pop();
        let mut owned = map.entries(backend, at)?;
        ensure_eq!(owned, [(1, "one".to_owned())], "map");
        owned.iter_mut().for_each(|(_, value)| value.clear());
        let mut owned = reducing.get(backend, at)?.unwrap_or_default();
        ensure_eq!(owned, "x", "reduction");
        owned.push('y');
    }
    Ok(())
}

/// What is handed in is copied: the caller may re-use it at once.
pub fn what_is_written_may_be_reused_by_the_caller(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let value = backend.register(&describe("value", StateKind::Value)?)?;
    let map = backend.register(&describe("map", StateKind::Map)?)?;
    let (mut name, mut bytes) = (Vec::new(), Vec::new());
    for number in 0..100u8 {
        name.clear();
        name.extend([number; 5]);
        bytes.clear();
        bytes.resize(usize::from(number), number);
        backend.put(value, subject.at(&name), &bytes)?;
        backend.map_put(map, subject.at(b"map"), &name, &bytes)?;
    }
    name.fill(0);
    bytes.fill(0);
    for number in 0..100u8 {
        let (name, expected) = ([number; 5], vec![number; usize::from(number)]);
        let found = backend.get(value, subject.at(&name))?;
        ensure_eq!(found, Some(expected.as_slice()), "value {number}");
        let found = backend.map_get(map, subject.at(b"map"), &name)?;
        ensure_eq!(found, Some(expected.as_slice()), "map value {number}");
    }
    Ok(())
}

/// The slices of one batch are all valid side by side, each its own.
pub fn values_of_a_batch_are_valid_together(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let keys: Vec<[u8; 2]> = (0..300u16).map(u16::to_be_bytes).collect();
    let entries: Vec<_> = keys.iter().map(|key| subject.at(key)).collect();
    for (key, at) in keys.iter().zip(&entries) {
        backend.put(state, *at, &key.repeat(usize::from(key[1]) + 1))?;
    }
    let mut values = vec![None; entries.len()];
    backend.get_many(state, &entries, &mut values)?;
    for (key, value) in keys.iter().zip(values) {
        let expected = key.repeat(usize::from(key[1]) + 1);
        ensure_eq!(value, Some(expected.as_slice()), "value of {key:?}");
    }
    Ok(())
}

/// Text of all inputs, kept by changing the accumulator in place.
#[derive(Debug)]
struct InPlace;

/// The same, with a new accumulator for each input.
#[derive(Debug)]
struct Anew;

impl Aggregate for InPlace {
    type Input = u64;
    type Accumulator = String;
    type Output = String;

    fn create(&self) -> String {
        String::new()
    }

    fn add(&self, accumulator: &mut String, input: &u64) {
        accumulator.push_str(&format!("{input};"));
    }

    fn merge(&self, accumulator: &mut String, other: String) {
        accumulator.push_str(&other);
    }

    fn result(&self, accumulator: &String) -> String {
        accumulator.clone()
    }
}

impl Aggregate for Anew {
    type Input = u64;
    type Accumulator = String;
    type Output = String;

    fn create(&self) -> String {
        String::new()
    }

    fn add(&self, accumulator: &mut String, input: &u64) {
        *accumulator = format!("{accumulator}{input};");
    }

    fn merge(&self, accumulator: &mut String, other: String) {
        *accumulator = format!("{accumulator}{other}");
    }

    fn result(&self, accumulator: &String) -> String {
        accumulator.clone()
    }
}

/// Accumulators that are changed in place and ones that are made anew behave alike.
pub fn accumulators_may_be_changed_in_place_or_made_anew(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let backend: &mut dyn KeyedBackend = &mut *backend;
    let changed = AggregatingState::<u64, InPlace>::register(backend, "changed", InPlace)?;
    let anew = AggregatingState::<u64, Anew>::register(backend, "anew", Anew)?;
    let contexts = [key(subject, &0)?, key(subject, &1)?];
    let mut expected = [String::new(), String::new()];
    for input in 0..100u64 {
        for ((context, number), text) in contexts.iter().zip(1..).zip(&mut expected) {
            let input = input * number;
            changed.add(backend, context.at(), &input)?;
            anew.add(backend, context.at(), &input)?;
            text.push_str(&format!("{input};"));
        }
    }
    for (context, text) in contexts.iter().zip(expected) {
        let found = changed.get(backend, context.at())?;
        ensure_eq!(found.as_deref(), Some(text.as_str()), "accumulator changed in place");
        ensure_eq!(anew.get(backend, context.at())?, found, "accumulator made anew");
    }
    Ok(())
}
