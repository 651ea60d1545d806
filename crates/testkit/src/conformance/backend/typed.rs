//! Typed states over the backend: codecs, folds, walks.

use core::ops::ControlFlow;

use millpond_state::codec::{Codec, CodecIdentity, DefaultCodec};
use millpond_state::kinds::{
    Aggregate, AggregatingState, ListState, MapState, ReducingState, ValueState, apply_to_all,
    for_each_entry,
};
use millpond_state::{ErrorKind, KeyedBackend, NamespaceContext, Result, Scratch, StateError};

use super::subject::{BackendUnderTest, key, take_snapshot};
use crate::violation::{Verdict, ensure_eq, refused};

/// The mean of integers: its accumulator is of another type than its input and its result.
#[derive(Debug)]
pub(super) struct Mean;

impl Aggregate for Mean {
    type Input = i64;
    type Accumulator = (i64, u64);
    type Output = f64;

    fn create(&self) -> (i64, u64) {
        (0, 0)
    }

    fn add(&self, accumulator: &mut (i64, u64), input: &i64) {
        accumulator.0 += input;
        accumulator.1 += 1;
    }

    fn merge(&self, accumulator: &mut (i64, u64), other: (i64, u64)) {
        accumulator.0 += other.0;
        accumulator.1 += other.1;
    }

    fn result(&self, accumulator: &(i64, u64)) -> f64 {
        accumulator.0 as f64 / accumulator.1 as f64
    }
}

/// A typed value is absent, put, read, replaced and deleted; what is read belongs to the caller.
pub fn a_typed_value_is_read_as_it_was_put(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = ValueState::<String, (i64, String)>::register(&mut *backend, "value")?;
    let (a, b) = (key(subject, &"a".to_owned())?, key(subject, &"b".to_owned())?);
    ensure_eq!(state.get(&mut *backend, a.at())?, None, "absent");
    state.put(&mut *backend, a.at(), &(-1, "one".to_owned()))?;
    state.put(&mut *backend, b.at(), &(2, String::new()))?;
    let mut owned = state.get(&mut *backend, a.at())?.unwrap_or_default();
    owned.1.push_str(", changed by the caller");
    let again = state.get(&mut *backend, a.at())?;
    ensure_eq!(again, Some((-1, "one".to_owned())), "read again");
    state.delete(&mut *backend, a.at())?;
    ensure_eq!(state.get(&mut *backend, a.at())?, None, "deleted");
    ensure_eq!(state.get(&mut *backend, b.at())?, Some((2, String::new())), "other key");
    Ok(())
}

/// Updating a value to nothing deletes it; a default is made anew each time and not stored.
pub fn updating_a_value_to_nothing_deletes_it(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = ValueState::<u64, u64>::register(&mut *backend, "value")?;
    let context = key(subject, &7)?;
    for default in [5, 6] {
        let found = state.get_or_else(&mut *backend, context.at(), || default)?;
        ensure_eq!(found, default, "default");
    }
    ensure_eq!(backend.entry_count(state.id())?, 0, "entries after reading defaults");
    for expected in 1..=3 {
        let add = |old: Option<u64>| Some(old.unwrap_or_default() + 1);
        state.update(&mut *backend, context.at(), add)?;
        ensure_eq!(state.get(&mut *backend, context.at())?, Some(expected), "after an update");
    }
    state.update(&mut *backend, context.at(), |_| None)?;
    ensure_eq!(state.get(&mut *backend, context.at())?, None, "after an update to nothing");
    ensure_eq!(backend.entry_count(state.id())?, 0, "entries");
    Ok(())
}

/// A typed list keeps its order; adding no elements changes nothing, replacing by none clears.
pub fn a_typed_list_keeps_its_order(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = ListState::<u64, String>::register(&mut *backend, "list")?;
    let context = key(subject, &7)?;
    let words = ["pond".to_owned(), String::new(), "mill".to_owned()];
    state.add_all(&mut *backend, context.at(), [])?;
    ensure_eq!(backend.entry_count(state.id())?, 0, "entries after adding none");
    state.add(&mut *backend, context.at(), &"first".to_owned())?;
    state.add_all(&mut *backend, context.at(), &words)?;
    state.add_all(&mut *backend, context.at(), [])?;
    let found = state.get(&mut *backend, context.at())?;
    ensure_eq!(found, ["first", "pond", "", "mill"], "elements");
    state.replace(&mut *backend, context.at(), words.iter().take(2))?;
    ensure_eq!(state.get(&mut *backend, context.at())?, ["pond", ""], "replaced");
    state.replace(&mut *backend, context.at(), [])?;
    ensure_eq!(state.get(&mut *backend, context.at())?.len(), 0, "replaced by none");
    ensure_eq!(backend.entry_count(state.id())?, 0, "entries of a cleared list");
    Ok(())
}

