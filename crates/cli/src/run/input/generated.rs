//! An input that is made up while it is read: the same rows each time, entered at any offset.
//!
//! `generate:RECORDS:KEYS` stands for a CSV with the columns key and time_ms: row `i` has a key
//! that a hash of `i` picks out of `KEYS`, and the time `i` ms after a fixed one. All rows are of
//! one width, so an offset is a row.

use std::fmt;
use std::io::{self, Read};

/// What names of generated inputs begin with.
const SCHEME: &str = "generate:";

/// The first line.
const HEADER: &[u8] = b"key,time_ms\n";

/// Bytes of a row: ten digits, a comma, thirteen digits, a line feed.
const ROW_BYTES: u64 = 25;

/// Most records and keys: what the digits of a row can say.
const NUMBER_MAX: u64 = 9_999_999_999;

/// Time of row 0, in milliseconds since 1970.
const FIRST_MS: u64 = 1_600_000_000_000;

/// How many rows, over how many keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generated {
    pub(crate) records: u64,
    pub(crate) keys: u64,
}

impl Generated {
    /// Reads `generate:RECORDS:KEYS`; `None` if `name` does not begin like that.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(name: &str) -> Option<Result<Self, String>> {
        let numbers = name.strip_prefix(SCHEME)?;
        let number =
            |text: &str| text.parse().ok().filter(|number| (1..=NUMBER_MAX).contains(number));
        let parsed = numbers.split_once(':').and_then(|(records, keys)| {
            Some(Self { records: number(records)?, keys: number(keys)? })
        });
        Some(parsed.ok_or_else(|| {
            format!("{name:?} is not {SCHEME}RECORDS:KEYS with numbers from 1 to {NUMBER_MAX}")
        }))
    }

    /// Bytes of all lines.
    pub(crate) const fn bytes(self) -> u64 {
        HEADER.len() as u64 + self.records * ROW_BYTES
    }

    /// Key and time of row `index`.
    pub(crate) fn row(self, index: u64) -> (u64, u64) {
        let key = millpond_state::key_hash(&index.to_le_bytes()).checked_rem(self.keys);
        (key.unwrap_or(0), FIRST_MS + index)
    }

    /// The bytes from `offset` on.
    pub(crate) fn read_from(self, offset: u64) -> GeneratedReader {
        let header = HEADER.len() as u64;
        let row = offset.saturating_sub(header) / ROW_BYTES;
        let mut reader = GeneratedReader { input: self, next: row, pending: Vec::new(), taken: 0 };
        if offset < header {
            reader.pending.extend_from_slice(HEADER);
            reader.taken = offset as usize;
        } else {
            reader.fill();
            reader.taken = ((offset - header) % ROW_BYTES) as usize;
        }
        reader
    }
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}:{}", self.records, self.keys)
    }
}

/// Reads a generated input.
#[derive(Debug)]
pub(crate) struct GeneratedReader {
    input: Generated,
    /// The row after those in `pending`.
    next: u64,
    pending: Vec<u8>,
    taken: usize,
}

impl GeneratedReader {
    fn fill(&mut self) {
        self.pending.clear();
        self.taken = 0;
        if self.next < self.input.records {
            let (key, time) = self.input.row(self.next);
            self.pending.extend_from_slice(format!("{key:010},{time:013}\n").as_bytes());
            self.next += 1;
        }
    }
}

impl Read for GeneratedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < buffer.len() {
            if self.taken >= self.pending.len() {
                self.fill();
            }
            let ready = self.pending.get(self.taken..).unwrap_or_default();
            let room = buffer.get_mut(written..).unwrap_or_default();
            let count = ready.len().min(room.len());
            if count == 0 {
                break;
            }
            for (to, from) in room.iter_mut().zip(ready) {
                *to = *from;
            }
            self.taken += count;
            written += count;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_come_from_any_offset() {
        let input = Generated { records: 7, keys: 3 };
        let mut all = Vec::new();
        input.read_from(0).read_to_end(&mut all).unwrap();
        assert_eq!(all.len() as u64, input.bytes());
        assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), 8);
        for offset in 0..=all.len() {
            let mut rest = Vec::new();
            input.read_from(offset as u64).read_to_end(&mut rest).unwrap();
            assert_eq!(rest, &all[offset..], "from {offset}");
        }
    }

    #[test]
    fn names_are_read_back_and_bad_ones_refused() {
        let input = Generated { records: 10, keys: 3 };
        assert_eq!(Generated::parse(&input.to_string()), Some(Ok(input)));
        assert_eq!(Generated::parse("flights.csv"), None);
        for bad in ["generate:", "generate:10", "generate:0:1", "generate:1:x", "generate:1:2:3"] {
            assert!(Generated::parse(bad).unwrap().is_err(), "{bad}");
        }
    }
}
