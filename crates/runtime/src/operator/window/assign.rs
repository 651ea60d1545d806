//! Which windows a point in time falls into: arithmetic only.

use crate::error::{JobError, JobErrorKind, Result};
use crate::watermark::Timestamp;

/// A window of time, from its start (included) to its end (not included).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    start: Timestamp,
    end: Timestamp,
}

impl Window {
    /// The window of `size_ms` milliseconds from `start_ms` on.
    pub(super) const fn of_size(start_ms: i64, size_ms: i64) -> Self {
        Self::between(start_ms, start_ms.saturating_add(size_ms))
    }

    pub(super) const fn between(start_ms: i64, end_ms: i64) -> Self {
        Self { start: Timestamp::from_ms(start_ms), end: Timestamp::from_ms(end_ms) }
    }

    /// First millisecond of the window.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        self.start
    }

    /// First millisecond after the window.
    #[must_use]
    pub const fn end(self) -> Timestamp {
        self.end
    }

    /// Last millisecond of the window: when time has come there, the window is complete.
    pub(super) const fn last_ms(self) -> i64 {
        self.end.as_ms().saturating_sub(1)
    }
}

/// How time is cut into windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows(pub(super) Cut);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Windows of `size_ms`, one from each multiple of `slide_ms` on.
    Aligned { size_ms: i64, slide_ms: i64 },
    /// Windows by key, which end when nothing happened for `gap_ms`.
    Session { gap_ms: i64 },
}

impl Windows {
    /// Windows of `size_ms` milliseconds one after the other, aligned to the Unix epoch.
    ///
    /// # Errors
    /// [`JobErrorKind::InvalidArgument`] if `size_ms` is not above 0.
    pub fn tumbling(size_ms: i64) -> Result<Self> {
        Self::sliding(size_ms, size_ms)
    }

    /// Windows of `size_ms` milliseconds, one begins every `slide_ms`, aligned to the Unix epoch. A
    /// record falls into all that cover its time; with a slide longer than the size, perhaps into
    /// none.
    ///
    /// # Errors
    /// [`JobErrorKind::InvalidArgument`] if either is not above 0.
    pub fn sliding(size_ms: i64, slide_ms: i64) -> Result<Self> {
        at_least_one("the size of a window", size_ms)?;
        at_least_one("the slide of windows", slide_ms)?;
        Ok(Self(Cut::Aligned { size_ms, slide_ms }))
    }

    /// Windows of activity, for each key its own: records less than `gap_ms` milliseconds apart
    /// belong to one window, which ends `gap_ms` after its last record. Records just `gap_ms` apart
    /// are in two windows: the first may have been said before the second record, which need not be
    /// late for that.
    ///
    /// # Errors
    /// [`JobErrorKind::InvalidArgument`] if `gap_ms` is not above 0.
    pub fn session(gap_ms: i64) -> Result<Self> {
        at_least_one("the gap between sessions", gap_ms)?;
        Ok(Self(Cut::Session { gap_ms }))
    }
}

/// Starts of the aligned windows that cover `at_ms`, latest first.
pub(super) fn starts(at_ms: i64, size_ms: i64, slide_ms: i64) -> impl Iterator<Item = i64> {
    let latest = at_ms.saturating_sub(at_ms.rem_euclid(slide_ms));
    let covers = move |start: &i64| at_ms.saturating_sub(size_ms) < *start;
    // A start that cannot go back any more is the last one.
    let earlier = move |start: &i64| start.checked_sub(slide_ms);
    std::iter::successors(Some(latest), earlier).take_while(covers)
}

fn at_least_one(what: &str, ms: i64) -> Result<()> {
    if ms > 0 {
        return Ok(());
    }
    let message = format!("{what} is {ms} ms: give at least 1 ms");
    Err(JobError::new(JobErrorKind::InvalidArgument, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_that_covers_a_time_is_found_and_no_other() {
        for (size, slide) in [(1, 1), (10, 10), (10, 3), (3, 10), (7, 2), (6, 3)] {
            for at in -40..40 {
                let mut found: Vec<i64> = starts(at, size, slide).collect();
                found.reverse();
                let covering =
                    |start: &i64| start % slide == 0 && *start <= at && at < start + size;
                let expected: Vec<i64> = (-60..60).filter(covering).collect();
                assert_eq!(found, expected, "size {size}, slide {slide}, at {at}");
            }
        }
    }

    #[test]
    fn the_ends_of_time_have_windows_too() {
        for at in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            assert!(starts(at, 10, 3).count() <= 4);
        }
        assert_eq!(Window::of_size(i64::MAX - 2, 10).last_ms(), i64::MAX - 1);
    }

    #[test]
    fn windows_without_room_are_refused() {
        for windows in [
            Windows::tumbling(0),
            Windows::sliding(5, 0),
            Windows::sliding(-5, 1),
            Windows::session(0),
        ] {
            assert_eq!(windows.unwrap_err().kind(), JobErrorKind::InvalidArgument);
        }
    }
}
