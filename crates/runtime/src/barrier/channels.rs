//! A set of channels as bits.

use super::ChannelIndex;

/// A set of channel indexes below a fixed count. Indexes at or past the count are never members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSet {
    members: Vec<bool>,
    len: usize,
}

impl ChannelSet {
    /// The empty set over `count` channels.
    #[must_use]
    pub fn empty(count: usize) -> Self {
        Self { members: vec![false; count], len: 0 }
    }

    /// Adds a channel; `false` if it was a member or is out of range.
    pub fn insert(&mut self, channel: ChannelIndex) -> bool {
        match self.members.get_mut(channel) {
            Some(member) if !*member => {
                *member = true;
                self.len += 1;
                true
            }
            _ => false,
        }
    }

    /// Whether a channel is a member.
    #[must_use]
    pub fn contains(&self, channel: ChannelIndex) -> bool {
        self.members.get(channel).copied().unwrap_or(false)
    }

    /// Whether this set and `other` together have every channel.
    #[must_use]
    pub fn covers_with(&self, other: &Self) -> bool {
        self.members.iter().zip(&other.members).all(|(mine, theirs)| *mine || *theirs)
    }

    /// Whether every channel is a member.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len == self.members.len()
    }

    /// Whether no channel is a member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many channels there are, members or not.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.members.len()
    }

    /// Removes all members.
    pub fn clear(&mut self) {
        self.members.fill(false);
        self.len = 0;
    }
}
