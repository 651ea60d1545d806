//! A lazy migration under random accesses: every snapshot on the way is all new.

use millpond_state::{KeyedBackend, ListState, MapState, MigrationMode, StateOptions, ValueState};
use millpond_testkit::entries::LogicalState;
use millpond_testkit::model::ModelBackend;
use proptest::prelude::*;

use crate::migration::{V1, V3, chain};
use crate::support::{key, open, restored, snapshot};

const KEYS: u64 = 24;

#[derive(Clone, Debug)]
enum Op {
    Get(u64),
    Put(u64, u8),
    Update(u64),
    Delete(u64),
    Add(u64, u8),
    List(u64),
    MapPut(u64, u8),
    MapRemove(u64),
    Map(u64),
    Register,
    Restore,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0..KEYS;
    let op = prop_oneof![
        key().prop_map(Op::Get),
        (key(), any::<u8>()).prop_map(|(key, byte)| Op::Put(key, byte)),
        key().prop_map(Op::Update),
        key().prop_map(Op::Delete),
        (key(), any::<u8>()).prop_map(|(key, byte)| Op::Add(key, byte)),
        key().prop_map(Op::List),
        (key(), any::<u8>()).prop_map(|(key, byte)| Op::MapPut(key, byte)),
        key().prop_map(Op::MapRemove),
        key().prop_map(Op::Map),
        Just(Op::Register),
        Just(Op::Restore),
    ];
    prop::collection::vec(op, 0..40)
}

struct Run {
    backend: ModelBackend,
    value: ValueState<u64, V3>,
    list: ListState<u64, V3>,
    map: MapState<u64, u8, V3>,
    mode: MigrationMode,
}

impl Run {
    fn new(mut backend: ModelBackend, mode: MigrationMode) -> Self {
        let options = || StateOptions::new().migrations(chain()).migration_mode(mode);
        let b = &mut backend;
        let value = ValueState::register_with(b, "v", options()).unwrap();
        let list = ListState::register_with(b, "l", options()).unwrap();
        let map = MapState::register_with(b, "m", options()).unwrap();
        Self { backend, value, list, map, mode }
    }

    fn apply(&mut self, op: &Op) -> String {
        let b = &mut self.backend;
        let text = |byte: &u8| V3 { text: format!("new {byte}") };
        match op {
            Op::Get(number) => return format!("{:?}", self.value.get(b, key(*number).at())),
            Op::Put(number, byte) => {
                self.value.put(b, key(*number).at(), &text(byte)).unwrap();
            }
            Op::Update(number) => {
                let longer = |old: Option<V3>| old.map(|old| V3 { text: old.text + "!" });
                let entries = [key(*number), key(*number + 1)];
                let entries = [entries[0].at().entry(), entries[1].at().entry()];
                self.value.update_many(b, &entries, |_, old| longer(old)).unwrap();
            }
            Op::Delete(number) => self.value.delete(b, key(*number).at()).unwrap(),
            Op::Add(number, byte) => {
                self.list.add(b, key(*number).at(), &text(byte)).unwrap();
            }
            Op::List(number) => return format!("{:?}", self.list.get(b, key(*number).at())),
            Op::MapPut(number, byte) => {
                self.map.put(b, key(*number).at(), byte, &text(byte)).unwrap();
            }
            Op::MapRemove(number) => self.map.remove(b, key(*number).at(), &1).unwrap(),
            Op::Map(number) => return format!("{:?}", self.map.entries(b, key(*number).at())),
            Op::Register => {
                self.value = ValueState::register(b, "v").unwrap();
                self.map = MapState::register(b, "m").unwrap();
            }
            Op::Restore => {
                let backend = restored(&snapshot(b));
                *self = Self::new(backend, self.mode);
            }
        }
        String::new()
    }

    fn logical(&mut self) -> (LogicalState, Vec<String>) {
        let taken = snapshot(&mut self.backend);
        let codecs = taken.states.iter().map(|state| state.codecs().value.to_string());
        (taken.logical(), codecs.collect())
    }
}

/// A restored backend whose states have values of version 1.
fn old_backend() -> ModelBackend {
    let mut backend = open();
    let b = &mut backend;
    let value = ValueState::<u64, V1>::register(b, "v").unwrap();
    let list = ListState::<u64, V1>::register(b, "l").unwrap();
    let map = MapState::<u64, u8, V1>::register(b, "m").unwrap();
    for number in 0..KEYS {
        let (key, old) = (key(number), V1 { minutes: number as i32 });
        value.put(b, key.at(), &old).unwrap();
        list.add_all(b, key.at(), [&old, &old]).unwrap();
        map.put_all(b, key.at(), [(&1, &old), (&2, &old)]).unwrap();
    }
    restored(&snapshot(b))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_lazy_migration_cannot_be_told_from_an_eager_one(ops in ops()) {
        let mut eager = Run::new(old_backend(), MigrationMode::Eager);
        let mut lazy = Run::new(old_backend(), MigrationMode::Lazy);
        for op in &ops {
            prop_assert_eq!(lazy.apply(op), eager.apply(op));
            let (lazy, eager) = (lazy.logical(), eager.logical());
            prop_assert!(lazy.1.iter().all(|codec| codec == "record<text:string> v3"));
            prop_assert_eq!(lazy, eager);
        }
        prop_assert_eq!(
            lazy.backend.entry_count(lazy.value.id()).unwrap(),
            eager.backend.entry_count(eager.value.id()).unwrap()
        );
    }
}
