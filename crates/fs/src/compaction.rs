//! Compaction: what is live in segments that are mostly dead is appended to the log again, a few
//! records for each append, so that no write waits long.
//!
//! # Invariants
//! - Only records that the index leads to are copied, and the index is led to the copy at once:
//!   whatever happens in between, nothing is lost.
//! - A segment is let go when it has been walked to its end. A snapshot that holds it keeps it.
//! - A tombstone is kept as long as an older segment may have a record of its address. The oldest
//!   of those is noted in it, so that it is looked for again only when that one is gone. What
//!   another instance noted is not believed: its sequence numbers are not those of this one.
//!
//! # Failures
//! A segment with a damaged record is left as it is: whoever reads the record is told. If nothing
//! can be appended, compaction rests until something can.

use std::sync::Arc;

use millpond_state::{Expiry, ExpiryFilter, Scratch};

use crate::log::{Data, Slot};
use crate::options::FsOptions;
use crate::record::{Address, Item, Record};
use crate::segment::Segment;
use crate::store::{Store, WITNESS_BYTES};

/// Bytes of a victim that are walked for each byte appended.
const PACE: usize = 4;

/// Bytes that are walked for each append beside that.
const PACE_MIN: usize = 64;

/// Segments that are small may be this many before they are put together.
const SMALL_SEGMENTS_MAX: usize = 24;

/// If states expire, a segment is compacted once so many times the bytes of all segments were
/// appended after it.
const EXPIRY_AGE: u64 = 2;

/// As a divisor of the bytes of all segments: what is appended before a victim is looked for again.
const LOOKS: u64 = 1_024;

/// Least part of a victim that is dead, as a divisor of its bytes.
const WORTH: u64 = 8;

/// Bytes ahead of the walk for whose records the index is asked for early.
const AHEAD_BYTES: usize = 1_024;

/// The segment that is walked.
#[derive(Clone, Copy, Debug)]
struct Victim {
    slot: u32,
    /// How far the walk has come.
    offset: usize,
    /// How far the index was asked for.
    ahead: usize,
}

/// What compaction is at, and its settings.
#[derive(Debug)]
pub(crate) struct Compaction {
    /// Whether writes are under way that compaction must not come between.
    pub(crate) is_paused: bool,
    victim: Option<Victim>,
    /// Bytes appended to the log when a victim may be looked for again.
    look_at: u64,
    look_every: u64,
    segment_bytes: u64,
    amplification_max: f64,
    /// Segments that have damaged records, by sequence number.
    damaged: Vec<u64>,
    /// How entries of each state expire, by state.
    pub(crate) filters: Vec<Option<Filter>>,
    /// What was dropped since the backend last asked.
    pub(crate) dropped: Dropped,
    rewritten: Scratch,
    /// Bytes copied, ever.
    pub(crate) copied_bytes: u64,
}

/// How entries of a state expire.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) filter: Arc<dyn ExpiryFilter>,
    pub(crate) is_map: bool,
}

/// Expired entries that compaction dropped: state, key group, entries, pairs of key and namespace.
pub(crate) type Dropped = Vec<(u16, u16, u64, u64)>;

impl Compaction {
    pub(crate) fn new(options: &FsOptions) -> Self {
        Self {
            is_paused: false,
            victim: None,
            look_at: 0,
            look_every: (options.segment_bytes / 16) as u64,
            segment_bytes: options.segment_bytes as u64,
            amplification_max: options.space_amplification_max,
            damaged: Vec::new(),
            filters: Vec::new(),
            dropped: Vec::new(),
            rewritten: Scratch::new(),
            copied_bytes: 0,
        }
    }
}

impl Store {
    /// Walks on, as far as `appended` bytes of the log allow.
    #[inline(always)]
    pub(crate) fn compact(&mut self, appended: usize) {
        let is_due =
            self.compaction.victim.is_some() || self.log.appended_bytes >= self.compaction.look_at;
        if is_due && !self.compaction.is_paused && !self.log.is_failed() {
            self.compact_some(appended);
        }
    }

    #[inline(never)]
    fn compact_some(&mut self, appended: usize) {
        let mut budget = PACE * appended + PACE_MIN;
        while budget > 0 {
            let Some(mut victim) = self.compaction.victim.or_else(|| self.choose_victim()) else {
                return;
            };
            self.compaction.victim = None;
            let Some(Slot { data: Data::Mapped(segment), seq, .. }) = self.log.slot(victim.slot)
            else {
                return;
            };
            let (segment, seq) = (Arc::clone(segment), *seq);
            match self.walk(&segment, (&mut victim, seq), &mut budget) {
                Walk::On => self.compaction.victim = Some(victim),
                Walk::Ended => self.log.release(victim.slot),
                Walk::Damaged => self.compaction.damaged.push(seq),
                Walk::Refused => {
                    self.compaction.victim = Some(victim);
                    return;
                }
            }
        }
    }

