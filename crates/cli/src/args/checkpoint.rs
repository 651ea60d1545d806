//! The arguments of `millpond checkpoint`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What to look at, and what to make of it.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// The checkpoints in a storage.
    List(TargetArgs),
    /// What is in a checkpoint: vertices, subtasks, states, entries, key-group skew, times.
    Show(TargetArgs),
    /// Check every byte; exit status 1 if something is damaged.
    Verify(TargetArgs),
    /// List what no checkpoint refers to: uploads of checkpoints that were aborted or of jobs that
    /// were killed. Nothing is deleted without --delete; stop the job before.
    Gc(GcArgs),
    /// Print typed state, one row for each entry (of a list for each element).
    #[command(after_long_help = EXPORT_HELP)]
    Export(ExportArgs),
    /// Copy a checkpoint for another max parallelism, and compare both sides.
    ///
    /// Every key goes to its new key group; operators keep their parallelism and what else they
    /// have, such as positions in the input. A job restored from the copy goes on exactly.
    #[command(after_long_help = REKEY_HELP)]
    Rekey(RekeyArgs),
    /// Write a checkpoint with a state read from a table, new or as a copy with that state replaced
    /// or added.
    ///
    /// The table has the columns that export prints, in any order; rows may come in any order,
    /// elements of one list in the list's order. CSV needs a header and cannot tell an empty text
    /// from none: use json where that matters.
    #[command(after_long_help = IMPORT_HELP)]
    Import(Box<ImportArgs>),
    /// Copy a checkpoint without one state.
    #[command(after_long_help = DROP_HELP)]
    DropState(DropStateArgs),
    /// Copy a checkpoint with one state under another name.
    #[command(after_long_help = RENAME_HELP)]
    RenameState(RenameStateArgs),
}

const EXPORT_HELP: &str = "\
Columns: key, namespace if there is one, user_key (of maps) or time (of timers), value. A record \
has a column for each field, a tuple one for each part (key_0, key_1); a state with a time to live \
has touched_ms, when the row was last touched in milliseconds of its clock. Bytes are hexadecimal; \
records within records are JSON.

Example:
  millpond checkpoint export out/checkpoints --operator aircraft --state totals > totals.csv";

const REKEY_HELP: &str = "\
Example:
  millpond checkpoint rekey out/checkpoints --max-parallelism 96 rekeyed
  millpond run flights --input FILE --output out --restore rekeyed --max-parallelism 96";

const IMPORT_HELP: &str = "\
Types are written as `checkpoint show` prints them: u8 to u128, i8 to i128, f32, f64, bool, \
string, bytes, void, option<T>, tuple<A,B>, record<name:T,...>, expiring<processing,T>, \
expiring<event,T>; a version other than 1 follows as in \"record<a:u64> v2\".

Examples:
  a state of a checkpoint, changed by hand:
    millpond checkpoint export out/checkpoints --operator aircraft --state totals > totals.csv
    millpond checkpoint import totals.csv changed --from out/checkpoints --operator aircraft \\
        --state totals
  a new job that starts with counts from a table with the columns key and count:
    millpond checkpoint import words.csv start --job wordcount --operator words --state counts \\
        --kind reducing --key string --value 'record<count:u64>'
    millpond run wordcount --input TEXT --output out --restore start";

const DROP_HELP: &str = "\
Example:
  millpond checkpoint drop-state out/checkpoints --operator aircraft --state totals without";

const RENAME_HELP: &str = "\
Example:
  millpond checkpoint rename-state out/checkpoints --operator aircraft --from totals --to sums \\
      renamed";

/// Which checkpoints.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// The checkpoint storage (URL or folder), or the folder of one checkpoint
    #[arg(value_name = "URL")]
    pub(crate) url: String,

    /// Only the checkpoint of this number [default: show takes the newest, list and verify all]
    #[arg(long, value_name = "N")]
    pub(crate) id: Option<u64>,

    /// Write JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to clean up.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// The checkpoint storage (URL or folder)
    #[arg(value_name = "URL")]
    pub(crate) url: String,

    /// Delete what is listed as orphan
    #[arg(long)]
    pub(crate) delete: bool,

    /// Only what was written longer ago than this is an orphan
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "24h",
        value_parser = super::value::duration
    )]
    pub(crate) older_than: std::time::Duration,

    /// Write JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which one checkpoint.
