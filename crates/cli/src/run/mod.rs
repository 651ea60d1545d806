//! Running a job: checks what was asked, claims the folders, builds the graph, runs it, and says
//! how it ended.

mod aircraft_days;
mod backends;
mod bad_record;
pub(crate) mod csv_row;
mod dead_letter;
mod event;
mod flight;
mod flights;
mod folders;
mod input;
mod progress;
mod start;
mod timeouts;
mod totals;
mod wordcount;

use std::path::PathBuf;
use std::sync::Arc;

use millpond_checkpoint::registry::RestoreMode;
use millpond_checkpoint::{CheckpointMode, CoordinatorSettings};
use millpond_runtime::{
    Job, JobEnvironment, JobGraph, JobListener, JobOutcome, JobReport, JobSettings, Stream,
};
use millpond_state::seam::{Clock, SystemClock};

pub(crate) use folders::file_folder;

use crate::args::{Mode, OnBadRecord, RestoreModeArg, RunArgs};
use crate::control::ControlServer;
use crate::error::{CliError, Result};
use crate::{console, signals, table};
use bad_record::{BadRecords, Parsed};
pub(crate) use csv_row::CsvRow;
use dead_letter::DeadLetterFile;
use event::Event;
use folders::{Folders, Wanted};
pub(crate) use input::Generated;
use input::{HeaderCheck, Input, LineSource, Throttle};
use progress::Progress;
use start::{Asked, Start};

/// Name of the source vertex.
const SOURCE: &str = "input";
/// Name of the vertex that writes bad records.
const DEAD_LETTER: &str = "dead_letter";
/// Without being told, no more subtasks than this.
const PARALLELISM_DEFAULT_MAX: usize = 4;

/// The jobs that come with the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobKind {
    Flights,
    AircraftDays,
    Timeouts,
    Wordcount,
}

impl JobKind {
    fn name(self) -> &'static str {
        match self {
            Self::Flights => "flights",
            Self::AircraftDays => "aircraft-days",
            Self::Timeouts => "timeouts",
            Self::Wordcount => "wordcount",
        }
    }

    fn sinks(self) -> &'static [&'static str] {
        match self {
            Self::Flights => &flights::SINKS,
            Self::AircraftDays => &aircraft_days::SINKS,
            Self::Timeouts => &timeouts::SINKS,
            Self::Wordcount => &wordcount::SINKS,
        }
    }

    /// What the first line of the input must be, if it is a header.
    fn header(self) -> Option<HeaderCheck> {
        match self {
            Self::Flights | Self::AircraftDays => Some(flight::check_header),
            Self::Timeouts => Some(timeouts::check_header),
            Self::Wordcount => None,
        }
    }
}

/// What the vertices of a job are built from.
#[derive(Debug)]
pub(crate) struct JobContext {
    parallelism: u32,
    output: PathBuf,
    on_bad_record: OnBadRecord,
    bad_records: BadRecords,
    /// Whether the run begins with nothing before it.
    fresh: bool,
}

/// Runs a job to its end.
///
/// # Errors
/// Why it could not start or failed; what was committed stays committed.
pub(crate) fn run(kind: JobKind, args: &RunArgs) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let outcome = Input::open(&args.input).and_then(|input| {
        let progress = Arc::new(Progress::new(args.json, &input, Arc::clone(&clock)));
        let outcome = execute(kind, args, &input, &progress, &clock);
        progress.finish();
        outcome
    });
    if let (Err(error), true) = (&outcome, args.json)
        && let Some(error) = error.message()
    {
        let line = serde_json::json!({"at_ms": clock.wall_ms(), "event": "failed", "error": error});
        let _ = console::print(&line.to_string());
    }
    outcome
}

