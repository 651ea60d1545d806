//! What a state is: its name, kind and codecs. Written into every snapshot, compared on restore.

use core::fmt;
use std::sync::Arc;

use crate::codec::CodecIdentity;
use crate::error::{ErrorKind, Result, StateError};
use crate::migration::PendingMigration;
use crate::ttl::{ExpiryFilter, Ttl};

/// Longest state name, in bytes.
pub const STATE_NAME_BYTES_MAX: usize = 255;

/// The kind of a state. The numbers are part of the snapshot format and are never re-used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum StateKind {
    /// One value per key and namespace.
    Value = 1,
    /// An appendable sequence; stored as the concatenation of its self-delimiting elements.
    List = 2,
    /// A map from user keys to values.
    Map = 3,
    /// One value, combined with each added value of the same type.
    Reducing = 4,
    /// One accumulator, into which values of another type are folded.
    Aggregating = 5,
    /// Timers: for each key and namespace the set of times they are due at, stored as a map from
    /// time to nothing.
    Timer = 6,
}

impl StateKind {
    /// The number that stands for this kind in snapshots.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether entries are maps: reached by a user key too, with the map operations of a backend.
    #[must_use]
    pub const fn is_map(self) -> bool {
        matches!(self, Self::Map | Self::Timer)
    }

    /// The kind that `code` stands for, if any.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Value,
            2 => Self::List,
            3 => Self::Map,
            4 => Self::Reducing,
            5 => Self::Aggregating,
            6 => Self::Timer,
            _ => return None,
        })
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Reducing => "reducing",
            Self::Aggregating => "aggregating",
            Self::Timer => "timer",
        })
    }
}

/// The codecs of one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCodecs {
    /// Of the key.
    pub key: CodecIdentity,
    /// Of the namespace; [`CodecIdentity::void`] if the state has none.
    pub namespace: CodecIdentity,
    /// Of the user keys of a [map-like](StateKind::is_map) state; `None` for the other kinds.
    pub user_key: Option<CodecIdentity>,
    /// Of the value, list element, map value or accumulator.
    pub value: CodecIdentity,
}

/// Name, kind and codecs of a state: everything that a snapshot says about it. Descriptors are
/// equal if these are.
///
/// In a running program a descriptor also carries what typed handles of the state agreed on: its
/// time to live, and a migration that is under way. Snapshots do not.
#[derive(Clone, Debug)]
pub struct StateDescriptor {
    name: String,
    kind: StateKind,
    codecs: StateCodecs,
    local: Local,
}

/// What a running program knows of a state and no snapshot says.
#[derive(Clone, Debug, Default)]
struct Local {
    /// Whether a typed handle declared the state.
    declared: bool,
    /// Whether the stored values were, or are being, migrated to these codecs from others.
    migrated: bool,
    ttl: Option<Ttl>,
    expiry: Option<Arc<dyn ExpiryFilter>>,
    migration: Option<Arc<PendingMigration>>,
}

impl PartialEq for StateDescriptor {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.kind, &self.codecs) == (&other.name, other.kind, &other.codecs)
    }
}

impl Eq for StateDescriptor {}

