//! A buffer of hash tables in front of the database.
//!
//! ```text
//!   active        what is written, and copies of what is read        one writer
//!   unlanded      frozen, waiting to be written out                  shared, do not change
//!   landed        frozen and in the database, kept for reading
//!   database      takes generations over as SST files
//! ```
//!
//! Reads look from the top down and stop at the first that knows. What is found further down is
//! copied to the active generation, so that what is read often outlives the freeze; what is not
//! read again goes with the landed generation. Freezing is a move of a pointer. Threads of the
//! factory land what is frozen. The database's own write buffers are not used.
//!
//! # Invariants
//! - Those of [`view`], [`landing`] and [`overlay`].
//! - Memory is taken from the factory's [`pool`]. An instance whose share is used up waits for its
//!   own landings, never for those of others.
//!
//! # Failures
//! A generation that cannot be written out stays and is read as before. Writes are refused with the
//! failure, and each has the landing tried again.

mod arena;
mod generation;
mod index;
mod landing;
mod maps;
mod memory;
mod overlay;
mod pool;
mod queue;
mod record;
#[cfg(test)]
mod tests;
mod view;
mod walk;
mod workers;

use core::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use millpond_state::seam::{Clock, SystemClock};
use millpond_state::{Result, check_value_len};

use crate::store::Store;
use generation::{Full, Generation};
use pool::{INSTANCE_BYTES_MIN, Limit, Member, PAGE_BYTES};
use queue::Landing;
use record::Kind;
use view::View;
use workers::Job;

pub(crate) use generation::Key;
pub(crate) use overlay::Overlay;
pub(crate) use pool::Pool;
pub(crate) use queue::AfterLanding;
pub(crate) use view::HeldSnapshot;
pub(crate) use walk::Frozen;
pub(crate) use workers::Workers;

/// Longest value that is copied because it was read.
const CACHED_BYTES_MAX: usize = 2 << 10;

/// Longest that a write waits for a page in order to keep pace with landings and compactions.
/// Beyond the bound of memory it waits for a landing.
const PACE_WAIT_MAX: Duration = Duration::from_millis(5);

/// Shorter waits are put together.
const PACE_WAIT_MIN: Duration = Duration::from_millis(2);

/// Longest wait between two looks at whether a landing has failed.
const LANDING_WAIT: Duration = Duration::from_millis(20);

/// Longest wait between two looks at whether memory has come back.
const MEMORY_WAIT: Duration = Duration::from_millis(2);

/// Where a value is.
#[derive(Clone)]
pub(crate) enum Place {
    /// In the active generation.
    Active(u32),
    /// In a frozen generation, counted from the newest, the landed behind the unlanded.
    Frozen(usize, u32),
    /// In the caller's buffer.
    Read(Range<usize>),
}

/// What the generations know of a key.
enum Known {
    Value(Place),
    Absent,
    /// Nothing: ask the database.
    Nothing,
    /// What comes behind the value below.
    Operands,
}

/// The buffer of one instance.
pub(crate) struct Buffer {
    active: Generation,
    view: View,
    version: u64,
    landing: Arc<Landing>,
    member: Member,
    workers: Workers,
    /// Bytes of the active generation.
    bytes_max: usize,
    /// How often what was read has found no room in the active generation.
    crowded: usize,
    /// Grows with each freeze.
    freezes: u64,
    /// Seconds of waiting that are due; below 0 if the last wait took longer than it should.
    pace_debt: f64,
}

impl Buffer {
    /// An empty buffer over `store`, of generations of `bytes_max`.
    pub(crate) fn new(store: &Arc<Store>, pool: &Pool, workers: Workers, bytes_max: usize) -> Self {
        let view = View::new(store);
        Self {
            active: Generation::new(pool.clone(), 0),
            landing: Arc::new(Landing::new(Arc::clone(store), &view)),
            view,
            version: 0,
            member: pool.join(),
            workers,
            bytes_max,
            crowded: 0,
            freezes: 0,
            pace_debt: 0.0,
        }
    }

    /// An empty buffer over another store.
    pub(crate) fn new_over(&self, store: &Arc<Store>) -> Self {
        let mut new = Self::new(store, self.member.pool(), self.workers.clone(), self.bytes_max);
        // Places that calls handed out before are none in the new one.
        new.freezes = self.freezes + 1;
        new
    }

