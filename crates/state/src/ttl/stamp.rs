//! The stamp before each part of state that expires: when it was last touched, as an `i64` in the
//! codec of that type.

use crate::buffer::Scratch;
use crate::codec::malformed;
use crate::error::Result;

const SIGN_BIT: u64 = 1 << 63;

/// Appends a stamp.
#[inline]
pub(crate) fn encode_into(stamp: i64, out: &mut Scratch) {
    out.extend_from_slice(&(stamp as u64 ^ SIGN_BIT).to_be_bytes());
}

/// Splits stored bytes into the stamp and the value.
#[inline]
pub(crate) fn split(stored: &[u8]) -> Result<(i64, &[u8])> {
    match stored.split_first_chunk() {
        Some((bytes, value)) => Ok(((u64::from_be_bytes(*bytes) ^ SIGN_BIT) as i64, value)),
        None => Err(malformed("the stamp of a value that expires")),
    }
}

/// Takes a stamp off the front of `input`.
#[inline]
pub(crate) fn decode_from(input: &mut &[u8]) -> Result<i64> {
    let (stamp, rest) = split(input)?;
    *input = rest;
    Ok(stamp)
}
