//! A backend, used as operators use it: through typed states, by a virtual call, key by key.

use std::time::Duration;

use millpond_state::{
    Aggregate, AggregatingState, At, KeyContext, KeyedBackend, ListState, MapState, MaxParallelism,
    ReducingState, StateOptions, StateTime, TimeDomain, Ttl, ValueState,
};

use super::case::{Access, Kind, StateCase};
use super::subject::{Subject, Ticker};
use super::workload::{
    Accesses, LIST_ELEMENTS, MAP_KEYS, Payload, TTL_MS, many_elements, user_key,
};
use crate::error::{BenchError, Result};
use crate::rng::key;

/// A backend with one state.
pub(super) struct Typed<V: Payload> {
    backend: Box<dyn KeyedBackend>,
    state: Handle<V>,
    time: StateTime,
    ticker: Ticker,
    max: MaxParallelism,
    value: V,
}

enum Handle<V: Payload> {
    Value(ValueState<u64, V>),
    List(ListState<u64, u64>),
    Map(MapState<u64, u64, V>),
    Reducing(ReducingState<u64, u64>),
    Aggregating(AggregatingState<u64, Mean>),
}

/// The mean of all numbers added, kept as their sum and count.
#[derive(Debug)]
pub(super) struct Mean;

impl Aggregate for Mean {
    type Input = u64;
    type Accumulator = (u64, u64);
    type Output = u64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (u64, u64), input: &u64) {
        *sum = sum.wrapping_add(*input);
        *count += 1;
    }

    fn merge(&self, (sum, count): &mut (u64, u64), other: (u64, u64)) {
        *sum = sum.wrapping_add(other.0);
        *count += other.1;
    }

    fn result(&self, (sum, count): &(u64, u64)) -> u64 {
        sum / (*count).max(1)
    }
}

impl<V: Payload> Typed<V> {
    pub(super) fn new(
        mut backend: Box<dyn KeyedBackend>,
        case: StateCase,
        value_bytes: usize,
    ) -> Result<Self> {
        let time = StateTime::new();
        let mut options = StateOptions::new();
        if case.ttl {
            let lifetime = Duration::from_millis(TTL_MS.unsigned_abs());
            options = options.ttl(Ttl::new(lifetime, TimeDomain::Processing, &time)?);
        }
        let (to, name) = (backend.as_mut(), "state");
        let state = match case.access.kind() {
            Kind::Value => Handle::Value(ValueState::register_with(to, name, options)?),
            Kind::List => Handle::List(ListState::register_with(to, name, options)?),
            Kind::Map => Handle::Map(MapState::register_with(to, name, options)?),
            Kind::Reducing => Handle::Reducing(ReducingState::register_with(
                to,
                name,
                |a: u64, b| a.wrapping_add(b),
                options,
            )?),
            Kind::Aggregating => {
                Handle::Aggregating(AggregatingState::register_with(to, name, Mean, options)?)
            }
        };
        let max = backend.max_parallelism();
        let value = V::template(value_bytes);
        Ok(Self { backend, state, time, ticker: Ticker::new(), max, value })
    }

    /// Does `work` at the address of each key.
    #[inline]
    fn each(
        &mut self,
        accesses: &Accesses,
        mut work: impl FnMut(
            &Handle<V>,
            &mut dyn KeyedBackend,
            At<'_, u64>,
            (u64, &mut V),
        ) -> Result<u64>,
    ) -> Result<u64> {
        let Self { backend, state, time, ticker, max, value } = self;
        let backend = std::hint::black_box(backend.as_mut());
        let tick = |now_ms| time.set_processing_ms(now_ms);
        ticker.each(accesses, tick, |key, index, _| {
            let key = KeyContext::new(&key, *max)?;
            work(state, backend, key.at(), (index, value))
        })
    }
}

/// Does an access to the kind of state that the case has.
macro_rules! each {
    (
        $self:ident, $accesses:ident, $kind:ident,
        |$state:ident, $backend:ident, $at:ident, $index:ident, $value:ident| $work:expr
    ) => {
        $self.each($accesses, |state, $backend, $at, ($index, $value)| {
            let Handle::$kind($state) = state else { return Err(other_kind()) };
            $work
        })
    };
}

impl<V: Payload> Typed<V> {
    fn run_value(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        if access == Access::ValueGet {
            return each!(self, accesses, Value, |state, backend, at, _index, _value| {
                Ok(state.get(backend, at)?.map_or(0, |value| value.number()))
            });
        }
        each!(self, accesses, Value, |state, backend, at, index, value| {
            value.set_number(index);
            state.put(backend, at, value)?;
            Ok(0)
        })
    }

