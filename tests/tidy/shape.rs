//! Rules about shape: sizes, characters, heads of files.

use crate::tree::File;
use crate::{Violation, assert_tidy, lines_found};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
const LINE_CHARS_MAX: usize = 100;

/// A function in a Rust file.
struct Function {
    name: String,
    first_line: usize,
    lines: usize,
}

/// The functions of a file with their length from signature to closing brace.
fn functions(file: &File) -> Vec<Function> {
    let Some(lexed) = &file.rust else { return Vec::new() };
    let code = &lexed.code;
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let in_word = code[..at].ends_with(|char: char| char.is_alphanumeric() || char == '_');
        let name = code[at + 3..].split(|char: char| !char.is_alphanumeric() && char != '_');
        let name = name.into_iter().next().unwrap_or_default();
        if in_word || name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(&code[at..]) {
            let first_line = code[..at].matches('\n').count() + 1;
            let lines = code[at..at + end].matches('\n').count() + 1;
            found.push(Function { name: name.to_owned(), first_line, lines });
        }
    }
    found
}

/// Where the body that follows a signature ends; `None` for a declaration without one.
fn body_end(code: &str) -> Option<usize> {
    // Brackets in signatures nest no braces but those of const generics, which the tree has not.
    let mut brackets = 0_i32;
    let mut depth = 0_usize;
    for (at, char) in code.char_indices() {
        match char {
            '(' | '[' if depth == 0 => brackets += 1,
            ')' | ']' if depth == 0 => brackets -= 1,
            ';' if depth == 0 && brackets == 0 => return None,
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

fn long_functions(file: &File) -> Vec<Violation> {
    let long = functions(file).into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
    long.map(|function| {
        let Function { name, first_line, lines } = function;
        let what = format!(
            "fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX} are allowed: split it"
        );
        Violation::new(file, first_line, what)
    })
    .collect()
}

fn long_files(file: &File) -> Vec<Violation> {
    let lines = if file.is_test() || file.rust.is_none() { 0 } else { file.tests_start() - 1 };
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let what =
        format!("{lines} lines without tests, at most {FILE_LINES_MAX} are allowed: split it");
    vec![Violation::new(file, 0, what)]
}

fn long_lines(file: &File) -> Vec<Violation> {
    let Some(_) = &file.rust else { return Vec::new() };
    // A row of a table in documentation cannot be broken, nor can an address.
    let unbreakable = |line: &str| {
        let line = line.trim_start();
        line.starts_with("//! |") || line.starts_with("/// |") || line.contains("://")
    };
    file.lines()
        .filter(|(_, line)| line.chars().count() > LINE_CHARS_MAX && !unbreakable(line))
        .map(|(line, _)| {
            let what = format!("longer than {LINE_CHARS_MAX} characters: break it");
            Violation::new(file, line, what)
        })
        .collect()
}

fn other_characters(file: &File) -> Vec<Violation> {
    let Some(_) = &file.rust else { return Vec::new() };
    file.lines()
        .filter_map(|(line, text)| Some((line, text.chars().find(|char| !char.is_ascii())?)))
        .map(|(line, char)| {
            let what = format!("{char:?} is not ASCII: write it out, or escape it in a literal");
            Violation::new(file, line, what)
        })
        .collect()
}

fn missing_heads(file: &File) -> Vec<Violation> {
    let Some(_) = &file.rust else { return Vec::new() };
    if file.text.starts_with("//!") {
        return Vec::new();
    }
    let what = "does not begin with //!: say what the module is for, its invariants, how it fails";
    vec![Violation::new(file, 1, what)]
}

fn headings(file: &File) -> Vec<Violation> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let mut fenced = false;
    let mut tops = Vec::new();
    for (line, text) in file.lines() {
        if text.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && text.starts_with("# ") {
            tops.push(line);
        }
    }
    match tops.as_slice() {
        [_] => Vec::new(),
        [] => vec![Violation::new(file, 0, "has no heading of first level: give it one")],
        [_, more @ ..] => more
            .iter()
            .map(|line| {
                let what = "a second heading of first level: lower it, or split the document";
                Violation::new(file, *line, what)
            })
            .collect(),
    }
}

fn trailing_space(file: &File) -> Vec<Violation> {
    file.lines()
        .filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
        .map(|(line, _)| Violation::new(file, line, "space at the end of the line: remove it"))
        .collect()
}

#[test]
fn functions_are_short() {
    assert_tidy(long_functions);
}

#[test]
fn a_long_function_is_found_and_a_long_one_in_a_comment_or_literal_is_not() {
    let body = "    let _ = 1;\n".repeat(FUNCTION_LINES_MAX - 2);
    let fits =
        format!("trait T {{\n    fn declared(&self) -> [u8; 2];\n}}\nfn fits() {{\n{body}}}\n");
    assert_eq!(lines_found("crates/x/src/a.rs", &fits, long_functions), []);
    let long = format!("\nfn long<T>(\n    a: [u8; 4],\n) where T: Fn() {{\n{body}}}\n");
    assert_eq!(lines_found("crates/x/src/a.rs", &long, long_functions), [2]);
    let method =
        format!("impl A {{\n    fn long(&self) {{\n        if a {{ b(\"}}\") }}\n{body}}}\n}}\n");
    assert_eq!(lines_found("crates/x/src/a.rs", &method, long_functions), [2]);
    let quoted = format!("const A: &str = \"\nfn long() {{\n{body}\n\n}}\n\";\n");
    assert_eq!(lines_found("crates/x/src/a.rs", &quoted, long_functions), []);
}

#[test]
fn files_are_short() {
    assert_tidy(long_files);
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let code = "fn a() {}\n".repeat(FILE_LINES_MAX);
    let tests = "#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    let path = "crates/x/src/a.rs";
    assert_eq!(lines_found(path, &format!("{code}{tests}"), long_files), []);
    assert_eq!(lines_found(path, &format!("{code}fn c() {{}}\n{tests}"), long_files), [0]);
}

#[test]
fn lines_are_short() {
    assert_tidy(long_lines);
}

#[test]
fn a_long_line_is_found_but_in_a_table_of_documentation() {
    let words = "x ".repeat(LINE_CHARS_MAX / 2);
    let text = format!("//! {words}\n//! | {words}|\n{}\n", &words[..LINE_CHARS_MAX]);
    assert_eq!(lines_found("crates/x/src/a.rs", &text, long_lines), [1]);
}

#[test]
fn source_is_ascii() {
    assert_tidy(other_characters);
}

#[test]
fn a_character_beyond_ascii_is_found() {
    let text = "// plain\nlet a = \"\u{e4}\";\n";
    assert_eq!(lines_found("crates/x/src/a.rs", text, other_characters), [2]);
}

#[test]
fn modules_say_what_they_are_for() {
    assert_tidy(missing_heads);
}

#[test]
fn a_module_without_a_head_is_found() {
    assert_eq!(lines_found("crates/x/src/a.rs", "use core::fmt;\n", missing_heads), [1]);
    assert_eq!(lines_found("crates/x/src/a.rs", "//! Text.\n", missing_heads), []);
}

#[test]
fn documents_have_one_heading_of_first_level() {
    assert_tidy(headings);
}

#[test]
fn a_document_with_two_titles_or_none_is_found() {
    let two = "# A\n\n```sh\n# a comment\n```\n\n# B\n";
    assert_eq!(lines_found("docs/a.md", two, headings), [7]);
    assert_eq!(lines_found("docs/a.md", "## A\n", headings), [0]);
    assert_eq!(lines_found("docs/a.md", "# A\n## B\n", headings), []);
}

#[test]
fn lines_do_not_end_in_space() {
    assert_tidy(trailing_space);
}

#[test]
fn space_at_the_end_of_a_line_is_found() {
    assert_eq!(lines_found("docs/a.md", "a\nb \nc\n", trailing_space), [2]);
}
