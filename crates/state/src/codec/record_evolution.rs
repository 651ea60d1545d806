//! How values of one record become values of another: fields are matched by name.
//!
//! Everything that is needed lies in the two names, since a record's codec name tells its fields
//! and their codecs; values spend no bytes on it.

use super::evolve::{Conversion, Evolution, Skip};
use super::shape::{DynValue, Shape};
use super::{Codec, CodecIdentity, DefaultCodec, malformed, text};
use crate::buffer::Scratch;
use crate::error::Result;

/// A field of a record as the program declares it. Made by [`record!`](crate::record).
#[doc(hidden)]
#[derive(Debug)]
pub struct RecordField {
    /// The field's name.
    pub name: &'static str,
    /// The name it had before.
    pub was: Option<&'static str>,
    /// The codec of its type.
    pub codec: CodecIdentity,
    /// Moves its input past a value of the field.
    pub skip: Skip,
    /// What the codec of its type says about another identity.
    pub evolve: fn(&CodecIdentity) -> Evolution,
    /// Encodes the value for records that were written without the field.
    pub default: Option<fn() -> Result<Scratch>>,
}

/// Where the bytes of a field come from.
#[derive(Debug)]
enum Origin {
    /// From the written field of that index, as they are.
    Copied(usize),
    /// From the written field of that index.
    Converted(usize, Conversion),
    /// They are the same for all records.
    Default(Vec<u8>),
}

/// How to find the end of a written field.
#[derive(Debug)]
enum Extent {
    Skip(Skip),
    Shape(Shape),
    /// A length and as many bytes.
    Prefixed,
}

#[derive(Debug)]
struct RecordConversion {
    written: Vec<Extent>,
    fields: Vec<Origin>,
}

/// Says how records written as `written` become records of `fields`.
///
/// A record of equal fields and a lower version is refused: the version was raised because the
/// meaning changed, and only the user knows how.
#[doc(hidden)]
#[must_use]
pub fn evolve_record(
    declared: &CodecIdentity,
    written: &CodecIdentity,
    fields: &[RecordField],
) -> Evolution {
    let Some(written_fields) = parse_fields(written.name()) else { return Evolution::Unknown };
    if written.version() > declared.version() {
        return Evolution::Refused("it was written by a newer program: run that one".to_owned());
    }
    if written.name() == declared.name() {
        return Evolution::Refused(
            "the fields are the same but the version is not, so their meaning changed: give a \
             migration step from the old version"
                .to_owned(),
        );
    }
    match derive_conversion(&written_fields, fields) {
        Ok(plan) => {
            Evolution::Possible(Conversion::new(move |input, out| plan.convert(input, out)))
        }
        Err(why) => Evolution::Refused(why),
    }
}

fn derive_conversion(
    written: &[(&str, &str)],
    fields: &[RecordField],
) -> Result<RecordConversion, String> {
    let mut extents: Vec<Option<Extent>> = written.iter().map(|_| None).collect();
    let mut origins = Vec::new();
    for field in fields {
        let origin = derive_origin(written, fields, field)?;
        if let Origin::Copied(index) = origin
            && let Some(extent) = extents.get_mut(index)
        {
            *extent = Some(Extent::Skip(field.skip));
        }
        origins.push(origin);
    }
    let extents = extents.into_iter().zip(written).map(|(known, (name, codec))| match known {
        Some(extent) => Ok(extent),
        None => derive_extent(name, codec),
    });
    Ok(RecordConversion { written: extents.collect::<Result<_, String>>()?, fields: origins })
}

/// Finds the written field that `field` was: of its name, or else of its former name unless another
/// field has that now.
fn derive_origin(
    written: &[(&str, &str)],
    fields: &[RecordField],
    field: &RecordField,
) -> Result<Origin, String> {
    let find = |wanted: &str| written.iter().position(|(name, _)| *name == wanted);
    let renamed = field.was.filter(|was| fields.iter().all(|other| other.name != *was));
    let Some(index) = find(field.name).or_else(|| find(renamed?)) else {
        return derive_default(field);
    };
    let (name, codec) = written.get(index).copied().unwrap_or_default();
    if codec == field.codec.name() {
        return Ok(Origin::Copied(index));
    }
    if let Some(widening) = derive_widening(codec, field.codec.name()) {
        return Ok(Origin::Converted(index, widening));
    }
    match (field.evolve)(&CodecIdentity::new(codec, field.codec.version())) {
        Evolution::Possible(conversion) => Ok(Origin::Converted(index, conversion)),
        Evolution::Refused(why) => Err(format!("field `{}`: {why}", field.name)),
        Evolution::Unknown => Err(format!(
            "field `{name}` was {codec} and `{}` is {}, which only a migration step can convert",
            field.name,
            field.codec.name()
        )),
    }
}