    /// The segment whose compaction frees the most for what it costs, if any shall be compacted.
    fn choose_victim(&mut self) -> Option<Victim> {
        self.log.collect();
        // Looking takes time for each segment: the more there are, the more is appended in between.
        let pause = self.compaction.look_every.max(self.log.sealed_bytes() / LOOKS);
        self.compaction.look_at = self.log.appended_bytes + pause;
        let rules = &self.compaction;
        let live = self.log.live_bytes();
        let garbage = (live as f64 * (rules.amplification_max - 1.0)) as u64;
        // Early enough that the bound holds while a segment fills and another is written.
        let allowed = live + garbage - (2 * rules.segment_bytes).min(garbage / 4);
        let is_over = self.log.sealed_bytes() > allowed;
        let mapped = self.log.in_order().filter(|(_, slot)| {
            matches!(slot.data, Data::Mapped(_)) && !rules.damaged.contains(&slot.seq)
        });
        let mapped: Vec<(u32, &Slot)> = mapped.collect();
        let chosen = if is_over { deadest(&mapped) } else { None };
        let chosen = chosen.or_else(|| self.overdue(&mapped)).or_else(|| self.small(&mapped));
        let first = crate::format::HEADER_BYTES;
        Some(Victim { slot: chosen?, offset: first, ahead: first })
    }

    /// The oldest segment if it has to be looked through for what has expired.
    fn overdue(&self, mapped: &[(u32, &Slot)]) -> Option<u32> {
        let expires = self.compaction.filters.iter().any(Option::is_some);
        let (oldest, slot) = mapped.first().filter(|_| expires)?;
        let age = self.log.appended_bytes - slot.born;
        (age > EXPIRY_AGE * self.log.sealed_bytes()).then_some(*oldest)
    }

    /// The oldest of the small segments if they are too many.
    fn small(&self, mapped: &[(u32, &Slot)]) -> Option<u32> {
        let most = self.compaction.segment_bytes / 8;
        let mut small = mapped.iter().filter(|(_, slot)| slot.bytes < most);
        let is_due = small.clone().count() > SMALL_SEGMENTS_MAX;
        small.next().filter(|_| is_due).map(|(slot, _)| *slot)
    }

    /// Walks a victim on until the budget is used up.
    fn walk(
        &mut self,
        segment: &Segment,
        (victim, seq): (&mut Victim, u64),
        budget: &mut usize,
    ) -> Walk {
        let (slot, end) = (victim.slot, segment.data().len());
        let groups = self.log.slot(slot).map(|slot| slot.groups);
        if self.log.slot(slot).is_some_and(|it| it.live_records == 0 && it.tombstone_bytes == 0) {
            return Walk::Ended;
        }
        while victim.offset < end {
            if *budget == 0 {
                return Walk::On;
            }
            self.look_ahead(segment, victim);
            let offset = victim.offset;
            let bytes = segment.data().get(offset..).unwrap_or_default();
            let Some(item) = Item::parse(bytes) else { return Walk::Damaged };
            *budget = budget.saturating_sub(item.size());
            if let Item::Record(record) = item
                && groups.is_some_and(|groups| groups.contains(record.address().group()))
            {
                let kept = if record.is_tombstone {
                    self.keep_tombstone(&record, segment, (slot, offset, seq))
                } else {
                    self.keep_record(&record, segment, (slot, offset))
                };
                if let Err(end) = kept {
                    return end;
                }
            }
            victim.offset += item.size();
        }
        Walk::Ended
    }

    /// Asks for what the index has of the records that come next: each is looked for there, and
    /// what a write leaves time for is too little to wait for one after the other.
    fn look_ahead(&self, segment: &Segment, victim: &mut Victim) {
        while victim.ahead <= victim.offset + AHEAD_BYTES {
            let bytes = segment.data().get(victim.ahead..).unwrap_or_default();
            // Where nothing is, the walk ends.
            let Some(item) = Item::parse(bytes) else { return };
            if let Item::Record(record) = item {
                self.prefetch_index(self.tag(&record.address()));
            }
            victim.ahead += item.size();
        }
    }

