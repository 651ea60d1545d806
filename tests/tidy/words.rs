//! Rules about words and calls: what must not be written, and what to write instead.

use crate::tree::File;
use crate::{Violation, assert_tidy, lines_found};

/// Marks of unfinished work, which belong into the tracker. Put together here so that this file
/// does not have them.
const UNFINISHED: [&str; 7] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("to", "do!"),
    concat!("unimpl", "emented!"),
    concat!("db", "g!"),
];

/// Paths that exist on somebody's machine only.
const MACHINE_PATHS: [&str; 6] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("C:", "\\"),
    concat!("/tmp/", "target"),
];

/// Where `Cargo.lock` may say that a package comes from.
const PUBLIC_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Where unsafe code is allowed: where files are mapped, and where RocksDB's binding lacks a call.
const UNSAFE_ALLOWED: [&str; 2] = ["crates/fs/src/map.rs", "crates/rocksdb/src/native/sys.rs"];

/// Lines above an `unsafe` in which its `SAFETY:` comment must begin.
const SAFETY_LINES: usize = 6;

/// A call that library code must not make.
struct BannedCall {
    call: &'static str,
    instead: &'static str,
    /// Paths below which it is allowed all the same: where the replacement is made of it.
    allowed: &'static [&'static str],
}

const NATIVE_ENDIAN: &str = "to_le_bytes or from_le_bytes (_be_ for keys that must sort)";
const NO_STORE: &[&str] = &[
    "crates/state-folder/",
    "crates/storage/",
    "crates/cli/",
    "crates/fs/",
    "crates/rocksdb/",
    "crates/bench/",
    "crates/checkpoint/src/driver/local/",
    "crates/state/src/snapshot_files.rs",
];
const NO_CLOCK: &[&str] = &["crates/state/src/seam.rs"];
const NO_THREADS: &[&str] = &[
    "crates/runtime/src/threads.rs",
    "crates/checkpoint/src/driver/threads.rs",
    "crates/fs/src/workers.rs",
    "crates/rocksdb/src/buffer/workers.rs",
    "crates/testkit/",
    "crates/bench/",
];
/// Scoped threads end within the call that starts them, whose caller bounds their number.
const NO_SCOPES: &[&str] = &[
    "crates/runtime/src/threads.rs",
    "crates/checkpoint/src/driver/threads.rs",
    "crates/fs/src/restore_files.rs",
    "crates/rocksdb/src/native/fetch.rs",
    "crates/testkit/",
    "crates/bench/",
];

const BANNED_CALLS: [BannedCall; 14] = [
    BannedCall { call: "to_ne_bytes", instead: NATIVE_ENDIAN, allowed: &[] },
    BannedCall { call: "from_ne_bytes", instead: NATIVE_ENDIAN, allowed: &[] },
    BannedCall {
        call: "thread::spawn",
        instead: "the runtime's threads module",
        allowed: NO_THREADS,
    },
    BannedCall {
        call: "thread::Builder",
        instead: "the runtime's threads module",
        allowed: NO_THREADS,
    },
    BannedCall {
        call: "thread::scope",
        instead: "the runtime's threads module",
        allowed: NO_SCOPES,
    },
    BannedCall { call: "Instant::now", instead: "millpond_state::seam::Clock", allowed: NO_CLOCK },
    BannedCall {
        call: "SystemTime::now",
        instead: "millpond_state::seam::Clock",
        allowed: NO_CLOCK,
    },
    BannedCall { call: "std::fs", instead: "a Store (millpond-storage)", allowed: NO_STORE },
    BannedCall { call: "std::net", instead: "a Store (millpond-storage)", allowed: NO_STORE },
    BannedCall { call: "static mut", instead: "an argument: there are no globals", allowed: &[] },
    BannedCall {
        call: "thread_local!",
        instead: "an argument: there are no globals",
        // Stores are shared by threads; the simulation that they reach is of one.
        allowed: &["crates/sim/src/world.rs"],
    },
    BannedCall { call: "process::exit", instead: "an error", allowed: &["crates/cli/"] },
    BannedCall {
        call: "mem::forget",
        instead: "ManuallyDrop with a reason, or a drop",
        allowed: &[],
    },
    BannedCall {
        call: "#[allow(",
        instead: "#[expect(lint, reason = ...)], so that a stale exception is reported",
        allowed: &[],
    },
];

