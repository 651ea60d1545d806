//! The index: from the hash of an address to the place of its newest record. Extendible hashing
//! over small pages of 8-byte slots.
//!
//! ```text
//!  63            36 35             0
//! +----------------+----------------+     tag: key group within the instance's range, then hash
//! | tag            | location       |     location: see `location.rs`; 0: free, 1: was freed
//! +----------------+----------------+
//! ```
//!
//! The directory is indexed by the front bits of tags, so the slots of a key group lie in
//! neighbouring pages and a page is split by a bit that its slots have: no record is read for that.
//!
//! # Invariants
//! - A page of depth `d` holds exactly the slots whose tags share the `d` front bits that lead to
//!   it, and the directory leads all of them there.
//! - A search looks at one line of slots after the other, from the one that the tag gives, and ends
//!   with the first line that has a free slot. A slot that was used is never free again before its
//!   page is rebuilt.
//! - A tag is a hint: whoever searches compares addresses.

use millpond_state::{KeyGroup, KeyGroupRange};
use prefetch_index::prefetch_index;

/// Bits of a slot that are the location.
pub(crate) const LOCATION_BITS: u32 = 36;

/// Bits of a slot that are the tag.
const TAG_BITS: u32 = 64 - LOCATION_BITS;

const LOCATION_MASK: u64 = (1 << LOCATION_BITS) - 1;

/// Slots of a line, which is a cache line.
const LINE: usize = 8;

/// Slots of a page that is split rather than grown: 8 KiB.
const PAGE_SLOTS: usize = 1_024;

/// Places of the directory for each page, at most: pages grow instead if hashes are so alike that
/// splitting them would double the directory again and again.
const PLACES_OF_PAGE_MAX: usize = 32;

/// A slot that was never used.
const FREE: u64 = 0;

/// A slot whose entry was removed.
const REMOVED: u64 = 1;

/// Front bits of key group and hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(u32);

/// A slot of the index, until the next insertion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotRef {
    page: u32,
    slot: u32,
}

#[derive(Debug)]
struct Page {
    slots: Box<[u64]>,
    /// Slots that are not free.
    used: u32,
    /// Slots that have an entry.
    live: u32,
    depth: u32,
}

impl Page {
    fn new(slots: usize, depth: u32) -> Self {
        Self { slots: vec![FREE; slots].into_boxed_slice(), used: 0, live: 0, depth }
    }

    /// The line where a search for `tag` begins. Front bits are alike in a page: the others decide.
    #[inline(always)]
    const fn home(&self, tag: Tag) -> usize {
        let lines = self.slots.len() / LINE;
        (tag.0.wrapping_mul(0x9e37_79b1) >> 12) as usize & (lines - 1)
    }

    /// Slots that may be used before the page is rebuilt, varied so that not all split at once.
    const fn used_max(&self, number: u32) -> u32 {
        let slots = self.slots.len() as u32;
        slots * 13 / 16 + (number.wrapping_mul(0x9e37_79b1) >> 28) * slots / 128
    }

    fn place(&mut self, slot: u64) {
        let mut line = self.home(tag_of(slot));
        let lines = self.slots.len() / LINE;
        loop {
            let places = self.slots.iter_mut().skip(line * LINE).take(LINE);
            for place in places {
                if *place <= REMOVED {
                    self.used += u32::from(*place == FREE);
                    self.live += 1;
                    *place = slot;
                    return;
                }
            }
            line = (line + 1) & (lines - 1);
        }
    }

    fn entries(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().copied().filter(|slot| *slot > REMOVED)
    }

    /// The same entries in `slots` slots.
    fn rebuilt(&self, slots: usize) -> Self {
        let mut page = Self::new(slots, self.depth);
        self.entries().for_each(|slot| page.place(slot));
        page
    }
}

/// Which slots of a line have this tag; free slots have tag 0.
#[derive(Clone, Copy)]
struct Candidates(u64);

