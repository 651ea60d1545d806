//! The arguments of `millpond bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use millpond_bench::Distribution;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Access to keyed state: the cases of Flink's own state benchmarks.
    #[command(after_long_help = STATE_HELP)]
    State(BenchStateArgs),
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
