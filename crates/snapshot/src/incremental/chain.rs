//! Reading a base and its deltas as if they were one full snapshot.

use core::cmp::Ordering;

use millpond_state::{
    EntrySource, KeyGroup, KeyGroupRange, Result as StateResult, SnapshotEntry, StateDescriptor,
    StateError,
};

use crate::bytes::{ByteReader, put_varint};
use crate::error::{Result, SnapshotError};
use crate::frame::FileKind;
use crate::full::{ChangeKind, FullEntries, FullReader};
use crate::io::ByteSource;
use crate::metadata::IncrementalHandle;

/// What metadata calls the backend of a chain's files. Whatever backend wrote them, any can restore
/// them.
pub const CHAIN_FORMAT: &str = "memory";

/// Most files of a chain: all of them are open while it is read.
pub const CHAIN_FILES_MAX: usize = 1_024;

/// What a file of a chain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainFileKind {
    /// A full snapshot: the first file.
    Base,
    /// What changed since the files before it.
    Delta,
}

impl ChainFileKind {
    const fn extension(self) -> &'static str {
        match self {
            Self::Base => "full",
            Self::Delta => "delta",
        }
    }
}

/// What a handle calls the file at `position` of a chain.
#[must_use]
pub fn chain_file_name(position: u32, kind: ChainFileKind) -> String {
    format!("{position}.{}", kind.extension())
}

/// The position and kind that [`chain_file_name`] made `name` of.
#[must_use]
pub fn parse_chain_file(name: &str) -> Option<(u32, ChainFileKind)> {
    let (position, extension) = name.split_once('.')?;
    let kind = match extension {
        "full" => ChainFileKind::Base,
        "delta" => ChainFileKind::Delta,
        _ => return None,
    };
    let position = position.parse().ok()?;
    (chain_file_name(position, kind) == name).then_some((position, kind))
}

/// The manifest of a chain: how many entries each state has, in the order of the handle's states.
#[must_use]
pub fn encode_chain_manifest(state_entries: &[u64]) -> Vec<u8> {
    let mut manifest = Vec::new();
    for entries in state_entries {
        put_varint(&mut manifest, *entries);
    }
    manifest
}

/// The entries of a state, from the manifest of a chain; 0 if the handle is none.
pub(crate) fn chain_state_entries(handle: &IncrementalHandle, state: &str) -> u64 {
    if handle.backend != CHAIN_FORMAT {
        return 0;
    }
    let mut reader = ByteReader::new(&handle.manifest);
    for known in &handle.states {
        match reader.varint() {
            Ok(entries) if known == state => return entries,
            Ok(_) => {}
            Err(_) => return 0,
        }
    }
    0
}

/// The open files of a chain.
pub struct ChainReader<R> {
    /// The base, then the deltas, oldest first.
    files: Vec<FullReader<R>>,
}

impl<R: ByteSource> ChainReader<R> {
    /// Opens the files of a handle, given with their names in any order: reads their schemas and
    /// indexes, no entries.
    ///
    /// # Errors
    /// [`Corrupt`](crate::SnapshotErrorKind::Corrupt) if a file is damaged, or the files make no
    /// chain; otherwise as [`FullReader::open`].
    pub fn open<'n>(files: impl IntoIterator<Item = (&'n str, R)>) -> Result<Self> {
        let mut placed = Vec::new();
        for (name, source) in files {
            let place = parse_chain_file(name).ok_or_else(|| no_chain(name))?;
            placed.push((place, name, source));
        }
        if placed.len() > CHAIN_FILES_MAX {
            return Err(SnapshotError::corrupt(format!(
                "a chain of {} files is longer than the limit {CHAIN_FILES_MAX}",
                placed.len()
            )));
        }
        placed.sort_by_key(|((position, _), ..)| *position);
        let mut readers: Vec<FullReader<R>> = Vec::with_capacity(placed.len());
        for (expected, ((position, kind), name, source)) in (0_u32..).zip(placed) {
            let is_base = kind == ChainFileKind::Base;
            if position != expected || is_base != (expected == 0) {
                return Err(no_chain(name));
            }
            let kind = if is_base { FileKind::Full } else { FileKind::Delta };
            let reader = FullReader::open_kind(kind, source)?;
            if let Some(before) = readers.last()
                && !reader.states().starts_with(before.states())
            {
                return Err(SnapshotError::corrupt(
                    "its states do not begin with those of the file before it in the chain",
                )
                .in_file(reader.source().name()));
            }
            readers.push(reader);
        }
        if readers.is_empty() {
            return Err(no_chain("nothing"));
        }
        Ok(Self { files: readers })
    }

    /// The states, which entries refer to by index.
    #[must_use]
    pub fn states(&self) -> &[StateDescriptor] {
        self.files.last().map_or(&[], FullReader::states)
    }

    /// Entries of each file, the base first; deletions count in deltas.
    pub fn file_entries(&self) -> impl Iterator<Item = u64> {
        self.files.iter().map(FullReader::entry_count)
    }

    /// The files as they were given, the base first.
    pub fn sources(&self) -> impl Iterator<Item = &R> {
        self.files.iter().map(FullReader::source)
    }

    /// The entries of the key groups in `range`, in canonical order, as of the newest file. One
    /// block of each file is in memory.
    #[must_use]
    pub fn entries(&self, range: KeyGroupRange) -> ChainEntries<'_, R> {
        let inputs = self.files.iter().map(|file| file.entries(range)).collect();
        ChainEntries {
            states: self.states(),
            inputs,
            heads: Vec::new(),
            winner: None,
            started: false,
            failed: false,
            deleted_map: DeletedMap::default(),
        }
    }
}