impl Candidates {
    /// Without a branch for each: which place it is cannot be predicted, and a wrong guess would
    /// end what the processor does ahead. A byte for each is what compilers make few instructions
    /// of.
    #[inline(always)]
    fn of(line: &[u64; LINE], tag: Tag) -> Self {
        const HIGH_LOCATION_BITS: u32 = LOCATION_BITS - 32;
        let wanted = tag.0 << HIGH_LOCATION_BITS;
        let mut bytes = [0; LINE];
        for (slot, byte) in line.iter().zip(&mut bytes) {
            let high = (*slot >> 32) as u32;
            *byte = u8::from(high >> HIGH_LOCATION_BITS << HIGH_LOCATION_BITS == wanted);
        }
        Self(u64::from_le_bytes(bytes))
    }

    /// The first place, behind the last if there is none.
    #[inline(always)]
    const fn place(self) -> usize {
        self.0.trailing_zeros() as usize / 8
    }

    /// Those behind the first, which there must be.
    #[inline(always)]
    const fn rest(self) -> Self {
        Self(self.0 & (self.0 - 1))
    }
}

const fn tag_of(slot: u64) -> Tag {
    Tag((slot >> LOCATION_BITS) as u32)
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Index {
    pages: Vec<Page>,
    directory: Vec<u32>,
    /// Front bits of a tag that the directory is indexed by.
    depth: u32,
    first_group: u16,
    /// Front bits of a tag that are the key group.
    group_bits: u32,
    entries: u64,
    /// Slots of all pages, and of the largest.
    slots: u64,
    largest: usize,
}

impl Index {
    /// An empty index of an instance with these key groups.
    pub(crate) fn new(groups: KeyGroupRange) -> Self {
        let count = groups.count() as u32;
        let page = Page::new(LINE, 0);
        Self {
            pages: vec![page],
            directory: vec![0],
            depth: 0,
            first_group: groups.first().get(),
            group_bits: u32::BITS - (count - 1).leading_zeros(),
            entries: 0,
            slots: LINE as u64,
            largest: PAGE_SLOTS,
        }
    }

    /// The tag of an address.
    #[inline(always)]
    pub(crate) const fn tag(&self, group: KeyGroup, hash: u64) -> Tag {
        let group = group.get().wrapping_sub(self.first_group) as u64;
        // Two shifts, since one by all 64 bits is none.
        let front = (group << (63 - self.group_bits)) << 1;
        Tag(((front | hash >> self.group_bits) >> LOCATION_BITS) as u32)
    }

    const fn group_of(&self, tag: Tag) -> KeyGroup {
        let group = tag.0 as u64 >> (TAG_BITS - self.group_bits);
        KeyGroup::new(self.first_group.wrapping_add(group as u16))
    }

    #[inline(always)]
    fn page_of(&self, tag: Tag) -> u32 {
        let at = (u64::from(tag.0) << self.depth >> TAG_BITS) as usize;
        self.directory.get(at).copied().unwrap_or(0)
    }

    /// Asks for the cache line where a search for `tag` begins.
    #[inline(always)]
    pub(crate) fn prefetch(&self, tag: Tag) {
        if let Some(page) = self.pages.get(self.page_of(tag) as usize) {
            prefetch_index(&page.slots, page.home(tag) * LINE);
        }
    }

    /// The first slot of this tag in the line where a search for it begins, and its location.
    #[inline(always)]
    pub(crate) fn first(&self, tag: Tag) -> Option<(SlotRef, u64)> {
        let number = self.page_of(tag);
        let page = self.pages.get(number as usize)?;
        let home = page.home(tag) * LINE;
        let line: &[u64; LINE] = page.slots.get(home..)?.first_chunk()?;
        let place = Candidates::of(line, tag).place();
        let slot = line.get(place).filter(|slot| **slot > REMOVED)?;
        let at = SlotRef { page: number, slot: (home + place) as u32 };
        Some((at, *slot & LOCATION_MASK))
    }

    /// Whether a slot leads to `location`; none does to 0.
    #[inline(always)]
    pub(crate) fn leads_to(&self, at: SlotRef, location: u64) -> bool {
        let page = self.pages.get(at.page as usize);
        let slot = page.and_then(|page| page.slots.get(at.slot as usize)).copied();
        location != 0 && slot.is_some_and(|slot| slot & LOCATION_MASK == location)
    }

    /// The first slot of this tag for whose location `is_it` says so. Stops at its first error.
    #[inline(always)]
    pub(crate) fn find<T, E>(
        &self,
        tag: Tag,
        mut is_it: impl FnMut(u64) -> Result<Option<T>, E>,
    ) -> Result<Option<(SlotRef, T)>, E> {
        let number = self.page_of(tag);
        let Some(page) = self.pages.get(number as usize) else { return Ok(None) };
        let mut line = page.home(tag);
        let lines = page.slots.len() / LINE;
        for _ in 0..lines {
            let Some(slots) = page.slots.get(line * LINE..).and_then(<[u64]>::first_chunk::<LINE>)
            else {
                return Ok(None);
            };
            let mut candidates = Candidates::of(slots, tag);
            while let Some(slot) = slots.get(candidates.place()) {
                if *slot > REMOVED
                    && let Some(found) = is_it(*slot & LOCATION_MASK)?
                {
                    let slot = line * LINE + candidates.place();
                    return Ok(Some((SlotRef { page: number, slot: slot as u32 }, found)));
                }
                candidates = candidates.rest();
            }
            if slots.contains(&FREE) {
                return Ok(None);
            }
            line = (line + 1) & (lines - 1);
        }
        Ok(None)
    }

    /// The slot of this tag and location.
    pub(crate) fn find_location(&self, tag: Tag, location: u64) -> Option<SlotRef> {
        let is_it = |found| Ok::<_, core::convert::Infallible>((found == location).then_some(()));
        self.find(tag, is_it).unwrap_or_default().map(|(slot, ())| slot)
    }

    fn slot_mut(&mut self, at: SlotRef) -> Option<&mut u64> {
        self.pages.get_mut(at.page as usize)?.slots.get_mut(at.slot as usize)
    }

    /// Leads a slot elsewhere.
    #[inline]
    pub(crate) fn set(&mut self, at: SlotRef, location: u64) {
        if let Some(slot) = self.slot_mut(at) {
            *slot = *slot & !LOCATION_MASK | location;
        }
    }

    /// Removes the entry of a slot.
    pub(crate) fn remove(&mut self, at: SlotRef) {
        if let Some(slot) = self.slot_mut(at) {
            *slot = REMOVED;
            self.entries -= 1;
        }
        if let Some(page) = self.pages.get_mut(at.page as usize) {
            page.live -= 1;
        }
    }

    /// Adds an entry, which must not be there. `location` is above 1.
    pub(crate) fn insert(&mut self, tag: Tag, location: u64) {
        let slot = u64::from(tag.0) << LOCATION_BITS | location;
        loop {
            let number = self.page_of(tag);
            let Some(page) = self.pages.get_mut(number as usize) else { return };
            if page.used < page.used_max(number) {
                page.place(slot);
                self.entries += 1;
                return;
            }
            self.make_room(number, tag);
        }
    }

    /// Rebuilds, grows or splits a full page.
    fn make_room(&mut self, number: u32, tag: Tag) {
        let places_max = PLACES_OF_PAGE_MAX / 2 * self.pages.len();
        let Some(page) = self.pages.get_mut(number as usize) else { return };
        let slots = page.slots.len();
        let may_split = slots >= PAGE_SLOTS
            && page.depth < TAG_BITS
            && (page.depth < self.depth || self.directory.len() < places_max);
        if (page.live as usize) < slots / 2 {
            *page = page.rebuilt(slots);
        } else if !may_split {
            *page = page.rebuilt(slots * 2);
            self.slots += slots as u64;
            self.largest = self.largest.max(slots * 2);
        } else {
            self.split(number, tag);
        }
    }

    fn split(&mut self, number: u32, tag: Tag) {
        let added = self.pages.len() as u32;
        let Some(page) = self.pages.get_mut(number as usize) else { return };
        let depth = page.depth + 1;
        let bit = TAG_BITS - depth;
        let slots = page.slots.len();
        let mut halves = [Page::new(slots, depth), Page::new(slots, depth)];
        for slot in page.entries() {
            let [low, high] = &mut halves;
            let is_high = tag_of(slot).0 >> bit & 1 == 1;
            if is_high { high.place(slot) } else { low.place(slot) }
        }
        let [low, high] = halves;
        self.slots += slots as u64;
        *page = low;
        self.pages.push(high);
        if depth > self.depth {
            let mut doubled = Vec::with_capacity(2 * self.directory.len());
            self.directory.iter().for_each(|page| doubled.extend([*page, *page]));
            self.directory = doubled;
            self.depth += 1;
        }
        // What leads to the high half: the front bits of the tag, then a one.
        let front = (tag.0 as usize >> (bit + 1) << 1) | 1;
        let span = 1 << (self.depth - depth);
        for place in self.directory.iter_mut().skip(front * span).take(span) {
            *place = added;
        }
    }

    /// Entries.
    pub(crate) const fn len(&self) -> u64 {
        self.entries
    }

    /// Bytes of memory.
    pub(crate) const fn bytes(&self) -> u64 {
        let pages = self.pages.capacity() * size_of::<Page>();
        let directory = self.directory.capacity() * size_of::<u32>();
        self.slots * size_of::<u64>() as u64 + (pages + directory) as u64
    }

    /// Bytes that the index can have at most once `more` entries were added.
    pub(crate) fn bytes_with(&self, more: u64) -> u64 {
        let pages = self.pages.capacity().max(4);
        let places = self.directory.len().max(PLACES_OF_PAGE_MAX * (pages + more as usize));
        let lists = pages * size_of::<Page>() + places * size_of::<u32>();
        let page = self.largest * size_of::<u64>() + size_of::<Page>();
        self.bytes() + more.saturating_mul(page as u64) + lists as u64
    }

    /// Key groups and locations of all entries of `groups`, key groups ascending.
    pub(crate) fn locations(
        &self,
        groups: KeyGroupRange,
    ) -> impl Iterator<Item = (KeyGroup, u64)> + '_ {
        let mut at = 0;
        let pages = core::iter::from_fn(move || {
            let page = self.pages.get(*self.directory.get(at)? as usize)?;
            let front = at;
            at += 1 << (self.depth - page.depth);
            Some((front, page))
        });
        pages
            .filter(move |(front, page)| self.overlaps(*front, page, groups))
            .flat_map(move |(_, page)| self.page_locations(page, groups))
    }

    /// Whether a page, to which the directory leads from `front`, may have entries of `groups`.
    fn overlaps(&self, front: usize, page: &Page, groups: KeyGroupRange) -> bool {
        let first = (front as u32) << (TAG_BITS - self.depth);
        let last = first | (((1u64 << (TAG_BITS - page.depth)) - 1) as u32);
        self.group_of(Tag(first)) <= groups.last() && self.group_of(Tag(last)) >= groups.first()
    }

    fn page_locations(
        &self,
        page: &Page,
        groups: KeyGroupRange,
    ) -> impl Iterator<Item = (KeyGroup, u64)> + use<> {
        let with_group = |slot: u64| (self.group_of(tag_of(slot)), slot & LOCATION_MASK);
        let found = page.entries().map(with_group);
        let mut found: Vec<_> = found.filter(|(group, _)| groups.contains(*group)).collect();
        if page.depth < self.group_bits {
            found.sort_unstable();
        }
        found.into_iter()
    }
}

#[cfg(test)]
mod tests;