    /// Bytes of the active generation at which it is frozen.
    fn limit_bytes(&self) -> usize {
        self.bytes_max.min(self.member.share_bytes() / 4).max(PAGE_BYTES)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.active.bytes() + self.view.bytes()
    }

    /// How many times a generation was frozen.
    pub(crate) const fn freezes(&self) -> u64 {
        self.freezes
    }

    /// Takes note of what has landed.
    #[inline]
    pub(crate) fn catch_up(&mut self) {
        if self.landing.version() != self.version {
            self.refresh();
        }
        if self.crowded > 0 {
            self.turn();
        }
    }

    #[cold]
    fn refresh(&mut self) {
        let (mut view, version) = self.landing.view(&self.view.base);
        let surplus = view.landed.split_off(self.kept_of(&view.landed));
        if !surplus.is_empty() {
            self.landing.keep_landed(view.landed.len());
        }
        let old = core::mem::replace(&mut self.view, view);
        self.version = version;
        for generation in old.unlanded.into_iter().chain(old.landed).chain(surplus) {
            if self.workers.has_threads() {
                self.workers.submit(Job::Drop(generation));
            }
        }
    }

    /// How many of those that have landed are kept for reading: as many as half of the share holds,
    /// so that an instance that does nothing any more keeps no memory from the others.
    fn kept_of(&self, landed: &[Arc<Generation>]) -> usize {
        let mut bytes = 0;
        let fits = landed.iter().take_while(|generation| {
            bytes += generation.bytes();
            bytes <= 2 * self.limit_bytes()
        });
        fits.count().max(1).min(landed.len())
    }

    /// Begins a new generation for what is read, unless that would write out a small one too often.
    #[cold]
    fn turn(&mut self) {
        let written = self.active.bytes().saturating_sub(self.active.cached_bytes());
        let is_worth_it = !self.active.is_dirty()
            || written >= self.limit_bytes() / 4
            || self.crowded > self.active.len();
        if is_worth_it && self.view.unlanded.is_empty() {
            self.spill();
        }
    }

    /// The value at a place that a call before this one returned, with the same buffer.
    #[inline]
    pub(crate) fn value<'a>(&'a self, place: &Place, read: &'a [u8]) -> &'a [u8] {
        match place {
            Place::Active(at) => self.active.record(*at).value,
            Place::Frozen(number, at) => {
                self.frozen(*number).map_or(&[], |generation| generation.record(*at).value)
            }
            Place::Read(range) => read.get(range.clone()).unwrap_or_default(),
        }
    }

    fn frozen(&self, number: usize) -> Option<&Arc<Generation>> {
        let landed = number.checked_sub(self.view.unlanded.len());
        self.view.unlanded.get(number).or_else(|| self.view.landed.get(landed?))
    }

    /// The value of a key. What is read from the database comes behind what is in `read`.
    #[inline]
    pub(crate) fn get(
        &mut self,
        key: &Key<'_>,
        store: &Store,
        read: &mut Vec<u8>,
    ) -> Result<Option<Place>> {
        self.catch_up();
        match self.look_up(key) {
            Known::Value(place) => {
                if let Place::Frozen(..) = place {
                    self.keep_frozen(key, &place);
                }
                Ok(Some(place))
            }
            Known::Absent => Ok(None),
            Known::Nothing => self.get_below(key, store, read),
            Known::Operands => self.compose(key, read),
        }
    }

    /// As [`Self::get`], but only of what the generations know as a whole: `None` if the database
    /// must be asked. Takes no note of what has landed.
    pub(crate) fn get_known(&self, key: &Key<'_>) -> Option<Option<Place>> {
        match self.look_up(key) {
            Known::Value(place) => Some(Some(place)),
            Known::Absent => Some(None),
            Known::Nothing | Known::Operands => None,
        }
    }

    /// Asks for what [`Self::prefetch`] will read of a key, without waiting for it.
    #[inline]
    pub(crate) fn prefetch_index(&self, key: &Key<'_>) {
        self.active.prefetch_index(key);
    }

    /// Asks for what [`Self::get_known`] will read of a key, without waiting for it: the misses of
    /// a batch are then under way together.
    #[inline]
    pub(crate) fn prefetch(&self, key: &Key<'_>) {
        if !self.active.prefetch(key) {
            let mut frozen = self.view.unlanded.iter().chain(&self.view.landed);
            frozen.any(|generation| generation.prefetch(key));
        }
    }

