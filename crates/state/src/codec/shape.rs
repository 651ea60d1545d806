//! Shapes: the grammar of codec names, which lets tools decode and encode values without the
//! program that they belong to.
//!
//! ```text
//! name   = shape | "expiring<" ("processing" | "event") "," shape ">"
//! shape  = "void" | "bool" | "u8".."u128" | "i8".."i128" | "f32" | "f64" | "string" | "bytes"
//!        | "option<" shape ">" | "tuple<" shape {"," shape} ">"
//!        | "record<" field {"," field} ">"
//! field  = name ":" shape                     name: letters, digits, underscores
//! ```
//!
//! An `expiring` value is 8 bytes, when it was last touched as an `i64`, and then the value.

use core::fmt;

use super::{Codec, DefaultCodec, HasCodec, malformed, text};
use crate::buffer::Scratch;
use crate::error::{ErrorKind, Result, StateError};
use crate::time::{TimeDomain, UNKNOWN};

/// Deepest nesting of a shape that is parsed: names come from files that may be damaged.
const DEPTH_MAX: usize = 16;

/// The parsed name of a codec whose bytes describe themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// No bytes.
    Void,
    /// A boolean.
    Bool,
    /// An unsigned integer of so many bits.
    Unsigned(u8),
    /// A signed integer of so many bits.
    Signed(u8),
    /// A float of so many bits.
    Float(u8),
    /// UTF-8 text.
    String,
    /// Bytes.
    Bytes,
    /// A value or none.
    Option(Box<Shape>),
    /// Parts without names.
    Tuple(Vec<Shape>),
    /// Parts with names.
    Record(Vec<(String, Shape)>),
    /// A value with the time it was last touched at; only as a whole value, never as a part.
    Expiring {
        /// By which clock.
        domain: TimeDomain,
        /// The value.
        value: Box<Shape>,
    },
}

/// A value decoded by its [`Shape`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DynValue {
    /// No value: void, or an empty option.
    None,
    /// A boolean.
    Bool(bool),
    /// An unsigned integer.
    Unsigned(u128),
    /// A signed integer.
    Signed(i128),
    /// A float.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Parts without names.
    Tuple(Vec<DynValue>),
    /// Parts with names.
    Record(Vec<(String, DynValue)>),
    /// A value that expires.
    Expiring {
        /// When it was last touched, in milliseconds of its time domain; `None` if that was before
        /// any time was known.
        touched_ms: Option<i64>,
        /// The value.
        value: Box<DynValue>,
    },
}

impl Shape {
    /// Parses a codec's name.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] if the name is not a shape: the codec is one that only its own
    /// program can decode.
    pub fn parse(name: &str) -> Result<Self> {
        let mut rest = name;
        match parse_name(&mut rest) {
            Some(shape) if rest.is_empty() => Ok(shape),
            _ => Err(StateError::new(
                ErrorKind::Incompatible,
                format!("codec {name:?} is not self-describing: only its own program decodes it"),
            )),
        }
    }

    /// Decodes one value from the front of `input` and moves `input` past it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes do not have this shape.
    pub fn decode_from(&self, input: &mut &[u8]) -> Result<DynValue> {
        Ok(match self {
            Self::Void => DynValue::None,
            Self::Bool => DynValue::Bool(DefaultCodec::<bool>::default().decode_from(input)?),
            Self::Unsigned(bits) => DynValue::Unsigned(decode_unsigned(*bits, input)?),
            Self::Signed(bits) => DynValue::Signed(decode_signed(*bits, input)?),
            Self::Float(32) => {
                DynValue::Float(DefaultCodec::<f32>::default().decode_from(input)?.into())
            }
            Self::Float(_) => DynValue::Float(DefaultCodec::<f64>::default().decode_from(input)?),
            Self::String => DynValue::String(DefaultCodec::<String>::default().decode_from(input)?),
            Self::Bytes => DynValue::Bytes(text::decode_slice(input, "bytes")?.to_vec()),
            Self::Option(inner) => {
                if DefaultCodec::<bool>::default().decode_from(input)? {
                    inner.decode_from(input)?
                } else {
                    DynValue::None
                }
            }
            Self::Tuple(parts) => DynValue::Tuple(
                parts.iter().map(|part| part.decode_from(input)).collect::<Result<_>>()?,
            ),
            Self::Record(fields) => DynValue::Record(
                fields
                    .iter()
                    .map(|(name, shape)| Ok((name.clone(), shape.decode_from(input)?)))
                    .collect::<Result<_>>()?,
            ),
            Self::Expiring { value, .. } => {
                let stamp = DefaultCodec::<i64>::default().decode_from(input)?;
                let touched_ms = (stamp != UNKNOWN).then_some(stamp);
                DynValue::Expiring { touched_ms, value: Box::new(value.decode_from(input)?) }
            }
        })
    }

