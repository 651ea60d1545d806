//! Results as they come: JSON for machines, a table for people, plots for both.

use std::io::IsTerminal;

use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};
use millpond_bench::Record;

use crate::args::BenchArgs;
use crate::console;
use crate::error::Result;
use crate::table::{count, table};

/// A column of a table: its head, and what stands in it.
pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) cell: fn(&Record) -> String,
}

/// Takes results as they come.
pub(super) struct Output<'a> {
    args: &'a BenchArgs,
    columns: &'a [Column],
    records: Vec<Record>,
    progress: Option<ProgressBar>,
}

impl<'a> Output<'a> {
    /// An output of `steps` measurements with these columns after the names of backend and case.
    /// Progress is shown only where standard error is a terminal.
    pub(super) fn new(args: &'a BenchArgs, columns: &'a [Column], steps: usize) -> Self {
        let shown = !args.in_process && std::io::stderr().is_terminal();
        let progress = shown.then(|| {
            let style = ProgressStyle::with_template("{pos}/{len} {wide_msg}");
            let bar = ProgressBar::new(steps as u64);
            style.map_or(bar.clone(), |style| bar.with_style(style))
        });
        Self { args, columns, records: Vec::new(), progress }
    }

    /// Tells what is being measured.
    pub(super) fn step(&self, what: &str) {
        if let Some(progress) = &self.progress {
            progress.set_message(what.to_owned());
            progress.tick();
        }
    }

    /// Takes the results of a step.
    ///
    /// # Errors
    /// If standard output cannot take them.
    pub(super) fn add(&mut self, records: Vec<Record>) -> Result<()> {
        if self.args.json {
            for record in &records {
                console::print(&record.to_json()?)?;
            }
        }
        if let Some(progress) = &self.progress {
            progress.inc(1);
        }
        self.records.extend(records);
        Ok(())
    }

    /// Shows the table, and draws the plots.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn finish(self) -> Result<()> {
        if let Some(progress) = &self.progress {
            progress.finish_and_clear();
        }
        if !self.args.json {
            console::print(&self.table().to_string())?;
        }
        if let Some(folder) = &self.args.plot {
            super::plot::write(&self.records, folder)?;
        }
        Ok(())
    }

    /// Tells something beside the results.
    pub(super) fn note(&self, line: &str) {
        if self.args.in_process {
            return;
        }
        match &self.progress {
            Some(progress) => progress.suspend(|| console::note(line)),
            None => console::note(line),
        }
    }

    fn table(&self) -> Table {
        let heads: Vec<&str> =
            ["backend", "bench"].into_iter().chain(self.columns.iter().map(|it| it.head)).collect();
        let mut table = table(&heads, heads.get(2..).unwrap_or_default());
        for record in &self.records {
            let names = [record.backend.clone(), record.bench.clone()];
            let cells = self.columns.iter().map(|column| (column.cell)(record));
            table.add_row(names.into_iter().chain(cells));
        }
        table
    }
}

/// A rate, as people read it.
pub(super) fn rate(per_s: f64) -> String {
    count(per_s.round() as u64)
}

/// The spread of a result: how far its slowest and fastest rounds are from the median, in percent.
pub(super) fn spread(record: &Record) -> String {
    let percent = |rate: f64| (rate / record.ops_per_s.max(f64::MIN_POSITIVE) - 1.0) * 100.0;
    format!("{:+.0}% {:+.0}%", percent(record.ops_per_s_min), percent(record.ops_per_s_max))
}

/// A figure that may not apply.
pub(super) fn maybe<T>(figure: Option<T>, show: impl FnOnce(T) -> String) -> String {
    figure.map_or_else(|| "-".to_owned(), show)
}

/// Milliseconds, as precisely as they are worth.
pub(super) fn ms(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.3} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

/// A ratio to a floor.
pub(super) fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}
