//! When to kill. Moments are measured in what the child has done, not in wall time, so that they
//! mean the same on any machine; a short seeded delay on top hits what comes next: a commit, a
//! snapshot, a restore.

use std::time::Duration;

use super::child::ChildEvent;

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// Starts at `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number below `limit`; 0 if that is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // A counter, scrambled by the hash that the crate has anyway.
        self.state = self.state.wrapping_add(1);
        millpond_state::key_hash(&self.state.to_le_bytes()).checked_rem(limit).unwrap_or(0)
    }
}

/// What the child must have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// Read so many records from the beginning of the input on.
    Position(u64),
    /// Completed a checkpoint after having read so many.
    CheckpointAfter(u64),
    /// Restored its state, but run nothing yet.
    Restored,
    /// Read all its input.
    EndOfInput,
}

/// A moment to kill at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) trigger: Trigger,
    /// How long after.
    pub(super) delay: Duration,
}

impl Moment {
    /// A moment at which something has been done that is worth showing: part `kill` of `kills + 1`
    /// of the input, in turn in the middle of the work and right after a checkpoint.
    pub(super) fn shown(random: &mut Random, records: u64, (kill, kills): (u32, u32)) -> Self {
        let part = records / (u64::from(kills) + 1);
        let at = part * (u64::from(kill) + 1) - part / 2 + random.below(part.max(1));
        let after_checkpoint = kill % 2 == 1;
        let trigger =
            if after_checkpoint { Trigger::CheckpointAfter(at) } else { Trigger::Position(at) };
        Self { trigger, delay: Duration::from_micros(random.below(3_000)) }
    }

    /// Any moment of a child that goes on from about `position`.
    pub(super) fn any(random: &mut Random, records: u64, position: u64) -> Self {
        let at = position + random.below(records / 4 + 1);
        let trigger = match random.below(10) {
            0..4 => Trigger::Position(at),
            4..8 => Trigger::CheckpointAfter(at),
            8 => Trigger::Restored,
            _ => Trigger::EndOfInput,
        };
        let longest_us = [0, 500, 5_000, 30_000];
        let longest = longest_us.get(random.below(4) as usize).copied().unwrap_or(0);
        Self { trigger, delay: Duration::from_micros(random.below(longest + 1)) }
    }
}

/// Waits for a trigger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    trigger: Trigger,
    position: u64,
}

impl Watch {
    pub(super) fn new(trigger: Trigger) -> Self {
        Self { trigger, position: 0 }
    }

    /// Takes an event of the child; says whether the time has come.
    pub(super) fn is_now(&mut self, event: &ChildEvent) -> bool {
        if let ChildEvent::Progress { position } = event {
            self.position = *position;
        }
        match (self.trigger, event) {
            (Trigger::Position(at), ChildEvent::Progress { position }) => *position >= at,
            (Trigger::CheckpointAfter(at), ChildEvent::Checkpoint(_)) => self.position >= at,
            (Trigger::Restored, ChildEvent::Restored(_))
            | (Trigger::EndOfInput, ChildEvent::EndOfInput) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_moments_again() {
        let moments = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| Moment::any(&mut random, 1_000, 0)).collect::<Vec<_>>()
        };
        assert_eq!(moments(7), moments(7));
        assert_ne!(moments(7), moments(8));
    }

    #[test]
    fn a_checkpoint_counts_only_after_the_position() {
        let mut watch = Watch::new(Trigger::CheckpointAfter(10));
        assert!(!watch.is_now(&ChildEvent::Checkpoint(1)));
        assert!(!watch.is_now(&ChildEvent::Progress { position: 10 }));
        assert!(watch.is_now(&ChildEvent::Checkpoint(2)));
    }

    #[test]
    fn shown_moments_come_in_order_within_the_input() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let at = |moment: Moment| match moment.trigger {
                Trigger::Position(at) | Trigger::CheckpointAfter(at) => at,
                other => panic!("{other:?}"),
            };
            let first = at(Moment::shown(&mut random, 3_000, (0, 2)));
            let second = at(Moment::shown(&mut random, 3_000, (1, 2)));
            assert!(0 < first && first < second && second < 3_000, "{first} {second}");
        }
    }
}
