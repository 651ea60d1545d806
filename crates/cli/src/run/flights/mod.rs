//! The flights job.
//!
//! ```text
//! input -> parse -+-> aircraft       totals by tail number       -> DIR/aircraft
//!                 +-> carrier_hours  one-hour windows by carrier -> DIR/carrier_hours
//!                 +-> dead_letter    (if asked for)              -> FILE
//! ```

mod parse;

use millpond_runtime::sink::{PartFileFormat, PartFiles};
use millpond_runtime::{
    JobGraph, Result, Stream, Timestamp, TimestampOf, WindowAggregate, WindowOperator,
    WindowResult, WindowTime, Windows,
};
use millpond_state::{Aggregate, record};

use super::JobContext;
use super::bad_record::Parsed;
use super::csv_row::CsvRow;
use super::input::Line;
use super::totals::{Keyed, Totals};
pub(crate) use parse::check_header;
use parse::{Flight, FlightParser};

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

/// Totals of one carrier in one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HourTotals {
    flights: u64,
    cancelled: u64,
    dep_delay_minutes: i64,
}
record!(HourTotals, version 1, { flights: u64, cancelled: u64, dep_delay_minutes: i64 });

/// A departure as the windows want it.
#[derive(Clone, Debug)]
struct Departure {
    carrier: String,
    at: Timestamp,
    dep_delay: Option<i32>,
}

struct HourAggregate;

impl Aggregate for HourAggregate {
    type Input = Departure;
    type Accumulator = HourTotals;
    type Output = HourTotals;

    fn create(&self) -> HourTotals {
        HourTotals::default()
    }

    fn add(&self, totals: &mut HourTotals, departure: &Departure) {
        totals.flights = totals.flights.saturating_add(1);
        match departure.dep_delay {
            None => totals.cancelled = totals.cancelled.saturating_add(1),
            Some(minutes) => {
                totals.dep_delay_minutes = totals.dep_delay_minutes.saturating_add(minutes.into());
            }
        }
    }

    fn merge(&self, totals: &mut HourTotals, other: HourTotals) {
        totals.flights = totals.flights.saturating_add(other.flights);
        totals.cancelled = totals.cancelled.saturating_add(other.cancelled);
        totals.dep_delay_minutes =
            totals.dep_delay_minutes.saturating_add(other.dep_delay_minutes);
    }

    fn result(&self, totals: &HourTotals) -> HourTotals {
        *totals
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

impl PartFileFormat<WindowResult<String, HourTotals>> for CarrierHourRows {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"window_start,carrier,flights,cancelled,dep_delay_minutes\n"
    }

    fn append(&self, row: &WindowResult<String, HourTotals>, out: &mut Vec<u8>) -> Result<()> {
        let totals = row.result;
        CsvRow::new(out)
            .text(parse::format_minute(row.window.start()).as_bytes())
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
    let bad_records = cx.bad_records.clone();
    let make_parser = move |_| {
        let mut parser = FlightParser::new(bad_records.clone());
        Ok(move |line: Line, out: &mut dyn millpond_runtime::Collector<_>| parser.parse(&line, out))
    };
    let time: TimestampOf<Parsed<Flight>> = |parsed| match parsed {
        Parsed::Good(flight) => Some(flight.scheduled_departure),
        Parsed::Bad(_) => None,
    };
    let project = |line: &Line| Some(line.clone());
    let parsed =
        graph.transform("parse", cx.parallelism, input, (project, Some(time), make_parser));
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
        Parsed::Good(flight) => Some(Departure {
            carrier: flight.carrier.clone(),
            at: flight.scheduled_departure,
            dep_delay: flight.dep_delay,
        }),
        Parsed::Bad(_) => None,
    };
    let key = |departure: &Departure| departure.carrier.clone();
    let make = |_| {
        Ok(WindowOperator::new(
            "hours",
            Windows::tumbling(HOUR_MS)?,
            WindowTime::event(|departure: &Departure| departure.at),
            WindowAggregate::new(HourAggregate),
        ))
    };
    let hours = graph.keyed(CARRIER_HOURS, cx.parallelism, parsed, (project, key, make));
    let files = PartFiles::create(cx.output.join(CARRIER_HOURS), CarrierHourRows)?;
    graph.sink(&hours, CARRIER_HOURS, files);
    Ok(())
}
