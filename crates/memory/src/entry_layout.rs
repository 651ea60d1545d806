//! The bytes of one entry in a segment's arena.
//!
//! ```text
//!  0        4      5      6      8
//! +--------+------+------+------+ - - - - - - +-----+-----------+------------+
//! | epoch  | key  | ns   | area | long lengths| key | namespace | value area |
//! | u32 LE | len  | len  | u16  | 2 x u16 LE  |     |           |            |
//! +--------+------+------+------+ - - - - - - +-----+-----------+------------+
//! ```
//!
//! - epoch: that of the entry's last change.
//! - key len, ns len: a byte each; both 255 ([`LONG`]) if either length is 255 or more: then the
//!   long lengths follow.
//! - area: bits 0 to 12 the length of the value area; bit 13 [`SLACK`]: the value is shorter than
//!   its area and the area ends in the number of unused bytes, one byte, or a byte 255 preceded by
//!   a `u16`; bit 14 [`SIDE`]: the area is the `u32` number of a side object.
//!
//! # Invariants
//! - Entries don't overlap; their bytes are complete before a line refers to them.
//! - Readers treat bytes that cannot be an entry as no entry; they never reach past the arena.

use core::ops::Range;

/// Bytes before the key if neither length is long.
pub(crate) const HEADER_BYTES: usize = 8;

/// Largest value area.
pub(crate) const AREA_BYTES_MAX: usize = (1 << 13) - 1;

/// Bytes of the value area of an entry whose value is a side object.
pub(crate) const SIDE_AREA_BYTES: usize = 4;

const LONG: usize = 255;
const LONG_BYTES: usize = 4;
const AREA_MASK: u16 = AREA_BYTES_MAX as u16;
const SLACK: u16 = 1 << 13;
const SIDE: u16 = 1 << 14;

/// The bits of an area word that are clear if the value fills its area.
pub(crate) const NOT_PLAIN: u16 = !AREA_MASK;

/// Both length bytes, as they stand in the header.
#[inline]
pub(crate) const fn length_bytes(key: usize, namespace: usize) -> u16 {
    if key >= LONG || namespace >= LONG { u16::MAX } else { (key | (namespace << 8)) as u16 }
}

/// The bytes that an entry takes in an arena.
#[inline]
pub(crate) const fn entry_bytes(key: usize, namespace: usize, area: usize) -> usize {
    let long = if key >= LONG || namespace >= LONG { LONG_BYTES } else { 0 };
    HEADER_BYTES + long + key + namespace + area
}

/// The little-endian `u64` at `at`, or 0 past the end.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

/// Sixteen bytes as two little-endian words.
#[inline]
pub(crate) const fn two_words(bytes: &[u8; 16]) -> [u64; 2] {
    let both = u128::from_le_bytes(*bytes);
    [both as u64, (both >> 64) as u64]
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_le_bytes(*b))
}

/// Where the parts of one entry are, as positions in its arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Where the entry starts.
    pub(crate) at: usize,
    /// The header.
    header: u64,
    /// Where the key starts.
    key_at: usize,
    /// Where the namespace starts.
    namespace_at: usize,
    /// Where the value area starts.
    area_at: usize,
}

impl Layout {
    /// Reads the header of the entry at `at`.
    #[inline]
    pub(crate) fn read(arena: &[u8], at: usize) -> Self {
        let header = u64_at(arena, at);
        let (mut key, mut namespace) =
            ((header >> 32) as usize & 0xff, (header >> 40) as usize & 0xff);
        let mut key_at = at + HEADER_BYTES;
        if key == LONG {
            key = usize::from(u16_at(arena, key_at));
            namespace = usize::from(u16_at(arena, key_at + 2));
            key_at += LONG_BYTES;
        }
        let namespace_at = key_at + key;
        Self { at, header, key_at, namespace_at, area_at: namespace_at + namespace }
    }

    /// The epoch of the last change.
    #[inline]
    pub(crate) const fn epoch(&self) -> u32 {
        self.header as u32
    }

    #[inline]
    const fn word(&self) -> u16 {
        (self.header >> 48) as u16
    }

    /// The capacity for the value.
    #[inline]
    pub(crate) const fn area_bytes(&self) -> usize {
        (self.word() & AREA_MASK) as usize
    }

