//! `millpond checkpoint export`: typed state as CSV or JSON, one row for each entry (of a list
//! state: for each element), streamed in the order of key groups.

use std::io::Write;

use millpond_state::codec::DynValue;

use super::cell::{json, text};
use super::columns::Columns;
use super::target::original;
use crate::args::{ExportArgs, Format};
use crate::console;
use crate::error::Result;
use crate::run::CsvRow;

/// Prints the state.
///
/// # Errors
/// If there is no such state, its codecs are not self-describing, or its files are damaged.
pub(super) fn run(args: &ExportArgs) -> Result<()> {
    let checkpoint = original(&args.original)?;
    let state = checkpoint.state(&args.state.operator, &args.state.state)?;
    let columns = Columns::new(state.descriptor())?;
    let mut out = console::stream();
    if args.format == Format::Csv {
        let names = columns.columns.iter().map(|column| column.name.as_bytes());
        out.write_all(&csv_line(names))?;
    }
    for entry in state.dynamic()? {
        write_row(&columns, &columns.cells(entry?), args.format, &mut out)?;
    }
    Ok(out.flush()?)
}

fn write_row(
    columns: &Columns,
    cells: &[DynValue],
    format: Format,
    out: &mut impl Write,
) -> Result<()> {
    match format {
        Format::Csv => out.write_all(&csv_line(cells.iter().map(text)))?,
        Format::Json => {
            // Written by hand to keep the order of the columns.
            let names = columns.columns.iter().map(|column| column.name.as_str());
            let fields: Vec<String> = names
                .zip(cells)
                .map(|(name, cell)| format!("{}:{}", serde_json::json!(name), json(cell)))
                .collect();
            writeln!(out, "{{{}}}", fields.join(","))?;
        }
    }
    Ok(())
}

fn csv_line(cells: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut line = Vec::new();
    cells.fold(CsvRow::new(&mut line), |row, cell| row.text(cell.as_ref())).end();
    if line == b"\n" {
        // A row of one empty cell must not look like no row.
        line.splice(0..0, *b"\"\"");
    }
    line
}
