//! The input of a job: lines of a file, plain or zstd-compressed, of standard input, or made up;
//! or the events of [`nexmark`], which are no lines.
//!
//! A position of lines is the number of decoded bytes and of lines before it. A plain file or a
//! made-up input is entered there at once; a compressed one is decoded up to it; standard input is
//! read and thrown away up to it, so that the same input given again is read on where the
//! checkpoint was.

mod event_source;
mod generated;
mod nexmark;
mod pipe;
mod source;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use millpond_runtime::{JobError, JobErrorKind};

use crate::error::{CliError, Result};
pub(crate) use event_source::EventSource;
pub(crate) use generated::Generated;
pub(crate) use nexmark::{NexmarkEvents, NexmarkInput, SPLITS};
use pipe::PipeReader;
pub(crate) use source::{HeaderCheck, Line, LineSource, Throttle};

/// What every zstd frame begins with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How many bytes of a file tell it from another one.
const IDENTITY_BYTES: u64 = 64 * 1024;

const BUFFER_BYTES: usize = 1 << 17;

/// How far the input has been read, for progress. Shared by threads.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Bytes of the file read; of events that are made up, their number.
    pub(crate) file_bytes: AtomicU64,
    /// Records from the beginning of the input on.
    pub(crate) records: AtomicU64,
}

/// Which input it is, however it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Over how many bytes from the file's beginning the hash is.
    pub(crate) bytes: u64,
    /// Their hash.
    pub(crate) hash: u64,
}

/// What a run needs to know of its input, whatever it reads from it.
pub(crate) trait JobInput: std::fmt::Debug {
    /// What messages call it.
    fn name(&self) -> String;

    /// Length of the input, as [`Gauge::file_bytes`] counts it; `None` if that is not known.
    fn file_bytes(&self) -> Option<u64>;

    /// How far it has been read.
    fn gauge(&self) -> &Arc<Gauge>;

    /// What tells this input from another: a hash of its beginning, `bytes` long or as long as it
    /// usefully is. `None` for standard input.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn identity(&self, bytes: Option<u64>) -> Result<Option<Identity>>;
}

impl Identity {
    /// The identity of what begins with `start`.
    fn of(start: &[u8]) -> Self {
        Self { bytes: start.len() as u64, hash: millpond_state::key_hash(start) }
    }
}

#[derive(Clone, Debug)]
enum Kind {
    /// Can be taken once in the process's life.
    Stdin(Arc<AtomicBool>),
    File {
        path: PathBuf,
        compressed: bool,
    },
    Generated(Generated),
}

/// An input that can be opened.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    kind: Kind,
    gauge: Arc<Gauge>,
}

/// Decoded bytes from a position on.
pub(crate) struct Opened {
    reader: Box<dyn BufRead + Send>,
    /// Bytes still to be thrown away.
    skip: u64,
}

