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
/// The fields may change between runs of a program, without any code: values in a restored snapshot
/// are matched by the names of their fields.
/// - A new field needs a default: `field: type = value`.
/// - A renamed field tells its old name: `field (was old_name): type`.
/// - A field that is gone is dropped.
/// - An integer or float may become a wider one of its sort, `u32` a `u64` for instance, and a
///   field that is itself a record or an option of one may change likewise.
///
/// Anything else needs a [migration step](crate::Migrations). So does a change of meaning: if the
/// version is raised and the fields are the same, values of the old version are refused without a
/// step.
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
    (
        $type:ident, version $version:literal,
        { $($field:ident $((was $was:ident))? : $field_type:ty $(= $default:expr)?),+ $(,)? }
    ) => {
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

            fn evolve_from(
                &self,
                written: &$crate::codec::CodecIdentity,
            ) -> $crate::codec::Evolution {
                $crate::codec::evolve_record(&self.identity(), written, &[$(
                    $crate::codec::RecordField {
                        name: ::core::stringify!($field),
                        was: ::core::option::Option::None$(
                            .or(::core::option::Option::Some(::core::stringify!($was)))
                        )?,
                        codec: $crate::codec::Codec::<$field_type>::identity(
                            &$crate::codec::DefaultCodec::<$field_type>::default(),
                        ),
                        skip: |input| $crate::codec::Codec::<$field_type>::decode_from(
                            &$crate::codec::DefaultCodec::<$field_type>::default(),
                            input,
                        ).map(::core::mem::drop),
                        evolve: |written| $crate::codec::Codec::<$field_type>::evolve_from(
                            &$crate::codec::DefaultCodec::<$field_type>::default(),
                            written,
                        ),
                        default: ::core::option::Option::None$(.or(::core::option::Option::Some(|| {
                            let value: $field_type = $default;
                            let mut out = $crate::Scratch::new();
                            $crate::codec::Codec::<$field_type>::encode_into(
                                &$crate::codec::DefaultCodec::<$field_type>::default(),
                                &value,
                                &mut out,
                            )?;
                            ::core::result::Result::Ok(out)
                        })))?,
                    },
                )+])
            }
        }

        impl $crate::codec::HasCodec for $type {
            type Codec = $crate::codec::RecordCodec<$type>;
        }
    };
}
