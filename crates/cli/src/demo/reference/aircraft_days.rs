//! An aircraft's days of flying: its departures, parted where it has none for six hours.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Expected, ExpectedSink, FlightRow, all_rows, count, for_each_flight};
use crate::error::Result;

const GAP_MINUTES: i64 = 6 * 60;

/// A day of flying as far as it is known.
struct Day {
    first: String,
    last: String,
    last_minute: i64,
    flights: u64,
    cancelled: u64,
    delay: i64,
}

impl Day {
    fn new(row: &FlightRow<'_>, minute: i64) -> Self {
        let first = row.departure.to_owned();
        let last = first.clone();
        Self { first, last, last_minute: minute, flights: 0, cancelled: 0, delay: 0 }
    }

    fn add(&mut self, row: &FlightRow<'_>, minute: i64) {
        row.departure.clone_into(&mut self.last);
        self.last_minute = minute;
        self.flights += 1;
        self.cancelled += u64::from(row.delay.is_empty());
        self.delay += row.delay.parse::<i64>().unwrap_or(0);
    }

    fn row(&self, tail: &str) -> String {
        let Self { first, last, flights, cancelled, delay, .. } = self;
        format!("{first},{last},{tail},{flights},{cancelled},{delay}")
    }
}

/// Reads the whole file, which is in order of scheduled departure.
///
/// # Errors
/// If it cannot be read or is no flights file.
pub(super) fn compute(input: &Path) -> Result<Expected> {
    let mut open: BTreeMap<String, Day> = BTreeMap::new();
    let mut rows = Vec::new();
    let records = for_each_flight(input, |row| {
        let minute = minute(row.departure);
        let day = open.entry(row.tail.to_owned()).or_insert_with(|| Day::new(row, minute));
        if minute - day.last_minute >= GAP_MINUTES {
            rows.push(day.row(row.tail));
            *day = Day::new(row, minute);
        }
        day.add(row, minute);
    })?;
    rows.extend(open.iter().map(|(tail, day)| day.row(tail)));
    let days = ExpectedSink {
        folder: "aircraft_days",
        what: "days of aircraft",
        header: "first_departure,last_departure,tailnum,flights,cancelled,dep_delay_minutes",
        rows: count(rows.into_iter()),
        view: all_rows,
    };
    Ok(Expected { records, sinks: vec![days] })
}

/// Minutes of a time like 2013-01-31T05:15 since the beginning of its year, which is 2013 in the
/// file; days of other years only need to be apart.
fn minute(time: &str) -> i64 {
    let number = |range| time.get(range).and_then(|text: &str| text.parse::<i64>().ok());
    let part = |range| number(range).unwrap_or(0);
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let before: i64 = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        .iter()
        .take(usize::try_from(month - 1).unwrap_or(0))
        .sum();
    ((year * 366 + before + day) * 24 + part(11..13)) * 60 + part(14..16)
}
