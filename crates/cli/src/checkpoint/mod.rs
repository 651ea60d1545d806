//! Checkpoints without a job: looking into them, and making new ones. None is changed in place.

mod cell;
mod change;
mod columns;
mod export;
mod gc;
mod import;
mod list;
mod out;
mod rows;
mod share;
mod show;
mod target;
mod verify;

pub(crate) use target::within_storage;

use crate::args::CheckpointCommand;
use crate::error::Result;

/// Runs a `millpond checkpoint` command.
///
/// # Errors
/// If there is no such checkpoint, it cannot be read, or (for verification) it is damaged; if a new
/// one cannot be written.
pub(crate) fn run(command: CheckpointCommand) -> Result<()> {
    match command {
        CheckpointCommand::List(args) => list::run(&args),
        CheckpointCommand::Show(args) => show::run(&args),
        CheckpointCommand::Verify(args) => verify::run(&args),
        CheckpointCommand::Gc(args) => gc::run(&args),
        CheckpointCommand::Export(args) => export::run(&args),
        CheckpointCommand::Rekey(args) => change::rekey_to(&args),
        CheckpointCommand::Import(args) => import::run(&args),
        CheckpointCommand::DropState(args) => change::drop_state(&args),
        CheckpointCommand::RenameState(args) => change::rename_state(&args),
    }
}
