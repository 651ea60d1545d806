//! The arguments of `millpond bench`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use millpond_bench::Distribution;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Access to keyed state: the cases of Flink's own state benchmarks.
    #[command(after_long_help = STATE_HELP)]
    State(BenchStateArgs),
    /// Snapshots, full and incremental: how long the writer stands still, how long and how many
    /// bytes they take, and the latency of single operations meanwhile.
    #[command(after_long_help = SNAPSHOT_HELP)]
    Snapshot(BenchSnapshotArgs),
    /// Restores, at the same or another parallelism.
    #[command(after_long_help = RESTORE_HELP)]
    Restore(BenchRestoreArgs),
    /// A job from end to end: random keys, exchange by key, a count of each, a sum.
    #[command(after_long_help = JOB_HELP)]
    Job(BenchJobArgs),
    /// Draw results that --json wrote.
    Plot(BenchPlotArgs),
}

const STATE_HELP: &str = "\
Cases: value_add value_update value_get list_add list_append list_get list_get_and_iterate \
list_add_all list_update map_add map_update map_get map_contains map_is_empty map_keys map_values \
map_entries map_iterator map_remove map_put_all reducing_add aggregating_add; with _ttl at the \
end, the same on state with a time to live. Lists have 100 elements where they are read and one \
where they are written, maps have 10 user keys. An operation is one call, but in map_keys, \
map_values, map_entries and map_iterator one user key.

Each case of each backend runs in a process of its own. peak_rss_bytes is the most memory that it \
had before its floor was made, the benchmark's own (8 bytes a key) included.

Example:
  millpond bench state --state-backend memory,rocksdb --cases value_get,value_update --raw";

const SNAPSHOT_HELP: &str = "\
Results: snapshot_full and, of backends with a form of their own, snapshot_incremental for each \
share of changed keys, with sync_ms (the writer stands still), async_ms (until it is durable), \
bytes_total and bytes_new; latency_get and latency_update with the 99.9th percentile outside and \
during a checkpoint. Floors, in the same run: zstd_ms (the same bytes compressed) and disk_ms (as \
many bytes written and synced); ratio_to_floor is the slower of them, of async_ms. ops are keys.

Example:
  millpond bench snapshot --state-backend memory --checkpoint-storage /mnt/disk --changed 0,1,10";

const RESTORE_HELP: &str = "\
restore_ms is the time until all subtasks, each on a thread, have their state. Of incremental \
checkpoints a base and one on top of it, with a tenth of the keys changed, are restored. Floors: \
zstd_ms (the same bytes decompressed on one thread) and disk_ms (as many bytes read).

Example:
  millpond bench restore --keys 100000,1000000 --from 2 --to 3 --plot plots";

const JOB_HELP: &str = "\
With --raw, the same job written by hand (threads, channels, a hash map) is measured in the same \
run.

Example:
  millpond bench job --state-backend memory --interval off,1s --raw";

/// Options of all benchmarks.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The state backends to measure, separated by commas [default: all of this build]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) state_backend: Vec<String>,

    /// Rounds over which the median is taken
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) rounds: u32,

    /// What keys and their order follow from
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Where state is kept that is not in memory: name a folder on the disk to be measured; made if
    /// it is missing, emptied of what was put there [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Write results as one JSON object a line to standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw the results as SVG files in this folder; made if it is missing
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,

    /// Measure in this process
    #[arg(long, hide = true)]
    pub(crate) in_process: bool,
}

/// Options of `bench state`.
#[derive(Debug, Args)]
pub(crate) struct BenchStateArgs {
    #[command(flatten)]
    pub(crate) common: BenchArgs,

    /// The cases, separated by commas (see --help), or all
    #[arg(long, value_name = "all|LIST", default_value = "all")]
    pub(crate) cases: String,

    /// Measure each case with a time to live, too
    #[arg(long)]
    pub(crate) ttl: bool,