    #[inline]
    fn look_up(&self, key: &Key<'_>) -> Known {
        let mut operands = false;
        if let Some(at) = self.active.find(key) {
            match self.active.record(at).kind {
                Kind::Append => operands = true,
                Kind::Delete => return Known::Absent,
                _ => return Known::Value(Place::Active(at)),
            }
        } else if self.active.hides(key) {
            return Known::Absent;
        }
        self.look_up_frozen(key, operands)
    }

    fn look_up_frozen(&self, key: &Key<'_>, mut operands: bool) -> Known {
        let unlanded = self.view.unlanded.len();
        for (number, generation) in self.view.unlanded.iter().chain(&self.view.landed).enumerate() {
            let Some(at) = generation.find(key) else {
                if generation.hides(key) {
                    return if operands { Known::Operands } else { Known::Absent };
                }
                continue;
            };
            match generation.record(at).kind {
                Kind::Append if number >= unlanded => break,
                Kind::Append => operands = true,
                _ if operands => break,
                Kind::Delete => return Known::Absent,
                _ => return Known::Value(Place::Frozen(number, at)),
            }
        }
        if operands { Known::Operands } else { Known::Nothing }
    }

    /// As [`Self::get`] of a key of which the generations knew nothing, and the database `value`.
    /// What was written since counts, unless there was a freeze.
    pub(crate) fn get_read(
        &mut self,
        key: &Key<'_>,
        value: Option<&[u8]>,
        read: &mut Vec<u8>,
    ) -> Result<Option<Place>> {
        match self.look_up(key) {
            Known::Value(place) => Ok(Some(place)),
            Known::Absent => Ok(None),
            Known::Operands => self.compose(key, read),
            Known::Nothing => {
                let Some(value) = value else { return Ok(None) };
                self.keep(key, value);
                Ok(Some(push(read, value)))
            }
        }
    }

    fn get_below(
        &mut self,
        key: &Key<'_>,
        store: &Store,
        read: &mut Vec<u8>,
    ) -> Result<Option<Place>> {
        let Some(value) = store.get(key.bytes)? else { return Ok(None) };
        check_value_len(value.len())?;
        self.keep(key, &value);
        Ok(Some(push(read, &value)))
    }

    /// Puts a value together whose end was appended since it was last known as a whole.
    fn compose(&mut self, key: &Key<'_>, read: &mut Vec<u8>) -> Result<Option<Place>> {
        let start = read.len();
        let own = self.active.find(key).map(|at| self.active.record(at).value);
        let mut operands: Vec<&[u8]> = own.into_iter().collect();
        let mut is_whole = false;
        for (number, generation) in self.view.unlanded.iter().chain(&self.view.landed).enumerate() {
            let Some(at) = generation.find(key) else { continue };
            let record = generation.record(at);
            match record.kind {
                Kind::Append if number >= self.view.unlanded.len() => break,
                Kind::Append => operands.push(record.value),
                Kind::Delete => is_whole = true,
                _ => {
                    read.extend_from_slice(record.value);
                    is_whole = true;
                }
            }
            if is_whole {
                break;
            }
        }
        if !is_whole && let Some(value) = self.view.base.get(key.bytes)? {
            read.extend_from_slice(&value);
        }
        operands.iter().rev().for_each(|operand| read.extend_from_slice(operand));
        let (own, place) = (own.map_or(0, <[u8]>::len), start..read.len());
        check_value_len(place.len())?;
        let value = read.get(place.clone()).unwrap_or_default();
        // Of an append of nothing only its record says that there is an entry.
        let has_own_record = self.active.find(key).is_some();
        if value.len() <= CACHED_BYTES_MAX && (own > 0 || !has_own_record) {
            self.cache(key, value, value.len() - own);
        }
        Ok(Some(Place::Read(place)))
    }

    /// Copies what was read to the active generation.
    pub(crate) fn keep(&mut self, key: &Key<'_>, value: &[u8]) {
        if value.len() <= CACHED_BYTES_MAX {
            self.cache(key, value, value.len());
        }
    }

    /// As [`Self::keep`], of what is found in a frozen generation.
    pub(crate) fn keep_frozen(&mut self, key: &Key<'_>, place: &Place) {
        let Place::Frozen(number, at) = place else { return };
        let Some(generation) = self.frozen(*number).map(Arc::clone) else { return };
        self.keep(key, generation.record(*at).value);
    }

