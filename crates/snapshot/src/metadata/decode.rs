//! Bytes to metadata. Memory grows with what is decoded, never with what is claimed.

use millpond_state::{
    AttemptId, CheckpointId, KeyGroup, KeyGroupRange, MaxParallelism, OperatorStateCodecs,
    OperatorStatePart, Redistribution, STATE_NAME_BYTES_MAX, StateDescriptor, SubtaskIndex,
};

use crate::bytes::ByteReader;
use crate::error::{Result, SnapshotError};
use crate::full::{decode_codec, decode_descriptor};
use crate::metadata::field::{Field, Fields};
use crate::metadata::{
    CheckpointKind, CheckpointMetadata, CheckpointMode, FileHandle, FileScope, FullHandle,
    KeyGroupSize, KeyedStateHandle, METADATA_BYTES_MAX, NAME_BYTES_MAX, StateEntries,
    SubtaskMetadata, SubtaskStats, VertexMetadata, incremental, tag,
};
use crate::name::RELATIVE_NAME_BYTES_MAX;
use crate::version::{METADATA_MAGIC, MetadataVersion, newer};

/// Header and checksum.
const FRAME_BYTES: usize = 20;

pub(super) fn decode(bytes: &[u8]) -> Result<CheckpointMetadata> {
    let mut reader = ByteReader::new(bytes);
    let len = bytes.len();
    if !(FRAME_BYTES..=METADATA_BYTES_MAX).contains(&len) {
        return Err(SnapshotError::corrupt(format!(
            "a file of {len} bytes is no checkpoint metadata: {FRAME_BYTES} to \
             {METADATA_BYTES_MAX} are possible"
        ))
        .at(0));
    }
    if reader.magic()? != METADATA_MAGIC {
        return Err(SnapshotError::corrupt(
            "not checkpoint metadata, or its first bytes are damaged: no magic",
        )
        .at(0));
    }
    let (version, flags, claimed) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let fields_start = reader.position();
    let fields = reader.take(len - FRAME_BYTES)?;
    let covered = bytes.get(..reader.position()).unwrap_or_default();
    let (found, expected) = (crc32fast::hash(covered), reader.u32()?);
    if claimed as usize != len {
        return Err(SnapshotError::corrupt(format!(
            "the file has {len} bytes, its header says {claimed}: it is cut or damaged"
        ))
        .at(12));
    }
    if found != expected {
        return Err(SnapshotError::corrupt(format!(
            "checksum of its {len} bytes is {found:08x}, expected {expected:08x}"
        ))
        .at(0));
    }
    MetadataVersion::from_number(version).map_err(|error| error.at(8))?;
    if flags != 0 {
        return Err(newer(&format!("checkpoint metadata flags {flags:#06x}")).at(10));
    }
    checkpoint(Fields::new(fields, fields_start as u64))
}

/// The value of a field that must be there.
pub(super) fn required<T>(value: Option<T>, message: &str, name: &str) -> Result<T> {
    value.ok_or_else(|| SnapshotError::corrupt(format!("{message} metadata has no {name}")))
}

