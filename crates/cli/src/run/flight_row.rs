//! A line of the flights file as a flight.
//!
//! Depends on nothing else of the command but [`Defect`], so that a fuzz target can include it.

use csv_core::ReadRecordResult;
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};
use millpond_runtime::Timestamp;

use super::defect::Defect;

/// The columns, in order.
const COLUMNS: [&str; 10] = [
    "scheduled_departure",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "dep_delay",
    "arr_delay",
    "air_time",
    "distance",
];

/// Most fields that are told apart: one more than there must be shows that there are too many.
const FIELDS_MAX: usize = 64;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// What the job needs of a flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) scheduled_departure: Timestamp,
    pub(crate) carrier: String,
    /// Empty if it is not known.
    pub(crate) tailnum: String,
    /// In minutes; `None` if the flight was cancelled.
    pub(crate) dep_delay: Option<i32>,
    /// In miles.
    pub(crate) distance: u32,
}

/// Checks the first line of the file.
///
/// # Errors
/// What was expected and what was found.
pub(crate) fn check_header(line: &[u8]) -> Result<(), String> {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let names: Vec<&str> = text.trim_end().split(',').map(|it| it.trim_matches('"')).collect();
    if names == COLUMNS {
        return Ok(());
    }
    let found: String = text.trim_end().chars().take(200).collect();
    let expected = COLUMNS.join(",");
    Err(format!("line 1 must be the header {expected} but is {found:?}: this is no flights file"))
}

/// Reads lines as flights; keeps its buffers.
pub(crate) struct FlightRows {
    reader: csv_core::Reader,
    text: Vec<u8>,
    ends: [usize; FIELDS_MAX],
}

impl FlightRows {
    pub(crate) fn new() -> Self {
        let (text, ends) = (vec![0; 1_024], [0; FIELDS_MAX]);
        Self { reader: csv_core::Reader::new(), text, ends }
    }

    /// The flight of a line.
    ///
    /// # Errors
    /// The first column that is not what it must be.
    pub(crate) fn read(&mut self, line: &[u8]) -> Result<Flight, Defect> {
        let count = self.split(line);
        let mut fields: [&[u8]; COLUMNS.len()] = [&[]; COLUMNS.len()];
        if count != Some(COLUMNS.len()) {
            let found = match count {
                Some(count) => format!("a row of 10 columns: it has {count}"),
                None => "a row of 10 columns: it has far more".to_owned(),
            };
            return Err(Defect::new(COLUMNS[0], line, &found));
        }
        let mut start = 0;
        for (field, end) in fields.iter_mut().zip(&self.ends) {
            *field = self.text.get(start..*end).unwrap_or_default();
            start = *end;
        }
        let [departure, carrier, flight, tailnum, origin, dest, dep_delay, arr, air, distance] =
            fields;
        number::<u32>("flight", flight, "a flight number")?;
        text("origin", origin)?;
        text("dest", dest)?;
        optional::<i32>("arr_delay", arr)?;
        optional::<i32>("air_time", air)?;
        if carrier.is_empty() {
            return Err(Defect::new("carrier", carrier, "a carrier"));
        }
        Ok(Flight {
            scheduled_departure: minute(departure)?,
            carrier: text("carrier", carrier)?.to_owned(),
            tailnum: text("tailnum", tailnum)?.to_owned(),
            dep_delay: optional("dep_delay", dep_delay)?,
            distance: number("distance", distance, "a distance in miles")?,
        })
    }

    /// Splits a line into fields; returns their number, `None` if it is above [`FIELDS_MAX`].
    fn split(&mut self, line: &[u8]) -> Option<usize> {
        // Unquoting only shortens.
        if self.text.len() < line.len() {
            self.text.resize(line.len(), 0);
        }
        self.reader.reset();
        let (result, _, written, ends) =
            self.reader.read_record(line, &mut self.text, &mut self.ends);
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::Record => return Some(ends),
            _ => return None,
        }
        // An empty input tells the reader that the line is over.
        let text = self.text.get_mut(written..).unwrap_or_default();
        let more = self.ends.get_mut(ends..).unwrap_or_default();
        match self.reader.read_record(&[], text, more) {
            (ReadRecordResult::Record, _, _, last) => {
                // The ends of a continued record go on from where it began.
                Some(ends + last)
            }
            _ => None,
        }
    }
}

fn text<'a>(column: &'static str, field: &'a [u8]) -> Result<&'a str, Defect> {
    std::str::from_utf8(field).map_err(|_| Defect::new(column, field, "UTF-8 text"))
}

