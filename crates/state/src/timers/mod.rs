//! Timers: for each key and namespace a set of times, polled in order of time.
//!
//! Written once over any backend. What exists is what the backend's state says: a map from time to
//! nothing for each key and namespace, which is in every snapshot and is restored at any
//! parallelism like other keyed state. Which timer is next is read from an [index](bucket) in
//! memory, about the encoded key and namespace and 6 bytes for each timer; it is rebuilt from the
//! state when a handle is registered.
//!
//! Invariant: every timer in the state has a record in the index. The index may have records whose
//! timer was deleted since; they are skipped when their time comes and swept out once they are
//! more than half.

mod bucket;

#[cfg(test)]
mod tests;

use core::marker::PhantomData;
use core::ops::ControlFlow;
use std::collections::BTreeMap;

use bucket::{Bucket, Record};

use crate::backend::KeyedBackend;
use crate::buffer::Scratch;
use crate::codec::{Codec, CodecIdentity, DefaultCodec, HasCodec};
use crate::descriptor::StateKind;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;
use crate::key_group::KeyGroup;
use crate::kinds::{apply_to_all, describe};
use crate::place::At;

/// Deleted timers that the index may hold whatever the number of others.
const STALE_ALWAYS_FINE: usize = 1_024;

/// The timers of keys `K` in namespaces `N`. A time is any `i64`; by convention milliseconds since
/// the Unix epoch, of event time or of processing time, one handle for each.
///
/// A handle belongs to one backend instance, and all timers of its state must be changed through
/// it: a second handle on the same state does not see what the first one adds.
///
/// ```
/// use millpond_state::{KeyContext, KeyedBackend, Result, Timers};
///
/// /// Reminds of `key` at the times 20 and 10, and tells in which order they come.
/// fn remind(backend: &mut dyn KeyedBackend, key: &KeyContext<String>) -> Result<Vec<i64>> {
///     let mut timers = Timers::<String>::register(backend, "reminders")?;
///     for time in [20, 10, 20] {
///         timers.add(backend, key.at(), time)?;
///     }
///     let mut fired = Vec::new();
///     while let Some(timer) = timers.poll(backend, 25)? {
///         fired.push(timer.time());
///     }
///     Ok(fired) // [10, 20]
/// }
/// ```
#[derive(Debug)]
pub struct Timers<K, N = ()> {
    id: StateId,
    index: BTreeMap<i64, Bucket>,
    /// Timers in the state.
    live: usize,
    /// Records of the index without a timer in the state.
    stale: usize,
    types: PhantomData<fn() -> (K, N)>,
}

/// A timer whose time has come; it is no longer registered.
#[derive(Clone, Debug)]
pub struct DueTimer<K, N = ()> {
    time: i64,
    key: Scratch,
    namespace: Scratch,
    hash: u64,
    group: KeyGroup,
    types: PhantomData<fn() -> (K, N)>,
}

impl<K: HasCodec, N: HasCodec> Timers<K, N> {
    /// Registers the timer state called `name`, or finds it restored, and builds the index: one
    /// walk over the timers there are.
    ///
    /// # Errors
    /// As [`KeyedBackend::register`] and [`KeyedBackend::visit_entries`].
    pub fn register<B: KeyedBackend + ?Sized>(backend: &mut B, name: &str) -> Result<Self> {
        let time = DefaultCodec::<i64>::default().identity();
        let descriptor =
            describe::<K, N>(name, StateKind::Timer, Some(time), CodecIdentity::void())?;
        let id = backend.register(&descriptor)?;
        let mut timers = Self { id, index: BTreeMap::new(), live: 0, stale: 0, types: PhantomData };
        apply_to_all::<K, N, B>(backend, id, |backend, at| {
            backend.map_visit(id, at.entry(), &mut |time, _| {
                timers.push(decode_time(time)?, at.entry());
                Ok(ControlFlow::Continue(()))
            })
        })?;
        Ok(timers)
    }

    /// The state's id in its backend.
    #[must_use]
    pub const fn id(&self) -> StateId {
        self.id
    }

