//! Random sequences.

use millpond_state::TimeDomain;

use super::op::{Access, Expiring, KINDS, Kind, Op, Place, Program};
use crate::rng::SplitMix64;

/// Namespaces of each key.
pub(super) const WINDOWS: u8 = 3;

const PARALLELISM_MAX: u64 = 4;
const USER_KEYS: u64 = 5;

/// A sequence of `count` operations, the same for the same seed.
#[must_use]
pub fn generate(seed: u64, count: usize) -> Vec<Op> {
    let mut rng = SplitMix64::new(seed);
    // Few keys make operations meet; many make them spread over key groups.
    let keys = [1, 4, 40].get(rng.below(3) as usize).copied().unwrap_or(1);
    let mut generator = Generator {
        rng,
        keys,
        program: Program::FIRST,
        snapshots: 0,
        pending: Vec::new(),
        finished: Vec::new(),
    };
    let first = generator.first();
    core::iter::once(first)
        .chain(core::iter::from_fn(|| Some(generator.op())))
        .take(count)
        .collect()
}

struct Generator {
    rng: SplitMix64,
    keys: u64,
    program: Program,
    snapshots: u64,
    /// Snapshots that can be finished, and those that were.
    pending: Vec<u64>,
    finished: Vec<u64>,
}

impl Generator {
    fn first(&mut self) -> Op {
        self.program = Program { version: 1, lazy: false, ttl: self.ttl() };
        Op::Open(self.parallelism(), self.program)
    }

    fn op(&mut self) -> Op {
        match self.rng.below(100) {
            0..=65 => {
                let place = self.place();
                Op::At(place, self.access())
            }
            66..=67 => Op::Walk(self.kind()),
            68..=69 => Op::Count(self.kind()),
            70 => Op::Check,
            71..=72 => Op::Fire(self.time()),
            73..=80 => Op::Pass(self.domain(), self.rng.below(120) as u32),
            81 => Op::Sweep(1 + self.rng.below(4) as u32),
            82 => Op::SweepAll,
            _ => self.snapshot_op(),
        }
    }

    fn snapshot_op(&mut self) -> Op {
        match self.rng.below(13) {
            0..=4 => {
                self.snapshots += 1;
                self.pending.push(self.snapshots);
                Op::Snapshot(self.snapshots)
            }
            5..=8 => {
                let id = Self::take(&mut self.rng, &mut self.pending);
                self.finished.push(id);
                Op::Finish(id)
            }
            9 => Op::Drop(Self::take(&mut self.rng, &mut self.pending)),
            _ => {
                let program = self.next_program();
                // Most often the newest.
                let back = self.rng.below(3).saturating_sub(1) as usize;
                let id = self.finished.iter().rev().nth(back).copied().unwrap_or_default();
                Op::Restore(id, self.parallelism(), program)
            }
        }
    }

    /// One of the snapshots under way; 0 if there is none.
    fn take(rng: &mut SplitMix64, pending: &mut Vec<u64>) -> u64 {
        if pending.is_empty() {
            return 0;
        }
        pending.remove(rng.below(pending.len() as u64) as usize)
    }

    /// Most often a program that can read what the present one writes; now and then an older one.
    fn next_program(&mut self) -> Program {
        if self.program.version > 1 && self.rng.one_in(3) {
            return Program { version: self.program.version - 1, ..self.program };
        }
        let version = match self.rng.below(10) {
            0..=3 => (self.program.version + 1).min(3),
            _ => self.program.version,
        };
        let ttl = if self.rng.one_in(3) { self.ttl() } else { self.program.ttl };
        self.program = Program { version, lazy: self.rng.one_in(2), ttl };
        self.program
    }

    fn ttl(&mut self) -> Option<Expiring> {
        if self.rng.one_in(3) {
            return None;
        }
        let duration_ms = 1 + self.rng.below(300) as u32;
        let (on_read, relaxed) = (self.rng.one_in(3), self.rng.one_in(4));
        Some(Expiring { domain: self.domain(), duration_ms, on_read, relaxed })
    }

    fn domain(&mut self) -> TimeDomain {
        if self.rng.one_in(2) { TimeDomain::Processing } else { TimeDomain::Event }
    }

    fn access(&mut self) -> Access {
        match self.rng.below(40) {
            0..=3 => Access::Put(self.number()),
            4..=5 => Access::Get,
            6..=7 => Access::Update(self.number()),
            8..=9 => Access::Clear(self.kind()),
            10..=14 => Access::ListAdd(self.numbers()),
            15 => Access::ListReplace(self.numbers()),
            16..=17 => Access::ListGet,
            18..=22 => Access::MapPut(self.user_key(), self.number()),
            23 => Access::MapRemove(self.user_key()),
            24 => Access::MapGet(self.user_key()),
            25 => Access::MapContains(self.user_key()),
            26 => Access::MapEntries,
            27 => Access::MapIsEmpty,
            28 => Access::MapUpdateEach(self.number()),
            29..=30 => Access::Reduce(self.number()),
            31 => Access::Reduced,
            32..=33 => Access::Aggregate(self.number()),
            34 => Access::Aggregated,
            35..=36 => self.merge(),
            37..=38 => Access::TimerAdd(self.time()),
            _ if self.rng.one_in(2) => Access::TimerDelete(self.time()),
            _ => Access::TimerTimes,
        }
    }

    fn merge(&mut self) -> Access {
        let kinds = [Kind::List, Kind::Reducing, Kind::Aggregating];
        let kind = kinds.get(self.rng.below(3) as usize).copied().unwrap_or(Kind::List);
        let sources = (0..self.rng.below(4)).map(|_| self.rng.below(WINDOWS.into()) as u8);
        Access::Merge(kind, sources.collect())
    }

    fn kind(&mut self) -> Kind {
        KINDS.get(self.rng.below(KINDS.len() as u64) as usize).copied().unwrap_or(Kind::Value)
    }

    fn place(&mut self) -> Place {
        let key = self.rng.below(self.keys) as u8;
        Place { key, window: self.rng.below(WINDOWS.into()) as u8 }
    }

    fn user_key(&mut self) -> u8 {
        self.rng.below(USER_KEYS) as u8
    }

    /// Small most often, so that some are divisible and some equal; sometimes of any length.
    fn number(&mut self) -> u64 {
        if self.rng.one_in(8) { self.rng.next_u64() } else { self.rng.below(20) }
    }

    fn numbers(&mut self) -> Vec<u64> {
        (0..self.rng.below(4)).map(|_| self.number()).collect()
    }

    fn time(&mut self) -> i64 {
        match self.rng.below(20) {
            0 => i64::MIN,
            1 => i64::MAX,
            _ => self.rng.below(40) as i64 - 20,
        }
    }

    fn parallelism(&mut self) -> u32 {
        1 + self.rng.below(PARALLELISM_MAX) as u32
    }
}