fn checkpoint(mut fields: Fields<'_>) -> Result<CheckpointMetadata> {
    use tag::checkpoint as t;
    const MESSAGE: &str = "checkpoint";
    let (mut job_name, mut job_kind, mut attempt, mut number) = (None, None, None, None);
    let (mut kind, mut triggered, mut completed, mut duration) = (None, None, None, None);
    let (mut mode, mut state_backend, mut max, mut vertices) = (None, None, None, Vec::new());
    while let Some(field) = fields.next()? {
        match field.tag {
            t::JOB_NAME => field.set(&mut job_name, |field| field.text(NAME_BYTES_MAX))?,
            t::JOB_KIND => field.set(&mut job_kind, |field| field.text(NAME_BYTES_MAX))?,
            t::ATTEMPT => field.set(&mut attempt, Field::u64)?,
            t::CHECKPOINT => field.set(&mut number, Field::u64)?,
            t::KIND => field.set(&mut kind, |f| code(f, CheckpointKind::from_code))?,
            t::TRIGGERED_AT_MS => field.set(&mut triggered, Field::u64)?,
            t::COMPLETED_AT_MS => field.set(&mut completed, Field::u64)?,
            t::DURATION_MS => field.set(&mut duration, Field::u64)?,
            t::MODE => field.set(&mut mode, |f| code(f, CheckpointMode::from_code))?,
            t::STATE_BACKEND => field.set(&mut state_backend, |f| f.text(NAME_BYTES_MAX))?,
            t::MAX_PARALLELISM => field.set(&mut max, max_parallelism)?,
            t::VERTEX => vertices.push(vertex(field.fields())?),
            _ => field.skip(MESSAGE)?,
        }
    }
    Ok(CheckpointMetadata {
        job_name: required(job_name, MESSAGE, "job name")?,
        job_kind: required(job_kind, MESSAGE, "job kind")?,
        attempt: AttemptId::new(required(attempt, MESSAGE, "attempt")?),
        checkpoint: CheckpointId::new(required(number, MESSAGE, "checkpoint number")?),
        kind: required(kind, MESSAGE, "kind")?,
        triggered_at_ms: triggered.unwrap_or_default(),
        completed_at_ms: completed.unwrap_or_default(),
        duration_ms: duration.unwrap_or_default(),
        mode: required(mode, MESSAGE, "mode")?,
        state_backend: state_backend.unwrap_or_default(),
        max_parallelism: required(max, MESSAGE, "max parallelism")?,
        vertices,
    })
}

fn vertex(mut fields: Fields<'_>) -> Result<VertexMetadata> {
    use tag::vertex as t;
    const MESSAGE: &str = "vertex";
    let (mut name, mut parallelism, mut max, mut finished) = (None, None, None, None);
    let (mut states, mut subtasks) = (Vec::new(), Vec::new());
    while let Some(field) = fields.next()? {
        match field.tag {
            t::NAME => field.set(&mut name, |field| field.text(NAME_BYTES_MAX))?,
            t::PARALLELISM => field.set(&mut parallelism, Field::u32)?,
            t::MAX_PARALLELISM => field.set(&mut max, max_parallelism)?,
            t::FINISHED => field.set(&mut finished, Field::bool)?,
            t::STATE => states.push(state(field)?),
            t::SUBTASK => subtasks.push(subtask(field.fields())?),
            _ => field.skip(MESSAGE)?,
        }
    }
    Ok(VertexMetadata {
        name: required(name, MESSAGE, "name")?,
        parallelism: required(parallelism, MESSAGE, "parallelism")?,
        max_parallelism: required(max, MESSAGE, "max parallelism")?,
        finished: required(finished, MESSAGE, "finished mark")?,
        states,
        subtasks,
    })
}

fn state(field: Field<'_>) -> Result<StateDescriptor> {
    whole(field, decode_descriptor)
}

/// What `decode` makes of a field's content, all of which it must use.
fn whole<T>(field: Field<'_>, decode: fn(&mut ByteReader<'_>) -> Result<T>) -> Result<T> {
    let mut reader = ByteReader::new(field.content);
    decode(&mut reader)
        .and_then(|decoded| reader.expect_end().map(|()| decoded))
        .map_err(|error| error.at(field.offset))
}