/// Whether `line` has `word` as a word of its own.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |char: char| char.is_alphanumeric() || char == '_';
    let ends_in_word = word.ends_with(part_of_word);
    line.match_indices(word).any(|(at, _)| {
        let inside = line[..at].ends_with(part_of_word);
        let goes_on = ends_in_word && line[at + word.len()..].starts_with(part_of_word);
        !(inside || goes_on)
    })
}

fn unfinished(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, text) in file.lines() {
        for word in UNFINISHED.iter().filter(|word| has_word(text, word)) {
            let what = format!("{word}: finish it, or open an issue and remove the mark");
            found.push(Violation::new(file, line, what));
        }
    }
    found
}

fn ignored_tests(file: &File) -> Vec<Violation> {
    file.code_lines()
        .filter(|(_, line)| line.contains("#[ignore"))
        .map(|(line, _)| {
            Violation::new(file, line, "a test that never runs: make it run, or delete it")
        })
        .collect()
}

fn banned_calls(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    let open = |call: &&BannedCall| !call.allowed.iter().any(|path| file.path.starts_with(path));
    let calls: Vec<&BannedCall> = BANNED_CALLS.iter().filter(open).collect();
    for (line, text) in file.library_lines() {
        for call in calls.iter().filter(|call| has_word(text, call.call)) {
            let what = format!("{} is not for library code: use {}", call.call, call.instead);
            found.push(Violation::new(file, line, what));
        }
    }
    found
}

fn unsafe_code(file: &File, allowed: &[&str]) -> Vec<Violation> {
    let Some(lexed) = &file.rust else { return Vec::new() };
    let comments: Vec<&str> = lexed.comments.lines().collect();
    let mut found = Vec::new();
    for (line, _) in file.code_lines().filter(|(_, text)| has_word(text, "unsafe")) {
        if !allowed.contains(&file.path.as_str()) {
            found.push(Violation::new(file, line, "unsafe is not allowed in this file"));
            continue;
        }
        let above = comments[line.saturating_sub(SAFETY_LINES + 1)..line].iter();
        if !above.into_iter().any(|comment| comment.contains("SAFETY:")) {
            let what = "unsafe without a SAFETY: comment above it: say why it is sound";
            found.push(Violation::new(file, line, what));
        }
    }
    found
}

fn machine_paths(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, text) in file.lines() {
        for path in MACHINE_PATHS.iter().filter(|path| has_path(text, path)) {
            let what = format!("{path} is a path of one machine: write a relative one");
            found.push(Violation::new(file, line, what));
        }
    }
    found
}

/// Whether an absolute path begins here, rather than a relative one going on.
fn has_path(line: &str, path: &str) -> bool {
    let goes_on = |char: char| char.is_alphanumeric() || "_-.)}/".contains(char);
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(goes_on))
}

fn foreign_registries(file: &File) -> Vec<Violation> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if !matches!(name, "Cargo.lock" | "Cargo.toml" | "config.toml") {
        return Vec::new();
    }
    let is_foreign = |line: &str| match line.strip_prefix("source = ") {
        Some(source) => source.trim_matches('"') != PUBLIC_REGISTRY,
        None => {
            let line = line.trim_start();
            line.starts_with("[source") || line.starts_with("[registr") || line.contains("git = ")
        }
    };
    file.lines()
        .filter(|(_, line)| is_foreign(line))
        .map(|(line, _)| {
            Violation::new(
                file,
                line,
                "packages come from the public registry, and only from there",
            )
        })
        .collect()
}

