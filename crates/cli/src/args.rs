//! The arguments of the command, and how their values are written.

mod bench;
mod checkpoint;
pub(crate) mod nexmark;
mod sim;
mod value;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use bench::{
    Barriers, BenchArgs, BenchCommand, BenchJobArgs, BenchPlotArgs, BenchRestoreArgs,
    BenchSnapshotArgs, BenchStateArgs, BenchStorageArgs,
};
pub(crate) use checkpoint::{
    CheckpointCommand, DropStateArgs, ExportArgs, Format, GcArgs, ImportArgs, KindArg,
    OriginalArgs, OutArgs, RekeyArgs, RenameStateArgs, TargetArgs,
};
pub(crate) use nexmark::{NexmarkArgs, NexmarkQuery};
pub(crate) use sim::SimArgs;
pub(crate) use value::{OnBadRecord, RestartArg, RestoreFrom};

/// Run stream jobs whose state survives, and look into their checkpoints.
#[derive(Debug, Parser)]
#[command(name = "millpond", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a job.
    Run {
        #[command(subcommand)]
        job: RunJob,
    },
    /// Have a running job take a savepoint, and say where it is.
    ///
    /// A savepoint is a checkpoint that belongs to you: any state backend restores it at any
    /// parallelism (--restore), it can be moved, and the job never deletes it. It lies in the
    /// job's checkpoint storage, as chk-N.
    Savepoint(SavepointArgs),
    /// Look into checkpoints and make new ones of them; no job runs, none is changed in place.
    Checkpoint {
        #[command(subcommand)]
        command: CheckpointCommand,
    },
    /// Run a job, kill it, restore it, and compare its output with a plain computation.
    Demo(DemoArgs),
    /// Measure state backends, snapshots, restores and jobs on this machine.
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Run simulated schedules of the checkpoint protocol under faults, and check what must hold.
    ///
    /// A whole job, with the coordinator, registry, backends and storage of the product, runs on
    /// one thread in simulated time. Messages are lost, delayed and doubled, processes die at any
    /// step, storage fails before or after the effect, and processes that were taken for dead go
    /// on. All follows from the seed. The first schedule that fails is made small and printed.
    Sim(SimArgs),
}

/// The jobs that come with the command.
#[derive(Debug, Subcommand)]
pub(crate) enum RunJob {
    /// Totals by aircraft and by carrier and hour, from a CSV of departures in scheduled order.
    ///
    /// The input has the columns scheduled_departure, carrier, flight, tailnum, origin, dest,
    /// dep_delay, arr_delay, air_time, distance; scheduled_departure is like 2013-01-01T05:15 and
    /// taken as UTC; an empty dep_delay means cancelled, an empty tailnum is a key of its own.
    ///
    /// Output, exactly once: DIR/aircraft/part-*.csv (one row for each aircraft at the end of
    /// input) and DIR/carrier_hours/part-*.csv (one row for each carrier and hour of scheduled
    /// departure, when the hour is over).
    #[command(after_long_help = JSON_HELP)]
    Flights(LineArgs),
    /// Session windows: each aircraft's days of flying, from the same input as flights.
    ///
    /// A day of flying is a run of scheduled departures of an aircraft less than six hours apart.
    /// Output, exactly once: DIR/aircraft_days/part-*.csv with one row for each day, when it is
    /// over.
    #[command(after_long_help = JSON_HELP)]
    AircraftDays(LineArgs),
    /// A timer for each record.
    ///
    /// The input is a CSV with the columns key (a number) and time_ms, in order of time, or
    /// generate:RECORDS:KEYS for one that is made up. Each record sets a timer of event time, due
    /// 1000 + key modulo 60000 ms later. Output, exactly once: DIR/timeouts/part-*.csv with the
    /// columns key,due_ms when a timer was due; records of the same key and time share one.
    #[command(after_long_help = JSON_HELP)]
    Timeouts(LineArgs),
    /// How often each word occurs in a text.
    ///
    /// A word is a maximal run of alphanumeric characters, in lower case. Output, exactly once:
    /// DIR/words/part-*.csv with the columns word,count at the end of input.
    #[command(after_long_help = JSON_HELP)]
    Wordcount(LineArgs),
    /// A query of the NEXMark benchmark, over the events of an auction site that are made up.
    ///
    /// Event number n is always the same, so a run can be checked and restored. Times in the
    /// output are milliseconds since 1970, prices are in cents. Output, exactly once:
    /// DIR/QUERY/part-*.csv.
    #[command(after_long_help = JSON_HELP)]
    Nexmark(NexmarkArgs),
}

