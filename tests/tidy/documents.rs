//! Rules about documents: links lead somewhere, and what is said twice is said alike.

use std::path::{Component, Path, PathBuf};

use crate::tree::{File, files, top};
use crate::{Violation, assert_none, assert_tidy, lines_found};

/// The targets of a line's links that are files: `](target)`.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

fn dead_links(file: &File) -> Vec<Violation> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for (line, text) in file.lines() {
        for target in link_targets(text).filter(|target| !exists(&folder.join(target))) {
            let what = format!("{target} is not there: correct the link");
            found.push(Violation::new(file, line, what));
        }
    }
    found
}

/// Whether the tree has a file or folder at `path`, which may go up but not out of the tree.
fn exists(path: &Path) -> bool {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir if inside.pop() => {}
            Component::CurDir => {}
            _ => return false,
        }
    }
    top().join(inside).exists()
}

/// The rows of the tables in the head of a module, without marks of footnotes.
fn table_rows(module: &str) -> Vec<(usize, String)> {
    let rows = (1..).zip(module.lines()).filter_map(|(line, text)| {
        let row = text.strip_prefix("//! ")?;
        row.starts_with("| ").then(|| (line, without_notes(row)))
    });
    rows.collect()
}

/// Drops ` (1)` to ` (9)`.
fn without_notes(row: &str) -> String {
    (1..=9).fold(row.to_owned(), |row, note| row.replace(&format!(" ({note})"), ""))
}

/// Rows of `module` that the document does not have word by word.
fn missing_rows(module: &File, document: &str) -> Vec<Violation> {
    let rows = table_rows(&module.text).into_iter();
    rows.filter(|(_, row)| !document.lines().any(|line| line == row))
        .map(|(line, row)| {
            let what =
                format!("docs/protocol.md does not have the row, bring it up to date: {row}");
            Violation::new(module, line, what)
        })
        .collect()
}

#[test]
fn links_lead_to_files() {
    assert_tidy(dead_links);
}

#[test]
fn a_dead_link_is_found() {
    let text = "[a](formats.md#b) [c](../README.md)\n[d](https://else.where)\n[e](gone.md)\n";
    assert_eq!(lines_found("docs/a.md", text, dead_links), [3]);
    assert_eq!(lines_found("README.md", "[f](../out.md)\n", dead_links), [1]);
}

#[test]
fn the_protocol_document_has_the_tables_of_the_state_machines() {
    let files = files();
    let text = |path: &str| files.iter().find(|file| file.path == path).unwrap();
    let document = &text("docs/protocol.md").text;
    for path in [
        "crates/checkpoint/src/coordinator/machine.rs",
        "crates/checkpoint/src/registry/mod.rs",
        "crates/runtime/src/barrier/align.rs",
    ] {
        let module = text(path);
        assert!(table_rows(&module.text).len() > 2, "{path} has no table any more");
        assert_none(&missing_rows(module, document));
    }
}

#[test]
fn a_row_that_the_document_lacks_is_found() {
    let module = File::new("a.rs", "//! | state | event |\n//! | idle | ignored (3) |\n");
    let document = "| state | event |\n| idle | abort |\n";
    let lines: Vec<usize> = missing_rows(&module, document).into_iter().map(|it| it.line).collect();
    assert_eq!(lines, [2]);
    assert_eq!(missing_rows(&module, &document.replace("abort", "ignored")), []);
}
