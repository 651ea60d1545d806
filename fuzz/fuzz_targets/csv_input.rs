//! Any bytes as what the command reads: lines of the flights file, and cells of an imported table
//! after a line that names their type. Nothing panics; lines do not hang on those before them; what
//! parses reads alike once it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_state::codec::{DynValue, Shape};

#[path = "../../crates/cli/src/checkpoint/cell.rs"]
mod cell;
#[path = "../../crates/cli/src/run/csv_row.rs"]
mod csv_row;
#[path = "../../crates/cli/src/run/defect.rs"]
mod defect;
#[path = "../../crates/cli/src/run/flight_row.rs"]
#[allow(dead_code, reason = "the fields are read by the jobs")]
mod flight_row;

use csv_row::CsvRow;
use flight_row::{Flight, FlightRows, check_header, format_minute};

/// The line of a flight.
fn line_of(flight: &Flight) -> Vec<u8> {
    let mut line = Vec::new();
    let delay = flight.dep_delay.map_or_else(String::new, |minutes| minutes.to_string());
    CsvRow::new(&mut line)
        .text(format_minute(flight.scheduled_departure).as_bytes())
        .text(flight.carrier.as_bytes())
        .number(1)
        .text(flight.tailnum.as_bytes())
        .text(b"JFK")
        .text(b"SFO")
        .text(delay.as_bytes())
        .text(b"")
        .text(b"")
        .number(flight.distance)
        .end();
    line.pop();
    line
}

fn check_flights(bytes: &[u8]) {
    let lines = || bytes.split(|byte| *byte == b'\n');
    let (mut rows, mut others) = (FlightRows::new(), FlightRows::new());
    let forward: Vec<_> = lines().map(|line| rows.read(line)).collect();
    let mut backward: Vec<_> = lines().rev().map(|line| others.read(line)).collect();
    backward.reverse();
    assert_eq!(forward, backward, "a line depends on those before it");
    for flight in forward.into_iter().flatten() {
        assert_eq!(rows.read(&line_of(&flight)).as_ref(), Ok(&flight));
    }
    if let Some(first) = lines().next() {
        let _ = check_header(first);
    }
}

/// As text: not a number is not equal to itself.
fn shown(value: &Result<DynValue, String>) -> String {
    format!("{value:?}")
}

fn check_cells(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Some((name, text)) = text.split_once('\n') else { return };
    let Ok(shape) = Shape::parse(name) else { return };
    let read = cell::from_text(&shape, text);
    if let Ok(value) = &read {
        assert_eq!(shown(&cell::from_text(&shape, &cell::text(value))), shown(&read));
    }
    let Ok(json) = serde_json::from_str(text) else { return };
    let read = cell::from_json(&shape, &json);
    if let Ok(value) = &read {
        assert_eq!(shown(&cell::from_json(&shape, &cell::json(value))), shown(&read));
    }
}

fuzz_target!(|bytes: &[u8]| {
    check_flights(bytes);
    check_cells(bytes);
});
