//! The columns of a state: how entries are cut into cells and put together again.

use millpond_checkpoint::offline::{DynEntry, DynFormat};
use millpond_state::codec::{DynValue, Shape};
use millpond_state::{StateDescriptor, StateKind};

use crate::error::{CliError, Result};

/// When a value that expires was last touched.
const TOUCHED: &str = "touched_ms";

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) shape: Shape,
}

/// The columns of a state.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    key: Part,
    namespace: Part,
    user_key: Option<Part>,
    value: Part,
    /// All of them.
    pub(super) columns: Vec<Column>,
}

/// The columns that one part of an entry (key, namespace, user key, value) takes.
#[derive(Clone, Debug)]
struct Part {
    shape: Shape,
    /// How many columns it takes; none for a part without a value.
    count: usize,
}

impl Columns {
    /// The columns of `state`.
    ///
    /// # Errors
    /// If a codec is one that only its own program knows.
    pub(super) fn new(state: &StateDescriptor) -> Result<Self> {
        let format = DynFormat::of(state)?;
        let mut columns = Vec::new();
        let user_key = if state.kind() == StateKind::Timer { "time" } else { "user_key" };
        let key = Part::new("key", format.key(), &mut columns);
        let namespace = Part::new("namespace", format.namespace(), &mut columns);
        let user_key = format.user_key().map(|shape| Part::new(user_key, shape, &mut columns));
        let value = Part::new("value", format.value(), &mut columns);
        Ok(Self { key, namespace, user_key, value, columns })
    }

    /// The cells of an entry, one for each column.
    pub(super) fn cells(&self, entry: DynEntry) -> Vec<DynValue> {
        let mut cells = Vec::with_capacity(self.columns.len());
        self.key.split(entry.key, &mut cells);
        self.namespace.split(entry.namespace, &mut cells);
        if let (Some(part), Some(value)) = (&self.user_key, entry.user_key) {
            part.split(value, &mut cells);
        }
        self.value.split(entry.value, &mut cells);
        cells
    }

    /// The entry of a row with a cell for each column.
    ///
    /// # Errors
    /// If there are too few cells.
    pub(super) fn entry(&self, cells: Vec<DynValue>) -> Result<DynEntry> {
        let mut cells = cells.into_iter();
        let mut join = |part: &Part| {
            part.join(&mut cells).ok_or_else(|| CliError::new("a row has too few cells"))
        };
        Ok(DynEntry {
            key: join(&self.key)?,
            namespace: join(&self.namespace)?,
            user_key: self.user_key.as_ref().map(&mut join).transpose()?,
            value: join(&self.value)?,
        })
    }
}

impl Part {
    /// `shape` under the name `name`: a record has a column for each field, a tuple one for each
    /// part, anything else is one column. A name that is taken is put behind the part's.
    fn new(name: &str, shape: &Shape, columns: &mut Vec<Column>) -> Self {
        let own = own_columns(name, shape);
        let count = own.len();
        let taken: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        columns.extend(own.into_iter().map(|mut column| {
            if taken.contains(&column.name) {
                column.name = format!("{name}_{}", column.name);
            }
            column
        }));
        Self { shape: shape.clone(), count }
    }

    fn split(&self, value: DynValue, cells: &mut Vec<DynValue>) {
        split(&self.shape, value, cells);
    }

    fn join(&self, cells: &mut impl Iterator<Item = DynValue>) -> Option<DynValue> {
        let own: Vec<DynValue> = cells.take(self.count).collect();
        if own.len() == self.count { join(&self.shape, own) } else { None }
    }
}

fn own_columns(name: &str, shape: &Shape) -> Vec<Column> {
    let column = |name: String, shape: &Shape| Column { name, shape: shape.clone() };
    match shape {
        Shape::Void => Vec::new(),
        Shape::Record(fields) => {
            fields.iter().map(|(field, shape)| column(field.clone(), shape)).collect()
        }
        Shape::Tuple(parts) => {
            let parts = parts.iter().enumerate();
            parts.map(|(at, shape)| column(format!("{name}_{at}"), shape)).collect()
        }
        Shape::Expiring { value, .. } => {
            let mut columns = own_columns(name, value);
            let taken = columns.iter().any(|it| it.name == TOUCHED);
            let stamp = if taken { format!("{name}_{TOUCHED}") } else { TOUCHED.to_owned() };
            columns.push(column(stamp, &Shape::Option(Box::new(Shape::Signed(64)))));
            columns
        }
        _ => vec![column(name.to_owned(), shape)],
    }
}

