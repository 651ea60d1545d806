//! The time that keyed state sees: two clocks that only go forward, advanced from outside.
//!
//! State is never asked what time it is; it is told. A runtime advances processing time once per
//! batch of records and event time with each watermark; whoever embeds a backend without a runtime
//! does the same by hand. Until then a time is unknown, and nothing expires.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Stands for a time that nobody told yet.
pub(crate) const UNKNOWN: i64 = i64::MIN;

/// Which of the two times is meant. The names are part of the snapshot format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeDomain {
    /// The time of the machine at which a record is processed.
    Processing,
    /// The time in the records, as far as the watermark has come.
    Event,
}

impl TimeDomain {
    /// The domain's name in codec names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Event => "event",
        }
    }

    /// The domain called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Processing, Self::Event].into_iter().find(|domain| domain.name() == name)
    }
}

impl fmt::Display for TimeDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug)]
struct Times {
    processing_ms: AtomicI64,
    event_ms: AtomicI64,
}

/// Present processing time and event time, in milliseconds since the Unix epoch. Clones share the
/// times; reading costs a load.
///
/// ```
/// use millpond_state::StateTime;
///
/// let time = StateTime::new();
/// assert_eq!(time.processing_ms(), None);
/// time.set_processing_ms(1_000);
/// time.set_processing_ms(900); // the machine's clock was set back
/// assert_eq!(time.processing_ms(), Some(1_000));
/// ```
#[derive(Clone, Debug)]
pub struct StateTime(Arc<Times>);

impl StateTime {
    /// Two times that are unknown.
    #[must_use]
    pub fn new() -> Self {
        let (processing_ms, event_ms) = (AtomicI64::new(UNKNOWN), AtomicI64::new(UNKNOWN));
        Self(Arc::new(Times { processing_ms, event_ms }))
    }

    /// Tells processing time. A clock that went back is ignored. `i64::MIN` means unknown.
    pub fn set_processing_ms(&self, now: i64) {
        self.0.processing_ms.fetch_max(now, Ordering::Relaxed);
    }

    /// Tells event time: the watermark. One that went back is ignored, and so is `i64::MAX`, which
    /// says that the input has ended: time then stands still, rather than that all state expires
    /// under the timers and windows that fire last. `i64::MIN` means unknown.
    pub fn advance_event_ms(&self, watermark: i64) {
        if watermark != i64::MAX {
            self.0.event_ms.fetch_max(watermark, Ordering::Relaxed);
        }
    }

    /// Processing time; `None` if it was never told.
    #[inline]
    #[must_use]
    pub fn processing_ms(&self) -> Option<i64> {
        self.now_ms(TimeDomain::Processing)
    }

    /// Event time; `None` if there was no watermark yet.
    #[inline]
    #[must_use]
    pub fn event_ms(&self) -> Option<i64> {
        self.now_ms(TimeDomain::Event)
    }

    /// The present time in `domain`; `None` if it was never told.
    #[inline]
    #[must_use]
    pub fn now_ms(&self, domain: TimeDomain) -> Option<i64> {
        let now = self.raw(domain);
        (now != UNKNOWN).then_some(now)
    }

    /// As [`Self::now_ms`], with [`UNKNOWN`] for none.
    #[inline]
    pub(crate) fn raw(&self, domain: TimeDomain) -> i64 {
        match domain {
            TimeDomain::Processing => self.0.processing_ms.load(Ordering::Relaxed),
            TimeDomain::Event => self.0.event_ms.load(Ordering::Relaxed),
        }
    }

    /// Whether both are clones of one another.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for StateTime {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_unknown_then_only_grow_and_are_shared_by_clones() {
        let time = StateTime::new();
        let clone = time.clone();
        assert_eq!((time.processing_ms(), time.event_ms()), (None, None));
        for (told, known) in [(-5, -5), (-9, -5), (7, 7), (6, 7)] {
            time.set_processing_ms(told);
            time.advance_event_ms(told - 1);
            assert_eq!(clone.processing_ms(), Some(known));
            assert_eq!(clone.event_ms(), Some(known - 1));
        }
        assert!(clone.is_same_as(&time) && !clone.is_same_as(&StateTime::new()));
    }

    #[test]
    fn the_end_of_input_does_not_move_event_time() {
        let time = StateTime::new();
        time.advance_event_ms(i64::MAX);
        assert_eq!(time.event_ms(), None);
        time.advance_event_ms(3);
        time.advance_event_ms(i64::MAX);
        assert_eq!(time.event_ms(), Some(3));
    }

    #[test]
    fn domains_are_found_by_their_names() {
        for domain in [TimeDomain::Processing, TimeDomain::Event] {
            assert_eq!(TimeDomain::from_name(domain.name()), Some(domain));
        }
        assert_eq!(TimeDomain::from_name("wall"), None);
    }
}
