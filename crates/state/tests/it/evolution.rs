//! Types that change between runs of a program, without any code of their own.

use core::fmt::Debug;

use millpond_state::codec::{Codec, DefaultCodec, HasCodec, Named, NamedType};
use millpond_state::{
    ErrorKind, ListState, MapState, MigrationMode, Result, StateError, StateOptions, ValueState,
    record,
};

use crate::support::{key, open, refused, restored, snapshot};

/// Writes `old` into a value, a list and a map, and reads them as `New` after a restore.
fn evolve<Old, New>(old: &Old) -> Result<New>
where
    Old: HasCodec + 'static,
    New: HasCodec + PartialEq + Debug + 'static,
{
    let mut backend = open();
    let b = &mut backend;
    let key = key(1);
    ValueState::<u64, Old>::register(b, "v")?.put(b, key.at(), old)?;
    ListState::<u64, Old>::register(b, "l")?.add_all(b, key.at(), [old, old])?;
    MapState::<u64, u8, Old>::register(b, "m")?.put(b, key.at(), &1, old)?;
    let taken = snapshot(b);
    let mut read = Vec::new();
    for mode in [MigrationMode::Eager, MigrationMode::Lazy] {
        let mut backend = restored(&taken);
        let b = &mut backend;
        let options = || StateOptions::new().migration_mode(mode);
        let value = ValueState::<u64, New>::register_with(b, "v", options())?;
        let list = ListState::<u64, New>::register_with(b, "l", options())?;
        let map = MapState::<u64, u8, New>::register_with(b, "m", options())?;
        read.extend(value.get(b, key.at())?);
        let elements = list.get(b, key.at())?;
        assert_eq!(elements.len(), 2);
        read.extend(elements);
        read.extend(map.get(b, key.at(), &1)?);
    }
    assert_eq!(read.len(), 8);
    let first = read.swap_remove(0);
    assert!(read.iter().all(|other| *other == first), "{read:?}");
    Ok(first)
}

fn no_way<Old, New>(old: &Old, parts: &[&str]) -> StateError
where
    Old: HasCodec + 'static,
    New: HasCodec + PartialEq + Debug + 'static,
{
    refused(evolve::<Old, New>(old), ErrorKind::Incompatible, parts)
}

#[derive(Clone, Debug, PartialEq)]
struct Leg {
    tail: String,
    minutes: i32,
    miles: u32,
    speed: f32,
}
record!(Leg, version 1, { tail: String, minutes: i32, miles: u32, speed: f32 });

fn leg() -> Leg {
    Leg { tail: "N14228".into(), minutes: -70_000, miles: u32::MAX, speed: -1.5 }
}

#[test]
fn fields_are_matched_by_name_whatever_their_order() {
    #[derive(Debug, PartialEq)]
    struct New {
        speed: f32,
        miles: u32,
        tail: String,
        minutes: i32,
    }
    record!(New, version 1, { speed: f32, miles: u32, tail: String, minutes: i32 });
    let Leg { tail, minutes, miles, speed } = leg();
    assert_eq!(evolve::<_, New>(&leg()).unwrap(), New { speed, miles, tail, minutes });
}

#[test]
fn a_field_can_be_added_with_a_default() {
    #[derive(Debug, PartialEq)]
    struct New {
        carrier: Option<String>,
        tail: String,
        minutes: i32,
        stops: Vec<u8>,
        miles: u32,
        speed: f32,
    }
    record!(New, version 2, {
        carrier: Option<String> = Some("UA".to_owned()),
        tail: String,
        minutes: i32,
        stops: Vec<u8> = vec![1, 2],
        miles: u32,
        speed: f32,
    });
    let new = evolve::<_, New>(&leg()).unwrap();
    assert_eq!((new.carrier.as_deref(), new.stops), (Some("UA"), vec![1, 2]));
    assert_eq!((new.tail, new.minutes, new.miles), (leg().tail, leg().minutes, leg().miles));
}

