//! Entries within a block.
//!
//! ```text
//! entry = flags:u8 [state:varint] [key] [namespace] [user_key] value
//! key, namespace, user_key, value = length:varint, bytes
//!
//! flags  0x01  state is that of the entry before, and left out
//!        0x02  key likewise
//!        0x04  namespace likewise
//!        0x08  the user key is empty, and left out
//!        0x10  in deltas only: the entry was deleted; there is no value
//!        0x20  with 0x10 and 0x08, of a map: all of its entries were deleted
//! ```
//!
//! The deletion of a whole map comes before every entry of the map; apart from that each address
//! occurs once.
//!
//! A flag of the first four is set whenever it can be. The first entry of a block has nothing
//! before it, so a block can be read by itself. Parts are never split, so an entry is handed out
//! without copying.

use core::cmp::Ordering;

use millpond_state::{
    KEY_BYTES_MAX, KeyGroup, MAX_PARALLELISM_LIMIT, STATES_MAX, SnapshotEntry, StateDescriptor,
    VALUE_BYTES_MAX,
};

use crate::bytes::{ByteReader, VARINT_BYTES_MAX, put_bytes, put_varint};
use crate::error::{Result, SnapshotError};
use crate::frame::FileKind;

const SAME_STATE: u8 = 0x01;
const SAME_KEY: u8 = 0x02;
const SAME_NAMESPACE: u8 = 0x04;
const NO_USER_KEY: u8 = 0x08;
const DELETED: u8 = 0x10;
const WHOLE_MAP: u8 = 0x20;
const KNOWN_FLAGS: u8 = SAME_STATE | SAME_KEY | SAME_NAMESPACE | NO_USER_KEY;

/// What an entry of a delta says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// All entries of a map, until then, are gone: user key and value are empty.
    MapDeleted,
    /// The entry is gone: the value is empty.
    Deleted,
    /// The entry is new or has a new value.
    Put,
}

impl ChangeKind {
    const fn flags(self) -> u8 {
        match self {
            Self::Put => 0,
            Self::Deleted => DELETED,
            Self::MapDeleted => DELETED | WHOLE_MAP,
        }
    }

    /// What sorts entries of one address: the deletion of a whole map comes first.
    const fn rank(self) -> u8 {
        match self {
            Self::MapDeleted => 0,
            Self::Deleted | Self::Put => 1,
        }
    }
}

/// What every entry must keep to, before write and after read.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntryRules {
    /// For each state whether it is a map state.
    maps: Vec<bool>,
    kind: Option<FileKind>,
}

impl EntryRules {
    pub(crate) fn new(kind: FileKind, states: &[StateDescriptor]) -> Self {
        let maps = states.iter().map(|state| state.kind().is_map()).collect();
        Self { maps, kind: Some(kind) }
    }

    /// For a file whose schema is lost: any state may be a map.
    pub(crate) fn unknown(kind: FileKind) -> Self {
        Self { maps: vec![true; STATES_MAX], kind: Some(kind) }
    }

    /// The kind of change that flags say, if they can stand in such a file.
    #[inline]
    fn change_of(&self, flags: u8) -> Option<ChangeKind> {
        let deletions = self.kind == Some(FileKind::Delta);
        match flags & !KNOWN_FLAGS {
            0 => Some(ChangeKind::Put),
            DELETED if deletions => Some(ChangeKind::Deleted),
            whole if whole == DELETED | WHOLE_MAP && deletions && flags & NO_USER_KEY != 0 => {
                Some(ChangeKind::MapDeleted)
            }
            _ => None,
        }
    }

    /// Checks that what is deleted as a whole map can be one.
    #[inline]
    fn check_change(&self, state: u16, change: ChangeKind) -> Result<(), String> {
        let is_map = self.maps.get(usize::from(state)).is_some_and(|is_map| *is_map);
        if change == ChangeKind::MapDeleted && !is_map {
            return Err(format!("a whole map of state {state}, no map, is deleted"));
        }
        Ok(())
    }

    pub(crate) fn state_count(&self) -> usize {
        self.maps.len()
    }

