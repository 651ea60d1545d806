//! Operator state: typed access, snapshots, restore, compatibility.

use super::*;
use crate::buffer::Scratch;
use crate::codec::{Codec, CodecIdentity, DefaultCodec, StringCodec};
use crate::error::ErrorKind;
use crate::migration::Migrations;
use crate::snapshot_api::CancelFlag;

fn parts(store: &OperatorState) -> Vec<OperatorStatePart> {
    store.snapshot().run(&CancelFlag::new()).unwrap()
}

fn list_part(name: &str, redistribution: Redistribution, items: &[u64]) -> OperatorStatePart {
    OperatorStatePart {
        name: name.into(),
        redistribution,
        codecs: Some(OperatorStateCodecs { key: None, value: CodecIdentity::new("u64", 1) }),
        items: items.iter().map(|item| item.to_be_bytes().to_vec()).collect(),
    }
}

fn refused<T>(result: Result<T>) -> StateError {
    match result {
        Err(error) => error,
        Ok(_) => panic!("was not refused"),
    }
}

#[test]
fn lists_keep_their_items_in_the_order_they_were_added() {
    let mut store = OperatorState::new();
    let list = store.split_list::<u64>("offsets").unwrap();
    assert!(list.is_empty(&store).unwrap());
    list.add(&mut store, &9).unwrap();
    list.add_all(&mut store, &[3, 3, 7]).unwrap();
    assert_eq!(list.get(&store).unwrap(), [9, 3, 3, 7]);
    list.replace(&mut store, &[5, 1]).unwrap();
    assert_eq!((list.get(&store).unwrap(), list.len(&store).unwrap()), (vec![5, 1], 2));
    list.clear(&mut store).unwrap();
    assert!(list.get(&store).unwrap().is_empty());
}

#[test]
fn lists_have_items_without_bytes_too() {
    let mut store = OperatorState::new();
    let list = store.union_list::<()>("ticks").unwrap();
    list.add_all(&mut store, &[(), ()]).unwrap();
    let mut restored = OperatorState::restore(parts(&store)).unwrap();
    let list = restored.union_list::<()>("ticks").unwrap();
    assert_eq!(list.len(&restored).unwrap(), 2);
}

#[test]
fn broadcast_state_is_a_map_that_is_walked_by_encoded_key() {
    let mut store = OperatorState::new();
    let rules = store.broadcast::<i32, String>("rules").unwrap();
    for (key, value) in [(4, "d"), (-2, "a"), (0, "b"), (4, "c")] {
        rules.put(&mut store, &key, &value.to_owned()).unwrap();
    }
    let mut seen = Vec::new();
    rules.for_each(&store, |key, value| seen.push((key, value))).unwrap();
    assert_eq!(seen, [(-2, "a".to_owned()), (0, "b".into()), (4, "c".into())]);
    rules.remove(&mut store, &0).unwrap();
    rules.remove(&mut store, &77).unwrap();
    assert_eq!(rules.get(&store, &0).unwrap(), None);
    assert_eq!(rules.get(&store, &4).unwrap().as_deref(), Some("c"));
    assert!(rules.contains(&store, &-2).unwrap() && !rules.contains(&store, &0).unwrap());
    assert_eq!(rules.len(&store).unwrap(), 2);
    rules.clear(&mut store).unwrap();
    assert!(rules.is_empty(&store).unwrap());
}

#[test]
fn a_snapshot_names_redistribution_and_codecs_and_is_the_same_whatever_the_order_of_puts() {
    let snapshot = |keys: &[u8]| {
        let mut store = OperatorState::new();
        let offsets = store.split_list::<u64>("offsets").unwrap();
        offsets.add(&mut store, &258).unwrap();
        store.union_list::<u64>("ids").unwrap();
        let rules = store.broadcast::<u8, String>("rules").unwrap();
        for key in keys {
            rules.put(&mut store, key, &format!("r{key}")).unwrap();
        }
        parts(&store)
    };
    let expected = [
        list_part("offsets", Redistribution::Split, &[258]),
        list_part("ids", Redistribution::Union, &[]),
        OperatorStatePart {
            name: "rules".into(),
            redistribution: Redistribution::Broadcast,
            codecs: Some(OperatorStateCodecs {
                key: Some(CodecIdentity::new("u8", 1)),
                value: CodecIdentity::new("string", 1),
            }),
            items: vec![b"\x01\x01\x02r1".to_vec(), b"\x01\x07\x02r7".to_vec()],
        },
    ];
    assert_eq!(snapshot(&[1, 7]), expected);
    assert_eq!(snapshot(&[7, 1]), expected);
}