    /// Copies a value of which the first `base` bytes are below, if there is room for it.
    fn cache(&mut self, key: &Key<'_>, value: &[u8], base: usize) {
        let limit = self.limit_bytes();
        if self.crowded > 0 || self.active.cached_bytes() > limit / 2 {
            self.crowded += 1;
            return;
        }
        while let Err(Full { bytes }) = self.active.cache(key, value, base) {
            let has_room = self.active.bytes() + Generation::room_bytes(bytes) <= limit
                && !self.active.is_out_of_addresses();
            if !has_room || !self.active.add_room(bytes, Limit::Held) {
                self.crowded += 1;
                return;
            }
        }
    }

    /// Sets the value of a key.
    #[inline]
    pub(crate) fn put(&mut self, key: &Key<'_>, value: &[u8]) -> Result<()> {
        self.write(|active| Ok(active.write(key, Kind::Put, value)))
    }

    /// Deletes a key.
    pub(crate) fn delete(&mut self, key: &Key<'_>) -> Result<()> {
        self.write(|active| Ok(active.write(key, Kind::Delete, &[])))
    }

    /// Appends to the value of a key.
    pub(crate) fn append(&mut self, key: &Key<'_>, more: &[u8]) -> Result<()> {
        self.write(|active| active.append(key, more))
    }

    /// Deletes all user keys of a map.
    pub(crate) fn delete_map(&mut self, entry: &[u8]) -> Result<()> {
        self.write(|active| Ok(active.clear_map(entry)))
    }

    #[inline]
    fn write(&mut self, write: impl Fn(&mut Generation) -> Result<Result<(), Full>>) -> Result<()> {
        self.landing.check(&self.workers)?;
        self.catch_up();
        while let Err(Full { bytes }) = write(&mut self.active)? {
            self.make_room(bytes)?;
        }
        Ok(())
    }

