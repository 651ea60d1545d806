//! Timers over the backend: a set of times for each key and namespace, polled in order.

use millpond_state::{
    ErrorKind, KeyContext, KeyedBackend, MapState, NamespaceContext, Result, Timers, ValueState,
};

use super::subject::{
    BackendUnderTest, begin_snapshot, finish_snapshot, groups, key, namespace, owner,
    restore_parts, restored, take_parts, take_snapshot,
};
use crate::rng::SplitMix64;
use crate::violation::{Verdict, ensure, ensure_eq, refused};

/// Times that are as far apart as can be, in order.
const TIMES: [i64; 7] = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];

/// Polls all that is due, as time and key, in the order in which it came.
fn poll_all(
    timers: &mut Timers<u64, i64>,
    backend: &mut dyn KeyedBackend,
    now: i64,
) -> Result<Vec<(i64, u64, i64)>> {
    let mut fired = Vec::new();
    while let Some(timer) = timers.poll(backend, now)? {
        fired.push((timer.time(), timer.key()?, timer.namespace()?));
    }
    Ok(fired)
}

/// As [`poll_all`], sorted, after a check that times ascend.
fn poll_sorted(
    timers: &mut Timers<u64, i64>,
    backend: &mut dyn KeyedBackend,
    now: i64,
) -> Verdict<Vec<(i64, u64, i64)>> {
    let mut fired = poll_all(timers, backend, now)?;
    ensure!(fired.is_sorted_by_key(|(time, ..)| *time), "times descend: {fired:?}");
    fired.sort_unstable();
    Ok(fired)
}

/// Timers are a set: one that is registered again fires once.
pub fn a_timer_is_registered_once_for_its_time(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let mut timers = Timers::<u64, i64>::register(&mut *backend, "timers")?;
    let (context, window) = (key(subject, &7)?, namespace(1)?);
    let at = context.within(&window);
    ensure!(timers.is_empty(), "a new timer state has timers");
    ensure_eq!(timers.next_time(), None, "next time of none");
    for (time, new) in [(20, true), (10, true), (20, false), (10, false), (30, true)] {
        ensure_eq!(timers.add(&mut *backend, at, time)?, new, "whether timer {time} is new");
    }
    ensure_eq!(timers.len(), 3, "timers");
    ensure_eq!(timers.times(&mut *backend, at)?, [10, 20, 30], "times of the address");
    let fired = poll_all(&mut timers, &mut *backend, 25)?;
    ensure_eq!(fired, [(10, 7, 1), (20, 7, 1)], "fired at 25");
    ensure_eq!(poll_all(&mut timers, &mut *backend, 25)?, [], "fired again at 25");
    ensure_eq!(timers.len(), 1, "timers left");
    ensure!(timers.add(&mut *backend, at, 20)?, "a time that has fired is free again");
    let fired = poll_all(&mut timers, &mut *backend, 30)?;
    ensure_eq!(fired, [(20, 7, 1), (30, 7, 1)], "fired at 30");
    ensure!(timers.is_empty(), "timers are left");
    ensure_eq!(backend.entry_count(timers.id())?, 0, "entries");
    Ok(())
}

/// Timers are polled in order of time, from the least number to the greatest, none too early.
pub fn timers_are_polled_in_order_of_time(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let mut timers = Timers::<u64, i64>::register(&mut *backend, "timers")?;
    let window = namespace(0)?;
    for (number, index) in [3, 6, 0, 5, 1, 4, 2].into_iter().enumerate() {
        let context = key(subject, &(number as u64 % 2))?;
        let time = TIMES.get(index).copied().unwrap_or_default();
        timers.add(&mut *backend, context.within(&window), time)?;
    }
    for (index, now) in TIMES.into_iter().enumerate() {
        let next = timers.next_time();
        ensure!(next.is_some_and(|next| next <= now), "next time {next:?}, before {now}");
        if let Some(before) = now.checked_sub(1).filter(|before| !TIMES.contains(before)) {
            ensure_eq!(poll_all(&mut timers, &mut *backend, before)?, [], "due before {now}");
        }
        let fired = poll_all(&mut timers, &mut *backend, now)?;
        let times: Vec<i64> = fired.iter().map(|(time, ..)| *time).collect();
        ensure_eq!(times, [now], "fired at time {index}");
    }
    ensure!(timers.is_empty(), "timers are left");
    Ok(())
}

