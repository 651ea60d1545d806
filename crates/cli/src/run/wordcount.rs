//! The wordcount job.
//!
//! ```text
//! input -> split -+-> words        counts by word  -> DIR/words
//!                 +-> dead_letter  (if asked for)  -> FILE
//! ```
//!
//! A word is a maximal run of alphanumeric characters (as Unicode has them), in lower case. A line
//! that is not UTF-8 is a bad record.

use millpond_runtime::sink::{PartFileFormat, PartFiles};
use millpond_runtime::{Collector, JobGraph, Result, Stream};
use millpond_state::record;

use super::JobContext;
use super::bad_record::Parsed;
use super::csv_row::CsvRow;
use super::defect::Defect;
use super::input::Line;
use super::totals::{Keyed, Totals};

/// Folders of the output.
pub(crate) const SINKS: [&str; 1] = [WORDS];

const WORDS: &str = "words";

/// How often a word occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WordCount {
    count: u64,
}
record!(WordCount, version 1, { count: u64 });

struct WordRows;

impl PartFileFormat<Keyed<WordCount>> for WordRows {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"word,count\n"
    }

    fn append(&self, row: &Keyed<WordCount>, out: &mut Vec<u8>) -> Result<()> {
        CsvRow::new(out).text(row.key.as_bytes()).number(row.amount.count).end();
        Ok(())
    }
}

/// Adds the job's vertices behind its source; returns the stream that carries bad records.
///
/// # Errors
/// If the output folder cannot be made.
pub(crate) fn build(
    graph: &mut JobGraph,
    input: &Stream<Line>,
    cx: &JobContext,
) -> Result<Stream<Parsed<String>>> {
    let bad_records = cx.bad_records.clone();
    let make_splitter = move |_| {
        let bad_records = bad_records.clone();
        Ok(move |line: Line, out: &mut dyn Collector<Parsed<String>>| {
            match std::str::from_utf8(&line.text) {
                Ok(text) => words(text).try_for_each(|word| out.emit(&Parsed::Good(word))),
                Err(_) => {
                    let defect = Defect::new("text", &line.text, "UTF-8 text");
                    bad_records.handle(&line, defect, out)
                }
            }
        })
    };
    let project = |line: &Line| Some(line.clone());
    let split = graph.transform("split", cx.parallelism, input, (project, None, make_splitter));
    let project = |word: &Parsed<String>| {
        word.good().map(|key| Keyed { key, amount: WordCount { count: 1 } })
    };
    let key = |record: &Keyed<WordCount>| record.key.clone();
    let add = |a: WordCount, b: WordCount| WordCount { count: a.count.saturating_add(b.count) };
    let make = move |_| Ok(Totals::new("counts", add));
    let counts = graph.keyed(WORDS, cx.parallelism, &split, (project, key, make));
    graph.sink(&counts, WORDS, PartFiles::create(cx.output.join(WORDS), WordRows)?);
    Ok(split)
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|it| !it.is_empty()).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_alphanumeric_characters_in_lower_case() {
        let found: Vec<String> = words("The mill-pond's 2nd \u{c9}T\u{c9}...").collect();
        assert_eq!(found, ["the", "mill", "pond", "s", "2nd", "\u{e9}t\u{e9}"]);
    }
}
