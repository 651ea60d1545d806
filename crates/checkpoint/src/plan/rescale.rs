//! How the state of one vertex is spread over new subtasks.
//!
//! Keyed state follows its key groups: a new subtask reads those parts of old handles that overlap
//! its range. Operator state is spread as each state says. Pure and deterministic; every key group
//! and every split item has exactly one reader.

use std::collections::BTreeMap;

use millpond_state::{KeyGroupRange, SubtaskIndex};

use super::facts::{Redistribution, VertexFacts};

/// A part of an old keyed state handle that a new subtask reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyedSource {
    /// The old subtask.
    pub from: SubtaskIndex,
    /// Position of the handle among the keyed handles of that subtask.
    pub handle: usize,
    /// The key groups to read: where the handle and the new subtask's range overlap.
    pub range: KeyGroupRange,
    /// Whether that is all the handle has, so that its files can be used as they are.
    pub whole: bool,
}

/// Items of one old subtask's operator state: `first`, `first + step`, and so on, `count` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ItemSelection {
    /// The old subtask.
    pub from: SubtaskIndex,
    /// Position of the first item.
    pub first: u32,
    /// Distance between items, at least 1.
    pub step: u32,
    /// Number of items, at least 1.
    pub count: u32,
}

impl ItemSelection {
    /// The positions, ascending.
    pub fn positions(self) -> impl Iterator<Item = u32> {
        (0..self.count).map(move |i| self.first + i * self.step)
    }
}

/// The parts of keyed handles of `old` that the owner of `range` reads, by old subtask and handle.
#[must_use]
pub fn plan_keyed(old: &VertexFacts, range: KeyGroupRange) -> Vec<KeyedSource> {
    let mut sources = Vec::new();
    for (from, subtask) in old.indexed() {
        for (handle, &stored) in subtask.keyed.iter().enumerate() {
            if let Some(overlap) = stored.intersection(range) {
                let whole = overlap == stored;
                sources.push(KeyedSource { from, handle, range: overlap, whole });
            }
        }
    }
    sources
}

/// The operator states of `old`, by name, each with what every one of `parallelism` new subtasks
/// reads.
///
/// At an unchanged parallelism each subtask gets split state back as it was. At another one, items
/// are dealt out in turn: item k of all items, in the order of old subtasks, goes to new subtask k
/// modulo the parallelism. A broadcast state comes from old subtask i modulo those that have it.
#[must_use]
pub fn plan_operator(
    old: &VertexFacts,
    parallelism: u32,
) -> BTreeMap<String, (Redistribution, Vec<Vec<ItemSelection>>)> {
    let mut by_name: BTreeMap<String, (Redistribution, Vec<(SubtaskIndex, u32)>)> = BTreeMap::new();
    for (from, subtask) in old.indexed() {
        for state in &subtask.operator {
            let entry = by_name.entry(state.name.clone());
            let entry = entry.or_insert_with(|| (state.redistribution, Vec::new()));
            entry.1.push((from, state.items));
        }
    }
    let unchanged = old.parallelism() == parallelism;
    by_name
        .into_iter()
        .map(|(name, (how, lists))| {
            let shares = (0..parallelism)
                .map(|index| match how {
                    Redistribution::Split if unchanged => own_items(&lists, index),
                    Redistribution::Split => dealt_items(&lists, index, parallelism),
                    Redistribution::Union => all_items(&lists),
                    Redistribution::Broadcast => broadcast_items(&lists, index),
                })
                .collect();
            (name, (how, shares))
        })
        .collect()
}

fn whole_list(from: SubtaskIndex, items: u32) -> Option<ItemSelection> {
    (items > 0).then_some(ItemSelection { from, first: 0, step: 1, count: items })
}

fn all_items(lists: &[(SubtaskIndex, u32)]) -> Vec<ItemSelection> {
    lists.iter().filter_map(|&(from, items)| whole_list(from, items)).collect()
}

fn own_items(lists: &[(SubtaskIndex, u32)], index: u32) -> Vec<ItemSelection> {
    let own = lists.iter().filter(|(from, _)| from.get() == index);
    own.filter_map(|&(from, items)| whole_list(from, items)).collect()
}

fn broadcast_items(lists: &[(SubtaskIndex, u32)], index: u32) -> Vec<ItemSelection> {
    let chosen = lists.get((index as usize).checked_rem(lists.len()).unwrap_or(0));
    chosen.and_then(|&(from, items)| whole_list(from, items)).into_iter().collect()
}

/// What `index` gets when all items are dealt out in turn to `parallelism` subtasks.
fn dealt_items(lists: &[(SubtaskIndex, u32)], index: u32, parallelism: u32) -> Vec<ItemSelection> {
    let (turn, players) = (u64::from(index), u64::from(parallelism));
    let mut dealt_before = 0_u64;
    let mut selections = Vec::new();
    for &(from, items) in lists {
        // The first position p with (dealt_before + p) % players == turn.
        let first = (turn + players - dealt_before % players) % players;
        dealt_before += u64::from(items);
        // Both are at most `items`, so they fit.
        if let Some(rest) = u64::from(items).checked_sub(first + 1)
            && let (Ok(first), Ok(count)) =
                (u32::try_from(first), u32::try_from(rest / players + 1))
        {
            selections.push(ItemSelection { from, first, step: parallelism, count });
        }
    }
    selections
}
