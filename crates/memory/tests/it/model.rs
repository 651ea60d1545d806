//! Random operations against an ordered map.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use millpond_state::{
    EntryKey, KeyGroup, KeyGroupRange, KeyedBackend, SnapshotTask, StateId, StateKind,
};
use proptest::prelude::*;

use crate::support::{Collected, Owned, at, backend, backend_of, descriptor, max, run, snapshot};

/// State, key, namespace, user key.
type Address = (u16, Vec<u8>, Vec<u8>, Vec<u8>);
type Model = BTreeMap<Address, Vec<u8>>;

const VALUES: u16 = 0;
const LISTS: u16 = 1;
const MAPS: u16 = 2;

#[derive(Clone, Debug)]
enum Op {
    Put(u16, Vec<u8>, Vec<u8>, Vec<u8>),
    Delete(u16, Vec<u8>, Vec<u8>),
    Append(Vec<u8>, Vec<u8>, Vec<u8>),
    PutMany(Vec<(Vec<u8>, Vec<u8>)>),
    UpdateMany(Vec<(Vec<u8>, u8)>),
    MapPut(Vec<u8>, Vec<u8>, Vec<u8>),
    MapRemove(Vec<u8>, Vec<u8>),
    MapEdit(Vec<u8>, u8, Option<u8>),
    GetMany(Vec<Vec<u8>>),
    Snapshot,
    Run(bool),
    Rescale(u16),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..400u64).prop_map(|key| key.to_be_bytes().to_vec()),
        2 => (0..40u8).prop_map(|key| vec![key; usize::from(key)]),
        1 => (250..260usize).prop_map(|len| vec![7; len]),
    ]
}

fn namespace() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(Vec::new()),
        2 => (0..6u8).prop_map(|window| vec![window; 16]),
        1 => Just(vec![3; 300]),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let len =
        prop_oneof![6 => Just(8usize), 4 => 0..40usize, 2 => 200..700usize, 1 => 1_000..5_000usize];
    (len, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
}

fn op() -> impl Strategy<Value = Op> {
    let keyed = (key(), value());
    prop_oneof![
        8 => (0..2u16, key(), namespace(), value()).prop_map(|(s, k, n, v)| Op::Put(s, k, n, v)),
        4 => (0..3u16, key(), namespace()).prop_map(|(s, k, n)| Op::Delete(s, k, n)),
        6 => (key(), namespace(), value()).prop_map(|(k, n, v)| Op::Append(k, n, v)),
        4 => prop::collection::vec(keyed, 0..90).prop_map(Op::PutMany),
        4 => prop::collection::vec((key(), any::<u8>()), 0..90).prop_map(Op::UpdateMany),
        8 => (key(), key(), value()).prop_map(|(k, u, v)| Op::MapPut(k, u, v)),
        3 => (key(), key()).prop_map(|(k, u)| Op::MapRemove(k, u)),
        3 => (key(), any::<u8>(), any::<Option<u8>>()).prop_map(|(k, m, b)| Op::MapEdit(k, m, b)),
        3 => prop::collection::vec(key(), 0..90).prop_map(Op::GetMany),
        2 => Just(Op::Snapshot),
        2 => any::<bool>().prop_map(Op::Run),
        1 => (1..16u16).prop_map(Op::Rescale),
    ]
}

/// What the batch visitor makes of a value.
fn bumped(current: Option<&[u8]>, by: u8) -> Option<Vec<u8>> {
    match (current, by) {
        (_, 0..20) => None,
        (None, _) => Some(vec![by; 8]),
        (Some(value), 20..40) => Some([value, &[by; 3]].concat()),
        (Some(value), _) => Some(value.iter().map(|byte| byte.wrapping_add(by)).collect()),
    }
}

/// Tasks of one snapshot, and what they must write.
type Pending = (Vec<Box<dyn SnapshotTask>>, Vec<Owned>);

