//! Checkpoints without a job: reading, making, changing.

use std::collections::BTreeMap;
use std::sync::Arc;

use millpond_checkpoint::offline::{
    DynEntry, ExpiringByEventTime, KeyedEntry, MapEntry, NewCheckpoint, OfflineCheckpoint,
    OfflineOptions, OfflinePhase, OfflineProgress, Target, TimerEntry, Touched, kind,
};
use millpond_checkpoint::{CheckpointError, ErrorKind, Result};
use millpond_snapshot::metadata::CheckpointKind;
use millpond_state::codec::{CodecIdentity, DynValue, FixedCodec};
use millpond_state::{
    CancelFlag, MaxParallelism, StateCodecs, StateDescriptor, StateKind, SubtaskIndex, key_hash,
};
use millpond_storage::{MemoryStore, Store, StoreExt, StorePath};

use crate::offline_support::{
    FullStore, Place, files, job, keyed, spill, split_list, written_by_subtasks,
};

type Counts = kind::Value<u64, u64>;

fn counts(range: std::ops::Range<u64>) -> impl Iterator<Item = Result<KeyedEntry<u64, (), u64>>> {
    range.map(|key| Ok(keyed(key.wrapping_mul(0x9e37_79b9_7f4a_7c15), key)))
}

/// A checkpoint with a state of every kind, a second operator, and operator state.
fn everything(place: &Place) -> OfflineCheckpoint {
    let spill = spill(1 << 20);
    let mut new = NewCheckpoint::create(
        &job(128, &[("a", 3), ("b", 2), ("src", 1)]),
        OfflineOptions::new(&spill),
    );
    new.put_state::<Counts>("a", "value", counts(0..500)).unwrap();
    let names = |at: u64| format!("key {}", at % 40);
    let elements =
        (0..300u64).map(|at| Ok(KeyedEntry { key: names(at), namespace: at % 3, value: at }));
    new.put_state::<kind::List<String, u64, u64>>("a", "list", elements).unwrap();
    let maps = (0..300u64).map(|at| {
        let (key, user_key) = (names(at), at as i32 - 100);
        Ok(MapEntry { key, namespace: (), user_key, value: Some(at) })
    });
    new.put_state::<kind::Map<String, i32, Option<u64>>>("a", "map", maps).unwrap();
    let timers = (0..200i64)
        .map(|at| Ok(TimerEntry { key: at as u64 % 9, namespace: (), time: at % 50 - 5 }));
    new.put_state::<kind::Timer<u64>>("a", "timer", timers).unwrap();
    let sums = (0..50u64).map(|at| Ok(keyed(at, (at, at as f64))));
    new.put_state::<kind::Reducing<u64, (u64, f64)>>("b", "reducing", sums).unwrap();
    let folds = (0..50u64).map(|at| Ok(keyed(at, vec![at as u8])));
    new.put_state::<kind::Aggregating<u64, Vec<u8>>>("b", "aggregating", folds).unwrap();
    new.set_operator_state("src", SubtaskIndex::new(0), vec![split_list("offsets", &[b"7", b"9"])])
        .unwrap();
    new.write(place.target()).unwrap()
}

fn all<T: millpond_checkpoint::offline::StateType>(
    checkpoint: &OfflineCheckpoint,
    operator: &str,
    state: &str,
) -> Vec<T::Entry> {
    let state = checkpoint.state(operator, state).unwrap();
    state.entries::<T>().unwrap().collect::<Result<_>>().unwrap()
}

