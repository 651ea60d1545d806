//! Rows of comma-separated values.

use std::fmt::{self, Write};

/// Writes one row: fields with commas, quotes or line ends are quoted.
#[derive(Debug)]
pub(crate) struct CsvRow<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> CsvRow<'a> {
    /// Starts a row at the end of `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, first: true }
    }

    fn separate(&mut self) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
    }

    /// Adds a field of text.
    pub(crate) fn text(mut self, field: &[u8]) -> Self {
        self.separate();
        if field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
            self.out.push(b'"');
            for byte in field {
                if *byte == b'"' {
                    self.out.push(b'"');
                }
                self.out.push(*byte);
            }
            self.out.push(b'"');
        } else {
            self.out.extend_from_slice(field);
        }
        self
    }

    /// Adds a number.
    pub(crate) fn number(mut self, number: impl fmt::Display) -> Self {
        self.separate();
        // Numbers need no quotes, and writing into memory does not fail.
        let _ = write!(Bytes(self.out), "{number}");
        self
    }

    /// Ends the row.
    pub(crate) fn end(self) {
        self.out.push(b'\n');
    }
}

struct Bytes<'a>(&'a mut Vec<u8>);

impl Write for Bytes<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_only_where_they_must_be() {
        let mut out = Vec::new();
        CsvRow::new(&mut out).text(b"plain").text(b"").text(b"a,b").text(b"\"q\"").number(-3).end();
        CsvRow::new(&mut out).text(b"two\nlines").end();
        assert_eq!(out, b"plain,,\"a,b\",\"\"\"q\"\"\",-3\n\"two\nlines\"\n");
    }
}