/// An element that its codec refuses leaves the list as it was, added, added among others, or as
/// part of a replacement.
pub fn a_refused_element_leaves_the_list_as_it_was(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = ListState::<u64, u32, (), Picky>::register(&mut *backend, "list")?;
    let context = key(subject, &7)?;
    state.add_all(&mut *backend, context.at(), &[1, 2])?;
    let kind = ErrorKind::UserCode;
    refused(state.add(&mut *backend, context.at(), &13), kind, "add")?;
    refused(state.add_all(&mut *backend, context.at(), &[3, 13, 4]), kind, "add_all")?;
    refused(state.replace(&mut *backend, context.at(), &[5, 13]), kind, "replace")?;
    ensure_eq!(state.get(&mut *backend, context.at())?, [1, 2], "elements");
    state.add(&mut *backend, context.at(), &3)?;
    ensure_eq!(state.get(&mut *backend, context.at())?, [1, 2, 3], "elements after one more");
    Ok(())
}

/// Encodes every number but 13.
#[derive(Clone, Copy, Debug, Default)]
struct Picky;

impl Codec<u32> for Picky {
    fn identity(&self) -> CodecIdentity {
        CodecIdentity::new("testkit:picky", 1)
    }

    fn encode_into(&self, value: &u32, out: &mut Scratch) -> Result<()> {
        out.extend_from_slice(&value.to_be_bytes());
        if *value == 13 {
            return Err(StateError::new(ErrorKind::UserCode, "13 is refused"));
        }
        Ok(())
    }

    fn decode_from(&self, input: &mut &[u8]) -> Result<u32> {
        DefaultCodec::<u32>::default().decode_from(input)
    }
}

/// A list element that cannot be told from none is refused, and the list is unchanged.
pub fn an_element_without_bytes_is_refused(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = ListState::<u64, ()>::register(&mut *backend, "list")?;
    let context = key(subject, &7)?;
    let added = state.add(&mut *backend, context.at(), &());
    refused(added, ErrorKind::InvalidArgument, "element of the void codec")?;
    ensure_eq!(backend.entry_count(state.id())?, 0, "entries");
    Ok(())
}

/// Reducing state has no value before the first add, then folds each one in order, batches too.
pub fn reducing_state_folds_each_added_value(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let joined = |left: String, right: String| left + &right;
    let state = ReducingState::<u64, String>::register(&mut *backend, "reducing", joined)?;
    let (a, b) = (key(subject, &1)?, key(subject, &2)?);
    ensure_eq!(state.get(&mut *backend, a.at())?, None, "before the first add");
    for part in ["x", "y", "z"] {
        state.add(&mut *backend, a.at(), part.to_owned())?;
    }
    ensure_eq!(state.get(&mut *backend, a.at())?, Some("xyz".to_owned()), "after three adds");
    let batch = [a.at().entry(), b.at().entry(), a.at().entry(), b.at().entry()];
    state.add_many(&mut *backend, &batch, |index| index.to_string())?;
    ensure_eq!(state.get(&mut *backend, a.at())?, Some("xyz02".to_owned()), "after a batch");
    ensure_eq!(state.get(&mut *backend, b.at())?, Some("13".to_owned()), "other key");
    state.delete(&mut *backend, a.at())?;
    ensure_eq!(state.get(&mut *backend, a.at())?, None, "deleted");
    Ok(())
}