fn derive_default(field: &RecordField) -> Result<Origin, String> {
    let name = field.name;
    let Some(default) = field.default else {
        return Err(format!(
            "field `{name}` is new and has no default: declare it as `{name}: type = value`, or \
             as `{name} (was old_name): type` if it had another name"
        ));
    };
    match default() {
        Ok(bytes) => Ok(Origin::Default(bytes.as_slice().to_vec())),
        Err(error) => Err(format!("the default of field `{name}` cannot be encoded: {error}")),
    }
}

fn derive_extent(name: &str, codec: &str) -> Result<Extent, String> {
    if codec.starts_with("postcard:") || codec.starts_with("named:") {
        return Ok(Extent::Prefixed);
    }
    Shape::parse(codec).map(Extent::Shape).map_err(|_| {
        format!(
            "field `{name}` of codec {codec} cannot be skipped, since only its own codec knows \
             where it ends: keep the field, or give a migration step"
        )
    })
}

impl RecordConversion {
    fn convert(&self, input: &mut &[u8], out: &mut Scratch) -> Result<()> {
        let mut parts: Vec<&[u8]> = Vec::with_capacity(self.written.len());
        for extent in &self.written {
            let start = *input;
            extent.skip(input)?;
            parts.push(start.get(..start.len() - input.len()).unwrap_or_default());
        }
        let part = |index: usize| parts.get(index).copied().unwrap_or_default();
        for origin in &self.fields {
            match origin {
                Origin::Copied(index) => out.extend_from_slice(part(*index)),
                Origin::Converted(index, conversion) => {
                    conversion.convert(&mut part(*index), out)?;
                }
                Origin::Default(bytes) => out.extend_from_slice(bytes),
            }
        }
        Ok(())
    }
}

impl Extent {
    fn skip(&self, input: &mut &[u8]) -> Result<()> {
        match self {
            Self::Skip(skip) => skip(input),
            Self::Shape(shape) => shape.decode_from(input).map(drop),
            Self::Prefixed => text::decode_slice(input, "a length and bytes").map(drop),
        }
    }
}

/// Names and codecs of the fields of a record's codec name; `None` if it is no record.
fn parse_fields(name: &str) -> Option<Vec<(&str, &str)>> {
    let body = name.strip_prefix("record<")?.strip_suffix('>')?;
    let mut fields = Vec::new();
    let (mut depth, mut start) = (0i64, 0);
    let ends = body.char_indices().filter_map(|(at, character)| {
        match character {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => return Some(at),
            _ => {}
        }
        None
    });
    for end in ends.chain(core::iter::once(body.len())) {
        fields.push(body.get(start..end)?.split_once(':')?);
        start = end + 1;
    }
    Some(fields)
}

/// How numbers of codec `written` become numbers of codec `declared`, if all of them can.
fn derive_widening(written: &str, declared: &str) -> Option<Conversion> {
    let from = Shape::parse(written).ok()?;
    let to = match (&from, Shape::parse(declared).ok()?) {
        (Shape::Unsigned(from), Shape::Unsigned(to)) if *from < to => Wider::Unsigned(to),
        (Shape::Signed(from), Shape::Signed(to)) if *from < to => Wider::Signed(to),
        (Shape::Float(32), Shape::Float(64)) => Wider::Float,
        _ => return None,
    };
    Some(Conversion::new(move |input, out| to.encode_into(&from.decode_from(input)?, out)))
}

/// What a number becomes; with its bits.
#[derive(Clone, Copy)]
enum Wider {
    Unsigned(u8),
    Signed(u8),
    Float,
}

impl Wider {
    fn encode_into(self, value: &DynValue, out: &mut Scratch) -> Result<()> {
        let mut bytes = match (self, value) {
            (Self::Unsigned(_), DynValue::Unsigned(value)) => value.to_be_bytes(),
            (Self::Signed(_), DynValue::Signed(value)) => value.to_be_bytes(),
            (Self::Float, DynValue::Float(value)) => {
                return DefaultCodec::<f64>::default().encode_into(value, out);
            }
            _ => return Err(malformed("a number")),
        };
        let (Self::Unsigned(bits) | Self::Signed(bits)) = self else { return Ok(()) };
        let tail = bytes.len() - usize::from(bits / 8);
        if let (Self::Signed(_), Some(first)) = (self, bytes.get_mut(tail)) {
            *first ^= 1 << 7;
        }
        out.extend_from_slice(bytes.get(tail..).unwrap_or_default());
        Ok(())
    }
}