fn subtask(mut fields: Fields<'_>) -> Result<SubtaskMetadata> {
    use tag::subtask as t;
    const MESSAGE: &str = "subtask";
    let (mut index, mut key_groups, mut finished) = (None, None, None);
    let (mut keyed_state, mut operator_states) = (Vec::new(), Vec::new());
    let (mut sync_us, mut async_ms, mut alignment_ms) = (None, None, None);
    let (mut entries, mut entries_changed, mut bytes) = (None, None, None);
    while let Some(field) = fields.next()? {
        match field.tag {
            t::INDEX => field.set(&mut index, Field::u32)?,
            t::KEY_GROUPS => field.set(&mut key_groups, range)?,
            t::KEYED_STATE => keyed_state.push(keyed_state_handle(field)?),
            t::OPERATOR_STATE => operator_states.push(operator_state(field.fields())?),
            t::FINISHED => field.set(&mut finished, Field::bool)?,
            t::SYNC_US => field.set(&mut sync_us, Field::u64)?,
            t::ASYNC_MS => field.set(&mut async_ms, Field::u64)?,
            t::ALIGNMENT_MS => field.set(&mut alignment_ms, Field::u64)?,
            t::ENTRIES => field.set(&mut entries, Field::u64)?,
            t::ENTRIES_CHANGED => field.set(&mut entries_changed, Field::u64)?,
            t::BYTES => field.set(&mut bytes, Field::u64)?,
            _ => field.skip(MESSAGE)?,
        }
    }
    Ok(SubtaskMetadata {
        index: SubtaskIndex::new(required(index, MESSAGE, "index")?),
        key_groups,
        keyed_state,
        operator_state: operator_states,
        finished: required(finished, MESSAGE, "finished mark")?,
        stats: SubtaskStats {
            sync_us: sync_us.unwrap_or_default(),
            async_ms: async_ms.unwrap_or_default(),
            alignment_ms: alignment_ms.unwrap_or_default(),
            entries: entries.unwrap_or_default(),
            entries_changed: entries_changed.unwrap_or_default(),
            bytes: bytes.unwrap_or_default(),
        },
    })
}

fn keyed_state_handle(outer: Field<'_>) -> Result<KeyedStateHandle> {
    let mut fields = outer.fields();
    let mut handle = None;
    while let Some(field) = fields.next()? {
        match field.tag {
            tag::keyed_state::FULL => {
                field.set(&mut handle, |field| full(field.fields()).map(KeyedStateHandle::Full))?
            }
            tag::keyed_state::INCREMENTAL => field.set(&mut handle, |field| {
                incremental::decode(field.fields()).map(KeyedStateHandle::Incremental)
            })?,
            _ => field.skip("keyed state")?,
        }
    }
    required(handle, "keyed state", "kind").map_err(|error| error.at(outer.offset))
}

fn full(mut fields: Fields<'_>) -> Result<FullHandle> {
    use tag::full as t;
    const MESSAGE: &str = "full snapshot";
    let (mut handle, mut key_groups, mut raw_bytes, mut entries) = (None, None, None, None);
    let (mut states, mut sizes) = (Vec::new(), None);
    while let Some(field) = fields.next()? {
        match field.tag {
            t::FILE => field.set(&mut handle, |field| file(field.fields()))?,
            t::KEY_GROUPS => field.set(&mut key_groups, range)?,
            t::RAW_BYTES => field.set(&mut raw_bytes, Field::u64)?,
            t::ENTRIES => field.set(&mut entries, Field::u64)?,
            t::STATE_ENTRIES => {
                states.push(state_entries(field).map_err(|error| error.at(field.offset))?);
            }
            t::SIZES => field.set(&mut sizes, |field| {
                key_group_sizes(field).map_err(|error| error.at(field.offset))
            })?,
            _ => field.skip(MESSAGE)?,
        }
    }
    Ok(FullHandle {
        file: required(handle, MESSAGE, "file")?,
        key_groups: required(key_groups, MESSAGE, "key groups")?,
        raw_bytes: raw_bytes.unwrap_or_default(),
        entries: entries.unwrap_or_default(),
        states,
        sizes: sizes.unwrap_or_default(),
    })
}

fn state_entries(field: Field<'_>) -> Result<StateEntries> {
    let mut reader = ByteReader::new(field.content);
    let state = reader.text(STATE_NAME_BYTES_MAX, "length of a state name")?.to_owned();
    let entries = reader.varint()?;
    reader.expect_end()?;
    Ok(StateEntries { state, entries })
}

fn key_group_sizes(field: Field<'_>) -> Result<Vec<KeyGroupSize>> {
    let mut reader = ByteReader::new(field.content);
    let mut sizes: Vec<KeyGroupSize> = Vec::new();
    let mut previous = 0;
    while !reader.is_empty() {
        let step = reader.varint_to(u64::from(u16::MAX), "step of key groups")?;
        let group = previous + step;
        // A step of 0 would let many entries stand for one key group.
        let Some(raw) = u16::try_from(group).ok().filter(|_| step > 0 || sizes.is_empty()) else {
            return Err(SnapshotError::corrupt(format!("key group {group} cannot come here")));
        };
        let (entries, bytes) = (reader.varint()?, reader.varint()?);
        sizes.push(KeyGroupSize { group: KeyGroup::new(raw), entries, bytes });
        previous = group;
    }
    Ok(sizes)
}