#[test]
fn fields_can_be_removed_renamed_and_widened() {
    #[derive(Debug, PartialEq)]
    struct New {
        aircraft: String,
        minutes: i64,
        miles: u128,
        speed: f64,
    }
    record!(New, version 2, { aircraft (was tail): String, minutes: i64, miles: u128, speed: f64 });
    let expected =
        New { aircraft: leg().tail, minutes: -70_000, miles: u128::from(u32::MAX), speed: -1.5 };
    assert_eq!(evolve::<_, New>(&leg()).unwrap(), expected);
    #[derive(Debug, PartialEq)]
    struct Less {
        speed: f32,
    }
    record!(Less, version 2, { speed: f32 });
    assert_eq!(evolve::<_, Less>(&leg()).unwrap(), Less { speed: -1.5 });
}

#[test]
fn numbers_keep_their_values_at_the_ends_when_widened() {
    macro_rules! widened {
        ($($from:ident to $to:ident: $($value:expr),+;)*) => {$({
            #[derive(Debug, PartialEq)]
            struct Old { number: $from }
            record!(Old, version 1, { number: $from });
            #[derive(Debug, PartialEq)]
            struct New { number: $to }
            record!(New, version 1, { number: $to });
            for number in [$($value),+] {
                let new = evolve::<_, New>(&Old { number }).unwrap();
                assert_eq!(new.number, $to::from(number));
            }
        })*};
    }
    widened! {
        u8 to u16: 0, u8::MAX;
        u16 to u32: 0, u16::MAX;
        u32 to u64: 0, 1, u32::MAX;
        u64 to u128: 0, u64::MAX;
        i8 to i16: i8::MIN, -1, 0, i8::MAX;
        i16 to i32: i16::MIN, -1, 0, i16::MAX;
        i32 to i64: i32::MIN, -1, 0, 1, i32::MAX;
        i64 to i128: i64::MIN, -1, 0, i64::MAX;
        f32 to f64: f32::MIN, -0.0, 0.1, f32::MAX, f32::INFINITY;
    }
}

#[test]
fn records_within_records_and_options_change_too() {
    #[derive(Debug, PartialEq)]
    struct Old {
        name: String,
        leg: Leg,
        last: Option<Leg>,
    }
    record!(Old, version 1, { name: String, leg: Leg, last: Option<Leg> });
    #[derive(Debug, PartialEq)]
    struct Less {
        miles: u64,
        gate: u8,
    }
    record!(Less, version 2, { miles: u64, gate: u8 = 9 });
    #[derive(Debug, PartialEq)]
    struct New {
        last: Option<Less>,
        leg: Less,
    }
    record!(New, version 2, { last: Option<Less>, leg: Less });
    let less = || Less { miles: u64::from(u32::MAX), gate: 9 };
    for (last, expected) in [(None, None), (Some(leg()), Some(less()))] {
        let old = Old { name: "x".into(), leg: leg(), last };
        assert_eq!(evolve::<_, New>(&old).unwrap(), New { last: expected, leg: less() });
    }
}

#[test]
fn a_new_field_takes_its_name_back_from_a_renamed_one() {
    #[derive(Debug, PartialEq)]
    struct New {
        miles: u32,
        distance: u32,
    }
    // `miles` is still there under its name, so `distance` is new.
    record!(New, version 2, { miles: u32, distance (was miles): u32 = 5 });
    assert_eq!(evolve::<_, New>(&leg()).unwrap(), New { miles: u32::MAX, distance: 5 });
}

