//! The house style, as far as a script can check it. Each rule is a test of its own that walks the
//! tree and names every place with what to do about it; next to it a test shows that the rule does
//! find what it is for.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is all test: a panic is how it reports"
)]

#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/words.rs"]
mod words;

use std::fmt;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    /// Path relative to the top of the tree.
    file: String,
    /// Line from 1; 0 for the file as a whole.
    line: usize,
    /// What is wrong and what to do.
    what: String,
}

impl Violation {
    fn new(file: &tree::File, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.path.clone(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Checks every file of the tree by `rule` and fails with all violations.
fn assert_tidy(rule: impl Fn(&tree::File) -> Vec<Violation>) {
    let violations: Vec<Violation> = tree::files().iter().flat_map(rule).collect();
    assert_none(&violations);
}

fn assert_none(violations: &[Violation]) {
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} places to tidy up:\n{}\n", list.len(), list.join("\n"));
}

/// The lines at which `rule` finds fault with a file made up for the purpose.
fn lines_found(path: &str, text: &str, rule: impl Fn(&tree::File) -> Vec<Violation>) -> Vec<usize> {
    rule(&tree::File::new(path, text)).into_iter().map(|violation| violation.line).collect()
}
