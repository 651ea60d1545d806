//! The dead-letter file: bad records as rows, exactly once.
//!
//! Rows are appended as they come. A checkpoint keeps the file's durable length (its committable);
//! a restore cuts the file back to it, so that replayed rows are not there twice. Between
//! checkpoints a reader may see rows that a restore takes back and writes again.
//!
//! The file is ours if it is empty or begins with our header; any other is refused.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use millpond_runtime::sink::{PreCommit, RecoverySummary, Sink, SinkFactory, SinkRecovery};
use millpond_runtime::{JobError, JobErrorKind, Result};
use millpond_state::codec::{Codec, DefaultCodec};
use millpond_state::{AttemptId, CheckpointId, Scratch};

use super::bad_record::BadRecord;
use super::csv_row::CsvRow;

const HEADER: &[u8] = b"line,column,reason,row\n";

/// A dead-letter file. For a vertex of parallelism 1.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetterFile {
    path: PathBuf,
}

impl DeadLetterFile {
    /// Checks that the file can be written and is not somebody else's. With `fresh` it must hold no
    /// rows of an earlier run.
    ///
    /// # Errors
    /// [`JobErrorKind::Output`] saying why not.
    pub(crate) fn open(path: &Path, fresh: bool) -> Result<Self> {
        let failed = |error| failed("cannot write the dead-letter file", path, error);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
        let mut start = Vec::new();
        let len = HEADER.len() as u64;
        (&file).take(len).read_to_end(&mut start).map_err(failed)?;
        if !HEADER.starts_with(&start) {
            return Err(refused(path, "holds something else: name another file"));
        }
        if fresh && file.metadata().map_err(failed)?.len() > len {
            return Err(refused(path, "holds rows of another run: name another file or delete it"));
        }
        Ok(Self { path: path.to_owned() })
    }
}

impl SinkFactory<BadRecord> for DeadLetterFile {
    fn open(&self, _attempt: AttemptId, _subtask: u32) -> Result<Box<dyn Sink<BadRecord>>> {
        Ok(Box::new(DeadLetterSink { path: self.path.clone(), file: None, rows: Vec::new() }))
    }
}

impl SinkRecovery for DeadLetterFile {
    fn recover(
        &self,
        _restored: Option<CheckpointId>,
        committables: &[Vec<u8>],
    ) -> Result<RecoverySummary> {
        let mut durable = 0;
        for bytes in committables {
            durable = durable.max(DefaultCodec::<u64>::default().decode_all(bytes)?);
        }
        let failed = |error| failed("cannot recover the dead-letter file", &self.path, error);
        let file = OpenOptions::new().write(true).open(&self.path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        if len < durable {
            let found = format!("has {len} bytes, but the checkpoint wrote {durable}");
            return Err(refused(&self.path, &format!("{found}: bring it back, then restore")));
        }
        file.set_len(durable).and_then(|()| file.sync_all()).map_err(failed)?;
        let aborted = u64::from(len > durable);
        Ok(RecoverySummary { aborted, ..RecoverySummary::default() })
    }
}

struct DeadLetterSink {
    path: PathBuf,
    file: Option<File>,
    rows: Vec<u8>,
}

/// Rows gathered before they are written.
const BUFFER_BYTES: usize = 1 << 16;

impl DeadLetterSink {
    /// Opens the file when it is first needed: recovery comes after the sink is made.
    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            if file.metadata()?.len() == 0 {
                file.write_all(HEADER)?;
            }
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn flush(&mut self) -> io::Result<File> {
        let rows = std::mem::take(&mut self.rows);
        let file = self.file()?;
        file.write_all(&rows)?;
        file.try_clone()
    }
}

impl Sink<BadRecord> for DeadLetterSink {
    fn write(&mut self, record: &BadRecord) -> Result<()> {
        CsvRow::new(&mut self.rows)
            .number(record.line)
            .text(record.column.as_bytes())
            .text(record.reason.as_bytes())
            .text(&record.row)
            .end();
        if self.rows.len() < BUFFER_BYTES {
            return Ok(());
        }
        self.flush().map(drop).map_err(|error| failed("cannot write", &self.path, error))
    }

    fn pre_commit(&mut self, _checkpoint: CheckpointId) -> Result<PreCommit> {
        let path = self.path.clone();
        let prepared = self.flush().and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len, file) = prepared.map_err(|error| failed("cannot write", &path, error))?;
        Ok(Box::new(move || {
            file.sync_all().map_err(|error| failed("cannot sync", &path, error))?;
            let mut committable = Scratch::new();
            DefaultCodec::<u64>::default().encode_into(&len, &mut committable)?;
            Ok(vec![committable.as_slice().to_vec()])
        }))
    }

    fn commit(&mut self, _checkpoint: CheckpointId) -> Result<()> {
        Ok(())
    }
}

#[cold]
fn failed(what: &str, path: &Path, error: io::Error) -> JobError {
    JobError::new(JobErrorKind::Output, format!("{what} {}", path.display())).with_source(error)
}

#[cold]
fn refused(path: &Path, why: &str) -> JobError {
    let message = format!("the dead-letter file {} {why}", path.display());
    JobError::new(JobErrorKind::Output, message).permanent()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(line: u64) -> BadRecord {
        let reason = "\"x\" is not a number".to_owned();
        BadRecord { line, column: "distance", reason, row: b"a,b".to_vec() }
    }

    #[test]
    fn a_restore_cuts_the_file_back_to_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.csv");
        let file = DeadLetterFile::open(&path, true).unwrap();
        let mut sink = SinkFactory::open(&file, AttemptId::new(1), 0).unwrap();
        sink.write(&record(7)).unwrap();
        let committables = sink.pre_commit(CheckpointId::new(1)).unwrap()().unwrap();
        let committed = std::fs::read(&path).unwrap();
        sink.write(&record(8)).unwrap();
        sink.pre_commit(CheckpointId::new(2)).unwrap()().unwrap();
        assert!(std::fs::read(&path).unwrap().len() > committed.len());

        let file = DeadLetterFile::open(&path, false).unwrap();
        file.recover(Some(CheckpointId::new(1)), &committables).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), committed);
        let text = String::from_utf8(committed).unwrap();
        let row = "7,distance,\"\"\"x\"\" is not a number\",\"a,b\"\n";
        assert_eq!(text, format!("line,column,reason,row\n{row}"));
        assert!(DeadLetterFile::open(&path, true).is_err());
    }

    #[test]
    fn a_file_that_holds_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thesis.tex");
        std::fs::write(&path, "precious").unwrap();
        for fresh in [true, false] {
            assert!(DeadLetterFile::open(&path, fresh).is_err());
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
