//! Writing a full snapshot file, streaming: one block and the index are in memory.

use core::cmp::Ordering;

use millpond_state::{EntrySink, KeyGroup, SnapshotEntry, StateDescriptor, StateError};

use crate::error::{Result, SnapshotError};
use crate::frame::{BlockKind, BlockWriter, FOOTER_BYTES, FileKind, Footer, file_header};
use crate::full::entry::{ChangeKind, EntryRules, Tail, compare, encode_into, encoded_bytes_max};
use crate::full::index::encode_index;
use crate::full::schema::encode_schema;
use crate::full::{Compression, FullOptions, FullSummary, KeyGroupSummary, summarize_states};
use crate::io::ByteSink;

const BLOCK_BYTES_LIMIT: usize = 64 * 1024 * 1024;

/// Writes one full snapshot file to a [`ByteSink`].
///
/// Call [`EntrySink::begin`] once, [`EntrySink::entry`] for each entry in canonical order, then
/// [`Self::finish`]. After an error the file is unusable and every further call fails. Dropping a
/// writer abandons the file. `Send` if its sink is.
pub struct FullWriter<W> {
    kind: FileKind,
    blocks: BlockWriter<W>,
    block_bytes: usize,
    states: Option<Schema>,
    /// The block being filled.
    raw: Vec<u8>,
    raw_entries: u32,
    /// The last entry; its parts are in the block being filled.
    tail: Option<Tail>,
    groups: Vec<KeyGroupSummary>,
    failed: bool,
}

struct Schema {
    descriptors: Vec<StateDescriptor>,
    rules: EntryRules,
    file_bytes: u64,
}

