//! At-least-once: channels are never held back, barriers are only counted.
//!
//! Several checkpoints may be under way at once, since channels run on. When one is complete, all
//! older ones are abandoned. At most [`Tracker::UNDER_WAY_MAX`] are tracked: past that the oldest
//! is abandoned.

use std::collections::BTreeMap;

use millpond_state::CheckpointId;

use super::{BarrierAction, BarrierEvent, ChannelIndex, ChannelSet};

/// Counts the barriers of a subtask's input channels without holding any back.
#[derive(Clone, Debug)]
pub struct Tracker {
    /// Channels whose barrier has arrived, by checkpoint.
    arrived: BTreeMap<CheckpointId, ChannelSet>,
    ended: ChannelSet,
    /// The latest checkpoint that was snapshot here; older ones are decided too.
    snapshot: Option<CheckpointId>,
    /// Cancelled checkpoints newer than `snapshot`; bounded like `arrived`.
    cancelled: Vec<CheckpointId>,
}

impl Tracker {
    /// Most checkpoints that are tracked at once.
    pub const UNDER_WAY_MAX: usize = 64;

    /// A tracker over `channels` input channels.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Self {
            arrived: BTreeMap::new(),
            ended: ChannelSet::empty(channels),
            snapshot: None,
            cancelled: Vec::new(),
        }
    }

    /// Takes an event of `channel`; what is to be done goes to `actions`.
    pub fn on_event(
        &mut self,
        channel: ChannelIndex,
        event: BarrierEvent,
        actions: &mut Vec<BarrierAction>,
    ) {
        match event {
            BarrierEvent::Barrier(checkpoint) => self.on_barrier(channel, checkpoint, actions),
            BarrierEvent::Cancelled(checkpoint) => self.on_cancelled(checkpoint, actions),
            BarrierEvent::Ended => {
                self.ended.insert(channel);
            }
        }
        self.snapshot_newest_complete(actions);
    }

    /// The oldest checkpoint whose barrier has arrived on some channels only.
    #[must_use]
    pub fn under_way(&self) -> Option<CheckpointId> {
        self.arrived.keys().next().copied()
    }

    fn on_barrier(
        &mut self,
        channel: ChannelIndex,
        checkpoint: CheckpointId,
        actions: &mut Vec<BarrierAction>,
    ) {
        if self.is_decided(checkpoint) || self.ended.contains(channel) {
            return;
        }
        let channels = self.ended.channels();
        self.arrived
            .entry(checkpoint)
            .or_insert_with(|| ChannelSet::empty(channels))
            .insert(channel);
        if self.arrived.len() > Self::UNDER_WAY_MAX
            && let Some((oldest, _)) = self.arrived.pop_first()
        {
            self.abandon(oldest, actions);
        }
    }

    fn on_cancelled(&mut self, checkpoint: CheckpointId, actions: &mut Vec<BarrierAction>) {
        if !self.is_decided(checkpoint) {
            self.arrived.remove(&checkpoint);
            self.abandon(checkpoint, actions);
        }
    }

    fn abandon(&mut self, checkpoint: CheckpointId, actions: &mut Vec<BarrierAction>) {
        actions.push(BarrierAction::Abandon(checkpoint));
        if self.cancelled.len() == Self::UNDER_WAY_MAX {
            self.cancelled.remove(0);
        }
        self.cancelled.push(checkpoint);
    }

    fn snapshot_newest_complete(&mut self, actions: &mut Vec<BarrierAction>) {
        let complete = self.arrived.iter().rev().find(|(_, set)| set.covers_with(&self.ended));
        let Some((&checkpoint, _)) = complete else { return };
        let newer = self.arrived.split_off(&checkpoint.next());
        self.arrived.remove(&checkpoint);
        actions.extend(self.arrived.keys().copied().map(BarrierAction::Abandon));
        actions.push(BarrierAction::Snapshot(checkpoint));
        self.arrived = newer;
        self.snapshot = Some(checkpoint);
        self.cancelled.retain(|cancelled| *cancelled > checkpoint);
    }

    fn is_decided(&self, checkpoint: CheckpointId) -> bool {
        self.snapshot.is_some_and(|snapshot| checkpoint <= snapshot)
            || self.cancelled.contains(&checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BarrierAction::{Abandon, Snapshot};
    use BarrierEvent::{Barrier, Cancelled, Ended};

    fn id(raw: u64) -> CheckpointId {
        CheckpointId::new(raw)
    }

    fn step(tracker: &mut Tracker, channel: usize, event: BarrierEvent) -> Vec<BarrierAction> {
        let mut actions = Vec::new();
        tracker.on_event(channel, event, &mut actions);
        actions
    }

    #[test]
    fn checkpoints_complete_in_turn_though_channels_run_ahead() {
        let mut tracker = Tracker::new(2);
        assert_eq!(step(&mut tracker, 0, Barrier(id(1))), []);
        assert_eq!(step(&mut tracker, 0, Barrier(id(2))), []);
        assert_eq!(tracker.under_way(), Some(id(1)));
        assert_eq!(step(&mut tracker, 1, Barrier(id(1))), [Snapshot(id(1))]);
        assert_eq!(step(&mut tracker, 1, Barrier(id(2))), [Snapshot(id(2))]);
    }

    #[test]
    fn a_newer_complete_checkpoint_abandons_older_ones() {
        let mut tracker = Tracker::new(2);
        step(&mut tracker, 0, Barrier(id(1)));
        step(&mut tracker, 0, Barrier(id(2)));
        assert_eq!(step(&mut tracker, 1, Barrier(id(2))), [Abandon(id(1)), Snapshot(id(2))]);
        assert_eq!(step(&mut tracker, 1, Barrier(id(1))), []);
    }

    #[test]
    fn a_cancelled_checkpoint_is_abandoned_once_and_others_go_on() {
        let mut tracker = Tracker::new(2);
        step(&mut tracker, 0, Barrier(id(1)));
        step(&mut tracker, 0, Barrier(id(2)));
        assert_eq!(step(&mut tracker, 1, Cancelled(id(2))), [Abandon(id(2))]);
        assert_eq!(step(&mut tracker, 0, Cancelled(id(2))), []);
        assert_eq!(step(&mut tracker, 1, Barrier(id(1))), [Snapshot(id(1))]);
    }

    #[test]
    fn an_ended_channel_counts_as_arrived() {
        let mut tracker = Tracker::new(2);
        step(&mut tracker, 0, Barrier(id(1)));
        assert_eq!(step(&mut tracker, 1, Ended), [Snapshot(id(1))]);
    }

    #[test]
    fn what_is_tracked_is_bounded() {
        let mut tracker = Tracker::new(2);
        let abandoned: Vec<_> =
            (1..=100).flat_map(|n| step(&mut tracker, 0, Barrier(id(n)))).collect();
        assert_eq!(abandoned.len(), 100 - Tracker::UNDER_WAY_MAX);
        assert_eq!(abandoned.first(), Some(&Abandon(id(1))));
    }
}
