//! The flights of the input, and what some of its jobs make of them.

use millpond_runtime::{Collector, JobGraph, Result, Stream, Timestamp, TimestampOf};
use millpond_state::{Aggregate, record};

use super::JobContext;
use super::bad_record::{BadRecords, Parsed};
use super::flight_row::{Flight, FlightRows};
use super::input::Line;

/// Adds the vertex that parses lines, and makes watermarks of scheduled departures.
pub(super) fn parse_flights(
    graph: &mut JobGraph,
    input: &Stream<Line>,
    cx: &JobContext,
) -> Stream<Parsed<Flight>> {
    let bad_records = cx.bad_records.clone();
    let make_parser = move |_| {
        let mut parser = FlightParser::new(bad_records.clone());
        Ok(move |line: Line, out: &mut dyn Collector<_>| parser.parse(&line, out))
    };
    let time: TimestampOf<Parsed<Flight>> = |parsed| match parsed {
        Parsed::Good(flight) => Some(flight.scheduled_departure),
        Parsed::Bad(_) => None,
    };
    let project = |line: &Line| Some(line.clone());
    graph.transform("parse", cx.parallelism, input, (project, Some(time), make_parser))
}

/// What some departures come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DepartureTotals {
    pub(super) flights: u64,
    pub(super) cancelled: u64,
    pub(super) dep_delay_minutes: i64,
}
record!(DepartureTotals, version 1, { flights: u64, cancelled: u64, dep_delay_minutes: i64 });

/// A departure as windows want it.
#[derive(Clone, Debug)]
pub(super) struct Departure {
    /// The carrier or the aircraft.
    pub(super) key: String,
    pub(super) at: Timestamp,
    dep_delay: Option<i32>,
}

impl Departure {
    /// The departure of `flight`, as one of `key`.
    pub(super) fn of(flight: &Flight, key: &str) -> Self {
        Self { key: key.to_owned(), at: flight.scheduled_departure, dep_delay: flight.dep_delay }
    }
}

/// Counts departures.
#[derive(Clone, Copy, Debug)]
pub(super) struct DepartureAggregate;

impl Aggregate for DepartureAggregate {
    type Input = Departure;
    type Accumulator = DepartureTotals;
    type Output = DepartureTotals;

    fn create(&self) -> DepartureTotals {
        DepartureTotals::default()
    }

    fn add(&self, totals: &mut DepartureTotals, departure: &Departure) {
        totals.flights = totals.flights.saturating_add(1);
        match departure.dep_delay {
            None => totals.cancelled = totals.cancelled.saturating_add(1),
            Some(minutes) => {
                totals.dep_delay_minutes = totals.dep_delay_minutes.saturating_add(minutes.into());
            }
        }
    }

    fn merge(&self, totals: &mut DepartureTotals, other: DepartureTotals) {
        totals.flights = totals.flights.saturating_add(other.flights);
        totals.cancelled = totals.cancelled.saturating_add(other.cancelled);
        totals.dep_delay_minutes = totals.dep_delay_minutes.saturating_add(other.dep_delay_minutes);
    }

    fn result(&self, totals: &DepartureTotals) -> DepartureTotals {
        *totals
    }
}

/// Parses lines. One for each subtask.
struct FlightParser {
    bad_records: BadRecords,
    rows: FlightRows,
}

impl FlightParser {
    fn new(bad_records: BadRecords) -> Self {
        Self { bad_records, rows: FlightRows::new() }
    }

    /// Emits the flight of a line. An empty line has none.
    ///
    /// # Errors
    /// As [`BadRecords::handle`] if it does not parse; what `out` reports.
    fn parse(&mut self, line: &Line, out: &mut dyn Collector<Parsed<Flight>>) -> Result<()> {
        if line.text.is_empty() {
            return Ok(());
        }
        match self.rows.read(&line.text) {
            Ok(flight) => out.emit(&Parsed::Good(flight)),
            Err(defect) => self.bad_records.handle(line, defect, out),
        }
    }
}