impl Input {
    /// Looks at the input; `-` is standard input, `generate:RECORDS:KEYS` is made up.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let gauge = Arc::default();
        if path == Path::new("-") {
            return Ok(Self { kind: Kind::Stdin(Arc::default()), gauge });
        }
        if let Some(generated) = path.to_str().and_then(Generated::parse) {
            return Ok(Self { kind: Kind::Generated(generated.map_err(CliError::Usage)?), gauge });
        }
        let failed = |error: io::Error| {
            CliError::new(format!("cannot read the input {}: {error}", path.display()))
                .advice("name a readable file with --input")
        };
        let mut file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let mut magic = Vec::new();
        file.by_ref().take(4).read_to_end(&mut magic).map_err(failed)?;
        let compressed = magic == ZSTD_MAGIC;
        Ok(Self { kind: Kind::File { path: path.to_owned(), compressed }, gauge })
    }

    /// The first line, without reading further; `None` for standard input, which cannot be read
    /// twice.
    ///
    /// # Errors
    /// If the file cannot be read or decoded.
    pub(crate) fn first_line(&self) -> Result<Option<Vec<u8>>> {
        if matches!(self.kind, Kind::Stdin(_)) {
            return Ok(None);
        }
        let mut line = Vec::new();
        self.open_at(0)?.reader.take(IDENTITY_BYTES).read_until(b'\n', &mut line).map_err(
            |error| {
                let name = self.name();
                CliError::new(format!("cannot decode the input {name}: {error}"))
            },
        )?;
        Ok(Some(line))
    }

    /// Starts reading at a decoded offset.
    ///
    /// # Errors
    /// [`JobErrorKind::Input`] if that cannot be.
    fn open_at(&self, offset: u64) -> millpond_runtime::Result<Opened> {
        match &self.kind {
            Kind::Stdin(taken) => {
                if taken.swap(true, Ordering::SeqCst) {
                    return Err(self.failed(
                        "it cannot be read a second time: start the command again with --restore \
                         latest and the same input",
                    ));
                }
                let pipe = PipeReader::start()
                    .map_err(|error| self.failed(error.message().unwrap_or_default()))?;
                Ok(Opened { reader: Box::new(pipe), skip: offset })
            }
            Kind::File { path, compressed } => {
                self.open_file(path, *compressed, offset).map_err(|error| self.failed(error))
            }
            Kind::Generated(generated) => {
                self.gauge.file_bytes.store(offset, Ordering::Relaxed);
                let source = generated.read_from(offset);
                let counted = Counted { source, gauge: Arc::clone(&self.gauge) };
                let reader = BufReader::with_capacity(BUFFER_BYTES, counted);
                Ok(Opened { reader: Box::new(reader), skip: 0 })
            }
        }
    }

    fn open_file(&self, path: &Path, compressed: bool, offset: u64) -> io::Result<Opened> {
        let mut file = File::open(path)?;
        let enter = if compressed { 0 } else { offset };
        self.gauge.file_bytes.store(enter, Ordering::Relaxed);
        let len = file.metadata()?.len();
        if enter > len && file.metadata()?.is_file() {
            let message = format!(
                "it has {len} bytes, but the checkpoint has read {offset}: is it the same file?"
            );
            return Err(io::Error::other(message));
        }
        if enter > 0 {
            file.seek(SeekFrom::Start(enter))?;
        }
        let file = Counted { source: file, gauge: Arc::clone(&self.gauge) };
        let reader: Box<dyn BufRead + Send> = if compressed {
            let decoder = zstd::stream::read::Decoder::new(file)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        } else {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, file))
        };
        Ok(Opened { reader, skip: offset - enter })
    }

    /// An error about this input that a restart does not mend.
    fn failed(&self, what: impl std::fmt::Display) -> JobError {
        let message = format!("cannot read the input {}: {what}", self.name());
        JobError::new(JobErrorKind::Input, message).permanent()
    }
}

impl JobInput for Input {
    fn name(&self) -> String {
        match &self.kind {
            Kind::Stdin(_) => "standard input".to_owned(),
            Kind::File { path, .. } => path.display().to_string(),
            Kind::Generated(generated) => generated.to_string(),
        }
    }

    fn file_bytes(&self) -> Option<u64> {
        match &self.kind {
            Kind::Stdin(_) => None,
            Kind::File { path, .. } => std::fs::metadata(path).ok().map(|it| it.len()),
            Kind::Generated(generated) => Some(generated.bytes()),
        }
    }

    fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    fn identity(&self, bytes: Option<u64>) -> Result<Option<Identity>> {
        let mut start = Vec::new();
        match &self.kind {
            Kind::Stdin(_) => return Ok(None),
            // Its beginning does not tell how long it is, its name does.
            Kind::Generated(generated) => start.extend_from_slice(generated.to_string().as_bytes()),
            Kind::File { path, .. } => {
                File::open(path)
                    .and_then(|file| {
                        file.take(bytes.unwrap_or(IDENTITY_BYTES)).read_to_end(&mut start)
                    })
                    .map_err(|error| CliError::from(error).context(path.display()))?;
            }
        }
        Ok(Some(Identity::of(&start)))
    }
}

/// Counts what is read.
struct Counted<R> {
    source: R,
    gauge: Arc<Gauge>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.gauge.file_bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
