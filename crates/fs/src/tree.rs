//! Maps: a small one is one record; a larger one is a tree of records of about 2 KiB, so that an
//! access reads and writes few of them and a walk goes through them in order.
//!
//! # Invariants
//! - The root is the entry's own record, part 0. All other nodes are reached from it, each once.
//! - A map without user keys has no record.

use core::ops::ControlFlow;

use millpond_state::{Decision, EditBuffer, MapVisitor, Result, check_value_len};

use crate::node::{
    NODE_BYTES_MAX, Node, NodeEntry, cut, damaged_map, entries, entries_with_ends, or_damaged,
    position,
};
use crate::record::Address;
use crate::store::Store;

/// Records that a change can add at most: one for each level and a new root, of splits in two.
const ADDED_RECORDS_MAX: u64 = 8;

/// Levels that a map can have: each has at least two children a node.
const LEVELS_MAX: usize = 32;

/// The value of a user key.
#[inline]
pub(crate) fn get<'s>(
    store: &'s Store,
    at: &Address<'_>,
    user_key: &[u8],
) -> Result<Option<&'s [u8]>> {
    let mut part = 0;
    loop {
        let Some(value) = store.get(&at.part(part))? else {
            return if part == 0 { Ok(None) } else { Err(damaged_map()) };
        };
        let node = or_damaged(Node::parse(value, part == 0))?;
        if node.level == 0 {
            return Ok(node.find(user_key));
        }
        (part, _) = or_damaged(node.child_of(user_key))?;
    }
}

/// The way to a leaf.
#[derive(Debug, Default)]
struct Path {
    /// Part numbers from the root on.
    parts: Vec<u32>,
    /// The root's level.
    height: u8,
    /// The number of the next part.
    next: u32,
    /// The entries of the leaf.
    leaf: Vec<u8>,
    /// The key that the next leaf begins with.
    upper: Option<Vec<u8>>,
}

/// Goes to the leaf that has `user_key`, if the map has it; `None` if there is no map.
fn descend(store: &Store, at: &Address<'_>, user_key: &[u8]) -> Result<Option<Path>> {
    let mut path = Path::default();
    let mut part = 0;
    loop {
        let Some(value) = store.get(&at.part(part))? else {
            return if part == 0 { Ok(None) } else { Err(damaged_map()) };
        };
        let node = or_damaged(Node::parse(value, part == 0))?;
        if part == 0 {
            (path.height, path.next) = (node.level, node.next);
        }
        path.parts.push(part);
        if node.level == 0 {
            path.leaf.extend_from_slice(node.body);
            return Ok(Some(path));
        }
        if path.parts.len() > LEVELS_MAX {
            return Err(damaged_map());
        }
        let (child, upper) = or_damaged(node.child_of(user_key))?;
        if let Some(upper) = upper {
            path.upper = Some(upper.to_vec());
        }
        part = child;
    }
}

/// Sets the value of a user key. Tells whether the map, and whether the user key, is new.
pub(crate) fn put(
    store: &mut Store,
    at: &Address<'_>,
    entry: &NodeEntry<'_>,
) -> Result<(bool, bool)> {
    store.admit(ADDED_RECORDS_MAX)?;
    let found = descend(store, at, entry.key)?;
    let is_new_map = found.is_none();
    let path = found.unwrap_or_else(|| Path { parts: vec![0], next: 1, ..Path::default() });
    let (place, is_there) = position(&path.leaf, entry.key);
    let mut body = Vec::with_capacity(path.leaf.len() + entry.bytes_max());
    body.extend_from_slice(path.leaf.get(..place.start).unwrap_or_default());
    entry.encode_into(&mut body);
    body.extend_from_slice(path.leaf.get(place.end..).unwrap_or_default());
    store.grouped(|store| write_back(store, at, &path, body))?;
    Ok((is_new_map, !is_there))
}

/// Removes a user key. Tells whether the map is gone with it, and whether it was there.
pub(crate) fn remove(store: &mut Store, at: &Address<'_>, user_key: &[u8]) -> Result<(bool, bool)> {
    let Some(path) = descend(store, at, user_key)? else { return Ok((false, false)) };
    let (place, is_there) = position(&path.leaf, user_key);
    if !is_there {
        return Ok((false, false));
    }
    store.admit(0)?;
    let mut body = path.leaf.get(..place.start).unwrap_or_default().to_vec();
    body.extend_from_slice(path.leaf.get(place.end..).unwrap_or_default());
    let is_gone = store.grouped(|store| write_back(store, at, &path, body))?;
    Ok((is_gone, true))
}

