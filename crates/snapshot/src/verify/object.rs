//! Checking an object of incremental state: its bytes are opaque, their checksums are not.

use crc32fast::Hasher;

use super::Report;
use crate::error::{Result, SnapshotError};
use crate::full::wrong_length;
use crate::io::{ByteSource, HashingSource};
use crate::metadata::{FileHandle, LogicalFile};

const CHUNK_BYTES: u64 = 256 * 1024;

/// Checks every byte of an object against `handle` and against the checksums of those
/// `logical_files` that lie in it, so that damage is placed as closely as possible. Each block of
/// the report is a whole logical file. Reads the object about once; memory is bounded.
///
/// # Errors
/// [`Io`](crate::SnapshotErrorKind::Io) if the file cannot be read.
pub fn verify_object<'a, R: ByteSource>(
    source: &R,
    handle: &FileHandle,
    logical_files: impl IntoIterator<Item = &'a LogicalFile>,
) -> Result<Report> {
    let source = HashingSource::new(source);
    let len = source.len();
    let mut report = Report { bytes: len, ..Report::default() };
    if handle.bytes() != len {
        report.note(source.name(), wrong_length(len, handle.bytes()))?;
    }
    let mut placed: Vec<&LogicalFile> = logical_files.into_iter().collect();
    placed.sort_unstable_by_key(|logical| logical.offset);
    for logical in placed {
        match check(&source, logical) {
            Ok(()) => report.blocks += 1,
            Err(error) => report.note(source.name(), error)?,
        }
    }
    let found = source.finish_crc32().map_err(|error| error.in_file(source.name()))?;
    if found != handle.crc32() {
        let what =
            format!("checksum of the whole file is {found:08x}, expected {:08x}", handle.crc32());
        report.note(source.name(), SnapshotError::corrupt(what).at(0))?;
    }
    Ok(report)
}

fn check<R: ByteSource>(source: &HashingSource<R>, logical: &LogicalFile) -> Result<()> {
    let corrupt = |what: String| {
        SnapshotError::corrupt(format!("logical file {:?}: {what}", logical.name))
            .at(logical.offset)
    };
    let end = logical.offset.saturating_add(logical.bytes);
    if end > source.len() {
        return Err(corrupt(format!("ends at {end}, past the end of its object")));
    }
    let (mut hasher, mut at, mut chunk) = (Hasher::new(), logical.offset, Vec::new());
    while at < end {
        let len = (end - at).min(CHUNK_BYTES);
        chunk.resize(len as usize, 0);
        source.read_exact_at(at, &mut chunk)?;
        hasher.update(&chunk);
        at += len;
    }
    let found = hasher.finalize();
    if found == logical.crc32 {
        return Ok(());
    }
    Err(corrupt(format!("its checksum is {found:08x}, expected {:08x}", logical.crc32)))
}
