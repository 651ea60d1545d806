//! Why a line does not parse.

/// Most characters of a value that a message shows.
const SHOWN_CHARS: usize = 80;

/// Why a line does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defect {
    /// The column.
    pub(crate) column: &'static str,
    /// What is wrong.
    pub(crate) reason: String,
}

impl Defect {
    /// `value` of `column` is not what was expected.
    pub(crate) fn new(column: &'static str, value: &[u8], expected: &str) -> Self {
        let text = String::from_utf8_lossy(value);
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        let more = if text.chars().count() > SHOWN_CHARS { "..." } else { "" };
        Self { column, reason: format!("{shown:?}{more} is not {expected}") }
    }
}
