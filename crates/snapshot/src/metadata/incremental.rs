//! The handle of native incremental state: which immutable files of a backend make up the keyed
//! state of one subtask, and where they lie.
//!
//! Two layers. A *logical file* is what the backend knows: a table file, a log segment, a delta. An
//! *object* is what storage knows; it holds one logical file or, since few large objects are
//! cheaper than many small ones, several one after the other. An object is exclusive, in the
//! checkpoint's own folder, or shared with other checkpoints, see [`FileScope`].
//!
//! A logical file never changes. It is the same file as another only if the attempt and the
//! checkpoint that wrote it, its object and place there, its length and its checksum are the same.
//! Its name says nothing: each handle has its own.
//!
//! Invariants, checked with those of the metadata: names are safe and unique, every object holds
//! something that is used, logical files lie within their object and do not overlap, no logical
//! file was written after the checkpoint that names it.

use std::collections::BTreeSet;

use millpond_state::{AttemptId, CheckpointId, KeyGroupRange, STATE_NAME_BYTES_MAX};

use crate::bytes::{ByteReader, put_bytes, put_varint};
use crate::error::{Result, SnapshotError};
use crate::metadata::decode::{file, range, required};
use crate::metadata::encode::{range_bytes, write_file};
use crate::metadata::field::{Field, FieldWriter, Fields, too_large};
use crate::metadata::validate::{Checked, Enclosing, check_name, check_range, check_unique};
use crate::metadata::{FileHandle, METADATA_BYTES_MAX, NAME_BYTES_MAX, tag};
use crate::name::{RELATIVE_NAME_BYTES_MAX, check_relative_name};

/// Where the name of a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FileScope {
    /// In the folder that holds the metadata. The file goes with its checkpoint.
    Exclusive,
    /// In the root of the checkpoint storage, which holds the checkpoint's folder. The file goes
    /// when no checkpoint refers to it any more.
    Shared,
}

impl FileScope {
    /// The number in the file. Exclusive files have no such field, as before there were others.
    pub(super) const SHARED_CODE: u8 = 1;

    pub(super) const fn from_code(code: u8) -> Option<Self> {
        match code {
            Self::SHARED_CODE => Some(Self::Shared),
            _ => None,
        }
    }
}

/// Native state of one subtask, as files of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncrementalHandle {
    /// Name of the backend that wrote the files and can open them, not empty.
    pub backend: String,
    /// The key groups that the state was taken of. Files may hold more: a restore clips them.
    pub key_groups: KeyGroupRange,
    /// Names of the states, in the backend's own order; the vertex has their schemas.
    pub states: Vec<String>,
    /// The objects that hold the logical files, each once.
    pub objects: Vec<FileHandle>,
    /// The logical files, names unique.
    pub logical_files: Vec<LogicalFile>,
    /// What else the backend needs to open the files; opaque here. Empty if nothing.
    pub manifest: Vec<u8>,
}

/// One immutable file of a backend: a range of bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogicalFile {
    /// What this handle's backend calls it; relative and safe, since a restore makes local files
    /// of it. Another handle may call the same file differently.
    pub name: String,
    /// The execution attempt that wrote it.
    pub attempt: AttemptId,
    /// The checkpoint it was written for; a later one that names it re-uses it.
    pub checkpoint: CheckpointId,
    /// Position of its object among the handle's.
    pub object: u32,
    /// Where it begins in the object, in bytes.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// CRC-32 of its bytes.
    pub crc32: u32,
}

impl IncrementalHandle {
    /// Each logical file with its object. One whose object is not there, which no valid metadata
    /// has, is left out.
    pub fn placed_files(&self) -> impl Iterator<Item = (&LogicalFile, &FileHandle)> {
        self.logical_files
            .iter()
            .filter_map(|logical| Some((logical, self.objects.get(logical.object as usize)?)))
    }

    /// Bytes of logical files that `checkpoint` wrote itself, and of those that it re-uses.
    #[must_use]
    pub fn new_and_reused_bytes(&self, checkpoint: CheckpointId) -> (u64, u64) {
        let (mut new, mut reused) = (0_u64, 0_u64);
        for logical in &self.logical_files {
            let sum = if logical.checkpoint == checkpoint { &mut new } else { &mut reused };
            *sum = sum.saturating_add(logical.bytes);
        }
        (new, reused)
    }
}

pub(super) fn encode(handle: &IncrementalHandle, writer: &mut FieldWriter) -> Result<()> {
    use tag::incremental as t;
    writer.text(t::BACKEND, &handle.backend);
    writer.bytes(t::KEY_GROUPS, &range_bytes(handle.key_groups));
    for state in &handle.states {
        writer.text(t::STATE, state);
    }
    for object in &handle.objects {
        writer.nested(t::OBJECT, |writer| {
            write_file(object, writer);
            Ok(())
        })?;
    }
    for logical in &handle.logical_files {
        let mut content = Vec::new();
        put_bytes(&mut content, logical.name.as_bytes());
        for number in [
            logical.attempt.get(),
            logical.checkpoint.get(),
            u64::from(logical.object),
            logical.offset,
            logical.bytes,
        ] {
            put_varint(&mut content, number);
        }
        content.extend_from_slice(&logical.crc32.to_le_bytes());
        writer.bytes(t::LOGICAL_FILE, &content);
    }
    if handle.manifest.len() > METADATA_BYTES_MAX {
        return Err(too_large());
    }
    if !handle.manifest.is_empty() {
        writer.bytes(t::MANIFEST, &handle.manifest);
    }
    Ok(())
}

