//! Codecs made of codecs: options and tuples.

use super::{Codec, CodecIdentity, Conversion, Evolution, HasCodec, malformed, take};
use crate::buffer::Scratch;
use crate::error::Result;

/// Joins the identities of parts under one name; the version is the sum of how far each part's
/// version is past 1, plus 1, so that a change of any part changes it.
fn joined(open: &str, parts: &[CodecIdentity]) -> CodecIdentity {
    let names: Vec<&str> = parts.iter().map(CodecIdentity::name).collect();
    let version =
        parts.iter().fold(1u32, |sum, part| sum.saturating_add(part.version().saturating_sub(1)));
    CodecIdentity::new(format!("{open}<{}>", names.join(",")), version)
}

/// Encodes an option as 0, or as 1 and the value.
#[derive(Clone, Copy, Debug, Default)]
pub struct OptionCodec<C>(C);

impl<T, C: Codec<T>> Codec<Option<T>> for OptionCodec<C> {
    fn identity(&self) -> CodecIdentity {
        joined("option", &[self.0.identity()])
    }

    #[inline]
    fn encode_into(&self, value: &Option<T>, out: &mut Scratch) -> Result<()> {
        match value {
            None => {
                out.push(0);
                Ok(())
            }
            Some(value) => {
                out.push(1);
                self.0.encode_into(value, out)
            }
        }
    }

    #[inline]
    fn decode_from(&self, input: &mut &[u8]) -> Result<Option<T>> {
        match take(input, 1, "option")? {
            [0] => Ok(None),
            [1] => self.0.decode_from(input).map(Some),
            _ => Err(malformed("option")),
        }
    }

    fn evolve_from(&self, written: &CodecIdentity) -> Evolution {
        let name = written.name().strip_prefix("option<").and_then(|name| name.strip_suffix('>'));
        let Some(name) = name else { return Evolution::Unknown };
        match self.0.evolve_from(&CodecIdentity::new(name, written.version())) {
            Evolution::Possible(inner) => {
                Evolution::Possible(Conversion::new(move |input, out| {
                    match take(input, 1, "option")? {
                        [0] => {
                            out.push(0);
                            Ok(())
                        }
                        [1] => {
                            out.push(1);
                            inner.convert(input, out)
                        }
                        _ => Err(malformed("option")),
                    }
                }))
            }
            other => other,
        }
    }
}

impl<T: HasCodec> HasCodec for Option<T> {
    type Codec = OptionCodec<T::Codec>;
}

/// Encodes a tuple as its parts, one after the other; its order is that of the tuple as far as the
/// parts keep theirs.
#[derive(Clone, Copy, Debug, Default)]
pub struct TupleCodec<C>(C);

macro_rules! tuple {
    ($($type:ident $codec:ident $index:tt),+) => {
        impl<$($type,)+ $($codec: Codec<$type>,)+> Codec<($($type,)+)>
            for TupleCodec<($($codec,)+)>
        {
            fn identity(&self) -> CodecIdentity {
                joined("tuple", &[$(self.0.$index.identity()),+])
            }

            #[inline]
            fn encode_into(&self, value: &($($type,)+), out: &mut Scratch) -> Result<()> {
                $(self.0.$index.encode_into(&value.$index, out)?;)+
                Ok(())
            }

            #[inline]
            fn decode_from(&self, input: &mut &[u8]) -> Result<($($type,)+)> {
                Ok(($(self.0.$index.decode_from(input)?,)+))
            }
        }

        impl<$($type: HasCodec),+> HasCodec for ($($type,)+) {
            type Codec = TupleCodec<($($type::Codec,)+)>;
        }
    };
}

tuple!(A CA 0, B CB 1);
tuple!(A CA 0, B CB 1, C CC 2);
tuple!(A CA 0, B CB 1, C CC 2, D CD 3);
tuple!(A CA 0, B CB 1, C CC 2, D CD 3, E CE 4);
tuple!(A CA 0, B CB 1, C CC 2, D CD 3, E CE 4, F CF 5);