fn number<N: std::str::FromStr>(
    column: &'static str,
    field: &[u8],
    expected: &str,
) -> Result<N, Defect> {
    std::str::from_utf8(field)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Defect::new(column, field, expected))
}

fn optional<N: std::str::FromStr>(column: &'static str, field: &[u8]) -> Result<Option<N>, Defect> {
    if field.is_empty() {
        return Ok(None);
    }
    number(column, field, "a whole number of minutes").map(Some)
}

/// A local time like `2013-01-01T05:15`, taken as UTC.
fn minute(field: &[u8]) -> Result<Timestamp, Defect> {
    parse_minute(field)
        .ok_or_else(|| Defect::new("scheduled_departure", field, "a time like 2013-01-01T05:15"))
}

fn parse_minute(field: &[u8]) -> Option<Timestamp> {
    let &[y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', h1, h2, b':', mi1, mi2] = field
    else {
        return None;
    };
    let digits = |digits: &[u8]| {
        digits.iter().try_fold(0_i16, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + i16::from(digit - b'0'))
        })
    };
    let two = |digits_of: [u8; 2]| digits(&digits_of).and_then(|it| i8::try_from(it).ok());
    let date = Date::new(digits(&[y1, y2, y3, y4])?, two([mo1, mo2])?, two([d1, d2])?).ok()?;
    let (hour, minute) = (two([h1, h2])?, two([mi1, mi2])?);
    let time = jiff::civil::Time::new(hour, minute, 0, 0).ok()?;
    let since = date.to_datetime(time).duration_since(EPOCH);
    i64::try_from(since.as_millis()).ok().map(Timestamp::from_ms)
}

/// Writes a time as it is in the input.
pub(crate) fn format_minute(at: Timestamp) -> String {
    match EPOCH.checked_add(SignedDuration::from_millis(at.as_ms())) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M").to_string(),
        // No time that was parsed is outside the calendar.
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Flight, Defect> {
        let mut rows = FlightRows::new();
        let _ = rows.read(b"\"an unfinished row,");
        rows.read(text.as_bytes())
    }

    #[test]
    fn a_row_parses_with_and_without_quotes() {
        let plain = parse("2013-01-01T05:15,UA,1545,N14228,EWR,IAH,2,11,227,1400").unwrap();
        assert_eq!(plain.scheduled_departure, Timestamp::from_ms(1_357_017_300_000));
        assert_eq!((plain.carrier.as_str(), plain.tailnum.as_str()), ("UA", "N14228"));
        assert_eq!((plain.dep_delay, plain.distance), (Some(2), 1_400));
        assert_eq!(format_minute(plain.scheduled_departure), "2013-01-01T05:15");
        let quoted = parse("2013-01-01T05:15,\"U,A\",1545,\"N\"\"1\",EWR,IAH,,,,1400").unwrap();
        assert_eq!((quoted.carrier.as_str(), quoted.tailnum.as_str()), ("U,A", "N\"1"));
        assert_eq!(quoted.dep_delay, None);
    }

    #[test]
    fn a_defect_names_its_column() {
        let row = ["2013-01-01T05:15", "UA", "1545", "N1", "EWR", "IAH", "2", "11", "227", "1400"];
        let cases = [
            (0, "2013-13-01T05:15", "scheduled_departure"),
            (0, "2013-02-29T05:15", "scheduled_departure"),
            (0, "2013-01-01 05:15", "scheduled_departure"),
            (0, "2013-01-01T24:00", "scheduled_departure"),
            (1, "", "carrier"),
            (2, "x", "flight"),
            (6, "late", "dep_delay"),
            (7, "1.5", "arr_delay"),
            (8, "-", "air_time"),
            (9, "", "distance"),
            (9, "-1", "distance"),
            (9, "1,2", "scheduled_departure"),
        ];
        for (at, value, column) in cases {
            let mut row = row;
            row[at] = value;
            let defect = parse(&row.join(",")).unwrap_err();
            assert_eq!(defect.column, column, "{value}: {}", defect.reason);
        }
        assert!(parse(&",".repeat(500)).is_err());
        assert!(parse("\"unfinished").is_err());
    }

    #[test]
    fn another_header_is_refused_with_what_was_expected() {
        assert_eq!(check_header(COLUMNS.join(",").as_bytes()), Ok(()));
        let error = check_header(b"year,month,day").unwrap_err();
        assert!(error.contains("scheduled_departure") && error.contains("year,month,day"));
    }
}
