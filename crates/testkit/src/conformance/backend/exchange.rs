//! Canonical snapshots are anybody's: what one backend writes, another restores.

use millpond_state::kinds::{AggregatingState, ListState, MapState, ReducingState, ValueState};
use millpond_state::{CheckpointId, KeyedBackend, Result, StateKind, Timers};

use super::subject::{
    BackendUnderTest, begin_snapshot, describe, finish_snapshot, key, namespace, owner,
    restore_parts, restored, take_parts, take_snapshot,
};
use super::typed::Mean;
use crate::entries::LogicalState;
use crate::model::ModelFactory;
use crate::violation::{Verdict, Violation, ensure, ensure_eq};

const KEYS: u64 = 120;

/// A state of every kind but timers, in namespaces that are numbers.
struct Everything {
    value: ValueState<u64, String, i64>,
    list: ListState<u64, u32, i64>,
    map: MapState<u64, i32, String, i64>,
    reducing: ReducingState<u64, String, i64>,
    aggregating: AggregatingState<u64, Mean, i64>,
}

impl Everything {
    fn register(backend: &mut dyn KeyedBackend) -> Result<Self> {
        let joined = |left: String, right: String| left + &right;
        Ok(Self {
            value: ValueState::register(backend, "value")?,
            list: ListState::register(backend, "list")?,
            map: MapState::register(backend, "map")?,
            reducing: ReducingState::register(backend, "reducing", joined)?,
            aggregating: AggregatingState::register(backend, "aggregating", Mean)?,
        })
    }
}

/// Time, key and namespace of timers.
type Fired = Vec<(i64, u64, i64)>;

/// Writes those keys that belong to the instance.
fn fill(subject: &BackendUnderTest, backend: &mut dyn KeyedBackend) -> Result<()> {
    let states = Everything::register(backend)?;
    let mut timers = Timers::<u64, i64>::register(backend, "timers")?;
    for number in 0..KEYS {
        let context = key(subject, &number)?;
        if !backend.key_groups().contains(context.group()) {
            continue;
        }
        for window in -1..(number % 3) as i64 {
            let window = namespace(window)?;
            let at = context.within(&window);
            states.value.put(backend, at, &"v".repeat(number as usize))?;
            states.list.add_all(backend, at, &[1, 2, number as u32])?;
            states.map.put(backend, at, &-5, &"minus five".to_owned())?;
            states.map.put(backend, at, &(number as i32), &String::new())?;
            states.reducing.add(backend, at, "x".to_owned())?;
            states.aggregating.add(backend, at, &(number as i64))?;
            timers.add(backend, at, -(number as i64))?;
            timers.add(backend, at, i64::MAX)?;
        }
    }
    Ok(())
}

/// Goes on from what was restored, by key and not by instance.
fn go_on(subject: &BackendUnderTest, instances: &mut [Box<dyn KeyedBackend>]) -> Verdict {
    let window = namespace(-1)?;
    for number in 0..KEYS {
        let context = key(subject, &number)?;
        let at = context.within(&window);
        let backend = owner(instances, context.group())?;
        let states = Everything::register(backend)?;
        states.list.add(backend, at, &9)?;
        states.reducing.add(backend, at, "y".to_owned())?;
        states.aggregating.add(backend, at, &-4)?;
        states.map.remove(backend, at, &-5)?;
        let value = states.value.get(backend, at)?;
        ensure_eq!(value.map(|text| text.len()), Some(number as usize), "value of {number}");
    }
    Ok(())
}

/// Fires what is due, as time, key and namespace, in order of these.
fn fire(instances: &mut [Box<dyn KeyedBackend>]) -> Result<Fired> {
    let mut fired = Vec::new();
    for backend in instances {
        let mut timers = Timers::<u64, i64>::register(&mut **backend, "timers")?;
        while let Some(timer) = timers.poll(&mut **backend, 0)? {
            fired.push((timer.time(), timer.key()?, timer.namespace()?));
        }
    }
    fired.sort_unstable();
    Ok(fired)
}

fn contents(instances: &mut [Box<dyn KeyedBackend>]) -> Verdict<LogicalState> {
    let mut all = LogicalState::new();
    for (_, snapshot) in take_parts(instances)? {
        for (place, value) in snapshot.logical() {
            let twice = format!("two instances have {place:?}");
            if all.insert(place, value).is_some() {
                return Err(Violation::new(twice));
            }
        }
    }
    Ok(all)
}

/// The same through one backend all the time: what must come out.
fn expected(model: &BackendUnderTest) -> Verdict<(LogicalState, Fired)> {
    let mut instances = vec![model.open()?];
    for backend in &mut instances {
        fill(model, &mut **backend)?;
    }
    go_on(model, &mut instances)?;
    let fired = fire(&mut instances)?;
    Ok((contents(&mut instances)?, fired))
}

