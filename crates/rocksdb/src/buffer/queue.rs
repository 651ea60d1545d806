//! Which generations wait to land, who lands them, and who waits for that.
//!
//! Nothing here depends on how a generation lands: `tests/interleavings.rs` runs this in many
//! orders of its threads.
//!
//! # Invariants
//! - One thread at a time lands for an instance, oldest generation first.
//! - A generation leaves the queue when the database has taken it over. A landing that failed has
//!   changed nothing; it is tried again with the next write, which is refused with the failure.
//! - What is to be done right after a landing is done before the next one begins: it meets exactly
//!   what was frozen up to then.
//! - When the buffer goes, what waits is not wanted any more, unless something is to be done after
//!   it.

use std::collections::VecDeque;
use std::time::Duration;

use millpond_state::{ErrorKind, Result, StateError};

use super::generation::Generation;
use super::landing::LANDED_KEPT;
use super::view::{Base, View};
use super::workers::{Job, Workers};
use crate::store::Store;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Done with the database when a generation has landed and before the next one does, on the
/// thread that landed it. Dropped if that will never be.
pub(crate) type AfterLanding = Box<dyn FnOnce(&Arc<Store>) + Send>;

struct Frozen {
    generation: Arc<Generation>,
    after: Option<AfterLanding>,
}

/// What the writer and the threads share of one instance.
pub(crate) struct Landing {
    state: Mutex<State>,
    changed: Condvar,
    /// Grows whenever the view changes by a landing.
    version: AtomicU64,
    failed: AtomicBool,
    abandoned: AtomicBool,
    /// Bytes of the generation under way that are written.
    written_bytes: AtomicUsize,
    /// Bytes of generations in the database's first level when somebody last looked.
    first_level_bytes: AtomicUsize,
}

struct State {
    /// Oldest first.
    queue: VecDeque<Frozen>,
    landed: Vec<Arc<Generation>>,
    /// Files and bytes of the generations in the database's first level, oldest first.
    first_level: VecDeque<(u64, usize)>,
    /// Store and base; gone when the buffer is and nothing is left to do.
    below: Option<(Arc<Store>, Arc<Base>)>,
    is_scheduled: bool,
    is_landing: bool,
    /// Whether something is to be done after the last of the queue although the buffer is gone.
    is_needed: bool,
    failure: Option<Arc<StateError>>,
    /// Landings that have failed so far.
    failures: u64,
}

