//! Random sequences.

use super::cluster::MAX_PARALLELISM;
use super::op::{Action, Address, Op, Payload, StateChoice};
use crate::rng::SplitMix64;

const PARALLELISM_MAX: u64 = 5;
const NAMESPACES: u64 = 4;
const BATCH_MAX: u64 = 40;

/// A sequence of `count` operations, the same for the same seed.
#[must_use]
pub fn generate(seed: u64, count: usize) -> Vec<Op> {
    let mut rng = SplitMix64::new(seed);
    // Few keys make operations meet; many make tables grow.
    let keys = [4, 30, 1_000].get(rng.below(3) as usize).copied().unwrap_or(4);
    let mut generator = Generator { rng, keys, snapshots: 0 };
    (0..count).map(|_| generator.op()).collect()
}

struct Generator {
    rng: SplitMix64,
    keys: u64,
    snapshots: u64,
}

impl Generator {
    fn op(&mut self) -> Op {
        match self.rng.below(100) {
            0..=14 => Op::Put(self.plain(), self.address(), self.payload()),
            15..=24 => Op::Append(self.plain(), self.address(), self.payload()),
            25..=32 => Op::Delete(self.state(), self.address()),
            33..=39 => Op::Get(self.plain(), self.address()),
            40..=43 => Op::GetMany(self.plain(), self.batch(Self::address)),
            44..=47 => Op::PutMany(self.plain(), self.batch(|g| (g.address(), g.payload()))),
            48..=51 => Op::UpdateMany(self.plain(), self.batch(|g| (g.address(), g.action()))),
            52..=65 => Op::MapPut(self.address(), self.user_key(), self.payload()),
            66..=71 => Op::MapRemove(self.address(), self.user_key()),
            72..=74 => Op::MapGet(self.address(), self.user_key()),
            75..=80 => Op::MapVisit(self.address(), self.batch(Self::action)),
            81..=82 => self.visit(),
            83..=84 => Op::Count(self.state()),
            _ => self.snapshot_op(),
        }
    }

    fn snapshot_op(&mut self) -> Op {
        match self.rng.below(20) {
            0..=5 => {
                self.snapshots += 1;
                Op::Snapshot(self.snapshots)
            }
            6..=11 => Op::Finish(self.recent()),
            12 => Op::Cancel(self.recent()),
            13 => Op::Drop(self.recent()),
            14..=15 => Op::Completed(self.recent()),
            16 => Op::Aborted(self.recent()),
            17 if self.rng.one_in(4) => Op::Open(self.parallelism()),
            _ => Op::Restore(self.recent(), self.parallelism()),
        }
    }

    fn visit(&mut self) -> Op {
        let (a, b) =
            (self.rng.below(MAX_PARALLELISM.into()), self.rng.below(MAX_PARALLELISM.into()));
        let namespace = self.rng.one_in(2).then(|| self.rng.below(NAMESPACES) as u8);
        Op::Visit(self.state(), a.min(b) as u16, a.max(b) as u16, namespace)
    }

    /// One of the last few snapshots, most often.
    fn recent(&mut self) -> u64 {
        self.snapshots.saturating_sub(self.rng.below(4))
    }

    fn parallelism(&mut self) -> u32 {
        1 + self.rng.below(PARALLELISM_MAX) as u32
    }

    fn state(&mut self) -> StateChoice {
        if self.rng.one_in(3) { StateChoice::Map } else { self.plain() }
    }

    fn plain(&mut self) -> StateChoice {
        if self.rng.one_in(2) { StateChoice::Value } else { StateChoice::List }
    }

    fn address(&mut self) -> Address {
        let namespace = if self.rng.one_in(2) { 0 } else { self.rng.below(NAMESPACES) };
        Address { key: self.rng.below(self.keys) as u16, namespace: namespace as u8 }
    }

    fn user_key(&mut self) -> u16 {
        let bound = if self.rng.one_in(8) { 2_000 } else { 12 };
        self.rng.below(bound) as u16
    }

    /// Never empty: whether an empty list is an entry is not for backends to say.
    fn payload(&mut self) -> Payload {
        let bound = match self.rng.below(40) {
            0 => 20_000,
            1..=3 => 600,
            _ => 24,
        };
        Payload { seed: self.rng.below(256) as u8, len: 1 + self.rng.below(bound) as u32 }
    }

    fn action(&mut self) -> Action {
        match self.rng.below(20) {
            0..=7 => Action::Keep,
            8..=13 => Action::Replace(self.payload()),
            14..=17 => Action::Remove,
            18 => Action::Break,
            _ if self.rng.one_in(3) => Action::Fail,
            _ => Action::Keep,
        }
    }

    fn batch<T>(&mut self, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        let len = self.rng.below(BATCH_MAX);
        (0..len).map(|_| item(self)).collect()
    }
}
