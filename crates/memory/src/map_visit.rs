//! Walks over one map, with edits.
//!
//! A walk reads the map as it is and writes only what a visitor changed: a small map at the end, a
//! large one chunk by chunk. So a walk that changes nothing copies nothing that a snapshot shares.

use core::ops::ControlFlow;
use std::sync::Arc;

use millpond_snapshot::ChangeKind;
use millpond_state::{Decision, EditBuffer, MapVisitor, Result};

use crate::env::Env;
use crate::linear_table::{LinearTable, Written};
use crate::map_chunks::Chunk;
use crate::packed_map::{self, MapEntry};
use crate::probe::Probe;
use crate::segment::{Found, Stored};

/// A visitor and the scratch space of its edits.
pub(crate) struct Visit<'a, 'v> {
    /// Scratch space.
    pub(crate) buffer: &'a mut EditBuffer,
    /// The visitor.
    pub(crate) visitor: &'a mut MapVisitor<'v>,
    /// User keys that were removed and are not noted yet, each after its length.
    pub(crate) removed: Vec<u8>,
    /// Whether removed user keys are to be noted.
    pub(crate) notes_removed: bool,
}

impl Visit<'_, '_> {
    /// Notes what was removed, now that it is.
    fn note_removed(&mut self, probe: &Probe<'_>, env: &mut Env) {
        let mut rest = self.removed.as_slice();
        while let Some((len, after)) = rest.split_first_chunk() {
            let len = usize::from(u16::from_le_bytes(*len));
            let Some((user_key, after)) = after.split_at_checked(len) else { break };
            env.note_deleted((probe.key, probe.namespace), (ChangeKind::Deleted, user_key));
            rest = after;
        }
        self.removed.clear();
    }
}

/// Visits the user keys of a map in ascending order and applies what the visitor decides.
pub(crate) fn visit_map(
    table: &mut LinearTable,
    probe: &Probe<'_>,
    visit: &mut Visit<'_, '_>,
    env: &mut Env,
) -> Result<()> {
    let Some((segment, found)) = table.segment(probe).and_then(|s| Some((s, s.find(probe)?)))
    else {
        return Ok(());
    };
    match segment.value(&found.layout) {
        Stored::Inline(packed) => {
            let mut edited = core::mem::take(&mut env.bytes);
            edited.clear();
            let (outcome, changed) = edit_packed(packed, env.epoch, visit, &mut edited);
            let stored = if changed { store(table, probe, &found, &edited, env) } else { Ok(()) };
            if stored.is_ok() {
                visit.note_removed(probe, env);
            }
            env.bytes = edited;
            outcome.and(stored)
        }
        Stored::Map(_) => visit_chunks(table, probe, visit, env),
        Stored::Blob(_) => Ok(()),
    }
}

fn store(
    table: &mut LinearTable,
    probe: &Probe<'_>,
    found: &Found,
    edited: &[u8],
    env: &mut Env,
) -> Result<()> {
    table.write(probe, env, |segment, env| {
        segment.store_packed(found, probe, edited, env)?;
        Ok(Written::removed_if(edited.is_empty()))
    })
}

fn visit_chunks(
    table: &mut LinearTable,
    probe: &Probe<'_>,
    visit: &mut Visit<'_, '_>,
    env: &mut Env,
) -> Result<()> {
    let mut at = 0;
    while let Some(chunk) = chunk_at(table, probe, at) {
        let (outcome, rebuilt) = visit_chunk(&chunk, env.epoch, visit);
        drop(chunk);
        at += 1;
        if let Some(rebuilt) = rebuilt {
            at -= 1;
            table.write(probe, env, |segment, env| {
                env.admit(2 * rebuilt.memory_bytes())?;
                let (next, emptied) = segment.replace_map_chunk(probe, at, rebuilt, env);
                at = next;
                Ok(Written::removed_if(emptied))
            })?;
            visit.note_removed(probe, env);
        }
        if outcome? == ControlFlow::Break(()) {
            break;
        }
    }
    Ok(())
}

fn chunk_at(table: &LinearTable, probe: &Probe<'_>, at: usize) -> Option<Arc<Chunk>> {
    let segment = table.segment(probe)?;
    match segment.value(&segment.find(probe)?.layout) {
        Stored::Map(map) => map.chunk(at).map(Arc::clone),
        Stored::Inline(_) | Stored::Blob(_) => None,
    }
}

/// Lets the visitor decide about the entries of `chunk`; returns the changed chunk if there was a
/// change.
fn visit_chunk(
    chunk: &Chunk,
    epoch: u32,
    visit: &mut Visit<'_, '_>,
) -> (Result<ControlFlow<()>>, Option<Chunk>) {
    let mut rebuilt: Option<Chunk> = None;
    let mut outcome = Ok(ControlFlow::Continue(()));
    for (position, entry) in chunk.entries().enumerate() {
        let mut decision = Decision::Keep;
        if matches!(outcome, Ok(ControlFlow::Continue(()))) {
            (outcome, decision) = decide(&entry, visit);
        } else if rebuilt.is_none() {
            break;
        }
        if decision != Decision::Keep && rebuilt.is_none() {
            rebuilt = Some(Chunk::collect(chunk.entries().take(position)));
        }
        if let (Some(rebuilt), Some(entry)) =
            (&mut rebuilt, apply(entry, decision, epoch, visit.buffer))
        {
            rebuilt.push(&entry);
        }
    }
    (outcome, rebuilt)
}

/// Writes to `out` the packed map with the visitor's decisions applied, and says whether any
/// changed it.
fn edit_packed(
    packed: &[u8],
    epoch: u32,
    visit: &mut Visit<'_, '_>,
    out: &mut Vec<u8>,
) -> (Result<()>, bool) {
    let mut changed = false;
    let mut entries = packed_map::entries(packed);
    for (_, entry) in entries.by_ref() {
        let (outcome, decision) = decide(&entry, visit);
        changed |= decision != Decision::Keep;
        if let Some(entry) = apply(entry, decision, epoch, visit.buffer) {
            entry.write(out);
        }
        if !matches!(outcome, Ok(ControlFlow::Continue(()))) {
            entries.for_each(|(_, entry)| entry.write(out));
            return (outcome.map(|_| ()), changed);
        }
    }
    (Ok(()), changed)
}

/// Asks the visitor. A failing one keeps the entry.
fn decide(entry: &MapEntry<'_>, visit: &mut Visit<'_, '_>) -> (Result<ControlFlow<()>>, Decision) {
    let mut edit = visit.buffer.begin(Some(entry.value));
    let outcome = (visit.visitor)(entry.user_key, &mut edit).and_then(|flow| {
        millpond_state::check_value_len(visit.buffer.bytes().len()).map(|()| flow)
    });
    let decision = if outcome.is_ok() { visit.buffer.decision() } else { Decision::Keep };
    if decision == Decision::Remove && visit.notes_removed {
        // The limit of user keys is that of the length field.
        visit.removed.extend_from_slice(&(entry.user_key.len() as u16).to_le_bytes());
        visit.removed.extend_from_slice(entry.user_key);
    }
    (outcome, decision)
}

/// What a decision makes of an entry.
fn apply<'a>(
    entry: MapEntry<'a>,
    decision: Decision,
    epoch: u32,
    buffer: &'a EditBuffer,
) -> Option<MapEntry<'a>> {
    match decision {
        Decision::Keep => Some(entry),
        Decision::Replace => Some(MapEntry { epoch, value: buffer.bytes(), ..entry }),
        Decision::Remove => None,
    }
}
