//! Moving a checkpoint to another number of key groups.

use millpond_checkpoint::offline::{
    KeyedEntry, NewCheckpoint, OfflineCheckpoint, OfflineOptions, TimerEntry, kind, rekey,
};
use millpond_checkpoint::{CheckpointError, ErrorKind};
use millpond_state::{EntrySource, MaxParallelism, SubtaskIndex, key_hash};
use proptest::prelude::*;

use crate::offline_support::{Place, files, job, keyed, spill, split_list, written_by_subtasks};

fn max(groups: u32) -> MaxParallelism {
    MaxParallelism::new(groups).unwrap()
}

fn original(place: &Place, groups: u32) -> OfflineCheckpoint {
    let spill = spill(1 << 20);
    let job = job(groups, &[("src", 2), ("a", 3), ("b", 1)]);
    let mut new = NewCheckpoint::create(&job, OfflineOptions::new(&spill));
    let counts = (0..3_000u64).map(|at| Ok(keyed(at, at * at)));
    new.put_state::<kind::Value<u64, u64>>("a", "counts", counts).unwrap();
    let words = (0..900u64)
        .map(|at| Ok(KeyedEntry { key: format!("w{}", at % 300), namespace: at % 2, value: at }));
    new.put_state::<kind::List<String, u64, u64>>("a", "words", words).unwrap();
    let timers = (0..500i64).map(|at| Ok(TimerEntry { key: at as u64, namespace: (), time: -at }));
    new.put_state::<kind::Timer<u64>>("b", "timers", timers).unwrap();
    for (subtask, items) in [(0, [b"1".as_slice(), b"2"]), (1, [b"3", b"4"])] {
        let list = vec![split_list("offsets", &items)];
        new.set_operator_state("src", SubtaskIndex::new(subtask), list).unwrap();
    }
    new.write(place.target()).unwrap()
}

/// Every key is in the group of its hash, every group in the file of its subtask.
fn assert_placed(checkpoint: &OfflineCheckpoint) {
    for vertex in &checkpoint.metadata().vertices {
        let max = vertex.max_parallelism;
        for subtask in vertex.subtasks.iter().filter(|it| !it.keyed_state.is_empty()) {
            let range = max.range_of(subtask.index.get(), vertex.parallelism).unwrap();
            assert_eq!(subtask.key_groups, Some(range));
            let handle = &subtask.keyed_state[0];
            assert_eq!(handle.key_groups(), range);
            let reader = checkpoint.folder().open_full(handle).unwrap();
            let mut entries = reader.entries(max.full_range());
            while let Some(entry) = entries.next_entry().unwrap() {
                assert_eq!(entry.group, max.group_of_hash(key_hash(entry.key)));
                assert!(range.contains(entry.group));
            }
        }
    }
}

#[test]
fn every_key_moves_to_its_new_key_group_and_nothing_else_changes() {
    let place = Place::new();
    let before = original(&place, 128);
    for groups in [96, 3, 127, 129, 32_768] {
        let (spill, moved) = (spill(20_000), Place::new());
        let report =
            rekey(&before, max(groups), moved.target(), OfflineOptions::new(&spill)).unwrap();
        assert!(moved.folder().verify().unwrap().is_whole());
        let after = OfflineCheckpoint::open(moved.folder()).unwrap();
        assert_eq!(after.metadata(), report.checkpoint.metadata());
        assert_eq!(after.metadata().max_parallelism, max(groups));
        assert_placed(&after);
        assert_eq!(after.contents().unwrap(), before.contents().unwrap());
        assert_eq!(report.states, before.contents().unwrap());
        let (old, new) = (before.operator("src").unwrap(), after.operator("src").unwrap());
        assert_eq!(old.subtasks, new.subtasks);
    }
}