#[test]
fn what_is_put_is_read_back_typed_in_canonical_order_and_the_checkpoint_is_whole() {
    let place = Place::new();
    everything(&place);
    assert!(place.folder().verify().unwrap().is_whole());
    let checkpoint = OfflineCheckpoint::open(place.folder()).unwrap();
    assert_eq!(checkpoint.metadata().kind, CheckpointKind::Savepoint);

    let values = all::<Counts>(&checkpoint, "a", "value");
    assert_eq!(values.len(), 500);
    let max = MaxParallelism::new(128).unwrap();
    let place_of = |key: u64| (max.group_of_hash(key_hash(&key.to_be_bytes())), key);
    assert!(values.iter().map(|entry| place_of(entry.key)).is_sorted());
    assert_eq!(values.iter().map(|entry| entry.value).sum::<u64>(), 499 * 500 / 2);
    assert_eq!(checkpoint.state("a", "value").unwrap().entry_count(), 500);

    let mut lists: BTreeMap<(String, u64), Vec<u64>> = BTreeMap::new();
    for entry in all::<kind::List<String, u64, u64>>(&checkpoint, "a", "list") {
        lists.entry((entry.key, entry.namespace)).or_default().push(entry.value);
    }
    assert_eq!(lists.len(), 120);
    assert!(lists.values().all(|list| list.is_sorted()));
    assert_eq!(lists.values().map(Vec::len).sum::<usize>(), 300);

    let maps = all::<kind::Map<String, i32, Option<u64>>>(&checkpoint, "a", "map");
    assert_eq!(maps.len(), 300);
    assert!(maps.iter().all(|it| it.value == Some((it.user_key + 100) as u64)));
    let same_key = maps.chunk_by(|a, b| a.key == b.key);
    assert!(same_key.into_iter().all(|map| map.is_sorted_by_key(|it| it.user_key)));

    // 9 keys and 50 times, each pair at most once.
    let timers = all::<kind::Timer<u64>>(&checkpoint, "a", "timer");
    let put: std::collections::BTreeSet<_> =
        (0..200i64).map(|at| (at as u64 % 9, at % 50 - 5)).collect();
    assert_eq!(timers.len(), put.len());
    assert!(timers.iter().all(|timer| put.contains(&(timer.key, timer.time))));

    assert_eq!(all::<kind::Reducing<u64, (u64, f64)>>(&checkpoint, "b", "reducing").len(), 50);
    assert_eq!(all::<kind::Aggregating<u64, Vec<u8>>>(&checkpoint, "b", "aggregating").len(), 50);
}

#[test]
fn untyped_entries_are_the_typed_ones_and_can_be_put_again() {
    let place = Place::new();
    let checkpoint = everything(&place);
    let spill = spill(1 << 20);
    let copy = Place::new();
    let mut new = NewCheckpoint::create(
        &job(128, &[("a", 3), ("b", 2), ("src", 1)]),
        OfflineOptions::new(&spill),
    );
    for vertex in &checkpoint.metadata().vertices {
        for descriptor in &vertex.states {
            let state = checkpoint.state(&vertex.name, descriptor.name()).unwrap();
            new.put_dynamic(&vertex.name, descriptor.clone(), state.dynamic().unwrap()).unwrap();
        }
    }
    let copied = new.write(copy.target()).unwrap();
    assert_eq!(copied.contents().unwrap(), checkpoint.contents().unwrap());
    let timers = checkpoint.state("a", "timer").unwrap();
    let first = timers.dynamic().unwrap().next().unwrap().unwrap();
    let typed = &all::<kind::Timer<u64>>(&checkpoint, "a", "timer")[0];
    assert_eq!(
        first,
        DynEntry {
            key: DynValue::Unsigned(typed.key.into()),
            namespace: DynValue::None,
            user_key: Some(DynValue::Signed(typed.time.into())),
            value: DynValue::None,
        }
    );
}

#[test]
fn the_same_bytes_come_out_whatever_the_order_of_input_and_the_memory() {
    let write = |memory_bytes: usize, backwards: bool| {
        let runs: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let spill = millpond_checkpoint::offline::Spill::new(runs.clone(), None, memory_bytes);
        let place = Place::new();
        let mut new = NewCheckpoint::create(&job(16, &[("a", 2)]), OfflineOptions::new(&spill));
        let mut entries: Vec<_> = counts(0..20_000).collect();
        if backwards {
            entries.reverse();
        }
        new.put_state::<Counts>("a", "value", entries).unwrap();
        let left = runs.list(None).unwrap().len();
        new.write(place.target()).unwrap();
        assert_eq!(runs.list(None).unwrap().len(), 0, "runs are left behind");
        (files(&place.store), left)
    };
    let (plain, one) = write(64 << 20, false);
    let (spilled, many) = write(20_000, true);
    assert_eq!(one, 1);
    assert!(many > 40, "{many} runs do not need two rounds of merging");
    assert_eq!(plain, spilled);
}

#[test]
fn elements_of_a_list_stay_in_order_over_many_runs() {
    let spill = spill(2_000);
    let place = Place::new();
    let mut new = NewCheckpoint::create(&job(8, &[("a", 1)]), OfflineOptions::new(&spill));
    let elements = (0..5_000u32).map(|at| Ok(keyed(u64::from(at % 7), at)));
    new.put_state::<kind::List<u64, u32>>("a", "list", elements).unwrap();
    let checkpoint = new.write(place.target()).unwrap();
    let lists = all::<kind::List<u64, u32>>(&checkpoint, "a", "list");
    assert_eq!(lists.len(), 5_000);
    for list in lists.chunk_by(|a, b| a.key == b.key) {
        let expected = (0..5_000).filter(|at| u64::from(at % 7) == list[0].key);
        assert!(list.iter().map(|entry| entry.value).eq(expected));
    }
}

