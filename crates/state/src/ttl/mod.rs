//! Time to live: state that expires when it was not touched for a while.
//!
//! Written once, over any backend and for every kind of state but timers. Each stored part (a value
//! or accumulator, a list's element, a map's value) begins with a stamp of 8 bytes: when it was
//! last touched. The stamp is a fact and goes into snapshots, under a codec name of
//! `expiring<processing,...>` or `expiring<event,...>`; how long parts live is a setting of the
//! running program.
//!
//! Expired parts are given back in four ways: the read that meets one removes it, a [`Sweeper`]
//! walks over state that nobody reads, snapshots leave it out
//! ([`StateRegistry::filter_snapshot`](crate::StateRegistry::filter_snapshot)), and a backend that
//! rewrites its files by itself asks the [`ExpiryFilter`] in the state's descriptor.
//!
//! Invariants: as long as time is unknown nothing expires. A part that was written before time was
//! known does not expire until a sweep, snapshot or write has given it a stamp. No arithmetic on
//! stamps wraps.

mod clean;
mod filter;
pub(crate) mod stamp;
mod sweeper;

#[cfg(test)]
mod tests;

use core::time::Duration;

pub(crate) use clean::{clean_entry, clean_for_walk};
pub(crate) use filter::TtlFilter;
pub use filter::{Expiry, ExpiryFilter};
pub use sweeper::{SweepStep, Sweeper};

use crate::codec::CodecIdentity;
use crate::error::{ErrorKind, Result, StateError};
use crate::time::{StateTime, TimeDomain};

/// Entries that a [`Sweeper`] looks at in one step unless set otherwise.
pub const SWEEP_ENTRIES_DEFAULT: u32 = 32;

/// What counts as touching a part of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Refresh {
    /// Writing it.
    #[default]
    OnWrite,
    /// Writing or reading it; each read then also writes.
    OnReadAndWrite,
}

/// What a read does with a part that has expired and is still stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Removes it, and does not see it.
    #[default]
    NeverExpired,
    /// Sees it as if it had not expired, until a sweep, snapshot and restore, or write cleans it.
    /// Reading an expired part does not make it live longer.
    UntilCleaned,
}

/// How long the parts of a state live, and by which clock.
///
/// ```
/// use core::time::Duration;
/// use millpond_state::{
///     KeyedBackend, Refresh, Result, StateOptions, StateTime, TimeDomain, Ttl, ValueState,
/// };
///
/// /// Sessions that are forgotten an hour of event time after they were last touched.
/// fn sessions(
///     backend: &mut dyn KeyedBackend,
///     time: &StateTime,
/// ) -> Result<ValueState<String, u64>> {
///     let ttl = Ttl::new(Duration::from_secs(3600), TimeDomain::Event, time)?
///         .refresh(Refresh::OnReadAndWrite);
///     ValueState::register_with(backend, "sessions", StateOptions::new().ttl(ttl))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Ttl {
    duration_ms: i64,
    domain: TimeDomain,
    refresh: Refresh,
    visibility: Visibility,
    sweep_entries: u32,
    time: StateTime,
}

impl Ttl {
    /// Parts expire once `duration` has passed, in `domain` of `time`, since they were last
    /// written. `time` must be the one that is advanced while the state is used.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if `duration` is under a millisecond.
    pub fn new(duration: Duration, domain: TimeDomain, time: &StateTime) -> Result<Self> {
        let duration_ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        if duration_ms == 0 {
            return Err(StateError::new(
                ErrorKind::InvalidArgument,
                "a time to live must be at least a millisecond",
            ));
        }
        Ok(Self {
            duration_ms,
            domain,
            refresh: Refresh::default(),
            visibility: Visibility::default(),
            sweep_entries: SWEEP_ENTRIES_DEFAULT,
            time: time.clone(),
        })
    }

    /// Sets what counts as touching.
    #[must_use]
    pub const fn refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    /// Sets what reads do with expired parts.
    #[must_use]
    pub const fn visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// Sets how many entries a [`Sweeper`] looks at in one step; 0 keeps it away from this state.
    #[must_use]
    pub const fn sweep(mut self, entries: u32) -> Self {
        self.sweep_entries = entries;
        self
    }

    /// How long a part lives, in milliseconds.
    #[must_use]
    pub const fn duration_ms(&self) -> i64 {
        self.duration_ms
    }

    /// The clock that counts.
    #[must_use]
    pub const fn domain(&self) -> TimeDomain {
        self.domain
    }

    /// Entries that a [`Sweeper`] looks at in one step.
    #[must_use]
    pub const fn sweep_entries(&self) -> u32 {
        self.sweep_entries
    }

    /// The present time, or the unknown one.
    #[inline]
    pub(crate) fn now(&self) -> i64 {
        self.time.raw(self.domain)
    }

    /// Whether a part stamped `stamp` has expired at `now`. An unknown `now` is the least number,
    /// so that no time has passed.
    #[inline]
    pub(crate) const fn is_expired(&self, stamp: i64, now: i64) -> bool {
        now.saturating_sub(stamp) >= self.duration_ms && stamp != crate::time::UNKNOWN
    }

    /// Whether a read of a part stamped `stamp` has nothing to do but to return it.
    #[inline]
    pub(crate) const fn is_settled(&self, stamp: i64, now: i64) -> bool {
        !(self.is_expired(stamp, now) || (self.refreshes_on_read() && stamp < now))
    }

    /// Whether reads do not see a part stamped `stamp`.
    #[inline]
    pub(crate) const fn is_hidden(&self, stamp: i64, now: i64) -> bool {
        self.is_expired(stamp, now) && self.hides_expired()
    }

    /// Whether a read of a part stamped `stamp` must stamp it anew: not if it has expired.
    #[inline]
    pub(crate) const fn read_touches(&self, stamp: i64, now: i64) -> bool {
        self.refreshes_on_read() && stamp < now && !self.is_expired(stamp, now)
    }

    #[inline]
    pub(crate) const fn hides_expired(&self) -> bool {
        matches!(self.visibility, Visibility::NeverExpired)
    }

    #[inline]
    pub(crate) const fn refreshes_on_read(&self) -> bool {
        matches!(self.refresh, Refresh::OnReadAndWrite)
    }

    /// The identity under which parts of codec `inner` are stored.
    pub(crate) fn identity_of(&self, inner: &CodecIdentity) -> CodecIdentity {
        CodecIdentity::new(format!("expiring<{},{}>", self.domain, inner.name()), inner.version())
    }
}

/// All settings are equal, and both ask the same [`StateTime`].
impl PartialEq for Ttl {
    fn eq(&self, other: &Self) -> bool {
        let settings = |ttl: &Self| {
            (ttl.duration_ms, ttl.domain, ttl.refresh, ttl.visibility, ttl.sweep_entries)
        };
        settings(self) == settings(other) && self.time.is_same_as(&other.time)
    }
}

/// Takes apart the identity of parts that expire: their clock, and what it wraps.
pub(crate) fn split_identity(identity: &CodecIdentity) -> Option<(TimeDomain, CodecIdentity)> {
    let body = identity.name().strip_prefix("expiring<")?.strip_suffix('>')?;
    let (domain, inner) = body.split_once(',')?;
    Some((TimeDomain::from_name(domain)?, CodecIdentity::new(inner, identity.version())))
}
