//! Operator state: lists and broadcast maps without keys, through checkpoint and redistribution.
//!
//! No backend holds it, so these behaviours do not touch the subject's; they check how an engine
//! takes it through a checkpoint, its [`OperatorStatePath`].

use std::collections::BTreeMap;

use millpond_checkpoint::plan::{OperatorStateFacts, SubtaskFacts, VertexFacts, rescale};
use millpond_state::{
    CancelFlag, ErrorKind, MaxParallelism, OperatorState, OperatorStatePart, OperatorStateSnapshot,
    Result, StateError,
};

use super::subject::BackendUnderTest;
use crate::violation::{Verdict, ensure, ensure_eq, refused};

/// How operator state goes through a checkpoint: written out on any thread, and given out to the
/// subtasks of a restored job.
pub trait OperatorStatePath: Send + Sync {
    /// Writes out a snapshot that was taken of `store`, which may have changed since.
    ///
    /// # Errors
    /// As [`OperatorStateSnapshot::run`].
    fn write_out(
        &self,
        store: &OperatorState,
        snapshot: OperatorStateSnapshot,
        cancel: &CancelFlag,
    ) -> Result<Vec<OperatorStatePart>>;

    /// Gives the parts of the old subtasks, by index, to `parallelism` new ones.
    ///
    /// # Errors
    /// If the parts contradict each other.
    fn redistribute(
        &self,
        old: &[Vec<OperatorStatePart>],
        parallelism: u32,
    ) -> Result<Vec<Vec<OperatorStatePart>>>;
}

/// The path through `millpond-checkpoint`'s plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlannedPath;

impl OperatorStatePath for PlannedPath {
    fn write_out(
        &self,
        _store: &OperatorState,
        snapshot: OperatorStateSnapshot,
        cancel: &CancelFlag,
    ) -> Result<Vec<OperatorStatePart>> {
        snapshot.run(cancel)
    }

    fn redistribute(
        &self,
        old: &[Vec<OperatorStatePart>],
        parallelism: u32,
    ) -> Result<Vec<Vec<OperatorStatePart>>> {
        let facts = facts_of(old)?;
        let mut new = vec![Vec::new(); parallelism as usize];
        for (name, (_, shares)) in rescale::plan_operator(&facts, parallelism) {
            for (subtask, selections) in new.iter_mut().zip(shares) {
                let mut part = template(old, &name)?;
                for selection in selections {
                    let from = old.get(selection.from.get() as usize);
                    let from = from.and_then(|parts| parts.iter().find(|p| p.name == name));
                    let from = from.ok_or_else(|| unplanned(&name))?;
                    for position in selection.positions() {
                        let item = from.items.get(position as usize);
                        part.items.push(item.ok_or_else(|| unplanned(&name))?.clone());
                    }
                }
                subtask.push(part);
            }
        }
        Ok(new)
    }
}

/// A part of that name without its items.
fn template(old: &[Vec<OperatorStatePart>], name: &str) -> Result<OperatorStatePart> {
    let found = old.iter().flatten().find(|part| part.name == name);
    let found = found.ok_or_else(|| unplanned(name))?;
    Ok(OperatorStatePart { items: Vec::new(), ..found.clone() })
}

fn facts_of(old: &[Vec<OperatorStatePart>]) -> Result<VertexFacts> {
    let state = |part: &OperatorStatePart| -> Result<OperatorStateFacts> {
        let items = part.items.len() as u32;
        let redistribution = part.redistribution;
        Ok(OperatorStateFacts { name: part.name.clone(), redistribution, items })
    };
    let subtasks = old.iter().map(|parts| {
        let operator = parts.iter().map(state).collect::<Result<_>>()?;
        Ok(SubtaskFacts { operator, ..SubtaskFacts::default() })
    });
    let max_parallelism = MaxParallelism::new(128)?;
    let subtasks = subtasks.collect::<Result<_>>()?;
    Ok(VertexFacts { name: "operator".to_owned(), max_parallelism, subtasks })
}

fn unplanned(name: &str) -> StateError {
    let message = format!("the plan says of operator state {name:?} what is not there");
    StateError::new(ErrorKind::InvalidArgument, message)
}

/// Snapshots of all subtasks, each right after it was taken.
fn write_all(
    subject: &BackendUnderTest,
    stores: &[OperatorState],
) -> Result<Vec<Vec<OperatorStatePart>>> {
    let path = subject.operator_state();
    let write = |store: &OperatorState| path.write_out(store, store.snapshot(), &CancelFlag::new());
    stores.iter().map(write).collect()
}