#[test]
fn nothing_is_marked_as_unfinished() {
    assert_tidy(unfinished);
}

#[test]
fn every_mark_of_unfinished_work_is_found() {
    for word in UNFINISHED {
        let text = format!("fine\n// {word} later\n");
        assert_eq!(lines_found("crates/x/src/a.rs", &text, unfinished), [2], "{word}");
    }
    let other = format!("{}S_{}\n", UNFINISHED[0], UNFINISHED[1]);
    assert_eq!(lines_found("docs/a.md", &other, unfinished), []);
}

#[test]
fn every_test_runs() {
    assert_tidy(ignored_tests);
}

#[test]
fn a_test_that_never_runs_is_found() {
    let text = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n// #[ignore]\n";
    assert_eq!(lines_found("crates/x/tests/it/a.rs", text, ignored_tests), [2]);
}

#[test]
fn library_code_reaches_for_nothing_it_should_be_given() {
    assert_tidy(banned_calls);
}

#[test]
fn every_banned_call_is_found_in_library_code_and_nowhere_else() {
    for banned in &BANNED_CALLS {
        let call = banned.call;
        let text = format!("// {call}\nlet a = \"{call}\";\n    {call}(b)\n");
        assert_eq!(lines_found("crates/x/src/a.rs", &text, banned_calls), [3], "{call}");
        assert_eq!(lines_found("crates/x/tests/it/a.rs", &text, banned_calls), [], "{call}");
        for path in banned.allowed {
            assert_eq!(lines_found(path, &text, banned_calls), [], "{call}");
        }
    }
}

#[test]
fn unsafe_code_is_where_it_may_be_and_says_why_it_is_sound() {
    assert_tidy(|file| unsafe_code(file, &UNSAFE_ALLOWED));
}

#[test]
fn unsafe_code_in_the_wrong_place_or_without_a_reason_is_found() {
    let text = "// unsafe\n#![forbid(unsafe_code)]\nunsafe { a() }\n";
    let path = "crates/fs/src/map.rs";
    let rule = |allowed: &'static [&'static str]| move |file: &File| unsafe_code(file, allowed);
    assert_eq!(lines_found(path, text, rule(&[])), [3]);
    assert_eq!(lines_found(path, text, rule(&["crates/fs/src/map.rs"])), [3]);
    let sound = "// SAFETY: the file is never cut.\nunsafe { a() }\n";
    assert_eq!(lines_found(path, sound, rule(&["crates/fs/src/map.rs"])), []);
    assert_eq!(lines_found(path, sound, rule(&[])), [2]);
}

#[test]
fn files_name_no_place_on_one_machine() {
    assert_tidy(machine_paths);
}

#[test]
fn every_path_of_one_machine_is_found_and_relative_ones_are_not() {
    for path in MACHINE_PATHS {
        let text = format!("run {path}x\n");
        assert_eq!(lines_found("docs/a.md", &text, machine_paths), [1], "{path}");
    }
    let relative = format!("..{}x and host{}x\n", MACHINE_PATHS[2], MACHINE_PATHS[0]);
    assert_eq!(lines_found("docs/a.md", &relative, machine_paths), []);
}

#[test]
fn packages_come_from_the_public_registry() {
    assert_tidy(foreign_registries);
}

#[test]
fn a_package_from_elsewhere_is_found() {
    let lock =
        format!("source = \"{PUBLIC_REGISTRY}\"\nsource = \"registry+https://else.where\"\n");
    assert_eq!(lines_found("Cargo.lock", &lock, foreign_registries), [2]);
    let manifest = "[dependencies]\na = { git = \"https://else.where\" }\n";
    assert_eq!(lines_found("crates/x/Cargo.toml", manifest, foreign_registries), [2]);
    let config = "[source.crates-io]\nreplace-with = \"b\"\n";
    assert_eq!(lines_found(".cargo/config.toml", config, foreign_registries), [1]);
}
