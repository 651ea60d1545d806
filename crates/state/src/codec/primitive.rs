//! Codecs of fixed size: integers, floats, booleans, and nothing at all.

use core::marker::PhantomData;

use super::{Codec, CodecIdentity, HasCodec, malformed, take};
use crate::buffer::Scratch;
use crate::error::Result;

/// Encodes `()` as no bytes: the void namespace, or a set as a map without values.
#[derive(Clone, Copy, Debug, Default)]
pub struct VoidCodec;

impl Codec<()> for VoidCodec {
    fn identity(&self) -> CodecIdentity {
        CodecIdentity::void()
    }

    #[inline]
    fn encode_into(&self, (): &(), _out: &mut Scratch) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn decode_from(&self, _input: &mut &[u8]) -> Result<()> {
        Ok(())
    }
}

impl HasCodec for () {
    type Codec = VoidCodec;
}

/// Encodes a boolean as one byte, 0 or 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoolCodec;

impl Codec<bool> for BoolCodec {
    fn identity(&self) -> CodecIdentity {
        CodecIdentity::new("bool", 1)
    }

    #[inline]
    fn encode_into(&self, value: &bool, out: &mut Scratch) -> Result<()> {
        out.push(u8::from(*value));
        Ok(())
    }

    #[inline]
    fn decode_from(&self, input: &mut &[u8]) -> Result<bool> {
        match take(input, 1, "bool")? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(malformed("bool")),
        }
    }
}

impl HasCodec for bool {
    type Codec = BoolCodec;
}

/// Encodes an integer or float of type `T` in its fixed number of bytes, in an order-preserving
/// form.
#[derive(Debug)]
pub struct FixedCodec<T>(PhantomData<fn() -> T>);

impl<T> Clone for FixedCodec<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for FixedCodec<T> {}

impl<T> Default for FixedCodec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

macro_rules! fixed {
    ($($type:ident: $bits:ident, $to:expr, $from:expr;)*) => {$(
        impl Codec<$type> for FixedCodec<$type> {
            fn identity(&self) -> CodecIdentity {
                CodecIdentity::new(stringify!($type), 1)
            }

            #[inline]
            fn encode_into(&self, value: &$type, out: &mut Scratch) -> Result<()> {
                let to: fn($type) -> $bits = $to;
                out.extend_from_slice(&to(*value).to_be_bytes());
                Ok(())
            }

            #[inline]
            fn decode_from(&self, input: &mut &[u8]) -> Result<$type> {
                let from: fn($bits) -> $type = $from;
                match input.split_first_chunk() {
                    Some((bytes, rest)) => {
                        *input = rest;
                        Ok(from($bits::from_be_bytes(*bytes)))
                    }
                    None => Err(malformed(stringify!($type))),
                }
            }
        }

        impl HasCodec for $type {
            type Codec = FixedCodec<$type>;
        }
    )*};
}

fixed! {
    u8: u8, |v| v, |b| b;
    u16: u16, |v| v, |b| b;
    u32: u32, |v| v, |b| b;
    u64: u64, |v| v, |b| b;
    u128: u128, |v| v, |b| b;
    i8: u8, |v| (v as u8) ^ (1 << 7), |b| (b ^ (1 << 7)) as i8;
    i16: u16, |v| (v as u16) ^ (1 << 15), |b| (b ^ (1 << 15)) as i16;
    i32: u32, |v| (v as u32) ^ (1 << 31), |b| (b ^ (1 << 31)) as i32;
    i64: u64, |v| (v as u64) ^ (1 << 63), |b| (b ^ (1 << 63)) as i64;
    i128: u128, |v| (v as u128) ^ (1 << 127), |b| (b ^ (1 << 127)) as i128;
    f32: u32,
        |v| { let b = v.to_bits(); if b >> 31 == 0 { b ^ (1 << 31) } else { !b } },
        |b| f32::from_bits(if b >> 31 == 1 { b ^ (1 << 31) } else { !b });
    f64: u64,
        |v| { let b = v.to_bits(); if b >> 63 == 0 { b ^ (1 << 63) } else { !b } },
        |b| f64::from_bits(if b >> 63 == 1 { b ^ (1 << 63) } else { !b });
}