/// The stores of a job restored at another parallelism.
fn rescaled(
    subject: &BackendUnderTest,
    old: &[OperatorState],
    parallelism: u32,
) -> Verdict<Vec<OperatorState>> {
    let parts = subject.operator_state().redistribute(&write_all(subject, old)?, parallelism)?;
    ensure_eq!(parts.len(), parallelism as usize, "subtasks that get parts");
    Ok(parts.into_iter().map(OperatorState::restore).collect::<Result<_>>()?)
}

/// One store for each subtask, with `items(subtask)` numbers in a list of the given sort.
fn lists(union: bool, subtasks: u64, items: impl Fn(u64) -> u64) -> Result<Vec<OperatorState>> {
    let mut stores = Vec::new();
    for subtask in 0..subtasks {
        let mut store = OperatorState::new();
        let list = list_of(&mut store, union)?;
        for item in 0..items(subtask) {
            list.add(&mut store, &(subtask * 1_000 + item))?;
        }
        stores.push(store);
    }
    Ok(stores)
}

fn list_of(store: &mut OperatorState, union: bool) -> Result<millpond_state::OperatorList<u64>> {
    if union { store.union_list("offsets") } else { store.split_list("offsets") }
}

fn contents(stores: &mut [OperatorState], union: bool) -> Result<Vec<Vec<u64>>> {
    stores.iter_mut().map(|store| list_of(store, union)?.get(store)).collect()
}

/// Each item of a split list goes to one subtask, at any parallelism, and they share evenly.
pub fn split_items_go_to_one_subtask_each(subject: &BackendUnderTest) -> Verdict {
    for (from, to) in [(1, 1), (1, 3), (3, 1), (2, 5), (5, 2), (3, 3), (4, 7)] {
        let mut old = lists(false, from, |subtask| subtask * 3 + 2)?;
        let mut all = contents(&mut old, false)?.concat();
        all.sort_unstable();
        let mut new = rescaled(subject, &old, to)?;
        let shares = contents(&mut new, false)?;
        let mut given = shares.concat();
        given.sort_unstable();
        ensure_eq!(given, all, "items given out, from {from} to {to}");
        let sizes: Vec<usize> = shares.iter().map(Vec::len).collect();
        let most = sizes.iter().max().copied().unwrap_or_default();
        let least = sizes.iter().min().copied().unwrap_or_default();
        let even = most - least <= 1 || u64::from(to) == from;
        ensure!(even, "from {from} to {to}: shares of {sizes:?} items");
    }
    Ok(())
}

/// Every subtask gets all items of a union list, those of lower subtasks first.
pub fn union_items_go_to_every_subtask(subject: &BackendUnderTest) -> Verdict {
    for (from, to) in [(1, 1), (1, 3), (3, 1), (2, 5), (5, 2), (3, 3)] {
        let mut old = lists(true, from, |subtask| subtask + 1)?;
        let all = contents(&mut old, true)?.concat();
        let mut new = rescaled(subject, &old, to)?;
        for (index, share) in contents(&mut new, true)?.into_iter().enumerate() {
            ensure_eq!(share, all, "items of subtask {index}, from {from} to {to}");
        }
    }
    Ok(())
}

/// Every subtask gets broadcast state once, the same on all.
pub fn broadcast_state_is_the_same_on_every_subtask(subject: &BackendUnderTest) -> Verdict {
    let rules: BTreeMap<String, u64> =
        (0..20u64).map(|number| (format!("rule {number}"), number * number)).collect();
    for (from, to) in [(1, 1), (1, 4), (4, 1), (2, 3), (3, 2), (3, 3)] {
        let mut old = Vec::new();
        for _ in 0..from {
            let mut store = OperatorState::new();
            let state = store.broadcast::<String, u64>("rules")?;
            for (name, rule) in rules.iter().rev() {
                state.put(&mut store, name, rule)?;
            }
            state.put(&mut store, &"gone".to_owned(), &0)?;
            state.remove(&mut store, &"gone".to_owned())?;
            old.push(store);
        }
        let parts = subject.operator_state().redistribute(&write_all(subject, &old)?, to)?;
        for parts in parts {
            let items = parts.iter().map(|part| part.items.len()).sum::<usize>();
            ensure_eq!(items, rules.len(), "items that a subtask reads, from {from} to {to}");
            let mut store = OperatorState::restore(parts)?;
            let state = store.broadcast::<String, u64>("rules")?;
            let mut found = BTreeMap::new();
            state.for_each(&store, |name, rule| {
                found.insert(name, rule);
            })?;
            ensure_eq!(found, rules, "rules of a subtask, from {from} to {to}");
            ensure_eq!(state.len(&store)?, rules.len(), "number of rules");
        }
    }
    Ok(())
}