impl StateDescriptor {
    /// Describes a state.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the name is empty, longer than [`STATE_NAME_BYTES_MAX`],
    /// or has control characters; or if `codecs.user_key` is present for a kind that is no
    /// [map](StateKind::is_map) or missing for one that is.
    pub fn new(name: impl Into<String>, kind: StateKind, codecs: StateCodecs) -> Result<Self> {
        let name = name.into();
        let usable = !name.is_empty()
            && name.len() <= STATE_NAME_BYTES_MAX
            && !name.chars().any(char::is_control);
        if !usable {
            return Err(StateError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "state name {name:?} must have 1 to {STATE_NAME_BYTES_MAX} bytes and no \
                     control characters"
                ),
            ));
        }
        if codecs.user_key.is_some() != kind.is_map() {
            return Err(StateError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "state {name:?}: map and timer states, and only they, have a user-key codec"
                ),
            ));
        }
        Ok(Self { name, kind, codecs, local: Local::default() })
    }

    /// The name, unique within a backend.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> StateKind {
        self.kind
    }

    /// The codecs.
    #[must_use]
    pub const fn codecs(&self) -> &StateCodecs {
        &self.codecs
    }

    /// Judges stored entries by their age, if the state was declared with a
    /// [time to live](crate::Ttl): for backends that rewrite their files by themselves.
    #[must_use]
    pub const fn expiry(&self) -> Option<&Arc<dyn ExpiryFilter>> {
        self.local.expiry.as_ref()
    }

    /// The time to live that the state was declared with.
    #[must_use]
    pub const fn ttl(&self) -> Option<&Ttl> {
        self.local.ttl.as_ref()
    }

    /// Whether restored values are being [migrated](crate::migration) and not all of them are yet.
    #[must_use]
    pub fn is_migrating(&self) -> bool {
        self.local.migration.as_ref().is_some_and(|migration| !migration.is_complete())
    }

    /// Only what snapshots say.
    #[must_use]
    pub fn to_persisted(&self) -> Self {
        let Self { name, kind, codecs, .. } = self.clone();
        Self { name, kind, codecs, local: Local::default() }
    }

    /// Sets the codec that values are stored in.
    pub(crate) fn set_value_codec(&mut self, codec: CodecIdentity) {
        self.codecs.value = codec;
    }

    /// Marks the state as declared by a typed handle, with this time to live.
    pub(crate) fn declare(&mut self, ttl: Option<Ttl>, expiry: Option<Arc<dyn ExpiryFilter>>) {
        self.local = Local { declared: true, ttl, expiry, ..Local::default() };
    }

    /// Says that stored values are of these codecs although others wrote them, or will be when the
    /// migration is through.
    pub(crate) fn set_migrated(&mut self, under_way: Option<Arc<PendingMigration>>) {
        self.local.migrated = true;
        self.local.migration = under_way;
    }

    /// Whether a typed handle declared the state.
    pub(crate) const fn is_declared(&self) -> bool {
        self.local.declared
    }

    /// The migration that is under way.
    pub(crate) const fn migration(&self) -> Option<&Arc<PendingMigration>> {
        self.local.migration.as_ref()
    }

    /// Whether there is anything that [`Self::to_persisted`] drops.
    pub(crate) const fn is_plain(&self) -> bool {
        self.local.expiry.is_none() && self.local.migration.is_none()
    }

    /// Takes in how the same state is declared now, after checking that it can be.
    ///
    /// # Errors
    /// As [`Self::check_readable_as`]; [`ErrorKind::InvalidArgument`] if two handles disagree about
    /// the time to live.
    pub(crate) fn adopt(&mut self, declared: &Self) -> Result<()> {
        if declared.local.migrated {
            self.codecs = declared.codecs.clone();
            self.local = Local { migrated: false, ..declared.local.clone() };
            return Ok(());
        }
        self.check_readable_as(declared)?;
        if !declared.local.declared {
            return Ok(());
        }
        if self.local.declared && self.local.ttl != declared.local.ttl {
            return Err(StateError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "state {:?} is declared twice with different times to live: declare it alike",
                    self.name
                ),
            ));
        }
        let migration = self.local.migration.take();
        self.local = Local { migration, ..declared.local.clone() };
        Ok(())
    }

    /// Checks that state written as `self` can be read as `declared`, as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`], naming the state, both sides, and what to do.
    pub fn check_readable_as(&self, declared: &Self) -> Result<()> {
        self.check_addresses_readable_as(declared)?;
        let (old, new) = (&self.codecs.value, &declared.codecs.value);
        if old == new {
            return Ok(());
        }
        let why = if self.local.declared {
            "the program declares it both ways, and only what is not yet declared is migrated"
        } else {
            "it must be declared by a typed handle to be migrated"
        };
        Err(self.incompatible("value", old, new, why))
    }

    /// Checks that entries of state written as `self` are found if it is declared as `declared`:
    /// everything but the codec of values must be the same.
    pub(crate) fn check_addresses_readable_as(&self, declared: &Self) -> Result<()> {
        if self.kind != declared.kind {
            return Err(StateError::new(
                ErrorKind::Incompatible,
                format!(
                    "state {:?} was written as {} state and is now declared as {} state: declare \
                     it as it was written, or give the new state another name",
                    self.name, self.kind, declared.kind
                ),
            ));
        }
        let (old, new) = (&self.codecs, &declared.codecs);
        self.check_address_codec("key", &old.key, &new.key)?;
        self.check_address_codec("namespace", &old.namespace, &new.namespace)?;
        match (&old.user_key, &new.user_key) {
            (Some(old), Some(new)) => self.check_address_codec("user key", old, new),
            _ => Ok(()),
        }
    }

    fn check_address_codec(
        &self,
        part: &str,
        old: &CodecIdentity,
        new: &CodecIdentity,
    ) -> Result<()> {
        if old == new {
            return Ok(());
        }
        Err(self.incompatible(
            part,
            old,
            new,
            "entries are found by its bytes, so it cannot change",
        ))
    }

    /// The error that state written as `self` cannot be read because of one codec.
    #[cold]
    pub(crate) fn incompatible(
        &self,
        part: &str,
        old: &CodecIdentity,
        new: &CodecIdentity,
        why: &str,
    ) -> StateError {
        let steps = if part == "value" { ", give a migration step" } else { "" };
        StateError::new(
            ErrorKind::Incompatible,
            format!(
                "state {:?}: its {part} was written with codec {old} and is now declared with \
                 codec {new}; {why}: declare it as it was written{steps}, or give the new state \
                 another name",
                self.name
            ),
        )
    }
}
