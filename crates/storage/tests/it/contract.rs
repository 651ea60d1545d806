//! The contract of [`Store`], one behaviour a function, for any store: each takes a new, empty one.

use std::sync::Barrier;

use millpond_storage::{
    Effect, ErrorKind, ObjectInfo, Store, StoreExt, StorePath, StoreWriter, WriteAdapter,
};

/// Runs every contract test in module `$name` on the stores that `$make` makes: an expression
/// that is called for each test and returns what keeps the store's place alive, and the store.
#[macro_export]
macro_rules! contract_tests {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::*;

            $crate::contract_tests!(@each $make,
                an_object_is_read_back_as_it_was_written,
                an_empty_object_is_an_object,
                an_object_appears_only_when_finished,
                an_aborted_writer_leaves_nothing,
                a_dropped_writer_leaves_nothing,
                publishing_over_an_existing_name_fails_and_changes_nothing,
                a_name_can_be_tried_again_after_an_abort,
                of_two_open_writers_of_one_name_the_first_to_finish_wins,
                of_many_racing_publishers_exactly_one_wins_with_its_own_bytes,
                racing_publishers_of_different_names_all_win,
                put_if_absent_publishes_once,
                opening_a_missing_object_is_not_found,
                a_folder_is_no_object,
                a_range_is_read_at_its_offset,
                reading_past_the_end_is_truncated_and_says_where,
                one_reader_serves_many_threads,
                list_is_sorted_recursive_and_has_lengths,
                list_takes_whole_segments_as_prefix,
                listing_a_missing_folder_is_empty,
                list_folders_goes_one_level_down,
                list_folders_shows_no_folder_without_finished_objects,
                deleting_removes_the_object_and_then_its_empty_folders,
                deleting_what_is_missing_succeeds,
                deleting_a_folder_name_deletes_nothing,
                delete_prefix_deletes_what_is_below_and_nothing_else,
                a_name_cannot_be_both_object_and_folder,
                creators_and_deleters_in_one_folder_do_not_disturb_each_other,
                encoders_write_through_the_adapter,
                the_url_has_a_scheme,
            );
        }
    };
    (@each $make:expr, $($test:ident,)+) => {
        $(
            #[test]
            fn $test() {
                let (_place, store) = ($make)();
                $crate::contract::$test(&*store);
            }
        )+
    };
}

pub(crate) fn path(name: &str) -> StorePath {
    StorePath::new(name).unwrap()
}

fn put(store: &dyn Store, name: &str, bytes: &[u8]) {
    store.put_if_absent(&path(name), bytes).unwrap();
}

fn names(store: &dyn Store, prefix: Option<&str>) -> Vec<String> {
    let objects = store.list(prefix.map(path).as_ref()).unwrap();
    objects.iter().map(|object| object.path.to_string()).collect()
}

fn writer(store: &dyn Store, name: &str, bytes: &[u8]) -> Box<dyn StoreWriter> {
    let mut writer = store.create(&path(name)).unwrap();
    writer.write(bytes).unwrap();
    writer
}

pub(crate) fn an_object_is_read_back_as_it_was_written(store: &dyn Store) {
    let mut writer = store.create(&path("chk-1/a")).unwrap();
    let mut expected = Vec::new();
    for len in [0, 1, 7, 4096, 65_535, 65_536, 65_537, 200_000, 3] {
        let part: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        writer.write(&part).unwrap();
        expected.extend(part);
    }
    let info = writer.finish().unwrap();
    assert_eq!(info, ObjectInfo { path: path("chk-1/a"), len: expected.len() as u64 });
    assert_eq!(store.open(&path("chk-1/a")).unwrap().len(), info.len);
    assert!(store.read_all(&path("chk-1/a")).unwrap() == expected);
}

pub(crate) fn an_empty_object_is_an_object(store: &dyn Store) {
    assert_eq!(store.create(&path("e")).unwrap().finish().unwrap().len, 0);
    assert_eq!(store.read_all(&path("e")).unwrap(), b"");
    assert_eq!(names(store, None), ["e"]);
}