#[test]
fn a_key_put_twice_is_refused_by_name_and_leaves_the_rest_as_it_was() {
    let spill = spill(1 << 20);
    let place = Place::new();
    let mut new = NewCheckpoint::create(&job(8, &[("a", 1)]), OfflineOptions::new(&spill));
    new.put_state::<Counts>("a", "value", counts(0..10)).unwrap();
    let twice = [Ok(keyed(1, 1)), Ok(keyed(2, 2)), Ok(keyed(1, 3))];
    let error = new.put_state::<Counts>("a", "value", twice).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("\"value\"") && error.message().contains("0000000000000001"));
    let broken = [Ok(keyed(5, 5)), Err(CheckpointError::new(ErrorKind::Storage, "line 2"))];
    assert_eq!(new.put_state::<Counts>("a", "value", broken).unwrap_err().message(), "line 2");
    let checkpoint = new.write(place.target()).unwrap();
    assert_eq!(all::<Counts>(&checkpoint, "a", "value").len(), 10);
}

#[test]
fn a_key_put_twice_in_different_runs_is_refused_and_nothing_is_written() {
    let spill = spill(1_000);
    let place = Place::new();
    let mut new = NewCheckpoint::create(&job(8, &[("a", 1)]), OfflineOptions::new(&spill));
    let twice = counts(0..500).chain(counts(0..1));
    new.put_state::<Counts>("a", "value", twice).unwrap();
    let error = new.write(place.target()).unwrap_err();
    assert!(error.message().contains("two entries for the key"), "{error}");
    assert!(files(&place.store).is_empty());
}

#[test]
fn one_state_is_transformed_and_everything_else_kept_byte_by_byte() {
    let place = Place::new();
    let original = everything(&place);
    let (spill, changed) = (spill(10_000), Place::new());
    let mut new = NewCheckpoint::copy_of(&original, OfflineOptions::new(&spill));
    new.transform::<Counts, kind::Value<u64, String>>("a", "value", |entry| {
        let KeyedEntry { key, value, .. } = entry;
        Ok((value % 2 == 0).then(|| keyed(key, format!("was {value}"))))
    })
    .unwrap();
    let written = new.write(changed.target()).unwrap();
    assert!(changed.folder().verify().unwrap().is_whole());

    let values = all::<kind::Value<u64, String>>(&written, "a", "value");
    assert_eq!(values.len(), 250);
    assert!(
        values.iter().all(|it| it.key
            == it.value[4..].parse::<u64>().unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15))
    );
    let others = |checkpoint: &OfflineCheckpoint| {
        let mut contents = checkpoint.contents().unwrap();
        contents.retain(|it| it.state != "value");
        contents.sort_by_key(|it| it.state.clone());
        contents
    };
    assert_eq!(others(&written), others(&original));
    let (before, after) = (files(&place.store), files(&changed.store));
    let of_b: Vec<_> = before.keys().filter(|name| name.contains("-b-")).collect();
    assert_eq!(of_b.len(), 2);
    assert!(of_b.iter().all(|name| before.get(*name) == after.get(*name)));
    let source = written.operator("src").unwrap();
    assert_eq!(source, original.operator("src").unwrap());
}

#[test]
fn states_are_dropped_and_renamed_and_the_rest_is_kept() {
    let place = Place::new();
    let original = everything(&place);
    let (spill, changed) = (spill(10_000), Place::new());
    let mut new = NewCheckpoint::copy_of(&original, OfflineOptions::new(&spill));
    new.drop_state("a", "value").unwrap();
    new.rename_state("a", "list", "values").unwrap();
    new.rename_state("a", "map", "map").unwrap();
    let taken = new.rename_state("a", "values", "timer").unwrap_err();
    assert!(taken.message().contains("already"), "{taken}");
    new.drop_state("b", "reducing").unwrap();
    new.drop_state("b", "aggregating").unwrap();
    let gone = new.drop_state("a", "value").unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(gone.message().ends_with("it has: values, map, timer"), "{gone}");
    let written = new.write(changed.target()).unwrap();
    assert!(changed.folder().verify().unwrap().is_whole());
    let before = original.contents().unwrap();
    let after = written.contents().unwrap();
    assert_eq!(after.len(), 3);
    for it in &after {
        let old = if it.state == "values" { "list" } else { &it.state };
        let old = before.iter().find(|before| before.state == old).unwrap();
        assert_eq!((it.entries, it.checksum), (old.entries, old.checksum));
    }
    let emptied = written.operator("b").unwrap();
    assert!(emptied.subtasks.iter().all(|it| it.keyed_state.is_empty() && it.key_groups.is_none()));
}

