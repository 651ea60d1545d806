//! The floor of backends that keep state in memory: what a person would write by hand, a hash map
//! for each state. Values lie in the map, lists are encoded one element after the other, maps are
//! maps of maps.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::case::{Access, Kind};
use super::subject::{Subject, Ticker};
use super::workload::{
    Accesses, LIST_ELEMENTS, MAP_KEYS, Payload, START_MS, TTL_MS, many_elements, user_key,
};
use crate::error::Result;
use crate::rng::key;

type Map<V> = HashMap<u64, V, FixedState>;

/// When a part was last written; nothing for state without a time to live.
pub(super) trait Stamp: Copy + 'static {
    /// Bytes that it takes before an element.
    const BYTES: usize;

    fn at(now_ms: i64) -> Self;

    fn is_live(self, now_ms: i64) -> bool;

    fn write_to(self, out: &mut Vec<u8>);

    fn read_from(bytes: &[u8]) -> Self;
}

impl Stamp for () {
    const BYTES: usize = 0;

    #[inline]
    fn at(_: i64) -> Self {}

    #[inline]
    fn is_live(self, _: i64) -> bool {
        true
    }

    #[inline]
    fn write_to(self, _: &mut Vec<u8>) {}

    #[inline]
    fn read_from(_: &[u8]) -> Self {}
}

impl Stamp for i64 {
    const BYTES: usize = 8;

    #[inline]
    fn at(now_ms: i64) -> Self {
        now_ms
    }

    #[inline]
    fn is_live(self, now_ms: i64) -> bool {
        now_ms - self < TTL_MS
    }

    #[inline]
    fn write_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    #[inline]
    fn read_from(bytes: &[u8]) -> Self {
        bytes.first_chunk().map_or(START_MS, |bytes| Self::from_be_bytes(*bytes))
    }
}

/// Appends an element.
#[inline]
pub(super) fn push_element<S: Stamp>(list: &mut Vec<u8>, element: u64, now_ms: i64) {
    S::at(now_ms).write_to(list);
    list.extend_from_slice(&element.to_be_bytes());
}

/// Visits the elements that live.
#[inline]
pub(super) fn visit_elements<S: Stamp>(list: &[u8], now_ms: i64, mut visit: impl FnMut(u64)) {
    for part in list.chunks_exact(S::BYTES + 8) {
        let (stamp, element) = part.split_at(S::BYTES);
        if let Some(element) = element.first_chunk()
            && S::read_from(stamp).is_live(now_ms)
        {
            visit(u64::from_be_bytes(*element));
        }
    }
}

/// Hash maps of all kinds of state.
pub(super) struct HashFloor<V, S> {
    values: Map<(V, S)>,
    lists: Map<Vec<u8>>,
    maps: Map<Map<(V, S)>>,
    sums: Map<(u64, S)>,
    means: Map<(u64, u64, S)>,
    ticker: Ticker,
    value: V,
}

impl<V: Payload, S: Stamp> HashFloor<V, S> {
    pub(super) fn new(value_bytes: usize) -> Self {
        Self {
            values: Map::default(),
            lists: Map::default(),
            maps: Map::default(),
            sums: Map::default(),
            means: Map::default(),
            ticker: Ticker::new(),
            value: V::template(value_bytes),
        }
    }

    fn run_value(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { values, ticker, value, .. } = self;
        if access == Access::ValueGet {
            return ticker.each(
                accesses,
                |_| {},
                |key, _, now| {
                    let found = values.get(&key).filter(|(_, stamp)| stamp.is_live(now));
                    Ok(found.map_or(0, |(value, _)| value.clone().number()))
                },
            );
        }
        ticker.each(
            accesses,
            |_| {},
            |key, index, now| {
                value.set_number(index);
                put(values, key, value, S::at(now));
                Ok(0)
            },
        )
    }

