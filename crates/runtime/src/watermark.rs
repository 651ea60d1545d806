//! Event time: timestamps, and the watermark of a subtask with several input channels.

use core::fmt;

/// A point in event time: milliseconds since the Unix epoch, which may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Before all time: no watermark yet.
    pub const MIN: Self = Self(i64::MIN);
    /// After all time: the watermark at the end of input.
    pub const MAX: Self = Self(i64::MAX);

    /// Wraps milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// The watermark of a subtask: the least of its channels' watermarks. Never goes back.
#[derive(Clone, Debug)]
pub struct WatermarkTracker {
    channels: Vec<Timestamp>,
    current: Timestamp,
}

impl WatermarkTracker {
    /// A tracker over `channels` channels, none of which has a watermark yet.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Self { channels: vec![Timestamp::MIN; channels], current: Timestamp::MIN }
    }

    /// Takes the watermark of a channel; returns the subtask's new watermark if that rises. A
    /// watermark that goes back, or of a channel that does not exist, is ignored.
    pub fn advance(&mut self, channel: usize, watermark: Timestamp) -> Option<Timestamp> {
        let slot = self.channels.get_mut(channel)?;
        *slot = watermark.max(*slot);
        let least = self.channels.iter().copied().min()?;
        (least > self.current).then(|| {
            self.current = least;
            least
        })
    }

    /// The subtask's watermark.
    #[must_use]
    pub const fn current(&self) -> Timestamp {
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_channel_decides_and_time_never_goes_back() {
        let at = Timestamp::from_ms;
        let mut tracker = WatermarkTracker::new(2);
        assert_eq!(tracker.advance(0, at(5)), None);
        assert_eq!(tracker.advance(1, at(3)), Some(at(3)));
        assert_eq!(tracker.advance(1, at(2)), None);
        assert_eq!(tracker.advance(1, at(9)), Some(at(5)));
        assert_eq!(tracker.advance(7, at(99)), None);
        assert_eq!(tracker.current(), at(5));
    }
}
