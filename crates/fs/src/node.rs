//! Nodes of a map: user keys in ascending order, each with a value or the number of a child.
//!
//! ```text
//! root without children   level 0 | entries              all of a small map
//! root                    level   | next part 4 | entries
//! other nodes             level   | entries
//! entry                   key bytes varint | value bytes varint | key | value
//! ```
//!
//! The value of an entry of a level above 0 is the part number of a child, 4 bytes; its key is not
//! above any key below that child, but for the first child, which has all lower keys too.

use millpond_state::{Result, StateError};

/// Bytes of a node's entries before it is split.
pub(crate) const NODE_BYTES_MAX: usize = 2_048;

/// Longest varint of a length.
const VARINT_BYTES_MAX: usize = 5;

/// An entry of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeEntry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl NodeEntry<'_> {
    /// Bytes when encoded, at most.
    pub(crate) const fn bytes_max(&self) -> usize {
        self.key.len() + self.value.len() + 2 * VARINT_BYTES_MAX
    }

    /// Appends the entry.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        push_varint(out, self.key.len());
        push_varint(out, self.value.len());
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
    }

    /// The part number of the child.
    pub(crate) fn child(&self) -> Option<u32> {
        Some(u32::from_le_bytes(self.value.try_into().ok()?))
    }
}

fn push_varint(out: &mut Vec<u8>, number: usize) {
    let mut rest = number;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[inline(always)]
fn take_varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0usize;
    for shift in 0..VARINT_BYTES_MAX {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(first & 0x7f) << (7 * shift);
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes the first of some entries; `None` at the end, and at what is no entry.
#[inline(always)]
fn take_entry<'a>(bytes: &mut &'a [u8]) -> Option<NodeEntry<'a>> {
    let key = take_varint(bytes)?;
    let value = take_varint(bytes)?;
    let (key, rest) = bytes.split_at_checked(key)?;
    let (value, rest) = rest.split_at_checked(value)?;
    *bytes = rest;
    Some(NodeEntry { key, value })
}

/// The entries that `body` holds.
pub(crate) fn entries(body: &[u8]) -> impl Iterator<Item = NodeEntry<'_>> + Clone {
    let mut rest = body;
    core::iter::from_fn(move || take_entry(&mut rest))
}

/// The entries that `body` holds, each with where it ends.
pub(crate) fn entries_with_ends(body: &[u8]) -> impl Iterator<Item = (NodeEntry<'_>, usize)> {
    let mut rest = body;
    core::iter::from_fn(move || Some((take_entry(&mut rest)?, body.len() - rest.len())))
}

/// How many entries a root without children has, if `is_it` holds of the value of each.
pub(crate) fn entries_if_all(root: &[u8], mut is_it: impl FnMut(&[u8]) -> bool) -> Option<u64> {
    let node = Node::parse(root, true).filter(|node| node.level == 0)?;
    let mut count = 0;
    for entry in entries(node.body) {
        if !is_it(entry.value) {
            return None;
        }
        count += 1;
    }
    Some(count)
}

/// A node of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node<'a> {
    /// 0: the entries have values; above: children of a level lower.
    pub(crate) level: u8,
    /// In the root: the number of the next part.
    pub(crate) next: u32,
    /// The entries.
    pub(crate) body: &'a [u8],
}

impl<'a> Node<'a> {
    /// What a record's value is.
    #[inline(always)]
    pub(crate) fn parse(value: &'a [u8], is_root: bool) -> Option<Self> {
        let (level, rest) = value.split_first()?;
        if !is_root || *level == 0 {
            return Some(Self { level: *level, next: 1, body: rest });
        }
        let (next, body) = rest.split_first_chunk()?;
        Some(Self { level: *level, next: u32::from_le_bytes(*next), body })
    }

    /// Appends what [`Self::parse`] reads.
    pub(crate) fn encode_into(&self, is_root: bool, out: &mut Vec<u8>) {
        out.push(self.level);
        if is_root && self.level > 0 {
            out.extend_from_slice(&self.next.to_le_bytes());
        }
        out.extend_from_slice(self.body);
    }

    /// The value of a user key.
    #[inline(always)]
    pub(crate) fn find(&self, key: &[u8]) -> Option<&'a [u8]> {
        let mut rest = self.body;
        while let Some(entry) = take_entry(&mut rest) {
            if entry.key >= key {
                return (entry.key == key).then_some(entry.value);
            }
        }
        None
    }

    /// The child that has `key`, if any has, and the key that the next child begins with.
    pub(crate) fn child_of(&self, key: &[u8]) -> Option<(u32, Option<&'a [u8]>)> {
        let mut found = None;
        for entry in entries(self.body) {
            if found.is_some() && entry.key > key {
                return Some((found?, Some(entry.key)));
            }
            found = Some(entry.child()?);
        }
        Some((found?, None))
    }
}

/// Where in a body the entry of `key` is, or would be: the bytes to be replaced.
pub(crate) fn position(body: &[u8], key: &[u8]) -> (core::ops::Range<usize>, bool) {
    let mut rest = body;
    loop {
        let start = body.len() - rest.len();
        match take_entry(&mut rest) {
            Some(entry) if entry.key < key => {}
            Some(entry) if entry.key == key => return (start..body.len() - rest.len(), true),
            _ => return (start..start, false),
        }
    }
}

/// Cuts a body that is too long into such as are not, as far as entries allow, of about equal size.
pub(crate) fn cut(body: &[u8]) -> Vec<&[u8]> {
    let count = body.len().div_ceil(NODE_BYTES_MAX).max(2);
    let wanted = body.len().div_ceil(count);
    let mut pieces = Vec::with_capacity(count);
    let (mut rest, mut from) = (body, body);
    while !rest.is_empty() {
        let before = rest;
        if take_entry(&mut rest).is_none() {
            break;
        }
        let (with, without) = (from.len() - rest.len(), from.len() - before.len());
        if with > wanted && without > 0 {
            pieces.push(from.get(..without).unwrap_or_default());
            from = before;
        }
    }
    pieces.push(from);
    pieces
}

/// The error of a map whose parts do not fit together.
#[cold]
pub(crate) fn damaged_map() -> StateError {
    StateError::new(millpond_state::ErrorKind::Corrupt, "the parts of a map do not fit together")
}

/// `parsed`, or the error that the map is damaged.
#[inline(always)]
pub(crate) fn or_damaged<T>(parsed: Option<T>) -> Result<T> {
    parsed.ok_or_else(damaged_map)
}
