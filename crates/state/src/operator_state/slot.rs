//! One operator state in its store: first perhaps only restored, then declared.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::part::{OperatorStateCodecs, OperatorStatePart, Redistribution};
use crate::buffer::Scratch;
use crate::codec::{CodecIdentity, malformed, take, varint};
use crate::descriptor::STATE_NAME_BYTES_MAX;
use crate::error::{ErrorKind, Result, StateError};
use crate::migration::{Compatibility, MigrationPlan};

/// Position of a state in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotId(pub(super) usize);

/// One encoded item, key or value. Shared with the snapshots that hold it.
pub(super) type Bytes = Arc<[u8]>;

/// What a state holds. Shared with snapshots until it changes; a change copies pointers, never
/// bytes.
#[derive(Clone, Debug)]
pub(super) enum Items {
    /// Items of a list, or of a restored state that nobody has declared.
    List(Arc<Vec<Bytes>>),
    /// Broadcast state, ascending by encoded key.
    Map(Arc<BTreeMap<Bytes, Bytes>>),
}

/// How a state is declared by the program that runs now.
pub(super) struct Declaration<'a> {
    pub(super) name: &'a str,
    pub(super) redistribution: Redistribution,
    pub(super) codecs: OperatorStateCodecs,
    /// Decodes a key; for broadcast state.
    pub(super) check_key: &'a dyn Fn(&[u8]) -> Result<()>,
    /// Decodes a value.
    pub(super) check_value: &'a dyn Fn(&[u8]) -> Result<()>,
    /// Says how values written with another codec become values of the declared one.
    pub(super) plan_values: &'a dyn Fn(&CodecIdentity) -> Compatibility,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    name: String,
    redistribution: Redistribution,
    codecs: Option<OperatorStateCodecs>,
    declared: bool,
    items: Items,
}

impl Slot {
    pub(super) fn new(declaration: &Declaration<'_>) -> Result<Self> {
        check_name(declaration.name)?;
        Ok(Self {
            name: declaration.name.to_owned(),
            redistribution: declaration.redistribution,
            codecs: Some(declaration.codecs.clone()),
            declared: true,
            items: match declaration.redistribution {
                Redistribution::Broadcast => Items::Map(Arc::default()),
                Redistribution::Split | Redistribution::Union => Items::List(Arc::default()),
            },
        })
    }

    pub(super) fn restored(part: OperatorStatePart) -> Result<Self> {
        check_name(&part.name)?;
        Ok(Self {
            name: part.name,
            redistribution: part.redistribution,
            codecs: part.codecs,
            declared: false,
            items: Items::List(Arc::new(part.items.into_iter().map(Bytes::from).collect())),
        })
    }

