//! The index.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "tests stop on errors"
)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn groups(first: u16, last: u16) -> KeyGroupRange {
    KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last)).unwrap()
}

/// Scattered bits.
fn hash(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// An index with `count` entries whose locations are their numbers, from 2 on.
fn filled(range: KeyGroupRange, count: u64) -> Index {
    let mut index = Index::new(range);
    for number in 2..count + 2 {
        let group = group_of(range, number);
        let tag = index.tag(group, hash(number));
        index.insert(tag, number);
    }
    index
}

fn group_of(range: KeyGroupRange, number: u64) -> KeyGroup {
    KeyGroup::new(range.first().get() + (number % range.count() as u64) as u16)
}

fn found(index: &Index, range: KeyGroupRange, number: u64) -> Option<SlotRef> {
    index.find_location(index.tag(group_of(range, number), hash(number)), number)
}

#[test]
fn all_entries_are_found_and_listed_by_key_group() {
    for range in [groups(0, 0), groups(0, 127), groups(40, 44), groups(32_000, 32_767)] {
        let index = filled(range, 50_000);
        assert_eq!(index.len(), 50_000);
        for number in 2..50_002 {
            assert!(found(&index, range, number).is_some(), "{number} of {range}");
        }
        assert!(found(&index, range, 50_002).is_none());
        let listed: Vec<_> = index.locations(range).collect();
        assert!(listed.is_sorted_by_key(|(group, _)| *group), "{range}");
        let all: BTreeSet<u64> = listed.iter().map(|(_, location)| *location).collect();
        assert_eq!((all.len(), listed.len()), (50_000, 50_000));
        assert!(listed.iter().all(|(group, location)| *group == group_of(range, *location)));
        assert!(index.bytes() <= 24 * 50_000 + 8 * PAGE_SLOTS as u64, "{}", index.bytes());
    }
}

#[test]
fn listing_some_key_groups_lists_no_others() {
    let range = groups(10, 41);
    let index = filled(range, 20_000);
    for wanted in [groups(10, 10), groups(17, 30), groups(41, 41), groups(0, 9)] {
        let listed = index.locations(wanted).count();
        let expected = (2..20_002).filter(|it| wanted.contains(group_of(range, *it))).count();
        assert_eq!(listed, expected, "{wanted}");
    }
}

#[test]
fn entries_of_equal_tags_are_all_kept() {
    let mut index = Index::new(groups(0, 7));
    let tag = index.tag(KeyGroup::new(3), u64::MAX);
    for location in 2..3_000 {
        index.insert(tag, location);
    }
    for location in 2..3_000 {
        assert!(index.find_location(tag, location).is_some(), "{location}");
    }
    assert!(index.find_location(tag, 3_000).is_none());
    assert!(index.bytes() <= 64 * 3_000, "{}", index.bytes());
}

#[test]
fn an_index_that_is_emptied_and_filled_again_does_not_grow() {
    let range = groups(0, 127);
    let mut index = filled(range, 20_000);
    let before = index.bytes();
    for round in 0..5 {
        for number in 2..20_002 {
            let at = found(&index, range, number).unwrap();
            index.remove(at);
        }
        assert_eq!(index.len(), 0, "round {round}");
        for number in 2..20_002 {
            let tag = index.tag(group_of(range, number), hash(number));
            index.insert(tag, number);
        }
    }
    assert!(index.bytes() <= before + before / 4, "{} after {before}", index.bytes());
}

#[test]
fn the_bound_of_bytes_is_never_passed_by_what_was_foretold() {
    let range = groups(0, 127);
    let mut index = Index::new(range);
    for number in 2..100_000 {
        let most = index.bytes_with(1);
        let tag = index.tag(group_of(range, number), hash(number));
        index.insert(tag, number);
        assert!(index.bytes() <= most, "{number}: {} of {most}", index.bytes());
    }
}

proptest! {
    #[test]
    fn it_agrees_with_an_ordered_map(
        operations in prop::collection::vec((0u64..300, 0u8..3, 2u64..1 << LOCATION_BITS), 0..800),
    ) {
        let range = groups(5, 9);
        let mut index = Index::new(range);
        let mut model = BTreeMap::new();
        for (number, operation, location) in operations {
            let tag = index.tag(group_of(range, number), hash(number));
            let at = model.get(&number).map(|known| index.find_location(tag, *known).unwrap());
            match (operation, at) {
                (0, Some(at)) => {
                    index.remove(at);
                    model.remove(&number);
                }
                (_, Some(at)) => {
                    index.set(at, location);
                    model.insert(number, location);
                }
                (0, None) => {}
                (_, None) => {
                    index.insert(tag, location);
                    model.insert(number, location);
                }
            }
        }
        let mut listed: Vec<u64> = index.locations(range).map(|(_, location)| location).collect();
        let mut expected: Vec<u64> = model.into_values().collect();
        listed.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(listed, expected);
    }
}
