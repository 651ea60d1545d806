//! Removes what a database holds of foreign key groups, for good.
//!
//! The foreign ranges are deleted, and the files that have anything of them compacted until none
//! has: range tombstones must not stay, since a later owner of those key groups would import them.

use millpond_state::{KeyGroupRange, Result};
use rocksdb::{BottommostLevelCompaction, CompactOptions, FlushOptions, WriteOptions};

use super::sst::SstFile;
use super::sys;
use crate::error::rocksdb_error;
use crate::layout;
use crate::store::Store;

/// Leaves in `store` only entries of `groups`. Tells whether no file reaches beyond them any more.
pub(super) fn clip(store: &Store, groups: KeyGroupRange) -> Result<bool> {
    let (start, end) = layout::bounds(groups);
    // What is in the memtable is in no file's bounds.
    flush(store)?;
    let foreign = crossing(store, groups)?;
    let least = foreign.iter().map(|file| &file.smallest).min();
    let greatest = foreign.iter().map(|file| &file.largest).max();
    let (Some(least), Some(greatest)) = (least, greatest) else { return Ok(true) };
    // Each range in a flush of its own: one file of both would reach over all between.
    if *least < start {
        delete(store, least, &start)?;
    }
    if *greatest >= end {
        let mut behind = greatest.clone();
        behind.push(0);
        delete(store, &end, &behind)?;
    }
    // Tombstones go only on the last level that the compacted files reach to: the second round is
    // over all that these overlap.
    for _ in 0..2 {
        for file in crossing(store, groups)? {
            compact(store, Some(&file.smallest), Some(&file.largest))?;
        }
        if crossing(store, groups)?.is_empty() {
            return Ok(true);
        }
    }
    compact(store, None, None)?;
    Ok(crossing(store, groups)?.is_empty())
}

/// The files that reach beyond `groups`.
fn crossing(store: &Store, groups: KeyGroupRange) -> Result<Vec<SstFile>> {
    let mut files = sys::live_files(store.db(), store.family_name())?;
    let (start, end) = layout::bounds(groups);
    // A deleted range may end where the groups do, and is not foreign for that.
    files.retain(|file| file.smallest < start || file.largest > end);
    Ok(files)
}

/// Deletes a range, and writes that out.
fn delete(store: &Store, from: &[u8], to: &[u8]) -> Result<()> {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    let family = store.family()?;
    store
        .db()
        .delete_range_cf_opt(family, from, to, &options)
        .map_err(|error| rocksdb_error("delete foreign key groups", error))?;
    flush(store)
}

fn flush(store: &Store) -> Result<()> {
    let flushed = store.db().flush_cf_opt(store.family()?, &FlushOptions::default());
    flushed.map_err(|error| rocksdb_error("write the memtable out", error))
}

fn compact(store: &Store, from: Option<&[u8]>, to: Option<&[u8]>) -> Result<()> {
    let mut options = CompactOptions::default();
    options.set_exclusive_manual_compaction(false);
    options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
    store.db().compact_range_cf_opt(store.family()?, from, to, &options);
    Ok(())
}

#[cfg(test)]
mod tests;
