//! The timeouts job: a timer for each record.
//!
//! ```text
//! input -> parse -+-> timeouts     sets a timer, says it when it is due  -> DIR/timeouts
//!                 +-> dead_letter  (if asked for)                        -> FILE
//! ```
//!
//! A record's timer is due `1000 + key % 60000` ms of event time after it. Records of the same key
//! and time share one.

use millpond_runtime::sink::{PartFileFormat, PartFiles};
use millpond_runtime::{
    Collector, JobGraph, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result, Stream,
    Timer, Timestamp, TimestampOf,
};
use millpond_state::{At, TimeDomain};

use super::JobContext;
use super::bad_record::{BadRecords, Parsed};
use super::csv_row::CsvRow;
use super::defect::Defect;
use super::input::Line;

/// Folders of the output.
pub(crate) const SINKS: [&str; 1] = [TIMEOUTS];

const TIMEOUTS: &str = "timeouts";
const HEADER: &str = "key,time_ms";

/// Something happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    key: u64,
    at: Timestamp,
}

/// The timer of a contact was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout {
    key: u64,
    due_ms: i64,
}

/// Checks the first line of the input.
///
/// # Errors
/// What was expected and what was found.
pub(crate) fn check_header(line: &[u8]) -> std::result::Result<(), String> {
    let text = String::from_utf8_lossy(line);
    if text.trim_end() == HEADER {
        return Ok(());
    }
    let found: String = text.trim_end().chars().take(200).collect();
    Err(format!("line 1 must be the header {HEADER} but is {found:?}"))
}

fn parse_line(
    bad_records: &BadRecords,
    line: &Line,
    out: &mut dyn Collector<Parsed<Contact>>,
) -> Result<()> {
    let field = |text: Option<&str>| text.and_then(|it| it.parse::<u64>().ok());
    let text = std::str::from_utf8(&line.text).unwrap_or_default();
    let mut fields = text.split(',');
    let (key, time) = (field(fields.next()), field(fields.next()));
    let defect = match (key, time.and_then(|time| i64::try_from(time).ok()), fields.next()) {
        (Some(key), Some(ms), None) => {
            return out.emit(&Parsed::Good(Contact { key, at: Timestamp::from_ms(ms) }));
        }
        (None, ..) => Defect::new("key", &line.text, "a row that begins with a number"),
        _ => Defect::new("time_ms", &line.text, "a row of a key and a time in milliseconds"),
    };
    bad_records.handle(line, defect, out)
}

/// Sets a timer for each contact.
struct SetTimers;

impl KeyedOperator for SetTimers {
    type In = Contact;
    type Key = u64;
    type Out = Timeout;
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, _cx: &mut OpenContext<'_>) -> Result<()> {
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, Contact>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        for (contact, entry) in batch.records().zip(batch.entries()) {
            let patience = 1_000 + i64::try_from(contact.key % 60_000).unwrap_or(0);
            let due = contact.at.as_ms().saturating_add(patience);
            cx.timers().add(TimeDomain::Event, At::from_entry(*entry), due)?;
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: &Timer<u64>, cx: &mut OperatorContext<'_, Self>) -> Result<()> {
        cx.emit(&Timeout { key: timer.key()?, due_ms: timer.time_ms() })
    }
}

struct TimeoutRows;

impl PartFileFormat<Timeout> for TimeoutRows {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"key,due_ms\n"
    }

    fn append(&self, row: &Timeout, out: &mut Vec<u8>) -> Result<()> {
        CsvRow::new(out).number(row.key).number(row.due_ms).end();
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
) -> Result<Stream<Parsed<Contact>>> {
    let bad_records = cx.bad_records.clone();
    let make_parser = move |_| {
        let bad_records = bad_records.clone();
        Ok(move |line: Line, out: &mut dyn Collector<_>| parse_line(&bad_records, &line, out))
    };
    let time: TimestampOf<Parsed<Contact>> = |parsed| match parsed {
        Parsed::Good(contact) => Some(contact.at),
        Parsed::Bad(_) => None,
    };
    let project = |line: &Line| Some(line.clone());
    let parsed =
        graph.transform("parse", cx.parallelism, input, (project, Some(time), make_parser));
    let project = |parsed: &Parsed<Contact>| parsed.good();
    let key = |contact: &Contact| contact.key;
    let make = |_| Ok(SetTimers);
    let timeouts = graph.keyed(TIMEOUTS, cx.parallelism, &parsed, (project, key, make));
    graph.sink(&timeouts, TIMEOUTS, PartFiles::create(cx.output.join(TIMEOUTS), TimeoutRows)?);
    Ok(parsed)
}
