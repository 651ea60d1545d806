//! Typed addresses: a key encoded once, with which any number of states are read and written.

use core::marker::PhantomData;

use crate::buffer::Scratch;
use crate::codec::{Codec, DefaultCodec, HasCodec};
use crate::entry::EntryKey;
use crate::error::Result;
use crate::key_group::{KeyGroup, MaxParallelism, key_hash};

/// A key in encoded form, with its hash and key group: made once for each record, then used to
/// reach every state of that key. Keys of up to [`Scratch::INLINE_BYTES`] encoded bytes need no
/// allocation.
///
/// ```
/// use millpond_state::{KeyContext, MaxParallelism};
///
/// let max = MaxParallelism::new(128)?;
/// let key = KeyContext::new(&String::from("N14228"), max)?;
/// assert!(key.group().get() < 128);
/// # Ok::<(), millpond_state::StateError>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyContext<K> {
    bytes: Scratch,
    hash: u64,
    group: KeyGroup,
    key: PhantomData<fn() -> K>,
}

impl<K: HasCodec> KeyContext<K> {
    /// Encodes `key`.
    ///
    /// # Errors
    /// What the key's codec reports.
    #[inline]
    pub fn new(key: &K, max_parallelism: MaxParallelism) -> Result<Self> {
        let mut bytes = Scratch::new();
        DefaultCodec::<K>::default().encode_into(key, &mut bytes)?;
        let hash = key_hash(bytes.as_slice());
        let group = max_parallelism.group_of_hash(hash);
        Ok(Self { bytes, hash, group, key: PhantomData })
    }

    /// The key group.
    #[must_use]
    pub const fn group(&self) -> KeyGroup {
        self.group
    }

    /// The key's hash.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The encoded key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The address of this key in the void namespace.
    #[inline]
    #[must_use]
    pub fn at(&self) -> At<'_, K, ()> {
        let key = EntryKey::with_parts(self.bytes.as_slice(), self.hash, self.group);
        At { entry: key, types: PhantomData }
    }

    /// The address of this key in a namespace.
    #[inline]
    #[must_use]
    pub fn within<'a, N>(&'a self, namespace: &'a NamespaceContext<N>) -> At<'a, K, N> {
        let key = EntryKey::with_parts(self.bytes.as_slice(), self.hash, self.group);
        At { entry: key.in_namespace(namespace.bytes.as_slice()), types: PhantomData }
    }
}

/// A namespace in encoded form: for instance a window.
#[derive(Clone, Debug)]
pub struct NamespaceContext<N> {
    bytes: Scratch,
    namespace: PhantomData<fn() -> N>,
}

impl<N: HasCodec> NamespaceContext<N> {
    /// Encodes `namespace`.
    ///
    /// # Errors
    /// What the namespace's codec reports.
    #[inline]
    pub fn new(namespace: &N) -> Result<Self> {
        let mut bytes = Scratch::new();
        DefaultCodec::<N>::default().encode_into(namespace, &mut bytes)?;
        Ok(Self { bytes, namespace: PhantomData })
    }

    /// The encoded namespace.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

/// A typed address: a key of type `K` in a namespace of type `N`. A borrowed view, cheap to copy.
#[derive(Debug)]
pub struct At<'a, K, N = ()> {
    entry: EntryKey<'a>,
    types: PhantomData<fn() -> (K, N)>,
}

impl<K, N> Clone for At<'_, K, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, N> Copy for At<'_, K, N> {}

impl<'a, K, N> At<'a, K, N> {
    /// Takes bytes that are known to be encodings of a `K` and an `N`, for instance because a
    /// walk over a state's entries yielded them.
    #[inline]
    #[must_use]
    pub const fn from_entry(entry: EntryKey<'a>) -> Self {
        Self { entry, types: PhantomData }
    }

    /// The byte-level address.
    #[inline]
    #[must_use]
    pub const fn entry(&self) -> EntryKey<'a> {
        self.entry
    }
}
