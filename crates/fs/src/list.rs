//! Values in parts: what was appended to an entry whose record could not grow is a part of its own,
//! so that an append never rewrites what is there.
//!
//! # Invariants
//! - The parts of an entry are numbered without a gap; its value is all of them, one after another.
//! - Only entries of states that were appended to have more than one part.

use millpond_state::{Result, VALUE_BYTES_MAX, check_value_len};

use crate::record::Address;
use crate::store::Store;

/// A part up to this size is copied to the end of the log rather than continued by another part.
const COPIED_BYTES_MAX: usize = 256;

/// Least and most room that is left behind a part for what is appended to it.
const ROOM_BYTES: core::ops::RangeInclusive<usize> = 64..=4_096;

/// The number of the last part of an entry that is there.
pub(crate) fn last_part(store: &Store, at: &Address<'_>) -> Result<u32> {
    let is_there =
        |part| Ok::<_, millpond_state::StateError>(store.find(&at.part(part))?.is_some());
    let (mut there, mut step) = (0u32, 1u32);
    while is_there(there + step)? {
        there += step;
        step = step.saturating_mul(2);
    }
    // Parts up to `there` are there, the one `step` behind is not.
    while step > 1 {
        step /= 2;
        if is_there(there + step)? {
            there += step;
        }
    }
    Ok(there)
}

/// Appends `bytes` to an entry; `true` if there was none.
pub(crate) fn append(store: &mut Store, at: &Address<'_>, bytes: &[u8]) -> Result<bool> {
    store.admit(1)?;
    let Some(head) = store.find(at)? else {
        store.grouped(|store| {
            store.add(at, bytes)?;
            leave_room(store, at, bytes.len())
        })?;
        return Ok(true);
    };
    let last = last_part(store, at)?;
    let (at, hit) = match last {
        0 => (*at, head),
        _ => (at.part(last), store.find(&at.part(last))?.unwrap_or(head)),
    };
    let old = hit.place.bytes;
    if old + bytes.len() <= VALUE_BYTES_MAX && store.grow(&hit, &at, bytes) {
        return Ok(false);
    }
    let is_copied = old + bytes.len() <= COPIED_BYTES_MAX;
    let added = if is_copied { at } else { at.part(last + 1) };
    store.grouped(|store| {
        if is_copied {
            let whole = [store.value(&hit), bytes].concat();
            store.replace(&hit, &at, &whole)?;
        } else {
            store.add(&added, bytes)?;
        }
        leave_room(store, &added, bytes.len() + if is_copied { old } else { 0 })
    })?;
    Ok(false)
}

/// Leaves room for as much again behind a part that was just written.
fn leave_room(store: &mut Store, at: &Address<'_>, bytes: usize) -> Result<()> {
    if let Some(hit) = store.find(at)? {
        store.leave_room(&hit, bytes.clamp(*ROOM_BYTES.start(), *ROOM_BYTES.end()));
    }
    Ok(())
}

/// Sets the whole value; `true` if there was none.
pub(crate) fn put(store: &mut Store, at: &Address<'_>, value: &[u8]) -> Result<bool> {
    store.admit(1)?;
    let last = last_part(store, at)?;
    store.grouped(|store| {
        let is_new = store.put(at, value)?;
        (1..=last).rev().try_for_each(|part| store.delete(&at.part(part)).map(drop))?;
        Ok(is_new)
    })
}

/// Removes all parts; `true` if there was an entry.
pub(crate) fn delete(store: &mut Store, at: &Address<'_>) -> Result<bool> {
    store.admit(0)?;
    let last = last_part(store, at)?;
    store.grouped(|store| {
        (1..=last).rev().try_for_each(|part| store.delete(&at.part(part)).map(drop))?;
        store.delete(at)
    })
}

/// Appends the whole value to `out`; `false` if there is no entry.
pub(crate) fn read(store: &Store, at: &Address<'_>, out: &mut Vec<u8>) -> Result<bool> {
    let start = out.len();
    let mut part = 0;
    while let Some(value) = store.get(&at.part(part))? {
        out.extend_from_slice(value);
        check_value_len(out.len() - start)?;
        part += 1;
    }
    Ok(part > 0)
}