#[test]
fn what_a_snapshot_has_does_not_change_with_the_store() {
    let mut store = OperatorState::new();
    let list = store.split_list::<u64>("offsets").unwrap();
    let rules = store.broadcast::<u64, u64>("rules").unwrap();
    list.add(&mut store, &1).unwrap();
    rules.put(&mut store, &1, &1).unwrap();
    let before = parts(&store);
    let snapshot = store.snapshot();
    list.add(&mut store, &2).unwrap();
    rules.put(&mut store, &1, &2).unwrap();
    rules.put(&mut store, &2, &2).unwrap();
    assert_eq!(snapshot.run(&CancelFlag::new()).unwrap(), before);
    let snapshot = store.snapshot();
    list.clear(&mut store).unwrap();
    rules.clear(&mut store).unwrap();
    let after = snapshot.run(&CancelFlag::new()).unwrap();
    assert_eq!(after.iter().map(|part| part.items.len()).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn a_snapshot_runs_on_another_thread_and_ends_when_cancelled_or_dropped() {
    fn movable<T: Send + 'static>(it: T) -> T {
        it
    }
    let mut store = OperatorState::new();
    store.split_list::<u64>("offsets").unwrap().add(&mut store, &1).unwrap();
    let cancel = CancelFlag::new();
    cancel.cancel();
    let error = movable(store.snapshot()).run(&cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    drop(store.snapshot());
    assert_eq!(parts(&store), [list_part("offsets", Redistribution::Split, &[1])]);
}

#[test]
fn parts_of_several_subtasks_are_put_together_in_order() {
    let mut store = OperatorState::restore([
        list_part("offsets", Redistribution::Split, &[4, 2]),
        list_part("ids", Redistribution::Union, &[]),
        list_part("offsets", Redistribution::Split, &[]),
        list_part("offsets", Redistribution::Split, &[9]),
    ])
    .unwrap();
    let list = store.split_list::<u64>("offsets").unwrap();
    assert_eq!(list.get(&store).unwrap(), [4, 2, 9]);
}

#[test]
fn restored_states_that_nobody_declares_stay_in_snapshots_until_discarded() {
    let written = [
        list_part("offsets", Redistribution::Split, &[4, 2]),
        OperatorStatePart::opaque("old", Redistribution::Broadcast, vec![vec![1, 2], vec![]]),
    ];
    let mut store = OperatorState::restore(written.clone()).unwrap();
    store.split_list::<u64>("offsets").unwrap();
    assert_eq!(parts(&store), written);
    assert_eq!(store.undeclared().collect::<Vec<_>>(), ["old"]);
    assert!(!store.discard("offsets"), "declared states are not discarded");
    assert!(store.discard("old") && !store.discard("old"));
    assert_eq!(parts(&store), written[..1]);
    assert_eq!(refused(store.split_list::<u64>("")).kind(), ErrorKind::InvalidArgument);
    let again = store.union_list::<u64>("old").unwrap();
    assert!(again.is_empty(&store).unwrap());
}

#[test]
fn a_state_is_refused_with_another_redistribution_or_codec_and_stays_readable_as_it_was() {
    let mut store = OperatorState::new();
    let rules = store.broadcast::<String, u64>("rules").unwrap();
    rules.put(&mut store, &"a".into(), &5).unwrap();
    store.union_list::<u64>("ids").unwrap();
    for restore in [false, true] {
        if restore {
            store = OperatorState::restore(parts(&store)).unwrap();
        }
        let cases = [
            (refused(store.split_list::<u64>("ids")), "\"ids\"", "union state", "split state"),
            (refused(store.union_list::<i64>("ids")), "\"ids\"", "u64 v1", "i64 v1"),
            (refused(store.union_list::<u64>("rules")), "\"rules\"", "broadcast", "union"),
            (refused(store.broadcast::<u8, u64>("rules")), "key", "string v1", "u8 v1"),
            (refused(store.broadcast::<String, u8>("rules")), "value", "u64 v1", "u8 v1"),
        ];
        for (error, what, written, declared) in cases {
            assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
            for part in [what, written, declared, "declare it as it was written"] {
                assert!(error.message().contains(part), "{part} is not in: {error}");
            }
        }
        let rules = store.broadcast::<String, u64>("rules").unwrap();
        assert_eq!(rules.get(&store, &"a".into()).unwrap(), Some(5));
    }
}

#[test]
fn subtasks_that_wrote_a_state_differently_are_told_apart() {
    let mut other = list_part("ids", Redistribution::Split, &[]);
    other.codecs = None;
    for second in [list_part("ids", Redistribution::Union, &[]), other] {
        let first = list_part("ids", Redistribution::Split, &[1]);
        let error = refused(OperatorState::restore([first, second]));
        assert_eq!(error.kind(), ErrorKind::Incompatible);
        assert!(error.message().contains("split state with codec u64 v1"), "{error}");
    }
}

#[test]
fn a_list_written_without_a_codec_is_read_if_it_decodes_as_declared() {
    let opaque = |item: &[u8]| {
        let items = vec![item.to_vec()];
        OperatorState::restore([OperatorStatePart::opaque("old", Redistribution::Split, items)])
            .unwrap()
    };
    let mut store = opaque(&[0, 0, 0, 0, 0, 0, 1, 2]);
    let list = store.split_list::<u64>("old").unwrap();
    assert_eq!(list.get(&store).unwrap(), [258]);
    assert_eq!(parts(&store)[0].codecs.as_ref().unwrap().value, CodecIdentity::new("u64", 1));
    let mut store = opaque(b"short");
    let error = refused(store.split_list::<u64>("old"));
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.message().contains("without naming its codec"), "{error}");
    assert_eq!(parts(&store)[0].items, [b"short"]);
}

#[test]
fn damaged_entries_of_broadcast_state_are_found() {
    for item in [&b""[..], b"\x05ab", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a"] {
        let mut part = list_part("rules", Redistribution::Broadcast, &[]);
        part.codecs.as_mut().unwrap().key = Some(CodecIdentity::new("string", 1));
        part.items = vec![item.to_vec()];
        let mut store = OperatorState::restore([part]).unwrap();
        let error = refused(store.broadcast::<String, u64>("rules"));
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("rules"), "{error}");
    }
}

