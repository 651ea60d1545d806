//! The aircraft-days job: session windows over the flights.
//!
//! ```text
//! input -> parse -+-> aircraft_days  an aircraft's days of flying  -> DIR/aircraft_days
//!                 +-> dead_letter    (if asked for)                -> FILE
//! ```
//!
//! A day of flying is a session: departures of an aircraft less than six hours apart.

use millpond_runtime::sink::{PartFileFormat, PartFiles};
use millpond_runtime::{
    JobGraph, Result, Stream, Timestamp, WindowAggregate, WindowOperator, WindowResult, WindowTime,
    Windows,
};

use super::JobContext;
use super::bad_record::Parsed;
use super::csv_row::CsvRow;
use super::flight::{Departure, DepartureAggregate, DepartureTotals, parse_flights};
use super::flight_row::{Flight, format_minute};
use super::input::Line;

/// Folders of the output.
pub(crate) const SINKS: [&str; 1] = [AIRCRAFT_DAYS];

const AIRCRAFT_DAYS: &str = "aircraft_days";

/// Without a departure for so long, a day is over.
const GAP_MS: i64 = 6 * 3_600_000;

struct DayRows;

impl PartFileFormat<WindowResult<String, DepartureTotals>> for DayRows {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"first_departure,last_departure,tailnum,flights,cancelled,dep_delay_minutes\n"
    }

    fn append(&self, row: &WindowResult<String, DepartureTotals>, out: &mut Vec<u8>) -> Result<()> {
        let (window, totals) = (row.window, row.result);
        let last = Timestamp::from_ms(window.end().as_ms() - GAP_MS);
        CsvRow::new(out)
            .text(format_minute(window.start()).as_bytes())
            .text(format_minute(last).as_bytes())
            .text(row.key.as_bytes())
            .number(totals.flights)
            .number(totals.cancelled)
            .number(totals.dep_delay_minutes)
            .end();
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
) -> Result<Stream<Parsed<Flight>>> {
    let parsed = parse_flights(graph, input, cx);
    let project = |parsed: &Parsed<Flight>| match parsed {
        Parsed::Good(flight) => Some(Departure::of(flight, &flight.tailnum)),
        Parsed::Bad(_) => None,
    };
    let key = |departure: &Departure| departure.key.clone();
    let make = |_| {
        Ok(WindowOperator::new(
            "days",
            Windows::session(GAP_MS)?,
            WindowTime::event(|departure: &Departure| departure.at),
            WindowAggregate::new(DepartureAggregate),
        ))
    };
    let days = graph.keyed(AIRCRAFT_DAYS, cx.parallelism, &parsed, (project, key, make));
    graph.sink(&days, AIRCRAFT_DAYS, PartFiles::create(cx.output.join(AIRCRAFT_DAYS), DayRows)?);
    Ok(parsed)
}
