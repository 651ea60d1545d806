//! Batched access: overlaps the cache misses of the entries of a batch.
//!
//! An access misses the cache twice, one after the other: at the line of tags and at the entry. A
//! batch is worked on in windows, in three passes: hash all and touch their lines, match tags and
//! touch the entries, then finish one by one in order. Touching is an ordinary load whose result is
//! kept alive: no prefetch instruction is needed. It happens in loops of its own that do nothing
//! else, so that the processor, which looks some hundred instructions ahead, has the misses of the
//! whole window under way at once.
//!
//! # Invariants
//! - What the first passes found is a hint. It is used only while no entry was moved since
//!   ([`Env::moves`](crate::env::Env::moves)), and only after key and namespace were compared.

use core::hint::black_box;

use millpond_state::{BatchVisitor, EntryKey, Result, check_value_len};

use crate::env::Env;
use crate::line::{Line, OFFSET_LIMIT, tag_of};
use crate::linear_table::Editing;
use crate::probe::address_hash;
use crate::segment::Segment;
use crate::table::Table;

/// Entries of a window.
const WINDOW: usize = 32;

/// Bytes of an entry that are touched: those of one with an 8-byte key and value.
const HEAD_BYTES: usize = 24;

/// No entry starts here.
const NOWHERE: usize = OFFSET_LIMIT;

/// What the first passes learned about a window: by position in it.
struct Hints<'t> {
    /// Hash of key and namespace.
    hashes: [u64; WINDOW],
    segments: [Option<&'t Segment>; WINDOW],
    /// Where in the segment's arena the entry may be.
    places: [usize; WINDOW],
}

/// Looks a window of at most [`WINDOW`] entries up, as far as that needs no waiting. Entries of
/// foreign key groups are no error here: the last pass meets them in order.
#[inline]
fn look_up<'t>(table: &'t Table, entries: &[EntryKey<'_>]) -> Hints<'t> {
    let mut hints =
        Hints { hashes: [0; WINDOW], segments: [None; WINDOW], places: [NOWHERE; WINDOW] };
    let count = entries.len();
    let mut lines = [&Line::EMPTY; WINDOW];
    let outputs = hints.hashes.iter_mut().zip(&mut hints.segments).zip(&mut lines);
    for (at, ((hash, segment), line)) in entries.iter().zip(outputs) {
        *hash = address_hash(at);
        *segment = table.group_if(at.group()).and_then(|group| group.segment_of(*hash));
        *line = segment.and_then(|segment| segment.line_of(*hash)).unwrap_or(&Line::EMPTY);
    }
    black_box(lines.iter().take(count).fold(0, |touched, line| touched ^ line.touch()));
    let mut heads = [&[0u8; HEAD_BYTES]; WINDOW];
    let inputs = hints.hashes.iter().zip(&hints.segments).zip(&lines).take(count);
    let outputs = hints.places.iter_mut().zip(&mut heads);
    for (((hash, segment), line), (place, head)) in inputs.zip(outputs) {
        let candidates = line.candidates(tag_of(*hash));
        if let Some(segment) = segment
            && !candidates.is_empty()
        {
            *place = line.offset(candidates.first());
            *head = segment.arena.get(*place..).and_then(|b| b.first_chunk()).unwrap_or(*head);
        }
    }
    let touched = heads.iter().take(count).fold(0, |touched, head| {
        // Both ends: the entry may lie across two cache lines.
        let (first, last) = (head.first().copied(), head.last().copied());
        touched ^ first.unwrap_or_default() ^ last.unwrap_or_default()
    });
    black_box(touched);
    hints
}

/// Reads many entries.
pub(crate) fn get_many<'t>(
    table: &'t Table,
    entries: &[EntryKey<'_>],
    out: &mut [Option<&'t [u8]>],
) -> Result<()> {
    for (entries, out) in entries.chunks(WINDOW).zip(out.chunks_mut(WINDOW)) {
        let hints = look_up(table, entries);
        let hinted = hints.hashes.iter().zip(&hints.segments).zip(&hints.places);
        for ((((hash, segment), place), at), out) in hinted.zip(entries).zip(out) {
            *out = match segment {
                Some(segment) => segment.get_at(at, *hash, *place),
                None => table.group(at.group()).map(|_| None)?,
            };
        }
    }
    Ok(())
}

/// Writes many entries.
pub(crate) fn put_many(
    table: &mut Table,
    entries: &[EntryKey<'_>],
    values: &[&[u8]],
    env: &mut Env,
) -> Result<()> {
    for (entries, values) in entries.chunks(WINDOW).zip(values.chunks(WINDOW)) {
        let Hints { hashes, places, .. } = look_up(table, entries);
        let moves = env.moves;
        for (((hash, place), at), value) in hashes.iter().zip(&places).zip(entries).zip(values) {
            at.check_lengths()?;
            check_value_len(value.len())?;
            let place = (env.moves == moves).then_some(*place);
            table.group_mut(at.group(), env)?.put(at, *hash, place, value, env)?;
        }
    }
    Ok(())
}

/// Reads, modifies and writes many entries.
pub(crate) fn update_many(
    table: &mut Table,
    entries: &[EntryKey<'_>],
    change: &mut BatchVisitor<'_>,
    editing: &mut Editing<'_>,
) -> Result<()> {
    if let [at] = entries {
        at.check_lengths()?;
        let group = table.group_mut(at.group(), editing.env)?;
        return group.update(at, address_hash(at), None, editing, |edit| change(0, edit));
    }
    let mut index = 0;
    for entries in entries.chunks(WINDOW) {
        let Hints { hashes, places, .. } = look_up(table, entries);
        let moves = editing.env.moves;
        for ((hash, place), at) in hashes.iter().zip(&places).zip(entries) {
            at.check_lengths()?;
            let place = (editing.env.moves == moves).then_some(*place);
            let group = table.group_mut(at.group(), editing.env)?;
            group.update(at, *hash, place, editing, |edit| change(index, edit))?;
            index += 1;
        }
    }
    Ok(())
}