/// Fills `from`, restores `to` at other parallelisms, and goes on there.
fn exchange(from: &BackendUnderTest, to: &BackendUnderTest) -> Verdict {
    let model = BackendUnderTest::new(ModelFactory)?;
    let expected = expected(&model)?;
    for (before, after) in [(1, 1), (2, 3), (3, 1)] {
        let mut old = from.open_all(before)?;
        for backend in &mut old {
            fill(from, &mut **backend)?;
        }
        let parts = take_parts(&mut old)?;
        let mut new = to.open_all(after)?;
        restore_parts(&parts, &mut new)?;
        go_on(to, &mut new)?;
        let fired = fire(&mut new)?;
        let found = contents(&mut new)?;
        let case = format!("{before} instances restored as {after}");
        ensure!(fired == expected.1, "{case}: {} timers fired", fired.len());
        ensure_eq!(found.len(), expected.0.len(), "{case}: entries");
        for ((place, value), (other, wanted)) in found.iter().zip(&expected.0) {
            ensure_eq!((place, value), (other, wanted), "{case}: entry");
        }
    }
    Ok(())
}

/// A snapshot of this backend restores into the reference backend, timers included.
pub fn the_reference_backend_restores_its_snapshots(subject: &BackendUnderTest) -> Verdict {
    exchange(subject, &BackendUnderTest::new(ModelFactory)?)
}

/// A snapshot of the reference backend restores into this one, timers included.
pub fn it_restores_snapshots_of_the_reference_backend(subject: &BackendUnderTest) -> Verdict {
    exchange(&BackendUnderTest::new(ModelFactory)?, subject)
}

/// One more snapshot after each key loses none, whether checkpoints complete, abort, or nothing is
/// heard of them.
pub fn many_small_snapshots_lose_no_key(subject: &BackendUnderTest) -> Verdict {
    const ROUNDS: u64 = 150;
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let mut under_way = Vec::new();
    for round in 0..ROUNDS {
        let bytes = round.to_be_bytes();
        backend.put(state, subject.at(&bytes), &bytes)?;
        if let Some(old) = round.checked_sub(7) {
            backend.put(state, subject.at(&old.to_be_bytes()), b"changed")?;
        }
        under_way.push((round, begin_snapshot(&mut *backend, round + 1)?));
        if under_way.len() < 4 {
            continue;
        }
        let (taken, task) = under_way.remove(0);
        let checkpoint = CheckpointId::new(taken + 1);
        let (snapshot, _) = finish_snapshot(task)?;
        match taken % 3 {
            0 => backend.checkpoint_completed(checkpoint),
            1 => backend.checkpoint_aborted(checkpoint),
            _ => {}
        }
        ensure_eq!(snapshot.entries.len() as u64, taken + 1, "entries of snapshot {taken}");
        if taken % 20 == 0 {
            let mut then = restored(subject, &snapshot)?;
            let state = then.register(&describe("value", StateKind::Value)?)?;
            let newest = taken.to_be_bytes();
            let found = then.get(state, subject.at(&newest))?;
            ensure_eq!(found, Some(newest.as_slice()), "newest key of snapshot {taken}");
        }
    }
    Ok(())
}

/// A chain of tiny checkpoints, each restored from the one before at another parallelism, loses no
/// key and keeps every change.
pub fn a_chain_of_small_restores_loses_no_key(subject: &BackendUnderTest) -> Verdict {
    let mut instances = subject.open_all(1)?;
    for round in 0..40u64 {
        for number in [round, round / 2] {
            let bytes = number.to_be_bytes();
            let at = subject.at(&bytes);
            let backend = owner(&mut instances, at.group())?;
            let state = backend.register(&describe("list", StateKind::List)?)?;
            backend.append(state, at, &[round as u8])?;
        }
        let parts = take_parts(&mut instances)?;
        instances = subject.open_all(1 + (round as u32 * 3 + 1) % 5)?;
        restore_parts(&parts, &mut instances)?;
    }
    let mut appended = 0;
    for number in 0..40u64 {
        let bytes = number.to_be_bytes();
        let at = subject.at(&bytes);
        let backend = owner(&mut instances, at.group())?;
        let state = backend.register(&describe("list", StateKind::List)?)?;
        let found = backend.get(state, at)?.unwrap_or_default();
        ensure_eq!(found.first().copied(), Some(number as u8), "first element of {number}");
        ensure!(found.is_sorted(), "elements of {number} are out of order: {found:?}");
        appended += found.len();
    }
    ensure_eq!(appended, 80, "elements");
    Ok(())
}

/// Taking a snapshot while nothing changes gives the same entries each time.
pub fn an_unchanged_backend_has_equal_snapshots(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    fill(subject, &mut *backend)?;
    let first = take_snapshot(&mut *backend)?;
    for checkpoint in 2..5 {
        let (snapshot, _) = finish_snapshot(begin_snapshot(&mut *backend, checkpoint)?)?;
        backend.checkpoint_completed(CheckpointId::new(checkpoint));
        ensure!(snapshot == first, "snapshot {checkpoint} differs from the first");
    }
    Ok(())
}
