//! How frozen generations get into the database: sorted, written as SST files, taken over at once.
//!
//! A landing that fails has changed nothing.

use core::cmp::Ordering::{Equal, Greater, Less};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use millpond_state::Result;
use rocksdb::DBRawIterator;

use super::generation::Generation;
use super::queue::Landing;
use super::record::{Kind, Record};
use crate::layout;
use crate::sorted_files::SortedFiles;
use crate::store::{Store, check_ended};
use crate::tuning::map_read_options;

/// Records written between two looks at whether they are still wanted.
const CHECK_RECORDS: usize = 1_024;

/// How many records before its turn a record is asked for: their order is not that of memory.
const PREFETCH_AHEAD: usize = 16;

/// Generations that are kept for reading after they have landed, if memory has room for so many: a
/// look costs a cache miss in each of them, which a read of the database costs many times over.
pub(super) const LANDED_KEPT: usize = 8;

/// Files of the first level from which on a landing waits for a compaction: each is one more that
/// reads look into.
const FIRST_LEVEL_FILES_MAX: u64 = 40;

/// How long a landing waits for a compaction, at most so many times.
const COMPACTION_WAIT: Duration = Duration::from_millis(5);
const COMPACTION_WAITS_MAX: u32 = 400;

/// Bytes that are read at once to warm the system's cache.
const WARM_BYTES: usize = 256 << 10;

impl Landing {
    /// Writes a generation out and has the database take it over.
    pub(super) fn land(&self, generation: &Generation, store: &Store) -> Result<()> {
        if !generation.is_dirty() {
            return Ok(());
        }
        let mut files = SortedFiles::new(store, "landing");
        self.write(generation, store, &mut files)?;
        let written = files.finish()?;
        warm(written);
        let count = written.len();
        self.wait_for_compactions(store)?;
        files.take_over()?;
        self.note_taken_over(count, generation.bytes());
        self.note_first_level(store.first_level_files());
        Ok(())
    }

    /// Looks how far compactions have come.
    pub(super) fn look_at_first_level(&self) {
        if let Some(store) = self.store() {
            self.note_first_level(store.first_level_files());
        }
    }

    /// Writes what the generation changed.
    fn write(
        &self,
        generation: &Generation,
        store: &Store,
        files: &mut SortedFiles<'_>,
    ) -> Result<()> {
        let sorted = generation.sorted();
        let bytes_each = generation.bytes() / sorted.len().max(1);
        let mut left = sorted;
        while let Some((at, rest)) = left.split_first() {
            if left.len().is_multiple_of(CHECK_RECORDS) {
                self.check_wanted()?;
                let written = (sorted.len() - left.len()) * bytes_each;
                self.note_written(written);
            }
            left = rest;
            if let Some(ahead) = left.get(PREFETCH_AHEAD) {
                generation.prefetch_record(*ahead);
            }
            let record = generation.record(*at);
            if record.kind == Kind::Map {
                let own =
                    left.partition_point(|at| generation.position(*at).0.starts_with(record.key));
                let (own, others) = left.split_at_checked(own).unwrap_or((left, &[]));
                left = others;
                let mut below = map_iterator(store, record.key)?;
                self.write_cleared_map(
                    own.iter().map(|at| generation.record(*at)),
                    &mut below,
                    files,
                )?;
            } else {
                write_record(&record, files)?;
            }
        }
        Ok(())
    }

    /// Writes deletions of all that the database has of a map, among what the generation has of it
    /// since.
    fn write_cleared_map<'a>(
        &self,
        own: impl Iterator<Item = Record<'a>>,
        below: &mut DBRawIterator<'_>,
        files: &mut SortedFiles<'_>,
    ) -> Result<()> {
        for record in own {
            self.delete_to(Some(record.key), below, files)?;
            write_record(&record, files)?;
        }
        self.delete_to(None, below, files)
    }

    /// Writes deletions of what is below up to `key`, and passes that.
    fn delete_to(
        &self,
        key: Option<&[u8]>,
        below: &mut DBRawIterator<'_>,
        files: &mut SortedFiles<'_>,
    ) -> Result<()> {
        let mut count = 0usize;
        while let Some(found) = below.key() {
            match key.map_or(Less, |key| found.cmp(key)) {
                Less => files.delete(found)?,
                Equal => {}
                Greater => return Ok(()),
            }
            below.next();
            count += 1;
            if count.is_multiple_of(CHECK_RECORDS) {
                self.check_wanted()?;
            }
        }
        check_ended(below)
    }

    /// Gives compactions time when they have fallen behind.
    fn wait_for_compactions(&self, store: &Store) -> Result<()> {
        for _ in 0..COMPACTION_WAITS_MAX {
            let files = store.first_level_files();
            self.note_first_level(files);
            if files < FIRST_LEVEL_FILES_MAX {
                break;
            }
            self.check_wanted()?;
            std::thread::sleep(COMPACTION_WAIT);
        }
        Ok(())
    }
}

fn map_iterator<'s>(store: &'s Store, entry: &[u8]) -> Result<DBRawIterator<'s>> {
    let mut end = entry.to_vec();
    layout::to_end_of_entry(&mut end);
    let mut iterator = store.iterator(map_read_options(&end))?;
    iterator.seek(entry);
    Ok(iterator)
}

fn write_record(record: &Record<'_>, files: &mut SortedFiles<'_>) -> Result<()> {
    match record.kind {
        Kind::Put => files.put(record.key, record.value),
        Kind::Delete => files.delete(record.key),
        Kind::Append => files.merge(record.key, record.value),
        Kind::Cached => {
            files.merge(record.key, record.value.get(record.base..).unwrap_or_default())
        }
        Kind::Map | Kind::End | Kind::Dead => Ok(()),
    }
}

/// Reads files once: what wrote them has evicted them from the system's cache, and what was just
/// written is what is read most.
fn warm(files: &[PathBuf]) {
    let mut buffer = vec![0; WARM_BYTES];
    for file in files {
        // Reads that fail here fail again, and are told of, where the bytes are needed.
        let Ok(mut file) = File::open(file) else { continue };
        while file.read(&mut buffer).is_ok_and(|read| read > 0) {}
    }
}