pub(crate) fn an_object_appears_only_when_finished(store: &dyn Store) {
    let writer = writer(store, "chk-1/a", &[1; 100_000]);
    assert!(!store.exists(&path("chk-1/a")).unwrap());
    assert_eq!(names(store, None), [""; 0]);
    writer.finish().unwrap();
    assert!(store.exists(&path("chk-1/a")).unwrap());
    assert_eq!(names(store, None), ["chk-1/a"]);
}

pub(crate) fn an_aborted_writer_leaves_nothing(store: &dyn Store) {
    writer(store, "chk-1/a", b"x").abort();
    assert!(!store.exists(&path("chk-1/a")).unwrap());
    assert_eq!(names(store, None), [""; 0]);
}

pub(crate) fn a_dropped_writer_leaves_nothing(store: &dyn Store) {
    drop(writer(store, "chk-1/a", b"x"));
    assert!(!store.exists(&path("chk-1/a")).unwrap());
    assert_eq!(names(store, None), [""; 0]);
}

pub(crate) fn publishing_over_an_existing_name_fails_and_changes_nothing(store: &dyn Store) {
    put(store, "a/b", b"first");
    let error = store.put_if_absent(&path("a/b"), b"second, longer").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.effect(), Effect::DidNotHappen);
    assert!(error.to_string().contains("a/b"), "{error}");
    assert_eq!(store.read_all(&path("a/b")).unwrap(), b"first");
    assert_eq!(names(store, None), ["a/b"]);
}

pub(crate) fn a_name_can_be_tried_again_after_an_abort(store: &dyn Store) {
    writer(store, "a", b"aborted").abort();
    put(store, "a", b"kept");
    assert_eq!(store.read_all(&path("a")).unwrap(), b"kept");
}

