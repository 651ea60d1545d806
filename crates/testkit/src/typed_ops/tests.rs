//! Operations print and parse, reach everything, and run through on the reference backend.

use std::collections::{BTreeMap, BTreeSet};

use super::{Op, Program, generate, parse, print, run_model_test};
use crate::model::ModelFactory;

#[test]
fn operations_parse_as_they_print() {
    for seed in 0..5 {
        let ops = generate(seed, 3_000);
        assert_eq!(parse(&print(&ops)).unwrap(), ops);
    }
    assert_ne!(generate(1, 50), generate(2, 50));
}

#[test]
fn lines_that_are_no_operation_are_named() {
    let error = parse("# fine\n\nat 1 0 get\nat 1 0 get now\n").unwrap_err();
    assert_eq!(error.to_string(), "line 4: \"at 1 0 get now\" is no operation");
    for line in [
        "at 1 put 5",
        "at 256 0 get",
        "restore 1 2 v4 lazy never",
        "restore 1 2 v1 later never",
        "open 1 v1 eager wall/5/read/exact",
        "open 1 v1 eager event/0/read/exact",
        "pass event",
        "at 1 1 merge lists 2",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn sequences_reach_every_operation() {
    let text = print(&generate(3, 6_000));
    let first = |line: &str| {
        let mut words = line.split(' ');
        match words.next() {
            Some("at") => words.nth(2).unwrap().to_owned(),
            word => word.unwrap().to_owned(),
        }
    };
    let found: BTreeSet<String> = text.lines().map(first).collect();
    // 22 accesses, and 12 other operations.
    assert_eq!(found.len(), 34, "{found:?}");
    for word in
        ["lazy", "v2", "v3", "event/", "processing/", "/read", "/write", "/relaxed", "never"]
    {
        assert!(text.contains(word), "no {word}");
    }
}

/// What a restart changes, in words.
fn changes(written: &Program, program: &Program) -> Vec<&'static str> {
    let mut changes = Vec::new();
    match (program.version as i32 - written.version as i32, program.lazy) {
        (..0, _) => return vec!["an older version"],
        (0, _) => {}
        (1, false) => changes.push("the next version, at once"),
        (1, true) => changes.push("the next version, lazily"),
        (2.., false) => changes.push("two versions, at once"),
        (2.., true) => changes.push("two versions, lazily"),
    }
    match (written.ttl, program.ttl) {
        (None, None) => {}
        (None, Some(_)) => changes.push("ttl on"),
        (Some(_), None) => changes.push("ttl off"),
        (Some(old), Some(new)) if old.domain != new.domain => changes.push("another clock"),
        (Some(old), Some(new)) if old.duration_ms != new.duration_ms => {
            changes.push("another duration");
        }
        (Some(_), Some(_)) => changes.push("ttl kept"),
    }
    changes
}

/// A generator that never gets past its first snapshot tests nothing.
#[test]
fn sequences_restart_in_every_way() {
    let mut found: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..1_000 {
        let (mut running, mut pending, mut finished) =
            (Program::FIRST, BTreeMap::new(), BTreeMap::new());
        for op in generate(seed, 80) {
            match op {
                Op::Open(_, program) => running = program,
                Op::Snapshot(id) => drop(pending.insert(id, running)),
                Op::Drop(id) => drop(pending.remove(&id)),
                Op::Finish(id) => {
                    if let Some(program) = pending.remove(&id) {
                        finished.insert(id, program);
                    }
                }
                Op::Restore(id, _, program) => {
                    let Some(written) = finished.get(&id) else { continue };
                    for change in changes(written, &program) {
                        *found.entry(change).or_default() += 1;
                    }
                    if program.version >= written.version {
                        running = program;
                    }
                }
                _ => {}
            }
        }
    }
    let few: Vec<_> = found.iter().filter(|(_, times)| **times < 20).collect();
    assert!(found.len() == 10 && few.is_empty(), "{found:?}");
}

#[test]
fn random_operations_run_through_on_the_model() -> Result<(), crate::ops::Failure> {
    (0..200).try_for_each(|seed| run_model_test(&ModelFactory, seed, 60))
}
