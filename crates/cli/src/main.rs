//! The `millpond` command: runs the jobs that come with it, looks into checkpoints without a job,
//! and demonstrates that a killed job loses nothing.
//!
//! Exit status: 0 for success, 1 for a failure (one line on standard error says what and what to
//! do), 2 for wrong usage, 130 after a second Ctrl-C.

mod args;
mod background;
mod bench;
mod checkpoint;
mod console;
mod control;
mod demo;
mod error;
mod run;
mod signals;
mod sim;
mod table;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, RunJob};
use error::Result;
use run::LineJob;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return console::usage(&error),
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(message) = error.message() {
                console::note(&format!("millpond: {message}"));
            }
            ExitCode::from(error.status())
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Run { job } => match &job {
            RunJob::Flights(args) => run::run_lines(LineJob::Flights, args),
            RunJob::AircraftDays(args) => run::run_lines(LineJob::AircraftDays, args),
            RunJob::Timeouts(args) => run::run_lines(LineJob::Timeouts, args),
            RunJob::Wordcount(args) => run::run_lines(LineJob::Wordcount, args),
            RunJob::Nexmark(args) => run::run_nexmark(args),
        },
        Command::Savepoint(args) => control::savepoint(&args),
        Command::Checkpoint { command } => checkpoint::run(command),
        Command::Demo(args) => demo::run(&args),
        Command::Bench { command } => bench::run(&command),
        Command::Sim(args) => sim::run(&args),
    }
}
