//! A timeout for each record.

use std::path::Path;

use super::{Expected, ExpectedSink, all_rows, count};
use crate::error::{CliError, Result};
use crate::run::Generated;

/// Computes the rows of a generated input.
///
/// # Errors
/// If `input` does not name one.
pub(super) fn compute(input: &Path) -> Result<Expected> {
    let generated = match input.to_str().and_then(Generated::parse) {
        Some(Ok(generated)) => generated,
        Some(Err(wrong)) => return Err(CliError::Usage(wrong)),
        None => {
            let message = "the timeouts job is shown over a made-up input only".to_owned();
            return Err(CliError::new(message).advice("give --input generate:RECORDS:KEYS"));
        }
    };
    let rows = (0..generated.records).map(|index| {
        let (key, time) = generated.row(index);
        format!("{key},{}", time + 1_000 + key % 60_000)
    });
    let timeouts = ExpectedSink {
        folder: "timeouts",
        what: "timeouts",
        header: "key,due_ms",
        rows: count(rows),
        view: all_rows,
    };
    Ok(Expected { records: generated.records, sinks: vec![timeouts] })
}
