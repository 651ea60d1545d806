//! Merging namespaces.

use millpond_state::{
    AggregatingState, KeyedBackend, ListState, ReducingState, StateOptions, StateTime, TimeDomain,
};
use proptest::prelude::*;

use crate::support::{Mean, advance, key, namespace, open, ttl};

#[test]
fn sources_vanish_and_the_target_holds_all_in_order() {
    let (mut backend, key) = (open(), key(1));
    let b = &mut backend;
    let list = ListState::<u64, u64, u8>::register(b, "l").unwrap();
    let first = |a: u64, b: u64| a * 10 + b;
    let reducing = ReducingState::<u64, u64, u8>::register(b, "r", first).unwrap();
    let mean = AggregatingState::<u64, Mean, u8>::register(b, "a", Mean).unwrap();
    for number in [1u8, 2, 3] {
        let of = namespace(number);
        list.add(b, key.within(&of), &u64::from(number)).unwrap();
        reducing.add(b, key.within(&of), u64::from(number)).unwrap();
        mean.add(b, key.within(&of), &u64::from(number)).unwrap();
    }
    let (target, absent) = (namespace(2), namespace(9));
    let sources = [namespace(3), absent, namespace(2), namespace(1), namespace(3)];
    list.merge_namespaces(b, &key, &sources, &target).unwrap();
    reducing.merge_namespaces(b, &key, &sources, &target).unwrap();
    mean.merge_namespaces(b, &key, &sources, &target).unwrap();
    assert_eq!(list.get(b, key.within(&target)).unwrap(), [2, 3, 1]);
    assert_eq!(reducing.get(b, key.within(&target)).unwrap(), Some(231));
    assert_eq!(mean.get(b, key.within(&target)).unwrap(), Some((6, 3)));
    for state in [list.id(), reducing.id(), mean.id()] {
        assert_eq!(b.entry_count(state).unwrap(), 1, "only the target is left");
    }
}

#[test]
fn merging_nothing_makes_nothing_and_other_keys_stay() {
    let (mut backend, one, two) = (open(), key(1), key(2));
    let b = &mut backend;
    let list = ListState::<u64, u64, u8>::register(b, "l").unwrap();
    let reducing = ReducingState::<u64, u64, u8>::register(b, "r", |a, b| a + b).unwrap();
    list.add(b, two.within(&namespace(1)), &5).unwrap();
    list.merge_namespaces(b, &one, &[namespace(1)], &namespace(2)).unwrap();
    reducing.merge_namespaces(b, &one, &[namespace(1)], &namespace(2)).unwrap();
    assert_eq!(b.entry_count(reducing.id()).unwrap(), 0);
    assert_eq!(list.get(b, two.within(&namespace(1))).unwrap(), [5]);
    assert_eq!(b.entry_count(list.id()).unwrap(), 1);
}

#[test]
fn what_has_expired_takes_no_part_in_a_merge() {
    let (mut backend, time, key) = (open(), StateTime::new(), key(1));
    let options = StateOptions::new().ttl(ttl(10, TimeDomain::Event, &time));
    let b = &mut backend;
    let list = ListState::<u64, u64, u8>::register_with(b, "l", options.clone()).unwrap();
    let sum = |a, b| a + b;
    let reducing =
        ReducingState::<u64, u64, u8>::register_with(b, "r", sum, options.clone()).unwrap();
    let mean = AggregatingState::<u64, Mean, u8>::register_with(b, "a", Mean, options).unwrap();
    for (number, now) in [(1u8, 0), (2, 6), (3, 8)] {
        advance(&time, now);
        let of = namespace(number);
        list.add(b, key.within(&of), &u64::from(number)).unwrap();
        reducing.add(b, key.within(&of), u64::from(number)).unwrap();
        mean.add(b, key.within(&of), &u64::from(number)).unwrap();
    }
    advance(&time, 12);
    let (target, sources) = (namespace(1), [namespace(2), namespace(3)]);
    list.merge_namespaces(b, &key, &sources, &target).unwrap();
    reducing.merge_namespaces(b, &key, &sources, &target).unwrap();
    mean.merge_namespaces(b, &key, &sources, &target).unwrap();
    assert_eq!(list.get(b, key.within(&target)).unwrap(), [2, 3]);
    assert_eq!(reducing.get(b, key.within(&target)).unwrap(), Some(5));
    assert_eq!(mean.get(b, key.within(&target)).unwrap(), Some((5, 2)));
    advance(&time, 17);
    assert_eq!(list.get(b, key.within(&target)).unwrap(), [3], "elements keep their stamps");
    assert_eq!(reducing.get(b, key.within(&target)).unwrap(), Some(5), "a merge is a write");
}

proptest! {
    #[test]
    fn a_merge_is_the_concatenation_of_its_parts(
        lists in prop::collection::vec(prop::collection::vec(any::<u16>(), 0..4), 6),
        sources in prop::collection::vec(0u8..6, 0..8),
        target in 0u8..6,
    ) {
        let (mut backend, key) = (open(), key(1));
        let b = &mut backend;
        let list = ListState::<u64, u16, u8>::register(b, "l").unwrap();
        for (number, elements) in lists.iter().enumerate() {
            list.add_all(b, key.within(&namespace(number as u8)), elements).unwrap();
        }
        let mut expected = lists[usize::from(target)].clone();
        let mut merged = vec![target];
        for source in &sources {
            if !merged.contains(source) {
                merged.push(*source);
                expected.extend(&lists[usize::from(*source)]);
            }
        }
        let contexts: Vec<_> = sources.iter().map(|source| namespace(*source)).collect();
        list.merge_namespaces(b, &key, &contexts, &namespace(target)).unwrap();
        for number in 0..6u8 {
            let found = list.get(b, key.within(&namespace(number))).unwrap();
            if number == target {
                prop_assert_eq!(&found, &expected);
            } else if merged.contains(&number) {
                prop_assert!(found.is_empty());
            } else {
                prop_assert_eq!(&found, &lists[usize::from(number)]);
            }
        }
    }
}
