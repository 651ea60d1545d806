//! The arguments of `millpond sim`.

use clap::{Args, ValueEnum};
use millpond_sim::{Breakage, Profile};

/// Options of the simulator.
#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// The first schedule; equal seeds give equal histories, on any machine
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// How many schedules, of the seeds from there on [default: 1000, or 1 with --trace]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) schedules: Option<u64>,

    /// Which faults strike
    #[arg(long, value_enum, default_value_t = ProfileArg::Mixed)]
    pub(crate) profile: ProfileArg,

    /// Threads, each with schedules of its own [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,

    /// Print the whole history of the schedule: number of the event, simulated time, what happened
    #[arg(long)]
    pub(crate) trace: bool,

    /// Build a mistake into the protocol, to see it found
    #[arg(long, value_name = "MISTAKE", value_parser = mistake)]
    pub(crate) mistake: Option<Breakage>,
}

impl SimArgs {
    /// The mistake that was asked for.
    pub(crate) fn breakage(&self) -> Option<Breakage> {
        self.mistake
    }
}

/// Which faults strike.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProfileArg {
    /// Some of all kinds, different for each seed
    Mixed,
    /// None
    Calm,
    /// Of messages
    Network,
    /// Of storage
    Storage,
    /// Crashes, failovers beside a process that lives, interleavings
    Zombies,
}

impl From<ProfileArg> for Profile {
    fn from(profile: ProfileArg) -> Self {
        match profile {
            ProfileArg::Mixed => Self::Mixed,
            ProfileArg::Calm => Self::Calm,
            ProfileArg::Network => Self::Network,
            ProfileArg::Storage => Self::Storage,
            ProfileArg::Zombies => Self::Zombies,
        }
    }
}

fn mistake(text: &str) -> Result<Breakage, String> {
    Breakage::ALL.into_iter().find(|it| it.to_string() == text).ok_or_else(|| {
        let all: Vec<String> = Breakage::ALL.iter().map(ToString::to_string).collect();
        format!("one of {}", all.join(", "))
    })
}
