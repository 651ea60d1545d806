//! Shapes: the grammar of codec names, which lets tools decode values without the program that
//! wrote them.
//!
//! ```text
//! shape  = "void" | "bool" | "u8".."u128" | "i8".."i128" | "f32" | "f64" | "string" | "bytes"
//!        | "option<" shape ">" | "tuple<" shape {"," shape} ">"
//!        | "record<" field {"," field} ">"
//! field  = name ":" shape                     name: letters, digits, underscores
//! ```

use core::fmt;

use super::{Codec, DefaultCodec, malformed, text};
use crate::error::{ErrorKind, Result, StateError};

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
}

impl Shape {
    /// Parses a codec's name.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] if the name is not a shape: the codec is one that only its own
    /// program can decode.
    pub fn parse(name: &str) -> Result<Self> {
        let mut rest = name;
        match parse_shape(&mut rest, 0) {
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
        })
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

impl fmt::Display for DynValue {
    /// Plain text, as a cell of a table: parts in parentheses, bytes in hexadecimal.
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
