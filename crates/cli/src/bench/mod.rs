//! Benchmarks for an operator's own machine, disk and store.
//!
//! Each measurement runs in a process of its own, so that its peak memory means something and no
//! measurement sees what another left in the allocator. The command starts itself again with the
//! same arguments for one backend (and one case) and `--in-process --json`, and reads the records
//! that come.

mod child;
mod job;
mod output;
mod plot;
mod restore;
mod snapshot;
mod state;
mod storage;
mod workplace;

use millpond_bench::{BACKENDS, Backend, BenchError, ErrorKind};

use crate::args::{BenchArgs, BenchCommand};
use crate::error::{CliError, Result};

/// Runs a benchmark.
///
/// # Errors
/// What it fails with; what was measured before is printed.
pub(crate) fn run(command: &BenchCommand) -> Result<()> {
    match command {
        BenchCommand::State(args) => state::run(args),
        BenchCommand::Snapshot(args) => snapshot::run(args),
        BenchCommand::Restore(args) => restore::run(args),
        BenchCommand::Job(args) => job::run(args),
        BenchCommand::Plot(args) => plot::run(args),
    }
}

/// The backends that were asked for, each once.
fn backends(args: &BenchArgs) -> Result<Vec<Backend>> {
    if args.state_backend.is_empty() {
        return Ok(BACKENDS.to_vec());
    }
    let mut found: Vec<Backend> = Vec::new();
    for name in &args.state_backend {
        let backend = Backend::find(name.trim())?;
        if !found.iter().any(|it| it.name == backend.name) {
            found.push(backend);
        }
    }
    Ok(found)
}

/// The arguments that all measurements of `backend` have.
fn child_args(benchmark: &str, args: &BenchArgs, backend: &str) -> Vec<String> {
    let mut child = vec![benchmark.to_owned()];
    for (option, value) in [
        ("--state-backend", backend.to_owned()),
        ("--rounds", args.rounds.to_string()),
        ("--seed", args.seed.to_string()),
    ] {
        child.extend([option.to_owned(), value]);
    }
    if let Some(folder) = &args.state_dir {
        child.extend(["--state-dir".to_owned(), folder.to_string_lossy().into_owned()]);
    }
    child
}

impl From<BenchError> for CliError {
    fn from(error: BenchError) -> Self {
        match error.kind() {
            ErrorKind::InvalidArgument => Self::Usage(error.to_string()),
            _ => Self::Failure(error.to_string()),
        }
    }
}