pub(super) fn file(mut fields: Fields<'_>) -> Result<FileHandle> {
    use tag::file as t;
    const MESSAGE: &str = "file";
    let (mut name, mut bytes, mut crc32, mut scope) = (None, None, None, None);
    let mut name_offset = 0;
    while let Some(field) = fields.next()? {
        match field.tag {
            t::NAME => {
                name_offset = field.offset;
                field.set(&mut name, |field| field.text(RELATIVE_NAME_BYTES_MAX))?;
            }
            t::BYTES => field.set(&mut bytes, Field::u64)?,
            t::CRC32 => field.set(&mut crc32, Field::u32)?,
            t::SCOPE => field.set(&mut scope, |f| code(f, FileScope::from_code))?,
            _ => field.skip(MESSAGE)?,
        }
    }
    let name = required(name, MESSAGE, "name")?;
    let bytes = required(bytes, MESSAGE, "length")?;
    let crc32 = required(crc32, MESSAGE, "checksum")?;
    FileHandle::new(name, bytes, crc32)
        .map(|handle| handle.with_scope(scope.unwrap_or(FileScope::Exclusive)))
        .map_err(|error| SnapshotError::corrupt(error.message()).at(name_offset))
}

fn operator_state(mut fields: Fields<'_>) -> Result<OperatorStatePart> {
    use tag::operator_state as t;
    const MESSAGE: &str = "operator state";
    let (mut name, mut redistribution, mut items) = (None, None, Vec::new());
    let (mut key, mut value) = (None, None);
    while let Some(field) = fields.next()? {
        match field.tag {
            t::NAME => field.set(&mut name, |field| field.text(NAME_BYTES_MAX))?,
            t::REDISTRIBUTION => {
                field.set(&mut redistribution, |f| code(f, Redistribution::from_code))?;
            }
            t::ITEM => items.push(field.content.to_vec()),
            t::KEY_CODEC => field.set(&mut key, |field| whole(field, decode_codec))?,
            t::VALUE_CODEC => field.set(&mut value, |field| whole(field, decode_codec))?,
            _ => field.skip(MESSAGE)?,
        }
    }
    let codecs = match (key, value) {
        (key, Some(value)) => Some(OperatorStateCodecs { key, value }),
        (None, None) => None,
        (Some(_), None) => {
            return Err(SnapshotError::corrupt(
                "operator state has a key codec and no value codec",
            ));
        }
    };
    Ok(OperatorStatePart {
        name: required(name, MESSAGE, "name")?,
        redistribution: required(redistribution, MESSAGE, "redistribution")?,
        codecs,
        items,
    })
}

/// A number that stands for something; one that this build does not know was given out later.
fn code<T>(field: Field<'_>, from_code: fn(u8) -> Option<T>) -> Result<T> {
    let number = field.u8()?;
    if number == 0 {
        return Err(field.wrong("is 0, which stands for nothing"));
    }
    from_code(number).ok_or_else(|| {
        newer(&format!("field {} is {number}", field.tag & !tag::MUST)).at(field.offset)
    })
}

fn max_parallelism(field: Field<'_>) -> Result<MaxParallelism> {
    MaxParallelism::new(field.u32()?)
        .map_err(|error| SnapshotError::corrupt(error.message()).at(field.offset))
}

pub(super) fn range(field: Field<'_>) -> Result<KeyGroupRange> {
    let mut reader = ByteReader::new(field.content);
    let read = |reader: &mut ByteReader<'_>| {
        let (first, last) = (reader.u16()?, reader.u16()?);
        reader.expect_end()?;
        KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last))
            .map_err(|error| SnapshotError::corrupt(error.message()))
    };
    read(&mut reader).map_err(|error| error.at(field.offset))
}
