//! One record of a generation: a key and what became of it. In memory only.
//!
//! ```text
//!   0           4            8           12          16          20
//!   +-----------+------------+-----------+-----------+-----------+-----+---------------------+
//!   | kind,     | bytes of   | room for  | base      | next      | key | value, then         |
//!   | key bytes | the value  | the value |           |           |     | unused room         |
//!   +-----------+------------+-----------+-----------+-----------+-----+---------------------+
//! ```

/// Bytes before the key.
pub(crate) const HEAD_BYTES: usize = 20;

/// No record.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// Where the bits of the kind are in the first word.
const KIND_SHIFT: u32 = 28;

/// What a record says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No record: the rest of the page is unused.
    End,
    /// A record that another one of the same key has taken the place of.
    Dead,
    /// The value is this.
    Put,
    /// There is no value.
    Delete,
    /// These bytes come behind the value that lies below.
    Append,
    /// The value is this, and its first `base` bytes are what lies below.
    Cached,
    /// A map: the value is a [`MapHead`](super::maps::MapHead); with a `base` of 1 nothing of the
    /// map shows from below.
    Map,
}

impl Kind {
    const fn from_bits(bits: u32) -> Self {
        match bits {
            1 => Self::Dead,
            2 => Self::Put,
            3 => Self::Delete,
            4 => Self::Append,
            5 => Self::Cached,
            6 => Self::Map,
            _ => Self::End,
        }
    }

    const fn to_bits(self) -> u32 {
        match self {
            Self::End => 0,
            Self::Dead => 1,
            Self::Put => 2,
            Self::Delete => 3,
            Self::Append => 4,
            Self::Cached => 5,
            Self::Map => 6,
        }
    }
}

/// A record, taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Bytes that the value may grow to where it is.
    pub(crate) room: usize,
    /// See [`Kind`].
    pub(crate) base: usize,
    /// The record of the same map that was linked before.
    pub(crate) next: u32,
}

impl<'a> Record<'a> {
    /// Takes a record apart that `bytes` start with.
    #[inline]
    pub(crate) fn decode(bytes: &'a [u8]) -> Self {
        const NONE: Record<'_> =
            Record { kind: Kind::End, key: &[], value: &[], room: 0, base: 0, next: NOWHERE };
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return NONE };
        let (words, _) = head.as_chunks::<4>();
        let [first, len, room, base, next] = words else { return NONE };
        let first = u32::from_le_bytes(*first);
        let Some((key, rest)) = rest.split_at_checked(key_bytes(first)) else { return NONE };
        let Some(value) = rest.get(..to_usize(*len)) else { return NONE };
        Self {
            kind: Kind::from_bits(first >> KIND_SHIFT),
            key,
            value,
            room: to_usize(*room),
            base: to_usize(*base),
            next: u32::from_le_bytes(*next),
        }
    }

    /// The key of the record that `bytes` start with, and whether that is a map.
    #[inline]
    pub(crate) fn decode_key(bytes: &'a [u8]) -> (&'a [u8], bool) {
        let Some((first, _)) = bytes.split_first_chunk() else { return (&[], false) };
        let first = u32::from_le_bytes(*first);
        let key = bytes.get(HEAD_BYTES..HEAD_BYTES + key_bytes(first)).unwrap_or_default();
        (key, first >> KIND_SHIFT == Kind::Map.to_bits())
    }

    /// Bytes that the record takes.
    pub(crate) const fn bytes(&self) -> usize {
        record_bytes(self.key.len(), self.room)
    }

    /// Whether what is below lacks something of it.
    pub(crate) const fn is_dirty(&self) -> bool {
        match self.kind {
            Kind::End | Kind::Dead => false,
            Kind::Put | Kind::Delete | Kind::Append => true,
            Kind::Cached => self.value.len() > self.base,
            Kind::Map => self.base == 1,
        }
    }

    /// Writes the record and so much room for its value to the start of `out`.
    pub(crate) fn encode_into(&self, out: &mut [u8]) {
        let Some((head, rest)) = out.split_first_chunk_mut::<HEAD_BYTES>() else { return };
        let (words, _) = head.as_chunks_mut::<4>();
        let [first, len, room, base, next] = words else { return };
        *first = (self.kind.to_bits() << KIND_SHIFT | word(self.key.len())).to_le_bytes();
        *len = word(self.value.len()).to_le_bytes();
        *room = word(self.room).to_le_bytes();
        *base = word(self.base).to_le_bytes();
        *next = self.next.to_le_bytes();
        let Some((key, rest)) = rest.split_at_mut_checked(self.key.len()) else { return };
        key.copy_from_slice(self.key);
        if let Some(value) = rest.get_mut(..self.value.len()) {
            value.copy_from_slice(self.value);
        }
    }
}

/// Sets kind, value and base of the record at the start of `out`, which has room for the value.
#[inline]
pub(crate) fn overwrite(out: &mut [u8], kind: Kind, value: &[u8], base: usize) {
    let Some((head, rest)) = out.split_first_chunk_mut::<HEAD_BYTES>() else { return };
    let key_bytes = set_head(head, kind, value.len(), base);
    if let Some(place) = rest.get_mut(key_bytes..key_bytes + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Adds to the value of the record at the start of `out`, which has `len` bytes and room for more.
#[inline]
pub(crate) fn extend(out: &mut [u8], kind: Kind, len: usize, more: &[u8], base: usize) {
    let Some((head, rest)) = out.split_first_chunk_mut::<HEAD_BYTES>() else { return };
    let start = set_head(head, kind, len + more.len(), base) + len;
    if let Some(place) = rest.get_mut(start..start + more.len()) {
        place.copy_from_slice(more);
    }
}

/// Marks the record at the start of `out` as dead.
pub(crate) fn bury(out: &mut [u8]) {
    if let Some((first, _)) = out.split_first_chunk_mut() {
        let bytes = word(key_bytes(u32::from_le_bytes(*first)));
        *first = (Kind::Dead.to_bits() << KIND_SHIFT | bytes).to_le_bytes();
    }
}

/// Sets the link of the record at the start of `out`.
pub(crate) fn link(out: &mut [u8], to: u32) {
    if let Some(next) = out.get_mut(16..HEAD_BYTES) {
        next.copy_from_slice(&to.to_le_bytes());
    }
}

/// Sets parts of a head; returns the bytes of the key.
#[inline]
fn set_head(head: &mut [u8; HEAD_BYTES], kind: Kind, len: usize, base: usize) -> usize {
    let (words, _) = head.as_chunks_mut::<4>();
    let [first, value_len, _, value_base, _] = words else { return 0 };
    let bytes = key_bytes(u32::from_le_bytes(*first));
    *first = (kind.to_bits() << KIND_SHIFT | word(bytes)).to_le_bytes();
    *value_len = word(len).to_le_bytes();
    *value_base = word(base).to_le_bytes();
    bytes
}

/// Bytes of a record.
pub(crate) const fn record_bytes(key: usize, room: usize) -> usize {
    HEAD_BYTES + key + room
}

/// Lengths fit: the contract bounds keys and values far below.
const fn word(bytes: usize) -> u32 {
    bytes as u32
}

#[inline]
const fn to_usize(word: [u8; 4]) -> usize {
    u32::from_le_bytes(word) as usize
}

#[inline]
const fn key_bytes(first: u32) -> usize {
    (first & ((1 << KIND_SHIFT) - 1)) as usize
}
