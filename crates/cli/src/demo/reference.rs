//! What the output must be: one plain pass over the file, written without anything of the job.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::error::{CliError, Result};

/// Rows with the number of times each occurs.
pub(super) type Rows = HashMap<String, u64>;

/// The output of a run that loses and duplicates nothing.
#[derive(Debug)]
pub(super) struct Expected {
    /// Rows of the input.
    pub(super) records: u64,
    pub(super) aircraft: Rows,
    pub(super) carrier_hours: Rows,
}

#[derive(Default)]
struct Sums {
    flights: u64,
    cancelled: u64,
    delay: i64,
    miles: u64,
}

impl Expected {
    /// Reads the whole file.
    ///
    /// # Errors
    /// If it cannot be read or is no flights file.
    pub(super) fn compute(input: &Path) -> Result<Self> {
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
        let mut aircraft: BTreeMap<String, Sums> = BTreeMap::new();
        let mut hours: BTreeMap<(String, String), Sums> = BTreeMap::new();
        let mut records = 0;
        for line in BufReader::new(reader).lines().skip(1) {
            let line = line.map_err(failed)?;
            let fields: Vec<&str> = line.split(',').collect();
            let [departure, carrier, _, tail, _, _, delay, _, _, distance] = fields.as_slice()
            else {
                return Err(CliError::new(format!("row {} has no 10 columns", records + 2)));
            };
            records += 1;
            let hour = departure.get(..13).unwrap_or_default();
            let of_hour = hours.entry((format!("{hour}:00"), (*carrier).to_owned())).or_default();
            for sums in [aircraft.entry((*tail).to_owned()).or_default(), of_hour] {
                sums.flights += 1;
                sums.cancelled += u64::from(delay.is_empty());
                sums.delay += delay.parse::<i64>().unwrap_or(0);
                sums.miles += distance.parse::<u64>().unwrap_or(0);
            }
        }
        let of_aircraft = aircraft.iter().map(|(tail, it)| {
            format!("{tail},{},{},{},{}", it.flights, it.cancelled, it.delay, it.miles)
        });
        let of_hours = hours.iter().map(|((hour, carrier), it)| {
            format!("{hour},{carrier},{},{},{}", it.flights, it.cancelled, it.delay)
        });
        Ok(Self { records, aircraft: count(of_aircraft), carrier_hours: count(of_hours) })
    }
}

fn count(rows: impl Iterator<Item = String>) -> Rows {
    let mut counted = Rows::new();
    for row in rows {
        *counted.entry(row).or_default() += 1;
    }
    counted
}
