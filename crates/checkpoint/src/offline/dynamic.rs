//! Entries of states whose types the program does not know, by the names of their codecs.

use std::collections::VecDeque;

use millpond_state::codec::{CodecIdentity, DynValue, Shape};
use millpond_state::{Result, SnapshotEntry, StateDescriptor, StateKind};

use super::entry::{EncodedEntry, EntryFormat, empty_element};

/// One entry, of a list state one element, of any types.
#[derive(Clone, Debug, PartialEq)]
pub struct DynEntry {
    /// The key.
    pub key: DynValue,
    /// The namespace; [`DynValue::None`] if there is none.
    pub namespace: DynValue,
    /// The key within a map, or a timer's time; `None` for states that are no maps.
    pub user_key: Option<DynValue>,
    /// The value, accumulator, element or map value; [`DynValue::None`] for timers.
    pub value: DynValue,
}

/// The shapes of a state's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynFormat {
    kind: StateKind,
    key: Shape,
    namespace: Shape,
    user_key: Option<Shape>,
    value: Shape,
}

impl DynFormat {
    /// The format of a state.
    ///
    /// # Errors
    /// [`Incompatible`](millpond_state::ErrorKind::Incompatible), naming the state and the part, if
    /// a codec is one that only its own program knows.
    pub fn of(state: &StateDescriptor) -> Result<Self> {
        let part = |name: &str, codec: &CodecIdentity| {
            Shape::parse(codec.name())
                .map_err(|error| error.context(format!("the {name} of state {:?}", state.name())))
        };
        let codecs = state.codecs();
        Ok(Self {
            kind: state.kind(),
            key: part("key", &codecs.key)?,
            namespace: part("namespace", &codecs.namespace)?,
            user_key: codecs.user_key.as_ref().map(|it| part("user key", it)).transpose()?,
            value: part("value", &codecs.value)?,
        })
    }

    /// Of the key.
    #[must_use]
    pub const fn key(&self) -> &Shape {
        &self.key
    }

    /// Of the namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Shape {
        &self.namespace
    }

    /// Of the key within a map, or of a timer's time.
    #[must_use]
    pub const fn user_key(&self) -> Option<&Shape> {
        self.user_key.as_ref()
    }

    /// Of the value, accumulator, element or map value.
    #[must_use]
    pub const fn value(&self) -> &Shape {
        &self.value
    }
}

impl EntryFormat for DynFormat {
    type Entry = DynEntry;

    fn decode_into(&self, stored: &SnapshotEntry<'_>, out: &mut VecDeque<DynEntry>) -> Result<()> {
        let user_key = self.user_key.as_ref();
        let mut head = DynEntry {
            key: self.key.decode_all(stored.key)?,
            namespace: self.namespace.decode_all(stored.namespace)?,
            user_key: user_key.map(|it| it.decode_all(stored.user_key)).transpose()?,
            value: DynValue::None,
        };
        if self.kind != StateKind::List {
            head.value = self.value.decode_all(stored.value)?;
            out.push_back(head);
            return Ok(());
        }
        let mut rest = stored.value;
        while !rest.is_empty() {
            let before = rest.len();
            let value = self.value.decode_from(&mut rest)?;
            if rest.len() == before {
                return Err(empty_element());
            }
            out.push_back(DynEntry { value, ..head.clone() });
        }
        Ok(())
    }

    fn encode_into(&self, entry: &DynEntry, out: &mut EncodedEntry) -> Result<()> {
        let named =
            |part: &'static str| move |error: millpond_state::StateError| error.context(part);
        self.key.encode_into(&entry.key, &mut out.key).map_err(named("key"))?;
        self.namespace
            .encode_into(&entry.namespace, &mut out.namespace)
            .map_err(named("namespace"))?;
        if let Some(shape) = &self.user_key {
            let user_key = entry.user_key.as_ref().unwrap_or(&DynValue::None);
            shape.encode_into(user_key, &mut out.user_key).map_err(named("user key"))?;
        }
        self.value.encode_into(&entry.value, &mut out.value).map_err(named("value"))?;
        if self.kind == StateKind::List && out.value.is_empty() {
            return Err(empty_element());
        }
        Ok(())
    }
}
