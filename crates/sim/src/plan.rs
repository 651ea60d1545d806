//! What one schedule is made of. It follows from a seed and a profile; shrinking changes it.

use core::fmt;

use crate::fault::{Fault, FaultTable};
use crate::random::Random;

/// Which faults a schedule may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// A mix of all, different for each seed.
    #[default]
    Mixed,
    /// None.
    Calm,
    /// Of messages only.
    Network,
    /// Of storage only.
    Storage,
    /// Crashes, failovers beside a process that lives, and interleavings.
    Zombies,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Mixed, Self::Calm, Self::Network, Self::Storage, Self::Zombies];
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mixed => "mixed",
            Self::Calm => "calm",
            Self::Network => "network",
            Self::Storage => "storage",
            Self::Zombies => "zombies",
        })
    }
}

/// One schedule. Equal plans give equal histories.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Where all random choices come from.
    pub seed: u64,
    /// Subtasks that read.
    pub sources: u32,
    /// Subtasks that count; attempts of odd number run with the second value.
    pub counters: [u32; 2],
    /// Subtasks that write.
    pub sinks: u32,
    /// Partitions of the input.
    pub partitions: u32,
    /// Records of each partition.
    pub records: u32,
    /// Keys of the records.
    pub keys: u64,
    /// Whether checkpoints share files.
    pub incremental: bool,
    /// Time between checkpoints, in simulated milliseconds.
    pub interval_ms: u64,
    /// Time after which a checkpoint is given up, in simulated milliseconds.
    pub timeout_ms: u64,
    /// Checkpoints in flight.
    pub max_concurrent: u32,
    /// Completed checkpoints that are kept.
    pub retained_max: u32,
    /// How often out of 10,000 chances each fault strikes.
    pub faults: FaultTable,
    /// After so many faults there are no more.
    pub faults_max: u64,
    /// After so many simulated milliseconds there are no more faults.
    pub faults_end_ms: u64,
}

impl Plan {
    /// The schedule of `seed`.
    #[must_use]
    pub fn new(seed: u64, profile: Profile) -> Self {
        let mut random = Random::new(seed, 1);
        let counters = [random.between(1, 3), random.between(1, 3)].map(small);
        let interval_ms = random.between(10, 40);
        Self {
            seed,
            sources: small(random.between(1, 2)),
            counters,
            sinks: small(random.between(1, 2)),
            partitions: small(random.between(1, 3)),
            records: small(random.between(10, 40)),
            keys: random.between(1, 8),
            incremental: random.chance(7_500),
            interval_ms,
            timeout_ms: interval_ms * random.between(1, 4),
            max_concurrent: small(random.between(1, 3)),
            retained_max: small(random.between(1, 3)),
            faults: rates(&mut random, profile),
            faults_max: u64::MAX,
            faults_end_ms: random.between(100, 600),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [even, odd] = self.counters;
        write!(
            f,
            "seed {}: {} sources, {odd} or {even} counters, {} sinks; {} partitions of {} records, \
             {} keys; {} checkpoints every {} ms, given up after {} ms, {} at a time, {} retained; \
             faults until {} ms",
            self.seed,
            self.sources,
            self.sinks,
            self.partitions,
            self.records,
            self.keys,
            if self.incremental { "incremental" } else { "full" },
            self.interval_ms,
            self.timeout_ms,
            self.max_concurrent,
            self.retained_max,
            self.faults_end_ms,
        )?;
        if self.faults_max < u64::MAX {
            write!(f, ", {} at most", self.faults_max)?;
        }
        for (fault, rate) in self.faults.iter() {
            write!(f, "; {fault} {rate} of 10000")?;
        }
        Ok(())
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn rates(random: &mut Random, profile: Profile) -> FaultTable {
    use Fault::{
        AnswerLost, CoordinatorCrash, Failover, HappensLate, Interleaved, MessageDelayed,
        MessageDuplicated, MessageLost, ProcessCrash, StaleList, StorageFails, StorageThrottles,
        SubtaskCrash, TimedOut,
    };
    // Of each kind: the most there may be. Crashes have a chance at each event.
    let network = [(MessageLost, 500), (MessageDuplicated, 1_000), (MessageDelayed, 1_500)];
    let storage = [
        (StorageFails, 300),
        (StorageThrottles, 300),
        (AnswerLost, 600),
        (TimedOut, 300),
        (HappensLate, 600),
        (StaleList, 5_000),
    ];
    let crashes = [
        (SubtaskCrash, 30),
        (CoordinatorCrash, 30),
        (ProcessCrash, 40),
        (Failover, 60),
        (Interleaved, 3_000),
    ];
    let (network_on, storage_on, crashes_on) = match profile {
        Profile::Mixed => (true, true, true),
        Profile::Calm => (false, false, false),
        Profile::Network => (true, false, false),
        Profile::Storage => (false, true, false),
        Profile::Zombies => (false, false, true),
    };
    let mut table = FaultTable::default();
    let groups: [(&[(Fault, u64)], bool); 3] =
        [(&network, network_on), (&storage, storage_on), (&crashes, crashes_on)];
    for (fault, most) in groups.into_iter().filter(|it| it.1).flat_map(|(group, _)| group) {
        // Many schedules have a few kinds only, and those often.
        let rate = if random.chance(5_000) { random.below(most + 1) } else { 0 };
        table.set(*fault, rate);
    }
    table
}