impl Landing {
    /// With nothing to land.
    pub(crate) fn new(store: Arc<Store>, view: &View) -> Self {
        let state = State {
            queue: VecDeque::new(),
            landed: Vec::new(),
            first_level: VecDeque::new(),
            below: Some((store, Arc::clone(&view.base))),
            is_scheduled: false,
            is_landing: false,
            is_needed: false,
            failure: None,
            failures: 0,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            version: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            written_bytes: AtomicUsize::new(0),
            first_level_bytes: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes with each landing.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The present view over `base`, or what has become of that, and its version.
    pub(crate) fn view(&self, base: &Arc<Base>) -> (View, u64) {
        let state = self.lock();
        let unlanded = state.queue.iter().rev().map(|frozen| Arc::clone(&frozen.generation));
        let view = View {
            unlanded: unlanded.collect(),
            landed: state.landed.clone(),
            base: Arc::clone(state.below.as_ref().map_or(base, |(_, base)| base)),
        };
        (view, self.version())
    }

    /// Bytes of the queue that are written already.
    pub(crate) fn written_bytes(&self) -> usize {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Puts a generation at the end of the queue. It lands after [`Self::start`].
    pub(crate) fn push(&self, generation: Arc<Generation>, after: Option<AfterLanding>) {
        self.lock().queue.push_back(Frozen { generation, after });
    }

    /// Has what is queued land.
    pub(crate) fn start(self: &Arc<Self>, workers: &Workers) {
        self.schedule(&mut self.lock(), workers);
    }

    fn schedule(self: &Arc<Self>, state: &mut State, workers: &Workers) {
        if !state.is_scheduled && !state.queue.is_empty() {
            state.is_scheduled = true;
            workers.submit(Job::Land(Arc::clone(self)));
        }
    }

    /// Fails if the last landing did, and has it tried again.
    #[inline]
    pub(crate) fn check(self: &Arc<Self>, workers: &Workers) -> Result<()> {
        if self.failed.load(Ordering::Relaxed) { self.retry(workers) } else { Ok(()) }
    }

    #[cold]
    fn retry(self: &Arc<Self>, workers: &Workers) -> Result<()> {
        let mut state = self.lock();
        let Some(failure) = state.failure.clone() else { return Ok(()) };
        self.schedule(&mut state, workers);
        drop(state);
        if !workers.has_threads() && workers.do_one() && !self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(shared(failure))
    }

    /// How many landings have failed.
    pub(super) fn failures(&self) -> u64 {
        self.lock().failures
    }

    /// Waits for so long, or until something has landed, or has failed to since there were so many
    /// failures.
    ///
    /// # Errors
    /// That failure.
    pub(super) fn wait_after(
        &self,
        failures: u64,
        at_most: Duration,
        workers: &Workers,
    ) -> Result<()> {
        let seen = self.version();
        if workers.has_threads() || !workers.do_one() {
            let waited = self.changed.wait_timeout_while(self.lock(), at_most, |state| {
                self.version() == seen && state.failures == failures
            });
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        let state = self.lock();
        match &state.failure {
            Some(failure) if state.failures > failures => Err(shared(Arc::clone(failure))),
            _ => Ok(()),
        }
    }

    /// Forgets the generations that are kept for reading only.
    pub(crate) fn forget_landed(&self) {
        let mut state = self.lock();
        state.landed.clear();
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Forgets all but so many of them, the newest. Views of them change at the next landing only.
    pub(crate) fn keep_landed(&self, generations: usize) {
        let mut state = self.lock();
        let kept = generations.min(state.landed.len());
        let old = state.landed.split_off(kept);
        drop(state);
        drop(old);
    }

    /// Takes the present state of the database for the base. Nothing may be queued.
    pub(crate) fn renew_base(&self) {
        let mut state = self.lock();
        if let Some((store, base)) = &mut state.below {
            *base = Arc::new(Base::new(Arc::clone(store)));
        }
        state.landed.clear();
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Waits for so long, or until a generation has landed, or failed to.
    pub(crate) fn wait(&self, at_most: Duration, seen_version: u64, workers: &Workers) {
        if !workers.has_threads() && workers.do_one() {
            return;
        }
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, at_most, |state| {
            self.version() == seen_version && state.failure.is_none()
        });
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Lands what is queued, until a landing fails.
    pub(crate) fn land_all(&self) {
        while self.land_next() {}
    }

    /// Lands the oldest generation; tells if there may be more to land.
    pub(super) fn land_next(&self) -> bool {
        let mut state = self.lock();
        let (Some(frozen), Some((store, _))) = (state.queue.front(), &state.below) else {
            state.is_scheduled = false;
            return false;
        };
        let (generation, store) = (Arc::clone(&frozen.generation), Arc::clone(store));
        state.is_landing = true;
        drop(state);
        let done = self.land(&generation, &store).map(|()| self.publish(&store));
        self.written_bytes.store(0, Ordering::Relaxed);
        drop((generation, store));
        let mut state = self.lock();
        state.is_landing = false;
        self.failed.store(done.is_err(), Ordering::Relaxed);
        state.failures += u64::from(done.is_err());
        state.failure = done.err().map(Arc::new);
        let goes_on = state.failure.is_none();
        state.is_scheduled &= goes_on;
        let left = state.release_if_gone(self.is_abandoned());
        drop(state);
        drop(left);
        self.changed.notify_all();
        goes_on
    }

    /// Makes known that the oldest generation has landed.
    fn publish(&self, store: &Arc<Store>) {
        let mut state = self.lock();
        let after = state.queue.front_mut().and_then(|frozen| frozen.after.take());
        drop(state);
        if let Some(after) = after {
            after(store);
        }
        let mut old = (Arc::new(Base::new(Arc::clone(store))), Vec::new());
        let mut state = self.lock();
        if let Some(frozen) = state.queue.pop_front() {
            state.landed.insert(0, frozen.generation);
            let kept = LANDED_KEPT.min(state.landed.len());
            old.1 = state.landed.split_off(kept);
        }
        if let Some((_, base)) = &mut state.below {
            core::mem::swap(base, &mut old.0);
        }
        self.version.fetch_add(1, Ordering::Release);
        drop(state);
        drop(old);
    }

    /// So many bytes of the queue are written.
    pub(super) fn note_written(&self, bytes: usize) {
        self.written_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Bytes of generations in the database's first level when somebody last looked: how far
    /// compactions have fallen behind.
    pub(crate) fn first_level_bytes(&self) -> usize {
        self.first_level_bytes.load(Ordering::Relaxed)
    }

    /// The database has taken over a generation of `bytes` in `files`.
    pub(super) fn note_taken_over(&self, files: usize, bytes: usize) {
        self.lock().first_level.push_back((files as u64, bytes));
    }

    /// The database's first level has so many files: the newest.
    pub(super) fn note_first_level(&self, files: u64) {
        let mut state = self.lock();
        let mut known: u64 = state.first_level.iter().map(|(files, _)| files).sum();
        while known > files
            && let Some((oldest, _)) = state.first_level.pop_front()
        {
            known -= oldest;
        }
        let bytes = state.first_level.iter().map(|(_, bytes)| bytes).sum();
        self.first_level_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The database, unless it was let go of.
    pub(super) fn store(&self) -> Option<Arc<Store>> {
        self.lock().below.as_ref().map(|(store, _)| Arc::clone(store))
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Fails if nobody needs what is being landed any more.
    pub(super) fn check_wanted(&self) -> Result<()> {
        if self.is_abandoned() && !self.lock().is_needed {
            return Err(StateError::new(ErrorKind::Cancelled, "the buffer is gone"));
        }
        Ok(())
    }

    /// Gives up what nobody needs now that the buffer goes; waits until no thread is at it.
    pub(crate) fn abandon(self: &Arc<Self>, workers: &Workers) {
        let mut state = self.lock();
        let needed = state.queue.iter().rposition(|frozen| frozen.after.is_some());
        let dropped = state.queue.split_off(needed.map_or(0, |last| last + 1));
        if needed.is_some() {
            state.is_needed = true;
            self.schedule(&mut state, workers);
        }
        self.abandoned.store(true, Ordering::Relaxed);
        while state.is_landing && !state.is_needed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let left = state.release_if_gone(true);
        drop(state);
        drop((dropped, left));
        while !workers.has_threads() && workers.do_one() {}
    }
}

impl State {
    /// Lets go of the database if nothing is left to be done with it. The caller drops that when it
    /// has let go of the lock.
    fn release_if_gone(&mut self, is_gone: bool) -> Option<(Arc<Store>, Arc<Base>)> {
        if is_gone && self.queue.is_empty() && !self.is_landing {
            self.landed.clear();
            return self.below.take();
        }
        None
    }
}

/// As the error of a call.
fn shared(failure: Arc<StateError>) -> StateError {
    StateError::new(failure.kind(), failure.message().to_owned()).with_source(Shared(failure))
}

/// A failure that several calls report.
#[derive(Debug)]
struct Shared(Arc<StateError>);

impl core::fmt::Display for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl core::error::Error for Shared {}