#[derive(Debug, Args)]
pub(crate) struct OriginalArgs {
    /// The folder of a checkpoint, or a checkpoint storage (then the newest is taken)
    #[arg(value_name = "PATH")]
    pub(crate) path: String,

    /// The checkpoint of this number
    #[arg(long, value_name = "N")]
    pub(crate) id: Option<u64>,
}

/// Which state of which operator.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// The operator (vertex)
    #[arg(long)]
    pub(crate) operator: String,

    /// The state
    #[arg(long)]
    pub(crate) state: String,
}

/// Where a new checkpoint goes.
#[derive(Debug, Args)]
pub(crate) struct OutArgs {
    /// Folder for the new checkpoint, empty or not there: with --restore a job starts from it
    #[arg(value_name = "OUT")]
    pub(crate) out: String,

    /// Memory for sorting; what is more goes through temporary files in OUT
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) memory_mib: u32,

    /// Write what was done as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which state to print, and how.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) original: OriginalArgs,

    #[command(flatten)]
    pub(crate) state: StateArgs,

    /// csv with a header, or json with one object a line
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub(crate) format: Format,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Json,
}

/// Which checkpoint to copy for how many key groups.
#[derive(Debug, Args)]
pub(crate) struct RekeyArgs {
    #[command(flatten)]
    pub(crate) original: OriginalArgs,

    /// Number of key groups of the copy: the most subtasks that the job can then have
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub(crate) max_parallelism: u32,

    #[command(flatten)]
    pub(crate) out: OutArgs,
}

/// What to read into which state.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The table; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) out: OutArgs,

    #[command(flatten)]
    pub(crate) state: StateArgs,

    /// csv with a header, or json with one object a line
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub(crate) format: Format,

    /// Copy this checkpoint (of a storage the newest); its state of that name is replaced
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Option<String>,

    /// The checkpoint of this number
    #[arg(long, value_name = "N", requires = "from")]
    pub(crate) id: Option<u64>,

    /// What kind of state it is [default: as in the copied checkpoint, else value]
    #[arg(long, value_enum)]
    pub(crate) kind: Option<KindArg>,

    /// Type of the key [default: as in the copied checkpoint]
    #[arg(long, value_name = "TYPE")]
    pub(crate) key: Option<String>,

    /// Type of the namespace [default: as in the copied checkpoint, else void]
    #[arg(long, value_name = "TYPE")]
    pub(crate) namespace: Option<String>,

    /// Type of the key within a map [default: as in the copied checkpoint]
    #[arg(long, value_name = "TYPE")]
    pub(crate) user_key: Option<String>,

    /// Type of the value, list element, accumulator or map value [default: as in the copied
    /// checkpoint]
    #[arg(long, value_name = "TYPE")]
    pub(crate) value: Option<String>,

    /// Without --from: the job that is to restore the checkpoint
    #[arg(long, value_name = "NAME", conflicts_with = "from", required_unless_present = "from")]
    pub(crate) job: Option<String>,

    /// Without --from: number of key groups
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "from",
        default_value_t = 128,
        value_parser = clap::value_parser!(u32).range(1..=32_768)
    )]
    pub(crate) max_parallelism: u32,
}

/// A kind of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    /// One value per key and namespace.
    Value,
    /// A sequence.
    List,
    /// A map.
    Map,
    /// One value, combined of those added.
    Reducing,
    /// One accumulator.
    Aggregating,
    /// Times at which the operator wants to be woken.
    Timer,
}

/// Which state to leave out.
#[derive(Debug, Args)]
pub(crate) struct DropStateArgs {
    #[command(flatten)]
    pub(crate) original: OriginalArgs,

    #[command(flatten)]
    pub(crate) state: StateArgs,

    #[command(flatten)]
    pub(crate) out: OutArgs,
}

/// Which state to call what.
#[derive(Debug, Args)]
pub(crate) struct RenameStateArgs {
    #[command(flatten)]
    pub(crate) original: OriginalArgs,

    /// The operator (vertex)
    #[arg(long)]
    pub(crate) operator: String,

    /// The state's name
    #[arg(long, value_name = "STATE")]
    pub(crate) from: String,

    /// Its new name
    #[arg(long, value_name = "STATE")]
    pub(crate) to: String,

    #[command(flatten)]
    pub(crate) out: OutArgs,
}