/// A deleted timer does not fire; deleting one that is not there does nothing.
pub fn deleted_timers_do_not_fire(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let mut timers = Timers::<u64, i64>::register(&mut *backend, "timers")?;
    let window = namespace(0)?;
    for number in 0..4u64 {
        let context = key(subject, &number)?;
        for time in [10, 20, 30] {
            timers.add(&mut *backend, context.within(&window), time)?;
        }
    }
    let contexts = [key(subject, &0)?, key(subject, &1)?, key(subject, &2)?];
    let [once, again, all] = &contexts;
    ensure!(timers.delete(&mut *backend, once.within(&window), 10)?, "delete found nothing");
    ensure!(!timers.delete(&mut *backend, once.within(&window), 10)?, "deleted twice");
    ensure!(!timers.delete(&mut *backend, once.within(&window), 11)?, "deleted what never was");
    timers.delete(&mut *backend, again.within(&window), 10)?;
    timers.add(&mut *backend, again.within(&window), 10)?;
    timers.delete_all(&mut *backend, all.within(&window))?;
    ensure_eq!(timers.len(), 8, "timers");
    let fired = poll_sorted(&mut timers, &mut *backend, 20)?;
    let expected = [(10, 1, 0), (10, 3, 0), (20, 0, 0), (20, 1, 0), (20, 3, 0)];
    ensure_eq!(fired, expected, "fired at 20");
    ensure_eq!(timers.len(), 3, "timers left");
    Ok(())
}

/// The same time under other keys and namespaces is another timer; a due timer knows its address.
pub fn timers_of_keys_and_namespaces_are_independent(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let mut timers = Timers::<u64, i64>::register(&mut *backend, "timers")?;
    let other = Timers::<u64, i64>::register(&mut *backend, "other timers")?;
    let names = ValueState::<u64, String, i64>::register(&mut *backend, "names")?;
    let mut expected = Vec::new();
    for number in 0..20u64 {
        for window in [-5, 0, 5] {
            let (context, namespace) = (key(subject, &number)?, namespace(window)?);
            let at = context.within(&namespace);
            timers.add(&mut *backend, at, 1_000)?;
            names.put(&mut *backend, at, &format!("{number} in {window}"))?;
            expected.push((number, window));
        }
    }
    let gone = (key(subject, &3)?, namespace(0)?);
    timers.delete(&mut *backend, gone.0.within(&gone.1), 1_000)?;
    expected.retain(|place| *place != (3, 0));
    let mut fired = Vec::new();
    while let Some(timer) = timers.poll(&mut *backend, 1_000)? {
        let place = (timer.key()?, timer.namespace()?);
        let name = names.get(&mut *backend, timer.at())?;
        ensure_eq!(name, Some(format!("{} in {}", place.0, place.1)), "state at the timer");
        fired.push(place);
    }
    fired.sort_unstable();
    ensure_eq!(fired, expected, "addresses that fired");
    ensure!(other.is_empty(), "another timer state has timers");
    Ok(())
}

/// Whoever fires timers may add and delete others meanwhile, also due ones.
pub fn timers_may_be_changed_between_polls(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let mut timers = Timers::<u64, i64>::register(&mut *backend, "timers")?;
    let (context, window) = (key(subject, &7)?, namespace(0)?);
    let at = context.within(&window);
    for time in [10, 20, 30, 40] {
        timers.add(&mut *backend, at, time)?;
    }
    let mut fired = Vec::new();
    while let Some(timer) = timers.poll(&mut *backend, 35)? {
        fired.push(timer.time());
        match timer.time() {
            // Earlier than what comes next, and earlier than what has fired.
            10 => {
                timers.add(&mut *backend, at, 15)?;
                timers.add(&mut *backend, at, 5)?;
            }
            15 => {
                timers.delete(&mut *backend, at, 20)?;
                timers.add(&mut *backend, at, 36)?;
            }
            _ => {}
        }
    }
    ensure_eq!(fired, [10, 5, 15, 30], "fired");
    ensure_eq!(timers.times(&mut *backend, at)?, [36, 40], "left");
    Ok(())
}