#[test]
fn names_and_numbers_of_states_are_bounded() {
    let mut store = OperatorState::new();
    for name in ["", "a\nb", &"x".repeat(256)] {
        assert_eq!(refused(store.split_list::<u64>(name)).kind(), ErrorKind::InvalidArgument);
        let part = list_part(name, Redistribution::Split, &[]);
        let error = refused(OperatorState::restore([part]));
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    for index in 0..STATES_MAX {
        store.split_list::<u64>(&format!("s{index}")).unwrap();
    }
    let error = refused(store.split_list::<u64>("one more"));
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
}

#[test]
fn handles_of_another_store_are_refused_where_that_shows() {
    let (mut a, mut b) = (OperatorState::new(), OperatorState::new());
    let list = a.split_list::<u64>("list").unwrap();
    let map = a.broadcast::<u64, u64>("map").unwrap();
    assert_eq!(list.get(&b).unwrap_err().kind(), ErrorKind::InvalidArgument);
    b.broadcast::<u64, u64>("map").unwrap();
    b.split_list::<u64>("list").unwrap();
    for error in [
        list.clear(&mut b).unwrap_err(),
        list.add(&mut b, &1).unwrap_err(),
        list.len(&b).unwrap_err(),
        map.clear(&mut b).unwrap_err(),
        map.put(&mut b, &1, &1).unwrap_err(),
        map.len(&b).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn handles_take_codecs_other_than_the_types_own() {
    let mut store = OperatorState::new();
    let list = OperatorList::<String, StringCodec>::register_union(&mut store, "names").unwrap();
    list.add(&mut store, &"N14228".into()).unwrap();
    let map = BroadcastState::<String, u8, StringCodec>::register(&mut store, "rules").unwrap();
    map.put(&mut store, &"a".into(), &1).unwrap();
    assert_eq!(list.get(&store).unwrap(), ["N14228"]);
    assert_eq!(
        Redistribution::from_code(Redistribution::Union.code()),
        Some(Redistribution::Union)
    );
    assert_eq!(Redistribution::from_code(4), None);
}

/// What a state holds, at three versions of a program.
#[derive(Debug, PartialEq)]
struct Position1(u32);

#[derive(Debug, PartialEq)]
struct Position2(u64);

#[derive(Debug, PartialEq)]
struct Position3(String);

macro_rules! codec_of {
    ($type:ident, $codec:ident, $inner:ty, $version:literal) => {
        #[derive(Clone, Default)]
        struct $codec;
        impl Codec<$type> for $codec {
            fn identity(&self) -> CodecIdentity {
                CodecIdentity::new("test:position", $version)
            }
            fn encode_into(&self, value: &$type, out: &mut Scratch) -> Result<()> {
                DefaultCodec::<$inner>::default().encode_into(&value.0, out)
            }
            fn decode_from(&self, input: &mut &[u8]) -> Result<$type> {
                Ok($type(DefaultCodec::<$inner>::default().decode_from(input)?))
            }
        }
        impl HasCodec for $type {
            type Codec = $codec;
        }
    };
}
codec_of!(Position1, Codec1, u32, 1);
codec_of!(Position2, Codec2, u64, 2);
codec_of!(Position3, Codec3, String, 3);

fn first_version() -> Vec<OperatorStatePart> {
    let mut store = OperatorState::new();
    let split = store.split_list::<Position1>("split").unwrap();
    split.add_all(&mut store, &[Position1(7), Position1(500)]).unwrap();
    store.union_list::<Position1>("union").unwrap().add(&mut store, &Position1(8)).unwrap();
    let map = store.broadcast::<u8, Position1>("map").unwrap();
    map.put(&mut store, &1, &Position1(9)).unwrap();
    map.put(&mut store, &2, &Position1(500)).unwrap();
    parts(&store)
}

fn steps() -> Migrations {
    Migrations::new()
        .step(|old: Position1| Position2(u64::from(old.0) * 10))
        .step(|old: Position2| Position3(format!("at {}", old.0)))
}

#[test]
fn items_and_values_of_older_versions_are_migrated_through_those_between() {
    let mut store = OperatorState::restore(first_version()).unwrap();
    let split =
        OperatorList::<Position3>::register_split_with(&mut store, "split", &steps()).unwrap();
    let union =
        OperatorList::<Position3>::register_union_with(&mut store, "union", &steps()).unwrap();
    let map = BroadcastState::<u8, Position3>::register_with(&mut store, "map", &steps()).unwrap();
    let at = |text: &str| Position3(text.into());
    assert_eq!(split.get(&store).unwrap(), [at("at 70"), at("at 5000")]);
    assert_eq!(union.get(&store).unwrap(), [at("at 80")]);
    assert_eq!(map.get(&store, &1).unwrap(), Some(at("at 90")));
    assert_eq!(map.get(&store, &2).unwrap(), Some(at("at 5000")));
    let snapshot = parts(&store);
    let versions = snapshot.iter().map(|part| part.codecs.as_ref().unwrap().value.version());
    assert_eq!(versions.collect::<Vec<_>>(), [3, 3, 3]);
    let mut again = OperatorState::restore(snapshot).unwrap();
    let split = again.split_list::<Position3>("split").unwrap();
    assert_eq!(split.get(&again).unwrap(), [at("at 70"), at("at 5000")]);
}

#[test]
fn a_migration_without_a_way_or_with_a_failing_step_changes_nothing() {
    let failing = Migrations::new().try_step(|old: Position1| {
        if old.0 == 500 {
            return Err(StateError::new(ErrorKind::UserCode, "too far"));
        }
        Ok(Position2(old.0.into()))
    });
    let mut store = OperatorState::restore(first_version()).unwrap();
    let last_step = Migrations::new().step(|old: Position2| Position3(format!("{}", old.0)));
    for migrations in [Migrations::new(), last_step] {
        let error = refused(OperatorList::<Position3>::register_split_with(
            &mut store,
            "split",
            &migrations,
        ));
        assert_eq!(error.kind(), ErrorKind::Incompatible);
        for part in ["\"split\"", "test:position v1", "test:position v3", "give a migration step"] {
            assert!(error.message().contains(part), "{part} is not in: {error}");
        }
    }
    let errors = [
        refused(OperatorList::<Position2>::register_split_with(&mut store, "split", &failing)),
        refused(BroadcastState::<u8, Position2>::register_with(&mut store, "map", &failing)),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::UserCode, "{error}");
        assert!(error.message().contains("too far"), "{error}");
        assert!(error.message().contains("operator state"), "{error}");
    }
    assert_eq!(parts(&store), first_version());
}

#[test]
fn a_damaged_item_is_found_by_its_migration() {
    let mut damaged = first_version();
    damaged[0].items[1].push(0);
    let mut store = OperatorState::restore(damaged.clone()).unwrap();
    let registered = OperatorList::<Position3>::register_split_with(&mut store, "split", &steps());
    let error = refused(registered);
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.message().contains("\"split\""), "{error}");
    assert_eq!(parts(&store), damaged);
}

#[test]
fn a_state_that_is_declared_is_not_migrated_under_its_handle() {
    let mut store = OperatorState::restore(first_version()).unwrap();
    let old = store.split_list::<Position1>("split").unwrap();
    let error =
        refused(OperatorList::<Position3>::register_split_with(&mut store, "split", &steps()));
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert_eq!(old.get(&store).unwrap(), [Position1(7), Position1(500)]);
}

#[test]
fn codecs_that_read_older_versions_of_themselves_need_no_steps() {
    #[derive(Debug, PartialEq)]
    struct Rule {
        limit: u64,
        active: bool,
    }
    crate::record!(Rule, version 2, { limit: u64, active: bool = true });
    let mut part = list_part("rules", Redistribution::Union, &[5]);
    part.codecs =
        Some(OperatorStateCodecs { key: None, value: CodecIdentity::new("record<limit:u64>", 1) });
    let mut store = OperatorState::restore([part]).unwrap();
    let rules = store.union_list::<Rule>("rules").unwrap();
    assert_eq!(rules.get(&store).unwrap(), [Rule { limit: 5, active: true }]);
}