    /// Appends the encoding of `value`: what the codec of this name gives for the typed value.
    /// Floats are rounded to the shape's precision, fields of a record may come in any order, and a
    /// value that expires may come without its time, which then is unknown. What decodes to
    /// [`DynValue::None`] within an option is encoded as the option without a value.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the value does not have this shape; `out` then holds a
    /// part of it.
    pub fn encode_into(&self, value: &DynValue, out: &mut Scratch) -> Result<()> {
        match (self, value) {
            (Self::Void, DynValue::None) => Ok(()),
            (Self::Option(_), DynValue::None) => put(&false, out),
            (Self::Option(inner), value) => {
                put(&true, out)?;
                inner.encode_into(value, out)
            }
            (Self::Bool, DynValue::Bool(value)) => put(value, out),
            (Self::Unsigned(bits), DynValue::Unsigned(value)) => {
                encode_unsigned(*bits, *value, out).unwrap_or_else(|| Err(self.misfit(value)))
            }
            (Self::Signed(bits), DynValue::Signed(value)) => {
                encode_signed(*bits, *value, out).unwrap_or_else(|| Err(self.misfit(value)))
            }
            (Self::Float(32), DynValue::Float(value)) => {
                let rounded = *value as f32;
                if rounded.is_infinite() && value.is_finite() {
                    return Err(self.misfit(value));
                }
                put(&rounded, out)
            }
            (Self::Float(_), DynValue::Float(value)) => put(value, out),
            (Self::String, DynValue::String(value)) => put(value, out),
            (Self::Bytes, DynValue::Bytes(value)) => put(value, out),
            (Self::Tuple(shapes), DynValue::Tuple(parts)) if shapes.len() == parts.len() => {
                let mut pairs = shapes.iter().zip(parts);
                pairs.try_for_each(|(shape, part)| shape.encode_into(part, out))
            }
            (Self::Record(shapes), DynValue::Record(fields)) if shapes.len() == fields.len() => {
                shapes.iter().try_for_each(|(name, shape)| {
                    let field = fields.iter().find(|(field, _)| field == name);
                    let (_, value) = field.ok_or_else(|| self.misfit(value))?;
                    shape.encode_into(value, out)
                })
            }
            (Self::Expiring { value: shape, .. }, DynValue::Expiring { touched_ms, value }) => {
                put(&touched_ms.unwrap_or(UNKNOWN), out)?;
                shape.encode_into(value, out)
            }
            (Self::Expiring { value: shape, .. }, value) => {
                put(&UNKNOWN, out)?;
                shape.encode_into(value, out)
            }
            _ => Err(self.misfit(value)),
        }
    }

    #[cold]
    fn misfit(&self, value: impl fmt::Display) -> StateError {
        let message = format!("{:?} is no value of shape {self}", value.to_string());
        StateError::new(ErrorKind::InvalidArgument, message)
    }

    /// Decodes a value that must fill `bytes` exactly.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes do not have this shape or some are left over.
    pub fn decode_all(&self, mut bytes: &[u8]) -> Result<DynValue> {
        let value = self.decode_from(&mut bytes)?;
        if bytes.is_empty() { Ok(value) } else { Err(malformed("its shape: bytes are left over")) }
    }
}

fn decode_unsigned(bits: u8, input: &mut &[u8]) -> Result<u128> {
    Ok(match bits {
        8 => DefaultCodec::<u8>::default().decode_from(input)?.into(),
        16 => DefaultCodec::<u16>::default().decode_from(input)?.into(),
        32 => DefaultCodec::<u32>::default().decode_from(input)?.into(),
        64 => DefaultCodec::<u64>::default().decode_from(input)?.into(),
        _ => DefaultCodec::<u128>::default().decode_from(input)?,
    })
}

fn decode_signed(bits: u8, input: &mut &[u8]) -> Result<i128> {
    Ok(match bits {
        8 => DefaultCodec::<i8>::default().decode_from(input)?.into(),
        16 => DefaultCodec::<i16>::default().decode_from(input)?.into(),
        32 => DefaultCodec::<i32>::default().decode_from(input)?.into(),
        64 => DefaultCodec::<i64>::default().decode_from(input)?.into(),
        _ => DefaultCodec::<i128>::default().decode_from(input)?,
    })
}

