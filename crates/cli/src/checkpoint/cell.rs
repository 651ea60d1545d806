//! Typed values as columns of a table, in CSV or JSON.

use millpond_state::codec::{DynValue, Shape};
use serde_json::Value;

/// The columns that one part of an entry (key, namespace, user key, value) takes.
#[derive(Clone, Debug)]
pub(super) struct Part {
    shape: Shape,
    /// Names of the columns; none for a part without a value.
    pub(super) columns: Vec<String>,
}

impl Part {
    /// `shape` under the name `name`: a record has a column for each field, a tuple one for each
    /// part, anything else is one column. A name in `taken` is put behind the part's.
    pub(super) fn new(name: &str, shape: Shape, taken: &[String]) -> Self {
        let columns = match &shape {
            Shape::Void => Vec::new(),
            Shape::Record(fields) => fields.iter().map(|(field, _)| field.clone()).collect(),
            Shape::Tuple(parts) => (0..parts.len()).map(|at| format!("{name}_{at}")).collect(),
            _ => vec![name.to_owned()],
        };
        let apart = |column: String| {
            if taken.contains(&column) { format!("{name}_{column}") } else { column }
        };
        Self { shape, columns: columns.into_iter().map(apart).collect() }
    }

    /// Decodes one value from the front of `bytes` and adds its cells to `out`.
    ///
    /// # Errors
    /// If the bytes do not have the shape.
    pub(super) fn decode(
        &self,
        bytes: &mut &[u8],
        out: &mut Vec<DynValue>,
    ) -> millpond_state::Result<()> {
        match self.shape.decode_from(bytes)? {
            DynValue::None if self.columns.is_empty() => {}
            DynValue::Record(fields) => out.extend(fields.into_iter().map(|(_, value)| value)),
            DynValue::Tuple(parts) => out.extend(parts),
            value => out.push(value),
        }
        Ok(())
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_tuples_take_a_column_each_and_names_stay_apart() {
        let shape = |name: &str| Shape::parse(name).unwrap();
        let key = Part::new("key", shape("tuple<u64,string>"), &[]);
        assert_eq!(key.columns, ["key_0", "key_1"]);
        let value = Part::new("value", shape("record<key_0:u8,sum:i64>"), &key.columns);
        assert_eq!(value.columns, ["value_key_0", "sum"]);
        assert!(Part::new("namespace", Shape::Void, &[]).columns.is_empty());
    }

    #[test]
    fn numbers_that_json_cannot_hold_become_text() {
        assert_eq!(json(&DynValue::Unsigned(u128::MAX)), Value::from(u128::MAX.to_string()));
        assert_eq!(json(&DynValue::Signed(-5)), Value::from(-5));
        assert_eq!(json(&DynValue::Float(f64::NAN)), Value::from("NaN"));
        assert_eq!(json(&DynValue::Bytes(vec![1, 255])), Value::from("01ff"));
    }
}
