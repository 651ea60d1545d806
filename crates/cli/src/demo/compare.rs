//! The committed output against what it must be, as multisets of rows over all part files.

use std::fmt;
use std::path::Path;

use super::reference::{Expected, Rows};
use crate::error::{CliError, Result};

/// How an output differs from what it must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Rows that are missing.
    pub(crate) lost: u64,
    /// Rows that are there more often than they must be.
    pub(crate) duplicated: u64,
    /// Rows that must not be there at all.
    pub(crate) wrong: u64,
}

impl Difference {
    /// Whether there is none.
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Adds another difference.
    pub(super) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.wrong += other.wrong;
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost {}, duplicated {}, wrong {}", self.lost, self.duplicated, self.wrong)
    }
}

/// Compares what is committed in `output`.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn compare(expected: &Expected, output: &Path) -> Result<Difference> {
    let mut total = Difference::default();
    for sink in &expected.sinks {
        let found = (sink.view)(read(&output.join(sink.folder), sink.header)?);
        total.add(compare_rows(&sink.rows, &found));
    }
    Ok(total)
}

fn compare_rows(expected: &Rows, found: &Rows) -> Difference {
    let mut difference = Difference::default();
    for (row, count) in expected {
        difference.lost += count.saturating_sub(found.get(row).copied().unwrap_or(0));
    }
    for (row, count) in found {
        match expected.get(row) {
            Some(wanted) => difference.duplicated += count.saturating_sub(*wanted),
            None => difference.wrong += count,
        }
    }
    difference
}

/// The rows of all files with a name that consumers look at.
fn read(folder: &Path, header: &str) -> Result<Rows> {
    let failed = |error| CliError::from(error).context(folder.display());
    let mut rows = Rows::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|it| it != "csv") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let mut lines = text.lines();
        if lines.next() != Some(header) {
            return Err(CliError::new(format!("{} lacks its header", path.display())));
        }
        for line in lines {
            *rows.entry(line.to_owned()).or_default() += 1;
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_duplicated_and_wrong_rows_are_told_apart() {
        let rows = |rows: &[(&str, u64)]| -> Rows {
            rows.iter().map(|(row, count)| ((*row).to_owned(), *count)).collect()
        };
        let expected = rows(&[("a", 1), ("b", 2), ("c", 1)]);
        assert!(compare_rows(&expected, &expected).is_none());
        let found = rows(&[("a", 3), ("b", 1), ("d", 4)]);
        let difference = compare_rows(&expected, &found);
        assert_eq!(difference, Difference { lost: 2, duplicated: 2, wrong: 4 });
    }
}
