//! The source vertex: lines with their numbers, at most so many a second.

use std::io::{BufRead, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millpond_runtime::{JobError, JobErrorKind, Result, Source, SourceStatus, Timestamp};
use millpond_state::seam::Clock;

use super::{Input, JobInput, Opened};

/// Longest line.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Most bytes thrown away in one poll, so that barriers do not wait long.
const SKIP_BYTES_MAX: u64 = 4 << 20;

/// How long to wait for a pipe that has nothing.
const PIPE_PAUSE: Duration = Duration::from_millis(5);

/// Shortest pause of a throttled source: batches are gathered meanwhile.
const THROTTLE_PAUSE: Duration = Duration::from_millis(10);

/// A line of the input, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Its bytes.
    pub(crate) text: Box<[u8]>,
}

/// Decoded bytes and lines before the next line; shape `tuple<u64,u64>` in snapshots.
pub(crate) type Position = (u64, u64);

/// Bounds the records of a second.
pub(crate) struct Throttle {
    clock: Arc<dyn Clock>,
    per_second: u64,
    started: Option<Duration>,
    taken: u64,
}

impl Throttle {
    /// At most `per_second` records a second, from the first call on.
    pub(crate) fn new(clock: Arc<dyn Clock>, per_second: u64) -> Self {
        Self { clock, per_second, started: None, taken: 0 }
    }

    /// How many records may be taken now, of at most `most`; or how long to wait.
    pub(super) fn allow(&mut self, most: usize) -> std::result::Result<usize, Duration> {
        let now = self.clock.monotonic();
        let since = now.saturating_sub(*self.started.get_or_insert(now));
        let due = since.as_nanos().saturating_mul(u128::from(self.per_second)) / 1_000_000_000;
        let due = u64::try_from(due).unwrap_or(u64::MAX).saturating_add(1);
        match due.saturating_sub(self.taken) {
            0 => Err(THROTTLE_PAUSE.max(Duration::from_nanos(1_000_000_000 / self.per_second))),
            left => Ok(usize::try_from(left).unwrap_or(usize::MAX).min(most)),
        }
    }

    /// Counts records that were taken.
    pub(super) fn take(&mut self, records: usize) {
        self.taken += records as u64;
    }
}

/// Says what is wrong with the first line of an input, if anything is.
pub(crate) type HeaderCheck = fn(&[u8]) -> std::result::Result<(), String>;

/// Reads lines. One subtask only: lines are in order.
pub(crate) struct LineSource {
    input: Input,
    throttle: Option<Throttle>,
    /// What the first line must be: it is checked and left out.
    header: Option<HeaderCheck>,
    opened: Option<Opened>,
    position: Position,
    /// The beginning of a line whose rest has not come yet.
    partial: Vec<u8>,
}

impl LineSource {
    /// Reads `input` from its beginning, unless it is restored.
    pub(crate) fn new(
        input: Input,
        throttle: Option<Throttle>,
        header: Option<HeaderCheck>,
    ) -> Self {
        Self { input, throttle, header, opened: None, position: (0, 0), partial: Vec::new() }
    }

    fn failed(&self, what: impl std::fmt::Display) -> JobError {
        let at = format!("after line {}: {what}", self.position.1);
        self.input.failed(at)
    }

    /// Throws away what was read before the checkpoint; says whether that is done.
    fn skip(&mut self) -> Result<bool> {
        let Some(opened) = &mut self.opened else { return Ok(false) };
        let mut budget = SKIP_BYTES_MAX;
        while opened.skip > 0 && budget > 0 {
            let len = match opened.reader.fill_buf() {
                Ok(bytes) => (bytes.len() as u64).min(opened.skip),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(self.failed(error)),
            };
            if len == 0 {
                return Err(self.failed("it ends before that: is it the same input?"));
            }
            opened.reader.consume(len as usize);
            opened.skip -= len;
            budget = budget.saturating_sub(len);
        }
        Ok(opened.skip == 0)
    }

