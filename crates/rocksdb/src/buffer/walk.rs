//! Walks over a buffer and the database below it.

use core::ops::Bound;
use std::sync::Arc;

use millpond_state::Result;
use rocksdb::ReadOptions;

use super::overlay::{Overlay, Records};
use super::view::{Base, View};
use super::{Buffer, Starter};
use crate::layout;
use crate::tuning::map_read_options;

/// All that an instance held at one instant.
pub(crate) struct Frozen {
    view: View,
    starter: Starter,
}

impl Frozen {
    /// What the database holds of it.
    pub(crate) fn base(&self) -> &Arc<Base> {
        &self.view.base
    }

    /// A walk over all of it.
    pub(crate) fn walk(&self, options: ReadOptions) -> Result<Overlay<'_>> {
        self.starter.start();
        let mut overlay = Overlay::new(false);
        push_frozen(&mut overlay, &self.view);
        let mut below = self.view.base.iterator(options)?;
        below.seek_to_first();
        overlay.set_below(below);
        Ok(overlay)
    }
}

fn push_frozen<'a>(overlay: &mut Overlay<'a>, view: &'a View) {
    for generation in &view.unlanded {
        overlay.push(generation, Records::Borrowed(generation.sorted()));
    }
}

impl Buffer {
    /// Freezes what there is now, and returns it.
    pub(crate) fn freeze_all(&mut self) -> Frozen {
        self.catch_up();
        self.freeze(None);
        let view = View { landed: Vec::new(), ..self.view.clone() };
        Frozen { view, starter: self.starter() }
    }

    /// A walk over the keys of all that is there.
    pub(crate) fn walk_keys(&mut self, options: ReadOptions) -> Result<Overlay<'_>> {
        self.catch_up();
        let mut overlay = Overlay::new(true);
        overlay.push(&self.active, Records::Owned(self.active.sort(), 0));
        push_frozen(&mut overlay, &self.view);
        overlay.set_below(self.view.base.iterator(options)?);
        Ok(overlay)
    }

    /// A walk over a map, behind the user key `after` if there is one.
    pub(crate) fn walk_map(&mut self, entry: &[u8], after: Option<&[u8]>) -> Result<Overlay<'_>> {
        self.catch_up();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut overlay = Overlay::new(false);
        let frozen = self.view.unlanded.iter().map(|generation| &**generation);
        for generation in core::iter::once(&self.active).chain(frozen) {
            let (records, is_cleared) = generation.map(entry, from);
            overlay.push(generation, Records::Map(records.peekable()));
            if is_cleared {
                return Ok(overlay);
            }
        }
        let mut end = entry.to_vec();
        layout::to_end_of_entry(&mut end);
        let mut start = entry.to_vec();
        if let Some(after) = after {
            start.extend_from_slice(after);
            start.push(0);
        }
        let mut below = self.view.base.iterator(map_read_options(&end))?;
        below.seek(start);
        overlay.set_below(below);
        Ok(overlay)
    }
}