struct Pair {
    backends: Vec<millpond_memory::MemoryBackend>,
    model: Model,
    tasks: Vec<Pending>,
    snapshots: u64,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            backends: vec![backend()],
            model: Model::new(),
            tasks: Vec::new(),
            snapshots: 0,
        };
        pair.register();
        pair
    }

    fn register(&mut self) {
        for backend in &mut self.backends {
            for (name, kind) in
                [("values", StateKind::Value), ("lists", StateKind::List), ("maps", StateKind::Map)]
            {
                backend.register(&descriptor(name, kind)).unwrap();
            }
        }
    }

    fn owner(&mut self, at: &EntryKey<'_>) -> &mut millpond_memory::MemoryBackend {
        self.backends.iter_mut().find(|b| b.key_groups().contains(at.group())).unwrap()
    }

    fn apply(&mut self, op: &Op) {
        let id = StateId::new;
        match op {
            Op::Put(state, key, namespace, value) => {
                let place = at(key).in_namespace(namespace);
                self.owner(&place).put(id(*state), place, value).unwrap();
                let address = (*state, key.clone(), namespace.clone(), vec![]);
                self.model.insert(address, value.clone());
            }
            Op::Delete(state, key, namespace) => {
                let place = at(key).in_namespace(namespace);
                self.owner(&place).delete(id(*state), place).unwrap();
                self.model.retain(|(s, k, n, _), _| (s, k, n) != (state, key, namespace));
            }
            Op::Append(key, namespace, bytes) => {
                let place = at(key).in_namespace(namespace);
                self.owner(&place).append(id(LISTS), place, bytes).unwrap();
                let address = (LISTS, key.clone(), namespace.clone(), vec![]);
                self.model.entry(address).or_default().extend_from_slice(bytes);
            }
            Op::MapPut(key, user_key, value) => {
                self.owner(&at(key)).map_put(id(MAPS), at(key), user_key, value).unwrap();
                let address = (MAPS, key.clone(), vec![], user_key.clone());
                self.model.insert(address, value.clone());
            }
            Op::MapRemove(key, user_key) => {
                self.owner(&at(key)).map_remove(id(MAPS), at(key), user_key).unwrap();
                self.model.remove(&(MAPS, key.clone(), vec![], user_key.clone()));
            }
            Op::MapEdit(key, modulus, byte) => self.map_edit(key, *modulus, *byte),
            Op::PutMany(entries) => self.put_many(entries),
            Op::UpdateMany(entries) => self.update_many(entries),
            Op::GetMany(keys) => self.get_many(keys),
            Op::Snapshot => self.snapshot(),
            Op::Run(run) => self.finish_snapshot(*run),
            Op::Rescale(cut) => self.rescale(*cut),
        }
    }

    fn map_edit(&mut self, key: &[u8], modulus: u8, byte: Option<u8>) {
        let mut seen = Vec::new();
        self.owner(&at(key))
            .map_visit(StateId::new(MAPS), at(key), &mut |user_key, edit| {
                seen.push((user_key.to_vec(), edit.current().unwrap().to_vec()));
                if seen.len() % (usize::from(modulus) % 5 + 1) == 0 {
                    match byte {
                        Some(byte) => edit.replace(&vec![byte; usize::from(byte)]),
                        None => edit.remove(),
                    }
                }
                let stop = seen.len() > usize::from(modulus);
                Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
            .unwrap();
        let address = |user_key: &[u8]| (MAPS, key.to_vec(), vec![], user_key.to_vec());
        let expected: Vec<_> = self
            .model
            .range(address(&[])..)
            .take_while(|((s, k, n, _), _)| *s == MAPS && k == key && n.is_empty())
            .take(usize::from(modulus) + 1)
            .map(|((.., user_key), value)| (user_key.clone(), value.clone()))
            .collect();
        assert_eq!(seen, expected);
        for (i, (user_key, _)) in seen.iter().enumerate() {
            if (i + 1) % (usize::from(modulus) % 5 + 1) == 0 {
                match byte {
                    Some(byte) => {
                        self.model.insert(address(user_key), vec![byte; usize::from(byte)]);
                    }
                    None => {
                        self.model.remove(&address(user_key));
                    }
                }
            }
        }
    }

    fn put_many(&mut self, entries: &[(Vec<u8>, Vec<u8>)]) {
        for index in 0..self.backends.len() {
            let backend = &mut self.backends[index];
            let own: Vec<_> = entries
                .iter()
                .filter(|(key, _)| backend.key_groups().contains(at(key).group()))
                .collect();
            let keys: Vec<_> = own.iter().map(|(key, _)| at(key)).collect();
            let values: Vec<&[u8]> = own.iter().map(|(_, value)| &value[..]).collect();
            backend.put_many(StateId::new(VALUES), &keys, &values).unwrap();
        }
        for (key, value) in entries {
            self.model.insert((VALUES, key.clone(), vec![], vec![]), value.clone());
        }
    }

    fn update_many(&mut self, entries: &[(Vec<u8>, u8)]) {
        for index in 0..self.backends.len() {
            let backend = &mut self.backends[index];
            let own: Vec<_> = entries
                .iter()
                .filter(|(key, _)| backend.key_groups().contains(at(key).group()))
                .collect();
            let keys: Vec<_> = own.iter().map(|(key, _)| at(key)).collect();
            backend
                .update_many(StateId::new(VALUES), &keys, &mut |i, edit| {
                    match bumped(edit.current(), own[i].1) {
                        Some(value) => edit.replace(&value),
                        None => edit.remove(),
                    }
                    Ok(())
                })
                .unwrap();
        }
        for (key, by) in entries {
            let address = (VALUES, key.clone(), vec![], vec![]);
            match bumped(self.model.get(&address).map(|v| &v[..]), *by) {
                Some(value) => self.model.insert(address, value),
                None => self.model.remove(&address),
            };
        }
    }

    fn get_many(&mut self, keys: &[Vec<u8>]) {
        for state in [VALUES, LISTS] {
            for backend in &mut self.backends {
                let own: Vec<_> = keys
                    .iter()
                    .map(|key| at(key))
                    .filter(|at| backend.key_groups().contains(at.group()))
                    .collect();
                let mut out = vec![None; own.len()];
                backend.get_many(StateId::new(state), &own, &mut out).unwrap();
                for (at, value) in own.iter().zip(out) {
                    let address = (state, at.key().to_vec(), vec![], vec![]);
                    assert_eq!(value, self.model.get(&address).map(|v| &v[..]));
                }
            }
        }
    }

    /// The snapshot that the model says.
    fn expected(&self) -> Vec<Owned> {
        let mut entries: Vec<Owned> = self
            .model
            .iter()
            .map(|((state, key, namespace, user_key), value)| Owned {
                group: at(key).group().get(),
                state: *state,
                key: key.clone(),
                namespace: namespace.clone(),
                user_key: user_key.clone(),
                value: value.clone(),
            })
            .collect();
        entries.sort();
        entries
    }

    fn snapshot(&mut self) {
        self.snapshots += 1;
        let id = self.snapshots;
        let tasks = self.backends.iter_mut().map(|backend| snapshot(backend, id)).collect();
        self.tasks.push((tasks, self.expected()));
    }

    fn finish_snapshot(&mut self, runs: bool) {
        if self.tasks.is_empty() {
            return;
        }
        let (tasks, expected) = self.tasks.remove(0);
        if runs {
            let entries: Vec<_> = tasks.into_iter().flat_map(|task| run(task).0.entries).collect();
            assert!(entries == expected, "snapshot shows another instant");
        }
    }

    /// Restores all state into two instances.
    fn rescale(&mut self, cut: u16) {
        let written: Vec<Collected> =
            self.backends.iter_mut().map(|b| run(snapshot(b, 1_000)).0).collect();
        let range =
            |first, last| KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last)).unwrap();
        self.tasks.clear();
        self.backends =
            vec![backend_of(range(0, cut - 1)), backend_of(range(cut, max().get() as u16 - 1))];
        for backend in &mut self.backends {
            for part in &written {
                let mut part = part.restricted(backend.key_groups());
                let count = part.entries.len() as u64;
                assert_eq!(backend.restore(&mut part).unwrap(), count);
            }
        }
        self.register();
    }

    fn check(&mut self) {
        let expected = self.expected();
        for state in [VALUES, LISTS, MAPS] {
            let mut entries: Vec<_> = expected
                .iter()
                .filter(|entry| entry.state == state)
                .map(|entry| (entry.group, entry.key.clone(), entry.namespace.clone()))
                .collect();
            entries.dedup();
            let mut seen = Vec::new();
            let mut count = 0;
            for backend in &mut self.backends {
                count += backend.entry_count(StateId::new(state)).unwrap();
                let groups = backend.key_groups();
                backend
                    .visit_entries(StateId::new(state), groups, None, &mut |group, key, ns| {
                        seen.push((group.get(), key.to_vec(), ns.to_vec()));
                        Ok(ControlFlow::Continue(()))
                    })
                    .unwrap();
            }
            assert!(seen.iter().map(|(group, ..)| group).is_sorted());
            seen.sort();
            assert_eq!(seen, entries);
            assert_eq!(count, entries.len() as u64);
        }
        for entry in expected {
            let place = at(&entry.key).in_namespace(&entry.namespace);
            let state = StateId::new(entry.state);
            let backend = self.owner(&place);
            let value = if entry.state == MAPS {
                backend.map_get(state, place, &entry.user_key)
            } else {
                backend.get(state, place)
            };
            assert_eq!(value.unwrap(), Some(&entry.value[..]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_operations_agree_with_an_ordered_map(ops in prop::collection::vec(op(), 1..250)) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.apply(op);
        }
        while !pair.tasks.is_empty() {
            pair.finish_snapshot(true);
        }
        pair.check();
    }
}
