//! Variable-length integers: LEB128, seven bits a byte, least significant group first.

use crate::buffer::Scratch;
use crate::error::Result;

use super::malformed;

/// Most bytes that a 64-bit varint takes.
pub const VARINT_BYTES_MAX: usize = 10;

/// Appends `value`.
#[inline]
pub fn encode_into(mut value: u64, out: &mut Scratch) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Decodes a varint from the front of `input` and moves `input` past it. Only the shortest encoding
/// of a number is accepted.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if it is cut, too long or not the shortest.
#[inline]
pub fn decode_from(input: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for (index, &byte) in input.iter().take(VARINT_BYTES_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index as u32;
        if index == VARINT_BYTES_MAX - 1 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                break;
            }
            *input = input.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err(malformed("a varint"))
}
