//! Lists without keys, split over subtasks or given whole to each.

use core::marker::PhantomData;
use std::sync::Arc;

use super::OperatorState;
use super::part::{OperatorStateCodecs, Redistribution};
use super::slot::{Bytes, Declaration, Items, SlotId};
use crate::buffer::Scratch;
use crate::codec::{Codec, DefaultCodec};
use crate::error::{ErrorKind, Result, StateError};
use crate::migration::{Migrations, plan_migration};

/// A split or union list of `T`. Items keep the order they were added in; a snapshot has them in
/// that order, and so does a restore, items of lower subtasks first.
#[derive(Debug)]
pub struct OperatorList<T, C = DefaultCodec<T>> {
    id: SlotId,
    codec: C,
    types: PhantomData<fn() -> T>,
}

impl<T, C: Codec<T>> OperatorList<T, C> {
    /// Registers the split list called `name`, or finds it restored: each item of a checkpoint
    /// goes to one subtask.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] if a state of that name has another redistribution, or another
    /// codec that this one [does not offer](Codec::evolve_from) to read; one restored without the
    /// name of its codec must decode with this one. [`ErrorKind::InvalidArgument`] if no state can
    /// have that name; [`ErrorKind::ResourceExhausted`] past [`STATES_MAX`](crate::STATES_MAX)
    /// states.
    pub fn register_split(store: &mut OperatorState, name: &str) -> Result<Self> {
        Self::register(store, name, Redistribution::Split, &Migrations::new())
    }

    /// As [`Self::register_split`]; items of older codecs are migrated along these steps, all of
    /// them now.
    ///
    /// # Errors
    /// As [`Self::register_split`], if no chain of steps leads to the declared codec; what a step
    /// returns, and then nothing was changed.
    pub fn register_split_with(
        store: &mut OperatorState,
        name: &str,
        migrations: &Migrations,
    ) -> Result<Self> {
        Self::register(store, name, Redistribution::Split, migrations)
    }

    /// Registers the union list called `name`, or finds it restored: each subtask gets all items
    /// of all subtasks, and keeps those it needs.
    ///
    /// # Errors
    /// As [`Self::register_split`].
    pub fn register_union(store: &mut OperatorState, name: &str) -> Result<Self> {
        Self::register(store, name, Redistribution::Union, &Migrations::new())
    }

    /// As [`Self::register_union`]; items of older codecs are migrated along these steps, all of
    /// them now.
    ///
    /// # Errors
    /// As [`Self::register_split_with`].
    pub fn register_union_with(
        store: &mut OperatorState,
        name: &str,
        migrations: &Migrations,
    ) -> Result<Self> {
        Self::register(store, name, Redistribution::Union, migrations)
    }

    fn register(
        store: &mut OperatorState,
        name: &str,
        redistribution: Redistribution,
        migrations: &Migrations,
    ) -> Result<Self> {
        let codec = C::default();
        let id = store.declare(&Declaration {
            name,
            redistribution,
            codecs: OperatorStateCodecs { key: None, value: codec.identity() },
            check_key: &|_| Ok(()),
            check_value: &|bytes| codec.decode_all(bytes).map(drop),
            plan_values: &|written| plan_migration::<T, C>(written, migrations),
        })?;
        Ok(Self { id, codec, types: PhantomData })
    }

    /// Appends one item.
    ///
    /// # Errors
    /// What the codec reports.
    pub fn add(&self, store: &mut OperatorState, item: &T) -> Result<()> {
        let bytes = self.encode(item)?;
        self.items_mut(store)?.push(bytes);
        Ok(())
    }

    /// Appends items in order; either all of them or, on an error, none.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_all<'t>(
        &self,
        store: &mut OperatorState,
        items: impl IntoIterator<Item = &'t T>,
    ) -> Result<()>
    where
        T: 't,
    {
        let encoded = self.encode_all(items)?;
        self.items_mut(store)?.extend(encoded);
        Ok(())
    }

    /// Replaces all items; on an error the old ones stay.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn replace<'t>(
        &self,
        store: &mut OperatorState,
        items: impl IntoIterator<Item = &'t T>,
    ) -> Result<()>
    where
        T: 't,
    {
        let encoded = self.encode_all(items)?;
        self.items(store)?;
        // Not through `items_mut`: it would copy what is thrown away while a snapshot holds it.
        *store.slot_mut(self.id)?.items_mut() = Items::List(Arc::new(encoded));
        Ok(())
    }

    /// All items, in order.
    ///
    /// # Errors
    /// What the codec reports.
    pub fn get(&self, store: &OperatorState) -> Result<Vec<T>> {
        self.items(store)?.iter().map(|item| self.codec.decode_all(item)).collect()
    }

    /// Number of items.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the handle is of another store.
    pub fn len(&self, store: &OperatorState) -> Result<usize> {
        Ok(self.items(store)?.len())
    }

    /// Whether there are no items.
    ///
    /// # Errors
    /// As [`Self::len`].
    pub fn is_empty(&self, store: &OperatorState) -> Result<bool> {
        Ok(self.items(store)?.is_empty())
    }

    /// Drops all items. The state itself stays, empty.
    ///
    /// # Errors
    /// As [`Self::len`].
    pub fn clear(&self, store: &mut OperatorState) -> Result<()> {
        self.replace(store, core::iter::empty())
    }

    fn encode(&self, item: &T) -> Result<Bytes> {
        let mut bytes = Scratch::new();
        self.codec.encode_into(item, &mut bytes)?;
        Ok(Bytes::from(bytes.as_slice()))
    }

    fn encode_all<'t>(&self, items: impl IntoIterator<Item = &'t T>) -> Result<Vec<Bytes>>
    where
        T: 't,
    {
        items.into_iter().map(|item| self.encode(item)).collect()
    }

    fn items<'s>(&self, store: &'s OperatorState) -> Result<&'s [Bytes]> {
        match store.items(self.id)? {
            Items::List(items) => Ok(items),
            Items::Map(_) => Err(no_list()),
        }
    }

    fn items_mut<'s>(&self, store: &'s mut OperatorState) -> Result<&'s mut Vec<Bytes>> {
        match store.slot_mut(self.id)?.items_mut() {
            Items::List(items) => Ok(Arc::make_mut(items)),
            Items::Map(_) => Err(no_list()),
        }
    }
}

#[cold]
fn no_list() -> StateError {
    StateError::new(
        ErrorKind::InvalidArgument,
        "the operator state is no list: handles are not valid across stores",
    )
}
