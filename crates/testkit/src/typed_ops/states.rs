//! Typed states with numbers in any version of their codec.

use millpond_state::codec::{Codec, DefaultCodec};
use millpond_state::kinds::{
    Aggregate, AggregatingState, ListState, MapState, ReducingState, ValueState,
};
use millpond_state::{
    At, KeyContext, KeyedBackend, NamespaceContext, Result, StateId, StateOptions,
};

use super::answer::{Answer, folded, joined, reduced, result, updated};
use super::op::{Access, Kind};
use super::system::{Instance, name_of, window_of};
use crate::conformance::backend::kinds::Numbers;

pub(super) type States1 = TypedStates<Numbers<1>>;
pub(super) type States2 = TypedStates<Numbers<2>>;
pub(super) type States3 = TypedStates<Numbers<3>>;

type Key = KeyContext<String>;
type Window = NamespaceContext<i64>;

/// States of any version.
pub(super) trait States {
    /// The id of a state; `None` for timers.
    fn id(&self, kind: Kind) -> Option<StateId>;

    fn access(
        &self,
        backend: &mut dyn KeyedBackend,
        key: &Key,
        window: &Window,
        access: &Access,
    ) -> Result<Answer>;
}

/// Folds with numbers that show the order.
#[derive(Clone, Copy, Debug, Default)]
struct Fold;

impl Aggregate for Fold {
    type Input = u64;
    type Accumulator = u64;
    type Output = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, accumulator: &mut u64, input: &u64) {
        *accumulator = folded(*accumulator, *input);
    }

    fn merge(&self, accumulator: &mut u64, other: u64) {
        *accumulator = joined(*accumulator, other);
    }

    fn result(&self, accumulator: &u64) -> u64 {
        result(*accumulator)
    }
}

pub(super) struct TypedStates<C: Codec<u64>> {
    value: ValueState<String, u64, i64, C>,
    list: ListState<String, u64, i64, C>,
    map: MapState<String, u8, u64, i64, DefaultCodec<u8>, C>,
    reducing: ReducingState<String, u64, i64, C>,
    aggregating: AggregatingState<String, Fold, i64, C>,
}

impl<C: Codec<u64>> TypedStates<C> {
    pub(super) fn register(backend: &mut dyn KeyedBackend, options: &StateOptions) -> Result<Self> {
        let (name, options) = (name_of, || options.clone());
        let aggregating = name(Kind::Aggregating);
        Ok(Self {
            value: ValueState::register_with(backend, name(Kind::Value), options())?,
            list: ListState::register_with(backend, name(Kind::List), options())?,
            map: MapState::register_with(backend, name(Kind::Map), options())?,
            reducing: ReducingState::register_with(
                backend,
                name(Kind::Reducing),
                reduced,
                options(),
            )?,
            aggregating: AggregatingState::register_with(backend, aggregating, Fold, options())?,
        })
    }

    fn access_map(
        &self,
        backend: &mut dyn KeyedBackend,
        at: At<'_, String, i64>,
        access: &Access,
    ) -> Result<Answer> {
        match access {
            Access::MapPut(user_key, number) => self.map.put(backend, at, user_key, number)?,
            Access::MapRemove(user_key) => self.map.remove(backend, at, user_key)?,
            Access::MapGet(user_key) => {
                return Ok(Answer::Number(self.map.get(backend, at, user_key)?));
            }
            Access::MapContains(user_key) => {
                return Ok(Answer::Flag(self.map.contains(backend, at, user_key)?));
            }
            Access::MapEntries => return Ok(Answer::Entries(self.map.entries(backend, at)?)),
            Access::MapIsEmpty => return Ok(Answer::Flag(self.map.is_empty(backend, at)?)),
            Access::MapUpdateEach(by) => {
                self.map.update_each(backend, at, |_, old| updated(Some(old), *by))?;
            }
            _ => {}
        }
        Ok(Answer::Nothing)
    }

    fn clear(
        &self,
        backend: &mut dyn KeyedBackend,
        at: At<'_, String, i64>,
        kind: Kind,
    ) -> Result<()> {
        match kind {
            Kind::Value => self.value.delete(backend, at),
            Kind::List => self.list.delete(backend, at),
            Kind::Map => self.map.delete(backend, at),
            Kind::Reducing => self.reducing.delete(backend, at),
            Kind::Aggregating => self.aggregating.delete(backend, at),
            Kind::Timers => Ok(()),
        }
    }

    fn merge(
        &self,
        backend: &mut dyn KeyedBackend,
        key: &Key,
        target: &Window,
        kind: Kind,
        sources: &[u8],
    ) -> Result<()> {
        let windows = sources.iter().map(|number| NamespaceContext::new(&window_of(*number)));
        let sources = windows.collect::<Result<Vec<_>>>()?;
        match kind {
            Kind::List => self.list.merge_namespaces(backend, key, &sources, target),
            Kind::Reducing => self.reducing.merge_namespaces(backend, key, &sources, target),
            Kind::Aggregating => self.aggregating.merge_namespaces(backend, key, &sources, target),
            _ => Ok(()),
        }
    }
}

impl<C: Codec<u64>> States for TypedStates<C> {
    fn id(&self, kind: Kind) -> Option<StateId> {
        Some(match kind {
            Kind::Value => self.value.id(),
            Kind::List => self.list.id(),
            Kind::Map => self.map.id(),
            Kind::Reducing => self.reducing.id(),
            Kind::Aggregating => self.aggregating.id(),
            Kind::Timers => return None,
        })
    }

    fn access(
        &self,
        backend: &mut dyn KeyedBackend,
        key: &Key,
        window: &Window,
        access: &Access,
    ) -> Result<Answer> {
        let at = key.within(window);
        match access {
            Access::Put(number) => self.value.put(backend, at, number)?,
            Access::Get => return Ok(Answer::Number(self.value.get(backend, at)?)),
            Access::Update(by) => self.value.update(backend, at, |old| updated(old, *by))?,
            Access::Clear(kind) => self.clear(backend, at, *kind)?,
            Access::ListAdd(elements) => self.list.add_all(backend, at, elements)?,
            Access::ListReplace(elements) => self.list.replace(backend, at, elements)?,
            Access::ListGet => return Ok(Answer::Numbers(self.list.get(backend, at)?)),
            Access::Reduce(number) => self.reducing.add(backend, at, *number)?,
            Access::Reduced => return Ok(Answer::Number(self.reducing.get(backend, at)?)),
            Access::Aggregate(number) => self.aggregating.add(backend, at, number)?,
            Access::Aggregated => return Ok(Answer::Number(self.aggregating.get(backend, at)?)),
            Access::Merge(kind, sources) => self.merge(backend, key, window, *kind, sources)?,
            _ => return self.access_map(backend, at, access),
        }
        Ok(Answer::Nothing)
    }
}

/// Does something on one place of the instance that owns it.
pub(super) fn access(
    instance: &mut Instance,
    key: &Key,
    window: &Window,
    access: &Access,
) -> Result<Answer> {
    let Instance { backend, states, timers, .. } = instance;
    let (backend, at) = (&mut **backend, key.within(window));
    Ok(match access {
        Access::TimerAdd(time) => Answer::Flag(timers.add(backend, at, *time)?),
        Access::TimerDelete(time) => Answer::Flag(timers.delete(backend, at, *time)?),
        Access::TimerTimes => Answer::Times(timers.times(backend, at)?),
        Access::Clear(Kind::Timers) => {
            timers.delete_all(backend, at)?;
            Answer::Nothing
        }
        _ => states.access(backend, key, window, access)?,
    })
}
