//! Typed states, written once over the byte-level contract: they work on any
//! [`KeyedBackend`], with static dispatch where the backend's type is known and through one
//! indirect call where it is chosen at run time.
//!
//! A handle is registered with a backend and is valid for that instance only. It holds no key and
//! no data: every call takes the backend and the address, so two handles never disagree about a
//! current key.
//!
//! # Rules of access
//! - **What a handle returns is the caller's.** Values, lists and entries are decoded copies: they
//!   live as long as the caller likes, over later changes of the state, over snapshots, and across
//!   threads and points of suspension. Changing them does not change the state; put them back.
//! - **What a handle takes it copies.** The caller may change or drop a value once it was put.
//! - **Handles may be shared and kept**, also across threads. The backend is borrowed for the
//!   length of one call; nothing that a call returns borrows it.
//! - **While a walk runs, only what it is at may be changed.** [`MapState::for_each`],
//!   [`ListState::for_each`] and [`for_each_entry`] change nothing. [`MapState::update_each`]
//!   replaces or removes the value it is at, and sees each user key once whatever it decides. None
//!   of them lets its closure reach the backend: the compiler refuses it.
//! - **[`apply_to_all`] hands out the backend**, and everything may be changed: it walks over the
//!   addresses noted at the start of each key group.
//! - **Closures of `update` and `update_many`** get a decoded copy and decide by what they return;
//!   they cannot reach the backend either.
//!
//! ```compile_fail,E0499
//! # use millpond_state::{At, KeyedBackend, MapState, Result};
//! fn delete_while_walking(
//!     map: &MapState<u64, u8, u64>,
//!     backend: &mut dyn KeyedBackend,
//!     at: At<'_, u64>,
//! ) -> Result<()> {
//!     map.for_each(backend, at, |user_key, _| {
//!         map.remove(backend, at, &user_key).ok();
//!     })
//! }
//! ```

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
