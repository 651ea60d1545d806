//! What registering a typed state comes to: nothing, a migration, or a refusal.

use std::sync::Arc;

use super::{MigrationMode, PendingMigration, StateOptions, StoredPlan, steps};
use crate::backend::KeyedBackend;
use crate::codec::{Codec, CodecIdentity, Evolution, Skip, skip_one};
use crate::descriptor::{StateDescriptor, StateKind};
use crate::error::Result;
use crate::id::StateId;

/// The codec of a state's values, without their type.
#[derive(Clone, Debug)]
pub(crate) struct ValueCodec {
    pub(crate) identity: CodecIdentity,
    pub(crate) evolve: fn(&CodecIdentity) -> Evolution,
    pub(crate) skip: Skip,
    /// Whether entries are sequences of values.
    pub(crate) is_list: bool,
}

impl ValueCodec {
    pub(crate) fn of<T, C: Codec<T>>(codec: &C, kind: StateKind) -> Self {
        Self {
            identity: codec.identity(),
            evolve: steps::evolve::<T, C>,
            skip: skip_one::<T, C>,
            is_list: kind == StateKind::List,
        }
    }
}

/// Registers a state as `declared`, whose values are of codec `value`, and brings what was restored
/// into that form, or notes that it will be.
pub(crate) fn declare<B: KeyedBackend + ?Sized>(
    backend: &mut B,
    mut declared: StateDescriptor,
    value: &ValueCodec,
    options: &StateOptions,
) -> Result<StateId> {
    let known = backend.states().iter().position(|state| state.name() == declared.name());
    let Some((index, written)) = known.and_then(|at| Some((at, backend.states().get(at)?))) else {
        return backend.register(&declared);
    };
    let Some(plan) = derive_plan(written, &declared, value, options)? else {
        return backend.register(&declared);
    };
    let id = StateId::new(index as u16);
    let groups = backend.key_groups();
    let is_map = declared.kind().is_map();
    let migration = Arc::new(PendingMigration::new(declared.name(), plan, is_map, groups));
    declared.set_migrated(Some(Arc::clone(&migration)));
    if options.mode == MigrationMode::Lazy {
        return backend.register(&declared);
    }
    migration.rehearse(backend, id)?;
    for group in groups.iter() {
        if let Err(error) = migration.ensure(backend, id, group) {
            // Some key groups are migrated and stored: what is known must say so.
            backend.register(&declared)?;
            return Err(error);
        }
    }
    declared.set_migrated(None);
    backend.register(&declared)
}

/// The plan by which what was `written` becomes what is `declared`, if they differ.
fn derive_plan(
    written: &StateDescriptor,
    declared: &StateDescriptor,
    value: &ValueCodec,
    options: &StateOptions,
) -> Result<Option<StoredPlan>> {
    if written.is_declared() {
        return written.check_readable_as(declared).map(|()| None);
    }
    written.check_addresses_readable_as(declared)?;
    let (old, new) = (&written.codecs().value, &declared.codecs().value);
    StoredPlan::derive(old, value, options.ttl.as_ref(), &options.migrations)
        .map_err(|why| written.incompatible("value", old, new, &why))
}
