//! Generations over the database, in the order of keys, as if they were one.
//!
//! # Invariants
//! - Layers come newest first. Of one key the newest layer counts that says something whole; what
//!   newer layers append comes behind it.
//! - A map that a layer cleared hides that map in all older ones. The record that says so comes
//!   before the map's user keys.

use core::cmp::Ordering;
use core::iter::Peekable;

use millpond_state::Result;
use rocksdb::DBRawIterator;

use super::generation::Generation;
use super::maps::MapRecords;
use super::record::{Kind, Record};
use crate::store::check_ended;

/// Records of one generation, by key.
pub(crate) enum Records<'a> {
    /// Addresses that were sorted for this walk.
    Owned(Vec<u32>, usize),
    /// Addresses that are kept sorted.
    Borrowed(&'a [u32]),
    /// User keys of one map.
    Map(Peekable<MapRecords<'a>>),
}

impl Records<'_> {
    fn peek(&mut self) -> Option<u32> {
        match self {
            Self::Owned(records, next) => records.get(*next).copied(),
            Self::Borrowed(records) => records.first().copied(),
            Self::Map(records) => records.peek().copied(),
        }
    }

    fn pass(&mut self, count: usize) {
        match self {
            Self::Owned(_, next) => *next += count,
            Self::Borrowed(records) => *records = records.get(count..).unwrap_or_default(),
            Self::Map(records) => {
                records.next();
            }
        }
    }

    /// Those that are left; none of a map.
    fn rest(&self) -> &[u32] {
        match self {
            Self::Owned(records, next) => records.get(*next..).unwrap_or_default(),
            Self::Borrowed(records) => records,
            Self::Map(_) => &[],
        }
    }
}

struct Layer<'a> {
    generation: &'a Generation,
    records: Records<'a>,
    /// The next record that matters.
    next: Option<Record<'a>>,
}

impl Layer<'_> {
    fn advance(&mut self) {
        self.records.pass(1);
        self.settle();
    }

    /// Passes user keys that the map's layers below have as well.
    fn settle(&mut self) {
        let generation = self.generation;
        loop {
            self.next = self.records.peek().map(|at| generation.record(at));
            if self.next.is_none_or(|record| record.is_dirty()) {
                return;
            }
            self.records.pass(1);
        }
    }

    fn seek(&mut self, key: &[u8]) {
        let generation = self.generation;
        let passed =
            self.records.rest().partition_point(|at| generation.position(*at) < (key, false));
        self.records.pass(passed);
        self.settle();
    }
}

/// A walk over layers and the database.
pub(crate) struct Overlay<'a> {
    layers: Vec<Layer<'a>>,
    below: Option<DBRawIterator<'a>>,
    /// A cleared map, and the layer that cleared it.
    cleared: Option<(Vec<u8>, usize)>,
    /// Whether nobody wants values.
    keys_only: bool,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<'a> Overlay<'a> {
    /// A walk over what is added, from its start.
    pub(crate) const fn new(keys_only: bool) -> Self {
        Self {
            layers: Vec::new(),
            below: None,
            cleared: None,
            keys_only,
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Adds a generation that is older than those before.
    pub(crate) fn push(&mut self, generation: &'a Generation, records: Records<'a>) {
        let mut layer = Layer { generation, records, next: None };
        layer.settle();
        self.layers.push(layer);
    }

    /// Sets what lies below the generations, or what takes its place; it stands where the walk goes
    /// on.
    pub(crate) fn set_below(&mut self, below: DBRawIterator<'a>) {
        self.below = Some(below);
    }

    /// Goes forward to `key`, which is not amid a map.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        for layer in &mut self.layers {
            layer.seek(key);
        }
        if let Some(below) = &mut self.below {
            below.seek(key);
        }
    }

    /// Where the walk over the database is.
    pub(crate) fn below_key(&self) -> Option<&[u8]> {
        self.below.as_ref().and_then(|below| below.key())
    }

    /// The key that [`Self::advance`] moved to; `None` at the end.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        // No key is empty.
        (!self.key.is_empty()).then_some(&self.key)
    }

    /// The entry that [`Self::advance`] moved to.
    pub(crate) fn entry(&self) -> (&[u8], &[u8]) {
        (&self.key, &self.value)
    }

    /// Moves to the next entry; tells if there is one.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        loop {
            let Some(least) = self.least() else {
                self.key.clear();
                return self.below.as_ref().map_or(Ok(()), check_ended).map(|()| false);
            };
            if let Some(layer) = self.layers.get_mut(least)
                && let Some(record) = layer.next.filter(|record| record.kind == Kind::Map)
            {
                layer.advance();
                self.hide(record.key, least);
            } else if self.take(least) {
                return Ok(true);
            }
        }
    }

    /// The layer with the least key; the number of layers stands for what is below.
    fn least(&self) -> Option<usize> {
        let below = self.below_key();
        let mut least = below.map(|key| ((key, true), self.layers.len()));
        for (rank, layer) in self.layers.iter().enumerate().rev() {
            let Some(record) = &layer.next else { continue };
            let position = (record.key, record.kind != Kind::Map);
            if least.is_none_or(|(least, _)| position.cmp(&least) != Ordering::Greater) {
                least = Some((position, rank));
            }
        }
        least.map(|(_, rank)| rank)
    }

    fn hide(&mut self, entry: &[u8], rank: usize) {
        match &mut self.cleared {
            Some((cleared, by)) if cleared == entry => *by = rank.min(*by),
            Some((cleared, by)) => {
                cleared.clear();
                cleared.extend_from_slice(entry);
                *by = rank;
            }
            None => self.cleared = Some((entry.to_vec(), rank)),
        }
    }

    /// Puts together what the layers from `first` on say of its key, and passes that key. Tells if
    /// there is an entry.
    fn take(&mut self, first: usize) -> bool {
        let Self { layers, below, cleared, keys_only, key, value } = self;
        let next = layers.get(first).and_then(|layer| layer.next).map(|record| record.key);
        let found = next.or_else(|| below.as_ref().and_then(|below| below.key()));
        key.clear();
        key.extend_from_slice(found.unwrap_or_default());
        let hidden = cleared.as_ref().filter(|(entry, _)| key.starts_with(entry));
        let visible = hidden.map_or(layers.len() + 1, |(_, rank)| rank + 1);
        let (mut whole, mut operands) = (None, Vec::new());
        for (rank, layer) in layers.iter_mut().enumerate().skip(first) {
            let here = |record: &Record<'_>| record.key == &key[..] && record.kind != Kind::Map;
            let Some(record) = layer.next.filter(here) else { continue };
            if whole.is_none() && rank < visible {
                match record.kind {
                    Kind::Append => operands.push(record.value),
                    Kind::Delete => whole = Some(None),
                    _ => whole = Some(Some(record.value)),
                }
            }
            layer.advance();
        }
        value.clear();
        if let Some(below) = below.as_mut().filter(|below| below.key() == Some(&key[..])) {
            if whole.is_none() && visible > layers.len() {
                whole = Some(Some(&[]));
                if !*keys_only {
                    value.extend_from_slice(below.value().unwrap_or_default());
                }
            }
            below.next();
        }
        if !*keys_only {
            value.extend_from_slice(whole.flatten().unwrap_or_default());
            operands.iter().rev().for_each(|operand| value.extend_from_slice(operand));
        }
        whole.flatten().is_some() || !operands.is_empty()
    }
}
