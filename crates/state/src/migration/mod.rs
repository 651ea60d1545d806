//! State written by one version of a program and read by the next.
//!
//! When a typed handle is registered for a state that was restored, the codecs that wrote it are
//! compared with those now declared. Key, namespace and user-key codecs must be what they were,
//! since entries are found by their bytes. Values are [compatible](Compatibility) as they are, or
//! after a migration: along steps that the user gives ([`Migrations`]), as the codec itself offers
//! ([`Codec::evolve_from`]), and with stamps added or dropped where a [time to live](crate::Ttl)
//! was switched on or off.
//!
//! A migration runs at once, or key group by key group as they are touched ([`MigrationMode`]).
//! Either way the next snapshot has only values of the declared codec: those not yet migrated are
//! converted on their way out.
//!
//! Invariants: each key group is wholly migrated or not at all; if code of the user fails, nothing
//! was changed. A program declares a state once: only what was restored and not yet declared is
//! migrated, so that no handle reads values under its feet changed.

mod groups;
mod run;
mod steps;
mod stored;

pub(crate) use groups::{FrozenMigration, PendingMigration, ensure_migrated};
pub(crate) use run::{ValueCodec, declare};
pub use steps::{MigrationPlan, Migrations, plan_migration};
pub(crate) use stored::StoredPlan;

#[cfg(doc)]
use crate::codec::Codec;
use crate::ttl::Ttl;

/// Whether values written by one codec can be read by another.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Compatibility {
    /// They are of that codec.
    AsIs,
    /// Yes, once they are converted.
    AfterMigration(MigrationPlan),
    /// No, for this reason.
    Incompatible(String),
}

/// When the values of a restored state are migrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MigrationMode {
    /// All of them, when the state is registered. Every value is converted twice: first all of
    /// them, to see whether that fails, then again a key group at a time, to store them.
    #[default]
    Eager,
    /// The values of a key group, when a typed handle or a sweep first touches that key group.
    /// Nothing is converted at registration, so code of the user may fail later: the access that
    /// touched the key group then fails, and changes nothing. Access by the bytes, past the typed
    /// handles, sees values of either codec.
    Lazy,
}

/// What a state is registered with, besides its name and codecs. The default is no time to live,
/// and no migration but those that the codec offers, at once.
#[derive(Clone, Debug, Default)]
pub struct StateOptions {
    pub(crate) ttl: Option<Ttl>,
    pub(crate) migrations: Migrations,
    pub(crate) mode: MigrationMode,
}

impl StateOptions {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets values, list elements and map values expire.
    ///
    /// Between one run of a program and the next a time to live may be
    /// - switched on: all values are stamped as touched now;
    /// - switched off: what had expired when the snapshot was taken is gone, all else stays;
    /// - moved to the other time domain: all values are stamped as touched now;
    /// - made longer or shorter, or given other settings: stamps stay as they are.
    ///
    /// All but the last are migrations.
    #[must_use]
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the steps by which values of older codecs become values of the declared one.
    #[must_use]
    pub fn migrations(mut self, migrations: Migrations) -> Self {
        self.migrations = migrations;
        self
    }

    /// Sets when restored values are migrated.
    #[must_use]
    pub const fn migration_mode(mut self, mode: MigrationMode) -> Self {
        self.mode = mode;
        self
    }
}