/// Aggregating state folds inputs into an accumulator of another type, batches too.
pub fn aggregating_state_folds_into_its_accumulator(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = AggregatingState::<u64, Mean>::register(&mut *backend, "aggregating", Mean)?;
    let (a, b) = (key(subject, &1)?, key(subject, &2)?);
    ensure_eq!(state.get(&mut *backend, a.at())?, None, "before the first add");
    state.add(&mut *backend, a.at(), &-4)?;
    state.add(&mut *backend, a.at(), &6)?;
    ensure_eq!(state.get(&mut *backend, a.at())?, Some(1.0), "after two adds");
    let batch = [a.at().entry(), b.at().entry(), a.at().entry()];
    state.add_many(&mut *backend, &batch, &[&10, &3, &0])?;
    ensure_eq!(state.get(&mut *backend, a.at())?, Some(3.0), "after a batch");
    ensure_eq!(state.get(&mut *backend, b.at())?, Some(3.0), "other key");
    state.delete(&mut *backend, a.at())?;
    ensure_eq!(state.get(&mut *backend, a.at())?, None, "deleted");
    Ok(())
}

/// A typed map is walked in the order of its user keys; negative numbers come first.
pub fn a_typed_map_is_walked_in_the_order_of_its_keys(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = MapState::<u64, i32, String>::register(&mut *backend, "map")?;
    let context = key(subject, &7)?;
    let keys = [5, -1, 300, 0, i32::MIN, i32::MAX, -300];
    let entries: Vec<(i32, String)> = keys.iter().map(|k| (*k, k.to_string())).collect();
    let borrowed = entries.iter().map(|(k, v)| (k, v));
    state.put_all(&mut *backend, context.at(), borrowed)?;
    let mut sorted = entries.clone();
    sorted.sort();
    ensure_eq!(state.entries(&mut *backend, context.at())?, sorted, "entries in order");
    state.update_each(&mut *backend, context.at(), |user_key, value| {
        (*user_key >= 0).then(|| value + "!")
    })?;
    let kept: Vec<_> = sorted.into_iter().filter(|e| e.0 >= 0).map(|e| (e.0, e.1 + "!")).collect();
    ensure_eq!(state.entries(&mut *backend, context.at())?, kept, "after removing and replacing");
    ensure_eq!(state.get(&mut *backend, context.at(), &5)?, Some("5!".to_owned()), "one value");
    state.delete(&mut *backend, context.at())?;
    ensure_eq!(state.is_empty(&mut *backend, context.at())?, true, "emptiness");
    Ok(())
}

/// A typed map is filled in bulk, compared by its entries, changed entry by entry, and emptied; a
/// walk shows what was there when it met the entry, the next one what was decided.
pub fn a_typed_map_is_changed_through_its_walk(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = MapState::<u64, u32, String>::register(&mut *backend, "map")?;
    let (a, b) = (key(subject, &1)?, key(subject, &2)?);
    let entries: Vec<(u32, String)> = (0..50).map(|n| (n, n.to_string())).collect();
    for context in [&a, &b] {
        let borrowed = entries.iter().map(|(k, v)| (k, v));
        state.put_all(&mut *backend, context.at(), borrowed)?;
    }
    let (left, right) =
        (state.entries(&mut *backend, a.at())?, state.entries(&mut *backend, b.at())?);
    ensure_eq!(left, right, "maps filled alike");
    let mut met = Vec::new();
    state.update_each(&mut *backend, a.at(), |user_key, value| {
        met.push(*user_key);
        match user_key % 3 {
            0 => None,
            1 => Some(format!("{value}, and a good deal longer than it was before")),
            _ => Some(value),
        }
    })?;
    ensure_eq!(met, (0..50).collect::<Vec<_>>(), "user keys met while entries change");
    let after = state.entries(&mut *backend, a.at())?;
    let expected: Vec<(u32, usize)> =
        (0..50).filter(|n| n % 3 > 0).map(|n| (n, n.to_string().len())).collect();
    let found: Vec<(u32, usize)> = after
        .iter()
        .map(|(n, text)| (*n, text.trim_end_matches(|c: char| !c.is_ascii_digit()).len()))
        .collect();
    ensure_eq!(found, expected, "entries left, and their first words");
    let long = after.iter().filter(|(_, text)| text.ends_with("before")).count();
    ensure_eq!(long, 17, "entries that grew");
    ensure_eq!(state.entries(&mut *backend, b.at())?, right, "other map");
    state.update_each(&mut *backend, a.at(), |_, _| None)?;
    ensure_eq!(state.is_empty(&mut *backend, a.at())?, true, "emptiness after the last removal");
    ensure_eq!(backend.entry_count(state.id())?, 1, "maps");
    Ok(())
}