impl<W: ByteSink> FullWriter<W> {
    /// A writer of a new file. Nothing is written before [`EntrySink::begin`].
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::SnapshotErrorKind::InvalidArgument) if `options` are out of their
    /// bounds.
    pub fn create(sink: W, options: FullOptions) -> Result<Self> {
        Self::create_kind(FileKind::Full, sink, options)
    }

    pub(crate) fn create_kind(kind: FileKind, sink: W, options: FullOptions) -> Result<Self> {
        if !(1..=BLOCK_BYTES_LIMIT).contains(&options.block_bytes) {
            return Err(SnapshotError::invalid(format!(
                "block_bytes must be 1 to {BLOCK_BYTES_LIMIT}, not {}",
                options.block_bytes
            )));
        }
        let level = match options.compression {
            Compression::None => None,
            Compression::Zstd { level } => {
                let range = zstd::compression_level_range();
                Some(level.clamp(*range.start(), *range.end()))
            }
        };
        Ok(Self {
            kind,
            blocks: BlockWriter::new(sink, level)?,
            block_bytes: options.block_bytes,
            states: None,
            raw: Vec::new(),
            raw_entries: 0,
            tail: None,
            groups: Vec::new(),
            failed: false,
        })
    }

    /// Writes what is left and ends the file.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::SnapshotErrorKind::InvalidArgument) if the snapshot was never
    /// begun or an earlier call failed; what the sink reports.
    pub fn finish(mut self) -> Result<FullSummary> {
        self.check_usable()?;
        self.flush_block()?;
        let Some(schema) = self.states.take() else {
            return Err(SnapshotError::invalid("finish of a snapshot that was never begun"));
        };
        let index = encode_index(&self.groups);
        let index_offset = self.blocks.offset();
        let count = self.groups.len() as u32;
        let index_bytes = self.blocks.write_block(BlockKind::Index, None, count, &index)?;
        let total = |of: fn(&KeyGroupSummary) -> u64| self.groups.iter().map(of).sum::<u64>();
        let footer = Footer {
            index_offset,
            index_bytes: index_bytes as u32,
            schema_bytes: schema.file_bytes as u32,
            entries: total(|group| group.entries),
            raw_bytes: total(|group| group.raw_bytes),
            blocks: total(|group| group.blocks),
            file_bytes: index_offset + index_bytes + FOOTER_BYTES as u64,
        };
        self.blocks.write_plain(&footer.encode(self.kind))?;
        Ok(FullSummary {
            bytes: footer.file_bytes,
            raw_bytes: footer.raw_bytes,
            entries: footer.entries,
            crc32: self.blocks.crc32(),
            states: summarize_states(&schema.descriptors, &self.groups),
            key_groups: self.groups,
        })
    }

    fn start(&mut self, states: &[StateDescriptor]) -> Result<()> {
        if self.states.is_some() {
            return Err(SnapshotError::invalid("a snapshot is begun once"));
        }
        let schema = encode_schema(states)?;
        self.blocks.write_plain(&file_header(self.kind))?;
        let count = states.len() as u32;
        let file_bytes = self.blocks.write_block(BlockKind::Schema, None, count, &schema)?;
        self.states = Some(Schema {
            descriptors: states.to_vec(),
            rules: EntryRules::new(self.kind, states),
            file_bytes,
        });
        Ok(())
    }

    fn add(&mut self, entry: &SnapshotEntry<'_>, change: ChangeKind) -> Result<()> {
        let Some(schema) = &self.states else {
            return Err(SnapshotError::invalid("an entry before the snapshot was begun"));
        };
        schema.rules.check(entry, change).map_err(|error| error.in_key_group(entry.group))?;
        let mut shared = 0;
        let mut new_group = true;
        if let Some(tail) = &self.tail {
            let found = match tail.group.cmp(&entry.group) {
                Ordering::Less => Some(0),
                Ordering::Equal => compare(tail, &self.raw, (entry, change)),
                Ordering::Greater => None,
            };
            shared = found.ok_or_else(|| out_of_order(entry))?;
            new_group = tail.group != entry.group;
        }
        let full = self.raw.len() + encoded_bytes_max(entry) > self.block_bytes;
        if new_group || full {
            self.flush_block()?;
            shared = 0;
        }
        if new_group {
            self.groups.push(empty_group(entry.group, self.blocks.offset()));
        }
        self.tail = Some(encode_into((entry, change), self.tail.as_ref(), shared, &mut self.raw));
        self.raw_entries += 1;
        count_entry(self.groups.last_mut(), entry.state);
        Ok(())
    }

    /// Writes the block that is being filled, if it has entries.
    fn flush_block(&mut self) -> Result<()> {
        let Some(group) = self.groups.last_mut() else {
            return Ok(());
        };
        if self.raw_entries == 0 {
            return Ok(());
        }
        let written = self.blocks.write_block(
            BlockKind::Entries,
            Some(group.group),
            self.raw_entries,
            &self.raw,
        )?;
        group.file_bytes += written;
        group.raw_bytes += self.raw.len() as u64;
        group.blocks += 1;
        if self.raw.capacity() > 4 * self.block_bytes {
            self.raw = Vec::new();
        }
        self.raw.clear();
        self.raw_entries = 0;
        Ok(())
    }

    fn check_usable(&self) -> Result<()> {
        if self.failed {
            return Err(SnapshotError::invalid("an earlier write failed: the file is unusable"));
        }
        Ok(())
    }

    /// Remembers a failure, so that no later call goes on with a file that has a hole.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<(), StateError> {
        self.check_usable()?;
        step(self).map_err(|error| {
            self.failed = true;
            StateError::from(error)
        })
    }
}

impl<W: ByteSink> FullWriter<W> {
    pub(crate) fn change(
        &mut self,
        entry: &SnapshotEntry<'_>,
        change: ChangeKind,
    ) -> Result<(), StateError> {
        self.guarded(|writer| writer.add(entry, change))
    }
}

impl<W: ByteSink> EntrySink for FullWriter<W> {
    fn begin(&mut self, states: &[StateDescriptor]) -> Result<(), StateError> {
        self.guarded(|writer| writer.start(states))
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<(), StateError> {
        self.guarded(|writer| writer.add(entry, ChangeKind::Put))
    }
}

#[cold]
fn out_of_order(entry: &SnapshotEntry<'_>) -> SnapshotError {
    SnapshotError::invalid(
        "entries must come in ascending order of key group, state, key, namespace and user key, \
         each once",
    )
    .in_key_group(entry.group)
}

fn empty_group(group: KeyGroup, offset: u64) -> KeyGroupSummary {
    KeyGroupSummary {
        group,
        offset,
        file_bytes: 0,
        raw_bytes: 0,
        blocks: 0,
        entries: 0,
        state_entries: Vec::new(),
    }
}

fn count_entry(group: Option<&mut KeyGroupSummary>, state: u16) {
    let Some(group) = group else { return };
    group.entries += 1;
    match group.state_entries.last_mut() {
        Some((last, count)) if *last == state => *count += 1,
        _ => group.state_entries.push((state, 1)),
    }
}