#[test]
fn there_and_back_gives_the_same_bytes() {
    let place = Place::new();
    let before = original(&place, 128);
    let (spill, there, back) = (spill(30_000), Place::new(), Place::new());
    let options = OfflineOptions::new(&spill);
    let moved = rekey(&before, max(1_000), there.target(), options).unwrap();
    rekey(&moved.checkpoint, max(128), back.target(), options).unwrap();
    assert_eq!(files(&place.store), files(&back.store));
    assert_ne!(files(&place.store), files(&there.store));
}

#[test]
fn keys_that_an_engine_assigned_in_its_own_way_are_refused() {
    let place = Place::new();
    let own = written_by_subtasks(&place, |key| key_hash(key).rotate_left(17));
    let (spill, moved) = (spill(30_000), Place::new());
    let options = OfflineOptions::new(&spill);
    let error = rekey(&own, max(7), moved.target(), options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    for word in ["\"op\"", "in its own way"] {
        assert!(error.message().contains(word), "{error}");
    }
    assert!(files(&moved.store).is_empty());
    let mut new = NewCheckpoint::copy_of(&own, options);
    let add = |it: KeyedEntry<u64, (), u64>| Ok(Some(it));
    let transformed =
        new.transform::<kind::Value<u64, u64>, kind::Value<u64, u64>>("op", "one", add);
    assert_eq!(transformed.unwrap_err().kind(), ErrorKind::Incompatible);
    // A state put beside them would lie in other groups than they do.
    new.put_state::<kind::Value<u64, u64>>("op", "three", [Ok(keyed(1, 1))]).unwrap();
    assert!(new.write(moved.target()).unwrap_err().message().contains("in its own way"));
    // What needs no groups is done all the same.
    let mut new = NewCheckpoint::copy_of(&own, options);
    new.drop_state("op", "one").unwrap();
    let dropped = new.write(moved.target()).unwrap();
    assert_eq!(dropped.contents().unwrap(), own.contents().unwrap()[1..]);
}

#[test]
fn the_max_parallelism_there_is_already_is_refused() {
    let place = Place::new();
    let before = original(&place, 16);
    let (spill, moved) = (spill(30_000), Place::new());
    let error = rekey(&before, max(16), moved.target(), OfflineOptions::new(&spill)).unwrap_err();
    assert!(error.message().contains("max parallelism 16 already"), "{error}");
}

#[test]
fn fewer_key_groups_than_subtasks_are_refused() {
    let place = Place::new();
    let before = original(&place, 16);
    let (spill, moved) = (spill(30_000), Place::new());
    let error = rekey(&before, max(2), moved.target(), OfflineOptions::new(&spill)).unwrap_err();
    assert!(error.message().contains("\"a\" ran at parallelism 3"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_entries_survive_any_rekey(
        entries in prop::collection::btree_map(
            (prop::collection::vec(any::<u8>(), 0..6), any::<u8>()), any::<i16>(), 0..200
        ),
        groups in 3u32..300,
        new_groups in 3u32..300,
        memory_bytes in 200usize..5_000,
    ) {
        prop_assume!(groups != new_groups);
        type Bytes = kind::Value<Vec<u8>, i16, u8>;
        let (spill, place, moved) = (spill(memory_bytes), Place::new(), Place::new());
        let options = OfflineOptions::new(&spill);
        let mut new = NewCheckpoint::create(&job(groups, &[("a", 3)]), options);
        let put = entries.iter().map(|((key, namespace), value)| {
            Ok(KeyedEntry { key: key.clone(), namespace: *namespace, value: *value })
        });
        new.put_state::<Bytes>("a", "s", put).unwrap();
        let before = new.write(place.target()).unwrap();
        let after = rekey(&before, max(new_groups), moved.target(), options).unwrap().checkpoint;
        assert_placed(&after);
        let state = after.state("a", "s").unwrap();
        let found = state.entries::<Bytes>().unwrap().map(|entry| {
            entry.map(|it| ((it.key, it.namespace), it.value))
        });
        let found: Result<std::collections::BTreeMap<_, _>, CheckpointError> = found.collect();
        prop_assert_eq!(found.unwrap(), entries);
    }
}