fn execute(
    kind: JobKind,
    args: &RunArgs,
    input: &Input,
    progress: &Arc<Progress>,
    clock: &Arc<dyn Clock>,
) -> Result<()> {
    let on_bad_record = OnBadRecord::parse(&args.on_bad_record)?;
    if let Some(check_header) = kind.header()
        && let Some(line) = input.first_line()?
    {
        let named = |defect| CliError::new(format!("{}: {defect}", input.name()));
        check_header(&line).map_err(named)?;
    }
    let folders = Folders::prepare(&Wanted {
        job: kind.name(),
        input,
        output: &args.output,
        storage: args.checkpoint_storage.as_deref(),
        sinks: kind.sinks(),
        restore: args.restore.is_some(),
    })?;
    let start = start::plan_start(
        &Asked {
            job: kind.name(),
            restore: args.restore.as_ref(),
            max_parallelism: args.max_parallelism,
            dead_letter: matches!(on_bad_record, OnBadRecord::DeadLetter(_)),
        },
        &folders,
    )?;
    let cx = JobContext {
        parallelism: args.parallelism.unwrap_or_else(default_parallelism),
        output: args.output.clone(),
        bad_records: BadRecords::new(on_bad_record.clone(), input.name()),
        on_bad_record,
        fresh: start.fresh,
    };
    if cx.parallelism > start.max_parallelism.get() {
        return Err(CliError::Usage(format!(
            "--parallelism {} is above the max parallelism {}",
            cx.parallelism, start.max_parallelism
        )));
    }
    let graph = build(kind, args, input, &cx, (&start, clock))?;
    progress.tell(&started(kind, args, input, &cx, (&start, &folders)));
    let environment = JobEnvironment {
        storage: Arc::clone(&folders.storage),
        backends: backends::factory(args)?,
        clock: Arc::clone(clock),
        listener: Arc::clone(progress) as Arc<dyn JobListener>,
    };
    let job = Job::new(graph, environment)?;
    let report = run_job(args, progress, (job, &folders), start)?;
    progress.finish();
    summarize(kind, args, progress, (&report, &cx, &folders))
}

fn run_job(
    args: &RunArgs,
    progress: &Arc<Progress>,
    (job, folders): (Job, &Folders),
    start: Start,
) -> Result<JobReport> {
    let (handle, told) = (job.handle(), Arc::clone(progress));
    signals::on_first(move || {
        told.tell(&Event::Stopping);
        handle.stop();
    })?;
    let _ticker = progress.start(job.handle(), args.progress_interval)?;
    let _control = folders.checkpoints.as_ref().and_then(|folder| {
        let unreachable = |error: CliError| {
            let reason = error.message().unwrap_or_default();
            progress.tell(&Event::NoControl { reason });
        };
        ControlServer::start(folder, job.handle()).map_err(unreachable).ok()
    });
    job.run(start.from).map_err(|error| {
        let retry = error.kind() == millpond_runtime::JobErrorKind::State
            || error.kind() == millpond_runtime::JobErrorKind::Output;
        let error = CliError::from(error);
        if !retry {
            return error;
        }
        error.advice("mend that, then go on with --restore latest: what was committed stands")
    })
}

fn default_parallelism() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores.min(PARALLELISM_DEFAULT_MAX)).unwrap_or(1)
}

fn build(
    kind: JobKind,
    args: &RunArgs,
    input: &Input,
    cx: &JobContext,
    (start, clock): (&Start, &Arc<dyn Clock>),
) -> Result<JobGraph> {
    let mut graph = JobGraph::new(settings(kind, args, start));
    let header = kind.header();
    let (source, clock, rate) = (input.clone(), Arc::clone(clock), args.rate);
    let lines = graph.source(SOURCE, 1, move |_| {
        let throttle = rate.map(|rate| Throttle::new(Arc::clone(&clock), rate));
        Ok(LineSource::new(source.clone(), throttle, header))
    });
    match kind {
        JobKind::Flights => {
            let parsed = flights::build(&mut graph, &lines, cx)?;
            add_dead_letter(&mut graph, &parsed, cx)?;
        }
        JobKind::AircraftDays => {
            let parsed = aircraft_days::build(&mut graph, &lines, cx)?;
            add_dead_letter(&mut graph, &parsed, cx)?;
        }
        JobKind::Timeouts => {
            let parsed = timeouts::build(&mut graph, &lines, cx)?;
            add_dead_letter(&mut graph, &parsed, cx)?;
        }
        JobKind::Wordcount => {
            let parsed = wordcount::build(&mut graph, &lines, cx)?;
            add_dead_letter(&mut graph, &parsed, cx)?;
        }
    }
    Ok(graph)
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
    let pass_on = |_| {
        Ok(|record, out: &mut dyn millpond_runtime::Collector<_>| {
            let record: bad_record::BadRecord = record;
            out.emit(&record)
        })
    };
    let bad = graph.transform(DEAD_LETTER, 1, parsed, (project, None, pass_on));
    graph.sink(&bad, DEAD_LETTER, file);
    Ok(())
}

