//! What callers may do with handles, and with what they return.

use millpond_state::{
    AggregatingState, KeyedBackend, ListState, MapState, ReducingState, ValueState,
};

use crate::support::{Mean, key, open};

fn assert_send_and_sync<T: Send + Sync + 'static>() {}

#[test]
fn handles_may_be_kept_across_threads_and_suspension() {
    assert_send_and_sync::<ValueState<u64, Vec<u8>>>();
    assert_send_and_sync::<ListState<u64, Vec<u8>>>();
    assert_send_and_sync::<MapState<u64, u8, Vec<u8>>>();
    assert_send_and_sync::<ReducingState<u64, u64>>();
    assert_send_and_sync::<AggregatingState<u64, Mean>>();
}

#[test]
fn what_is_returned_outlives_every_later_change_and_is_the_callers_to_change() {
    let mut backend = open();
    let b: &mut dyn KeyedBackend = &mut backend;
    let key = key(1);
    let value = ValueState::<u64, Vec<u8>>::register(b, "v").unwrap();
    let list = ListState::<u64, Vec<u8>>::register(b, "l").unwrap();
    let map = MapState::<u64, u8, Vec<u8>>::register(b, "m").unwrap();
    value.put(b, key.at(), &vec![1]).unwrap();
    list.add(b, key.at(), &vec![2]).unwrap();
    map.put(b, key.at(), &3, &vec![3]).unwrap();
    let mut held = value.get(b, key.at()).unwrap().unwrap();
    let mut elements = list.get(b, key.at()).unwrap();
    let mut entries = map.entries(b, key.at()).unwrap();
    held.push(0);
    elements[0].push(0);
    entries[0].1.push(0);
    assert_eq!(value.get(b, key.at()).unwrap(), Some(vec![1]));
    assert_eq!(list.get(b, key.at()).unwrap(), [vec![2]]);
    assert_eq!(map.entries(b, key.at()).unwrap(), [(3, vec![3])]);
    value.delete(b, key.at()).unwrap();
    list.delete(b, key.at()).unwrap();
    map.delete(b, key.at()).unwrap();
    assert_eq!((held, elements, entries), (vec![1, 0], vec![vec![2, 0]], vec![(3, vec![3, 0])]));
}

#[test]
fn a_walk_over_a_map_sees_each_entry_once_whatever_it_replaces_and_removes() {
    let mut backend = open();
    let (b, key) = (&mut backend, key(1));
    let map = MapState::<u64, u32, u64>::register(b, "m").unwrap();
    for number in 0..300 {
        map.put(b, key.at(), &number, &0).unwrap();
    }
    let mut seen = Vec::new();
    map.update_each(b, key.at(), |number, old| {
        seen.push(*number);
        (number % 3 != 0).then_some(old + 1)
    })
    .unwrap();
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
    let entries = map.entries(b, key.at()).unwrap();
    assert_eq!(entries.len(), 200);
    assert!(entries.iter().all(|(number, value)| number % 3 != 0 && *value == 1));
}