pub(super) fn decode(mut fields: Fields<'_>) -> Result<IncrementalHandle> {
    use tag::incremental as t;
    const MESSAGE: &str = "incremental state";
    let (mut backend, mut key_groups, mut manifest) = (None, None, None);
    let (mut states, mut objects, mut logical_files) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(field) = fields.next()? {
        match field.tag {
            t::BACKEND => field.set(&mut backend, |field| field.text(NAME_BYTES_MAX))?,
            t::KEY_GROUPS => field.set(&mut key_groups, range)?,
            t::STATE => states.push(field.text(STATE_NAME_BYTES_MAX)?),
            t::OBJECT => objects.push(file(field.fields())?),
            t::LOGICAL_FILE => logical_files.push(decode_logical(field)?),
            t::MANIFEST => field.set(&mut manifest, |field| Ok(field.content.to_vec()))?,
            _ => field.skip(MESSAGE)?,
        }
    }
    Ok(IncrementalHandle {
        backend: required(backend, MESSAGE, "backend")?,
        key_groups: required(key_groups, MESSAGE, "key groups")?,
        states,
        objects,
        logical_files,
        manifest: manifest.unwrap_or_default(),
    })
}

fn decode_logical(field: Field<'_>) -> Result<LogicalFile> {
    let mut reader = ByteReader::new(field.content);
    let read = |reader: &mut ByteReader<'_>| {
        let name = reader.text(RELATIVE_NAME_BYTES_MAX, "length of a logical file's name")?;
        check_relative_name(name).map_err(|error| SnapshotError::corrupt(error.message()))?;
        let logical = LogicalFile {
            name: name.to_owned(),
            attempt: AttemptId::new(reader.varint()?),
            checkpoint: CheckpointId::new(reader.varint()?),
            // At most u32::MAX, so that it fits.
            object: reader.varint_to(u64::from(u32::MAX), "position of an object")? as u32,
            offset: reader.varint()?,
            bytes: reader.varint()?,
            crc32: reader.u32()?,
        };
        reader.expect_end()?;
        Ok(logical)
    };
    read(&mut reader).map_err(|error: SnapshotError| error.at(field.offset))
}

/// What is wrong with the handle, in words.
pub(super) fn check(handle: &IncrementalHandle, within: &Enclosing<'_>) -> Checked {
    if handle.backend.is_empty() {
        return Err("incremental state must name its backend".into());
    }
    check_name("state backend", &handle.backend)?;
    check_range(handle.key_groups, within.max)?;
    check_unique("state", handle.states.iter().map(String::as_str))?;
    if let Some(unknown) =
        handle.states.iter().find(|state| !within.states.contains(state.as_str()))
    {
        return Err(format!("the vertex has no schema of state {unknown:?}"));
    }
    let mut objects = BTreeSet::new();
    if let Some(twice) =
        handle.objects.iter().find(|object| !objects.insert((object.scope(), object.name())))
    {
        return Err(format!("object {:?} is there twice", twice.name()));
    }
    check_unique("logical file", handle.logical_files.iter().map(|file| file.name.as_str()))?;
    for logical in &handle.logical_files {
        check_logical(handle, logical, within)
            .map_err(|what| format!("logical file {:?}: {what}", logical.name))?;
    }
    check_layout(handle)
}

fn check_logical(
    handle: &IncrementalHandle,
    logical: &LogicalFile,
    within: &Enclosing<'_>,
) -> Checked {
    check_relative_name(&logical.name).map_err(|error| error.message().to_owned())?;
    if logical.checkpoint > within.checkpoint {
        return Err(format!(
            "was written for checkpoint {}, which is later than {}",
            logical.checkpoint, within.checkpoint
        ));
    }
    let Some(object) = handle.objects.get(logical.object as usize) else {
        return Err(format!("there is no object {}", logical.object));
    };
    let end = logical.offset.checked_add(logical.bytes);
    if end.is_none_or(|end| end > object.bytes()) {
        return Err(format!("reaches beyond the end of object {:?}", object.name()));
    }
    if logical.bytes == object.bytes() && logical.crc32 != object.crc32() {
        return Err(format!("contradicts the checksum of object {:?}", object.name()));
    }
    Ok(())
}

/// Each object holds something, and no two logical files the same bytes or place.
fn check_layout(handle: &IncrementalHandle) -> Checked {
    let mut places: Vec<_> = handle
        .logical_files
        .iter()
        .map(|file| (file.object, file.offset, file.bytes, file.name.as_str()))
        .collect();
    places.sort_unstable();
    for ((object, offset, bytes, name), (next_object, next_offset, _, next)) in
        places.iter().zip(places.iter().skip(1))
    {
        let ends = offset.saturating_add(*bytes);
        if object == next_object && (offset == next_offset || ends > *next_offset) {
            return Err(format!("logical files {name:?} and {next:?} overlap"));
        }
    }
    let used: BTreeSet<u32> = places.iter().map(|(object, ..)| *object).collect();
    if let Some((_, idle)) = (0_u32..).zip(&handle.objects).find(|(at, _)| !used.contains(at)) {
        return Err(format!("object {:?} holds no logical file", idle.name()));
    }
    Ok(())
}
