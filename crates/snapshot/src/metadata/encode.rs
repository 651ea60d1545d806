//! Metadata to bytes. Expects metadata that `validate` has passed.

use millpond_state::{KeyGroupRange, OperatorStatePart};

use crate::bytes::{put_bytes, put_varint};
use crate::error::Result;
use crate::full::{encode_codec, encode_descriptor};
use crate::metadata::field::{FieldWriter, too_large};
use crate::metadata::{
    CheckpointMetadata, FileHandle, FileScope, FullHandle, KeyedStateHandle, METADATA_BYTES_MAX,
    SubtaskMetadata, VertexMetadata, incremental, tag,
};
use crate::version::{METADATA_MAGIC, MetadataVersion};

pub(super) fn encode(metadata: &CheckpointMetadata) -> Result<Vec<u8>> {
    let mut writer = FieldWriter::default();
    writer.out.extend_from_slice(&METADATA_MAGIC);
    writer.out.extend_from_slice(&MetadataVersion::CURRENT.number().to_le_bytes());
    writer.out.extend_from_slice(&0u16.to_le_bytes());
    writer.out.extend_from_slice(&0u32.to_le_bytes());
    let fields_start = writer.out.len();
    checkpoint(metadata, &mut writer)?;
    let mut out = writer.out;
    let file_bytes = out.len() + 4;
    if file_bytes > METADATA_BYTES_MAX {
        return Err(too_large());
    }
    if let Some(slot) = out.get_mut(fields_start - 4..fields_start) {
        slot.copy_from_slice(&(file_bytes as u32).to_le_bytes());
    }
    let crc32 = crc32fast::hash(&out);
    out.extend_from_slice(&crc32.to_le_bytes());
    Ok(out)
}

fn checkpoint(metadata: &CheckpointMetadata, writer: &mut FieldWriter) -> Result<()> {
    use tag::checkpoint as t;
    writer.text(t::JOB_NAME, &metadata.job_name);
    writer.text(t::JOB_KIND, &metadata.job_kind);
    writer.u64(t::ATTEMPT, metadata.attempt.get());
    writer.u64(t::CHECKPOINT, metadata.checkpoint.get());
    writer.u8(t::KIND, metadata.kind.code());
    writer.u64(t::TRIGGERED_AT_MS, metadata.triggered_at_ms);
    writer.u64(t::COMPLETED_AT_MS, metadata.completed_at_ms);
    writer.u64(t::DURATION_MS, metadata.duration_ms);
    writer.u8(t::MODE, metadata.mode.code());
    writer.text(t::STATE_BACKEND, &metadata.state_backend);
    writer.u32(t::MAX_PARALLELISM, metadata.max_parallelism.get());
    for each in &metadata.vertices {
        writer.nested(t::VERTEX, |writer| vertex(each, writer))?;
    }
    Ok(())
}

fn vertex(vertex: &VertexMetadata, writer: &mut FieldWriter) -> Result<()> {
    use tag::vertex as t;
    writer.text(t::NAME, &vertex.name);
    writer.u32(t::PARALLELISM, vertex.parallelism);
    writer.u32(t::MAX_PARALLELISM, vertex.max_parallelism.get());
    writer.u8(t::FINISHED, u8::from(vertex.finished));
    for state in &vertex.states {
        writer.nested(t::STATE, |writer| encode_descriptor(state, &mut writer.out))?;
    }
    for each in &vertex.subtasks {
        writer.nested(t::SUBTASK, |writer| subtask(each, writer))?;
    }
    Ok(())
}

fn subtask(subtask: &SubtaskMetadata, writer: &mut FieldWriter) -> Result<()> {
    use tag::subtask as t;
    writer.u32(t::INDEX, subtask.index.get());
    if let Some(range) = subtask.key_groups {
        writer.bytes(t::KEY_GROUPS, &range_bytes(range));
    }
    for handle in &subtask.keyed_state {
        writer.nested(t::KEYED_STATE, |writer| match handle {
            KeyedStateHandle::Full(handle) => {
                writer.nested(tag::keyed_state::FULL, |writer| full(handle, writer))
            }
            KeyedStateHandle::Incremental(handle) => writer
                .nested(tag::keyed_state::INCREMENTAL, |writer| {
                    incremental::encode(handle, writer)
                }),
        })?;
    }
    for state in &subtask.operator_state {
        writer.nested(t::OPERATOR_STATE, |writer| operator_state(state, writer))?;
    }
    writer.u8(t::FINISHED, u8::from(subtask.finished));
    let stats = &subtask.stats;
    writer.u64(t::SYNC_US, stats.sync_us);
    writer.u64(t::ASYNC_MS, stats.async_ms);
    writer.u64(t::ALIGNMENT_MS, stats.alignment_ms);
    writer.u64(t::ENTRIES, stats.entries);
    writer.u64(t::ENTRIES_CHANGED, stats.entries_changed);
    writer.u64(t::BYTES, stats.bytes);
    Ok(())
}

fn full(handle: &FullHandle, writer: &mut FieldWriter) -> Result<()> {
    use tag::full as t;
    writer.nested(t::FILE, |writer| {
        write_file(&handle.file, writer);
        Ok(())
    })?;
    writer.bytes(t::KEY_GROUPS, &range_bytes(handle.key_groups));
    writer.u64(t::RAW_BYTES, handle.raw_bytes);
    writer.u64(t::ENTRIES, handle.entries);
    for state in &handle.states {
        let mut content = Vec::new();
        put_bytes(&mut content, state.state.as_bytes());
        put_varint(&mut content, state.entries);
        writer.bytes(t::STATE_ENTRIES, &content);
    }
    let mut sizes = Vec::new();
    let mut previous = 0;
    for size in &handle.sizes {
        put_varint(&mut sizes, u64::from(size.group.get() - previous));
        put_varint(&mut sizes, size.entries);
        put_varint(&mut sizes, size.bytes);
        previous = size.group.get();
    }
    writer.bytes(t::SIZES, &sizes);
    Ok(())
}

pub(super) fn write_file(handle: &FileHandle, writer: &mut FieldWriter) {
    use tag::file as t;
    writer.text(t::NAME, handle.name());
    writer.u64(t::BYTES, handle.bytes());
    writer.u32(t::CRC32, handle.crc32());
    if handle.is_shared() {
        writer.u8(t::SCOPE, FileScope::SHARED_CODE);
    }
}

fn operator_state(state: &OperatorStatePart, writer: &mut FieldWriter) -> Result<()> {
    use tag::operator_state as t;
    writer.text(t::NAME, &state.name);
    writer.u8(t::REDISTRIBUTION, state.redistribution.code());
    for item in &state.items {
        if item.len() > METADATA_BYTES_MAX {
            return Err(too_large());
        }
        writer.bytes(t::ITEM, item);
    }
    let Some(codecs) = &state.codecs else { return Ok(()) };
    if let Some(key) = &codecs.key {
        writer.nested(t::KEY_CODEC, |writer| encode_codec(key, &mut writer.out))?;
    }
    writer.nested(t::VALUE_CODEC, |writer| encode_codec(&codecs.value, &mut writer.out))
}

/// First and last key group, two bytes each.
pub(super) fn range_bytes(range: KeyGroupRange) -> Vec<u8> {
    let first = range.first().get().to_le_bytes();
    let last = range.last().get().to_le_bytes();
    [first, last].concat()
}
