//! Shows how a run goes: a bar on a terminal, lines elsewhere, JSON for machines.

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use millpond_runtime::{JobHandle, JobListener, JobNotice};
use millpond_state::seam::Clock;
use serde::Serialize;

use super::SOURCE;
use super::event::Event;
use super::input::{Gauge, JobInput};
use crate::background::Ticker;
use crate::error::Result;
use crate::{console, table};

/// Between two redraws of the bar.
const BAR_PERIOD: Duration = Duration::from_millis(100);
/// Between two progress lines.
const PLAIN_PERIOD: Duration = Duration::from_secs(5);
/// Between two progress events.
const JSON_PERIOD: Duration = Duration::from_secs(1);

enum Style {
    Json,
    Plain,
    Bar(ProgressBar),
}

/// What the progress line shows beside the records.
#[derive(Clone, Copy, Default)]
struct Seen {
    checkpoints: u64,
    /// Duration in milliseconds and bytes of the last checkpoint.
    last: Option<(u64, u64)>,
    /// When the records were last counted, and how many there were.
    counted: (Duration, u64),
    per_second: u64,
}

/// Listens to a job and shows what it does. Shared by threads.
pub(crate) struct Progress {
    style: Style,
    clock: Arc<dyn Clock>,
    gauge: Arc<Gauge>,
    handle: OnceLock<JobHandle>,
    seen: Mutex<Seen>,
}

#[derive(Serialize)]
struct Stamped<'a> {
    at_ms: u64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Progress {
    /// Shows the progress of reading `input`.
    pub(crate) fn new(json: bool, input: &dyn JobInput, clock: Arc<dyn Clock>) -> Self {
        let style = if json {
            Style::Json
        } else if std::io::stderr().is_terminal() {
            Style::Bar(bar(input))
        } else {
            Style::Plain
        };
        let seen = Seen { counted: (clock.monotonic(), 0), ..Seen::default() };
        Self {
            style,
            clock,
            gauge: Arc::clone(input.gauge()),
            handle: OnceLock::new(),
            seen: Mutex::new(seen),
        }
    }

    /// Whether machines are listening.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.style, Style::Json)
    }

    /// Shows progress from time to time until the ticker is dropped.
    ///
    /// # Errors
    /// If there is no thread left.
    pub(crate) fn start(
        self: &Arc<Self>,
        handle: JobHandle,
        period: Option<Duration>,
    ) -> Result<Ticker> {
        let _ = self.handle.set(handle);
        let usual = match self.style {
            Style::Json => JSON_PERIOD,
            Style::Plain => PLAIN_PERIOD,
            Style::Bar(_) => BAR_PERIOD,
        };
        let progress = Arc::clone(self);
        Ticker::start(period.unwrap_or(usual).max(Duration::from_millis(1)), move || {
            progress.tick();
        })
    }

    /// Records read in this run.
    pub(crate) fn records(&self) -> u64 {
        self.handle.get().and_then(|handle| handle.records(SOURCE)).unwrap_or(0)
    }

    /// Tells of something.
    pub(crate) fn tell(&self, event: &Event) {
        match &self.style {
            Style::Json => {
                let stamped = Stamped { at_ms: self.clock.wall_ms(), event };
                if let Ok(line) = serde_json::to_string(&stamped) {
                    // A reader that has gone must not end the job.
                    let _ = console::print(&line);
                }
            }
            Style::Plain => {
                if let Some(line) = event.text() {
                    console::note(&line);
                }
            }
            Style::Bar(bar) => {
                if let Some(line) = event.text() {
                    bar.suspend(|| console::note(&line));
                }
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Style::Bar(bar) = &self.style {
            bar.finish_and_clear();
        }
    }

    fn tick(&self) {
        let (records, now) = (self.records(), self.clock.monotonic());
        let seen = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let (then, before) = seen.counted;
            let passed_us = now.saturating_sub(then).as_micros().max(1);
            let new = u128::from(records.saturating_sub(before));
            seen.per_second = u64::try_from(new * 1_000_000 / passed_us).unwrap_or(u64::MAX);
            seen.counted = (now, records);
            *seen
        };
        let position = self.gauge.records.load(Ordering::Relaxed);
        match &self.style {
            Style::Json => {
                self.tell(&Event::Progress { records, position, per_second: seen.per_second });
            }
            Style::Plain => console::note(&line(records, &seen)),
            Style::Bar(bar) => {
                bar.set_position(self.gauge.file_bytes.load(Ordering::Relaxed));
                bar.set_message(line(records, &seen));
            }
        }
    }
}

impl JobListener for Progress {
    fn on_notice(&self, notice: &JobNotice<'_>) {
        let Some(event) = Event::of_notice(notice) else { return };
        if let Event::CheckpointCompleted { duration_ms, bytes, .. } = &event {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.checkpoints += 1;
            seen.last = Some((*duration_ms, *bytes));
        }
        self.tell(&event);
    }
}

fn line(records: u64, seen: &Seen) -> String {
    let last = seen.last.map_or_else(String::new, |(ms, bytes)| {
        format!(" (last: {}, {})", table::millis(ms), table::bytes(bytes))
    });
    format!(
        "{} records, {}/s, {} checkpoints{last}",
        table::count(records),
        table::count(seen.per_second),
        seen.checkpoints
    )
}

fn bar(input: &dyn JobInput) -> ProgressBar {
    let (bar, template) = match input.file_bytes() {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:30} {percent:>3}%  {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner}  {msg}"),
    };
    // A template that does not parse would leave the default one.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
