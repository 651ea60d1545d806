//! Reading tables: CSV with a header, or one JSON object a line.

use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader};
use millpond_checkpoint::offline::DynEntry;
use millpond_state::codec::DynValue;
use serde_json::{Map, Value};

use super::cell::{from_json, from_text};
use super::columns::{Column, Columns};
use crate::args::Format;
use crate::error::{CliError, Result};

/// Longest row, in bytes.
const ROW_BYTES_MAX: usize = 64 << 20;

/// Most cells of a row.
const CELLS_MAX: usize = 4_096;

/// The rows of a table as entries of a state. Ends after an error.
pub(super) struct Rows<'a> {
    columns: &'a Columns,
    source: Source,
    /// Of the row last read.
    line: u64,
    failed: bool,
}

enum Source {
    /// With, for each column of the state, its place in the file.
    Csv(Box<CsvReader>, Vec<usize>),
    Json(Box<dyn BufRead>),
}

impl<'a> Rows<'a> {
    /// Reads the header, if there is to be one.
    ///
    /// # Errors
    /// If the header does not have exactly the columns of the state.
    pub(super) fn new(
        input: Box<dyn BufRead>,
        format: Format,
        columns: &'a Columns,
    ) -> Result<Self> {
        let source = match format {
            Format::Json => Source::Json(input),
            Format::Csv => {
                let mut reader = CsvReader::new(input);
                if !reader.read()? {
                    return Err(CliError::new("the table is empty: it must have a header"));
                }
                let places = places(&columns.columns, &reader.cells()?)?;
                Source::Csv(Box::new(reader), places)
            }
        };
        Ok(Self { columns, source, line: 0, failed: false })
    }

    fn read(&mut self) -> Result<Option<DynEntry>> {
        let columns = self.columns.columns.as_slice();
        let cells = match &mut self.source {
            Source::Csv(reader, places) => {
                self.line = reader.next_line;
                if !reader.read()? {
                    return Ok(None);
                }
                csv_cells(columns, places, &reader.cells()?)?
            }
            Source::Json(input) => {
                let mut line = String::new();
                while line.trim().is_empty() {
                    line.clear();
                    self.line += 1;
                    if input.read_line(&mut line)? == 0 {
                        return Ok(None);
                    }
                }
                json_cells(columns, &line)?
            }
        };
        self.columns.entry(cells).map(Some)
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<DynEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let read = self.read().map_err(|error| error.context(format!("line {}", self.line)));
        self.failed = read.is_err();
        read.transpose()
    }
}

/// For each column its place among `names`.
fn places(columns: &[Column], names: &[&str]) -> Result<Vec<usize>> {
    let wanted: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let place = |name: &&str| names.iter().position(|it| it == name);
    let places: Option<Vec<usize>> = wanted.iter().map(place).collect();
    places.filter(|places| places.len() == names.len()).ok_or_else(|| {
        CliError::new(format!(
            "the header must have the columns {}, in any order, and has {}",
            wanted.join(","),
            names.join(",")
        ))
    })
}

fn csv_cells(columns: &[Column], places: &[usize], row: &[&str]) -> Result<Vec<DynValue>> {
    if row.len() != places.len() {
        let message = format!("{} cells, the header has {}", row.len(), places.len());
        return Err(CliError::new(message));
    }
    let cells = columns.iter().zip(places).map(|(column, place)| {
        let text = row.get(*place).copied().unwrap_or_default();
        from_text(&column.shape, text).map_err(|what| in_column(column, &what))
    });
    cells.collect()
}

fn json_cells(columns: &[Column], line: &str) -> Result<Vec<DynValue>> {
    let object: Map<String, Value> = serde_json::from_str(line)
        .map_err(|error| CliError::new(format!("no JSON object: {error}")))?;
    if let Some(unknown) = object.keys().find(|name| columns.iter().all(|it| it.name != **name)) {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let names = names.join(", ");
        return Err(CliError::new(format!("unknown column {unknown:?}; there are: {names}")));
    }
    let cells = columns.iter().map(|column| {
        let value = object.get(&column.name).ok_or_else(|| in_column(column, "is missing"))?;
        from_json(&column.shape, value).map_err(|what| in_column(column, &what))
    });
    cells.collect()
}

fn in_column(column: &Column, what: &str) -> CliError {
    CliError::new(format!("column {}: {what}", column.name))
}

/// Reads rows of comma-separated values.
struct CsvReader {
    input: Box<dyn BufRead>,
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    /// How many cells the row has.
    count: usize,
    /// Where the next row begins.
    next_line: u64,
}

impl CsvReader {
    fn new(input: Box<dyn BufRead>) -> Self {
        let (text, ends) = (vec![0; 4_096], vec![0; 64]);
        Self { input, reader: Reader::new(), text, ends, count: 0, next_line: 1 }
    }

    /// Reads the next row; false at the end.
    fn read(&mut self) -> Result<bool> {
        let (mut written, mut ended) = (0, 0);
        loop {
            let chunk = self.input.fill_buf()?;
            let text = self.text.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(ended..).unwrap_or_default();
            let (result, read, more, new_ends) = self.reader.read_record(chunk, text, ends);
            self.input.consume(read);
            written += more;
            ended += new_ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => grow(&mut self.text, ROW_BYTES_MAX)?,
                ReadRecordResult::OutputEndsFull => grow(&mut self.ends, CELLS_MAX)?,
                ReadRecordResult::Record => {
                    self.count = ended;
                    self.next_line = self.reader.line();
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    fn cells(&self) -> Result<Vec<&str>> {
        let ends = self.ends.get(..self.count).unwrap_or_default();
        let mut start = 0;
        let cell = |end: &usize| {
            let bytes = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            std::str::from_utf8(bytes).map_err(|_| CliError::new("a cell is not UTF-8"))
        };
        ends.iter().map(cell).collect()
    }
}

fn grow<T: Clone + Default>(buffer: &mut Vec<T>, max: usize) -> Result<()> {
    if buffer.len() >= max {
        return Err(CliError::new(format!("a row is longer than {max} bytes or cells")));
    }
    buffer.resize((buffer.len() * 2).min(max), T::default());
    Ok(())
}
