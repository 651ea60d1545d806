//! Kinds of state with their types, named as the handles that operators use:
//! `kind::Value<String, u64>` reads and writes what a
//! [`ValueState<String, u64>`](millpond_state::ValueState) holds.
//!
//! A key or namespace has the codec of its type; values may name another, as with the handles.

use core::marker::PhantomData;
use std::collections::VecDeque;

use millpond_state::codec::{Codec, CodecIdentity, DefaultCodec, HasCodec};
use millpond_state::{Result, SnapshotEntry, StateCodecs, StateDescriptor, StateKind};

use super::entry::{
    EncodedEntry, EntryFormat, KeyedEntry, MapEntry, StateType, TimerEntry, decode, empty_element,
    encode, identity,
};

type Marker<T> = PhantomData<fn() -> T>;

fn describe<K: HasCodec, N: HasCodec>(
    name: &str,
    kind: StateKind,
    user_key: Option<CodecIdentity>,
    value: CodecIdentity,
) -> Result<StateDescriptor> {
    let (key, namespace) = (identity::<K>(), identity::<N>());
    StateDescriptor::new(name, kind, StateCodecs { key, namespace, user_key, value })
}

macro_rules! single {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<K, V, N = (), C = DefaultCodec<V>>(C, Marker<(K, V, N)>);

        impl<K, V, N, C: Default> Default for $name<K, V, N, C> {
            fn default() -> Self {
                Self(C::default(), PhantomData)
            }
        }

        impl<K: HasCodec, V, N: HasCodec, C: Codec<V>> EntryFormat for $name<K, V, N, C> {
            type Entry = KeyedEntry<K, N, V>;

            fn decode_into(
                &self,
                stored: &SnapshotEntry<'_>,
                out: &mut VecDeque<Self::Entry>,
            ) -> Result<()> {
                let (key, namespace) = (decode(stored.key)?, decode(stored.namespace)?);
                let value = self.0.decode_all(stored.value)?;
                out.push_back(KeyedEntry { key, namespace, value });
                Ok(())
            }

            fn encode_into(&self, entry: &Self::Entry, out: &mut EncodedEntry) -> Result<()> {
                encode(&entry.key, &mut out.key)?;
                encode(&entry.namespace, &mut out.namespace)?;
                self.0.encode_into(&entry.value, &mut out.value)
            }
        }

        impl<K: HasCodec, V, N: HasCodec, C: Codec<V>> StateType for $name<K, V, N, C> {
            fn describe(&self, name: &str) -> Result<StateDescriptor> {
                describe::<K, N>(name, StateKind::$name, None, self.0.identity())
            }
        }
    };
}

single! {
    /// A value for each key and namespace.
    Value
}
single! {
    /// What a reducing state holds.
    Reducing
}
single! {
    /// The accumulators (`V`) of an aggregating state.
    Aggregating
}

/// The elements of lists. Elements of one list keep the order in which they are read or put.
#[derive(Debug)]
pub struct List<K, T, N = (), C = DefaultCodec<T>>(C, Marker<(K, T, N)>);

impl<K, T, N, C: Default> Default for List<K, T, N, C> {
    fn default() -> Self {
        Self(C::default(), PhantomData)
    }
}

impl<K, T, N, C> EntryFormat for List<K, T, N, C>
where
    K: HasCodec,
    N: HasCodec,
    C: Codec<T>,
{
    type Entry = KeyedEntry<K, N, T>;

    fn decode_into(
        &self,
        stored: &SnapshotEntry<'_>,
        out: &mut VecDeque<Self::Entry>,
    ) -> Result<()> {
        let mut rest = stored.value;
        while !rest.is_empty() {
            let before = rest.len();
            let value = self.0.decode_from(&mut rest)?;
            if rest.len() == before {
                return Err(empty_element());
            }
            let (key, namespace) = (decode(stored.key)?, decode(stored.namespace)?);
            out.push_back(KeyedEntry { key, namespace, value });
        }
        Ok(())
    }

    fn encode_into(&self, entry: &Self::Entry, out: &mut EncodedEntry) -> Result<()> {
        encode(&entry.key, &mut out.key)?;
        encode(&entry.namespace, &mut out.namespace)?;
        self.0.encode_into(&entry.value, &mut out.value)?;
        if out.value.is_empty() { Err(empty_element()) } else { Ok(()) }
    }
}