/// A map to nothing is a set.
pub fn a_map_to_nothing_is_a_set(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = MapState::<u64, String, ()>::register(&mut *backend, "set")?;
    let context = key(subject, &7)?;
    let (a, b) = ("a".to_owned(), "b".to_owned());
    ensure_eq!(state.is_empty(&mut *backend, context.at())?, true, "emptiness at first");
    state.put(&mut *backend, context.at(), &a, &())?;
    state.put(&mut *backend, context.at(), &a, &())?;
    ensure_eq!(state.contains(&mut *backend, context.at(), &a)?, true, "what was put");
    ensure_eq!(state.contains(&mut *backend, context.at(), &b)?, false, "what was not");
    state.remove(&mut *backend, context.at(), &a)?;
    ensure_eq!(state.is_empty(&mut *backend, context.at())?, true, "emptiness at last");
    Ok(())
}

/// Typed entries in typed namespaces are apart, and are enumerated with their keys.
pub fn typed_namespaces_are_enumerated(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = ValueState::<String, u64, i64>::register(&mut *backend, "windows")?;
    let mut expected = Vec::new();
    for name in ["", "a", "ab", "b"] {
        for window in [-3_600, 0, 3_600] {
            let (context, within) = (key(subject, &name.to_owned())?, window);
            let namespace = NamespaceContext::new(&within)?;
            state.put(&mut *backend, context.within(&namespace), &(name.len() as u64))?;
            expected.push((name.to_owned(), window));
        }
    }
    let mut seen = Vec::new();
    for_each_entry::<String, i64, _>(&mut *backend, state.id(), |key, namespace| {
        seen.push((key, namespace));
        ControlFlow::Continue(())
    })?;
    seen.sort();
    ensure_eq!(seen, expected, "keys and namespaces");
    Ok(())
}

/// Applying a function to all keys meets each once, also when it changes the state meanwhile.
pub fn applying_to_all_keys_may_change_the_state(subject: &BackendUnderTest) -> Verdict {
    const KEYS: u64 = 1_000;
    let mut backend = subject.open()?;
    let state = ValueState::<u64, u64>::register(&mut *backend, "value")?;
    for number in 0..KEYS {
        state.put(&mut *backend, key(subject, &number)?.at(), &number)?;
    }
    let mut met = 0;
    apply_to_all::<u64, (), dyn KeyedBackend>(&mut *backend, state.id(), |backend, at| {
        met += 1;
        state.update(backend, at, |old| old.filter(|number| number % 2 == 0).map(|n| n + KEYS))
    })?;
    ensure_eq!(met, KEYS, "keys met");
    for number in 0..KEYS {
        let found = state.get(&mut *backend, key(subject, &number)?.at())?;
        ensure_eq!(found, (number % 2 == 0).then_some(number + KEYS), "key {number}");
    }
    Ok(())
}

/// While a function is applied to all keys it may add entries, delete others and write to another
/// state: added ones are met only in key groups not reached yet, deleted ones all the same.
pub fn applying_to_all_keys_may_add_and_delete_entries(subject: &BackendUnderTest) -> Verdict {
    const KEYS: u64 = 400;
    let mut backend = subject.open()?;
    let state = ValueState::<u64, u64>::register(&mut *backend, "value")?;
    let seen = ValueState::<u64, u64>::register(&mut *backend, "seen")?;
    for number in 0..KEYS {
        state.put(&mut *backend, key(subject, &number)?.at(), &number)?;
    }
    let mut met = Vec::new();
    let mut added = std::collections::BTreeMap::new();
    apply_to_all::<u64, (), dyn KeyedBackend>(&mut *backend, state.id(), |backend, at| {
        let group = at.entry().group();
        met.push(at.entry().key().to_vec());
        seen.put(backend, at, &1)?;
        let number = met.len() as u64;
        let new = key(subject, &(KEYS + number))?;
        if number <= KEYS {
            state.put(backend, new.at(), &number)?;
            added.insert(new.as_bytes().to_vec(), new.group() > group);
        }
        state.delete(backend, key(subject, &(number * 7 % KEYS))?.at())
    })?;
    let all = met.len();
    met.sort_unstable();
    met.dedup();
    ensure_eq!(met.len(), all, "keys met, each once");
    for (key, later) in &added {
        let found = met.binary_search(key).is_ok();
        ensure_eq!(found, *later, "whether an added key was met, and should be");
    }
    ensure_eq!(backend.entry_count(seen.id())?, all as u64, "entries written meanwhile");
    Ok(())
}