    /// Checks the state, and that only map states have user keys.
    #[inline]
    fn check_state(&self, state: u64, user_key_bytes: usize) -> Result<(), String> {
        match usize::try_from(state).ok().and_then(|state| self.maps.get(state)) {
            Some(true) => Ok(()),
            Some(false) if user_key_bytes == 0 => Ok(()),
            Some(false) => Err(format!("an entry of state {state}, no map, has a user key")),
            None => Err(format!("no state {state}: there are {}", self.maps.len())),
        }
    }

    /// Checks an entry that is to be written.
    #[inline]
    pub(crate) fn check(&self, entry: &SnapshotEntry<'_>, change: ChangeKind) -> Result<()> {
        self.check_state(u64::from(entry.state), entry.user_key.len())
            .and_then(|()| self.check_change(entry.state, change))
            .map_err(SnapshotError::invalid)?;
        let whole_map = change == ChangeKind::MapDeleted;
        if change != ChangeKind::Put && !entry.value.is_empty()
            || whole_map && !entry.user_key.is_empty()
        {
            return Err(SnapshotError::invalid("what is deleted has no value, a map no user key"));
        }
        let longest_key = entry.key.len().max(entry.namespace.len()).max(entry.user_key.len());
        if longest_key > KEY_BYTES_MAX || entry.value.len() > VALUE_BYTES_MAX {
            return Err(SnapshotError::invalid(format!(
                "a key of {longest_key} and value of {} bytes pass the limits of {KEY_BYTES_MAX} \
                 and {VALUE_BYTES_MAX}",
                entry.value.len()
            )));
        }
        if u32::from(entry.group.get()) >= MAX_PARALLELISM_LIMIT {
            return Err(SnapshotError::invalid(format!(
                "key group {} is not below {MAX_PARALLELISM_LIMIT}",
                entry.group
            )));
        }
        Ok(())
    }
}

/// The most bytes that `entry` can take in a block.
#[inline]
pub(super) fn encoded_bytes_max(entry: &SnapshotEntry<'_>) -> usize {
    let parts = entry.key.len() + entry.namespace.len() + entry.user_key.len() + entry.value.len();
    parts + 1 + 5 * VARINT_BYTES_MAX
}

/// The last entry that was encoded, as parts of the block that it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) group: KeyGroup,
    state: u16,
    key_prefix: u64,
    key: Span,
    namespace: Span,
    user_key: Span,
    rank: u8,
}

/// The first eight bytes, zeros behind a shorter key, as a number that sorts as they do. Most keys
/// differ here, and it is at hand where the key was only just stored.
#[inline]
fn prefix(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            key.iter().fold(0, |prefix, byte| prefix << 8 | u64::from(*byte))
                << (8 * (8 - key.len()) as u32 % 64)
        }
    }
}

#[inline]
fn compare_parts(before: &[u8], part: &[u8]) -> Ordering {
    if before.is_empty() && part.is_empty() { Ordering::Equal } else { before.cmp(part) }
}

