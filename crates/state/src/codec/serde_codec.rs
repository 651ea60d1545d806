//! Any serde type, in the postcard wire format.

use core::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::text::{decode_slice, encode_slice};
use super::{Codec, CodecIdentity};
use crate::buffer::Scratch;
use crate::error::{ErrorKind, Result, StateError};

/// A type that is stored through serde: says under which name and version snapshots know it.
pub trait PostcardType: Serialize + DeserializeOwned + 'static {
    /// A name that no refactoring changes; snapshots store `postcard:<name>`.
    const NAME: &'static str;
    /// Counts up whenever the type's serialised form changes.
    const VERSION: u32;
}

/// Encodes a serde type as the varint length of its postcard bytes, and those bytes.
///
/// ```
/// use millpond_state::codec::{Codec, Postcard, PostcardType};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Order { id: u64, lines: Vec<String> }
/// impl PostcardType for Order {
///     const NAME: &'static str = "shop.order";
///     const VERSION: u32 = 1;
/// }
///
/// assert_eq!(Postcard::<Order>::default().identity().to_string(), "postcard:shop.order v1");
/// ```
#[derive(Debug)]
pub struct Postcard<T>(PhantomData<fn() -> T>);

impl<T> Clone for Postcard<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Postcard<T> {}

impl<T> Default for Postcard<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: PostcardType> Codec<T> for Postcard<T> {
    fn identity(&self) -> CodecIdentity {
        CodecIdentity::new(format!("postcard:{}", T::NAME), T::VERSION)
    }

    fn encode_into(&self, value: &T, out: &mut Scratch) -> Result<()> {
        let body = postcard::to_extend(value, Scratch::new()).map_err(|error| {
            StateError::new(
                ErrorKind::UserCode,
                format!("a value cannot be serialised for codec {}", self.identity()),
            )
            .with_source(error)
        })?;
        encode_slice(body.as_slice(), out);
        Ok(())
    }

    fn decode_from(&self, input: &mut &[u8]) -> Result<T> {
        let body = decode_slice(input, T::NAME)?;
        postcard::from_bytes(body).map_err(|error| {
            StateError::new(ErrorKind::Corrupt, format!("value of codec {}", self.identity()))
                .with_source(error)
        })
    }
}
