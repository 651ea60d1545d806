//! Operations: they print and parse, shrink, and find broken backends.

use super::{generate, parse, print, shrink};
use crate::model::ModelFactory;

#[test]
fn operations_parse_as_they_print() {
    let ops = generate(3, 5_000);
    assert_eq!(parse(&print(&ops)).unwrap(), ops);
}

#[test]
fn equal_seeds_give_equal_sequences_and_histories() {
    let ops = generate(11, 300);
    assert_eq!(ops, generate(11, 300));
    assert_ne!(ops, generate(12, 300));
    let history = super::history(&ModelFactory, &ops).unwrap();
    assert_eq!(history, super::history(&ModelFactory, &ops).unwrap());
}

#[test]
fn sequences_reach_every_operation() {
    let text = print(&generate(1, 5_000));
    let names = [
        "open",
        "get",
        "put",
        "append",
        "delete",
        "get-many",
        "put-many",
        "update-many",
        "map-get",
        "map-put",
        "map-remove",
        "map-visit",
        "visit",
        "count",
        "snapshot",
        "finish",
        "cancel",
        "drop",
        "completed",
        "aborted",
        "restore",
    ];
    for name in names {
        let prefix = format!("{name} ");
        assert!(text.lines().any(|line| line.starts_with(&prefix)), "no {name}");
    }
}

#[test]
fn lines_that_are_no_operation_are_named() {
    let error = parse("# fine\n\nput value k1 n0 v1x1\nput value k1 n0\n").unwrap_err();
    assert_eq!(error.to_string(), "line 4: \"put value k1 n0\" is no operation");
    assert!(parse("count value extra").is_err());
    assert!(parse("update-many value k1:n0=z").is_err());
}

#[test]
fn shrinking_finds_the_operations_that_matter() {
    let ops = generate(5, 400);
    let wanted = [ops[17].clone(), ops[250].clone(), ops[399].clone()];
    let small = shrink(&ops, &mut |ops| {
        let mut rest = wanted.iter().peekable();
        for op in ops {
            rest.next_if(|wanted| *wanted == op);
        }
        rest.peek().is_none()
    });
    assert_eq!(small, wanted);
}