const JSON_HELP: &str = "\
With --json each line of standard output is an object with \"event\" and \"at_ms\" (milliseconds \
since 1970), and:
  started               job, input, output, checkpoint_storage, parallelism, max_parallelism, mode
  nothing_to_restore    --restore latest found no checkpoint: it starts at the beginning
  skipped_damaged       checkpoint, reason: an older one is tried
  restored              checkpoint, written_by (state backend), completed_at_ms, local_bytes,
                        storage_bytes (read on the local disk and in checkpoint storage)
  local_copy_damaged    file, reason: it is read from checkpoint storage
  no_local_copies       reason: checkpoints go on without
  no_control            reason: millpond savepoint cannot reach the job
  output_recovered      sink, committed, aborted, hidden (numbers of files)
  running               all subtasks run
  progress              records (read in this run), position (records before it, too), per_second
  checkpoint_completed  checkpoint, kind, duration_ms, bytes
  checkpoint_aborted    checkpoint, reason
  cleanup_failed        checkpoint, reason
  end_of_input
  restarting            reason, pause_ms
  stopping              a signal came
  finished              outcome (finished, already_finished, stopped), records, bad_records,
                        late_records, checkpoints, last_checkpoint, restarts
  checked               lost, duplicated, wrong (rows of output; run nexmark --check)
  failed                error

Exit status: 0 finished or stopped cleanly, 1 failed, 2 wrong usage, 130 after a second Ctrl-C.";

/// Options of a job that reads lines.
#[derive(Debug, Args)]
pub(crate) struct LineArgs {
    /// File to read, plain or zstd-compressed; `-` for standard input (to restore, give the same
    /// input again from its start); generate:RECORDS:KEYS for one that is made up
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,

    /// What to do with a record that does not parse: fail, skip (and count), or dead-letter FILE
    /// (write it, exactly once, to FILE as line,column,reason,row)
    #[arg(
        long,
        value_name = "fail|skip|dead-letter FILE",
        num_args = 1..=2,
        default_value = "fail"
    )]
    pub(crate) on_bad_record: Vec<OsString>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Options of every job.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Folder for the output; made if it is missing
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,

    /// What keeps the state while the job runs
    #[arg(long, value_enum, default_value_t = StateBackend::Memory)]
    pub(crate) state_backend: StateBackend,

    /// Where state is kept that is not in memory; lost with the process, best on a fast local disk
    /// [default: DIR/state of the output folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Where checkpoints go: a folder, file:///folder, or memory:// (lost with the process)
    /// [default: DIR/checkpoints]
    #[arg(long, value_name = "URL|DIR")]
    pub(crate) checkpoint_storage: Option<String>,

    /// Time from one checkpoint to the next, such as 500ms, 1s or 2m
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = value::duration)]
    pub(crate) interval: Duration,

    /// A checkpoint not complete after so long is given up
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = value::duration)]
    pub(crate) timeout: Duration,

    /// Shortest time between the end of a checkpoint and the next
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = value::duration)]
    pub(crate) min_pause: Duration,

    /// How many checkpoints to keep: older ones serve if the newest is damaged
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) retain: u32,

    /// How many checkpoints in a row may fail before the job does
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) tolerable_failures: u32,

    /// Subtasks of each operator [default: number of cores, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub(crate) parallelism: Option<u32>,

    /// Number of key groups: the most subtasks there can ever be, fixed for the job's life
    /// [default: 128; with --restore: that of the checkpoint]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub(crate) max_parallelism: Option<u32>,

    /// What a restore guarantees
    #[arg(long, value_enum, default_value_t = Mode::ExactlyOnce)]
    pub(crate) mode: Mode,

    /// Most records to read in a second
    #[arg(long, value_name = "RECORDS_PER_S", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rate: Option<u64>,

    /// Go on from the newest whole checkpoint (latest) or from this one (a chk-N folder or its URL)
    #[arg(long, value_name = "latest|PATH", value_parser = value::restore_from)]
    pub(crate) restore: Option<RestoreFrom>,

    /// Who may delete the checkpoint given with --restore PATH: claim makes it one of this job's
    /// own, no-claim leaves it and its files alone and writes everything anew. A checkpoint in
    /// another storage is never claimed
    #[arg(long, value_enum, default_value_t = RestoreModeArg::Claim)]
    pub(crate) restore_mode: RestoreModeArg,

    /// Whether checkpoints write only what changed since the last one
    #[arg(
        long,
        value_name = "true|false",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 1
    )]
    pub(crate) incremental: bool,

    /// Keep a second copy of the newest checkpoint's files in this folder of the local disk, and
    /// restore from there what is whole. Many jobs may share it
    #[arg(long, value_name = "DIR")]
    pub(crate) local_recovery: Option<PathBuf>,

    /// Most objects that each subtask writes to checkpoint storage at once
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    pub(crate) upload_threads: u16,

    /// What to do after a failure that may pass: never, fixed-delay:TIMES:PAUSE,
    /// exponential:FIRST_PAUSE:LONGEST_PAUSE, failure-rate:FAILURES:INTERVAL:PAUSE
    #[arg(
        long,
        value_name = "STRATEGY",
        default_value = "fixed-delay:3:1s",
        value_parser = value::restart
    )]
    pub(crate) restart: RestartArg,

    /// Write events as one JSON object a line to standard output, for machines (see --help)
    #[arg(long)]
    pub(crate) json: bool,

    /// Time between two progress events [default: 1s with --json, 5s without a terminal]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub(crate) progress_interval: Option<Duration>,
}

