//! Typed states, written once over the byte-level contract: they work on any
//! [`KeyedBackend`], with static dispatch where the backend's type is known and through one
//! indirect call where it is chosen at run time.
//!
//! A handle is registered with a backend and is valid for that instance only. It holds no key and
//! no data: every call takes the backend and the address, so two handles never disagree about a
//! current key.
//!
//! What a handle returns is owned by the caller: changing it does not change the state.

mod access;
mod aggregating;
mod list;
mod map;
mod merge;
mod reducing;
mod value;
mod walk;

pub use aggregating::{Aggregate, AggregatingState};
pub use list::ListState;
pub use map::MapState;
pub use reducing::ReducingState;
pub use value::ValueState;
pub use walk::{apply_to_all, for_each_entry};

use core::marker::PhantomData;

use crate::backend::KeyedBackend;
use crate::codec::{Codec, CodecIdentity, DefaultCodec, HasCodec};
use crate::descriptor::{StateCodecs, StateDescriptor, StateKind};
use crate::edit::Edit;
use crate::entry::EntryKey;
use crate::error::{ErrorKind, Result, StateError};
use crate::id::StateId;

/// Carries a handle's type parameters.
type Marker<T> = PhantomData<fn() -> T>;

/// Describes a state keyed by `K` in namespaces `N`.
pub(crate) fn describe<K: HasCodec, N: HasCodec>(
    name: &str,
    kind: StateKind,
    user_key: Option<CodecIdentity>,
    value: CodecIdentity,
) -> Result<StateDescriptor> {
    let codecs = StateCodecs {
        key: DefaultCodec::<K>::default().identity(),
        namespace: DefaultCodec::<N>::default().identity(),
        user_key,
        value,
    };
    StateDescriptor::new(name, kind, codecs)
}

/// Reads, modifies and writes one entry.
#[inline]
fn update_one<B: KeyedBackend + ?Sized>(
    backend: &mut B,
    state: StateId,
    at: EntryKey<'_>,
    mut change: impl FnMut(&mut Edit<'_>) -> Result<()>,
) -> Result<()> {
    backend.update_many(state, &[at], &mut |_, edit| change(edit))
}

/// Encodes `value` as the edit's new value.
#[inline]
fn replace<T, C: Codec<T>>(edit: &mut Edit<'_>, codec: &C, value: &T) -> Result<()> {
    edit.replace_with(|out| codec.encode_into(value, out))
}

/// Decodes the edit's current value, if there is one.
#[inline]
fn current<T, C: Codec<T>>(edit: &Edit<'_>, codec: &C) -> Result<Option<T>> {
    edit.current().map(|bytes| codec.decode_all(bytes)).transpose()
}

#[cold]
fn lengths_differ(entries: usize, values: usize) -> StateError {
    StateError::new(
        ErrorKind::InvalidArgument,
        format!("a batch has {entries} entries but {values} values"),
    )
}