/// What `entry` shares with the one before it, as flags; `None` if it does not come after it.
#[inline]
pub(super) fn compare(
    tail: &Tail,
    block: &[u8],
    (entry, change): (&SnapshotEntry<'_>, ChangeKind),
) -> Option<u8> {
    let state = tail.state.cmp(&entry.state);
    let key =
        tail.key_prefix.cmp(&prefix(entry.key)).then_with(|| tail.key.of(block).cmp(entry.key));
    let namespace = compare_parts(tail.namespace.of(block), entry.namespace);
    let order = state
        .then(key)
        .then(namespace)
        .then_with(|| tail.rank.cmp(&change.rank()))
        .then_with(|| tail.user_key.of(block).cmp(entry.user_key));
    let flag = |order: Ordering, flag: u8| if order == Ordering::Equal { flag } else { 0 };
    (order == Ordering::Less)
        .then(|| flag(state, SAME_STATE) | flag(key, SAME_KEY) | flag(namespace, SAME_NAMESPACE))
}

/// Appends `entry`. `tail` is the entry before it in the same block, `shared` what [`compare`]
/// found.
#[inline]
pub(super) fn encode_into(
    (entry, change): (&SnapshotEntry<'_>, ChangeKind),
    tail: Option<&Tail>,
    shared: u8,
    out: &mut Vec<u8>,
) -> Tail {
    out.reserve(encoded_bytes_max(entry));
    let user_key_flag = if entry.user_key.is_empty() { NO_USER_KEY } else { 0 };
    let flags = shared | user_key_flag | change.flags();
    out.push(flags);
    if flags & SAME_STATE == 0 {
        put_varint(out, u64::from(entry.state));
    }
    let mut put = |part: &[u8], leave_out: bool, before: Span| {
        if leave_out {
            return before;
        }
        put_bytes(out, part);
        Span { start: out.len() - part.len(), end: out.len() }
    };
    let (key, namespace) = tail.map_or_else(Default::default, |tail| (tail.key, tail.namespace));
    let key = put(entry.key, flags & SAME_KEY != 0, key);
    let namespace = put(entry.namespace, flags & SAME_NAMESPACE != 0, namespace);
    let user_key = put(entry.user_key, flags & NO_USER_KEY != 0, Span::default());
    put(entry.value, change != ChangeKind::Put, Span::default());
    let (key_prefix, rank) = (prefix(entry.key), change.rank());
    Tail { group: entry.group, state: entry.state, key_prefix, key, namespace, user_key, rank }
}

/// A copy of an entry's address, to compare the next one with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last {
    group: Option<KeyGroup>,
    state: u16,
    key: Vec<u8>,
    namespace: Vec<u8>,
    user_key: Vec<u8>,
    rank: u8,
}

impl Last {
    pub(crate) fn set(&mut self, (entry, change): (SnapshotEntry<'_>, ChangeKind)) {
        self.group = Some(entry.group);
        self.state = entry.state;
        self.rank = change.rank();
        for (slot, part) in [
            (&mut self.key, entry.key),
            (&mut self.namespace, entry.namespace),
            (&mut self.user_key, entry.user_key),
        ] {
            slot.clear();
            slot.extend_from_slice(part);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.group = None;
    }

    /// Whether `entry` comes after this one in canonical order.
    pub(crate) fn is_before(&self, (entry, change): &(SnapshotEntry<'_>, ChangeKind)) -> bool {
        let Some(group) = self.group else { return true };
        let order = group
            .cmp(&entry.group)
            .then_with(|| self.state.cmp(&entry.state))
            .then_with(|| self.key.as_slice().cmp(entry.key))
            .then_with(|| self.namespace.as_slice().cmp(entry.namespace))
            .then_with(|| self.rank.cmp(&change.rank()))
            .then_with(|| self.user_key.as_slice().cmp(entry.user_key));
        order == Ordering::Less
    }
}

/// A part of a block.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    #[inline]
    fn of(self, block: &[u8]) -> &[u8] {
        block.get(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    fn read(reader: &mut ByteReader<'_>, max: usize, what: &str) -> Result<Self> {
        let len = reader.bytes(max, what)?.len();
        let end = reader.position();
        Ok(Self { start: end - len, end })
    }
}

/// Walks over the entries of one decoded block.
#[derive(Clone, Debug)]
pub(crate) struct EntryCursor {
    position: usize,
    remaining: u32,
    first: bool,
    state: u16,
    key: Span,
    namespace: Span,
    user_key: Span,
    value: Span,
    change: ChangeKind,
}

impl EntryCursor {
    /// Before the first of `count` entries.
    pub(crate) const fn new(count: u32) -> Self {
        const NOTHING: Span = Span { start: 0, end: 0 };
        Self {
            position: 0,
            remaining: count,
            first: true,
            state: 0,
            key: NOTHING,
            namespace: NOTHING,
            user_key: NOTHING,
            value: NOTHING,
            change: ChangeKind::Put,
        }
    }

    /// Moves to the next entry of `block`; false at the end. Checks that it comes after the one
    /// before it in this block; across blocks the caller does.
    #[inline]
    pub(crate) fn advance(&mut self, block: &[u8], rules: &EntryRules) -> Result<bool> {
        if self.remaining == 0 {
            ByteReader::at(block, self.position).expect_end()?;
            return Ok(false);
        }
        let mut reader = ByteReader::at(block, self.position);
        match self.decode(&mut reader, block, rules) {
            Ok(()) => {
                self.position = reader.position();
                self.remaining -= 1;
                self.first = false;
                Ok(true)
            }
            Err(error) => Err(SnapshotError::new(
                error.kind(),
                format!("entry at byte {} of its block: {}", self.position, error.message()),
            )),
        }
    }

    #[inline]
    fn decode(
        &mut self,
        reader: &mut ByteReader<'_>,
        block: &[u8],
        rules: &EntryRules,
    ) -> Result<()> {
        let flags = reader.u8()?;
        let repeats = flags & (SAME_STATE | SAME_KEY | SAME_NAMESPACE) != 0;
        let change = rules.change_of(flags).filter(|_| !(self.first && repeats));
        let Some(change) = change else {
            return Err(SnapshotError::corrupt(format!("flags {flags:#04x} are not possible")));
        };
        let before = self.clone();
        self.change = change;
        if flags & SAME_STATE == 0 {
            self.state = reader.varint_to(u64::from(u16::MAX), "state")? as u16;
        }
        if flags & SAME_KEY == 0 {
            self.key = Span::read(reader, KEY_BYTES_MAX, "length of a key")?;
        }
        if flags & SAME_NAMESPACE == 0 {
            self.namespace = Span::read(reader, KEY_BYTES_MAX, "length of a namespace")?;
        }
        self.user_key = if flags & NO_USER_KEY == 0 {
            Span::read(reader, KEY_BYTES_MAX, "length of a user key")?
        } else {
            Span::default()
        };
        self.value = if change == ChangeKind::Put {
            Span::read(reader, VALUE_BYTES_MAX, "length of a value")?
        } else {
            Span::default()
        };
        rules
            .check_state(u64::from(self.state), self.user_key.of(block).len())
            .and_then(|()| rules.check_change(self.state, change))
            .map_err(SnapshotError::corrupt)?;
        if !self.first && !before.is_before(self, flags, block) {
            return Err(SnapshotError::corrupt("not after the entry before it"));
        }
        Ok(())
    }

    /// Whether `next` comes later; parts that `flags` call equal are not compared.
    #[inline]
    fn is_before(&self, next: &Self, flags: u8, block: &[u8]) -> bool {
        if flags & SAME_STATE == 0 && self.state != next.state {
            return self.state < next.state;
        }
        if flags & SAME_KEY == 0 {
            match self.key.of(block).cmp(next.key.of(block)) {
                Ordering::Equal => {}
                order => return order == Ordering::Less,
            }
        }
        if flags & SAME_NAMESPACE == 0 {
            match self.namespace.of(block).cmp(next.namespace.of(block)) {
                Ordering::Equal => {}
                order => return order == Ordering::Less,
            }
        }
        (self.change.rank(), self.user_key.of(block))
            < (next.change.rank(), next.user_key.of(block))
    }

    /// The entry that [`Self::advance`] moved to, and what is said of it.
    #[inline]
    pub(crate) fn change<'b>(
        &self,
        block: &'b [u8],
        group: KeyGroup,
    ) -> (SnapshotEntry<'b>, ChangeKind) {
        (self.entry(block, group), self.change)
    }

    /// The entry that [`Self::advance`] moved to.
    #[inline]
    pub(crate) fn entry<'b>(&self, block: &'b [u8], group: KeyGroup) -> SnapshotEntry<'b> {
        SnapshotEntry {
            group,
            state: self.state,
            key: self.key.of(block),
            namespace: self.namespace.of(block),
            user_key: self.user_key.of(block),
            value: self.value.of(block),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_sort_as_the_keys_do_unless_they_are_equal() {
        let keys: [&[u8]; 9] = [
            b"",
            b"\0",
            b"\0\0\0\0\0\0\0\0\0",
            b"\0\x01",
            b"a",
            b"a\0",
            b"aaaaaaa",
            b"aaaaaaaa",
            b"b",
        ];
        for (a, b) in keys.iter().flat_map(|a| keys.iter().map(move |b| (a, b))) {
            let order = prefix(a).cmp(&prefix(b));
            assert!(order == Ordering::Equal || order == a.cmp(b), "{a:?} {b:?}");
        }
        assert_eq!(prefix(b"abc"), 0x6162_6300_0000_0000);
    }
}