    /// Whether the area holds the number of a side object.
    #[inline]
    pub(crate) const fn is_side(&self) -> bool {
        self.word() & SIDE != 0
    }

    /// All bytes of the entry.
    #[inline]
    pub(crate) const fn range(&self) -> Range<usize> {
        self.at..self.area_at + self.area_bytes()
    }

    /// How many bytes the entry takes.
    #[inline]
    pub(crate) const fn bytes(&self) -> usize {
        self.area_at + self.area_bytes() - self.at
    }

    /// The key.
    #[inline]
    pub(crate) fn key<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        arena.get(self.key_at..self.namespace_at).unwrap_or_default()
    }

    /// The namespace.
    #[inline]
    pub(crate) fn namespace<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        arena.get(self.namespace_at..self.area_at).unwrap_or_default()
    }

    /// Where the value is, for one that is not a side object.
    #[inline]
    pub(crate) fn value_range(&self, arena: &[u8]) -> Range<usize> {
        let end = self.area_at + self.area_bytes();
        if self.word() & SLACK == 0 {
            return self.area_at..end;
        }
        let last = arena.get(end - 1).copied().unwrap_or_default();
        let slack = if last == u8::MAX { u16_at(arena, end - 3) } else { u16::from(last) };
        self.area_at..end.saturating_sub(usize::from(slack)).max(self.area_at)
    }

    /// The value, for one that is not a side object.
    #[inline]
    pub(crate) fn value<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        arena.get(self.value_range(arena)).unwrap_or_default()
    }

    /// The number of the side object.
    #[inline]
    pub(crate) fn side_number(&self, arena: &[u8]) -> Option<u32> {
        let bytes = arena.get(self.area_at..)?.first_chunk()?;
        self.is_side().then(|| u32::from_le_bytes(*bytes))
    }

    /// Stores `value` where the old one is. `false`, and nothing is changed, if it doesn't fit.
    pub(crate) fn overwrite(&self, arena: &mut [u8], value: &[u8], epoch: u32) -> bool {
        let area = self.area_bytes();
        if self.is_side() || value.len() > area {
            return false;
        }
        if let Some(place) = arena.get_mut(self.area_at..self.area_at + area) {
            let word = fill_area(place, value);
            set_header(arena, self.at, epoch, (self.header >> 32) as u16, word);
        }
        true
    }

    /// Marks the entry as changed in `epoch`.
    #[inline]
    pub(crate) fn touch(&self, arena: &mut [u8], epoch: u32) {
        if let Some(place) = arena.get_mut(self.at..self.at + 4) {
            place.copy_from_slice(&epoch.to_le_bytes());
        }
    }
}

fn set_header(arena: &mut [u8], at: usize, epoch: u32, lengths: u16, word: u16) {
    let header = u64::from(epoch) | (u64::from(lengths) << 32) | (u64::from(word) << 48);
    if let Some(place) = arena.get_mut(at..at + HEADER_BYTES) {
        place.copy_from_slice(&header.to_le_bytes());
    }
}

/// Writes `value` into `area`, which is at least as long, and returns the area word.
fn fill_area(area: &mut [u8], value: &[u8]) -> u16 {
    let slack = area.len() - value.len();
    if let Some(place) = area.get_mut(..value.len()) {
        place.copy_from_slice(value);
    }
    let len = area.len() as u16;
    if slack == 0 {
        return len;
    }
    if slack < LONG {
        if let Some(last) = area.last_mut() {
            *last = slack as u8;
        }
    } else if let Some(end) = area.last_chunk_mut::<3>() {
        let [low, high] = (slack as u16).to_le_bytes();
        *end = [low, high, u8::MAX];
    }
    len | SLACK
}

/// Key, namespace and epoch of an entry that is written anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewEntry<'a> {
    /// The key.
    pub(crate) key: &'a [u8],
    /// The namespace.
    pub(crate) namespace: &'a [u8],
    /// The epoch.
    pub(crate) epoch: u32,
}