fn put<T: HasCodec>(value: &T, out: &mut Scratch) -> Result<()> {
    DefaultCodec::<T>::default().encode_into(value, out)
}

/// `None` if the number has more than so many bits.
fn encode_unsigned(bits: u8, value: u128, out: &mut Scratch) -> Option<Result<()>> {
    Some(match bits {
        8 => put(&u8::try_from(value).ok()?, out),
        16 => put(&u16::try_from(value).ok()?, out),
        32 => put(&u32::try_from(value).ok()?, out),
        64 => put(&u64::try_from(value).ok()?, out),
        _ => put(&value, out),
    })
}

/// `None` if the number has more than so many bits.
fn encode_signed(bits: u8, value: i128, out: &mut Scratch) -> Option<Result<()>> {
    Some(match bits {
        8 => put(&i8::try_from(value).ok()?, out),
        16 => put(&i16::try_from(value).ok()?, out),
        32 => put(&i32::try_from(value).ok()?, out),
        64 => put(&i64::try_from(value).ok()?, out),
        _ => put(&value, out),
    })
}

fn word<'a>(input: &mut &'a str) -> &'a str {
    let end = input.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(input.len());
    let (word, rest) = input.split_at(end);
    *input = rest;
    word
}

fn eat(input: &mut &str, expected: char) -> Option<()> {
    *input = input.strip_prefix(expected)?;
    Some(())
}

fn parse_name(input: &mut &str) -> Option<Shape> {
    let Some(rest) = input.strip_prefix("expiring<") else { return parse_shape(input, 0) };
    *input = rest;
    let domain = TimeDomain::from_name(word(input))?;
    eat(input, ',')?;
    let value = Box::new(parse_shape(input, 0)?);
    eat(input, '>')?;
    Some(Shape::Expiring { domain, value })
}

fn parse_shape(input: &mut &str, depth: usize) -> Option<Shape> {
    if depth > DEPTH_MAX {
        return None;
    }
    let name = word(input);
    Some(match name {
        "void" => Shape::Void,
        "bool" => Shape::Bool,
        "string" => Shape::String,
        "bytes" => Shape::Bytes,
        "f32" => Shape::Float(32),
        "f64" => Shape::Float(64),
        "u8" | "u16" | "u32" | "u64" | "u128" => Shape::Unsigned(bits(name)?),
        "i8" | "i16" | "i32" | "i64" | "i128" => Shape::Signed(bits(name)?),
        "option" => {
            let mut parts = parse_list(input, |input| parse_shape(input, depth + 1))?;
            if parts.len() != 1 {
                return None;
            }
            Shape::Option(Box::new(parts.pop()?))
        }
        "tuple" => Shape::Tuple(parse_list(input, |input| parse_shape(input, depth + 1))?),
        "record" => Shape::Record(parse_list(input, |input| {
            let name = word(input).to_owned();
            eat(input, ':')?;
            Some((name, parse_shape(input, depth + 1)?))
        })?),
        _ => return None,
    })
}

fn bits(name: &str) -> Option<u8> {
    name.get(1..)?.parse().ok()
}

fn parse_list<T>(input: &mut &str, part: impl Fn(&mut &str) -> Option<T>) -> Option<Vec<T>> {
    eat(input, '<')?;
    let mut parts = Vec::new();
    loop {
        parts.push(part(input)?);
        if eat(input, '>').is_some() {
            return Some(parts);
        }
        eat(input, ',')?;
    }
}

impl fmt::Display for Shape {
    /// The name that [`Shape::parse`] takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Void => f.write_str("void"),
            Self::Bool => f.write_str("bool"),
            Self::Unsigned(bits) => write!(f, "u{bits}"),
            Self::Signed(bits) => write!(f, "i{bits}"),
            Self::Float(bits) => write!(f, "f{bits}"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Option(inner) => write!(f, "option<{inner}>"),
            Self::Tuple(parts) => {
                let names: Vec<String> = parts.iter().map(Self::to_string).collect();
                write!(f, "tuple<{}>", names.join(","))
            }
            Self::Record(fields) => {
                let field = |(name, shape): &(String, Self)| format!("{name}:{shape}");
                let names: Vec<String> = fields.iter().map(field).collect();
                write!(f, "record<{}>", names.join(","))
            }
            Self::Expiring { domain, value } => write!(f, "expiring<{domain},{value}>"),
        }
    }
}

