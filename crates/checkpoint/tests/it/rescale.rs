//! How state is spread over another number of subtasks.

use std::collections::BTreeMap;

use millpond_checkpoint::plan::rescale::{plan_keyed, plan_operator};
use millpond_checkpoint::plan::{ItemSelection, KeyedSource, Redistribution};
use millpond_state::SubtaskIndex;
use proptest::prelude::*;

use crate::restore::{keyed, listed, max, range};

fn index(raw: u32) -> SubtaskIndex {
    SubtaskIndex::new(raw)
}

/// (old subtask, position) pairs of each new subtask.
fn items(shares: &[Vec<ItemSelection>]) -> Vec<Vec<(u32, u32)>> {
    let positions = |it: &ItemSelection| {
        let from = it.from.get();
        it.positions().map(move |position| (from, position)).collect::<Vec<_>>()
    };
    shares.iter().map(|share| share.iter().flat_map(positions).collect()).collect()
}

fn shares(how: Redistribution, counts: &[u32], parallelism: u32) -> Vec<Vec<(u32, u32)>> {
    let planned = plan_operator(&listed("v", how, counts), parallelism);
    items(&planned["list"].1)
}

// C-14
#[test]
fn a_new_subtask_reads_the_old_handles_that_overlap_its_key_groups() {
    let old = keyed("sum", 2, 128);
    let ranges: Vec<_> = (0..3).map(|i| max(128).range_of(i, 3).unwrap()).collect();
    let source = |from, first, last| KeyedSource {
        from: index(from),
        handle: 0,
        range: range(first, last),
        whole: false,
    };
    assert_eq!(plan_keyed(&old, ranges[0]), [source(0, 0, 42)]);
    assert_eq!(plan_keyed(&old, ranges[1]), [source(0, 43, 63), source(1, 64, 85)]);
    assert_eq!(plan_keyed(&old, ranges[2]), [source(1, 86, 127)]);
    let all = plan_keyed(&old, max(128).full_range());
    assert!(all.iter().all(|it| it.whole) && all.len() == 2, "{all:?}");
}

// C-14
#[test]
fn split_items_are_dealt_out_in_turn() {
    let dealt = shares(Redistribution::Split, &[3, 0, 4], 2);
    assert_eq!(dealt, [vec![(0, 0), (0, 2), (2, 1), (2, 3)], vec![(0, 1), (2, 0), (2, 2)]]);
    assert_eq!(shares(Redistribution::Split, &[1], 3), [vec![(0, 0)], vec![], vec![]]);
}

// C-14
#[test]
fn split_items_stay_where_they_were_at_the_same_parallelism() {
    let kept = shares(Redistribution::Split, &[2, 1], 2);
    assert_eq!(kept, [vec![(0, 0), (0, 1)], vec![(1, 0)]]);
}

// C-14
#[test]
fn union_items_go_to_every_subtask() {
    let all = vec![(0, 0), (1, 0), (1, 1)];
    for parallelism in [1, 2, 5] {
        let expected = vec![all.clone(); parallelism as usize];
        assert_eq!(shares(Redistribution::Union, &[1, 2], parallelism), expected);
    }
}

// C-14
#[test]
fn broadcast_items_reach_each_subtask_once_also_beside_an_empty_state() {
    let copies = shares(Redistribution::Broadcast, &[2, 2], 3);
    assert_eq!(copies, [vec![(0, 0), (0, 1)], vec![(1, 0), (1, 1)], vec![(0, 0), (0, 1)]]);
    assert_eq!(shares(Redistribution::Broadcast, &[0], 2), [vec![], vec![]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    // C-14
    #[test]
    fn every_key_group_has_exactly_one_reader(
        groups in 1_u32..300,
        old in 1_u32..40,
        new in 1_u32..40,
    ) {
        let (old, new) = (old.min(groups), new.min(groups));
        let stored = keyed("sum", old, groups);
        let mut readers: BTreeMap<u16, u32> = BTreeMap::new();
        for i in 0..new {
            let own = max(groups).range_of(i, new).unwrap();
            for source in plan_keyed(&stored, own) {
                prop_assert!(own.contains_range(source.range));
                let handle = stored.subtasks[source.from.get() as usize].keyed[source.handle];
                prop_assert!(handle.contains_range(source.range));
                prop_assert_eq!(source.whole, handle == source.range);
                for group in source.range.iter() {
                    *readers.entry(group.get()).or_default() += 1;
                }
            }
        }
        prop_assert_eq!(readers.len(), groups as usize);
        prop_assert!(readers.values().all(|&count| count == 1));
    }

    // C-14
    #[test]
    fn every_split_item_has_exactly_one_reader_and_shares_are_even(
        counts in proptest::collection::vec(0_u32..20, 1..8),
        new in 1_u32..12,
    ) {
        let dealt = shares(Redistribution::Split, &counts, new);
        let mut all: Vec<(u32, u32)> = dealt.concat();
        all.sort_unstable();
        let expected: Vec<(u32, u32)> = (0_u32..)
            .zip(&counts)
            .flat_map(|(from, &count)| (0..count).map(move |position| (from, position)))
            .collect();
        prop_assert_eq!(all, expected);
        if counts.len() != new as usize {
            let sizes = dealt.iter().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
        let again = shares(Redistribution::Split, &counts, new);
        prop_assert_eq!(again, dealt, "same facts, same plan");
    }
}
