//! How values written with another codec become values of this one.

use core::fmt;
use std::sync::Arc;

use super::Codec;
use crate::buffer::Scratch;
use crate::error::Result;

/// Moves its input past one encoded value.
pub(crate) type Skip = fn(&mut &[u8]) -> Result<()>;

/// Moves `input` past one value of codec `C`.
pub(crate) fn skip_one<T, C: Codec<T>>(input: &mut &[u8]) -> Result<()> {
    C::default().decode_from(input).map(drop)
}

/// What a conversion does: takes one encoded value off the front of its input and appends the
/// encoding of what it becomes.
type Convert = dyn Fn(&mut &[u8], &mut Scratch) -> Result<()> + Send + Sync;

/// Turns one encoded value into the encoding of another codec. Cheap to clone.
#[derive(Clone)]
pub struct Conversion(Arc<Convert>);

impl Conversion {
    /// A conversion that takes one encoded value off the front of its input and appends the
    /// encoding of what it becomes.
    #[must_use]
    pub fn new(
        convert: impl Fn(&mut &[u8], &mut Scratch) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(convert))
    }

    /// Converts the value at the front of `input`, moves `input` past it, and appends to `out`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the bytes do not decode; what code of
    /// the user returns.
    #[inline]
    pub fn convert(&self, input: &mut &[u8], out: &mut Scratch) -> Result<()> {
        (self.0)(input, out)
    }
}

impl fmt::Debug for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conversion")
    }
}

/// What a codec says about bytes that were written under another identity than its own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Evolution {
    /// It knows nothing about them.
    Unknown,
    /// It knows them, and cannot read them: why, and what to do.
    Refused(String),
    /// It can read them this way.
    Possible(Conversion),
}