    /// Copies a record if the index leads to it.
    fn keep_record(
        &mut self,
        record: &Record<'_>,
        segment: &Segment,
        (slot, offset): (u32, usize),
    ) -> Result<(), Walk> {
        let address = record.address();
        let location = self.log.locations.join(slot, offset);
        let Some(at) = self.index.find_location(self.tag(&address), location) else {
            return Ok(());
        };
        let whole = segment.record(offset).map_err(|_| Walk::Damaged)?;
        if self.drop_expired(&whole, &address) {
            let _ = self.append_tombstone(&address, 0).map_err(|_| Walk::Refused)?;
            self.log.add_dead(slot, record.size);
            self.index.remove(at);
            return Ok(());
        }
        let bytes = segment.data().get(offset..offset + record.size).unwrap_or_default();
        let (to, to_offset, room) = self.log.append(record.size).map_err(|_| Walk::Refused)?;
        room.copy_from_slice(bytes);
        self.log.add_live(to, record.size);
        self.log.add_dead(slot, record.size);
        self.index.set(at, self.log.locations.join(to, to_offset));
        self.compaction.copied_bytes += record.size as u64;
        Ok(())
    }

    /// Copies a tombstone if it is still needed.
    fn keep_tombstone(
        &mut self,
        record: &Record<'_>,
        segment: &Segment,
        (slot, offset, seq): (u32, usize, u64),
    ) -> Result<(), Walk> {
        let address = record.address();
        let is_adopted = self.log.slot(slot).is_none_or(|slot| slot.is_adopted);
        let is_superseded = self.find(&address).map_err(|_| Walk::Damaged)?.is_some();
        if is_superseded {
            return Ok(());
        }
        segment.record(offset).map_err(|_| Walk::Damaged)?;
        let witness = match <[u8; WITNESS_BYTES]>::try_from(record.value) {
            Ok(witness) if !is_adopted => u64::from_le_bytes(witness),
            _ => 0,
        };
        if let Some(witness) = self.find_witness(&address, witness, seq) {
            let size = self.append_tombstone(&address, witness).map_err(|_| Walk::Refused)?;
            self.compaction.copied_bytes += size as u64;
        }
        Ok(())
    }

    /// The oldest segment before `seq` that may have a record of the address, known not to be older
    /// than `known`.
    fn find_witness(&self, address: &Address<'_>, known: u64, seq: u64) -> Option<u64> {
        if known != 0 && self.log.has(known) {
            return Some(known);
        }
        let identity = address.identity();
        let holds = |slot: &&Slot| match &slot.data {
            Data::Mapped(segment) => {
                slot.groups.contains(address.group()) && segment.may_hold(address.group(), identity)
            }
            Data::Frozen { .. } | Data::Open(_) => true,
            Data::Free => false,
        };
        self.log.in_range(known..seq).find(holds).map(|slot| slot.seq)
    }

    /// Whether a whole entry of one record has expired; notes it if so.
    fn drop_expired(&mut self, record: &Record<'_>, address: &Address<'_>) -> bool {
        let state = record.state();
        let Some(Some(filter)) = self.compaction.filters.get(usize::from(state)) else {
            return false;
        };
        if address.chunk() != 0 || matches!(self.find(&address.part(1)), Ok(Some(_)) | Err(_)) {
            return false;
        }
        let now = filter.filter.now_ms();
        let rewritten = &mut self.compaction.rewritten;
        let mut is_expired = |value: &[u8]| {
            matches!(filter.filter.judge(value, now, rewritten), Ok(Expiry::Expired))
        };
        let entries = if filter.is_map {
            crate::node::entries_if_all(record.value, is_expired)
        } else {
            is_expired(record.value).then_some(1)
        };
        if let Some(entries) = entries {
            self.compaction.dropped.push((state, address.group().get(), entries, 1));
        }
        entries.is_some()
    }
}

/// The segment of which the greatest part is dead, the oldest of several.
fn deadest(mapped: &[(u32, &Slot)]) -> Option<u32> {
    let garbage = |slot: &Slot| slot.bytes.saturating_sub(slot.live_bytes);
    let worth = mapped.iter().filter(|(_, slot)| garbage(slot) > slot.bytes / WORTH);
    let chosen = worth.max_by(|(_, one), (_, other)| {
        let of_one = u128::from(garbage(one)) * u128::from(other.bytes.max(1));
        let of_other = u128::from(garbage(other)) * u128::from(one.bytes.max(1));
        of_one.cmp(&of_other).then(other.seq.cmp(&one.seq))
    });
    chosen.map(|(slot, _)| *slot)
}

/// How far a victim was walked.
enum Walk {
    /// As far as the budget allowed.
    On,
    /// To its end.
    Ended,
    /// To a damaged record.
    Damaged,
    /// To where nothing could be appended.
    Refused,
}