fn split(shape: &Shape, value: DynValue, cells: &mut Vec<DynValue>) {
    match (shape, value) {
        (Shape::Void, _) => {}
        (Shape::Record(_), DynValue::Record(fields)) => {
            cells.extend(fields.into_iter().map(|(_, value)| value));
        }
        (Shape::Tuple(_), DynValue::Tuple(parts)) => cells.extend(parts),
        (Shape::Expiring { value: shape, .. }, DynValue::Expiring { touched_ms, value }) => {
            split(shape, *value, cells);
            cells.push(touched_ms.map_or(DynValue::None, |ms| DynValue::Signed(ms.into())));
        }
        (_, value) => cells.push(value),
    }
}

fn join(shape: &Shape, mut cells: Vec<DynValue>) -> Option<DynValue> {
    match shape {
        Shape::Void => Some(DynValue::None),
        Shape::Record(fields) => {
            let names = fields.iter().map(|(name, _)| name.clone());
            Some(DynValue::Record(names.zip(cells).collect()))
        }
        Shape::Tuple(_) => Some(DynValue::Tuple(cells)),
        Shape::Expiring { value, .. } => {
            let touched_ms = match cells.pop()? {
                DynValue::Signed(ms) => Some(i64::try_from(ms).ok()?),
                _ => None,
            };
            Some(DynValue::Expiring { touched_ms, value: Box::new(join(value, cells)?) })
        }
        _ => cells.pop(),
    }
}

#[cfg(test)]
mod tests {
    use millpond_state::StateCodecs;
    use millpond_state::codec::CodecIdentity;

    use super::*;

    fn columns(key: &str, namespace: &str, value: &str) -> Columns {
        let codec = |name: &str| CodecIdentity::new(name, 1);
        let (key, namespace, value) = (codec(key), codec(namespace), codec(value));
        let codecs = StateCodecs { key, namespace, user_key: None, value };
        Columns::new(&StateDescriptor::new("s", StateKind::Value, codecs).unwrap()).unwrap()
    }

    fn names(columns: &Columns) -> Vec<&str> {
        columns.columns.iter().map(|column| column.name.as_str()).collect()
    }

    #[test]
    fn records_and_tuples_take_a_column_each_and_names_stay_apart() {
        let plain = columns("tuple<u64,string>", "void", "record<key_0:u8,sum:i64>");
        assert_eq!(names(&plain), ["key_0", "key_1", "value_key_0", "sum"]);
        let expiring = columns("u64", "u8", "expiring<event,record<touched_ms:u8>>");
        assert_eq!(names(&expiring), ["key", "namespace", "touched_ms", "value_touched_ms"]);
    }

    #[test]
    fn cells_are_put_together_as_they_were_cut() {
        let columns = columns("u64", "void", "expiring<processing,record<a:u8,b:option<string>>>");
        assert_eq!(names(&columns), ["key", "a", "b", "touched_ms"]);
        let fields =
            vec![("a".to_owned(), DynValue::Unsigned(1)), ("b".to_owned(), DynValue::None)];
        let record = Box::new(DynValue::Record(fields));
        for touched_ms in [Some(-5), None] {
            let entry = DynEntry {
                key: DynValue::Unsigned(7),
                namespace: DynValue::None,
                user_key: None,
                value: DynValue::Expiring { touched_ms, value: record.clone() },
            };
            let cells = columns.cells(entry.clone());
            assert_eq!(cells.len(), 4);
            assert_eq!(columns.entry(cells).unwrap(), entry);
        }
        assert!(columns.entry(vec![DynValue::Unsigned(7)]).is_err());
    }
}
