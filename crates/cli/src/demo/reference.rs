//! What the output must be: one plain pass over the input, written without anything of the jobs
//! but the input that is made up.

mod aircraft_days;
mod flights;
mod nexmark;
mod timeouts;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::args::{DemoJob, NexmarkQuery};
use crate::error::{CliError, Result};
use crate::run::NexmarkEvents;

/// Rows with the number of times each occurs.
pub(super) type Rows = HashMap<String, u64>;

/// The output of a run that loses and duplicates nothing.
#[derive(Debug)]
pub(crate) struct Expected {
    /// Rows of the input.
    pub(super) records: u64,
    /// What each sink must hold.
    pub(super) sinks: Vec<ExpectedSink>,
}

/// What one sink must hold.
#[derive(Debug)]
pub(super) struct ExpectedSink {
    /// Its folder within the output.
    pub(super) folder: &'static str,
    /// What its rows are, for people.
    pub(super) what: &'static str,
    /// The first line of each file.
    pub(super) header: &'static str,
    pub(super) rows: Rows,
    /// What of the rows that are found is compared: [`all_rows`], or what does not depend on when
    /// they were made.
    pub(super) view: fn(Rows) -> Rows,
}

/// Compares rows as they are.
pub(super) fn all_rows(rows: Rows) -> Rows {
    rows
}

impl Expected {
    /// Computes what a query of NEXMark comes to.
    pub(crate) fn of_query(query: NexmarkQuery, events: NexmarkEvents) -> Self {
        Self { records: events.events, sinks: vec![nexmark::compute(query, events)] }
    }

    /// Reads the whole input of a job.
    ///
    /// # Errors
    /// If it cannot be read or is no input for that job.
    pub(super) fn compute(job: DemoJob, input: &Path) -> Result<Self> {
        match job {
            DemoJob::Flights => flights::compute(input),
            DemoJob::AircraftDays => aircraft_days::compute(input),
            DemoJob::Timeouts => timeouts::compute(input),
            DemoJob::Nexmark(query) => Ok(Self::of_query(query, nexmark::events(input)?)),
        }
    }
}

/// A row of the flights file.
struct FlightRow<'a> {
    departure: &'a str,
    carrier: &'a str,
    tail: &'a str,
    delay: &'a str,
    distance: &'a str,
}

/// Shows each row of a flights file to `visit`; returns how many there are.
fn for_each_flight(input: &Path, mut visit: impl FnMut(&FlightRow<'_>)) -> Result<u64> {
    let failed = |error| {
        CliError::from(error)
            .context(format!("cannot read the flights {}", input.display()))
            .advice("name them with --input (the repository has data/flights-2013.csv.zst)")
    };
    let file = File::open(input).map_err(failed)?;
    let reader: Box<dyn Read> = if input.extension().is_some_and(|it| it == "zst") {
        Box::new(zstd::stream::read::Decoder::new(file).map_err(failed)?)
    } else {
        Box::new(file)
    };
    let mut records = 0;
    for line in BufReader::new(reader).lines().skip(1) {
        let line = line.map_err(failed)?;
        let fields: Vec<&str> = line.split(',').collect();
        let [departure, carrier, _, tail, _, _, delay, _, _, distance] = fields.as_slice() else {
            return Err(CliError::new(format!("row {} has no 10 columns", records + 2)));
        };
        records += 1;
        visit(&FlightRow { departure, carrier, tail, delay, distance });
    }
    Ok(records)
}

fn count(rows: impl Iterator<Item = String>) -> Rows {
    let mut counted = Rows::new();
    for row in rows {
        *counted.entry(row).or_default() += 1;
    }
    counted
}
