//! Exactly-once: channels wait at the barrier until all have it.
//!
//! | state | barrier `n` on a channel | cancellation of `n` | channel ends |
//! |---|---|---|---|
//! | idle, last decided `d` | `n <= d`: ignored; else start aligning `n` | `n <= d`: ignored; else abandon `n` | counts as aligned from now on |
//! | aligning `c` | `n < c`: ignored; `n = c`: hold the channel; `n > c`: abandon `c`, align `n` | `n < c`: ignored; `n = c`: abandon `c`; `n > c`: abandon `c` and `n` | counts as aligned |
//!
//! Whenever every channel is at the barrier or has ended: snapshot, release all, idle with `d = c`.

use millpond_state::CheckpointId;

use super::{BarrierAction, BarrierEvent, ChannelIndex, ChannelSet};

#[derive(Clone, Debug)]
enum State {
    Idle,
    Aligning(CheckpointId),
}

/// Aligns the barriers of a subtask's input channels. See the table of the module.
///
/// ```
/// use millpond_runtime::barrier::{Aligner, BarrierAction, BarrierEvent};
/// use millpond_state::CheckpointId;
///
/// let (mut aligner, mut actions) = (Aligner::new(2), Vec::new());
/// let barrier = BarrierEvent::Barrier(CheckpointId::new(7));
/// aligner.on_event(0, barrier, &mut actions);
/// assert!(actions.is_empty() && aligner.is_blocked(0) && !aligner.is_blocked(1));
/// aligner.on_event(1, barrier, &mut actions);
/// assert_eq!(actions, [BarrierAction::Snapshot(CheckpointId::new(7))]);
/// assert!(!aligner.is_blocked(0));
/// ```
#[derive(Clone, Debug)]
pub struct Aligner {
    state: State,
    /// Channels at the barrier of the checkpoint under way: exactly those that are held back.
    arrived: ChannelSet,
    ended: ChannelSet,
    /// The latest checkpoint that was snapshot or abandoned here.
    decided: Option<CheckpointId>,
}

