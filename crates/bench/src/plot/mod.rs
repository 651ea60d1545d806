//! Results as SVG files, by templates of our own: bars of throughput, lines of latency over time,
//! of checkpoints against the changed share, and of restores against the size of state.
//!
//! Each plot names machine and day. What a plot needs and results do not have is left out; of
//! results that were measured twice, the last counts.

mod bars;
mod lines;
mod palette;
mod scale;
mod svg;

use bars::{Bar, Group};
use lines::{Line, Panel};
use scale::short;
use svg::{Anchor, LINE, Svg};

use crate::record::Record;

/// Width of all plots, in pixels.
const WIDTH: f64 = 860.0;

/// A drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// What its file is called.
    pub file_name: String,
    /// The text of the file.
    pub svg: String,
}

/// What stands above a plot.
#[derive(Clone, Debug)]
struct Heading {
    title: String,
    note: String,
}

impl Heading {
    /// A heading that says where and when the records are from.
    fn new(title: &str, what: &str, records: &[&Record]) -> Self {
        let place = records.first().map(|it| format!("{}, {}", it.machine, it.date));
        Self { title: title.to_owned(), note: format!("{what}; {}", place.unwrap_or_default()) }
    }

    /// Draws it; returns the base line of what comes below.
    fn draw(&self, svg: &mut Svg) -> f64 {
        svg.title((16.0, 26.0), &self.title);
        svg.text((16.0, 26.0 + LINE), Anchor::Start, &self.note);
        26.0 + 2.0 * LINE + 8.0
    }
}

/// All plots that these records make.
#[must_use]
pub fn draw(records: &[Record]) -> Vec<Plot> {
    let records = latest(records);
    [state(&records), latency(&records), checkpoints(&records), restores(&records), jobs(&records)]
        .into_iter()
        .flatten()
        .collect()
}

/// Drops all records that were measured again later.
fn latest(records: &[Record]) -> Vec<&Record> {
    let mut kept: Vec<&Record> = Vec::new();
    for record in records {
        let is_same = |other: &&Record| same_measurement(other, record);
        match kept.iter_mut().find(|other| is_same(other)) {
            Some(older) => *older = record,
            None => kept.push(record),
        }
    }
    kept
}

fn same_measurement(a: &Record, b: &Record) -> bool {
    a.system == b.system
        && a.backend == b.backend
        && a.bench == b.bench
        && (a.keys, a.value_bytes, &a.distribution) == (b.keys, b.value_bytes, &b.distribution)
        && a.snapshot.changed_percent == b.snapshot.changed_percent
        && a.restore.from_parallelism == b.restore.from_parallelism
        && a.restore.to_parallelism == b.restore.to_parallelism
        && (a.job.interval_ms, a.job.parallelism) == (b.job.interval_ms, b.job.parallelism)
}

/// The records whose bench begins with one of `prefixes`.
fn of<'r>(records: &[&'r Record], prefixes: &[&str]) -> Vec<&'r Record> {
    let begins = |record: &&&Record| prefixes.iter().any(|it| record.bench.starts_with(it));
    records.iter().filter(begins).copied().collect()
}

/// What a line or bar is called: the backend, and the system if it is not ours.
fn series(record: &Record) -> String {
    match record.system.as_str() {
        "millpond" => record.backend.clone(),
        system if system == record.backend => system.to_owned(),
        system => format!("{system} {}", record.backend),
    }
}

fn groups(records: &[&Record], name: impl Fn(&Record) -> String) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for record in records {
        let (name, figure, floor) = (name(record), record.ops_per_s, record.raw_ops_per_s);
        let bar = Bar { series: series(record), figure, floor };
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.bars.push(bar),
            None => groups.push(Group { name, bars: vec![bar] }),
        }
    }
    groups
}

fn state(records: &[&Record]) -> Option<Plot> {
    let kinds = ["value_", "list_", "map_", "reducing_", "aggregating_"];
    let records = of(records, &kinds);
    let first = records.first()?;
    let what = format!("{} keys, values of {} B, one thread", short(first.keys as f64), {
        let longest = records.iter().map(|record| record.value_bytes).max();
        longest.unwrap_or_default()
    });
    let heading = Heading::new("Access to keyed state", &what, &records);
    let groups = groups(&records, |record| record.bench.clone());
    let svg = bars::draw(&heading, &groups, "operations a second (logarithmic)");
    Some(Plot { file_name: "state.svg".to_owned(), svg })
}

fn jobs(records: &[&Record]) -> Option<Plot> {
    let records: Vec<&Record> =
        records.iter().filter(|record| record.bench == "job").copied().collect();
    let first = records.first()?;
    let what = format!(
        "{} records, {} keys, parallelism {}",
        range_of(records.iter().map(|record| record.ops)),
        short(first.keys as f64),
        first.job.parallelism.unwrap_or(1)
    );
    let heading = Heading::new("A job from end to end", &what, &records);
    let groups = groups(&records, |record| match record.job.interval_ms {
        None | Some(0) => "no checkpoints".to_owned(),
        Some(ms) => format!("every {ms} ms"),
    });
    let svg = bars::draw(&heading, &groups, "records a second (logarithmic)");
    Some(Plot { file_name: "job.svg".to_owned(), svg })
}

