//! The queries of NEXMark: the event streams of an auction site, joined, counted and ranked.
//!
//! ```text
//! input -> (stages of the query) -> q3, q4, ... -> DIR/q3, DIR/q4, ...
//! ```
//!
//! People, auctions and bids are one stream, of which each query takes what it needs. No event is
//! late: the source knows how far event time has come. So every result but that of q12, which goes
//! by the clock, follows from the events alone, whatever the parallelism and however often the job
//! is killed.

mod count;
mod event;
mod q3;
mod q4;
mod q5;
mod q7;
mod q8;
mod top;
mod users;

use millpond_runtime::sink::PartFileFormat;
use millpond_runtime::{JobGraph, Result};

use super::input::{EventSource, JobInput, NexmarkEvents, NexmarkInput, SPLITS};
use super::progress::Progress;
use super::{CsvRow, Event, JobContext, RunnableJob, SOURCE};
use crate::args::{NexmarkArgs, NexmarkQuery, OnBadRecord};
use crate::console;
use crate::demo::{Expected, compare};
use crate::error::CliError;

/// Length of a window, and of the silence that ends a session.
const WINDOW_MS: i64 = 10_000;

/// Opens a query.
pub(super) fn open(args: &NexmarkArgs) -> impl RunnableJob {
    let input = NexmarkInput::new(NexmarkEvents::of(args));
    NexmarkRun { query: args.query, input, check: args.check }
}

struct NexmarkRun {
    query: NexmarkQuery,
    input: NexmarkInput,
    check: bool,
}

impl RunnableJob for NexmarkRun {
    fn name(&self) -> &'static str {
        self.query.job()
    }

    fn sinks(&self) -> &'static [&'static str] {
        match self.query {
            NexmarkQuery::Q3 => &["q3"],
            NexmarkQuery::Q4 => &["q4"],
            NexmarkQuery::Q5 => &["q5"],
            NexmarkQuery::Q7 => &["q7"],
            NexmarkQuery::Q8 => &["q8"],
            NexmarkQuery::Q11 => &["q11"],
            NexmarkQuery::Q12 => &["q12"],
        }
    }

    fn input(&self) -> &dyn JobInput {
        &self.input
    }

    fn on_bad_record(&self) -> OnBadRecord {
        OnBadRecord::Fail
    }

    fn check_input(&self) -> Result<(), CliError> {
        Ok(())
    }

    fn build(&self, graph: &mut JobGraph, cx: &JobContext) -> Result<(), CliError> {
        let (input, pace) = (self.input.clone(), cx.pace.clone());
        let subtasks = cx.parallelism.min(SPLITS as u32);
        let events = graph.source(SOURCE, subtasks, move |subtask| {
            let throttle = pace.throttle(subtask.parallelism);
            let place = (subtask.index, subtask.parallelism);
            Ok(EventSource::new(input.clone(), throttle, place))
        });
        match self.query {
            NexmarkQuery::Q3 => q3::build(graph, &events, cx)?,
            NexmarkQuery::Q4 => q4::build(graph, &events, cx)?,
            NexmarkQuery::Q5 => q5::build(graph, &events, cx)?,
            NexmarkQuery::Q7 => q7::build(graph, &events, cx)?,
            NexmarkQuery::Q8 => q8::build(graph, &events, cx)?,
            NexmarkQuery::Q11 => users::build_q11(graph, &events, cx)?,
            NexmarkQuery::Q12 => users::build_q12(graph, &events, cx)?,
        }
        Ok(())
    }

    fn check_output(&self, cx: &JobContext, progress: &Progress) -> Result<(), CliError> {
        if !self.check {
            return Ok(());
        }
        let expected = Expected::of_query(self.query, self.input.events());
        let difference = compare(&expected, &cx.output)?;
        if progress.is_json() {
            let (lost, duplicated) = (difference.lost, difference.duplicated);
            progress.tell(&Event::Checked { lost, duplicated, wrong: difference.wrong });
        } else {
            console::print(&format!("  checked against a plain computation: {difference}"))?;
        }
        if difference.is_none() {
            return Ok(());
        }
        Err(CliError::new(format!("the output differs from a plain computation: {difference}")))
    }
}

/// Rows of comma-separated values: a header, and how a record becomes a row.
struct Rows<T> {
    header: &'static str,
    append: fn(&T, CsvRow<'_>),
}

impl<T> PartFileFormat<T> for Rows<T> {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        self.header.as_bytes()
    }

    fn append(&self, row: &T, out: &mut Vec<u8>) -> Result<()> {
        (self.append)(row, CsvRow::new(out));
        Ok(())
    }
}
