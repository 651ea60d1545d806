//! The jobs that read lines.

use millpond_runtime::{Collector, JobGraph, Stream};

use super::bad_record::{BadRecord, Parsed};
use super::dead_letter::DeadLetterFile;
use super::input::{HeaderCheck, Input, JobInput, LineSource};
use super::progress::Progress;
use super::{
    DEAD_LETTER, JobContext, RunnableJob, SOURCE, aircraft_days, flight_row, flights, timeouts,
    wordcount,
};
use crate::args::{LineArgs, OnBadRecord};
use crate::error::{CliError, Result};

/// The jobs that read lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineJob {
    Flights,
    AircraftDays,
    Timeouts,
    Wordcount,
}

impl LineJob {
    /// What the first line of the input must be, if it is a header.
    fn header(self) -> Option<HeaderCheck> {
        match self {
            Self::Flights | Self::AircraftDays => Some(flight_row::check_header),
            Self::Timeouts => Some(timeouts::check_header),
            Self::Wordcount => None,
        }
    }
}

/// Opens the input of a job.
///
/// # Errors
/// If that cannot be read, or an option makes no sense.
pub(super) fn open(job: LineJob, args: &LineArgs) -> Result<impl RunnableJob> {
    let on_bad_record = OnBadRecord::parse(&args.on_bad_record)?;
    Ok(LineRun { job, input: Input::open(&args.input)?, on_bad_record })
}

struct LineRun {
    job: LineJob,
    input: Input,
    on_bad_record: OnBadRecord,
}

impl RunnableJob for LineRun {
    fn name(&self) -> &'static str {
        match self.job {
            LineJob::Flights => "flights",
            LineJob::AircraftDays => "aircraft-days",
            LineJob::Timeouts => "timeouts",
            LineJob::Wordcount => "wordcount",
        }
    }

    fn sinks(&self) -> &'static [&'static str] {
        match self.job {
            LineJob::Flights => &flights::SINKS,
            LineJob::AircraftDays => &aircraft_days::SINKS,
            LineJob::Timeouts => &timeouts::SINKS,
            LineJob::Wordcount => &wordcount::SINKS,
        }
    }

    fn input(&self) -> &dyn JobInput {
        &self.input
    }

    fn on_bad_record(&self) -> OnBadRecord {
        self.on_bad_record.clone()
    }

    fn check_input(&self) -> Result<()> {
        if let Some(check_header) = self.job.header()
            && let Some(line) = self.input.first_line()?
        {
            let named = |defect| CliError::new(format!("{}: {defect}", self.input.name()));
            check_header(&line).map_err(named)?;
        }
        Ok(())
    }

    fn build(&self, graph: &mut JobGraph, cx: &JobContext) -> Result<()> {
        let header = self.job.header();
        let (input, pace) = (self.input.clone(), cx.pace.clone());
        let lines = graph.source(SOURCE, 1, move |_| {
            Ok(LineSource::new(input.clone(), pace.throttle(1), header))
        });
        match self.job {
            LineJob::Flights => {
                let parsed = flights::build(graph, &lines, cx)?;
                add_dead_letter(graph, &parsed, cx)
            }
            LineJob::AircraftDays => {
                let parsed = aircraft_days::build(graph, &lines, cx)?;
                add_dead_letter(graph, &parsed, cx)
            }
            LineJob::Timeouts => {
                let parsed = timeouts::build(graph, &lines, cx)?;
                add_dead_letter(graph, &parsed, cx)
            }
            LineJob::Wordcount => {
                let parsed = wordcount::build(graph, &lines, cx)?;
                add_dead_letter(graph, &parsed, cx)
            }
        }
    }

    fn check_output(&self, _cx: &JobContext, _progress: &Progress) -> Result<()> {
        Ok(())
    }
}

/// Lets bad records flow to their file, if there is to be one.
fn add_dead_letter<T: Clone + Send + 'static>(
    graph: &mut JobGraph,
    parsed: &Stream<Parsed<T>>,
    cx: &JobContext,
) -> Result<()> {
    let OnBadRecord::DeadLetter(path) = &cx.on_bad_record else { return Ok(()) };
    let file = DeadLetterFile::open(path, cx.fresh)?;
    let project = Parsed::bad;
    let pass_on = |_| Ok(|record: BadRecord, out: &mut dyn Collector<_>| out.emit(&record));
    let bad = graph.transform(DEAD_LETTER, 1, parsed, (project, None, pass_on));
    graph.sink(&bad, DEAD_LETTER, file);
    Ok(())
}
