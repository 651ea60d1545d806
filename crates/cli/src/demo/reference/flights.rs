//! Totals by aircraft, and by carrier and hour.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Expected, ExpectedSink, all_rows, count, for_each_flight};
use crate::error::Result;

#[derive(Default)]
struct Sums {
    flights: u64,
    cancelled: u64,
    delay: i64,
    miles: u64,
}

/// Reads the whole file.
///
/// # Errors
/// If it cannot be read or is no flights file.
pub(super) fn compute(input: &Path) -> Result<Expected> {
    let mut aircraft: BTreeMap<String, Sums> = BTreeMap::new();
    let mut hours: BTreeMap<(String, String), Sums> = BTreeMap::new();
    let records = for_each_flight(input, |row| {
        let hour = row.departure.get(..13).unwrap_or_default();
        let of_hour = hours.entry((format!("{hour}:00"), row.carrier.to_owned())).or_default();
        for sums in [aircraft.entry(row.tail.to_owned()).or_default(), of_hour] {
            sums.flights += 1;
            sums.cancelled += u64::from(row.delay.is_empty());
            sums.delay += row.delay.parse::<i64>().unwrap_or(0);
            sums.miles += row.distance.parse::<u64>().unwrap_or(0);
        }
    })?;
    let of_aircraft = aircraft.iter().map(|(tail, it)| {
        format!("{tail},{},{},{},{}", it.flights, it.cancelled, it.delay, it.miles)
    });
    let of_hours = hours.iter().map(|((hour, carrier), it)| {
        format!("{hour},{carrier},{},{},{}", it.flights, it.cancelled, it.delay)
    });
    let aircraft = ExpectedSink {
        folder: "aircraft",
        what: "aircraft",
        header: "tailnum,flights,cancelled,dep_delay_minutes,distance_miles",
        rows: count(of_aircraft),
        view: all_rows,
    };
    let hours = ExpectedSink {
        folder: "carrier_hours",
        what: "carrier hours",
        header: "window_start,carrier,flights,cancelled,dep_delay_minutes",
        rows: count(of_hours),
        view: all_rows,
    };
    Ok(Expected { records, sinks: vec![aircraft, hours] })
}