#[test]
fn a_renamed_state_can_be_transformed_and_a_put_one_says_that_it_cannot() {
    let place = Place::new();
    let original = everything(&place);
    let (spill, changed) = (spill(10_000), Place::new());
    let mut new = NewCheckpoint::copy_of(&original, OfflineOptions::new(&spill));
    new.rename_state("a", "value", "new").unwrap();
    let plus_one = |mut entry: KeyedEntry<u64, (), u64>| {
        entry.value += 1;
        Ok(Some(entry))
    };
    assert_eq!(new.transform::<Counts, Counts>("a", "new", plus_one).unwrap(), 500);
    let again = new.transform::<Counts, Counts>("a", "new", plus_one).unwrap_err();
    assert!(again.message().contains("was put here"), "{again}");
    let written = new.write(changed.target()).unwrap();
    let sum: u64 = all::<Counts>(&written, "a", "new").iter().map(|it| it.value).sum();
    assert_eq!(sum, 500 * 501 / 2);
    assert!(written.state("a", "value").is_err());
    let sums = |checkpoint: &OfflineCheckpoint, state: &str| {
        let contents = checkpoint.contents().unwrap();
        let found = contents.iter().find(|it| it.operator == "a" && it.state == state).unwrap();
        (found.entries, found.checksum)
    };
    let (before, after) = (sums(&original, "value"), sums(&written, "new"));
    assert_eq!(before.0, after.0);
    assert_ne!(before.1, after.1);
}

#[test]
fn files_with_their_states_in_different_orders_are_put_in_order() {
    let place = Place::new();
    let original = written_by_subtasks(&place, key_hash);
    let (spill, changed) = (spill(1_000), Place::new());
    let mut new = NewCheckpoint::copy_of(&original, OfflineOptions::new(&spill));
    new.rename_state("op", "two", "second").unwrap();
    let written = new.write(changed.target()).unwrap();
    let sums = |checkpoint: &OfflineCheckpoint| -> Vec<(u64, u64)> {
        checkpoint.contents().unwrap().iter().map(|it| (it.entries, it.checksum)).collect()
    };
    assert_eq!(sums(&written), sums(&original));
    assert!(changed.folder().verify().unwrap().is_whole());
}

#[test]
fn cancelled_work_leaves_nothing_behind() {
    let cancel = CancelFlag::new();
    let spill = spill(100_000);
    let on_progress = |at: OfflineProgress| {
        if at.phase == OfflinePhase::Write && at.entries > 0 {
            cancel.cancel();
        }
    };
    let options = OfflineOptions {
        on_progress: &on_progress,
        cancel: Some(&cancel),
        ..OfflineOptions::new(&spill)
    };
    let place = Place::new();
    let mut new = NewCheckpoint::create(&job(8, &[("a", 4)]), options);
    new.put_state::<Counts>("a", "value", counts(0..20_000)).unwrap();
    let error = new.write(place.target()).unwrap_err();
    assert!(error.message().contains("cancelled"), "{error}");
    assert!(files(&place.store).is_empty());
}

#[test]
fn values_that_expire_are_read_and_written_with_their_time() {
    type Sessions =
        kind::Map<u64, u8, Touched<String>, (), FixedCodec<u8>, ExpiringByEventTime<String>>;
    let (spill, place) = (spill(1_000), Place::new());
    let touched = |at: i64| (at > 0).then_some(at);
    let entries: Vec<_> = (0..50i64)
        .map(|at| MapEntry {
            key: at as u64 / 3,
            namespace: (),
            user_key: at as u8,
            value: Touched { touched_ms: touched(at), value: format!("v{at}") },
        })
        .collect();
    let mut new = NewCheckpoint::create(&job(8, &[("a", 1)]), OfflineOptions::new(&spill));
    new.put_state::<Sessions>("a", "sessions", entries.iter().cloned().map(Ok)).unwrap();
    let checkpoint = new.write(place.target()).unwrap();
    let state = checkpoint.state("a", "sessions").unwrap();
    assert_eq!(state.descriptor().codecs().value.name(), "expiring<event,string>");
    let mut found = all::<Sessions>(&checkpoint, "a", "sessions");
    found.sort_by_key(|entry| entry.user_key);
    assert_eq!(found, entries);
    for (untyped, typed) in
        state.dynamic().unwrap().zip(all::<Sessions>(&checkpoint, "a", "sessions"))
    {
        let Touched { touched_ms, value } = typed.value;
        let value = Box::new(DynValue::String(value));
        assert_eq!(untyped.unwrap().value, DynValue::Expiring { touched_ms, value });
    }
}