fn settings(kind: JobKind, args: &RunArgs, start: &Start) -> JobSettings {
    let ms =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut settings = JobSettings::new(kind.name(), start.max_parallelism);
    kind.name().clone_into(&mut settings.kind);
    settings.restart = args.restart.0.clone();
    settings.incremental = args.incremental;
    settings.upload_threads = usize::from(args.upload_threads);
    settings.local_recovery.clone_from(&args.local_recovery);
    settings.restore_mode = match args.restore_mode {
        RestoreModeArg::Claim => RestoreMode::Claim,
        RestoreModeArg::NoClaim => RestoreMode::NoClaim,
    };
    settings.checkpoints = CoordinatorSettings {
        interval_ms: Some(ms(args.interval)),
        timeout_ms: ms(args.timeout),
        min_pause_ms: ms(args.min_pause),
        retained_max: args.retain,
        tolerable_consecutive_failures: Some(args.tolerable_failures),
        mode: match args.mode {
            Mode::ExactlyOnce => CheckpointMode::ExactlyOnce,
            Mode::AtLeastOnce => CheckpointMode::AtLeastOnce,
        },
        ..CoordinatorSettings::default()
    };
    settings
}

fn started(
    kind: JobKind,
    args: &RunArgs,
    input: &Input,
    cx: &JobContext,
    (start, folders): (&Start, &Folders),
) -> Event {
    Event::Started {
        job: kind.name().to_owned(),
        input: input.name(),
        output: args.output.display().to_string(),
        checkpoint_storage: folders.storage.url().to_owned(),
        parallelism: cx.parallelism,
        max_parallelism: start.max_parallelism.get(),
        mode: match args.mode {
            Mode::ExactlyOnce => "exactly-once".to_owned(),
            Mode::AtLeastOnce => "at-least-once".to_owned(),
        },
    }
}

fn summarize(
    kind: JobKind,
    args: &RunArgs,
    progress: &Progress,
    (report, cx, folders): (&JobReport, &JobContext, &Folders),
) -> Result<()> {
    let (records, bad_records) = (progress.records(), cx.bad_records.count());
    if progress.is_json() {
        progress.tell(&Event::Finished {
            outcome: event::outcome_name(report.outcome),
            records,
            bad_records,
            late_records: report.late_records,
            checkpoints: report.checkpoints_completed,
            last_checkpoint: report.last_checkpoint.map(|it| it.get()),
            restarts: report.restarts,
        });
        return Ok(());
    }
    let did = match report.outcome {
        JobOutcome::AlreadyFinished => "had finished already: nothing was left to do",
        JobOutcome::Stopped => "stopped before the end of its input",
        _ => "finished",
    };
    let last =
        report.last_checkpoint.map_or_else(String::new, |last| format!(", the last is {last}"));
    console::print(&format!("job {} {did}", kind.name()))?;
    console::print(&format!(
        "  {} records read, {} checkpoints{last}",
        table::count(records),
        report.checkpoints_completed
    ))?;
    if bad_records > 0 {
        let fate = match &cx.on_bad_record {
            OnBadRecord::DeadLetter(path) => format!("written to {}", path.display()),
            _ => "skipped".to_owned(),
        };
        console::print(&format!("  {} bad records {fate}", table::count(bad_records)))?;
    }
    if report.late_records > 0 {
        let late = table::count(report.late_records);
        console::print(&format!("  {late} records left out: their window was over"))?;
    }
    let outputs: Vec<String> =
        kind.sinks().iter().map(|sink| args.output.join(sink).display().to_string()).collect();
    console::print(&format!("  output: {}", outputs.join(", ")))?;
    if report.outcome == JobOutcome::Stopped {
        console::print(&way_on(folders))?;
    }
    Ok(())
}

fn way_on(folders: &Folders) -> String {
    if folders.checkpoints.is_some() {
        "  go on with the same command and --restore latest".to_owned()
    } else {
        "  its checkpoints were in memory: it can only be started anew".to_owned()
    }
}