/// An operator state without items beside a full one, and a store without any, are restored.
pub fn empty_operator_state_is_restored_beside_full(subject: &BackendUnderTest) -> Verdict {
    let mut old = Vec::new();
    for _ in 0..2 {
        let mut store = OperatorState::new();
        store.split_list::<u64>("empty list")?;
        store.union_list::<u64>("empty union")?;
        store.broadcast::<u64, u64>("empty rules")?;
        let rules = store.broadcast::<u64, u64>("rules")?;
        rules.put(&mut store, &1, &2)?;
        old.push(store);
    }
    for parallelism in [1, 2, 3] {
        for mut store in rescaled(subject, &old, parallelism)? {
            let rules = store.broadcast::<u64, u64>("rules")?;
            ensure_eq!(rules.get(&store, &1)?, Some(2), "rule");
            let list = store.split_list::<u64>("empty list")?;
            ensure!(list.is_empty(&store)?, "the empty list has items");
            let empty = store.broadcast::<u64, u64>("empty rules")?;
            ensure!(empty.is_empty(&store)?, "the empty rules have entries");
            list.add(&mut store, &5)?;
            ensure_eq!(list.get(&store)?, [5], "what is added to the empty list");
        }
        let nothing = rescaled(subject, &[OperatorState::new()], parallelism)?;
        ensure_eq!(write_all(subject, &nothing)?.concat(), [], "parts of stores without states");
    }
    Ok(())
}

/// An operator state that is not declared again goes into the next checkpoint as it is.
pub fn undeclared_operator_state_survives(subject: &BackendUnderTest) -> Verdict {
    let mut old = lists(false, 2, |_| 4)?;
    for store in &mut old {
        let rules = store.broadcast::<u64, String>("rules")?;
        rules.put(store, &1, &"kept".to_owned())?;
    }
    let before = rescaled(subject, &old, 3)?;
    let mut after = rescaled(subject, &before, 2)?;
    let mut items = contents(&mut after, false)?.concat();
    items.sort_unstable();
    ensure_eq!(items, [0, 1, 2, 3, 1_000, 1_001, 1_002, 1_003], "items");
    for store in &mut after {
        let rules = store.broadcast::<u64, String>("rules")?;
        ensure_eq!(rules.get(store, &1)?.as_deref(), Some("kept"), "rule");
    }
    Ok(())
}

/// A snapshot of operator state shows its instant, whatever is changed before it is written out.
pub fn an_operator_snapshot_shows_its_instant(subject: &BackendUnderTest) -> Verdict {
    let mut store = OperatorState::new();
    let list = store.split_list::<u64>("offsets")?;
    let rules = store.broadcast::<u64, u64>("rules")?;
    list.add_all(&mut store, &[1, 2, 3])?;
    rules.put(&mut store, &1, &1)?;
    rules.put(&mut store, &2, &2)?;
    let first = store.snapshot();
    list.add(&mut store, &4)?;
    rules.put(&mut store, &1, &9)?;
    rules.remove(&mut store, &2)?;
    let second = store.snapshot();
    list.clear(&mut store)?;
    rules.clear(&mut store)?;
    store.union_list::<u64>("new")?;
    let (path, cancel) = (subject.operator_state(), CancelFlag::new());
    let expected =
        [(second, vec![1, 2, 3, 4], vec![(1, 9)]), (first, vec![1, 2, 3], vec![(1, 1), (2, 2)])];
    for (snapshot, items, entries) in expected {
        let mut then = OperatorState::restore(path.write_out(&store, snapshot, &cancel)?)?;
        let list = then.split_list::<u64>("offsets")?;
        ensure_eq!(list.get(&then)?, items, "items");
        let rules = then.broadcast::<u64, u64>("rules")?;
        let mut found = Vec::new();
        rules.for_each(&then, |key, value| found.push((key, value)))?;
        ensure_eq!(found, entries, "rules");
    }
    Ok(())
}

/// A snapshot of operator state that is cancelled, or dropped, or outlives its store does no harm.
pub fn an_operator_snapshot_is_cancelled_without_harm(subject: &BackendUnderTest) -> Verdict {
    let (path, cancel) = (subject.operator_state(), CancelFlag::new());
    let mut store = OperatorState::new();
    let list = store.split_list::<u64>("offsets")?;
    list.add_all(&mut store, &[1, 2, 3])?;
    cancel.cancel();
    let cancelled = path.write_out(&store, store.snapshot(), &cancel);
    refused(cancelled, ErrorKind::Cancelled, "cancelled snapshot of operator state")?;
    drop(store.snapshot());
    let snapshot = store.snapshot();
    ensure_eq!(list.get(&store)?, [1, 2, 3], "items after a cancelled snapshot");
    drop(store);
    let gone = OperatorState::new();
    let parts = path.write_out(&gone, snapshot, &CancelFlag::new())?;
    let mut store = OperatorState::restore(parts)?;
    let list = store.split_list::<u64>("offsets")?;
    ensure_eq!(list.get(&store)?, [1, 2, 3], "items of a snapshot that outlived its store");
    Ok(())
}
