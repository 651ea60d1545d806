//! Looking into checkpoints without a job: they are read, never changed.

mod cell;
mod export;
mod list;
mod show;
mod target;
mod verify;

use crate::args::CheckpointCommand;
use crate::error::Result;

/// Runs a `millpond checkpoint` command.
///
/// # Errors
/// If there is no such checkpoint, it cannot be read, or (for verification) it is damaged.
pub(crate) fn run(command: CheckpointCommand) -> Result<()> {
    match command {
        CheckpointCommand::List(args) => list::run(&args),
        CheckpointCommand::Show(args) => show::run(&args),
        CheckpointCommand::Verify(args) => verify::run(&args),
        CheckpointCommand::Export(args) => export::run(&args),
    }
}