/// Many timers, added and deleted in random order, are polled in order and each once.
pub fn many_timers_keep_their_order(subject: &BackendUnderTest) -> Verdict {
    const TIMERS: u64 = 8_000;
    let mut backend = subject.open()?;
    let mut timers = Timers::<u64, i64>::register(&mut *backend, "timers")?;
    let mut rng = SplitMix64::new(10);
    let mut expected = std::collections::BTreeSet::new();
    for _ in 0..TIMERS {
        let timer = (rng.below(2_000) as i64 - 1_000, rng.below(50), rng.below(3) as i64);
        let (context, window) = (key(subject, &timer.1)?, namespace(timer.2)?);
        let at = context.within(&window);
        if rng.one_in(3) {
            let there = timers.delete(&mut *backend, at, timer.0)?;
            ensure_eq!(there, expected.remove(&timer), "whether {timer:?} was deleted");
        } else {
            let new = timers.add(&mut *backend, at, timer.0)?;
            ensure_eq!(new, expected.insert(timer), "whether {timer:?} is new");
        }
    }
    ensure_eq!(timers.len(), expected.len(), "timers");
    for now in [-1_001, -500, 0, 999] {
        let later = expected.split_off(&(now + 1, 0, 0));
        let due: Vec<_> = core::mem::replace(&mut expected, later).into_iter().collect();
        let fired = poll_sorted(&mut timers, &mut *backend, now)?;
        ensure!(fired == due, "{} timers fired at {now}, {} were due", fired.len(), due.len());
    }
    ensure_eq!((timers.len(), backend.entry_count(timers.id())?), (0, 0), "timers left");
    Ok(())
}

/// Timers are part of a snapshot, as of its instant; those that fired or were deleted are not.
pub fn timers_survive_snapshot_and_restore(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let mut timers = Timers::<u64, i64>::register(&mut *backend, "timers")?;
    let window = namespace(4)?;
    for number in 0..100u64 {
        let context = key(subject, &number)?;
        timers.add(&mut *backend, context.within(&window), number as i64)?;
        timers.add(&mut *backend, context.within(&window), 1_000 - number as i64)?;
    }
    poll_all(&mut timers, &mut *backend, 49)?;
    timers.delete(&mut *backend, key(subject, &99)?.within(&window), 99)?;
    let task = begin_snapshot(&mut *backend, 1)?;
    poll_all(&mut timers, &mut *backend, i64::MAX)?;
    timers.add(&mut *backend, key(subject, &5)?.within(&window), 5)?;
    let (snapshot, _) = finish_snapshot(task)?;
    let mut backend = restored(subject, &snapshot)?;
    let mut timers = Timers::<u64, i64>::register(&mut *backend, "timers")?;
    ensure_eq!(timers.len(), 149, "timers restored");
    let fired = poll_sorted(&mut timers, &mut *backend, 900)?;
    let expected: Vec<_> = (50..99).map(|n| (n as i64, n, 4)).collect();
    ensure_eq!(fired, expected, "fired at 900");
    let mut all = poll_sorted(&mut timers, &mut *backend, i64::MAX)?;
    all.reverse();
    let expected: Vec<_> = (0..100).map(|n| (1_000 - n as i64, n, 4)).collect();
    ensure_eq!(all, expected, "fired at last");
    Ok(())
}

