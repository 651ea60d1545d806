//! Namespaces of one key that become one, as session windows do.

use millpond_state::kinds::{AggregatingState, ListState, ReducingState};
use millpond_state::{KeyedBackend, Result};

use super::subject::{BackendUnderTest, key, namespace, restored, take_snapshot};
use super::typed::Mean;
use crate::violation::{Verdict, ensure_eq};

/// One state of each kind that merges, in namespaces that are numbers.
struct Mergeable {
    list: ListState<u64, String, i64>,
    reducing: ReducingState<u64, String, i64>,
    aggregating: AggregatingState<u64, Mean, i64>,
}

impl Mergeable {
    fn register(backend: &mut dyn KeyedBackend) -> Result<Self> {
        let joined = |left: String, right: String| left + &right;
        Ok(Self {
            list: ListState::register(backend, "list")?,
            reducing: ReducingState::register(backend, "reducing", joined)?,
            aggregating: AggregatingState::register(backend, "aggregating", Mean)?,
        })
    }

    /// Merges the same namespaces in all three.
    fn merge(
        &self,
        subject: &BackendUnderTest,
        backend: &mut dyn KeyedBackend,
        sources: &[i64],
        target: i64,
    ) -> Result<()> {
        let (context, target) = (key(subject, &7)?, namespace(target)?);
        let sources =
            sources.iter().map(|source| namespace(*source)).collect::<Result<Vec<_>>>()?;
        self.list.merge_namespaces(backend, &context, &sources, &target)?;
        self.reducing.merge_namespaces(backend, &context, &sources, &target)?;
        self.aggregating.merge_namespaces(backend, &context, &sources, &target)
    }

    fn counts(&self, backend: &mut dyn KeyedBackend) -> Result<[u64; 3]> {
        Ok([
            backend.entry_count(self.list.id())?,
            backend.entry_count(self.reducing.id())?,
            backend.entry_count(self.aggregating.id())?,
        ])
    }
}

/// Merged lists are in the target, one after the other in the order given; the sources vanish.
pub fn merging_namespaces_moves_lists_to_the_target(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = ListState::<u64, String, i64>::register(&mut *backend, "list")?;
    let (context, other) = (key(subject, &7)?, key(subject, &8)?);
    let windows = [namespace(10)?, namespace(20)?, namespace(30)?, namespace(40)?];
    let [first, second, third, untouched] = &windows;
    for (window, text) in [(first, "a"), (second, "b"), (third, "c"), (untouched, "d")] {
        for part in [1, 2] {
            state.add(&mut *backend, context.within(window), &format!("{text}{part}"))?;
        }
        state.add(&mut *backend, other.within(window), &text.to_owned())?;
    }
    let sources = [third.clone(), first.clone()];
    state.merge_namespaces(&mut *backend, &context, &sources, second)?;
    let merged = state.get(&mut *backend, context.within(second))?;
    ensure_eq!(merged, ["b1", "b2", "c1", "c2", "a1", "a2"], "target");
    for (window, expected) in [(first, 0), (third, 0), (untouched, 2)] {
        let left = state.get(&mut *backend, context.within(window))?;
        ensure_eq!(left.len(), expected, "elements left in another namespace");
    }
    ensure_eq!(state.get(&mut *backend, other.within(first))?, ["a"], "other key");
    ensure_eq!(backend.entry_count(state.id())?, 6, "lists");
    Ok(())
}

/// Merged reductions are reduced, the target's first, then the sources' in the order given.
pub fn merging_namespaces_combines_reductions(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let states = Mergeable::register(&mut *backend)?;
    let context = key(subject, &7)?;
    for (window, text) in [(1, "a"), (2, "b"), (3, "c")] {
        let window = namespace(window)?;
        states.reducing.add(&mut *backend, context.within(&window), text.to_owned())?;
        states.reducing.add(&mut *backend, context.within(&window), text.to_uppercase())?;
    }
    states.merge(subject, &mut *backend, &[3, 1], 2)?;
    let target = namespace(2)?;
    let merged = states.reducing.get(&mut *backend, context.within(&target))?;
    ensure_eq!(merged.as_deref(), Some("bBcCaA"), "target");
    for source in [1, 3] {
        let source = namespace(source)?;
        let left = states.reducing.get(&mut *backend, context.within(&source))?;
        ensure_eq!(left, None, "source");
    }
    states.reducing.add(&mut *backend, context.within(&target), "!".to_owned())?;
    let snapshot = take_snapshot(&mut *backend)?;
    let mut backend = restored(subject, &snapshot)?;
    let states = Mergeable::register(&mut *backend)?;
    let again = states.reducing.get(&mut *backend, context.within(&target))?;
    ensure_eq!(again.as_deref(), Some("bBcCaA!"), "target, added to and restored");
    ensure_eq!(states.counts(&mut *backend)?, [0, 1, 0], "entries");
    Ok(())
}

