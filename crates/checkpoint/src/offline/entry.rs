//! Entries as a program sees them, and how they become bytes.

use std::collections::VecDeque;

use millpond_state::codec::{Codec, CodecIdentity, DefaultCodec, HasCodec};
use millpond_state::{
    ErrorKind, KeyGroup, Result, Scratch, SnapshotEntry, StateDescriptor, StateError,
};

/// One value, accumulator or list element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedEntry<K, N, V> {
    /// The key.
    pub key: K,
    /// The namespace; `()` if there is none.
    pub namespace: N,
    /// The value, accumulator or element.
    pub value: V,
}

/// One entry of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapEntry<K, N, UK, V> {
    /// The key.
    pub key: K,
    /// The namespace; `()` if there is none.
    pub namespace: N,
    /// The key within the map.
    pub user_key: UK,
    /// The value.
    pub value: V,
}

/// One timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerEntry<K, N> {
    /// The key.
    pub key: K,
    /// The namespace; `()` if there is none.
    pub namespace: N,
    /// When it is due.
    pub time: i64,
}

/// The bytes of one entry.
#[derive(Clone, Debug, Default)]
pub struct EncodedEntry {
    /// The encoded key.
    pub key: Scratch,
    /// The encoded namespace.
    pub namespace: Scratch,
    /// The encoded user key; empty for all but map-like states.
    pub user_key: Scratch,
    /// The encoded value, or one element of a list.
    pub value: Scratch,
}

impl EncodedEntry {
    pub(super) fn as_entry(&self, group: KeyGroup, state: u16) -> SnapshotEntry<'_> {
        SnapshotEntry {
            group,
            state,
            key: self.key.as_slice(),
            namespace: self.namespace.as_slice(),
            user_key: self.user_key.as_slice(),
            value: self.value.as_slice(),
        }
    }

    pub(super) fn clear(&mut self) {
        for part in [&mut self.key, &mut self.namespace, &mut self.user_key, &mut self.value] {
            part.clear();
        }
    }
}

/// How stored entries become a program's and back.
pub trait EntryFormat {
    /// One entry; of a list state one element.
    type Entry;

    /// Decodes what is stored for one address to the end of `out`: of a list all elements, in
    /// order; else one entry.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes are not of this format.
    fn decode_into(
        &self,
        stored: &SnapshotEntry<'_>,
        out: &mut VecDeque<Self::Entry>,
    ) -> Result<()>;

    /// Encodes one entry into `out`, whose parts are empty.
    ///
    /// # Errors
    /// What the codecs report.
    fn encode_into(&self, entry: &Self::Entry, out: &mut EncodedEntry) -> Result<()>;
}

/// A kind of state with its types: see [`kind`](super::kind) for those there are.
pub trait StateType: EntryFormat + Default {
    /// The descriptor of such a state called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the name is none.
    fn describe(&self, name: &str) -> Result<StateDescriptor>;
}

pub(super) fn identity<T: HasCodec>() -> CodecIdentity {
    DefaultCodec::<T>::default().identity()
}

pub(super) fn decode<T: HasCodec>(bytes: &[u8]) -> Result<T> {
    DefaultCodec::<T>::default().decode_all(bytes)
}

pub(super) fn encode<T: HasCodec>(value: &T, out: &mut Scratch) -> Result<()> {
    DefaultCodec::<T>::default().encode_into(value, out)
}

/// An element of no bytes cannot be told from no element.
#[cold]
pub(super) fn empty_element() -> StateError {
    StateError::new(
        ErrorKind::InvalidArgument,
        "an element that encodes to no bytes cannot be kept in a list",
    )
}