    /// How many timers there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Bytes of memory that the index takes, beside the state itself.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.index.values().map(Bucket::memory_bytes).sum()
    }

    /// A time before which no timer is due; `None` if there are none at all.
    #[must_use]
    pub fn next_time(&self) -> Option<i64> {
        if self.live == 0 { None } else { self.index.keys().next().copied() }
    }

    /// Registers a timer; `false` if there is one at that address and time already.
    ///
    /// # Errors
    /// As [`KeyedBackend::map_put`].
    pub fn add<B: KeyedBackend + ?Sized>(
        &mut self,
        backend: &mut B,
        at: At<'_, K, N>,
        time: i64,
    ) -> Result<bool> {
        let user_key = encode_time(time)?;
        if backend.map_get(self.id, at.entry(), user_key.as_slice())?.is_some() {
            return Ok(false);
        }
        backend.map_put(self.id, at.entry(), user_key.as_slice(), &[])?;
        self.push(time, at.entry());
        Ok(true)
    }

    /// Deletes a timer; `false` if there is none at that address and time.
    ///
    /// # Errors
    /// As [`KeyedBackend::map_remove`].
    pub fn delete<B: KeyedBackend + ?Sized>(
        &mut self,
        backend: &mut B,
        at: At<'_, K, N>,
        time: i64,
    ) -> Result<bool> {
        let user_key = encode_time(time)?;
        if backend.map_get(self.id, at.entry(), user_key.as_slice())?.is_none() {
            return Ok(false);
        }
        backend.map_remove(self.id, at.entry(), user_key.as_slice())?;
        self.forget(1);
        self.sweep(backend)?;
        Ok(true)
    }

    /// Deletes all timers of an address.
    ///
    /// # Errors
    /// As [`KeyedBackend::delete`].
    pub fn delete_all<B: KeyedBackend + ?Sized>(
        &mut self,
        backend: &mut B,
        at: At<'_, K, N>,
    ) -> Result<()> {
        let count = self.times(backend, at)?.len();
        backend.delete(self.id, at.entry())?;
        self.forget(count);
        self.sweep(backend)
    }

    /// The times of an address, ascending.
    ///
    /// # Errors
    /// As [`KeyedBackend::map_visit`].
    pub fn times<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
    ) -> Result<Vec<i64>> {
        let mut times = Vec::new();
        backend.map_visit(self.id, at.entry(), &mut |time, _| {
            times.push(decode_time(time)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(times)
    }

    /// Takes the earliest timer that is due at `now` (its time is `now` or before); `None` if there
    /// is none. Timers of the same time come in no particular order. Whoever fires timers may add
    /// and delete others between two calls, also some that are due.
    ///
    /// # Errors
    /// As [`KeyedBackend::map_remove`]; the timer then is still registered.
    pub fn poll<B: KeyedBackend + ?Sized>(
        &mut self,
        backend: &mut B,
        now: i64,
    ) -> Result<Option<DueTimer<K, N>>> {
        while let Some(mut first) = self.index.first_entry() {
            let time = *first.key();
            if time > now {
                break;
            }
            let Some(record) = first.get().front() else {
                first.remove();
                continue;
            };
            let user_key = encode_time(time)?;
            let entry = record.entry();
            let live = backend.map_get(self.id, entry, user_key.as_slice())?.is_some();
            if !live {
                first.get_mut().advance();
                self.stale = self.stale.saturating_sub(1);
                continue;
            }
            backend.map_remove(self.id, entry, user_key.as_slice())?;
            let due = DueTimer::new(time, &record);
            first.get_mut().advance();
            self.live = self.live.saturating_sub(1);
            return Ok(Some(due));
        }
        Ok(None)
    }

    fn push(&mut self, time: i64, entry: EntryKey<'_>) {
        self.index.entry(time).or_default().push(entry);
        self.live += 1;
    }

    fn forget(&mut self, count: usize) {
        self.live = self.live.saturating_sub(count);
        self.stale += count;
    }

    /// Drops records of deleted timers once they outnumber the others: amortised, one look-up for
    /// each deletion.
    fn sweep<B: KeyedBackend + ?Sized>(&mut self, backend: &mut B) -> Result<()> {
        if self.stale <= self.live.max(STALE_ALWAYS_FINE) {
            return Ok(());
        }
        let id = self.id;
        for (time, bucket) in &mut self.index {
            let user_key = encode_time(*time)?;
            bucket
                .retain(|entry| Ok(backend.map_get(id, entry, user_key.as_slice())?.is_some()))?;
        }
        self.index.retain(|_, bucket| !bucket.is_empty());
        self.stale = 0;
        Ok(())
    }
}

impl<K: HasCodec, N: HasCodec> DueTimer<K, N> {
    fn new(time: i64, record: &Record<'_>) -> Self {
        let entry = record.entry();
        let (mut key, mut namespace) = (Scratch::new(), Scratch::new());
        key.extend_from_slice(entry.key());
        namespace.extend_from_slice(entry.namespace());
        let (hash, group) = (entry.hash(), entry.group());
        Self { time, key, namespace, hash, group, types: PhantomData }
    }

    /// The time it was registered for.
    #[must_use]
    pub const fn time(&self) -> i64 {
        self.time
    }

    /// The address it was registered at, to reach other states of its key and namespace.
    #[must_use]
    pub fn at(&self) -> At<'_, K, N> {
        let entry = EntryKey::with_parts(self.key.as_slice(), self.hash, self.group);
        At::from_entry(entry.in_namespace(self.namespace.as_slice()))
    }

    /// The key.
    ///
    /// # Errors
    /// What the key's codec reports.
    pub fn key(&self) -> Result<K> {
        DefaultCodec::<K>::default().decode_all(self.key.as_slice())
    }

    /// The namespace.
    ///
    /// # Errors
    /// What the namespace's codec reports.
    pub fn namespace(&self) -> Result<N> {
        DefaultCodec::<N>::default().decode_all(self.namespace.as_slice())
    }
}

fn encode_time(time: i64) -> Result<Scratch> {
    let mut bytes = Scratch::new();
    DefaultCodec::<i64>::default().encode_into(&time, &mut bytes)?;
    Ok(bytes)
}

fn decode_time(bytes: &[u8]) -> Result<i64> {
    DefaultCodec::<i64>::default().decode_all(bytes)
}