#[test]
fn other_changes_are_refused_and_the_field_is_named() {
    macro_rules! refuse {
        (
            $parts:expr, version $version:literal,
            { $($fields:tt)* }, $($field:ident: $type:ty),+
        ) => {{
            #[derive(Debug, PartialEq)]
            struct New { $($field: $type),+ }
            record!(New, version $version, { $($fields)* });
            no_way::<_, New>(&leg(), &$parts);
        }};
    }
    refuse!(["`gate` is new", "no default"], version 2, { tail: String, gate: u8 },
        tail: String, gate: u8);
    refuse!(["`miles`", "u32", "u16"], version 2, { miles: u16 }, miles: u16);
    refuse!(["`minutes`", "i32", "u64"], version 2, { minutes: u64 }, minutes: u64);
    refuse!(["`tail`", "string", "bytes"], version 2, { tail: Vec<u8> }, tail: Vec<u8>);
    refuse!(["`tail`", "`id`", "string", "u8"], version 2, { id (was tail): u8 }, id: u8);
    refuse!(["newer program"], version 0, { miles: u32 }, miles: u32);
    refuse!(["meaning changed", "record<tail:string,minutes:i32,miles:u32,speed:f32> v1",
        "record<tail:string,minutes:i32,miles:u32,speed:f32> v2", "migration step"],
        version 2, { tail: String, minutes: i32, miles: u32, speed: f32 },
        tail: String, minutes: i32, miles: u32, speed: f32);
    no_way::<_, u64>(&leg(), &["no migration leads", "u64 v1"]);
    no_way::<u32, u64>(&7, &["u32 v1", "u64 v1"]);
}

macro_rules! named {
    ($name:literal, $version:literal, $(#[$outer:meta])* struct $type:ident { $($fields:tt)* }) => {
        $(#[$outer])*
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct $type { $($fields)* }
        impl NamedType for $type {
            const NAME: &'static str = $name;
            const VERSION: u32 = $version;
        }
        impl HasCodec for $type {
            type Codec = Named<$type>;
        }
    };
}

named!(
    "test.order",
    1,
    struct Order1 {
        number: u32,
        note: String,
        lines: Vec<(String, u8)>,
    }
);
named!(
    "test.order",
    2,
    struct Order2 {
        #[serde(alias = "number")]
        id: u64,
        lines: Vec<(String, u8)>,
        #[serde(default)]
        express: bool,
    }
);

fn order() -> Order1 {
    Order1 { number: 7, note: "x".repeat(100), lines: vec![("a".into(), 1), ("b".into(), 2)] }
}

#[test]
fn serde_types_round_trip_with_their_names_and_can_be_concatenated() {
    let codec = DefaultCodec::<Order1>::default();
    let mut out = millpond_state::Scratch::new();
    for _ in 0..2 {
        codec.encode_into(&order(), &mut out).unwrap();
    }
    let mut input = out.as_slice();
    for _ in 0..2 {
        assert_eq!(codec.decode_from(&mut input).unwrap(), order());
    }
    assert!(input.is_empty());
    for cut in 1..out.len() / 2 {
        let error = codec.decode_all(&out.as_slice()[..cut]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn serde_types_gain_lose_and_rename_fields_by_what_serde_offers() {
    let new = evolve::<_, Order2>(&order()).unwrap();
    assert_eq!(new, Order2 { id: 7, lines: order().lines, express: false });
}

#[test]
fn serde_types_of_newer_versions_and_other_names_are_refused() {
    let new = Order2 { id: 1, lines: vec![], express: true };
    let parts = ["named:test.order v2", "named:test.order v1", "newer program"];
    no_way::<Order2, Order1>(&new, &parts);
    named!(
        "test.other",
        2,
        struct Other {
            #[serde(default)]
            id: u64,
        }
    );
    no_way::<Order2, Other>(&new, &["named:test.order v2", "named:test.other v2", "no migration"]);
}

#[test]
fn a_serde_value_that_does_not_fit_the_new_type_fails_the_restore() {
    named!(
        "test.order",
        3,
        struct Order3 {
            id: u64,
        }
    );
    let old = Order1 { number: 1, note: String::new(), lines: vec![] };
    let error = evolve::<_, Order3>(&old).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.message().contains("\"v\""), "{error}");
}
