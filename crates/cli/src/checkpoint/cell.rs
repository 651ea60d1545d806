//! Typed values as cells of a table, in CSV or JSON, and back.

use millpond_state::codec::{DynValue, Shape};
use serde_json::{Map, Value};

/// A value as JSON. Integers beyond 64 bits and floats without a number become text.
pub(super) fn json(value: &DynValue) -> Value {
    match value {
        DynValue::None => Value::Null,
        DynValue::Bool(value) => Value::from(*value),
        DynValue::Unsigned(number) => {
            u64::try_from(*number).map_or_else(|_| Value::from(number.to_string()), Value::from)
        }
        DynValue::Signed(number) => {
            i64::try_from(*number).map_or_else(|_| Value::from(number.to_string()), Value::from)
        }
        DynValue::Float(number) if number.is_finite() => Value::from(*number),
        DynValue::Tuple(parts) => Value::Array(parts.iter().map(json).collect()),
        DynValue::Record(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), json(value))).collect()
        }
        other => Value::from(other.to_string()),
    }
}

/// A value as the text of a cell.
pub(super) fn text(value: &DynValue) -> String {
    match value {
        DynValue::Tuple(_) | DynValue::Record(_) => json(value).to_string(),
        plain => plain.to_string(),
    }
}

/// What the text of a cell stands for.
///
/// # Errors
/// What is wrong with it.
pub(super) fn from_text(shape: &Shape, text: &str) -> Result<DynValue, String> {
    let wrong = || format!("{text:?} is no {shape}");
    Ok(match shape {
        Shape::Void if text.is_empty() => DynValue::None,
        Shape::Option(_) if text.is_empty() => DynValue::None,
        Shape::Option(inner) => from_text(inner, text)?,
        Shape::Bool => DynValue::Bool(text.parse().map_err(|_| wrong())?),
        Shape::Unsigned(bits) => {
            let number: u128 = text.parse().map_err(|_| wrong())?;
            let fits = u32::from(*bits) >= u128::BITS - number.leading_zeros();
            DynValue::Unsigned(Some(number).filter(|_| fits).ok_or_else(wrong)?)
        }
        Shape::Signed(bits) => {
            let number: i128 = text.parse().map_err(|_| wrong())?;
            let limit = i128::MAX >> (i128::BITS - u32::from(*bits));
            let fits = (-limit - 1..=limit).contains(&number);
            DynValue::Signed(Some(number).filter(|_| fits).ok_or_else(wrong)?)
        }
        Shape::Float(_) => DynValue::Float(text.parse().map_err(|_| wrong())?),
        Shape::String => DynValue::String(text.to_owned()),
        Shape::Bytes => DynValue::Bytes(unhex(text).ok_or_else(wrong)?),
        Shape::Tuple(_) | Shape::Record(_) => {
            let value: Value = serde_json::from_str(text).map_err(|_| wrong())?;
            from_json(shape, &value)?
        }
        _ => return Err(wrong()),
    })
}

/// What a JSON value stands for.
///
/// # Errors
/// What is wrong with it.
pub(super) fn from_json(shape: &Shape, value: &Value) -> Result<DynValue, String> {
    let wrong = || format!("{value} is no {shape}");
    Ok(match (shape, value) {
        (Shape::Void | Shape::Option(_), Value::Null) => DynValue::None,
        // An empty text is a text here, unlike in CSV.
        (Shape::String, Value::String(text)) => DynValue::String(text.clone()),
        (Shape::Option(inner), value) => from_json(inner, value)?,
        (Shape::Bool, Value::Bool(value)) => DynValue::Bool(*value),
        (Shape::Unsigned(_) | Shape::Signed(_) | Shape::Float(_), Value::Number(number)) => {
            from_text(shape, &number.to_string())?
        }
        (
            Shape::Unsigned(_) | Shape::Signed(_) | Shape::Float(_) | Shape::Bytes,
            Value::String(text),
        ) => from_text(shape, text)?,
        (Shape::Tuple(shapes), Value::Array(parts)) if shapes.len() == parts.len() => {
            let parts = shapes.iter().zip(parts).map(|(shape, part)| from_json(shape, part));
            DynValue::Tuple(parts.collect::<Result<_, _>>()?)
        }
        (Shape::Record(fields), Value::Object(object)) => record(fields, object, wrong)?,
        _ => return Err(wrong()),
    })
}

