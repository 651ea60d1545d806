//! Structs with named fields, so that a snapshot's values can be shown with their field names.

use core::marker::PhantomData;

/// The codec of a struct declared through [`record!`](crate::record): its fields in order of
/// declaration.
#[derive(Debug)]
pub struct RecordCodec<T>(PhantomData<fn() -> T>);

impl<T> Clone for RecordCodec<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for RecordCodec<T> {}

impl<T> Default for RecordCodec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// Gives a struct a codec that writes its fields one after the other and tells their names and
/// types to snapshots. Every field's type must [have a codec](crate::codec::HasCodec).
///
/// ```
/// use millpond_state::codec::{Codec, DefaultCodec};
///
/// #[derive(Debug, Default, PartialEq)]
/// struct Totals {
///     flights: u64,
///     delay_minutes: i64,
/// }
/// millpond_state::record!(Totals, version 1, { flights: u64, delay_minutes: i64 });
///
/// let codec = DefaultCodec::<Totals>::default();
/// assert_eq!(codec.identity().name(), "record<flights:u64,delay_minutes:i64>");
/// ```
#[macro_export]
macro_rules! record {
    ($type:ident, version $version:literal, { $($field:ident: $field_type:ty),+ $(,)? }) => {
        impl $crate::codec::Codec<$type> for $crate::codec::RecordCodec<$type> {
            fn identity(&self) -> $crate::codec::CodecIdentity {
                let fields = [$((
                    ::core::stringify!($field),
                    $crate::codec::Codec::<$field_type>::identity(
                        &$crate::codec::DefaultCodec::<$field_type>::default(),
                    ),
                )),+];
                let names: ::std::vec::Vec<::std::string::String> = fields
                    .iter()
                    .map(|(name, codec)| ::std::format!("{name}:{}", codec.name()))
                    .collect();
                $crate::codec::CodecIdentity::new(
                    ::std::format!("record<{}>", names.join(",")),
                    $version,
                )
            }

            #[inline]
            fn encode_into(&self, value: &$type, out: &mut $crate::Scratch) -> $crate::Result<()> {
                $($crate::codec::Codec::<$field_type>::encode_into(
                    &$crate::codec::DefaultCodec::<$field_type>::default(),
                    &value.$field,
                    out,
                )?;)+
                ::core::result::Result::Ok(())
            }

            #[inline]
            fn decode_from(&self, input: &mut &[u8]) -> $crate::Result<$type> {
                ::core::result::Result::Ok($type {
                    $($field: $crate::codec::Codec::<$field_type>::decode_from(
                        &$crate::codec::DefaultCodec::<$field_type>::default(),
                        input,
                    )?,)+
                })
            }
        }

        impl $crate::codec::HasCodec for $type {
            type Codec = $crate::codec::RecordCodec<$type>;
        }
    };
}