    /// Adds another part of the same restored state.
    pub(super) fn extend(&mut self, part: OperatorStatePart) -> Result<()> {
        if part.redistribution != self.redistribution || part.codecs != self.codecs {
            return Err(StateError::new(
                ErrorKind::Incompatible,
                format!(
                    "operator state {:?} was written as {} by one subtask and as {} by another: \
                     restore an older checkpoint, or without this state",
                    self.name,
                    Written(self.redistribution, self.codecs.as_ref()),
                    Written(part.redistribution, part.codecs.as_ref()),
                ),
            ));
        }
        if let Items::List(items) = &mut self.items {
            Arc::make_mut(items).extend(part.items.into_iter().map(Bytes::from));
        }
        Ok(())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn is_declared(&self) -> bool {
        self.declared
    }

    pub(super) const fn items(&self) -> &Items {
        &self.items
    }

    pub(super) fn items_mut(&mut self) -> &mut Items {
        &mut self.items
    }

    /// Empties the slot and takes its name, so that nothing finds it any more.
    pub(super) fn discard(&mut self) {
        self.name.clear();
        self.declared = true;
        self.items = Items::List(Arc::default());
    }

    /// The state as bytes; `None` for a discarded one.
    pub(super) fn into_part(self) -> Option<OperatorStatePart> {
        if self.name.is_empty() {
            return None;
        }
        let items = match &self.items {
            Items::List(items) => items.iter().map(|item| item.to_vec()).collect(),
            Items::Map(entries) => {
                entries.iter().map(|(key, value)| join_entry(key, value)).collect()
            }
        };
        let Self { name, redistribution, codecs, .. } = self;
        Some(OperatorStatePart { name, redistribution, codecs, items })
    }

    /// Makes the state what the running program declares it to be, or changes nothing.
    pub(super) fn declare(&mut self, declaration: &Declaration<'_>) -> Result<()> {
        if self.redistribution != declaration.redistribution {
            return Err(StateError::new(
                ErrorKind::Incompatible,
                format!(
                    "operator state {:?} was written as {} state and is now declared as {} state: \
                     declare it as it was written, or give the new state another name",
                    self.name, self.redistribution, declaration.redistribution
                ),
            ));
        }
        let plan = match &self.codecs {
            Some(written) => self.plan(written, declaration)?,
            None => None,
        };
        if !self.declared {
            self.items = self.read_as(declaration, plan.as_ref())?;
            self.codecs = Some(declaration.codecs.clone());
            self.declared = true;
        }
        Ok(())
    }

    /// How the stored values become what is declared; `None` if they are that.
    fn plan(
        &self,
        written: &OperatorStateCodecs,
        declaration: &Declaration<'_>,
    ) -> Result<Option<MigrationPlan>> {
        if let (Some(old), Some(new)) = (&written.key, &declaration.codecs.key)
            && old != new
        {
            let why = "entries are found by its bytes, so it cannot change";
            return Err(self.incompatible("key", (old, new), why));
        }
        let (old, new) = (&written.value, &declaration.codecs.value);
        if old == new {
            return Ok(None);
        }
        if self.declared {
            let why =
                "the program declares it both ways, and only what is not yet declared is migrated";
            return Err(self.incompatible("value", (old, new), why));
        }
        match (declaration.plan_values)(old) {
            Compatibility::AsIs => Ok(None),
            Compatibility::AfterMigration(plan) => Ok(Some(plan)),
            Compatibility::Incompatible(why) => Err(self.incompatible("value", (old, new), &why)),
        }
    }

    /// The restored items in the form of the declared state.
    fn read_as(
        &self,
        declaration: &Declaration<'_>,
        plan: Option<&MigrationPlan>,
    ) -> Result<Items> {
        let Items::List(items) = &self.items else {
            return Ok(self.items.clone());
        };
        if declaration.redistribution == Redistribution::Broadcast {
            let entries = items.iter().map(|item| self.read_entry(item, declaration, plan));
            return Ok(Items::Map(Arc::new(entries.collect::<Result<_>>()?)));
        }
        if self.codecs.is_some() && plan.is_none() {
            return Ok(self.items.clone());
        }
        let items = items.iter().map(|item| self.read_value(item, declaration, plan));
        Ok(Items::List(Arc::new(items.collect::<Result<_>>()?)))
    }

    fn read_entry(
        &self,
        item: &[u8],
        declaration: &Declaration<'_>,
        plan: Option<&MigrationPlan>,
    ) -> Result<(Bytes, Bytes)> {
        let (key, value) = split_entry(item)
            .map_err(|error| error.context(format!("operator state {:?}", self.name)))?;
        if self.codecs.is_none() {
            (declaration.check_key)(key).map_err(|error| self.unknown_codec(error))?;
        }
        Ok((Bytes::from(key), self.read_value(value, declaration, plan)?))
    }

    fn read_value(
        &self,
        value: &[u8],
        declaration: &Declaration<'_>,
        plan: Option<&MigrationPlan>,
    ) -> Result<Bytes> {
        if let Some(plan) = plan {
            return migrate(plan, value)
                .map_err(|error| error.context(format!("operator state {:?}", self.name)));
        }
        if self.codecs.is_none() {
            (declaration.check_value)(value).map_err(|error| self.unknown_codec(error))?;
        }
        Ok(Bytes::from(value))
    }

    #[cold]
    fn unknown_codec(&self, error: StateError) -> StateError {
        StateError::new(
            ErrorKind::Incompatible,
            format!(
                "operator state {:?} was written without naming its codec and does not decode as \
                 declared: declare it as it was written, or give the new state another name",
                self.name
            ),
        )
        .with_source(error)
    }

    #[cold]
    fn incompatible(
        &self,
        part: &str,
        (old, new): (&CodecIdentity, &CodecIdentity),
        why: &str,
    ) -> StateError {
        let steps = if part == "value" { ", give a migration step" } else { "" };
        StateError::new(
            ErrorKind::Incompatible,
            format!(
                "operator state {:?}: its {part} was written with codec {old} and is now declared \
                 with codec {new}; {why}: declare it as it was written{steps}, or give the new \
                 state another name",
                self.name
            ),
        )
    }
}

/// What a whole value becomes along `plan`.
fn migrate(plan: &MigrationPlan, mut value: &[u8]) -> Result<Bytes> {
    let mut out = Scratch::new();
    plan.convert(&mut value, &mut out)?;
    if value.is_empty() { Ok(Bytes::from(out.as_slice())) } else { Err(malformed("one value")) }
}

/// How a state was written, for messages.
struct Written<'a>(Redistribution, Option<&'a OperatorStateCodecs>);

impl core::fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} state", self.0)?;
        let Some(codecs) = self.1 else {
            return f.write_str(" without a codec");
        };
        match &codecs.key {
            Some(key) => write!(f, " with codecs {key} and {}", codecs.value),
            None => write!(f, " with codec {}", codecs.value),
        }
    }
}

/// Names obey the rules of keyed states.
fn check_name(name: &str) -> Result<()> {
    if !name.is_empty() && name.len() <= STATE_NAME_BYTES_MAX && !name.chars().any(char::is_control)
    {
        return Ok(());
    }
    Err(StateError::new(
        ErrorKind::InvalidArgument,
        format!(
            "name {name:?} of an operator state must have 1 to {STATE_NAME_BYTES_MAX} bytes and \
             no control characters"
        ),
    ))
}

/// An entry of broadcast state as one item.
fn join_entry(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut head = Scratch::new();
    varint::encode_into(key.len() as u64, &mut head);
    [head.as_slice(), key, value].concat()
}

/// Key and value of an item of broadcast state.
fn split_entry(mut item: &[u8]) -> Result<(&[u8], &[u8])> {
    let len = varint::decode_from(&mut item)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let key = take(&mut item, len, "a key and its value")?;
    Ok((key, item))
}