/// Every kind of typed state comes through snapshot and restore.
pub fn typed_states_survive_restore(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let context = key(subject, &7)?;
    let at = context.at();
    let write = Typed::register(&mut *backend)?;
    write.value.put(&mut *backend, at, &1)?;
    write.list.add_all(&mut *backend, at, &[1, 2])?;
    write.map.put(&mut *backend, at, &3, &4)?;
    write.reducing.add(&mut *backend, at, 5)?;
    write.aggregating.add(&mut *backend, at, &6)?;
    let snapshot = take_snapshot(&mut *backend)?;
    let mut backend = subject.open()?;
    backend.restore(&mut snapshot.source(subject.max_parallelism().full_range()))?;
    let read = Typed::register(&mut *backend)?;
    read.list.add(&mut *backend, at, &3)?;
    read.reducing.add(&mut *backend, at, 7)?;
    read.aggregating.add(&mut *backend, at, &8)?;
    ensure_eq!(read.value.get(&mut *backend, at)?, Some(1), "value");
    ensure_eq!(read.list.get(&mut *backend, at)?, [1, 2, 3], "list");
    ensure_eq!(read.map.entries(&mut *backend, at)?, [(3, 4)], "map");
    ensure_eq!(read.reducing.get(&mut *backend, at)?, Some(12), "reducing");
    ensure_eq!(read.aggregating.get(&mut *backend, at)?, Some(7.0), "aggregating");
    Ok(())
}

/// One state of each kind.
struct Typed {
    value: ValueState<u64, u32>,
    list: ListState<u64, u32>,
    map: MapState<u64, u32, u32>,
    reducing: ReducingState<u64, u32>,
    aggregating: AggregatingState<u64, Mean>,
}

impl Typed {
    fn register(backend: &mut dyn KeyedBackend) -> Result<Self> {
        Ok(Self {
            value: ValueState::register(backend, "value")?,
            list: ListState::register(backend, "list")?,
            map: MapState::register(backend, "map")?,
            reducing: ReducingState::register(backend, "reducing", |a, b| a + b)?,
            aggregating: AggregatingState::register(backend, "aggregating", Mean)?,
        })
    }
}

/// After a restore, another codec for key, namespace, user key, value or element is refused.
pub fn restored_states_refuse_other_types(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    Typed::register(&mut *backend)?;
    let snapshot = take_snapshot(&mut *backend)?;
    let mut backend = subject.open()?;
    backend.restore(&mut snapshot.source(subject.max_parallelism().full_range()))?;
    let backend = &mut *backend;
    let kind = ErrorKind::Incompatible;
    refused(ValueState::<u32, u32>::register(backend, "value"), kind, "key")?;
    refused(ValueState::<u64, u32, u8>::register(backend, "value"), kind, "namespace")?;
    refused(ValueState::<u64, i32>::register(backend, "value"), kind, "value")?;
    refused(ListState::<u64, u32>::register(backend, "value"), kind, "kind")?;
    refused(ListState::<u64, String>::register(backend, "list"), kind, "element")?;
    refused(MapState::<u64, i32, u32>::register(backend, "map"), kind, "user key")?;
    refused(MapState::<u64, u32, u64>::register(backend, "map"), kind, "map value")?;
    let min = |a: u64, b: u64| a.min(b);
    refused(ReducingState::<u64, u64>::register(backend, "reducing", min), kind, "reduced value")?;
    let aggregating = AggregatingState::<u32, Mean>::register(backend, "aggregating", Mean);
    refused(aggregating, kind, "key of aggregating state")?;
    Typed::register(backend)?;
    Ok(())
}
