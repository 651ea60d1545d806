//! The flights job.
//!
//! ```text
//! input -> parse -+-> aircraft       totals by tail number       -> DIR/aircraft
//!                 +-> carrier_hours  one-hour windows by carrier -> DIR/carrier_hours
//!                 +-> dead_letter    (if asked for)              -> FILE
//! ```

use millpond_runtime::sink::{PartFileFormat, PartFiles};
use millpond_runtime::{
    JobGraph, Result, Stream, WindowAggregate, WindowOperator, WindowResult, WindowTime, Windows,
};
use millpond_state::record;

use super::JobContext;
use super::bad_record::Parsed;
use super::csv_row::CsvRow;
use super::flight::{Departure, DepartureAggregate, DepartureTotals, parse_flights};
use super::flight_row::{Flight, format_minute};
use super::input::Line;
use super::totals::{Keyed, Totals};

/// Folders of the output.
pub(crate) const SINKS: [&str; 2] = [AIRCRAFT, CARRIER_HOURS];

const AIRCRAFT: &str = "aircraft";
const CARRIER_HOURS: &str = "carrier_hours";
const HOUR_MS: i64 = 3_600_000;

/// Running totals of one aircraft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AircraftTotals {
    flights: u64,
    cancelled: u64,
    dep_delay_minutes: i64,
    distance_miles: u64,
}
record!(AircraftTotals, version 1, {
    flights: u64,
    cancelled: u64,
    dep_delay_minutes: i64,
    distance_miles: u64,
});

impl AircraftTotals {
    fn of(flight: &Flight) -> Self {
        Self {
            flights: 1,
            cancelled: u64::from(flight.dep_delay.is_none()),
            dep_delay_minutes: flight.dep_delay.map_or(0, i64::from),
            distance_miles: u64::from(flight.distance),
        }
    }

    fn add(self, other: Self) -> Self {
        Self {
            flights: self.flights.saturating_add(other.flights),
            cancelled: self.cancelled.saturating_add(other.cancelled),
            dep_delay_minutes: self.dep_delay_minutes.saturating_add(other.dep_delay_minutes),
            distance_miles: self.distance_miles.saturating_add(other.distance_miles),
        }
    }
}

struct AircraftRows;

impl PartFileFormat<Keyed<AircraftTotals>> for AircraftRows {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"tailnum,flights,cancelled,dep_delay_minutes,distance_miles\n"
    }

    fn append(&self, row: &Keyed<AircraftTotals>, out: &mut Vec<u8>) -> Result<()> {
        let totals = row.amount;
        CsvRow::new(out)
            .text(row.key.as_bytes())
            .number(totals.flights)
            .number(totals.cancelled)
            .number(totals.dep_delay_minutes)
            .number(totals.distance_miles)
            .end();
        Ok(())
    }
}

struct CarrierHourRows;

impl PartFileFormat<WindowResult<String, DepartureTotals>> for CarrierHourRows {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"window_start,carrier,flights,cancelled,dep_delay_minutes\n"
    }

    fn append(&self, row: &WindowResult<String, DepartureTotals>, out: &mut Vec<u8>) -> Result<()> {
        let totals = row.result;
        CsvRow::new(out)
            .text(format_minute(row.window.start()).as_bytes())
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
/// If the output folders cannot be made.
pub(crate) fn build(
    graph: &mut JobGraph,
    input: &Stream<Line>,
    cx: &JobContext,
) -> Result<Stream<Parsed<Flight>>> {
    let parsed = parse_flights(graph, input, cx);
    add_aircraft(graph, &parsed, cx)?;
    add_carrier_hours(graph, &parsed, cx)?;
    Ok(parsed)
}

fn add_aircraft(
    graph: &mut JobGraph,
    parsed: &Stream<Parsed<Flight>>,
    cx: &JobContext,
) -> Result<()> {
    let project = |parsed: &Parsed<Flight>| match parsed {
        Parsed::Good(flight) => {
            Some(Keyed { key: flight.tailnum.clone(), amount: AircraftTotals::of(flight) })
        }
        Parsed::Bad(_) => None,
    };
    let key = |record: &Keyed<AircraftTotals>| record.key.clone();
    let make = |_| Ok(Totals::new("totals", AircraftTotals::add));
    let totals = graph.keyed(AIRCRAFT, cx.parallelism, parsed, (project, key, make));
    graph.sink(&totals, AIRCRAFT, PartFiles::create(cx.output.join(AIRCRAFT), AircraftRows)?);
    Ok(())
}

fn add_carrier_hours(
    graph: &mut JobGraph,
    parsed: &Stream<Parsed<Flight>>,
    cx: &JobContext,
) -> Result<()> {
    let project = |parsed: &Parsed<Flight>| match parsed {
        Parsed::Good(flight) => Some(Departure::of(flight, &flight.carrier)),
        Parsed::Bad(_) => None,
    };
    let key = |departure: &Departure| departure.key.clone();
    let make = |_| {
        Ok(WindowOperator::new(
            "hours",
            Windows::tumbling(HOUR_MS)?,
            WindowTime::event(|departure: &Departure| departure.at),
            WindowAggregate::new(DepartureAggregate),
        ))
    };
    let hours = graph.keyed(CARRIER_HOURS, cx.parallelism, parsed, (project, key, make));
    let files = PartFiles::create(cx.output.join(CARRIER_HOURS), CarrierHourRows)?;
    graph.sink(&hours, CARRIER_HOURS, files);
    Ok(())
}