    fn run_list(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        match access {
            Access::ListAppend => {
                each!(self, accesses, List, |state, backend, at, index, _value| {
                    state.add(backend, at, &index)?;
                    Ok(0)
                })
            }
            Access::ListGet => {
                each!(self, accesses, List, |state, backend, at, _index, _value| {
                    let list = state.get(backend, at)?;
                    Ok(list.last().copied().unwrap_or(0).wrapping_add(list.len() as u64))
                })
            }
            Access::ListGetAndIterate => {
                each!(self, accesses, List, |state, backend, at, _index, _value| {
                    let mut sum = 0u64;
                    state.for_each(backend, at, |element| sum = sum.wrapping_add(element))?;
                    Ok(sum)
                })
            }
            Access::ListAddAll => {
                let many = many_elements();
                each!(self, accesses, List, |state, backend, at, _index, _value| {
                    state.add_all(backend, at, &many)?;
                    Ok(0)
                })
            }
            // ListAdd goes to other keys.
            _ => each!(self, accesses, List, |state, backend, at, index, _value| {
                state.replace(backend, at, &[index])?;
                Ok(0)
            }),
        }
    }

    fn run_map(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        match access {
            Access::MapGet => each!(self, accesses, Map, |state, backend, at, index, _value| {
                let found = state.get(backend, at, &user_key(index))?;
                Ok(found.map_or(0, |value| value.number()))
            }),
            Access::MapContains => {
                each!(self, accesses, Map, |state, backend, at, index, _value| {
                    Ok(u64::from(state.contains(backend, at, &(user_key(index) * 2))?))
                })
            }
            Access::MapIsEmpty => {
                each!(self, accesses, Map, |state, backend, at, _index, _value| {
                    Ok(u64::from(state.is_empty(backend, at)?))
                })
            }
            Access::MapRemove => {
                each!(self, accesses, Map, |state, backend, at, index, _value| {
                    state.remove(backend, at, &user_key(index))?;
                    Ok(0)
                })
            }
            Access::MapPutAll => {
                each!(self, accesses, Map, |state, backend, at, index, value| {
                    value.set_number(index);
                    let all: [u64; MAP_KEYS as usize] = core::array::from_fn(|at| at as u64);
                    state.put_all(backend, at, all.iter().map(|user_key| (user_key, &*value)))?;
                    Ok(0)
                })
            }
            Access::MapAdd | Access::MapUpdate => {
                each!(self, accesses, Map, |state, backend, at, index, value| {
                    value.set_number(index);
                    state.put(backend, at, &user_key(index), value)?;
                    Ok(0)
                })
            }
            _ => self.walk_map(access, accesses),
        }
    }

    fn walk_map(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        if access == Access::MapEntries {
            return each!(self, accesses, Map, |state, backend, at, _index, _value| {
                let entries = state.entries(backend, at)?;
                let sum = |sum: u64, (user_key, value): &(u64, V)| {
                    sum.wrapping_add(*user_key).wrapping_add(value.number())
                };
                Ok(entries.iter().fold(0, sum))
            });
        }
        let keys = u64::from(access != Access::MapValues);
        let values = u64::from(access != Access::MapKeys);
        each!(self, accesses, Map, |state, backend, at, _index, _value| {
            let mut sum = 0u64;
            state.for_each(backend, at, |user_key, value| {
                let (user_key, number) = (user_key * keys, value.number().wrapping_mul(values));
                sum = sum.wrapping_add(user_key).wrapping_add(number);
            })?;
            Ok(sum)
        })
    }

    fn run_folded(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        if access == Access::ReducingAdd {
            return each!(self, accesses, Reducing, |state, backend, at, index, _value| {
                state.add(backend, at, index)?;
                Ok(0)
            });
        }
        each!(self, accesses, Aggregating, |state, backend, at, index, _value| {
            state.add(backend, at, &index)?;
            Ok(0)
        })
    }

    fn read_folded(&mut self, accesses: &Accesses) -> Result<u64> {
        self.each(accesses, |state, backend, at, _| match state {
            Handle::Reducing(state) => Ok(state.get(backend, at)?.unwrap_or(0)),
            Handle::Aggregating(state) => Ok(state.get(backend, at)?.unwrap_or(0)),
            _ => Err(other_kind()),
        })
    }
}

impl<V: Payload> Subject for Typed<V> {
    fn preset(&mut self, access: Access, keys: u64) -> Result<()> {
        let all = &Accesses { keys: (0..keys).map(key).collect() };
        match access.kind() {
            Kind::Value => self.run_value(Access::ValueUpdate, all)?,
            Kind::List if access.reads_lists() => {
                let mut list = [0; LIST_ELEMENTS as usize];
                each!(self, all, List, |state, backend, at, index, _value| {
                    list.iter_mut().zip(index..).for_each(|(place, number)| *place = number);
                    state.replace(backend, at, &list)?;
                    Ok(0)
                })?
            }
            Kind::List => self.run_list(Access::ListUpdate, all)?,
            Kind::Map => self.run_map(Access::MapPutAll, all)?,
            Kind::Reducing | Kind::Aggregating => self.run_folded(access, all)?,
        };
        Ok(())
    }

    fn run(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        match access.kind() {
            Kind::Value => self.run_value(access, accesses),
            Kind::List => self.run_list(access, accesses),
            Kind::Map => self.run_map(access, accesses),
            Kind::Reducing | Kind::Aggregating => self.run_folded(access, accesses),
        }
    }

    fn read_back(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        match access.kind() {
            Kind::Reducing | Kind::Aggregating => self.read_folded(accesses),
            _ => self.run(access.read_back(), accesses),
        }
    }
}

#[cold]
fn other_kind() -> BenchError {
    BenchError::invalid("the case is of another kind of state than was registered")
}
