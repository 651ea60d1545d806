//! Magic numbers and versions of the formats.
//!
//! Each format has one ordered enumeration. A variant is never removed or re-used; its
//! documentation says what it added and who can no longer read it. Whatever the version, a file
//! begins with eight bytes of magic, the version as a little-endian `u16`, and a `u16` of flags, so
//! that any build can tell a newer file from a damaged one.

use crate::error::{Result, SnapshotError};

/// First eight bytes of a full snapshot file.
pub const FULL_MAGIC: [u8; 8] = *b"MPDFULL\n";

/// Magic in the footer of a full snapshot file.
pub const FULL_FOOTER_MAGIC: [u8; 8] = *b"MPDFEND\n";

/// First eight bytes of a delta file.
pub const DELTA_MAGIC: [u8; 8] = *b"MPDDELT\n";

/// Magic in the footer of a delta file.
pub const DELTA_FOOTER_MAGIC: [u8; 8] = *b"MPDDEND\n";

/// First eight bytes of a checkpoint metadata file.
pub const METADATA_MAGIC: [u8; 8] = *b"MPDMETA\n";

/// Versions of the full snapshot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum FullVersion {
    /// Schema, blocks by key group, index and footer; blocks stored as they are or as one zstd
    /// frame; CRC-32 throughout.
    V1 = 1,
}

/// Versions of the delta file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum DeltaVersion {
    /// As [`FullVersion::V1`], with entries that say that something was deleted.
    V1 = 1,
}

/// Versions of the checkpoint metadata file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum MetadataVersion {
    /// Tagged fields: job, vertices, subtasks, full snapshot handles, operator state. Optional
    /// fields may be added to this version; older readers skip them.
    V1 = 1,
}

impl FullVersion {
    /// The oldest version that this build reads.
    pub const OLDEST_READABLE: Self = Self::V1;
    /// The version that this build writes.
    pub const CURRENT: Self = Self::V1;

    /// The number in the file.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The version with this number.
    ///
    /// # Errors
    /// [`Unsupported`](crate::SnapshotErrorKind::Unsupported) if this build does not know it.
    pub fn from_number(number: u16) -> Result<Self> {
        match number {
            1 => Ok(Self::V1),
            _ => Err(unknown("full snapshot", number, Self::CURRENT.number())),
        }
    }
}

impl DeltaVersion {
    /// The oldest version that this build reads.
    pub const OLDEST_READABLE: Self = Self::V1;
    /// The version that this build writes.
    pub const CURRENT: Self = Self::V1;

    /// The number in the file.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The version with this number.
    ///
    /// # Errors
    /// [`Unsupported`](crate::SnapshotErrorKind::Unsupported) if this build does not know it.
    pub fn from_number(number: u16) -> Result<Self> {
        match number {
            1 => Ok(Self::V1),
            _ => Err(unknown("delta", number, Self::CURRENT.number())),
        }
    }
}

impl MetadataVersion {
    /// The oldest version that this build reads.
    pub const OLDEST_READABLE: Self = Self::V1;
    /// The version that this build writes.
    pub const CURRENT: Self = Self::V1;

    /// The number in the file.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The version with this number.
    ///
    /// # Errors
    /// [`Unsupported`](crate::SnapshotErrorKind::Unsupported) if this build does not know it.
    pub fn from_number(number: u16) -> Result<Self> {
        match number {
            1 => Ok(Self::V1),
            _ => Err(unknown("checkpoint metadata", number, Self::CURRENT.number())),
        }
    }
}

#[cold]
fn unknown(format: &str, found: u16, current: u16) -> SnapshotError {
    if found > current {
        return newer(&format!(
            "{format} format version {found}, this build reads up to version {current}"
        ));
    }
    SnapshotError::unsupported(format!("there is no {format} format version {found}"))
}

/// The bytes are whole, but use something that only a later build knows.
#[cold]
pub(crate) fn newer(what: &str) -> SnapshotError {
    SnapshotError::unsupported(format!(
        "written by a newer Millpond: {what}; read it with the version that wrote it or a later one"
    ))
}