fn record(
    fields: &[(String, Shape)],
    object: &Map<String, Value>,
    wrong: impl Fn() -> String,
) -> Result<DynValue, String> {
    let mut values = Vec::with_capacity(fields.len());
    for (name, shape) in fields {
        let value = object.get(name).ok_or_else(&wrong)?;
        values.push((name.clone(), from_json(shape, value)?));
    }
    if object.len() == fields.len() { Ok(DynValue::Record(values)) } else { Err(wrong()) }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|it| it.to_digit(16).and_then(|it| u8::try_from(it).ok())).collect();
    let pairs = digits?;
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(high << 4 | low),
        _ => None,
    };
    pairs.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(name: &str) -> Shape {
        Shape::parse(name).unwrap()
    }

    #[test]
    fn numbers_that_json_cannot_hold_become_text() {
        assert_eq!(json(&DynValue::Unsigned(u128::MAX)), Value::from(u128::MAX.to_string()));
        assert_eq!(json(&DynValue::Signed(-5)), Value::from(-5));
        assert_eq!(json(&DynValue::Float(f64::NAN)), Value::from("NaN"));
        assert_eq!(json(&DynValue::Bytes(vec![1, 255])), Value::from("01ff"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let inner = DynValue::Record(vec![
            ("a".to_owned(), DynValue::String(String::new())),
            ("b".to_owned(), DynValue::Tuple(vec![DynValue::Bytes(vec![]), DynValue::None])),
        ]);
        let samples = [
            ("u128", DynValue::Unsigned(u128::MAX)),
            ("u8", DynValue::Unsigned(0)),
            ("i8", DynValue::Signed(-128)),
            ("i128", DynValue::Signed(i128::MIN)),
            ("f64", DynValue::Float(0.1 + 0.2)),
            ("f32", DynValue::Float(f64::from(1.1f32))),
            ("f64", DynValue::Float(f64::NEG_INFINITY)),
            ("bool", DynValue::Bool(false)),
            ("string", DynValue::String("a \"b\",\nc".to_owned())),
            ("bytes", DynValue::Bytes(vec![0, 171])),
            ("void", DynValue::None),
            ("option<u8>", DynValue::None),
            ("option<u8>", DynValue::Unsigned(7)),
            ("record<a:string,b:tuple<bytes,option<string>>>", inner),
        ];
        for (name, value) in samples {
            let shape = shape(name);
            assert_eq!(from_text(&shape, &text(&value)), Ok(value.clone()), "{name}");
            let line = json(&value).to_string();
            let parsed: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(from_json(&shape, &parsed), Ok(value), "{name}");
        }
        let empty = from_json(&shape("option<string>"), &Value::from(""));
        assert_eq!(empty, Ok(DynValue::String(String::new())));
    }

    #[test]
    fn what_has_another_type_is_refused_and_quoted() {
        for (name, text) in [
            ("u8", "256"),
            ("u8", "-1"),
            ("i8", "-129"),
            ("i8", "128"),
            ("u64", ""),
            ("bool", "yes"),
            ("bytes", "0"),
            ("bytes", "0g"),
            ("tuple<u8,u8>", "[1]"),
            ("record<a:u8>", "{\"a\":1,\"b\":2}"),
            ("record<a:u8>", "{}"),
        ] {
            let error = from_text(&shape(name), text).unwrap_err();
            assert!(error.contains(" is no "), "{name} {text}: {error}");
        }
        assert!(from_json(&shape("string"), &Value::from(1)).is_err());
        assert!(from_json(&shape("u8"), &Value::from(1.5)).is_err());
    }
}
