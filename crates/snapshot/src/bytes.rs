//! Little-endian integers, varints and length-prefixed bytes. A varint is LEB128, as in
//! [`millpond_state::codec`]: seven bits a byte, least significant first, shortest form only.

use crate::error::{Result, SnapshotError};

/// Most bytes that a varint takes.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A varint length, then the bytes.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a slice from its front; knows how far it came.
#[derive(Clone, Debug)]
pub(crate) struct ByteReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> ByteReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// A reader that is already `position` bytes into `bytes`.
    #[inline]
    pub(crate) const fn at(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    #[inline]
    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.position >= self.bytes.len()
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.position.checked_add(count);
        match end.and_then(|end| Some((end, self.bytes.get(self.position..end)?))) {
            Some((end, taken)) => {
                self.position = end;
                Ok(taken)
            }
            None => Err(self.cut(count as u64)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.bytes.get(self.position..).and_then(<[u8]>::first_chunk::<N>) {
            Some(array) => {
                self.position += N;
                Ok(*array)
            }
            None => Err(self.cut(N as u64)),
        }
    }

    pub(crate) fn magic(&mut self) -> Result<[u8; 8]> {
        self.array()
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64> {
        match self.bytes.get(self.position) {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let mut value = 0u64;
        for (index, &byte) in rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if index == VARINT_BYTES_MAX - 1 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    break;
                }
                self.position += index + 1;
                return Ok(value);
            }
        }
        Err(SnapshotError::corrupt(format!("no varint at byte {} of the part", self.position)))
    }

    /// A varint that may not be above `max`; `what` names it in the error.
    #[inline]
    pub(crate) fn varint_to(&mut self, max: u64, what: &str) -> Result<u64> {
        let value = self.varint()?;
        if value > max {
            return Err(SnapshotError::corrupt(format!(
                "{what} is {value}, more than the limit {max}"
            )));
        }
        Ok(value)
    }

    /// A varint length of at most `max`, then the bytes.
    #[inline]
    pub(crate) fn bytes(&mut self, max: usize, what: &str) -> Result<&'a [u8]> {
        let len = self.varint_to(max as u64, what)?;
        self.take(len as usize)
    }

    pub(crate) fn text(&mut self, max: usize, what: &str) -> Result<&'a str> {
        let bytes = self.bytes(max, what)?;
        core::str::from_utf8(bytes)
            .map_err(|_| SnapshotError::corrupt(format!("{what} is not UTF-8")))
    }

    pub(crate) fn expect_end(&self) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let left = self.bytes.len() - self.position;
        Err(SnapshotError::corrupt(format!("{left} bytes are left over at the end of the part")))
    }

    #[cold]
    fn cut(&self, wanted: u64) -> SnapshotError {
        let have = self.bytes.len().saturating_sub(self.position);
        SnapshotError::corrupt(format!(
            "cut short: {wanted} bytes wanted at byte {} of the part, {have} there",
            self.position
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_in_their_shortest_form_and_no_other_form_is_read() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = ByteReader::new(&out);
            assert_eq!(reader.varint().unwrap(), value);
            assert!(reader.is_empty());
            assert!(ByteReader::new(&out[..out.len() - 1]).varint().is_err());
        }
        for bad in [&[0x80, 0][..], &[0x81, 0x80, 0], &[0xff; 10], &[0xff; 11]] {
            assert!(ByteReader::new(bad).varint().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_length_past_the_input_is_an_error_and_moves_nothing() {
        let mut reader = ByteReader::new(&[5, 1, 2]);
        assert!(reader.clone().bytes(10, "test").is_err());
        assert!(reader.clone().bytes(4, "test").is_err());
        assert_eq!(reader.u8().unwrap(), 5);
        assert!(reader.take(usize::MAX).is_err());
        assert!(reader.u32().is_err());
        assert_eq!(reader.u16().unwrap(), 0x0201);
    }
}
