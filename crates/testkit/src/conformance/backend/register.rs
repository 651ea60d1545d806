//! Registration of states.

use millpond_state::{ErrorKind, KeyGroup, KeyGroupRange, StateKind};

use super::subject::{BackendUnderTest, describe, describe_with, groups, opaque};
use crate::violation::{Verdict, ensure, ensure_eq, refused};

/// An instance says what it was opened for, and is empty.
pub fn an_instance_owns_the_key_groups_it_was_opened_for(subject: &BackendUnderTest) -> Verdict {
    let range = groups(3, 17)?;
    let backend = subject.open_range(range)?;
    ensure_eq!(backend.key_groups(), range, "key groups");
    ensure_eq!(backend.max_parallelism(), subject.max_parallelism(), "max parallelism");
    ensure!(backend.states().is_empty(), "a new instance has states");
    Ok(())
}

/// Key groups that the job does not have are refused.
pub fn key_groups_past_the_max_parallelism_are_refused(subject: &BackendUnderTest) -> Verdict {
    let past = KeyGroup::new(subject.max_parallelism().get() as u16);
    let range = KeyGroupRange::new(KeyGroup::new(0), past)?;
    refused(subject.open_range(range), ErrorKind::InvalidArgument, "open")
}

/// Registering a state again gives the same id; `states` lists each once, in order of ids.
pub fn registering_a_state_again_finds_it(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let described = [
        describe("b", StateKind::Value)?,
        describe("a", StateKind::Map)?,
        describe("c", StateKind::List)?,
    ];
    let ids = described.iter().map(|d| backend.register(d)).collect::<Result<Vec<_>, _>>()?;
    backend.put(
        *ids.first().ok_or_else(|| crate::Violation::new("no id"))?,
        subject.at(b"k"),
        b"v",
    )?;
    let again = described.iter().map(|d| backend.register(d)).collect::<Result<Vec<_>, _>>()?;
    ensure_eq!(again, ids, "ids of the second registration");
    ensure_eq!(backend.states(), described, "descriptors");
    for (index, id) in ids.iter().enumerate() {
        ensure_eq!(id.index(), index, "id of state {index}");
    }
    Ok(())
}

/// A known state declared with another kind or codec is refused, and stays usable as it was.
pub fn registering_with_another_kind_or_codec_is_refused(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("s", StateKind::Value)?)?;
    backend.put(state, subject.at(b"k"), b"v")?;
    let kind = describe("s", StateKind::List)?;
    refused(backend.register(&kind), ErrorKind::Incompatible, "another kind")?;
    let codec = describe_with("s", StateKind::Value, &opaque("other"))?;
    refused(backend.register(&codec), ErrorKind::Incompatible, "another codec")?;
    ensure_eq!(backend.register(&describe("s", StateKind::Value)?)?, state, "id");
    ensure_eq!(backend.get(state, subject.at(b"k"))?, Some(b"v".as_slice()), "value");
    ensure_eq!(backend.states().len(), 1, "states");
    Ok(())
}