    fn run_list(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { lists, ticker, .. } = self;
        let many = many_elements();
        let empty: &[u8] = &[];
        match access {
            Access::ListAppend => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    push_element::<S>(lists.entry(key).or_default(), index, now);
                    Ok(0)
                },
            ),
            Access::ListGet => ticker.each(
                accesses,
                |_| {},
                |key, _, now| {
                    let mut list = Vec::new();
                    let stored = lists.get(&key).map_or(empty, |list| list);
                    visit_elements::<S>(stored, now, |element| list.push(element));
                    Ok(list.last().copied().unwrap_or(0).wrapping_add(list.len() as u64))
                },
            ),
            Access::ListGetAndIterate => ticker.each(
                accesses,
                |_| {},
                |key, _, now| {
                    let mut sum = 0u64;
                    let stored = lists.get(&key).map_or(empty, |list| list);
                    visit_elements::<S>(stored, now, |element| sum = sum.wrapping_add(element));
                    Ok(sum)
                },
            ),
            Access::ListAddAll => ticker.each(
                accesses,
                |_| {},
                |key, _, now| {
                    let list = lists.entry(key).or_default();
                    many.iter().for_each(|element| push_element::<S>(list, *element, now));
                    Ok(0)
                },
            ),
            _ => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    let list = lists.entry(key).or_default();
                    list.clear();
                    push_element::<S>(list, index, now);
                    Ok(0)
                },
            ),
        }
    }

    fn run_map(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { maps, ticker, value, .. } = self;
        match access {
            Access::MapGet => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    let found = maps.get(&key).and_then(|map| map.get(&user_key(index)));
                    let found = found.filter(|(_, stamp)| stamp.is_live(now));
                    Ok(found.map_or(0, |(value, _)| value.clone().number()))
                },
            ),
            Access::MapContains => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    let found = maps.get(&key).and_then(|map| map.get(&(user_key(index) * 2)));
                    Ok(u64::from(found.is_some_and(|(_, stamp)| stamp.is_live(now))))
                },
            ),
            Access::MapIsEmpty => ticker.each(
                accesses,
                |_| {},
                |key, _, now| {
                    let live =
                        |map: &Map<(V, S)>| map.values().any(|(_, stamp)| stamp.is_live(now));
                    Ok(u64::from(!maps.get(&key).is_some_and(live)))
                },
            ),
            Access::MapRemove => ticker.each(
                accesses,
                |_| {},
                |key, index, _| {
                    if let Some(map) = maps.get_mut(&key) {
                        map.remove(&user_key(index));
                        if map.is_empty() {
                            maps.remove(&key);
                        }
                    }
                    Ok(0)
                },
            ),
            Access::MapPutAll => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    value.set_number(index);
                    let map = maps.entry(key).or_default();
                    (0..MAP_KEYS).for_each(|user_key| put(map, user_key, value, S::at(now)));
                    Ok(0)
                },
            ),
            Access::MapAdd | Access::MapUpdate => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    value.set_number(index);
                    put(maps.entry(key).or_default(), user_key(index), value, S::at(now));
                    Ok(0)
                },
            ),
            _ => self.walk_map(access, accesses),
        }
    }

    fn walk_map(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { maps, ticker, .. } = self;
        let keys = u64::from(access != Access::MapValues);
        let values = u64::from(access != Access::MapKeys);
        ticker.each(
            accesses,
            |_| {},
            |key, _, now| {
                let live = maps.get(&key).into_iter().flatten();
                let live = live.filter(|(_, (_, stamp))| stamp.is_live(now));
                if access == Access::MapEntries {
                    let entries: Vec<(u64, V)> =
                        live.map(|(user_key, (value, _))| (*user_key, value.clone())).collect();
                    let sum = |sum: u64, (user_key, value): &(u64, V)| {
                        sum.wrapping_add(*user_key).wrapping_add(value.number())
                    };
                    return Ok(entries.iter().fold(0, sum));
                }
                let mut sum = 0u64;
                live.for_each(|(user_key, (value, _))| {
                    let (user_key, number) = (user_key * keys, value.number().wrapping_mul(values));
                    sum = sum.wrapping_add(user_key).wrapping_add(number);
                });
                Ok(sum)
            },
        )
    }

    fn run_folded(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { sums, means, ticker, .. } = self;
        if access == Access::ReducingAdd {
            return ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    let (sum, stamp) = sums.entry(key).or_insert((0, S::at(now)));
                    *sum = if stamp.is_live(now) { sum.wrapping_add(index) } else { index };
                    *stamp = S::at(now);
                    Ok(0)
                },
            );
        }
        ticker.each(
            accesses,
            |_| {},
            |key, index, now| {
                let (sum, count, stamp) = means.entry(key).or_insert((0, 0, S::at(now)));
                if !stamp.is_live(now) {
                    (*sum, *count) = (0, 0);
                }
                *sum = sum.wrapping_add(index);
                *count += 1;
                *stamp = S::at(now);
                Ok(0)
            },
        )
    }
}

#[inline]
fn put<V: Clone, S: Stamp>(map: &mut Map<(V, S)>, key: u64, value: &V, stamp: S) {
    match map.entry(key) {
        hashbrown::hash_map::Entry::Occupied(mut entry) => {
            let slot = entry.get_mut();
            slot.0.clone_from(value);
            slot.1 = stamp;
        }
        hashbrown::hash_map::Entry::Vacant(entry) => {
            entry.insert((value.clone(), stamp));
        }
    }
}

impl<V: Payload, S: Stamp> Subject for HashFloor<V, S> {
    fn preset(&mut self, access: Access, keys: u64) -> Result<()> {
        let all = Accesses { keys: (0..keys).map(key).collect() };
        match access.kind() {
            Kind::Value => self.run_value(Access::ValueUpdate, &all)?,
            Kind::List if access.reads_lists() => {
                let Self { lists, ticker, .. } = self;
                ticker.each(
                    &all,
                    |_| {},
                    |key, index, now| {
                        let list = lists.entry(key).or_default();
                        list.reserve_exact(LIST_ELEMENTS as usize * (S::BYTES + 8));
                        (index..index + LIST_ELEMENTS)
                            .for_each(|element| push_element::<S>(list, element, now));
                        Ok(0)
                    },
                )?
            }
            Kind::List => self.run_list(Access::ListUpdate, &all)?,
            Kind::Map => self.run_map(Access::MapPutAll, &all)?,
            Kind::Reducing | Kind::Aggregating => self.run_folded(access, &all)?,
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
        let Self { sums, means, ticker, .. } = self;
        match access.kind() {
            Kind::Reducing => ticker.each(
                accesses,
                |_| {},
                |key, _, _| Ok(sums.get(&key).map_or(0, |(sum, _)| *sum)),
            ),
            Kind::Aggregating => ticker.each(
                accesses,
                |_| {},
                |key, _, _| Ok(means.get(&key).map_or(0, |(sum, count, _)| sum / (*count).max(1))),
            ),
            _ => self.run(access.read_back(), accesses),
        }
    }
}