#[test]
fn wrong_names_and_types_are_refused_and_name_what_there_is() {
    let place = Place::new();
    let checkpoint = everything(&place);
    let error = checkpoint.state("c", "value").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().ends_with("there are: a, b, src"), "{error}");
    let error = checkpoint.state("src", "value").err().unwrap();
    assert!(error.message().ends_with("it has: none"), "{error}");
    let state = checkpoint.state("a", "value").unwrap();
    let error = state.entries::<kind::Value<u64, i64>>().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    for part in ["value u64 v1", "value i64 v1"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert!(state.entries::<kind::Reducing<u64, u64>>().is_err());
    let codecs = StateCodecs {
        key: CodecIdentity::new("u64", 1),
        namespace: CodecIdentity::void(),
        user_key: None,
        value: CodecIdentity::new("postcard:own", 1),
    };
    let own = StateDescriptor::new("own", StateKind::Value, codecs).unwrap();
    let spill = spill(1_000);
    let mut new = NewCheckpoint::copy_of(&checkpoint, OfflineOptions::new(&spill));
    let error = new.put_dynamic("a", own, []).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.message().contains("postcard:own"), "{error}");
}

#[test]
fn a_target_that_is_not_empty_is_refused() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    store.put_if_absent(&StorePath::new("old/x").unwrap(), b"x").unwrap();
    let error = Target::create(store.clone(), None).unwrap_err();
    assert!(error.message().contains("is not empty (it holds old/x)"), "{error}");
    Target::create(store, Some(StorePath::new("new").unwrap())).unwrap();
}

#[test]
fn a_damaged_file_is_not_copied_and_nothing_is_left() {
    let place = Place::new();
    let original = everything(&place);
    let (name, mut bytes) =
        files(&place.store).into_iter().find(|(name, _)| name.contains("-b-1")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    place.store.delete(&StorePath::new(&name).unwrap()).unwrap();
    place.store.put_if_absent(&StorePath::new(&name).unwrap(), &bytes).unwrap();
    let (spill, changed) = (spill(10_000), Place::new());
    let mut new = NewCheckpoint::copy_of(&original, OfflineOptions::new(&spill));
    new.drop_state("a", "value").unwrap();
    let error = new.write(changed.target()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("-b-1"), "{error}");
    assert!(files(&changed.store).is_empty());
}

#[test]
fn a_disk_that_fills_up_at_any_file_leaves_nothing_behind() {
    let place = Place::new();
    let original = everything(&place);
    let whole = 3 + 2 + 1;
    for room in 0..whole {
        let store = Arc::new(FullStore::new(room));
        let spill = spill(10_000);
        let mut new = NewCheckpoint::copy_of(&original, OfflineOptions::new(&spill));
        new.drop_state("a", "value").unwrap();
        let error = new.write(Target::create(store.clone(), None).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{room}");
        assert!(store.list(None).unwrap().is_empty(), "{room}");
    }
    let store = Arc::new(FullStore::new(whole));
    let spill = spill(10_000);
    let new = NewCheckpoint::copy_of(&original, OfflineOptions::new(&spill));
    new.write(Target::create(store, None).unwrap()).unwrap();
}

#[test]
fn operator_state_is_set_on_subtasks_there_are() {
    let place = Place::new();
    let checkpoint = everything(&place);
    let stored = &checkpoint.operator("src").unwrap().subtasks[0].operator_state;
    assert_eq!(stored[0].name, "offsets");
    assert_eq!(stored[0].items, [b"7", b"9"]);
    let spill = spill(1_000);
    let mut new = NewCheckpoint::copy_of(&checkpoint, OfflineOptions::new(&spill));
    let error = new.set_operator_state("src", SubtaskIndex::new(1), Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
