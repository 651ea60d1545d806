//! The bytes of map entries: of small maps as a whole, and of the chunks of large ones.
//!
//! ```text
//!  0        4          6           10
//! +--------+----------+-----------+----------+-------+
//! | epoch  | user key | value len | user key | value |
//! | u32 LE | len  u16 | u32 LE    |          |       |
//! +--------+----------+-----------+----------+-------+
//! ```
//!
//! A small map is its entries one after the other, ascending by user key, each once.

use core::ops::Range;

/// Bytes before the user key.
pub(crate) const ENTRY_HEADER_BYTES: usize = 10;

/// One entry of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapEntry<'a> {
    /// Epoch of the entry's last change.
    pub(crate) epoch: u32,
    /// The user key.
    pub(crate) user_key: &'a [u8],
    /// The value.
    pub(crate) value: &'a [u8],
}

impl<'a> MapEntry<'a> {
    /// The entry that starts at `at`; `None` at the end.
    #[inline]
    pub(crate) fn read(bytes: &'a [u8], at: usize) -> Option<Self> {
        let tail = bytes.get(at..)?;
        let [a, b, c, d, e, f, g, h, i, j] = *tail.first_chunk::<ENTRY_HEADER_BYTES>()?;
        let key_end = ENTRY_HEADER_BYTES + usize::from(u16::from_le_bytes([e, f]));
        let value_end = key_end + u32::from_le_bytes([g, h, i, j]) as usize;
        Some(Self {
            epoch: u32::from_le_bytes([a, b, c, d]),
            user_key: tail.get(ENTRY_HEADER_BYTES..key_end)?,
            value: tail.get(key_end..value_end)?,
        })
    }

    /// How many bytes the entry takes.
    #[inline]
    pub(crate) const fn bytes(&self) -> usize {
        ENTRY_HEADER_BYTES + self.user_key.len() + self.value.len()
    }

    /// Where the value is, if the entry starts at `at`.
    #[inline]
    pub(crate) const fn value_range(&self, at: usize) -> Range<usize> {
        let start = at + ENTRY_HEADER_BYTES + self.user_key.len();
        start..start + self.value.len()
    }

    /// Appends the entry.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&(self.user_key.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.value.len() as u32).to_le_bytes());
        out.extend_from_slice(self.user_key);
        out.extend_from_slice(self.value);
    }
}

/// The entries of a small map, with the positions where they start.
pub(crate) fn entries(bytes: &[u8]) -> impl Iterator<Item = (usize, MapEntry<'_>)> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let entry = MapEntry::read(bytes, at)?;
        let start = at;
        at += entry.bytes();
        Some((start, entry))
    })
}

/// Where a user key is in a small map, or where it would be.
pub(crate) fn find<'a>(bytes: &'a [u8], user_key: &[u8]) -> Result<(usize, MapEntry<'a>), usize> {
    for (at, entry) in entries(bytes) {
        match entry.user_key.cmp(user_key) {
            core::cmp::Ordering::Less => {}
            core::cmp::Ordering::Equal => return Ok((at, entry)),
            core::cmp::Ordering::Greater => return Err(at),
        }
    }
    Err(bytes.len())
}

/// Writes to `out` the map `bytes` with the bytes in `cut` replaced by `entry`.
pub(crate) fn splice(
    bytes: &[u8],
    cut: Range<usize>,
    entry: Option<MapEntry<'_>>,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.extend_from_slice(bytes.get(..cut.start).unwrap_or_default());
    if let Some(entry) = entry {
        entry.write(out);
    }
    out.extend_from_slice(bytes.get(cut.end..).unwrap_or_default());
}

/// Gives the entry that starts at `at` the value and epoch of `entry`, whose value is as long as
/// the old one, at `value`.
pub(crate) fn overwrite(
    packed: Option<&mut [u8]>,
    at: usize,
    value: Range<usize>,
    entry: &MapEntry<'_>,
) {
    let Some(packed) = packed else { return };
    if let Some(place) = packed.get_mut(value) {
        place.copy_from_slice(entry.value);
    }
    if let Some(place) = packed.get_mut(at..at + 4) {
        place.copy_from_slice(&entry.epoch.to_le_bytes());
    }
}
