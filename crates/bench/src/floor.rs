//! What bounds snapshots and restores: compression and the disk, measured with the same bytes.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use millpond_state::seam::Clock;
use millpond_state::{
    CancelFlag, CheckpointId, EntrySink, KeyedBackend, Result as StateResult, SnapshotEntry,
    SnapshotRequest, StateDescriptor,
};

use crate::checkpoints::COMPRESSION_LEVEL;
use crate::error::{BenchError, Result};
use crate::measure::{median, millis, timed};

/// Bytes that are compressed at once: a block of a snapshot.
const BLOCK_BYTES: usize = 64 * 1024;

/// Times that a floor is measured.
const ROUNDS: usize = 3;

/// Bytes that are written or read at once.
const COPY_BYTES: usize = 1 << 20;

/// Keys and values of a backend, one after the other in canonical order.
pub(crate) fn entry_bytes(backend: &mut dyn KeyedBackend) -> Result<Vec<u8>> {
    let task = backend.snapshot(&SnapshotRequest::full(CheckpointId::new(u64::MAX)))?;
    let mut sink = Collect(Vec::new());
    task.run(&mut sink, &CancelFlag::new())?;
    backend.checkpoint_aborted(CheckpointId::new(u64::MAX));
    Ok(sink.0)
}

struct Collect(Vec<u8>);

impl EntrySink for Collect {
    fn begin(&mut self, _: &[StateDescriptor]) -> StateResult<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> StateResult<()> {
        self.0.extend_from_slice(entry.key);
        self.0.extend_from_slice(entry.value);
        Ok(())
    }
}

/// Milliseconds that zstd takes to compress and to decompress `bytes`.
pub(crate) fn zstd_ms(bytes: &[u8], clock: &dyn Clock) -> Result<(f64, f64)> {
    let (mut compress, mut decompress) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut blocks = Vec::new();
        let (took, ()) = timed(clock, || {
            for block in bytes.chunks(BLOCK_BYTES) {
                blocks.push(zstd::bulk::compress(block, COMPRESSION_LEVEL)?);
            }
            Ok::<_, std::io::Error>(())
        })?;
        compress.push(millis(took));
        let mut out = vec![0; BLOCK_BYTES];
        let (took, ()) = timed(clock, || {
            for block in &blocks {
                std::hint::black_box(zstd::bulk::decompress_to_buffer(block, &mut out)?);
            }
            Ok::<_, std::io::Error>(())
        })?;
        decompress.push(millis(took));
    }
    Ok((median(&compress), median(&decompress)))
}

/// Milliseconds that it takes to write a file of `bytes` bytes into `folder` and make it durable,
/// and to read it again (from the page cache, as a restore on the same machine does).
pub(crate) fn disk_ms(folder: &Path, bytes: u64, clock: &dyn Clock) -> Result<(f64, f64)> {
    let file = ScratchFile(folder.join("millpond-bench-floor"));
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        writes.push(millis(timed(clock, || file.write(bytes))?.0));
        reads.push(millis(timed(clock, || file.read())?.0));
    }
    Ok((median(&writes), median(&reads)))
}

/// A file that is removed when dropped.
struct ScratchFile(PathBuf);

impl ScratchFile {
    fn write(&self, bytes: u64) -> Result<()> {
        let failed =
            |error| BenchError::from(error).context(format!("cannot write {}", self.0.display()));
        let block: Vec<u8> = (0..COPY_BYTES).map(|at| ((at * 31) >> 3) as u8).collect();
        let mut file = File::create(&self.0).map_err(failed)?;
        let mut left = bytes;
        while left > 0 {
            let part = left.min(COPY_BYTES as u64);
            let part = block.get(..part as usize).unwrap_or_default();
            file.write_all(part).map_err(failed)?;
            left -= part.len() as u64;
        }
        file.sync_all().map_err(failed)?;
        Ok(())
    }

    fn read(&self) -> Result<()> {
        let mut file = File::open(&self.0)?;
        let mut buffer = vec![0; COPY_BYTES];
        while file.read(&mut buffer)? > 0 {
            std::hint::black_box(&buffer);
        }
        Ok(())
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
