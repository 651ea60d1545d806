//! Batched access: overlaps the cache misses of the entries of a batch.
//!
//! An access misses the cache twice, one after the other: at the line of tags and at the entry. A
//! batch is worked on in windows, in three passes: hash all and touch their lines, match tags and
//! touch the entries, then finish one by one in order. Within a pass the accesses don't depend on
//! each other, so the processor waits for many at once. Touching is an ordinary load whose result is
//! kept alive; that needs no prefetch instruction.
//!
//! # Invariants
//! - What the first passes found is a hint. It is used only while no entry was moved since
//!   ([`Env::moves`](crate::env::Env::moves)), and only after key and namespace were compared.

use core::hint::black_box;

use millpond_state::{BatchVisitor, Decision, EditBuffer, EntryKey, Result, check_value_len};

use crate::entry_layout::{Layout, u64_at};
use crate::env::Env;
use crate::line::OFFSET_LIMIT;
use crate::probe::Probe;
use crate::segment::Segment;
use crate::table::Table;

/// Entries of a window.
const WINDOW: usize = 32;

/// No entry starts here.
const NOWHERE: usize = OFFSET_LIMIT;

/// What the first passes learned about one entry.
#[derive(Clone, Copy)]
struct Hint<'t, 'k> {
    probe: Probe<'k>,
    segment: Option<&'t Segment>,
    /// Where in the segment's arena the entry may be.
    at: usize,
}

/// Looks a window of at most [`WINDOW`] entries up, as far as that needs no waiting. Entries of
/// foreign key groups are no error here: the last pass meets them in order.
#[inline]
fn look_up<'t, 'k>(table: &'t Table, entries: &[EntryKey<'k>]) -> [Hint<'t, 'k>; WINDOW] {
    let nothing = Hint { probe: Probe::NOTHING, segment: None, at: NOWHERE };
    let mut hints = [nothing; WINDOW];
    let mut touched = 0;
    for (hint, at) in hints.iter_mut().zip(entries) {
        hint.probe = Probe::new(at);
        hint.segment = table.group_if(at.group()).and_then(|group| group.segment(&hint.probe));
        if let Some(line) = hint.segment.and_then(|segment| segment.line_of(hint.probe.hash)) {
            touched ^= line.touch();
        }
    }
    black_box(touched);
    for hint in hints.iter_mut().take(entries.len()) {
        let Some(segment) = hint.segment else { continue };
        if let Some(line) = segment.line_of(hint.probe.hash) {
            let candidates = line.matching(hint.probe.tag);
            if candidates != 0 {
                hint.at = line.offset(candidates.trailing_zeros() as usize);
                touched ^= u64_at(&segment.arena, hint.at);
            }
        }
    }
    black_box(touched);
    hints
}

impl<'t> Hint<'t, '_> {
    /// Finds the entry.
    #[inline]
    fn find(&self) -> Option<(&'t Segment, Layout)> {
        let segment = self.segment?;
        if let Some(layout) = segment.entry_if(self.at, &self.probe) {
            return Some((segment, layout));
        }
        segment.find(&self.probe).map(|found| (segment, found.layout))
    }
}

/// Reads many entries.
pub(crate) fn get_many<'t>(
    table: &'t Table,
    entries: &[EntryKey<'_>],
    out: &mut [Option<&'t [u8]>],
) -> Result<()> {
    for (entries, out) in entries.chunks(WINDOW).zip(out.chunks_mut(WINDOW)) {
        let hints = look_up(table, entries);
        for ((hint, at), out) in hints.iter().zip(entries).zip(out) {
            table.group(at.group())?;
            *out = hint.find().map(|(segment, layout)| segment.value_bytes(&layout));
        }
    }
    Ok(())
}

/// Where an entry may be, without a borrow of the table.
type Place<'k> = (Probe<'k>, usize);

#[inline]
fn places<'k>(table: &Table, entries: &[EntryKey<'k>]) -> [Place<'k>; WINDOW] {
    look_up(table, entries).map(|hint| (hint.probe, hint.at))
}

/// Writes many entries.
pub(crate) fn put_many(
    table: &mut Table,
    entries: &[EntryKey<'_>],
    values: &[&[u8]],
    env: &mut Env,
) -> Result<()> {
    for (entries, values) in entries.chunks(WINDOW).zip(values.chunks(WINDOW)) {
        let places = places(table, entries);
        let moves = env.moves;
        for (((probe, hint), at), value) in places.iter().zip(entries).zip(values) {
            at.check_lengths()?;
            check_value_len(value.len())?;
            let hint = if env.moves == moves { *hint } else { NOWHERE };
            table.group_mut(at.group(), env)?.put_at(probe, hint, value, env)?;
        }
    }
    Ok(())
}

/// Reads, modifies and writes many entries.
pub(crate) fn update_many(
    table: &mut Table,
    entries: &[EntryKey<'_>],
    change: &mut BatchVisitor<'_>,
    edit: &mut EditBuffer,
    env: &mut Env,
) -> Result<()> {
    let mut index = 0;
    for entries in entries.chunks(WINDOW) {
        let places = places(table, entries);
        let moves = env.moves;
        for ((probe, hint), at) in places.iter().zip(entries) {
            at.check_lengths()?;
            let hint = if env.moves == moves { *hint } else { NOWHERE };
            let group = table.group_mut(at.group(), env)?;
            change(index, &mut edit.begin(group.get_at(probe, hint)))?;
            match edit.decision() {
                Decision::Keep => {}
                Decision::Replace => {
                    check_value_len(edit.bytes().len())?;
                    group.put_at(probe, hint, edit.bytes(), env)?;
                }
                Decision::Remove => group.remove(probe, env)?,
            }
            index += 1;
        }
    }
    Ok(())
}