impl<K: HasCodec, T, N: HasCodec, C: Codec<T>> StateType for List<K, T, N, C> {
    fn describe(&self, name: &str) -> Result<StateDescriptor> {
        describe::<K, N>(name, StateKind::List, None, self.0.identity())
    }
}

/// The entries of maps.
#[derive(Debug)]
pub struct Map<K, UK, V, N = (), UC = DefaultCodec<UK>, C = DefaultCodec<V>>(
    UC,
    C,
    Marker<(K, UK, V, N)>,
);

impl<K, UK, V, N, UC: Default, C: Default> Default for Map<K, UK, V, N, UC, C> {
    fn default() -> Self {
        Self(UC::default(), C::default(), PhantomData)
    }
}

impl<K, UK, V, N, UC, C> EntryFormat for Map<K, UK, V, N, UC, C>
where
    K: HasCodec,
    N: HasCodec,
    UC: Codec<UK>,
    C: Codec<V>,
{
    type Entry = MapEntry<K, N, UK, V>;

    fn decode_into(
        &self,
        stored: &SnapshotEntry<'_>,
        out: &mut VecDeque<Self::Entry>,
    ) -> Result<()> {
        out.push_back(MapEntry {
            key: decode(stored.key)?,
            namespace: decode(stored.namespace)?,
            user_key: self.0.decode_all(stored.user_key)?,
            value: self.1.decode_all(stored.value)?,
        });
        Ok(())
    }

    fn encode_into(&self, entry: &Self::Entry, out: &mut EncodedEntry) -> Result<()> {
        encode(&entry.key, &mut out.key)?;
        encode(&entry.namespace, &mut out.namespace)?;
        self.0.encode_into(&entry.user_key, &mut out.user_key)?;
        self.1.encode_into(&entry.value, &mut out.value)
    }
}

impl<K, UK, V, N, UC, C> StateType for Map<K, UK, V, N, UC, C>
where
    K: HasCodec,
    N: HasCodec,
    UC: Codec<UK>,
    C: Codec<V>,
{
    fn describe(&self, name: &str) -> Result<StateDescriptor> {
        describe::<K, N>(name, StateKind::Map, Some(self.0.identity()), self.1.identity())
    }
}

/// Timers. Putting the same one twice is once.
#[derive(Debug)]
pub struct Timer<K, N = ()>(Marker<(K, N)>);

impl<K, N> Default for Timer<K, N> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<K: HasCodec, N: HasCodec> EntryFormat for Timer<K, N> {
    type Entry = TimerEntry<K, N>;

    fn decode_into(
        &self,
        stored: &SnapshotEntry<'_>,
        out: &mut VecDeque<Self::Entry>,
    ) -> Result<()> {
        let (key, namespace) = (decode(stored.key)?, decode(stored.namespace)?);
        out.push_back(TimerEntry { key, namespace, time: decode(stored.user_key)? });
        Ok(())
    }

    fn encode_into(&self, entry: &Self::Entry, out: &mut EncodedEntry) -> Result<()> {
        encode(&entry.key, &mut out.key)?;
        encode(&entry.namespace, &mut out.namespace)?;
        encode(&entry.time, &mut out.user_key)
    }
}

impl<K: HasCodec, N: HasCodec> StateType for Timer<K, N> {
    fn describe(&self, name: &str) -> Result<StateDescriptor> {
        let (user_key, value) = (Some(identity::<i64>()), CodecIdentity::void());
        describe::<K, N>(name, StateKind::Timer, user_key, value)
    }
}
