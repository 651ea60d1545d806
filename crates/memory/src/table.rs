//! One registered state: a [`LinearTable`] for each key group.

use millpond_state::{
    ErrorKind, KeyGroup, KeyGroupRange, Result, StateDescriptor, StateError, StateId, StateRegistry,
};

use crate::env::Env;
use crate::linear_table::LinearTable;

/// The entries of one state. Holds no memory until the first write.
#[derive(Debug)]
pub(crate) struct Table {
    /// By distance from the first key group; empty until the first write.
    groups: Vec<LinearTable>,
    first: usize,
    count: usize,
    mode: Mode,
}

/// How a table's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// As values in one piece.
    Plain,
    /// As values, perhaps in pieces, because something was appended.
    Appended,
    /// As maps.
    Map,
}

impl Table {
    /// The empty table of a state.
    pub(crate) fn new(descriptor: &StateDescriptor, key_groups: KeyGroupRange) -> Self {
        Self {
            groups: Vec::new(),
            first: key_groups.first().index(),
            count: key_groups.count(),
            mode: if descriptor.kind().is_map() { Mode::Map } else { Mode::Plain },
        }
    }

    /// Whether no value is in pieces, and none is a map.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.mode == Mode::Plain
    }

    /// Whether values may be in pieces.
    pub(crate) fn may_scatter(&self) -> bool {
        self.mode == Mode::Appended
    }

    /// Notes that values are appended to.
    pub(crate) fn set_appended(&mut self) {
        debug_assert!(!self.is_map());
        self.mode = Mode::Appended;
    }

    /// The table of a key group; `None` if nothing was written yet.
    #[inline]
    pub(crate) fn group(&self, group: KeyGroup) -> Result<Option<&LinearTable>> {
        let index = group.index().wrapping_sub(self.first);
        match self.groups.get(index) {
            Some(table) => Ok(Some(table)),
            None => self.check_index(index, group).map(|()| None),
        }
    }

    /// The table of a key group, if there is one.
    #[inline]
    pub(crate) fn group_if(&self, group: KeyGroup) -> Option<&LinearTable> {
        self.groups.get(group.index().wrapping_sub(self.first))
    }

    /// Whether the state is a map.
    #[inline]
    pub(crate) fn is_map(&self) -> bool {
        self.mode == Mode::Map
    }

    /// The table of a key group, for writing.
    #[inline]
    pub(crate) fn group_mut(&mut self, group: KeyGroup, env: &mut Env) -> Result<&mut LinearTable> {
        let index = group.index().wrapping_sub(self.first);
        if index >= self.groups.len() {
            self.check_index(index, group)?;
            self.allocate(env)?;
        }
        let (first, count) = (self.first, self.count);
        self.groups.get_mut(index).ok_or_else(|| outside(group, first, count))
    }

    #[cold]
    fn allocate(&mut self, env: &mut Env) -> Result<()> {
        let bytes = self.count * size_of::<LinearTable>();
        env.admit(bytes)?;
        self.groups.resize_with(self.count, LinearTable::default);
        env.account(0, bytes);
        Ok(())
    }

    #[cold]
    fn check_index(&self, index: usize, group: KeyGroup) -> Result<()> {
        if index < self.count { Ok(()) } else { Err(outside(group, self.first, self.count)) }
    }

    /// The key groups that have tables, ascending.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (KeyGroup, &LinearTable)> {
        let first = self.first;
        self.groups.iter().enumerate().map(move |(i, t)| (KeyGroup::new((first + i) as u16), t))
    }

    /// The table at this distance from the first key group.
    pub(crate) fn nth_mut(&mut self, index: usize) -> Option<&mut LinearTable> {
        self.groups.get_mut(index)
    }
}

/// The table of `state`, which must be a map (`map`) or not be one.
#[inline]
pub(crate) fn table<'t>(
    tables: &'t [Table],
    registry: &StateRegistry,
    state: StateId,
    map: bool,
) -> Result<&'t Table> {
    match tables.get(state.index()) {
        Some(table) if table.is_map() == map => Ok(table),
        _ => Err(wrong_state(registry, state, map)),
    }
}

/// As [`table`], for writing.
#[inline]
pub(crate) fn table_mut<'t>(
    tables: &'t mut [Table],
    registry: &StateRegistry,
    state: StateId,
    map: bool,
) -> Result<&'t mut Table> {
    match tables.get_mut(state.index()) {
        Some(table) if table.is_map() == map => Ok(table),
        _ => Err(wrong_state(registry, state, map)),
    }
}

#[cold]
fn wrong_state(registry: &StateRegistry, state: StateId, map: bool) -> StateError {
    let error = registry.check_map(state, map).err();
    error.unwrap_or_else(|| {
        StateError::new(ErrorKind::InvalidArgument, format!("{state} has no table"))
    })
}

#[cold]
fn outside(group: KeyGroup, first: usize, count: usize) -> StateError {
    StateError::new(
        ErrorKind::InvalidArgument,
        format!(
            "key group {group} is outside the range {first}..={} of this backend: the record was \
             routed to the wrong subtask",
            first + count - 1
        ),
    )
}