/// The least and the most of some numbers, or the one that they all are.
fn range_of(numbers: impl Iterator<Item = u64> + Clone) -> String {
    let (least, most) = (numbers.clone().min().unwrap_or(0), numbers.max().unwrap_or(0));
    if least == most {
        return short(most as f64);
    }
    format!("{} to {}", short(least as f64), short(most as f64))
}

fn latency(records: &[&Record]) -> Option<Plot> {
    let records = of(records, &["latency_"]);
    let first = records.first()?;
    let (keys, bytes) = (short(first.keys as f64), first.value_bytes);
    let what = format!("{keys} keys of {bytes} B, 10% changed since the last checkpoint");
    let heading = Heading::new("Latency of single operations", &what, &records);
    // A row for each backend.
    let mut ordered = records.clone();
    ordered.sort_by_key(|it| records.iter().position(|other| series(other) == series(it)));
    let panels: Vec<Panel> = ordered.iter().map(|record| latency_panel(record)).collect();
    Some(Plot { file_name: "latency.svg".to_owned(), svg: lines::draw(&heading, &panels) })
}

fn latency_panel(record: &Record) -> Panel {
    let times = || record.latency.slice_ms.iter().copied();
    let line = |what: &str, dashed, figures: &[f64]| Line {
        name: format!("{}, {what}", series(record)),
        dashed,
        dots: false,
        points: times().zip(figures.iter().copied()).collect(),
    };
    let operation = record.bench.trim_start_matches("latency_");
    Panel {
        title: format!("{}: {operation}", series(record)),
        x_axis: "time (ms)".to_owned(),
        y_axis: "latency (us)".to_owned(),
        lines: vec![
            line("99.9th percentile", false, &record.latency.slice_p999_us),
            line("median", true, &record.latency.slice_p50_us),
        ],
        band: record.latency.checkpoint_ms,
        log_x: false,
        categories: Vec::new(),
    }
}

/// Lines of `figure` over `x`, one for each backend and form.
fn lines_of(
    records: &[&Record],
    prefix: &str,
    point: impl Fn(&Record) -> Option<(f64, f64)>,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for record in records {
        let Some(point) = point(record) else { continue };
        let form = record.bench.trim_start_matches(prefix);
        let name = format!("{}, {form}", series(record));
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => {
                let dashed = form != "full";
                lines.push(Line { name, dashed, dots: true, points: vec![point] });
            }
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

fn checkpoints(records: &[&Record]) -> Option<Plot> {
    let records = of(records, &["snapshot_"]);
    let first = records.first()?;
    let (keys, bytes) = (short(first.keys as f64), first.value_bytes);
    let heading = Heading::new("Checkpoints", &format!("{keys} keys of {bytes} B"), &records);
    let mut categories: Vec<f64> =
        records.iter().filter_map(|record| record.snapshot.changed_percent).collect();
    categories.sort_by(f64::total_cmp);
    categories.dedup();
    let panel = |title: &str, y_axis: &str, figure: fn(&Record) -> Option<f64>| Panel {
        title: title.to_owned(),
        x_axis: "keys changed since the last one (%)".to_owned(),
        y_axis: y_axis.to_owned(),
        lines: lines_of(&records, "snapshot_", |record| {
            Some((record.snapshot.changed_percent?, figure(record)?))
        }),
        band: None,
        log_x: false,
        categories: categories.clone(),
    };
    let panels = [
        panel("Bytes written", "bytes", |it| it.snapshot.bytes_new.map(|bytes| bytes as f64)),
        panel("Time until it is durable", "ms", |it| it.snapshot.async_ms),
        panel("Time that the writer stands still", "ms", |it| it.snapshot.sync_ms),
    ];
    Some(Plot { file_name: "checkpoints.svg".to_owned(), svg: lines::draw(&heading, &panels) })
}

fn restores(records: &[&Record]) -> Option<Plot> {
    let records = of(records, &["restore_"]);
    let first = records.first()?;
    let figures = &first.restore;
    let what = format!(
        "values of {} B, written by {} subtasks, restored by {}",
        first.value_bytes,
        figures.from_parallelism.unwrap_or(1),
        figures.to_parallelism.unwrap_or(1)
    );
    let heading = Heading::new("Restore", &what, &records);
    let panel = Panel {
        title: "Time until all subtasks have their state".to_owned(),
        x_axis: "keys".to_owned(),
        y_axis: "ms".to_owned(),
        lines: lines_of(&records, "restore_", |record| {
            Some((record.keys as f64, record.restore.restore_ms?))
        }),
        band: None,
        log_x: true,
        categories: Vec::new(),
    };
    Some(Plot { file_name: "restore.svg".to_owned(), svg: lines::draw(&heading, &[panel]) })
}

#[cfg(test)]
mod tests;