fn spread(
    subject: &BackendUnderTest,
    instances: &mut [Box<dyn KeyedBackend>],
    numbers: u64,
) -> Verdict {
    let window = namespace(0)?;
    for backend in instances {
        let mut timers = Timers::<u64, i64>::register(&mut **backend, "timers")?;
        for number in 0..numbers {
            let context = key(subject, &number)?;
            if backend.key_groups().contains(context.group()) {
                timers.add(&mut **backend, context.within(&window), number as i64 % 10)?;
            }
        }
    }
    Ok(())
}

/// Restored at another parallelism, each timer fires once, where its key is.
pub fn timers_are_restored_at_any_parallelism(subject: &BackendUnderTest) -> Verdict {
    const NUMBERS: u64 = 500;
    for (from, to) in [(1, 1), (1, 4), (4, 1), (2, 3), (7, 3), (1, 128)] {
        let mut old = subject.open_all(from)?;
        spread(subject, &mut old, NUMBERS)?;
        let parts = take_parts(&mut old)?;
        let mut new = subject.open_all(to)?;
        restore_parts(&parts, &mut new)?;
        let mut fired = Vec::new();
        for backend in &mut new {
            let mut timers = Timers::<u64, i64>::register(&mut **backend, "timers")?;
            for (time, number, _) in poll_sorted(&mut timers, &mut **backend, 9)? {
                let group = key(subject, &number)?.group();
                ensure!(backend.key_groups().contains(group), "timer {number} is elsewhere");
                fired.push((number, time));
            }
        }
        fired.sort_unstable();
        let expected: Vec<_> = (0..NUMBERS).map(|n| (n, n as i64 % 10)).collect();
        ensure!(fired == expected, "from {from} to {to}: {} of {NUMBERS} fired", fired.len());
    }
    Ok(())
}

/// The keys that have timers are enumerated by key group, each group in its own.
pub fn timers_are_enumerated_by_key_group(subject: &BackendUnderTest) -> Verdict {
    use core::ops::ControlFlow;
    let mut instances = vec![subject.open()?];
    spread(subject, &mut instances, 300)?;
    let backend = owner(&mut instances, millpond_state::KeyGroup::new(0))?;
    let timers = Timers::<u64, i64>::register(backend, "timers")?;
    let mut met = 0;
    for group in subject.max_parallelism().full_range().iter() {
        let range = groups(group.get(), group.get())?;
        let mut foreign = 0;
        backend.visit_entries(timers.id(), range, None, &mut |found, key, _| {
            met += 1;
            let own = subject.at(key).group() == group && found == group;
            foreign += u32::from(!own);
            Ok(ControlFlow::Continue(()))
        })?;
        ensure_eq!(foreign, 0, "keys of other groups in group {group}");
    }
    ensure_eq!(met, 300, "keys with timers");
    Ok(())
}

/// Restored timers refuse another key, another namespace, and another kind of state.
pub fn restored_timers_refuse_other_types(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let mut timers = Timers::<u64, i64>::register(&mut *backend, "timers")?;
    let (context, window): (KeyContext<u64>, NamespaceContext<i64>) =
        (key(subject, &7)?, namespace(0)?);
    timers.add(&mut *backend, context.within(&window), 3)?;
    let snapshot = take_snapshot(&mut *backend)?;
    let mut backend = restored(subject, &snapshot)?;
    let kind = ErrorKind::Incompatible;
    refused(Timers::<String, i64>::register(&mut *backend, "timers"), kind, "another key")?;
    refused(Timers::<u64, u64>::register(&mut *backend, "timers"), kind, "another namespace")?;
    refused(Timers::<u64>::register(&mut *backend, "timers"), kind, "no namespace")?;
    let map = MapState::<u64, i64, (), i64>::register(&mut *backend, "timers");
    refused(map, kind, "a map of the same bytes")?;
    let mut timers = Timers::<u64, i64>::register(&mut *backend, "timers")?;
    ensure_eq!(poll_all(&mut timers, &mut *backend, 3)?, [(3, 7, 0)], "fired after refusals");
    Ok(())
}