    /// The next whole line into `self.partial`; `None` if it has not come yet.
    fn read_line(&mut self) -> Result<Option<bool>> {
        let Some(opened) = &mut self.opened else { return Ok(None) };
        let room = (LINE_BYTES_MAX - self.partial.len().min(LINE_BYTES_MAX)) as u64;
        match opened.reader.by_ref().take(room).read_until(b'\n', &mut self.partial) {
            Ok(_) if self.partial.ends_with(b"\n") => Ok(Some(true)),
            Ok(_) if self.partial.len() >= LINE_BYTES_MAX => {
                let limit = LINE_BYTES_MAX >> 20;
                Err(self.failed(format!("the next line is longer than {limit} MiB: is it text?")))
            }
            // The end: a last line may lack its line feed.
            Ok(_) => Ok(Some(!self.partial.is_empty())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn next_line(&mut self, out: &mut Vec<Line>) -> Result<Option<bool>> {
        let whole = self.read_line()?;
        if whole != Some(true) {
            return Ok(whole);
        }
        self.position.0 += self.partial.len() as u64;
        self.position.1 += 1;
        let number = self.position.1;
        let text = trim_end(&self.partial);
        match self.header {
            Some(check) if number == 1 => check(text).map_err(|defect| {
                let message = format!("{}: {defect}", self.input.name());
                JobError::new(JobErrorKind::Input, message).permanent()
            })?,
            _ => out.push(Line { number, text: text.into() }),
        }
        self.partial.clear();
        Ok(Some(true))
    }

    fn fill(&mut self, out: &mut Vec<Line>, most: usize) -> Result<SourceStatus> {
        while out.len() < most {
            match self.next_line(out)? {
                Some(true) => {}
                Some(false) if self.header.is_some() && self.position.1 == 0 => {
                    return Err(self.input.failed("it is empty: not even a header is there"));
                }
                Some(false) => return Ok(SourceStatus::End),
                None => return Ok(SourceStatus::Idle(PIPE_PAUSE)),
            }
        }
        Ok(SourceStatus::Ready)
    }
}

impl Source for LineSource {
    type Record = Line;
    type Position = Position;

    fn restore(&mut self, positions: Vec<Position>) -> Result<()> {
        if let Some(position) = positions.first() {
            self.position = *position;
        }
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<Line>, records_max: usize) -> Result<SourceStatus> {
        if self.opened.is_none() {
            self.opened = Some(self.input.open_at(self.position.0)?);
        }
        if !self.skip()? {
            return Ok(SourceStatus::Idle(Duration::ZERO));
        }
        let most = match self.throttle.as_mut().map(|throttle| throttle.allow(records_max)) {
            Some(Err(wait)) => return Ok(SourceStatus::Idle(wait)),
            Some(Ok(most)) => most,
            None => records_max,
        };
        let status = self.fill(out, most)?;
        if let Some(throttle) = &mut self.throttle {
            throttle.take(out.len());
        }
        let headers = u64::from(self.header.is_some());
        let records = self.position.1.saturating_sub(headers);
        self.input.gauge.records.store(records, Ordering::Relaxed);
        Ok(status)
    }

    fn watermark(&self) -> Option<Timestamp> {
        None
    }

    fn positions(&mut self) -> Result<Vec<Position>> {
        Ok(vec![self.position])
    }
}

fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_state::seam::ManualClock;

    fn drain(source: &mut LineSource) -> Vec<Line> {
        let mut lines = Vec::new();
        while source.poll(&mut lines, usize::MAX).unwrap() != SourceStatus::End {}
        lines
    }

    fn numbers(lines: &[Line]) -> Vec<u64> {
        lines.iter().map(|line| line.number).collect()
    }

    #[test]
    fn a_restored_source_reads_on_at_the_same_line_plain_or_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"one\r\ntwo\n\nfour";
        let (plain, packed) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&plain, text).unwrap();
        std::fs::write(&packed, zstd::encode_all(&text[..], 1).unwrap()).unwrap();
        for path in [plain, packed] {
            let input = Input::open(&path).unwrap();
            let mut source = LineSource::new(input.clone(), None, None);
            let mut first = Vec::new();
            source.poll(&mut first, 2).unwrap();
            assert_eq!(first.iter().map(|it| &*it.text).collect::<Vec<_>>(), [b"one", b"two"]);
            let position = source.positions().unwrap();
            let mut restored = LineSource::new(input, None, None);
            restored.restore(position.clone()).unwrap();
            let rest = drain(&mut restored);
            assert_eq!(numbers(&rest), [3, 4]);
            assert_eq!(&*rest[1].text, b"four");
        }
    }

    #[test]
    fn a_shorter_file_than_the_checkpoint_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let input = Input::open(&path).unwrap();
        let mut source = LineSource::new(input.clone(), None, None);
        drain(&mut source);
        let position = source.positions().unwrap();
        std::fs::write(&path, "one\n").unwrap();
        let mut restored = LineSource::new(input, None, None);
        restored.restore(position.clone()).unwrap();
        let error = restored.poll(&mut Vec::new(), 1).unwrap_err();
        assert!(error.to_string().contains("same file"), "{error}");
        assert!(!error.is_retryable());
    }

    #[test]
    fn the_rate_bounds_records_by_the_clock() {
        let clock = Arc::new(ManualClock::new());
        let mut throttle = Throttle::new(clock.clone(), 1_000);
        let taken = throttle.allow(500).unwrap();
        throttle.take(taken);
        assert!(throttle.allow(500).is_err());
        clock.advance(Duration::from_millis(250));
        assert_eq!(throttle.allow(500), Ok(250));
        assert_eq!(throttle.allow(100), Ok(100));
    }
}
