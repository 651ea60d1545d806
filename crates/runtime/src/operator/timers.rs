//! The timers of one operator: of event time and of processing time, in the operator's backend.
//!
//! Their two states are registered when the operator first sets a timer of the kind, or when a
//! restored backend has them: an operator without timers has neither, and pays nothing for them.

use std::fmt;

use millpond_state::codec::HasCodec;
use millpond_state::{At, DueTimer, KeyedBackend, TimeDomain, Timers};

use crate::error::Result;

/// Names of the two states.
const EVENT_TIMERS: &str = "timers:event";
const PROCESSING_TIMERS: &str = "timers:processing";

/// A timer that fires: see [`KeyedOperator::on_timer`](crate::KeyedOperator::on_timer).
#[derive(Clone, Debug)]
pub struct Timer<K, N = ()> {
    domain: TimeDomain,
    due: DueTimer<K, N>,
}

impl<K: HasCodec, N: HasCodec> Timer<K, N> {
    /// Which time it was set for.
    #[must_use]
    pub const fn domain(&self) -> TimeDomain {
        self.domain
    }

    /// The time it was set for, in milliseconds since the Unix epoch. The present time may be
    /// later.
    #[must_use]
    pub const fn time_ms(&self) -> i64 {
        self.due.time()
    }

    /// The address it was set at, to reach states of its key and namespace.
    #[must_use]
    pub fn at(&self) -> At<'_, K, N> {
        self.due.at()
    }

    /// The key.
    ///
    /// # Errors
    /// What the key's codec reports.
    pub fn key(&self) -> Result<K> {
        Ok(self.due.key()?)
    }

    /// The namespace.
    ///
    /// # Errors
    /// What the namespace's codec reports.
    pub fn namespace(&self) -> Result<N> {
        Ok(self.due.namespace()?)
    }
}

/// The timers of an operator, as far as they exist.
#[derive(Debug)]
pub(crate) struct TimerStore<K, N> {
    event: Option<Timers<K, N>>,
    processing: Option<Timers<K, N>>,
}

impl<K: HasCodec, N: HasCodec> TimerStore<K, N> {
    /// Finds the timers that `backend` was restored with.
    pub(crate) fn open(backend: &mut dyn KeyedBackend) -> Result<Self> {
        let mut store = Self { event: None, processing: None };
        for domain in [TimeDomain::Event, TimeDomain::Processing] {
            let name = state_name(domain);
            if backend.states().iter().any(|state| state.name() == name) {
                *store.slot(domain) = Some(Timers::register(backend, name)?);
            }
        }
        Ok(store)
    }

    /// A time before which no processing-time timer is due; `None` if there are none.
    pub(crate) fn next_processing_ms(&self) -> Option<i64> {
        self.processing.as_ref().and_then(Timers::next_time)
    }

    /// Takes the earliest timer that is due at `now_ms`.
    pub(crate) fn poll(
        &mut self,
        backend: &mut dyn KeyedBackend,
        domain: TimeDomain,
        now_ms: i64,
    ) -> Result<Option<Timer<K, N>>> {
        let Some(timers) = self.slot(domain) else { return Ok(None) };
        Ok(timers.poll(backend, now_ms)?.map(|due| Timer { domain, due }))
    }

    fn slot(&mut self, domain: TimeDomain) -> &mut Option<Timers<K, N>> {
        match domain {
            TimeDomain::Event => &mut self.event,
            TimeDomain::Processing => &mut self.processing,
        }
    }

    fn registered(
        &mut self,
        backend: &mut dyn KeyedBackend,
        domain: TimeDomain,
    ) -> Result<&mut Timers<K, N>> {
        let slot = self.slot(domain);
        match slot {
            Some(timers) => Ok(timers),
            None => Ok(slot.insert(Timers::register(backend, state_name(domain))?)),
        }
    }
}

/// Sets and deletes timers of the operator's key groups. For each address, time domain and time
/// there is at most one timer.
pub struct OperatorTimers<'a, K, N> {
    pub(crate) store: &'a mut TimerStore<K, N>,
    pub(crate) backend: &'a mut dyn KeyedBackend,
}

impl<K: HasCodec, N: HasCodec> OperatorTimers<'_, K, N> {
    /// Sets a timer for `time_ms`, in milliseconds since the Unix epoch; `false` if there is one at
    /// that address and time already. A timer for a time that has come already fires the next time
    /// that the watermark rises or, of processing time, soon after the call it was set in.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn add(&mut self, domain: TimeDomain, at: At<'_, K, N>, time_ms: i64) -> Result<bool> {
        Ok(self.store.registered(self.backend, domain)?.add(self.backend, at, time_ms)?)
    }

    /// Deletes a timer; `false` if there is none at that address and time.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn delete(&mut self, domain: TimeDomain, at: At<'_, K, N>, time_ms: i64) -> Result<bool> {
        match self.store.slot(domain) {
            Some(timers) => Ok(timers.delete(self.backend, at, time_ms)?),
            None => Ok(false),
        }
    }

    /// Deletes all timers of an address.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn delete_all(&mut self, domain: TimeDomain, at: At<'_, K, N>) -> Result<()> {
        match self.store.slot(domain) {
            Some(timers) => Ok(timers.delete_all(self.backend, at)?),
            None => Ok(()),
        }
    }

    /// The times of the timers of an address, ascending.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn times(&mut self, domain: TimeDomain, at: At<'_, K, N>) -> Result<Vec<i64>> {
        match self.store.slot(domain) {
            Some(timers) => Ok(timers.times(self.backend, at)?),
            None => Ok(Vec::new()),
        }
    }

    /// Takes the earliest timer whatever its time. For
    /// [`on_end`](crate::KeyedOperator::on_end): processing-time timers that are pending then do
    /// not fire by themselves.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn take_earliest(&mut self, domain: TimeDomain) -> Result<Option<Timer<K, N>>> {
        self.store.poll(self.backend, domain, i64::MAX)
    }
}

impl<K, N> fmt::Debug for OperatorTimers<'_, K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorTimers").finish_non_exhaustive()
    }
}

const fn state_name(domain: TimeDomain) -> &'static str {
    match domain {
        TimeDomain::Event => EVENT_TIMERS,
        TimeDomain::Processing => PROCESSING_TIMERS,
    }
}