/// Merged aggregates are one accumulator, not an aggregate of results.
pub fn merging_namespaces_combines_aggregates(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let states = Mergeable::register(&mut *backend)?;
    let context = key(subject, &7)?;
    for (window, inputs) in [(1, [6, 6, 6].as_slice()), (2, &[-10]), (3, &[2, 8])] {
        let window = namespace(window)?;
        for input in inputs {
            states.aggregating.add(&mut *backend, context.within(&window), input)?;
        }
    }
    states.merge(subject, &mut *backend, &[2, 3], 1)?;
    let merged = states.aggregating.get(&mut *backend, context.within(&namespace(1)?))?;
    ensure_eq!(merged, Some(3.0), "mean of six inputs");
    for source in [2, 3] {
        let left = states.aggregating.get(&mut *backend, context.within(&namespace(source)?))?;
        ensure_eq!(left, None, "source");
    }
    ensure_eq!(states.counts(&mut *backend)?, [0, 0, 1], "entries");
    Ok(())
}

/// A source or target that has nothing adds nothing, and merging nothing creates no entry.
pub fn absent_namespaces_of_a_merge_are_harmless(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let states = Mergeable::register(&mut *backend)?;
    let context = key(subject, &7)?;
    states.merge(subject, &mut *backend, &[1, 2], 3)?;
    ensure_eq!(states.counts(&mut *backend)?, [0, 0, 0], "entries of merged nothing");
    let (one, three) = (namespace(1)?, namespace(3)?);
    states.list.add(&mut *backend, context.within(&one), &"x".to_owned())?;
    states.reducing.add(&mut *backend, context.within(&one), "y".to_owned())?;
    states.aggregating.add(&mut *backend, context.within(&one), &4)?;
    states.merge(subject, &mut *backend, &[2, 1, 5], 3)?;
    states.merge(subject, &mut *backend, &[], 3)?;
    states.merge(subject, &mut *backend, &[1, 2], 3)?;
    let at = context.within(&three);
    ensure_eq!(states.list.get(&mut *backend, at)?, ["x"], "list");
    ensure_eq!(states.reducing.get(&mut *backend, at)?.as_deref(), Some("y"), "reduction");
    ensure_eq!(states.aggregating.get(&mut *backend, at)?, Some(4.0), "aggregate");
    ensure_eq!(states.counts(&mut *backend)?, [1, 1, 1], "entries");
    Ok(())
}

/// A source that is the target, or is named twice, counts once.
pub fn a_merge_counts_each_namespace_once(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let states = Mergeable::register(&mut *backend)?;
    let context = key(subject, &7)?;
    for (window, input) in [(1, 1), (2, 9)] {
        let window = namespace(window)?;
        let at = context.within(&window);
        states.list.add(&mut *backend, at, &input.to_string())?;
        states.reducing.add(&mut *backend, at, input.to_string())?;
        states.aggregating.add(&mut *backend, at, &input)?;
    }
    states.merge(subject, &mut *backend, &[1, 2, 1, 2], 1)?;
    let target = namespace(1)?;
    let at = context.within(&target);
    ensure_eq!(states.list.get(&mut *backend, at)?, ["1", "9"], "list");
    ensure_eq!(states.reducing.get(&mut *backend, at)?.as_deref(), Some("19"), "reduction");
    ensure_eq!(states.aggregating.get(&mut *backend, at)?, Some(5.0), "aggregate");
    ensure_eq!(states.counts(&mut *backend)?, [1, 1, 1], "entries");
    Ok(())
}
