//! What a state is: its name, kind and codecs. Written into every snapshot, compared on restore.

use core::fmt;

use crate::codec::CodecIdentity;
use crate::error::{ErrorKind, Result, StateError};

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

/// Name, kind and codecs of a state: everything that a snapshot says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDescriptor {
    name: String,
    kind: StateKind,
    codecs: StateCodecs,
}

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
        Ok(Self { name, kind, codecs })
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

    /// Checks that state written as `self` can be read as `declared`.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`], naming the state, both sides, and what to do.
    pub fn check_readable_as(&self, declared: &Self) -> Result<()> {
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
        self.check_codec("key", &old.key, &new.key)?;
        self.check_codec("namespace", &old.namespace, &new.namespace)?;
        if let (Some(old), Some(new)) = (&old.user_key, &new.user_key) {
            self.check_codec("user key", old, new)?;
        }
        self.check_codec("value", &old.value, &new.value)
    }

    fn check_codec(&self, part: &str, old: &CodecIdentity, new: &CodecIdentity) -> Result<()> {
        if old == new {
            return Ok(());
        }
        Err(StateError::new(
            ErrorKind::Incompatible,
            format!(
                "state {:?}: its {part} was written with codec {old} and is now declared with \
                 codec {new}: declare it as it was written, or give the new state another name",
                self.name
            ),
        ))
    }
}
