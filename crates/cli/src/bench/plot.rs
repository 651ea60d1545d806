//! `millpond bench plot`, and `--plot` of the other benchmarks.

use std::fs;
use std::io::Read;
use std::path::Path;

use millpond_bench::Record;
use millpond_bench::plot::draw;

use crate::args::BenchPlotArgs;
use crate::console;
use crate::error::{CliError, Result};

/// Draws all plots that the results in the files make.
///
/// # Errors
/// If a file cannot be read or holds no results.
pub(super) fn run(args: &BenchPlotArgs) -> Result<()> {
    let mut records = Vec::new();
    for file in &args.files {
        let named = |error: CliError| error.context(file.display());
        let text = read(file).map_err(|error| named(error.into()))?;
        records.extend(Record::parse_lines(&text).map_err(|error| named(error.into()))?);
    }
    for name in write(&records, &args.out)? {
        console::print(&args.out.join(name).display().to_string())?;
    }
    Ok(())
}

fn read(file: &Path) -> std::io::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file)
}

/// Draws all plots that `records` make, into `folder`; returns the names of the files.
///
/// # Errors
/// If there is nothing to draw, or a file cannot be written.
pub(super) fn write(records: &[Record], folder: &Path) -> Result<Vec<String>> {
    let failed = |error| {
        CliError::from(error).context(format!("cannot write plots to {}", folder.display()))
    };
    let plots = draw(records);
    if plots.is_empty() {
        return Err(CliError::new("there is nothing to draw in these results"));
    }
    fs::create_dir_all(folder).map_err(failed)?;
    for plot in &plots {
        fs::write(folder.join(&plot.file_name), &plot.svg).map_err(failed)?;
    }
    Ok(plots.into_iter().map(|plot| plot.file_name).collect())
}