    /// Preset keys
    #[arg(
        long,
        value_name = "N",
        default_value_t = 500_000,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) keys: u64,

    /// Accesses in a round, and new keys where those are used [default: the number of keys, at most
    /// 500000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) ops: Option<u64>,

    /// Bytes of a value of value and map states; 8 for longs
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) value_bytes: u32,

    /// Which keys are used how often: uniform, or zipf:S with an exponent such as zipf:0.99
    #[arg(long, value_name = "uniform|zipf:S", default_value = "uniform")]
    pub(crate) distribution: Distribution,

    /// Measure the floor in the same run: a raw hash map, or the raw rocksdb crate
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Where the checkpoints of a benchmark go.
#[derive(Debug, Args)]
pub(crate) struct BenchStorageArgs {
    /// Where checkpoints go: a folder, file:///folder, or memory://; they are put below a folder of
    /// their own there, which is removed [default: the folder for temporary files]
    #[arg(long, value_name = "URL|DIR")]
    pub(crate) checkpoint_storage: Option<String>,
}

/// Options of `bench snapshot`.
#[derive(Debug, Args)]
pub(crate) struct BenchSnapshotArgs {
    #[command(flatten)]
    pub(crate) common: BenchArgs,

    #[command(flatten)]
    pub(crate) storage: BenchStorageArgs,

    /// Number of keys
    #[arg(
        long,
        value_name = "N",
        default_value_t = 500_000,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) keys: u64,

    /// Bytes of a value
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) value_bytes: u32,

    /// Keys changed since the last checkpoint, in percent, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0,1,10")]
    pub(crate) changed: Vec<f64>,

    /// How long latency is measured before and after a checkpoint; 0ms for not at all
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1s",
        value_parser = super::value::duration
    )]
    pub(crate) latency: Duration,
}

/// Options of `bench restore`.
#[derive(Debug, Args)]
pub(crate) struct BenchRestoreArgs {
    #[command(flatten)]
    pub(crate) common: BenchArgs,

    #[command(flatten)]
    pub(crate) storage: BenchStorageArgs,

    /// Numbers of keys, separated by commas
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "500000",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) keys: Vec<u64>,

    /// Bytes of a value
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) value_bytes: u32,

    /// Parallelism that the state is written at
    #[arg(
        long,
        value_name = "P",
        default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) from: u32,

    /// Parallelism that it is restored at
    #[arg(
        long,
        value_name = "Q",
        default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) to: u32,
}

/// Options of `bench job`.
#[derive(Debug, Args)]
pub(crate) struct BenchJobArgs {
    #[command(flatten)]
    pub(crate) common: BenchArgs,

    #[command(flatten)]
    pub(crate) storage: BenchStorageArgs,

    /// Records of one run
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000_000,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) records: u64,

    /// Number of keys
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) keys: u64,

    /// Which keys are used how often: uniform, or zipf:S with an exponent such as zipf:0.99
    #[arg(long, value_name = "uniform|zipf:S", default_value = "uniform")]
    pub(crate) distribution: Distribution,

    /// Subtasks of each vertex
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) parallelism: u32,

    /// Time from one checkpoint to the next, or off; several, separated by commas, in turn
    #[arg(long, value_name = "off|DURATION", value_delimiter = ',', default_value = "off")]
    pub(crate) interval: Vec<IntervalArg>,

    /// Whether checkpoints write only what changed since the last one
    #[arg(
        long,
        value_name = "true|false",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 1
    )]
    pub(crate) incremental: bool,

    /// Whether barriers wait for each other in front of an operator
    #[arg(long, value_enum, default_value_t = Barriers::Aligned)]
    pub(crate) barriers: Barriers,

    /// Measure the job written by hand in the same run
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Whether barriers wait for each other in front of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Barriers {
    /// They do.
    Aligned,
    /// They overtake records, which go into the checkpoint: not in this runtime yet.
    Unaligned,
}

/// Time between checkpoints, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IntervalArg(pub(crate) Option<Duration>);

impl FromStr for IntervalArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            text => match super::value::duration(text)? {
                Duration::ZERO => Err("it must be above 0; off for no checkpoints".to_owned()),
                interval => Ok(Self(Some(interval))),
            },
        }
    }
}

/// What to draw.
#[derive(Debug, Args)]
pub(crate) struct BenchPlotArgs {
    /// Results as --json writes them; - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Folder for the SVG files; made if it is missing
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