/// The state backends there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateBackend {
    /// In memory; as safe as the last checkpoint.
    Memory,
    /// In files, mapped into memory: may be larger than memory; as safe as the last checkpoint.
    Fs,
    /// In RocksDB: may be larger than memory; as safe as the last checkpoint.
    Rocksdb,
}

/// Who may delete the checkpoint that a job starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RestoreModeArg {
    /// The job: it is one of its own checkpoints from now on.
    Claim,
    /// Not the job.
    NoClaim,
}

/// What a restore guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Each record counts exactly once.
    ExactlyOnce,
    /// Records may count twice after a restore; checkpoints never make a channel wait.
    AtLeastOnce,
}

/// Options of `savepoint`.
#[derive(Debug, Args)]
pub(crate) struct SavepointArgs {
    /// The job's checkpoint storage: a folder or a file:// URL
    #[arg(value_name = "PATH")]
    pub(crate) path: String,

    /// Read no more input, take the savepoint, and end the job
    #[arg(long)]
    pub(crate) stop: bool,

    /// How long to wait, such as 30s or 10m; the savepoint may complete later
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = value::duration)]
    pub(crate) timeout: Duration,

    /// Say it as one JSON object: checkpoint, path, bytes
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of the demonstration.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The job to run
    #[arg(long, value_enum, default_value_t = DemoJob::Flights)]
    pub(crate) job: DemoJob,

    /// The flights; for timeouts generate:RECORDS:KEYS; for the queries of NEXMark
    /// nexmark:EVENTS:EVENT_TIME_RATE:OUT_OF_ORDER [default: data/flights-2013.csv.zst,
    /// generate:1000000:1000000, or nexmark:500000:1000:100]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Folder to work in: new, empty, or of an earlier demo (which is deleted) [default:
    /// millpond-demo in the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// What keeps the state while the job runs
    #[arg(long, value_enum, default_value_t = StateBackend::Memory)]
    pub(crate) state_backend: StateBackend,

    /// Whether checkpoints write only what changed since the last one
    #[arg(
        long,
        value_name = "true|false",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 1
    )]
    pub(crate) incremental: bool,

    /// Keep a second copy of the newest checkpoint's files and restore from it
    #[arg(long)]
    pub(crate) local_recovery: bool,

    /// How often to kill; more than 10 take several runs of the job, each compared
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) kills: u32,

    /// Decides about the moments of the kills [default: a new one]
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,

    /// Keep the folders of all runs, not only of the last
    #[arg(long)]
    pub(crate) keep: bool,
}

/// The jobs that can be demonstrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DemoJob {
    Flights,
    AircraftDays,
    Timeouts,
    Nexmark(NexmarkQuery),
}

impl ValueEnum for DemoJob {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Flights,
            Self::AircraftDays,
            Self::Timeouts,
            Self::Nexmark(NexmarkQuery::Q3),
            Self::Nexmark(NexmarkQuery::Q4),
            Self::Nexmark(NexmarkQuery::Q5),
            Self::Nexmark(NexmarkQuery::Q7),
            Self::Nexmark(NexmarkQuery::Q8),
            Self::Nexmark(NexmarkQuery::Q11),
            Self::Nexmark(NexmarkQuery::Q12),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Flights => "Totals by aircraft, and by carrier and hour",
            Self::AircraftDays => "Session windows: each aircraft's days of flying",
            Self::Timeouts => "A timer for each record",
            Self::Nexmark(_) => "A query of the NEXMark benchmark",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl DemoJob {
    /// What `--job` calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Flights => "flights",
            Self::AircraftDays => "aircraft-days",
            Self::Timeouts => "timeouts",
            Self::Nexmark(query) => query.job(),
        }
    }

    /// A state of its first operator or, of a query, of its last.
    pub(crate) const fn state(self) -> &'static str {
        match self {
            Self::Flights => "totals",
            Self::AircraftDays => "days",
            Self::Timeouts => "timers:event",
            Self::Nexmark(query) => query.state(),
        }
    }
}

impl StateBackend {
    /// What `--state-backend` calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Fs => "fs",
            Self::Rocksdb => "rocksdb",
        }
    }
}

impl DemoArgs {
    /// The input that was named, or the usual one of the job.
    pub(crate) fn job_input(&self) -> &std::path::Path {
        let usual = match self.job {
            DemoJob::Flights | DemoJob::AircraftDays => "data/flights-2013.csv.zst",
            DemoJob::Timeouts => "generate:1000000:1000000",
            DemoJob::Nexmark(_) => "nexmark:500000:1000:100",
        };
        self.input.as_deref().unwrap_or(std::path::Path::new(usual))
    }
}
