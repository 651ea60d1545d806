//! One operator state as bytes: what checkpoints keep of it and what a restore hands out.

use core::fmt;

use crate::codec::CodecIdentity;

/// How an operator state is given out to the subtasks of a restored job. The numbers are part of
/// the metadata format and never re-used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Redistribution {
    /// Each item goes to one subtask.
    Split = 1,
    /// Each subtask gets all items of all.
    Union = 2,
    /// All subtasks had the same items; each gets them once.
    Broadcast = 3,
}

impl Redistribution {
    /// The number that stands for it in checkpoint metadata.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What `code` stands for, if anything.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Split,
            2 => Self::Union,
            3 => Self::Broadcast,
            _ => return None,
        })
    }
}

impl fmt::Display for Redistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Split => "split",
            Self::Union => "union",
            Self::Broadcast => "broadcast",
        })
    }
}

/// The codecs of one operator state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorStateCodecs {
    /// Of the keys of broadcast state; `None` for lists.
    pub key: Option<CodecIdentity>,
    /// Of the list's items, or of the values of broadcast state.
    pub value: CodecIdentity,
}

/// One operator state of one subtask, as bytes.
///
/// With codecs, an item of a list is one encoded value; an item of broadcast state is the varint
/// length of an encoded key, that key, and the encoded value, items ascending by key. Without
/// codecs, items are whatever their writer made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorStatePart {
    /// The name, unique within the subtask.
    pub name: String,
    /// How the items are given out on restore.
    pub redistribution: Redistribution,
    /// What the items were written with, if the writer says so.
    pub codecs: Option<OperatorStateCodecs>,
    /// The items.
    pub items: Vec<Vec<u8>>,
}

impl OperatorStatePart {
    /// A state whose items only their writer understands: it goes without codecs.
    #[must_use]
    pub fn opaque(
        name: impl Into<String>,
        redistribution: Redistribution,
        items: Vec<Vec<u8>>,
    ) -> Self {
        Self { name: name.into(), redistribution, codecs: None, items }
    }
}