    /// Makes room for a record in the active generation, or in a new one.
    #[cold]
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        let wanted = Generation::room_bytes(bytes);
        let is_large = self.active.bytes() + wanted > self.limit_bytes();
        if is_large && !self.active.is_empty() || self.active.is_out_of_addresses() {
            self.wait_while(|buffer| buffer.queue_is_full())?;
            self.spill();
        }
        self.keep_pace()?;
        loop {
            let held = self.bytes() + wanted;
            let may_pass = held <= INSTANCE_BYTES_MIN || !self.holds_anything();
            let limit = if may_pass { Limit::Passed } else { Limit::Held };
            if self.active.add_room(bytes, limit) {
                return Ok(());
            }
            if !self.view.landed.is_empty() {
                self.landing.forget_landed();
                self.refresh();
            } else if self.view.unlanded.is_empty() {
                self.spill();
            } else {
                self.wait_for_landing(MEMORY_WAIT)?;
            }
        }
    }

    fn holds_anything(&self) -> bool {
        !self.active.is_empty() || !self.view.unlanded.is_empty() || !self.view.landed.is_empty()
    }

    /// Whether freezing would pass the bound of what waits to land.
    fn queue_is_full(&self) -> bool {
        self.view.unlanded_bytes().saturating_sub(self.landing.written_bytes())
            > self.limit_bytes() * 3 / 2
    }

    /// Whether the database alone knows a map.
    pub(crate) fn has_nothing_of(&mut self, map: &[u8]) -> bool {
        self.catch_up();
        let map = Key::of_map(map);
        let mut frozen = self.view.unlanded.iter();
        self.active.find_map(&map).is_none() && frozen.all(|it| it.find_map(&map).is_none())
    }

    /// Waits for landings.
    fn wait_while(&mut self, still: impl Fn(&Self) -> bool) -> Result<()> {
        while still(self) {
            self.wait_for_landing(LANDING_WAIT)?;
        }
        Ok(())
    }

    fn wait_for_landing(&mut self, at_most: Duration) -> Result<()> {
        self.landing.check(&self.workers)?;
        self.landing.start(&self.workers);
        self.landing.wait(at_most, self.version, &self.workers);
        self.refresh();
        Ok(())
    }

    /// Slows the writer down, little by little, when landings or compactions fall behind: otherwise
    /// one write would wait for a whole landing, and that for a compaction.
    fn keep_pace(&mut self) -> Result<()> {
        let excess = self.excess();
        self.pace_debt += PACE_WAIT_MAX.as_secs_f64() * excess * excess;
        if self.pace_debt >= PACE_WAIT_MIN.as_secs_f64() && self.workers.has_threads() {
            let (wait, waiting) =
                (self.pace_debt.min(PACE_WAIT_MAX.as_secs_f64()), SystemClock::new());
            self.landing.wait(Duration::from_secs_f64(wait), self.version, &self.workers);
            self.landing.look_at_first_level();
            // What the system lets a writer wait beyond what it asked for counts, up to a bound.
            let credit = -4.0 * PACE_WAIT_MAX.as_secs_f64();
            self.pace_debt = (wait - waiting.monotonic().as_secs_f64()).clamp(credit, 0.0);
            self.catch_up();
            self.landing.check(&self.workers)?;
        }
        Ok(())
    }

    /// How far the writer is ahead, from 0 to 1: of landings from one and a half generations to
    /// three, of compactions from fourteen to forty. The database itself does not hold back those
    /// who hand it files.
    fn excess(&self) -> f64 {
        let ahead = self.view.unlanded_bytes() + self.active.bytes();
        let ahead = ahead.saturating_sub(self.landing.written_bytes());
        let generations = |bytes| bytes as f64 / self.limit_bytes() as f64;
        let of_landings = (generations(ahead) - 1.5) / 1.5;
        let of_compactions = (generations(self.landing.first_level_bytes()) - 14.0) / 26.0;
        of_landings.max(of_compactions).clamp(0.0, 1.0)
    }

    /// Freezes the active generation, to land with `after` behind it once a landing is started.
    fn freeze(&mut self, after: Option<AfterLanding>) {
        self.crowded = 0;
        if self.active.is_empty() && after.is_none() {
            return;
        }
        self.freezes += 1;
        let next = Generation::new(self.member.pool().clone(), self.active.len());
        let frozen = Arc::new(core::mem::replace(&mut self.active, next));
        self.view.unlanded.insert(0, Arc::clone(&frozen));
        self.landing.push(frozen, after);
    }

    /// As [`Self::freeze`], and begins to land it.
    fn spill(&mut self) {
        self.freeze(None);
        self.landing.start(&self.workers);
    }

    /// Freezes what there is and waits until all of it has landed.
    ///
    /// # Errors
    /// If a landing fails.
    pub(crate) fn drain(&mut self) -> Result<()> {
        self.spill();
        self.refresh();
        self.wait_while(|buffer| !buffer.view.unlanded.is_empty())
    }

    /// Looks at the database anew, which was written past the buffer. Nothing may be unlanded.
    pub(crate) fn look_anew(&mut self) {
        self.landing.renew_base();
        self.refresh();
    }

    /// Freezes the active generation; once all up to there has landed, `after` meets the database
    /// in exactly this state. It is dropped if that will never be. Landing begins with
    /// [`Starter::start`], which leaves it to another thread to wake the landing threads: they
    /// would take the processor from this one.
    pub(crate) fn freeze_and(&mut self, after: AfterLanding) -> Starter {
        self.catch_up();
        self.freeze(Some(after));
        self.starter()
    }

    fn starter(&self) -> Starter {
        Starter { landing: Arc::clone(&self.landing), workers: self.workers.clone() }
    }
}

/// Begins to land what was frozen, at the latest when it is dropped.
pub(crate) struct Starter {
    landing: Arc<Landing>,
    workers: Workers,
}

impl Starter {
    /// Begins to land what was frozen.
    pub(crate) fn start(&self) {
        self.landing.start(&self.workers);
    }

    /// How many landings have failed.
    pub(crate) fn failures(&self) -> u64 {
        self.landing.failures()
    }

    /// Waits a while for what was frozen to land.
    ///
    /// # Errors
    /// If a landing has failed since there were so many failures.
    pub(crate) fn wait(&self, failures: u64) -> Result<()> {
        self.landing.wait_after(failures, LANDING_WAIT, &self.workers)
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        self.start();
    }
}

/// Adds a value to what was read.
pub(crate) fn push(read: &mut Vec<u8>, value: &[u8]) -> Place {
    let start = read.len();
    read.extend_from_slice(value);
    Place::Read(start..read.len())
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.landing.abandon(&self.workers);
    }
}
