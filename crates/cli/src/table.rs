//! Tables for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A table with these column heads; columns named in `right` hold numbers.
pub(crate) fn table(heads: &[&str], right: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heads.iter().map(|head| head.to_uppercase()));
    for (index, head) in heads.iter().enumerate() {
        if let Some(column) = table.column_mut(index).filter(|_| right.contains(head)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A wall-clock time in UTC.
pub(crate) fn time(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{ms} ms"), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Milliseconds, as people read them.
pub(crate) fn millis(ms: u64) -> String {
    if ms < 10_000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1_000.0) }
}

/// A number with separators.
pub(crate) fn count(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

/// A size with its unit.
pub(crate) fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
