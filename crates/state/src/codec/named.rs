//! Any serde type whose fields are stored with their names, so that the type can change.

use core::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::evolve::{Conversion, Evolution};
use super::text::{decode_slice, encode_slice};
use super::{Codec, CodecIdentity};
use crate::buffer::Scratch;
use crate::error::{ErrorKind, Result, StateError};

/// A type that is stored through serde with the names of its fields.
pub trait NamedType: Serialize + DeserializeOwned + 'static {
    /// A name that no refactoring changes; snapshots store `named:<name>`.
    const NAME: &'static str;
    /// Counts up whenever the type's fields change. Values of this and all lower versions must
    /// deserialise into the type.
    const VERSION: u32;
}

/// Encodes a serde type as the varint length of its MessagePack bytes, and those bytes: structs as
/// maps from field names to values. Values that an older version of the type wrote are read by what
/// serde offers: `#[serde(default)]` for fields that were added, `#[serde(alias = "...")]` for
/// renamed ones; fields that are gone are skipped. They are written anew when a snapshot with an
/// older version is restored.
///
/// The names are stored in every value. [`Postcard`](super::Postcard) is smaller and faster, for
/// types that do not change; a [record](crate::record) is both, for structs of plain fields.
///
/// ```
/// use millpond_state::codec::{Codec, HasCodec, Named, NamedType};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Order {
///     #[serde(alias = "number")] // its name in version 1
///     id: u64,
///     #[serde(default)] // since version 2
///     express: bool,
/// }
/// impl NamedType for Order {
///     const NAME: &'static str = "shop.order";
///     const VERSION: u32 = 2;
/// }
/// impl HasCodec for Order {
///     type Codec = Named<Order>;
/// }
///
/// assert_eq!(Named::<Order>::default().identity().to_string(), "named:shop.order v2");
/// ```
#[derive(Debug)]
pub struct Named<T>(PhantomData<fn() -> T>);

impl<T> Clone for Named<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Named<T> {}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: NamedType> Codec<T> for Named<T> {
    fn identity(&self) -> CodecIdentity {
        CodecIdentity::new(format!("named:{}", T::NAME), T::VERSION)
    }

    fn encode_into(&self, value: &T, out: &mut Scratch) -> Result<()> {
        let body = rmp_serde::to_vec_named(value).map_err(|error| {
            StateError::new(
                ErrorKind::UserCode,
                format!("a value cannot be serialised for codec {}", self.identity()),
            )
            .with_source(error)
        })?;
        encode_slice(&body, out);
        Ok(())
    }

    fn decode_from(&self, input: &mut &[u8]) -> Result<T> {
        let body = decode_slice(input, T::NAME)?;
        rmp_serde::from_slice(body).map_err(|error| {
            StateError::new(ErrorKind::Corrupt, format!("value of codec {}", self.identity()))
                .with_source(error)
        })
    }

    fn evolve_from(&self, written: &CodecIdentity) -> Evolution {
        let own = self.identity();
        if written.name() != own.name() {
            return Evolution::Unknown;
        }
        if written.version() > own.version() {
            return Evolution::Refused(
                "it was written by a newer program: run that one".to_owned(),
            );
        }
        let codec = *self;
        Evolution::Possible(Conversion::new(move |input, out| {
            codec.encode_into(&codec.decode_from(input)?, out)
        }))
    }
}
