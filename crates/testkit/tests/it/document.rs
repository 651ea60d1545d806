//! `docs/conformance.md` says what the code says: which behaviours guard which requirement, and
//! which backends, broken on purpose, they catch.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use millpond_testkit::conformance::backend::{BEHAVIOURS, REQUIREMENTS};

use crate::mutants::{CAUGHT_BY, OPERATOR_CAUGHT_BY};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conformance.md");
const BEGIN: &str = "<!-- generated from here on -->\n";

/// By behaviour, what was broken when it was seen to fail.
fn mutants() -> BTreeMap<&'static str, Vec<String>> {
    let mut mutants: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let backends = CAUGHT_BY.iter().map(|(fault, names)| (fault.words(), names));
    let paths = OPERATOR_CAUGHT_BY.iter().map(|(fault, names)| (fault.words(), names));
    for (words, names) in backends.chain(paths) {
        for name in *names {
            let caught = mutants.entry(name).or_default();
            if !caught.contains(&words) {
                caught.push(words.clone());
            }
        }
    }
    mutants
}

/// The other way round, in order of words.
fn by_fault() -> BTreeMap<String, Vec<&'static str>> {
    let mut faults: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, broken) in mutants() {
        for words in broken {
            faults.entry(words).or_default().push(name);
        }
    }
    faults
}

fn generated() -> String {
    let mutants = mutants();
    let mut text = String::new();
    let broken: std::collections::BTreeSet<&String> = mutants.values().flatten().collect();
    writeln!(
        text,
        "{} behaviours, {} ways to break them on purpose.\n",
        BEHAVIOURS.len(),
        broken.len()
    )
    .unwrap();
    let ours = "what this contract promises beyond the numbered requirements";
    let requirements = REQUIREMENTS.iter().map(|r| (r.id, r.what, r.note));
    for (id, what, note) in requirements.chain([("ours", ours, "")]) {
        writeln!(text, "## {id}: {what}\n").unwrap();
        if !note.is_empty() {
            writeln!(text, "Note: {note}.\n").unwrap();
        }
        text.push_str("| behaviour | caught when |\n|---|---|\n");
        for behaviour in BEHAVIOURS.iter().filter(|b| b.guards.contains(&id)) {
            let caught = mutants.get(behaviour.name).map(|words| words.join("; "));
            writeln!(text, "| `{}` | {} |", behaviour.name, caught.unwrap_or_default()).unwrap();
        }
        text.push('\n');
    }
    text.push_str("## What was broken, and what caught it\n\n| broken | caught by |\n|---|---|\n");
    for (words, names) in by_fault() {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        writeln!(text, "| {words} | {} |", names.join(", ")).unwrap();
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[test]
fn every_requirement_has_behaviours_and_every_behaviour_guards_something_known() {
    for (index, requirement) in REQUIREMENTS.iter().enumerate() {
        assert_eq!(requirement.id, format!("B-{}", index + 1));
        let guarded = BEHAVIOURS.iter().any(|b| b.guards.contains(&requirement.id));
        assert!(guarded, "nothing guards {}", requirement.id);
    }
    assert_eq!(REQUIREMENTS.len(), 24);
    for behaviour in BEHAVIOURS {
        assert!(!behaviour.guards.is_empty(), "{} guards nothing", behaviour.name);
        for guard in behaviour.guards {
            let known = *guard == "ours" || REQUIREMENTS.iter().any(|r| r.id == *guard);
            assert!(known, "{} guards {guard}", behaviour.name);
        }
    }
}

#[test]
fn every_requirement_has_a_broken_backend_that_is_caught() {
    let mutants = mutants();
    for requirement in REQUIREMENTS {
        let mut own = BEHAVIOURS.iter().filter(|b| b.guards.contains(&requirement.id));
        let caught = own.any(|b| mutants.contains_key(b.name));
        assert!(caught, "no broken backend for {}", requirement.id);
    }
}

/// Set `BLESS` to write the document anew.
#[test]
fn the_document_has_the_table_that_the_code_gives() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (head, tables) = document.split_once(BEGIN).expect("the mark where tables begin");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(DOCUMENT, format!("{head}{BEGIN}\n{}", generated())).unwrap();
        return;
    }
    let expected = format!("\n{}", generated());
    assert!(tables == expected, "docs/conformance.md is out of date: run this test with BLESS=1");
}