impl fmt::Display for DynValue {
    /// Plain text, as a cell of a table: parts in parentheses, bytes in hexadecimal, a value that
    /// expires without its time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Signed(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::String(value) => f.write_str(value),
            Self::Bytes(value) => value.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Tuple(parts) => write_parts(f, parts.iter().map(|part| (None, part))),
            Self::Record(fields) => {
                write_parts(f, fields.iter().map(|(name, part)| (Some(name.as_str()), part)))
            }
            Self::Expiring { value, .. } => value.fmt(f),
        }
    }
}

fn write_parts<'a>(
    f: &mut fmt::Formatter<'_>,
    parts: impl Iterator<Item = (Option<&'a str>, &'a DynValue)>,
) -> fmt::Result {
    f.write_str("(")?;
    for (index, (name, part)) in parts.enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        match name {
            Some(name) => write!(f, "{name}={part}")?,
            None => write!(f, "{part}")?,
        }
    }
    f.write_str(")")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = [
        "void",
        "tuple<u8,i16,f32,f64,bool>",
        "record<a:option<string>,b:bytes,c:tuple<u128,i128>>",
        "option<record<x:u32,y:i64>>",
        "expiring<event,record<a:u64>>",
        "expiring<processing,string>",
    ];

    fn sample(shape: &Shape) -> DynValue {
        match shape {
            Shape::Void => DynValue::None,
            Shape::Bool => DynValue::Bool(true),
            Shape::Unsigned(bits) => DynValue::Unsigned(u128::MAX >> (128 - u32::from(*bits))),
            Shape::Signed(bits) => DynValue::Signed(i128::MIN >> (128 - u32::from(*bits))),
            Shape::Float(_) => DynValue::Float(-1.5),
            Shape::String => DynValue::String("N14228, \u{e9}".to_owned()),
            Shape::Bytes => DynValue::Bytes(vec![0, 255]),
            Shape::Option(inner) => sample(inner),
            Shape::Tuple(parts) => DynValue::Tuple(parts.iter().map(sample).collect()),
            Shape::Record(fields) => DynValue::Record(
                fields.iter().map(|(name, shape)| (name.clone(), sample(shape))).collect(),
            ),
            Shape::Expiring { value, .. } => {
                DynValue::Expiring { touched_ms: Some(-7), value: Box::new(sample(value)) }
            }
        }
    }

    #[test]
    fn what_a_shape_encodes_it_decodes_and_its_name_parses_back() {
        for name in NAMES {
            let shape = Shape::parse(name).unwrap();
            assert_eq!(shape.to_string(), name);
            let (value, mut out) = (sample(&shape), Scratch::new());
            shape.encode_into(&value, &mut out).unwrap();
            assert_eq!(shape.decode_all(out.as_slice()).unwrap(), value, "{name}");
        }
        assert!(Shape::parse("option<expiring<event,u8>>").is_err());
        assert!(Shape::parse("expiring<soon,u8>").is_err());
    }

    #[test]
    fn a_value_is_encoded_as_its_type_would_be() {
        let mut typed = Scratch::new();
        put(&(String::from("a"), Some(-3i32), 0.25f32), &mut typed).unwrap();
        let shape = Shape::parse("tuple<string,option<i32>,f32>").unwrap();
        let parts = vec![DynValue::String("a".into()), DynValue::Signed(-3), DynValue::Float(0.25)];
        let mut out = Scratch::new();
        shape.encode_into(&DynValue::Tuple(parts), &mut out).unwrap();
        assert_eq!(out.as_slice(), typed.as_slice());
    }

    #[test]
    fn a_value_of_another_shape_is_refused_and_named() {
        let refused = |name: &str, value: DynValue| {
            let error = Shape::parse(name).unwrap().encode_into(&value, &mut Scratch::new());
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            error.to_string()
        };
        assert!(refused("u8", DynValue::Unsigned(256)).contains("\"256\" is no value of shape u8"));
        refused("i8", DynValue::Signed(-129));
        refused("u8", DynValue::Signed(1));
        refused("f32", DynValue::Float(1e300));
        refused("tuple<u8>", DynValue::Tuple(Vec::new()));
        let field = |name: &str| DynValue::Record(vec![(name.to_owned(), DynValue::Bool(true))]);
        refused("record<a:bool>", field("b"));
        let expiring = Shape::parse("expiring<event,record<a:bool>>").unwrap();
        let mut out = Scratch::new();
        expiring.encode_into(&field("a"), &mut out).unwrap();
        let back = expiring.decode_all(out.as_slice()).unwrap();
        assert_eq!(back, DynValue::Expiring { touched_ms: None, value: Box::new(field("a")) });
    }
}
