//! Removing what has expired in one entry.

use core::ops::ControlFlow;
use std::sync::Arc;

use super::{Expiry, ExpiryFilter};
use crate::backend::KeyedBackend;
use crate::buffer::Scratch;
use crate::descriptor::StateDescriptor;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;

/// What cleaning an entry found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cleaned {
    /// User keys of a map, or 1.
    pub(crate) examined: u64,
    /// Of those, how many were removed.
    pub(crate) removed: u64,
    /// Whether the entry is still there.
    pub(crate) live: bool,
}

/// A state whose expired parts are to be removed, as of one instant.
#[derive(Debug)]
pub(crate) struct Cleaning {
    pub(crate) id: StateId,
    pub(crate) is_map: bool,
    pub(crate) filter: Arc<dyn ExpiryFilter>,
    pub(crate) now_ms: Option<i64>,
}

impl Cleaning {
    /// What is to be done for the state of `descriptor`; `None` if it does not expire.
    pub(crate) fn of(id: StateId, descriptor: &StateDescriptor) -> Option<Self> {
        let filter = Arc::clone(descriptor.expiry()?);
        let now_ms = filter.now_ms();
        Some(Self { id, is_map: descriptor.kind().is_map(), filter, now_ms })
    }
}

/// Removes the expired parts of one entry, if there is one.
pub(crate) fn clean_entry<B: KeyedBackend + ?Sized>(
    backend: &mut B,
    cleaning: &Cleaning,
    at: EntryKey<'_>,
) -> Result<Cleaned> {
    if cleaning.is_map {
        return clean_map(backend, cleaning, at);
    }
    let Some(stored) = backend.get(cleaning.id, at)? else { return Ok(Cleaned::default()) };
    let mut rewritten = Scratch::new();
    match cleaning.filter.judge(stored, cleaning.now_ms, &mut rewritten)? {
        Expiry::Live => Ok(Cleaned { examined: 1, removed: 0, live: true }),
        Expiry::Rewrite => {
            backend.put(cleaning.id, at, rewritten.as_slice())?;
            Ok(Cleaned { examined: 1, removed: 0, live: true })
        }
        Expiry::Expired => {
            backend.delete(cleaning.id, at)?;
            Ok(Cleaned { examined: 1, removed: 1, live: false })
        }
    }
}

fn clean_map<B: KeyedBackend + ?Sized>(
    backend: &mut B,
    cleaning: &Cleaning,
    at: EntryKey<'_>,
) -> Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    let mut rewritten = Scratch::new();
    backend.map_visit(cleaning.id, at, &mut |_, edit| {
        cleaned.examined += 1;
        let stored = edit.current().unwrap_or_default();
        match cleaning.filter.judge(stored, cleaning.now_ms, &mut rewritten)? {
            Expiry::Live => cleaned.live = true,
            Expiry::Rewrite => {
                cleaned.live = true;
                edit.replace(rewritten.as_slice());
            }
            Expiry::Expired => {
                cleaned.removed += 1;
                edit.remove();
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(cleaned)
}

/// What a walk over the keys of a state must leave out, if reads of it do not see what has expired.
pub(crate) fn clean_for_walk<B: KeyedBackend + ?Sized>(
    backend: &B,
    state: StateId,
) -> Option<Cleaning> {
    let descriptor = backend.states().get(state.index())?;
    if !descriptor.ttl()?.hides_expired() {
        return None;
    }
    Cleaning::of(state, descriptor)
}
