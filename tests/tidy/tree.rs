//! The files that rules look at: the text files of the tree, without what builds leave behind.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lexer::Lexed;

/// Folders that are not part of the project's source, wherever they are.
const SKIPPED_FOLDERS: [&str; 6] = ["target", ".git", "artifacts", "corpus", "data", "golden"];

/// Extensions of the text files that are looked at, and names of those without.
const EXTENSIONS: [&str; 7] = ["rs", "md", "toml", "yml", "yaml", "sh", "lock"];
const NAMES: [&str; 3] = ["Makefile", "run", ".gitignore"];

/// A text file of the tree.
pub(crate) struct File {
    /// Path relative to the top, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// For Rust files, the text with comments and literals told apart.
    pub(crate) rust: Option<Lexed>,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let rust = path.ends_with(".rs").then(|| Lexed::new(text));
        Self { path: path.to_owned(), text: text.to_owned(), rust }
    }

    /// Lines of text, numbered from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Lines of a Rust file without comments and literals; none for other files.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.rust.iter().flat_map(|lexed| lexed.code.lines()))
    }

    /// Whether the whole file is there to test or measure, or an example.
    pub(crate) fn is_test(&self) -> bool {
        let part = |name: &str| self.path.split('/').any(|part| part == name);
        ["tests", "benches", "examples", "fuzz", "tests.rs"].into_iter().any(part)
    }

    /// The first line of a trailing `#[cfg(test)] mod`, or the line after the last.
    pub(crate) fn tests_start(&self) -> usize {
        let lines: Vec<(usize, &str)> = self.code_lines().collect();
        let starts = |pair: &&[(usize, &str)]| {
            pair[0].1.trim() == "#[cfg(test)]" && pair[1].1.trim_start().starts_with("mod ")
        };
        let start = lines.windows(2).filter(|pair| pair[1].1.ends_with('{')).find(starts);
        start.map_or(lines.len() + 1, |pair| pair[0].0)
    }

    /// Lines of code that ship: neither a test file nor a trailing test module.
    pub(crate) fn library_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = if self.is_test() { 0 } else { self.tests_start() };
        self.code_lines().filter(move |(line, _)| *line < end)
    }
}

/// The top of the tree.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All text files, sorted by path.
pub(crate) fn files() -> Vec<File> {
    let mut files = Vec::new();
    collect(&top(), "", &mut files);
    assert!(files.len() > 100, "the walk found {} files: it looks in the wrong place", files.len());
    files
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file() && is_text(&name) {
            // Another process may be saving the file at this moment.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                files.push(File::new(&path, &text));
            }
        }
    }
}

fn is_text(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    NAMES.contains(&name) || extension.is_some_and(|it| EXTENSIONS.contains(&it))
}

#[test]
fn the_walk_finds_source_documents_and_manifests_but_no_build_output() {
    let files = files();
    let has = |path: &str| files.iter().any(|file| file.path == path);
    for path in ["Cargo.toml", "Makefile", ".ci/run", "README.md", "crates/state/src/lib.rs"] {
        assert!(has(path), "{path} is missing");
    }
    assert!(!files.iter().any(|file| file.path.split('/').any(|part| part == "target")));
}

#[test]
fn a_trailing_test_module_is_not_library_code() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    let file = File::new("crates/state/src/x.rs", text);
    let lines: Vec<usize> = file.library_lines().map(|(line, _)| line).collect();
    assert_eq!(lines, [1]);
    let named = File::new("crates/state/src/x/tests.rs", "fn a() {}\n");
    assert_eq!(named.library_lines().count(), 0);
    let sibling = File::new("crates/state/src/x.rs", "#[cfg(test)]\nmod tests;\n");
    assert_eq!(sibling.library_lines().count(), 2);
}