pub(crate) fn of_two_open_writers_of_one_name_the_first_to_finish_wins(store: &dyn Store) {
    let (one, two) = (writer(store, "a", b"one"), writer(store, "a", b"two"));
    two.finish().unwrap();
    assert_eq!(one.finish().unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(store.read_all(&path("a")).unwrap(), b"two");
    assert_eq!(names(store, None), ["a"]);
}

pub(crate) fn of_many_racing_publishers_exactly_one_wins_with_its_own_bytes(store: &dyn Store) {
    for round in 0..20 {
        let name = format!("chk-{round}/metadata");
        let barrier = Barrier::new(4);
        let publish = |id: u8| {
            let writer = writer(store, &name, &[id; 1000]);
            barrier.wait();
            writer.finish()
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|id| scope.spawn(move || publish(id))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<_> = (0..4u8).filter(|id| results[usize::from(*id)].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        }
        assert_eq!(store.read_all(&path(&name)).unwrap(), [winners[0]; 1000]);
    }
    assert_eq!(names(store, None).len(), 20);
}

pub(crate) fn racing_publishers_of_different_names_all_win(store: &dyn Store) {
    std::thread::scope(|scope| {
        for id in 0..4u8 {
            scope.spawn(move || {
                for round in 0..10 {
                    put(store, &format!("chk-{round}/part-{id}"), &[id; 10]);
                }
            });
        }
    });
    assert_eq!(names(store, None).len(), 40);
    assert_eq!(store.read_all(&path("chk-9/part-3")).unwrap(), [3; 10]);
}

pub(crate) fn put_if_absent_publishes_once(store: &dyn Store) {
    let info = store.put_if_absent(&path("a"), b"12345").unwrap();
    assert_eq!(info, ObjectInfo { path: path("a"), len: 5 });
    assert_eq!(
        store.put_if_absent(&path("a"), b"12345").unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
}

pub(crate) fn opening_a_missing_object_is_not_found(store: &dyn Store) {
    put(store, "a/b", b"");
    for name in ["x", "a/x", "x/y", "a/b/c"] {
        let error = store.open(&path(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(name), "{error}");
        assert!(error.to_string().contains(store.url()), "{error}");
    }
}

pub(crate) fn a_folder_is_no_object(store: &dyn Store) {
    put(store, "a/b", b"");
    assert_eq!(store.open(&path("a")).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!store.exists(&path("a")).unwrap());
}

pub(crate) fn a_range_is_read_at_its_offset(store: &dyn Store) {
    put(store, "a", b"0123456789");
    let reader = store.open(&path("a")).unwrap();
    for (offset, len) in [(0, 10), (0, 0), (10, 0), (3, 4), (9, 1)] {
        let mut buffer = vec![0; len];
        reader.read_exact_at(offset, &mut buffer).unwrap();
        let offset = usize::try_from(offset).unwrap();
        assert_eq!(buffer, b"0123456789"[offset..offset + len]);
    }
}

pub(crate) fn reading_past_the_end_is_truncated_and_says_where(store: &dyn Store) {
    put(store, "a/b", b"0123456789");
    let reader = store.open(&path("a/b")).unwrap();
    for (offset, len) in [(0, 11), (7, 4), (10, 1), (11, 0), (u64::MAX, 1), (u64::MAX - 1, 7)] {
        let error = reader.read_exact_at(offset, &mut vec![0; len]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        assert_eq!(error.path(), Some("a/b"));
        let line = error.to_string();
        let wanted = format!("{len} bytes at offset {offset} of an object of 10 bytes");
        assert!(line.contains(&wanted), "{line}");
    }
}

pub(crate) fn one_reader_serves_many_threads(store: &dyn Store) {
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 253) as u8).collect();
    put(store, "a", &bytes);
    let reader = store.open(&path("a")).unwrap();
    let (reader, bytes) = (&*reader, &bytes);
    std::thread::scope(|scope| {
        for start in 0..4usize {
            scope.spawn(move || {
                for at in (start * 100..99_000).step_by(997) {
                    let mut buffer = [0; 500];
                    reader.read_exact_at(at as u64, &mut buffer).unwrap();
                    assert!(buffer[..] == bytes[at..at + 500]);
                }
            });
        }
    });
}

pub(crate) fn list_is_sorted_recursive_and_has_lengths(store: &dyn Store) {
    for (name, len) in [("b", 1), ("a/z", 2), ("a/b/c", 3), ("a-b", 4), ("a.b/x", 0)] {
        put(store, name, &vec![0; len]);
    }
    let found: Vec<_> =
        store.list(None).unwrap().into_iter().map(|o| (o.path.to_string(), o.len)).collect();
    let expected = [("a-b", 4), ("a.b/x", 0), ("a/b/c", 3), ("a/z", 2), ("b", 1)];
    assert_eq!(found, expected.map(|(name, len)| (name.to_owned(), len)));
}

pub(crate) fn list_takes_whole_segments_as_prefix(store: &dyn Store) {
    for name in ["chk-1/a", "chk-1/b/c", "chk-10/a", "chk-1-b", "chk/a"] {
        put(store, name, b"");
    }
    assert_eq!(names(store, Some("chk-1")), ["chk-1/a", "chk-1/b/c"]);
    assert_eq!(names(store, Some("chk-1/b")), ["chk-1/b/c"]);
    assert_eq!(names(store, Some("chk-1/a")), [""; 0], "an object is not below itself");
}

pub(crate) fn listing_a_missing_folder_is_empty(store: &dyn Store) {
    assert_eq!(names(store, None), [""; 0]);
    assert_eq!(names(store, Some("x/y")), [""; 0]);
    assert_eq!(store.list_folders(None).unwrap(), []);
    assert_eq!(store.list_folders(Some(&path("x"))).unwrap(), []);
}

pub(crate) fn list_folders_goes_one_level_down(store: &dyn Store) {
    for name in ["chk-2/a", "chk-10/b/c", "chk-10/d/e", "chk-10/f", "top"] {
        put(store, name, b"");
    }
    assert_eq!(store.list_folders(None).unwrap(), [path("chk-10"), path("chk-2")]);
    let inner = store.list_folders(Some(&path("chk-10"))).unwrap();
    assert_eq!(inner, [path("chk-10/b"), path("chk-10/d")]);
    assert_eq!(store.list_folders(Some(&path("chk-2"))).unwrap(), []);
}

pub(crate) fn list_folders_shows_no_folder_without_finished_objects(store: &dyn Store) {
    let writer = writer(store, "chk-1/parts/a", b"x");
    assert_eq!(store.list_folders(None).unwrap(), []);
    writer.finish().unwrap();
    assert_eq!(store.list_folders(None).unwrap(), [path("chk-1")]);
    store.delete(&path("chk-1/parts/a")).unwrap();
    assert_eq!(store.list_folders(None).unwrap(), []);
}

pub(crate) fn deleting_removes_the_object_and_then_its_empty_folders(store: &dyn Store) {
    put(store, "a/b/c", b"");
    put(store, "a/d", b"");
    store.delete(&path("a/b/c")).unwrap();
    assert!(!store.exists(&path("a/b/c")).unwrap());
    assert_eq!(names(store, None), ["a/d"]);
    // The folder's name is free again, for an object too.
    put(store, "a/b", b"x");
    assert_eq!(names(store, None), ["a/b", "a/d"]);
}

pub(crate) fn deleting_what_is_missing_succeeds(store: &dyn Store) {
    put(store, "a/b", b"");
    for name in ["x", "x/y", "a/x", "a/b/c"] {
        store.delete(&path(name)).unwrap();
    }
    assert_eq!(names(store, None), ["a/b"]);
}

pub(crate) fn deleting_a_folder_name_deletes_nothing(store: &dyn Store) {
    put(store, "a/b", b"");
    store.delete(&path("a")).unwrap();
    assert_eq!(names(store, None), ["a/b"]);
}

pub(crate) fn delete_prefix_deletes_what_is_below_and_nothing_else(store: &dyn Store) {
    for name in ["chk-1/a", "chk-1/b/c", "chk-10/a", "other"] {
        put(store, name, b"");
    }
    assert_eq!(store.delete_prefix(&path("chk-1")).unwrap(), 2);
    assert_eq!(store.delete_prefix(&path("chk-1")).unwrap(), 0);
    assert_eq!(names(store, None), ["chk-10/a", "other"]);
}

pub(crate) fn a_name_cannot_be_both_object_and_folder(store: &dyn Store) {
    put(store, "a", b"");
    put(store, "b/c", b"");
    for name in ["a/x", "a/x/y", "b"] {
        let error = store.put_if_absent(&path(name), b"").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{name}");
        assert_eq!(error.effect(), Effect::DidNotHappen);
    }
    assert_eq!(names(store, None), ["a", "b/c"]);
}

pub(crate) fn creators_and_deleters_in_one_folder_do_not_disturb_each_other(store: &dyn Store) {
    std::thread::scope(|scope| {
        for id in 0..4 {
            scope.spawn(move || {
                for round in 0..50 {
                    let name = format!("shared/deep/{id}-{round}");
                    put(store, &name, b"x");
                    store.delete(&path(&name)).unwrap();
                }
            });
        }
    });
    assert_eq!(names(store, None), [""; 0]);
    put(store, "shared", b"the folders are gone");
}

pub(crate) fn encoders_write_through_the_adapter(store: &dyn Store) {
    use std::io::Write;
    let mut adapter = WriteAdapter::new(store.create(&path("a")).unwrap());
    write!(adapter, "still {:>5}", 7).unwrap();
    adapter.flush().unwrap();
    assert_eq!(adapter.finish().unwrap().len, 11);
    assert_eq!(store.read_all(&path("a")).unwrap(), b"still     7");
    let mut adapter = WriteAdapter::new(store.create(&path("b")).unwrap());
    adapter.write_all(b"x").unwrap();
    adapter.abort();
    assert!(!store.exists(&path("b")).unwrap());
}

pub(crate) fn the_url_has_a_scheme(store: &dyn Store) {
    let (scheme, _) = store.url().split_once("://").unwrap();
    assert!(!scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase()));
}
