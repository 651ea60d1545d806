//! How values become bytes, and how a snapshot remembers which way it was.
//!
//! A [`Codec`] turns values of one type into bytes and back. Every encoding is self-delimiting:
//! a decoder knows where its value ends, so encodings can be concatenated (tuples, lists) and a
//! (key, namespace) pair is never ambiguous. Integers are big-endian with the sign bit flipped, so
//! that their byte order is their numeric order.
//!
//! A [`CodecIdentity`] is a name and a version. It goes into snapshots. On restore it must be what
//! it was, or the values are [migrated](crate::migration): by steps that the user gives, or as the
//! codec itself [offers](Codec::evolve_from). For the codecs of this module the name is a
//! [shape](crate::codec::Shape), a small grammar that lets tools decode the bytes without the
//! program that wrote them.
//!
//! | type | bytes | shape |
//! |---|---|---|
//! | `()` | none | `void` |
//! | `bool` | 1: 0 or 1 | `bool` |
//! | `u8` to `u128` | big-endian | `u8` ... `u128` |
//! | `i8` to `i128` | big-endian, sign bit flipped | `i8` ... `i128` |
//! | `f32`, `f64` | big-endian IEEE 754 bits, made to sort: sign bit flipped if clear, all bits if set | `f32`, `f64` |
//! | `String` | varint length, UTF-8 | `string` |
//! | `Vec<u8>` | varint length, bytes | `bytes` |
//! | `Option<T>` | 0, or 1 and `T` | `option<T>` |
//! | tuples of 2 to 6 | the parts one after the other | `tuple<A,B>` |
//! | [`record!`](crate::record) structs | the fields one after the other | `record<name:T,...>` |
//! | `Postcard<T>` | varint length, postcard bytes | `postcard:<name>` |
//! | `Named<T>` | varint length, MessagePack bytes with field names | `named:<name>` |
//!
//! A varint is LEB128: seven bits a byte, least significant first, high bit set on all but the
//! last; at most 10 bytes.

mod compound;
mod evolve;
mod primitive;
mod record;
mod record_evolution;
mod shape;
mod text;
pub mod varint;

#[cfg(feature = "serde")]
mod named;
#[cfg(feature = "serde")]
mod serde_codec;

use core::fmt;

pub use compound::{OptionCodec, TupleCodec};
pub use evolve::{Conversion, Evolution};
pub(crate) use evolve::{Skip, skip_one};
#[cfg(feature = "serde")]
pub use named::{Named, NamedType};
pub use primitive::{BoolCodec, FixedCodec, VoidCodec};
pub use record::RecordCodec;
#[doc(hidden)]
pub use record_evolution::{RecordField, evolve_record};
#[cfg(feature = "serde")]
pub use serde_codec::{Postcard, PostcardType};
pub use shape::{DynValue, Shape};
pub use text::{BytesCodec, StringCodec};

use crate::buffer::Scratch;
use crate::error::{ErrorKind, Result, StateError};

/// Longest codec name, in bytes.
pub const CODEC_NAME_BYTES_MAX: usize = 4_096;

/// Name and version of a codec, as snapshots keep them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CodecIdentity {
    name: String,
    version: u32,
}

impl CodecIdentity {
    /// The identity of a codec called `name`. Choose a name that no refactoring changes: never a
    /// type's path. Names without a colon are taken for [shapes](Shape).
    #[must_use]
    pub fn new(name: impl Into<String>, version: u32) -> Self {
        Self { name: name.into(), version }
    }

    /// The identity for "no bytes at all", the void namespace.
    #[must_use]
    pub fn void() -> Self {
        Self::new("void", 1)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }
}

impl fmt::Display for CodecIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

/// Turns values of type `T` into bytes and back. Implementations hold no state that changes.
pub trait Codec<T>: Clone + Default + Send + Sync + 'static {
    /// What snapshots remember about the encoding. Change the version whenever the bytes change.
    fn identity(&self) -> CodecIdentity;

    /// Appends the encoding of `value`. Must be self-delimiting, and equal for equal values.
    ///
    /// # Errors
    /// [`ErrorKind::UserCode`] if the value cannot be encoded; the ready codecs for primitives,
    /// strings, options and tuples never fail.
    fn encode_into(&self, value: &T, out: &mut Scratch) -> Result<()>;

    /// Decodes one value from the front of `input` and moves `input` past it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes are not an encoding of a `T`.
    fn decode_from(&self, input: &mut &[u8]) -> Result<T>;

    /// Says whether and how values that were written under another identity become values of this
    /// codec: asked when a state is restored. Unless a codec says otherwise, it knows no other.
    fn evolve_from(&self, written: &CodecIdentity) -> Evolution {
        let _ = written;
        Evolution::Unknown
    }

    /// Decodes a value that must fill `bytes` exactly.
    ///
    /// # Errors
    /// As [`Self::decode_from`], and [`ErrorKind::Corrupt`] if bytes are left over.
    #[inline]
    fn decode_all(&self, mut bytes: &[u8]) -> Result<T> {
        let value = self.decode_from(&mut bytes)?;
        if bytes.is_empty() { Ok(value) } else { Err(left_over(&self.identity(), bytes.len())) }
    }
}

/// A type with a codec of its own, used wherever none is named.
pub trait HasCodec: Sized {
    /// The type's codec.
    type Codec: Codec<Self>;
}

/// The codec of a type that [has one](HasCodec).
pub type DefaultCodec<T> = <T as HasCodec>::Codec;

#[cold]
fn left_over(codec: &CodecIdentity, bytes: usize) -> StateError {
    StateError::new(
        ErrorKind::Corrupt,
        format!("{bytes} bytes are left over after a value of codec {codec}"),
    )
}

#[cold]
pub(crate) fn malformed(what: &str) -> StateError {
    StateError::new(ErrorKind::Corrupt, format!("bytes are not an encoding of {what}"))
}

/// Splits `count` bytes off the front of `input`.
#[inline]
pub(crate) fn take<'a>(input: &mut &'a [u8], count: usize, what: &str) -> Result<&'a [u8]> {
    match input.split_at_checked(count) {
        Some((front, rest)) => {
            *input = rest;
            Ok(front)
        }
        None => Err(malformed(what)),
    }
}

#[cfg(test)]
mod tests;