/// Writes the changed entries of the leaf that `path` leads to. Tells whether the map is gone.
fn write_back(store: &mut Store, at: &Address<'_>, path: &Path, leaf: Vec<u8>) -> Result<bool> {
    let mut writer = Writer { store, at, next: path.next, record: Vec::new() };
    let mut body = leaf;
    for (depth, part) in path.parts.iter().enumerate().rev() {
        let level = path.height.saturating_sub(depth as u8);
        let parent = depth.checked_sub(1).and_then(|above| path.parts.get(above)).copied();
        if body.is_empty() {
            writer.store.delete(&at.part(*part))?;
            let Some(parent) = parent else { return Ok(true) };
            body = writer.without_child(parent, *part)?;
            continue;
        }
        let is_one = entries(&body).nth(1).is_none();
        if body.len() <= NODE_BYTES_MAX || is_one {
            writer.write(*part, level, &body)?;
            writer.note_next(path, parent.is_none())?;
            return Ok(false);
        }
        let Some(parent) = parent else {
            writer.raise(level, &body)?;
            return Ok(false);
        };
        body = writer.split(parent, (*part, level), &body)?;
    }
    Ok(false)
}

/// Writes the nodes of one map.
struct Writer<'w, 'a> {
    store: &'w mut Store,
    at: &'w Address<'a>,
    next: u32,
    record: Vec<u8>,
}

impl Writer<'_, '_> {
    fn write(&mut self, part: u32, level: u8, body: &[u8]) -> Result<()> {
        self.record.clear();
        let is_root = part == 0;
        Node { level, next: self.next, body }.encode_into(is_root, &mut self.record);
        self.store.put(&self.at.part(part), &self.record).map(|_| ())
    }

    fn take_number(&mut self) -> u32 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Keeps the number of the next part, if numbers were given and the root was not written.
    fn note_next(&mut self, path: &Path, wrote_root: bool) -> Result<()> {
        if wrote_root || self.next == path.next {
            return Ok(());
        }
        let (level, body) = self.read(0)?;
        self.write(0, level, &body)
    }

    fn read(&self, part: u32) -> Result<(u8, Vec<u8>)> {
        let value = or_damaged(self.store.get(&self.at.part(part))?)?;
        let node = or_damaged(Node::parse(value, part == 0))?;
        Ok((node.level, node.body.to_vec()))
    }

    /// The entries of `parent` but for that of the child `part`.
    fn without_child(&self, parent: u32, part: u32) -> Result<Vec<u8>> {
        let (_, old) = self.read(parent)?;
        let mut body = Vec::with_capacity(old.len());
        let others = entries(&old).filter(|entry| entry.child() != Some(part));
        others.for_each(|entry| entry.encode_into(&mut body));
        Ok(body)
    }

    /// Writes `body` as a node and new ones beside it; returns the parent's entries with these.
    fn split(&mut self, parent: u32, node: (u32, u8), body: &[u8]) -> Result<Vec<u8>> {
        let (part, level) = node;
        let pieces = cut(body);
        let mut added = Vec::new();
        for piece in pieces.iter().skip(1) {
            let number = self.take_number();
            self.write(number, level, piece)?;
            push_child(&mut added, piece, number);
        }
        self.write(part, level, pieces.first().copied().unwrap_or_default())?;
        let (_, old) = self.read(parent)?;
        let mut body = Vec::with_capacity(old.len() + added.len());
        for entry in entries(&old) {
            entry.encode_into(&mut body);
            if entry.child() == Some(part) {
                body.extend_from_slice(&added);
            }
        }
        Ok(body)
    }

    /// Makes the root a level higher: `body`, which is too long for it, goes to children.
    fn raise(&mut self, level: u8, body: &[u8]) -> Result<()> {
        let mut children = Vec::new();
        for piece in cut(body) {
            let number = self.take_number();
            self.write(number, level, piece)?;
            push_child(&mut children, piece, number);
        }
        self.write(0, level + 1, &children)
    }
}