impl NewEntry<'_> {
    /// Writes all but the value area, and returns that.
    fn write_head<'b>(&self, bytes: &'b mut [u8], word: u16) -> &'b mut [u8] {
        let lengths = length_bytes(self.key.len(), self.namespace.len());
        let header = u64::from(self.epoch) | (u64::from(lengths) << 32) | (u64::from(word) << 48);
        let mut rest = put(bytes, &header.to_le_bytes());
        if lengths == u16::MAX {
            rest = put(rest, &(self.key.len() as u16).to_le_bytes());
            rest = put(rest, &(self.namespace.len() as u16).to_le_bytes());
        }
        put(put(rest, self.key), self.namespace)
    }

    /// Writes the entry to `bytes`, as many as it takes, with `value` in an area of `capacity`
    /// bytes, no fewer than its length.
    pub(crate) fn write_inline(&self, bytes: &mut [u8], value: &[u8], capacity: usize) {
        debug_assert!(value.len() <= capacity && capacity <= AREA_BYTES_MAX);
        let slack = if capacity == value.len() { 0 } else { SLACK };
        let area = self.write_head(bytes, capacity as u16 | slack);
        fill_area(area, value);
    }

    /// Writes the entry to `bytes`, as many as it takes, with side object `number` as its value.
    pub(crate) fn write_side(&self, bytes: &mut [u8], number: u32) {
        put(self.write_head(bytes, SIDE_AREA_BYTES as u16 | SIDE), &number.to_le_bytes());
    }
}

/// Writes `part` to the start of `bytes` and returns the rest.
fn put<'b>(bytes: &'b mut [u8], part: &[u8]) -> &'b mut [u8] {
    let Some((place, rest)) = bytes.split_at_mut_checked(part.len()) else { return &mut [] };
    place.copy_from_slice(part);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(key: &'a [u8], namespace: &'a [u8]) -> NewEntry<'a> {
        NewEntry { key, namespace, epoch: 7 }
    }

    #[test]
    fn entries_of_all_lengths_read_back() {
        for key_len in [0, 1, 8, 254, 255, 256, 65_535] {
            for ns_len in [0, 16, 254, 255, 65_535] {
                let (key, namespace) = (vec![1; key_len], vec![2; ns_len]);
                let mut arena = vec![9; 5 + entry_bytes(key_len, ns_len, 5)];
                entry(&key, &namespace).write_inline(&mut arena[5..], b"value", 5);
                let layout = Layout::read(&arena, 5);
                assert_eq!(layout.key(&arena), key);
                assert_eq!(layout.namespace(&arena), namespace);
                assert_eq!(layout.value(&arena), b"value");
                assert_eq!(layout.epoch(), 7);
                assert_eq!(layout.range(), 5..arena.len());
                assert_eq!(layout.bytes(), entry_bytes(key_len, ns_len, 5));
            }
        }
    }

    #[test]
    fn shorter_values_keep_the_area_and_longer_ones_are_refused() {
        let mut arena = vec![0; entry_bytes(3, 0, 1000)];
        entry(b"key", b"").write_inline(&mut arena, &[1; 1000], 1000);
        let len = arena.len();
        for value_len in [1000, 999, 998, 997, 746, 745, 744, 1, 0, 1000, 500] {
            let value = vec![value_len as u8; value_len];
            assert!(Layout::read(&arena, 0).overwrite(&mut arena, &value, value_len as u32));
            let layout = Layout::read(&arena, 0);
            assert_eq!(layout.value(&arena), value, "{value_len}");
            assert_eq!((layout.epoch(), arena.len()), (value_len as u32, len));
        }
        let before = arena.clone();
        assert!(!Layout::read(&arena, 0).overwrite(&mut arena, &[0; 1001], 9));
        assert_eq!(arena, before);
    }

    #[test]
    fn an_area_with_room_reads_as_the_value_alone() {
        for capacity in [4, 5, 6, 300, AREA_BYTES_MAX] {
            let mut arena = vec![7; entry_bytes(1, 1, capacity)];
            entry(b"k", b"n").write_inline(&mut arena, b"four", capacity);
            let layout = Layout::read(&arena, 0);
            assert_eq!(layout.value(&arena), b"four");
            assert_eq!(layout.area_bytes(), capacity);
        }
    }

    #[test]
    fn side_numbers_read_back() {
        let mut arena = vec![0; entry_bytes(8, 0, 4)];
        entry(b"12345678", b"").write_side(&mut arena, 0x0102_0304);
        let layout = Layout::read(&arena, 0);
        assert_eq!(layout.side_number(&arena), Some(0x0102_0304));
        assert!(!layout.overwrite(&mut arena, b"1", 8));
    }
}