#[cold]
fn no_chain(name: &str) -> SnapshotError {
    SnapshotError::corrupt(format!(
        "the files are not a base and its deltas without a gap: {name:?} has no place"
    ))
}

/// The map that was last found to be deleted as a whole.
#[derive(Default)]
struct DeletedMap {
    at: Option<(KeyGroup, u16)>,
    key: Vec<u8>,
    namespace: Vec<u8>,
    /// The newest file that says so: entries of older files are gone.
    by: usize,
}

impl DeletedMap {
    fn is(&self, entry: &SnapshotEntry<'_>) -> bool {
        self.at == Some((entry.group, entry.state))
            && self.key == entry.key
            && self.namespace == entry.namespace
    }

    fn set(&mut self, entry: &SnapshotEntry<'_>, by: usize) {
        if self.is(entry) {
            self.by = self.by.max(by);
            return;
        }
        self.at = Some((entry.group, entry.state));
        self.key.clear();
        self.key.extend_from_slice(entry.key);
        self.namespace.clear();
        self.namespace.extend_from_slice(entry.namespace);
        self.by = by;
    }
}

/// The entries of a range of key groups of one [`ChainReader`], merged: of each address the newest
/// file that has it decides.
pub struct ChainEntries<'r, R> {
    states: &'r [StateDescriptor],
    inputs: Vec<FullEntries<'r, R>>,
    /// A binary heap of the inputs that have a head: least address first, newest file first.
    heads: Vec<usize>,
    /// The input, not among the heads, whose head was handed out.
    winner: Option<usize>,
    started: bool,
    failed: bool,
    deleted_map: DeletedMap,
}

impl<R: ByteSource> ChainEntries<'_, R> {
    fn head(&self, input: usize) -> Option<(SnapshotEntry<'_>, ChangeKind)> {
        self.inputs.get(input)?.current()
    }

    /// Compares the heads of two inputs by address.
    fn compare(&self, a: usize, b: usize) -> Ordering {
        match (self.head(a), self.head(b)) {
            (Some((a, a_change)), Some((b, b_change))) => a
                .group
                .cmp(&b.group)
                .then_with(|| a.state.cmp(&b.state))
                .then_with(|| a.key.cmp(b.key))
                .then_with(|| a.namespace.cmp(b.namespace))
                .then_with(|| {
                    let whole = |change| change != ChangeKind::MapDeleted;
                    whole(a_change).cmp(&whole(b_change))
                })
                .then_with(|| a.user_key.cmp(b.user_key)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        self.compare(a, b).then(b.cmp(&a)) == Ordering::Less
    }

    /// Reads the next entry of `input`, which is not among the heads, and puts it there unless it
    /// has ended.
    fn advance(&mut self, input: usize) -> StateResult<()> {
        let Some(entries) = self.inputs.get_mut(input) else { return Ok(()) };
        if entries.next_change()?.is_none() {
            return Ok(());
        }
        let mut at = self.heads.len();
        self.heads.push(input);
        while at > 0 {
            let parent = (at - 1) / 2;
            let Some(above) = self.heads.get(parent) else { break };
            if !self.is_before(input, *above) {
                break;
            }
            self.heads.swap(at, parent);
            at = parent;
        }
        Ok(())
    }

    /// Takes the input with the least head out of the heads.
    fn take_least(&mut self) -> Option<usize> {
        let least = *self.heads.first()?;
        self.heads.swap_remove(0);
        let mut at = 0;
        while let Some(own) = self.heads.get(at) {
            let children = [2 * at + 1, 2 * at + 2];
            let mut first = (at, *own);
            for child in children {
                if let Some(input) = self.heads.get(child)
                    && self.is_before(*input, first.1)
                {
                    first = (child, *input);
                }
            }
            if first.0 == at {
                break;
            }
            self.heads.swap(at, first.0);
            at = first.0;
        }
        Some(least)
    }

    /// Finds the next entry that is there; false at the end.
    fn find_next(&mut self) -> StateResult<bool> {
        if !self.started {
            self.started = true;
            (0..self.inputs.len()).try_for_each(|input| self.advance(input))?;
        }
        if let Some(winner) = self.winner.take() {
            self.advance(winner)?;
        }
        while let Some(newest) = self.take_least() {
            while let Some(older) = self.heads.first().copied()
                && self.compare(newest, older) == Ordering::Equal
            {
                self.take_least();
                self.advance(older)?;
            }
            let mut deleted_map = core::mem::take(&mut self.deleted_map);
            let is_there = match self.head(newest) {
                Some((entry, ChangeKind::MapDeleted)) => {
                    deleted_map.set(&entry, newest);
                    false
                }
                Some((entry, ChangeKind::Put)) => {
                    !(newest < deleted_map.by && deleted_map.is(&entry))
                }
                _ => false,
            };
            self.deleted_map = deleted_map;
            if is_there {
                self.winner = Some(newest);
                return Ok(true);
            }
            self.advance(newest)?;
        }
        Ok(false)
    }
}

impl<R: ByteSource> EntrySource for ChainEntries<'_, R> {
    fn states(&self) -> &[StateDescriptor] {
        self.states
    }

    fn next_entry(&mut self) -> StateResult<Option<SnapshotEntry<'_>>> {
        if self.failed {
            return Err(StateError::from(SnapshotError::corrupt(
                "an earlier read of the chain failed",
            )));
        }
        match self.find_next() {
            Ok(true) => Ok(self.winner.and_then(|winner| self.head(winner)).map(|(it, _)| it)),
            Ok(false) => Ok(None),
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        }
    }
}
