//! Running a job: checks what was asked, claims the folders, builds the graph, runs it, and says
//! how it ended.

mod aircraft_days;
mod backends;
mod bad_record;
pub(crate) mod csv_row;
mod dead_letter;
mod defect;
mod event;
mod flight;
mod flight_row;
mod flights;
mod folders;
mod input;
mod lines;
mod nexmark;
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
    Job, JobEnvironment, JobGraph, JobListener, JobOutcome, JobReport, JobSettings,
};
use millpond_state::seam::{Clock, SystemClock};

pub(crate) use folders::file_folder;

use crate::args::{LineArgs, Mode, NexmarkArgs, OnBadRecord, RestoreModeArg, RunArgs};
use crate::control::ControlServer;
use crate::error::{CliError, Result};
use crate::{console, signals, table};
use bad_record::BadRecords;
pub(crate) use csv_row::CsvRow;
use event::Event;
use folders::{Folders, Wanted};
pub(crate) use input::{Generated, NexmarkEvents};
use input::{JobInput, Throttle};
pub(crate) use lines::LineJob;
use progress::Progress;
use start::{Asked, Start};

/// Name of the source vertex.
const SOURCE: &str = "input";
/// Name of the vertex that writes bad records.
const DEAD_LETTER: &str = "dead_letter";
/// Without being told, no more subtasks than this.
const PARALLELISM_DEFAULT_MAX: usize = 4;

/// A job that comes with the command, with its input.
trait RunnableJob {
    /// What checkpoints call it.
    fn name(&self) -> &'static str;

    /// Folders of the output.
    fn sinks(&self) -> &'static [&'static str];

    /// What it reads.
    fn input(&self) -> &dyn JobInput;

    /// What it does with a record that does not parse.
    fn on_bad_record(&self) -> OnBadRecord;

    /// Looks at the input before anything is made.
    ///
    /// # Errors
    /// If it is not of the kind that the job reads.
    fn check_input(&self) -> Result<()>;

    /// Adds all vertices and sinks.
    ///
    /// # Errors
    /// If the output cannot be made.
    fn build(&self, graph: &mut JobGraph, cx: &JobContext) -> Result<()>;

    /// Looks at the output of a finished job, if that was asked for, and tells the verdict.
    ///
    /// # Errors
    /// If the output is not what it must be.
    fn check_output(&self, cx: &JobContext, progress: &Progress) -> Result<()>;
}

/// What the vertices of a job are built from.
pub(crate) struct JobContext {
    parallelism: u32,
    output: PathBuf,
    on_bad_record: OnBadRecord,
    bad_records: BadRecords,
    /// Whether the run begins with nothing before it.
    fresh: bool,
    pace: Pace,
}

/// How fast records may be read.
#[derive(Clone)]
struct Pace {
    clock: Arc<dyn Clock>,
    /// Most records in a second.
    rate: Option<u64>,
}

impl Pace {
    /// What bounds the records of one of `subtasks` subtasks of a source, if anything does.
    fn throttle(&self, subtasks: u32) -> Option<Throttle> {
        let rate = self.rate?.div_ceil(u64::from(subtasks.max(1)));
        Some(Throttle::new(Arc::clone(&self.clock), rate))
    }
}

/// Runs a job that reads lines to its end.
///
/// # Errors
/// Why it could not start or failed; what was committed stays committed.
pub(crate) fn run_lines(job: LineJob, args: &LineArgs) -> Result<()> {
    run(&args.run, || lines::open(job, args))
}

/// Runs a query of NEXMark to its end.
///
/// # Errors
/// As [`run_lines`]; also if the output was to be checked and differs.
pub(crate) fn run_nexmark(args: &NexmarkArgs) -> Result<()> {
    run(&args.run, || Ok(nexmark::open(args)))
}

/// Opens a job and runs it, and tells machines of a failure.
fn run<J: RunnableJob>(args: &RunArgs, open: impl FnOnce() -> Result<J>) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let outcome = open().and_then(|job| {
        let progress = Arc::new(Progress::new(args.json, job.input(), Arc::clone(&clock)));
        let outcome = execute(&job, args, &progress, &clock);
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
    job: &dyn RunnableJob,
    args: &RunArgs,
    progress: &Arc<Progress>,
    clock: &Arc<dyn Clock>,
) -> Result<()> {
    let (input, on_bad_record) = (job.input(), job.on_bad_record());
    job.check_input()?;
    let folders = Folders::prepare(&Wanted {
        job: job.name(),
        input,
        output: &args.output,
        storage: args.checkpoint_storage.as_deref(),
        sinks: job.sinks(),
        restore: args.restore.is_some(),
    })?;
    let start = start::plan_start(
        &Asked {
            job: job.name(),
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
        pace: Pace { clock: Arc::clone(clock), rate: args.rate },
    };
    if cx.parallelism > start.max_parallelism.get() {
        return Err(CliError::Usage(format!(
            "--parallelism {} is above the max parallelism {}",
            cx.parallelism, start.max_parallelism
        )));
    }
    let mut graph = JobGraph::new(settings(job.name(), args, &start));
    job.build(&mut graph, &cx)?;
    progress.tell(&started(job, args, &cx, (&start, &folders)));
    let environment = JobEnvironment {
        storage: Arc::clone(&folders.storage),
        backends: backends::factory(args)?,
        clock: Arc::clone(clock),
        listener: Arc::clone(progress) as Arc<dyn JobListener>,
    };
    let running = Job::new(graph, environment)?;
    let report = run_job(args, progress, (running, &folders), start)?;
    progress.finish();
    summarize(job, args, progress, (&report, &cx, &folders))?;
    if report.outcome == JobOutcome::Stopped { Ok(()) } else { job.check_output(&cx, progress) }
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

fn settings(job: &str, args: &RunArgs, start: &Start) -> JobSettings {
    let ms =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut settings = JobSettings::new(job, start.max_parallelism);
    job.clone_into(&mut settings.kind);
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
    job: &dyn RunnableJob,
    args: &RunArgs,
    cx: &JobContext,
    (start, folders): (&Start, &Folders),
) -> Event {
    Event::Started {
        job: job.name().to_owned(),
        input: job.input().name(),
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
    job: &dyn RunnableJob,
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
    console::print(&format!("job {} {did}", job.name()))?;
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
        job.sinks().iter().map(|sink| args.output.join(sink).display().to_string()).collect();
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