fn push_child(out: &mut Vec<u8>, piece: &[u8], number: u32) {
    let key = entries(piece).next().map_or(&[][..], |entry| entry.key);
    NodeEntry { key, value: &number.to_le_bytes() }.encode_into(out);
}

/// Removes a map. Returns how many user keys it had; `None` if there was none.
pub(crate) fn delete(store: &mut Store, at: &Address<'_>) -> Result<Option<u64>> {
    store.admit(0)?;
    let mut pending = vec![0];
    let (mut parts, mut count) = (Vec::new(), 0);
    while let Some(part) = pending.pop() {
        let Some(value) = store.get(&at.part(part))? else {
            return if part == 0 { Ok(None) } else { Err(damaged_map()) };
        };
        let node = or_damaged(Node::parse(value, part == 0))?;
        if node.level == 0 {
            count += entries(node.body).count() as u64;
        } else {
            pending.extend(entries(node.body).filter_map(|entry| entry.child()));
        }
        parts.push(part);
    }
    store.grouped(|store| {
        parts.iter().try_for_each(|part| store.delete(&at.part(*part)).map(drop))
    })?;
    Ok(Some(count))
}

/// What a walk changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Visited {
    /// User keys that were removed.
    pub(crate) removed: u64,
    /// Whether the map is gone.
    pub(crate) is_gone: bool,
}

/// Visits the user keys of a map in ascending order and applies what the visitor decides. What was
/// changed is returned also with an error of the visitor.
pub(crate) fn visit(
    store: &mut Store,
    at: &Address<'_>,
    buffer: &mut EditBuffer,
    visitor: &mut MapVisitor<'_>,
) -> (Visited, Result<()>) {
    let mut visited = Visited::default();
    let mut from = Vec::new();
    loop {
        let path = match descend(store, at, &from) {
            Ok(Some(path)) => path,
            Ok(None) => return (visited, Ok(())),
            Err(error) => return (visited, Err(error)),
        };
        let leaf = visit_leaf(&path.leaf, &from, buffer, visitor);
        if let Some(body) = leaf.changed {
            let write = |store: &mut Store| write_back(store, at, &path, body);
            match store.admit(ADDED_RECORDS_MAX).and_then(|()| store.grouped(write)) {
                Ok(is_gone) => visited.is_gone = is_gone,
                Err(error) => return (visited, Err(error)),
            }
            visited.removed += leaf.removed;
        }
        match (leaf.outcome, path.upper) {
            (Ok(ControlFlow::Continue(())), Some(upper)) => from = upper,
            (outcome, _) => return (visited, outcome.map(drop)),
        }
    }
}

/// What became of a leaf.
struct VisitedLeaf {
    /// Its entries, if they are others than before.
    changed: Option<Vec<u8>>,
    removed: u64,
    outcome: Result<ControlFlow<()>>,
}

fn visit_leaf(
    body: &[u8],
    from: &[u8],
    buffer: &mut EditBuffer,
    visitor: &mut MapVisitor<'_>,
) -> VisitedLeaf {
    let mut leaf =
        VisitedLeaf { changed: None, removed: 0, outcome: Ok(ControlFlow::Continue(())) };
    let mut kept = 0;
    for (entry, end) in entries_with_ends(body) {
        let start = core::mem::replace(&mut kept, end);
        let is_over = !matches!(leaf.outcome, Ok(ControlFlow::Continue(())));
        let mut decision = Decision::Keep;
        if !is_over && entry.key >= from {
            let flow = visitor(entry.key, &mut buffer.begin(Some(entry.value)));
            leaf.outcome = flow.and_then(|flow| {
                decision = buffer.decision();
                check_value_len(buffer.bytes().len()).map(|()| flow)
            });
            if leaf.outcome.is_err() {
                decision = Decision::Keep;
            }
        }
        if decision != Decision::Keep && leaf.changed.is_none() {
            leaf.changed = Some(body.get(..start).unwrap_or_default().to_vec());
        }
        let Some(changed) = &mut leaf.changed else { continue };
        match decision {
            Decision::Keep => changed.extend_from_slice(body.get(start..end).unwrap_or_default()),
            Decision::Replace => {
                NodeEntry { key: entry.key, value: buffer.bytes() }.encode_into(changed);
            }
            Decision::Remove => leaf.removed += 1,
        }
    }
    leaf
}
