//! What a handle of RocksDB's files says beside their names: `docs/formats.md` specifies it.
//!
//! The states are an empty full snapshot, so that their encoding has one reader and one writer.

use millpond_snapshot::{Compression, FullOptions, FullReader, FullWriter, SliceSource};
use millpond_state::codec::varint;
use millpond_state::{EntrySink, ErrorKind, Result, Scratch, StateDescriptor, StateError};

use super::sst::{SstFile, file_number};

/// Newest version that is known, and the one that is written.
const VERSION: u64 = 1;

/// Longest name of a file or a column family.
const NAME_BYTES_MAX: usize = 255;

/// Longest key that a database can hold: key, namespace and user key, each escaped.
const KEY_BYTES_MAX: usize = 1 << 20;

/// Levels of a database, at most.
const LEVELS_MAX: u64 = 64;

/// The manifest of a handle.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    /// The states, by the ids that keys have.
    pub(crate) states: Vec<StateDescriptor>,
    /// The column family that entries lie in.
    pub(crate) family: String,
    /// All SST files.
    pub(crate) files: Vec<SstFile>,
}

impl Manifest {
    /// The bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Scratch::new();
        varint::encode_into(VERSION, &mut out);
        put_bytes(&mut out, &encode_states(&self.states)?);
        put_bytes(&mut out, self.family.as_bytes());
        varint::encode_into(self.files.len() as u64, &mut out);
        for file in &self.files {
            put_bytes(&mut out, file.name.as_bytes());
            varint::encode_into(u64::from(file.level), &mut out);
            put_bytes(&mut out, &file.smallest);
            put_bytes(&mut out, &file.largest);
            let numbers = [file.smallest_seqno, file.largest_seqno, file.entries, file.deletions];
            numbers.into_iter().for_each(|number| varint::encode_into(number, &mut out));
        }
        Ok(out.as_slice().to_vec())
    }

    /// Decodes a manifest.
    pub(crate) fn decode(mut input: &[u8]) -> Result<Self> {
        let input = &mut input;
        let version = varint::decode_from(input)?;
        if version != VERSION {
            let message = format!(
                "RocksDB's files are of version {version}, and {VERSION} is the newest that this \
                 program knows: a newer Millpond wrote them"
            );
            return Err(StateError::new(ErrorKind::Incompatible, message));
        }
        let states = decode_states(bytes(input, input.len(), "the list of states")?)?;
        let family = text(input, "the column family")?;
        let count = varint::decode_from(input)?;
        let mut files = Vec::new();
        for _ in 0..count {
            files.push(decode_file(input)?);
        }
        if input.is_empty() { Ok(Self { states, family, files }) } else { Err(left_over(input)) }
    }
}

fn decode_file(input: &mut &[u8]) -> Result<SstFile> {
    let name = text(input, "the name of a file")?;
    if file_number(&name).is_none() {
        return Err(damaged(format!("{name:?} is no name of an SST file")));
    }
    let level = varint::decode_from(input)?;
    if level >= LEVELS_MAX {
        return Err(damaged(format!("the file {name} is on level {level}")));
    }
    let smallest = bytes(input, KEY_BYTES_MAX, "the least key of a file")?.to_vec();
    let largest = bytes(input, KEY_BYTES_MAX, "the greatest key of a file")?.to_vec();
    let file = SstFile {
        name,
        level: level as u32,
        smallest,
        largest,
        smallest_seqno: varint::decode_from(input)?,
        largest_seqno: varint::decode_from(input)?,
        entries: varint::decode_from(input)?,
        deletions: varint::decode_from(input)?,
    };
    file.key_groups()?;
    Ok(file)
}

fn encode_states(states: &[StateDescriptor]) -> Result<Vec<u8>> {
    let options = FullOptions { compression: Compression::None, ..FullOptions::default() };
    let mut bytes = Vec::new();
    let mut writer = FullWriter::create(&mut bytes, options)?;
    writer.begin(states)?;
    writer.finish()?;
    Ok(bytes)
}

fn decode_states(bytes: &[u8]) -> Result<Vec<StateDescriptor>> {
    let reader = FullReader::open(SliceSource::new("the list of states", bytes))?;
    Ok(reader.states().to_vec())
}

fn put_bytes(out: &mut Scratch, bytes: &[u8]) {
    varint::encode_into(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn bytes<'a>(input: &mut &'a [u8], max: usize, what: &str) -> Result<&'a [u8]> {
    let len = usize::try_from(varint::decode_from(input)?).unwrap_or(usize::MAX);
    let split = if len <= max { input.split_at_checked(len) } else { None };
    let Some((taken, rest)) = split else {
        return Err(damaged(format!("{what} takes {len} bytes of the {} left", input.len())));
    };
    *input = rest;
    Ok(taken)
}

fn text(input: &mut &[u8], what: &str) -> Result<String> {
    let bytes = bytes(input, NAME_BYTES_MAX, what)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| damaged(format!("{what} is not UTF-8")))
}

#[cold]
fn left_over(rest: &[u8]) -> StateError {
    damaged(format!("{} bytes are left over", rest.len()))
}

#[cold]
fn damaged(what: String) -> StateError {
    StateError::new(ErrorKind::Corrupt, what).context("the manifest of RocksDB's files")
}

// By its path, since the fuzz target compiles this file by itself, too.
#[cfg(test)]
#[path = "manifest/tests.rs"]
mod tests;