impl Aligner {
    /// An aligner over `channels` input channels.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Self {
            state: State::Idle,
            arrived: ChannelSet::empty(channels),
            ended: ChannelSet::empty(channels),
            decided: None,
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
        self.snapshot_if_aligned(actions);
    }

    /// Whether `channel` must not be read for now.
    #[must_use]
    pub fn is_blocked(&self, channel: ChannelIndex) -> bool {
        self.arrived.contains(channel)
    }

    /// The checkpoint being aligned.
    #[must_use]
    pub fn under_way(&self) -> Option<CheckpointId> {
        match self.state {
            State::Idle => None,
            State::Aligning(checkpoint) => Some(checkpoint),
        }
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
        match self.state {
            State::Aligning(current) if checkpoint < current => return,
            State::Aligning(current) if checkpoint > current => self.abandon(current, actions),
            _ => {}
        }
        self.state = State::Aligning(checkpoint);
        self.arrived.insert(channel);
    }

    fn on_cancelled(&mut self, checkpoint: CheckpointId, actions: &mut Vec<BarrierAction>) {
        if self.is_decided(checkpoint) {
            return;
        }
        match self.state {
            State::Aligning(current) if checkpoint < current => return,
            State::Aligning(current) if checkpoint > current => self.abandon(current, actions),
            _ => {}
        }
        self.abandon(checkpoint, actions);
    }

    fn abandon(&mut self, checkpoint: CheckpointId, actions: &mut Vec<BarrierAction>) {
        actions.push(BarrierAction::Abandon(checkpoint));
        self.decide(checkpoint);
    }

    fn snapshot_if_aligned(&mut self, actions: &mut Vec<BarrierAction>) {
        if let State::Aligning(checkpoint) = self.state
            && self.arrived.covers_with(&self.ended)
        {
            actions.push(BarrierAction::Snapshot(checkpoint));
            self.decide(checkpoint);
        }
    }

    fn decide(&mut self, checkpoint: CheckpointId) {
        self.state = State::Idle;
        self.arrived.clear();
        self.decided = Some(checkpoint);
    }

    fn is_decided(&self, checkpoint: CheckpointId) -> bool {
        self.decided.is_some_and(|decided| checkpoint <= decided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: u64) -> CheckpointId {
        CheckpointId::new(raw)
    }

    /// Plays a script of (channel, event) and returns the actions of each step.
    fn play(
        aligner: &mut Aligner,
        script: &[(ChannelIndex, BarrierEvent)],
    ) -> Vec<Vec<BarrierAction>> {
        script
            .iter()
            .map(|(channel, event)| {
                let mut actions = Vec::new();
                aligner.on_event(*channel, *event, &mut actions);
                actions
            })
            .collect()
    }

    use BarrierAction::{Abandon, Snapshot};
    use BarrierEvent::{Barrier, Cancelled, Ended};

    // U-1
    #[test]
    fn one_channel_snapshots_at_each_barrier() {
        let mut aligner = Aligner::new(1);
        let actions = play(&mut aligner, &[(0, Barrier(id(1))), (0, Barrier(id(2)))]);
        assert_eq!(actions, [[Snapshot(id(1))], [Snapshot(id(2))]]);
        assert!(!aligner.is_blocked(0));
    }

    // U-1
    #[test]
    fn many_channels_wait_for_the_last_and_only_those_at_the_barrier_are_held() {
        let mut aligner = Aligner::new(3);
        assert_eq!(play(&mut aligner, &[(2, Barrier(id(1))), (0, Barrier(id(1)))]), [[], []]);
        assert_eq!(
            [0, 1, 2].map(|channel| aligner.is_blocked(channel)),
            [true, false, true],
            "channel 1 has no barrier yet"
        );
        assert_eq!(aligner.under_way(), Some(id(1)));
        assert_eq!(play(&mut aligner, &[(1, Barrier(id(1)))]), [[Snapshot(id(1))]]);
        assert_eq!([0, 1, 2].map(|channel| aligner.is_blocked(channel)), [false; 3]);
        assert_eq!(aligner.under_way(), None);
    }

    // U-1
    #[test]
    fn a_jumped_over_checkpoint_is_abandoned_and_its_late_barriers_are_ignored() {
        let mut aligner = Aligner::new(2);
        let actions = play(
            &mut aligner,
            &[(0, Barrier(id(1))), (1, Barrier(id(2))), (1, Barrier(id(1))), (0, Barrier(id(2)))],
        );
        assert_eq!(actions, [vec![], vec![Abandon(id(1))], vec![], vec![Snapshot(id(2))]]);
    }

    // U-1
    #[test]
    fn a_newer_barrier_releases_the_channel_held_for_the_older() {
        let mut aligner = Aligner::new(2);
        play(&mut aligner, &[(0, Barrier(id(1))), (1, Barrier(id(3)))]);
        assert_eq!([0, 1].map(|channel| aligner.is_blocked(channel)), [false, true]);
    }

    // U-2
    #[test]
    fn a_cancellation_before_any_barrier_abandons_and_its_barriers_are_ignored() {
        let mut aligner = Aligner::new(2);
        let actions = play(
            &mut aligner,
            &[(0, Cancelled(id(1))), (1, Cancelled(id(1))), (1, Barrier(id(1)))],
        );
        assert_eq!(actions, [vec![Abandon(id(1))], vec![], vec![]]);
        assert!(!aligner.is_blocked(1));
    }

    // U-2
    #[test]
    fn a_cancellation_between_barriers_releases_the_channels() {
        let mut aligner = Aligner::new(2);
        let actions = play(
            &mut aligner,
            &[(0, Barrier(id(1))), (1, Cancelled(id(1))), (0, Barrier(id(2))), (1, Barrier(id(2)))],
        );
        assert_eq!(actions, [vec![], vec![Abandon(id(1))], vec![], vec![Snapshot(id(2))]]);
    }

    // U-2
    #[test]
    fn a_cancellation_after_the_snapshot_is_ignored() {
        let mut aligner = Aligner::new(1);
        let actions = play(&mut aligner, &[(0, Barrier(id(1))), (0, Cancelled(id(1)))]);
        assert_eq!(actions, [vec![Snapshot(id(1))], vec![]]);
    }

    // U-2
    #[test]
    fn a_cancellation_of_a_newer_checkpoint_abandons_both() {
        let mut aligner = Aligner::new(2);
        let actions = play(&mut aligner, &[(0, Barrier(id(1))), (1, Cancelled(id(2)))]);
        assert_eq!(actions, [vec![], vec![Abandon(id(1)), Abandon(id(2))]]);
        assert!(!aligner.is_blocked(0));
        assert_eq!(play(&mut aligner, &[(0, Barrier(id(2)))]), [[]]);
    }

    // U-2
    #[test]
    fn a_newer_barrier_overtakes_a_missing_cancellation() {
        let mut aligner = Aligner::new(2);
        let actions = play(
            &mut aligner,
            &[(0, Barrier(id(1))), (0, Barrier(id(1))), (1, Barrier(id(2))), (1, Cancelled(id(1)))],
        );
        assert_eq!(actions, [vec![], vec![], vec![Abandon(id(1))], vec![]]);
        assert_eq!(aligner.under_way(), Some(id(2)));
    }

    // U-3
    #[test]
    fn a_channel_that_ended_before_counts_as_aligned() {
        let mut aligner = Aligner::new(2);
        let actions = play(&mut aligner, &[(0, Ended), (1, Barrier(id(1)))]);
        assert_eq!(actions, [vec![], vec![Snapshot(id(1))]]);
    }

    // U-3
    #[test]
    fn a_channel_that_ends_during_alignment_completes_it() {
        let mut aligner = Aligner::new(2);
        let actions = play(&mut aligner, &[(0, Barrier(id(1))), (1, Ended)]);
        assert_eq!(actions, [vec![], vec![Snapshot(id(1))]]);
    }

    // U-3
    #[test]
    fn ends_without_a_barrier_do_nothing() {
        let mut aligner = Aligner::new(2);
        let actions = play(&mut aligner, &[(0, Ended), (0, Ended), (1, Ended)]);
        assert_eq!(actions, [[], [], []]);
    }
}
