//! What every operation refuses: foreign key groups, unknown states, the wrong kind of state.

use core::ops::ControlFlow;

use millpond_state::{EntryKey, ErrorKind, KeyedBackend, Result, StateId, StateKind};

use super::subject::{BackendUnderTest, at_group, describe, groups};
use crate::violation::{Verdict, ensure_eq, refused};

type Operation = (&'static str, fn(&mut dyn KeyedBackend, StateId, EntryKey<'_>) -> Result<()>);

/// The operations on plain values, each on one entry.
const PLAIN: &[Operation] = &[
    ("get", |b, s, at| b.get(s, at).map(drop)),
    ("put", |b, s, at| b.put(s, at, b"v")),
    ("append", |b, s, at| b.append(s, at, b"v")),
    ("get_many", |b, s, at| b.get_many(s, &[at], &mut [None])),
    ("put_many", |b, s, at| b.put_many(s, &[at], &[b"v"])),
    ("update_many", |b, s, at| {
        b.update_many(s, &[at], &mut |_, edit| {
            edit.replace(b"v");
            Ok(())
        })
    }),
];

/// The operations on maps, each on one entry.
const MAP: &[Operation] = &[
    ("map_get", |b, s, at| b.map_get(s, at, b"u").map(drop)),
    ("map_put", |b, s, at| b.map_put(s, at, b"u", b"v")),
    ("map_remove", |b, s, at| b.map_remove(s, at, b"u")),
    ("map_visit", |b, s, at| b.map_visit(s, at, &mut |_, _| Ok(ControlFlow::Continue(())))),
];

/// The operations on any kind.
const ANY: &[Operation] = &[("delete", |b, s, at| b.delete(s, at))];

/// Reads and writes of a key group that the instance does not own are refused.
pub fn foreign_key_groups_are_refused(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open_range(groups(10, 20)?)?;
    let value = backend.register(&describe("value", StateKind::Value)?)?;
    let map = backend.register(&describe("map", StateKind::Map)?)?;
    for group in [0, 9, 21, 127, 128, u16::MAX] {
        let at = at_group(b"key", group);
        for (name, run) in PLAIN.iter().chain(ANY) {
            let what = format!("{name} in group {group}");
            refused(run(&mut *backend, value, at), ErrorKind::InvalidArgument, &what)?;
        }
        for (name, run) in MAP.iter().chain(ANY) {
            let what = format!("{name} in group {group}");
            refused(run(&mut *backend, map, at), ErrorKind::InvalidArgument, &what)?;
        }
    }
    for group in [10, 20] {
        for (_, run) in PLAIN {
            run(&mut *backend, value, at_group(b"key", group))?;
        }
        for (_, run) in MAP {
            run(&mut *backend, map, at_group(b"key", group))?;
        }
    }
    ensure_eq!(backend.entry_count(value)?, 2, "values in the instance's own groups");
    Ok(())
}

/// An id that the instance did not hand out is refused by every operation.
pub fn unknown_states_are_refused(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let at = subject.at(b"key");
    for known in 0..2u16 {
        for id in [known, known + 1, u16::MAX] {
            let unknown = StateId::new(id);
            for (name, run) in PLAIN.iter().chain(MAP).chain(ANY) {
                let what = format!("{name} of unknown {unknown}");
                refused(run(&mut *backend, unknown, at), ErrorKind::InvalidArgument, &what)?;
            }
            refused(backend.entry_count(unknown), ErrorKind::InvalidArgument, "entry_count")?;
            let range = subject.max_parallelism().full_range();
            let visited = backend
                .visit_entries(unknown, range, None, &mut |_, _, _| Ok(ControlFlow::Continue(())));
            refused(visited, ErrorKind::InvalidArgument, "visit_entries")?;
        }
        backend.register(&describe(&format!("state {known}"), StateKind::Value)?)?;
    }
    Ok(())
}

/// Map operations are refused on other states and the other way round; nothing changes.
pub fn operations_on_the_wrong_kind_are_refused(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let map = backend.register(&describe("map", StateKind::Map)?)?;
    let at = subject.at(b"key");
    backend.map_put(map, at, b"u", b"v")?;
    for (name, run) in PLAIN {
        let what = format!("{name} on map state");
        refused(run(&mut *backend, map, at), ErrorKind::InvalidArgument, &what)?;
    }
    for kind in [StateKind::Value, StateKind::List, StateKind::Reducing, StateKind::Aggregating] {
        let state = backend.register(&describe(&kind.to_string(), kind)?)?;
        backend.put(state, at, b"plain")?;
        for (name, run) in MAP {
            let what = format!("{name} on {kind} state");
            refused(run(&mut *backend, state, at), ErrorKind::InvalidArgument, &what)?;
        }
        ensure_eq!(backend.get(state, at)?, Some(b"plain".as_slice()), "{kind} state afterwards");
    }
    ensure_eq!(backend.map_get(map, at, b"u")?, Some(b"v".as_slice()), "map afterwards");
    Ok(())
}

/// An empty batch on the wrong kind, or of an unknown state, is refused too.
pub fn empty_batches_are_checked_like_others(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let map = backend.register(&describe("map", StateKind::Map)?)?;
    let value = backend.register(&describe("value", StateKind::Value)?)?;
    for state in [map, StateId::new(77)] {
        let kind = ErrorKind::InvalidArgument;
        refused(backend.get_many(state, &[], &mut []), kind, "get_many")?;
        refused(backend.put_many(state, &[], &[]), kind, "put_many")?;
        refused(backend.update_many(state, &[], &mut |_, _| Ok(())), kind, "update_many")?;
    }
    backend.get_many(value, &[], &mut [])?;
    backend.put_many(value, &[], &[])?;
    backend.update_many(value, &[], &mut |_, _| Ok(()))?;
    ensure_eq!(backend.entry_count(value)?, 0, "entries after empty batches");
    Ok(())
}
