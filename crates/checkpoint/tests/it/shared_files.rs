//! Behaviours of the shared-file registry. `S-n` refers to the numbered behaviours of shared files
//! this crate promises.

use std::sync::Arc;

use millpond_checkpoint::registry::{
    FoundCheckpoints, RegistrySettings, Reported, ReportedFile, RestoreMode, SharedFile,
    SharedFileRegistry,
};
use millpond_checkpoint::{CheckpointKind, ErrorKind, StoreEffect};
use millpond_snapshot::metadata::FileHandle;
use millpond_state::AttemptId;

use crate::shared_world::{
    begin, deletable, finish, id, in_folder, merged, metadata, names, native_savepoint, new,
    references, registry, reused, stored, table, take,
};

const NOTHING: [&str; 0] = [];

// S-1
#[test]
fn a_file_lives_until_the_last_checkpoint_that_uses_it_is_discarded_and_is_deleted_once() {
    let (old, young) = (table(1, 0), table(2, 0));
    let mut registry = registry();
    take(&mut registry, 1, [&old], &[]);
    take(&mut registry, 2, [&young], [&old]);
    take(&mut registry, 3, &[], [&young]);
    assert_eq!(deletable(&mut registry), NOTHING);
    registry.discard(id(1));
    assert_eq!(deletable(&mut registry), ["chk-1/"]);
    registry.discard(id(2));
    assert_eq!(deletable(&mut registry), ["chk-2/", old.object.name()]);
    registry.discard(id(3));
    assert_eq!(deletable(&mut registry), ["chk-3/", young.object.name()]);
    assert_eq!(deletable(&mut registry), NOTHING);
    assert_eq!(registry.space().objects, 0);
}

// S-1
#[test]
fn the_order_in_which_checkpoints_are_discarded_does_not_matter() {
    let file = table(1, 0);
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [2, 1, 3]] {
        let mut registry = registry();
        take(&mut registry, 1, [&file], &[]);
        take(&mut registry, 2, &[], [&file]);
        take(&mut registry, 3, &[], [&file]);
        for number in &order[..2] {
            registry.discard(id(*number));
            assert_eq!(deletable(&mut registry), [format!("chk-{number}/")]);
        }
        registry.discard(id(order[2]));
        assert_eq!(deletable(&mut registry)[1], file.object.name());
    }
}

// S-2
#[test]
fn reporting_a_file_again_gives_the_registered_one_and_changes_nothing() {
    let file = table(1, 0);
    let mut registry = registry();
    begin(&mut registry, 1);
    for _ in 0..2 {
        assert_eq!(registry.report(id(1), new([&file])).unwrap(), Reported::Counted);
        let again = reused([&file]);
        assert_eq!(registry.report(id(1), again).unwrap(), Reported::Counted);
    }
    assert_eq!(registry.files_of(id(1)).collect::<Vec<_>>(), [&file]);
    finish(&mut registry, 1, [&file], &[]);
    registry.discard(id(1));
    assert_eq!(deletable(&mut registry), ["chk-1/", file.object.name()]);
}

/// All that makes a file another one although its object has the same name.
fn variants(file: &SharedFile) -> Vec<SharedFile> {
    let object =
        |bytes, crc32| Arc::new(FileHandle::shared(file.object.name(), bytes, crc32).unwrap());
    vec![
        SharedFile { checkpoint: id(0), ..file.clone() },
        SharedFile { attempt: AttemptId::new(2), ..file.clone() },
        SharedFile { object: object(200, 0x0b), ..file.clone() },
        SharedFile { object: object(100, 0x0c), crc32: 0x0c, ..file.clone() },
        SharedFile { object: object(300, 0x0b), offset: 50, ..file.clone() },
    ]
}

// S-2, S-7
#[test]
fn a_file_that_differs_in_anything_from_the_one_known_under_its_name_is_refused() {
    let file = table(1, 0);
    let mut registry = registry();
    take(&mut registry, 1, [&file], &[]);
    begin(&mut registry, 2);
    assert!(registry.is_offered(id(2), &file));
    for other in variants(&file) {
        assert!(!registry.is_offered(id(2), &other), "{other:?}");
        let error = registry.report(id(2), [ReportedFile::Reused(other)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(registry.files_of(id(2)).count(), 0);

    let mut registry = self::registry();
    begin(&mut registry, 1);
    registry.report(id(1), new([&file])).unwrap();
    for other in variants(&file) {
        assert!(registry.report(id(1), [ReportedFile::New(other)]).is_err());
    }
    assert_eq!(registry.files_of(id(1)).collect::<Vec<_>>(), [&file]);
}

// S-2
#[test]
fn re_use_of_a_file_that_was_never_registered_is_refused() {
    let mut registry = registry();
    take(&mut registry, 1, &[table(1, 0)], &[]);
    begin(&mut registry, 2);
    let error = registry.report(id(2), reused(&[table(1, 1)])).unwrap_err();
    assert!(error.message().contains("not on offer"), "{error}");
}

#[test]
fn a_file_cannot_be_new_for_a_checkpoint_it_was_not_written_for() {
    let mut registry = registry();
    begin(&mut registry, 1);
    begin(&mut registry, 2);
    assert!(registry.report(id(2), new(&[table(1, 0)])).is_err());
}

#[test]
fn a_file_that_cannot_be_what_it_says_is_refused() {
    let file = table(1, 0);
    let mut registry = registry();
    begin(&mut registry, 1);
    let exclusive = Arc::new(FileHandle::new("own", 100, 0x0b).unwrap());
    for wrong in [
        SharedFile { bytes: 101, ..file.clone() },
        SharedFile { offset: u64::MAX, ..file.clone() },
        SharedFile { crc32: 1, ..file.clone() },
        SharedFile { object: exclusive, ..file },
    ] {
        assert!(registry.report(id(1), [ReportedFile::New(wrong)]).is_err());
    }
    assert_eq!(registry.space().objects, 0);
}

// S-2. A registry that was given up cannot be called: it is owned.
#[test]
fn discarding_or_aborting_what_is_unknown_is_harmless() {
    let file = table(1, 0);
    let mut registry = registry();
    take(&mut registry, 1, [&file], &[]);
    for number in [0, 2, 99] {
        registry.discard(id(number));
        registry.abort(id(number));
        registry.store_failed(id(number), StoreEffect::MayHaveHappened);
        assert!(registry.complete(id(number)).is_err());
    }
    registry.abort(id(1));
    registry.store_failed(id(1), StoreEffect::MayHaveHappened);
    assert_eq!(deletable(&mut registry), NOTHING);
    registry.discard(id(1));
    registry.discard(id(1));
    assert_eq!(deletable(&mut registry), ["chk-1/", file.object.name()]);
}

// S-3
#[test]
fn a_shared_file_in_use_does_not_keep_the_folder_of_the_checkpoint_that_wrote_it() {
    let file = table(1, 0);
    let mut registry = registry();
    take(&mut registry, 1, [&file], &[]);
    take(&mut registry, 2, &[], [&file]);
    registry.discard(id(1));
    assert_eq!(deletable(&mut registry), ["chk-1/"]);
    assert!(registry.is_in_use(file.object.name()));
}

// S-4
#[test]
fn files_of_a_checkpoint_restored_without_claim_are_never_offered_and_never_deleted() {
    let file = table(1, 0);
    let restored = metadata(1, [&file]);
    let mut registry = registry();
    registry.restore(&stored("chk-1", &restored), RestoreMode::NoClaim).unwrap();
    begin(&mut registry, 2);
    assert_eq!(registry.offers(id(2)).count(), 0);
    assert!(registry.report(id(2), reused([&file])).is_err());
    registry.abort(id(2));
    take(&mut registry, 3, &[table(3, 0)], &[]);
    registry.discard(id(1));
    registry.discard(id(3));
    assert_eq!(deletable(&mut registry), ["chk-3/", table(3, 0).object.name()]);
    assert!(registry.is_in_use(file.object.name()));
}

// S-4
#[test]
fn a_retained_checkpoint_restored_without_claim_is_not_ours_any_longer() {
    let (shared, own) = (table(1, 0), table(2, 0));
    let mut registry = registry();
    take(&mut registry, 1, [&shared], &[]);
    take(&mut registry, 2, [&own], [&shared]);
    let restored = metadata(1, [&shared]);
    registry.restore(&stored("chk-1", &restored), RestoreMode::NoClaim).unwrap();
    assert_eq!(registry.retained().collect::<Vec<_>>(), [id(2)]);
    registry.discard(id(1));
    registry.discard(id(2));
    assert_eq!(deletable(&mut registry), ["chk-2/", own.object.name()]);
}

// S-4
#[test]
fn files_of_a_claimed_checkpoint_are_offered_and_deleted_as_soon_as_unused() {
    let [used, unused] = [table(1, 0), table(1, 1)];
    let restored = metadata(1, &[used.clone(), unused.clone()]);
    let mut registry = registry();
    registry.restore(&stored("chk-1", &restored), RestoreMode::Claim).unwrap();
    take(&mut registry, 2, &[], [&used]);
    registry.discard(id(1));
    assert_eq!(deletable(&mut registry), ["chk-1/", unused.object.name()]);
    registry.discard(id(2));
    assert_eq!(deletable(&mut registry), ["chk-2/", used.object.name()]);
}

// S-4
#[test]
fn a_claimed_native_savepoint_stays_whole_while_one_of_its_files_is_in_use() {
    let savepoint = native_savepoint(1, &["a.sst", "b.sst"]);
    let used = in_folder(1, "sp-1", "a.sst");
    let mut registry = registry();
    registry.restore(&stored("sp-1", &savepoint), RestoreMode::Claim).unwrap();
    take(&mut registry, 2, &[], [&used]);
    registry.discard(id(1));
    assert_eq!(deletable(&mut registry), NOTHING);
    registry.discard(id(2));
    assert_eq!(deletable(&mut registry), ["chk-2/", "sp-1/"]);
}

// S-4
#[test]
fn native_files_of_a_savepoint_that_is_not_claimed_are_neither_offered_nor_deleted() {
    let savepoint = native_savepoint(1, &["a.sst"]);
    let mut registry = registry();
    registry.restore(&stored("sp-1", &savepoint), RestoreMode::NoClaim).unwrap();
    begin(&mut registry, 2);
    assert_eq!(registry.offers(id(2)).count(), 0);
    assert!(registry.is_in_use("sp-1/a.sst"));
}

#[test]
fn a_claimed_canonical_savepoint_goes_when_it_is_discarded() {
    let savepoint = native_savepoint(1, &[]);
    let mut registry = registry();
    registry.restore(&stored("sp-1", &savepoint), RestoreMode::Claim).unwrap();
    registry.discard(id(1));
    assert_eq!(deletable(&mut registry), ["sp-1/"]);
}

// S-5, without a changelog: what a restored checkpoint holds for others is not lifted by
// registering its files in the ordinary way.
#[test]
fn ordinary_registrations_do_not_release_a_claimed_savepoint_whose_files_are_in_use() {
    let savepoint = native_savepoint(1, &["a.sst", "b.sst"]);
    let used = in_folder(1, "sp-1", "b.sst");
    let mut registry = registry();
    registry.restore(&stored("sp-1", &savepoint), RestoreMode::Claim).unwrap();
    registry.restore(&stored("sp-1", &savepoint), RestoreMode::Claim).unwrap();
    for number in 2..6 {
        take(&mut registry, number, &[table(number, 0)], [&used]);
        registry.discard(id(number - 1));
        assert!(!deletable(&mut registry).contains(&"sp-1/".to_owned()), "{number}");
    }
    take(&mut registry, 6, &[table(6, 0)], &[]);
    registry.discard(id(5));
    assert!(deletable(&mut registry).contains(&"sp-1/".to_owned()));
}

// S-5
#[test]
fn a_claimed_savepoint_is_rebuilt_as_whole_whatever_the_order_its_users_are_found_in() {
    let savepoint = native_savepoint(1, &["a.sst"]);
    let user = metadata(2, &[in_folder(1, "sp-1", "a.sst")]);
    let (first, second) = (stored("sp-1", &savepoint), stored("chk-2", &user));
    for owned in [[first, second], [second, first]] {
        let found = FoundCheckpoints { owned: &owned, ..Default::default() };
        let mut registry =
            SharedFileRegistry::rebuild(RegistrySettings::default(), &found).unwrap();
        registry.discard(id(1));
        assert_eq!(deletable(&mut registry), NOTHING);
        registry.discard(id(2));
        assert_eq!(deletable(&mut registry), ["chk-2/", "sp-1/"]);
    }
}

// S-6
#[test]
fn an_object_of_many_logical_files_is_deleted_with_the_last_of_them() {
    let files = merged(1, 0, 3);
    let mut registry = registry();
    take(&mut registry, 1, &files, &[]);
    take(&mut registry, 2, &[], &files[1..]);
    take(&mut registry, 3, &[], &files[2..]);
    registry.discard(id(1));
    registry.discard(id(2));
    assert_eq!(deletable(&mut registry), ["chk-1/", "chk-2/"]);
    registry.discard(id(3));
    assert_eq!(deletable(&mut registry), ["chk-3/", files[0].object.name()]);
}

// S-6
#[test]
fn space_statistics_tell_the_bytes_in_use_from_those_of_objects() {
    let files = merged(1, 0, 4);
    let mut registry = registry();
    assert_eq!(registry.space().amplification_percent(), 100);
    take(&mut registry, 1, &files, &[]);
    take(&mut registry, 2, &[table(2, 0)], &files[..1]);
    registry.discard(id(1));
    let space = registry.space();
    assert_eq!((space.objects, space.object_bytes), (2, 500));
    assert_eq!((space.logical_files, space.live_bytes), (2, 200));
    assert_eq!(space.amplification_percent(), 250);
}

// S-6
#[test]
fn files_in_the_emptiest_objects_are_written_again_until_the_space_limit_holds() {
    let settings = RegistrySettings {
        space_amplification_max_percent: Some(150),
        ..RegistrySettings::default()
    };
    let mut registry = SharedFileRegistry::new(settings);
    let sparse = merged(1, 0, 4);
    let dense = merged(1, 1, 3);
    take(&mut registry, 1, &[&sparse[..], &dense[..]].concat(), &[]);
    let rest = [&sparse[..1], &dense[..2]].concat();
    take(&mut registry, 2, &[], &rest);
    registry.discard(id(1));
    // 700 bytes for 300 in use; without the sparse object 300 and 100 written again.
    assert_eq!(registry.space().amplification_percent(), 233);
    begin(&mut registry, 3);
    let offered: Vec<_> = registry.offers(id(3)).cloned().collect();
    assert_eq!(offered, &dense[..2]);
    assert!(!registry.is_offered(id(3), &sparse[0]));
    finish(&mut registry, 3, &[table(3, 0)], &dense[..2]);
    registry.discard(id(2));
    assert_eq!(registry.space().amplification_percent(), 133);
    assert!(deletable(&mut registry).contains(&sparse[0].object.name().to_owned()));
}

// S-6. A subtask that heard of the offer before it was withheld may still use it.
#[test]
fn a_withheld_file_that_is_re_used_all_the_same_is_counted() {
    let settings = RegistrySettings {
        space_amplification_max_percent: Some(100),
        ..RegistrySettings::default()
    };
    let mut registry = SharedFileRegistry::new(settings);
    let files = merged(1, 0, 2);
    take(&mut registry, 1, &files, &[]);
    take(&mut registry, 2, &[], &files[..1]);
    registry.discard(id(1));
    begin(&mut registry, 3);
    assert!(!registry.is_offered(id(3), &files[0]));
    finish(&mut registry, 3, &[], &files[..1]);
    registry.discard(id(2));
    assert!(registry.is_in_use(files[0].object.name()));
}

// S-6
#[test]
fn restored_pieces_of_an_object_are_counted_again() {
    let files = merged(1, 0, 2);
    let [first, second] = [metadata(1, &files), metadata(2, &files[1..])];
    let owned = [stored("chk-1", &first), stored("chk-2", &second)];
    let found = FoundCheckpoints { owned: &owned, ..Default::default() };
    let mut registry = SharedFileRegistry::rebuild(RegistrySettings::default(), &found).unwrap();
    registry.discard(id(1));
    assert_eq!(deletable(&mut registry), ["chk-1/"]);
    registry.discard(id(2));
    assert_eq!(deletable(&mut registry), ["chk-2/", files[0].object.name()]);
}

// S-6
#[test]
fn logical_files_never_overlap_in_an_object() {
    let files = merged(1, 0, 3);
    let mut registry = registry();
    begin(&mut registry, 1);
    registry.report(id(1), new(&files[1..2])).unwrap();
    for offset in [99, 101] {
        let wrong = SharedFile { offset, ..files[0].clone() };
        let error = registry.report(id(1), [ReportedFile::New(wrong)]).unwrap_err();
        assert!(error.message().contains("overlaps"), "{error}");
    }
    assert!(registry.report(id(1), new(&files)).is_ok());
}

// S-7
#[test]
fn a_registry_rebuilt_from_metadata_equals_the_one_that_was_lost() {
    let files = merged(1, 0, 3);
    let own = table(2, 0);
    let mut lost = registry();
    take(&mut lost, 1, &files, &[]);
    take(&mut lost, 2, [&own], &files[1..]);
    begin(&mut lost, 3);
    lost.report(id(3), new(&[table(3, 0)])).unwrap();
    let _ = deletable(&mut lost);

    let second = [&[own.clone()][..], &files[1..]].concat();
    let [first, second] = [metadata(1, &files), metadata(2, &second)];
    let owned = [stored("chk-1", &first), stored("chk-2", &second)];
    let found = FoundCheckpoints { owned: &owned, ..Default::default() };
    let mut rebuilt = SharedFileRegistry::rebuild(RegistrySettings::default(), &found).unwrap();
    assert_eq!(references(&rebuilt), references(&lost));

    // Both go the same way from here, uploads of the dead attempt apart.
    lost.abort(id(3));
    for number in [1, 2] {
        for registry in [&mut lost, &mut rebuilt] {
            registry.discard(id(number));
        }
        assert_eq!(deletable(&mut lost), deletable(&mut rebuilt));
    }
    assert_eq!(rebuilt.space().objects, 0);
}

// S-7
#[test]
fn uploads_of_a_checkpoint_that_came_to_nothing_are_offered_to_the_next_one() {
    let file = table(1, 0);
    let mut registry = registry();
    begin(&mut registry, 1);
    registry.report(id(1), new([&file])).unwrap();
    registry.abort(id(1));
    assert_eq!(deletable(&mut registry), NOTHING);
    take(&mut registry, 2, &[], [&file]);
    assert_eq!(deletable(&mut registry), NOTHING);
    registry.discard(id(2));
    assert_eq!(deletable(&mut registry), ["chk-2/", file.object.name()]);
}

#[test]
fn uploads_that_the_next_completed_checkpoint_has_no_use_for_are_deletable() {
    let mut registry = registry();
    begin(&mut registry, 1);
    registry.report(id(1), new(&[table(1, 0), table(1, 1)])).unwrap();
    registry.abort(id(1));
    take(&mut registry, 2, &[], &[table(1, 1)]);
    assert_eq!(deletable(&mut registry), [table(1, 0).object.name()]);
}

#[test]
fn uploads_outlive_any_number_of_failures_that_re_use_them() {
    let settings = RegistrySettings { spared_checkpoints_max: 1, ..RegistrySettings::default() };
    let mut registry = SharedFileRegistry::new(settings);
    let file = table(1, 0);
    begin(&mut registry, 1);
    registry.report(id(1), new([&file])).unwrap();
    registry.abort(id(1));
    for number in 2..20 {
        begin(&mut registry, number);
        registry.report(id(number), reused([&file])).unwrap();
        registry.report(id(number), new(&[table(number, 0)])).unwrap();
        registry.abort(id(number));
        // The upload of the failure before is given up: this one did not need it.
        let given_up = if number > 2 { names(&[table(number - 1, 0)]) } else { Vec::new() };
        assert_eq!(deletable(&mut registry), given_up);
    }
}

#[test]
fn an_upload_reported_after_its_checkpoint_timed_out_is_offered_to_those_under_way() {
    let late = table(1, 0);
    let mut registry = registry();
    begin(&mut registry, 1);
    registry.abort(id(1));
    begin(&mut registry, 2);
    let report = registry.report(id(1), new([&late]));
    assert_eq!(report.unwrap(), Reported::Late);
    finish(&mut registry, 2, &[], [&late]);
    assert_eq!(references(&registry), [(2, vec![late])]);
    assert_eq!(deletable(&mut registry), NOTHING);
}

// It may have come too late for the subtasks of the checkpoint that completes.
#[test]
fn an_upload_that_became_known_while_a_checkpoint_was_under_way_waits_for_the_next_one_too() {
    let late = table(1, 0);
    let mut registry = registry();
    begin(&mut registry, 1);
    registry.abort(id(1));
    begin(&mut registry, 2);
    registry.report(id(1), new([&late])).unwrap();
    finish(&mut registry, 2, [], []);
    assert_eq!(deletable(&mut registry), NOTHING);
    take(&mut registry, 3, [], []);
    assert_eq!(deletable(&mut registry), [late.object.name()]);
}

#[test]
fn an_upload_reported_after_a_later_checkpoint_completed_is_deletable_at_once() {
    let late = table(1, 0);
    let mut registry = registry();
    begin(&mut registry, 1);
    registry.abort(id(1));
    take(&mut registry, 2, &[], &[]);
    for _ in 0..2 {
        registry.report(id(1), new([&late])).unwrap();
        assert_eq!(deletable(&mut registry), [late.object.name()]);
    }
}

// What is deleted must not come back: it would be offered, and a checkpoint would name nothing.
#[test]
fn a_repeated_report_does_not_bring_back_what_was_deleted() {
    let file = table(1, 0);
    let mut registry = registry();
    begin(&mut registry, 1);
    registry.report(id(1), new([&file])).unwrap();
    registry.abort(id(1));
    take(&mut registry, 2, &[], &[]);
    assert_eq!(deletable(&mut registry), [file.object.name()]);
    registry.report(id(1), new([&file])).unwrap();
    begin(&mut registry, 3);
    assert!(!registry.is_offered(id(3), &file));
}

#[test]
fn a_repeated_report_never_deletes_what_a_checkpoint_refers_to() {
    let file = table(1, 0);
    let mut registry = registry();
    take(&mut registry, 1, [&file], &[]);
    assert_eq!(registry.report(id(1), new([&file])).unwrap(), Reported::Late);
    assert_eq!(deletable(&mut registry), NOTHING);
    assert_eq!(references(&registry), [(1, vec![file])]);
}

#[test]
fn a_report_for_a_checkpoint_of_another_life_is_left_alone() {
    let mut registry = registry();
    assert_eq!(registry.report(id(5), new(&[table(5, 0)])).unwrap(), Reported::Left);
    take(&mut registry, 7, &[], &[]);
    for number in [5, 8] {
        let report = registry.report(id(number), new(&[table(number, 0)]));
        assert_eq!(report.unwrap(), Reported::Left);
    }
    assert_eq!(deletable(&mut registry), NOTHING);
    assert_eq!(registry.space().objects, 0);
}

#[test]
fn what_a_checkpoint_under_way_may_yet_re_use_is_not_deletable() {
    let file = table(1, 0);
    let mut registry = registry();
    take(&mut registry, 1, [&file], &[]);
    begin(&mut registry, 2);
    begin(&mut registry, 3);
    finish(&mut registry, 2, &[], &[]);
    registry.discard(id(1));
    assert_eq!(deletable(&mut registry), ["chk-1/"]);
    // It was of use when 3 began, and is not when 4 does.
    begin(&mut registry, 4);
    assert!(registry.is_offered(id(3), &file) && !registry.is_offered(id(4), &file));
    finish(&mut registry, 3, &[], &[]);
    assert_eq!(deletable(&mut registry), [file.object.name()]);
}

#[test]
fn a_file_that_is_used_again_at_the_last_moment_is_offered_again() {
    let file = table(1, 0);
    let mut registry = registry();
    take(&mut registry, 1, [&file], &[]);
    begin(&mut registry, 2);
    begin(&mut registry, 3);
    finish(&mut registry, 2, &[], &[]);
    registry.discard(id(1));
    finish(&mut registry, 3, &[], [&file]);
    take(&mut registry, 4, &[], [&file]);
    assert_eq!(deletable(&mut registry), ["chk-1/"]);
}

#[test]
fn files_of_a_checkpoint_aborted_while_it_is_stored_stay_until_storage_answers() {
    let file = table(1, 0);
    for presence in [StoreEffect::DidNotHappen, StoreEffect::MayHaveHappened] {
        let mut registry = registry();
        begin(&mut registry, 1);
        registry.report(id(1), new([&file])).unwrap();
        registry.store(&metadata(1, [&file])).unwrap();
        registry.abort(id(1));
        take(&mut registry, 2, &[], &[]);
        assert_eq!(deletable(&mut registry), NOTHING);
        registry.store_failed(id(1), presence);
        if presence == StoreEffect::MayHaveHappened {
            assert_eq!(deletable(&mut registry), NOTHING, "a restore may begin from it");
            registry.discard(id(1));
        }
        let folder = (presence == StoreEffect::MayHaveHappened).then_some("chk-1/".to_owned());
        let expected: Vec<String> = folder.into_iter().chain(names([&file])).collect();
        assert_eq!(deletable(&mut registry), expected, "metadata goes before what it names");
    }
}

#[test]
fn files_of_a_checkpoint_that_cannot_be_stored_are_offered_to_the_next_one() {
    let file = table(1, 0);
    for presence in [StoreEffect::DidNotHappen, StoreEffect::MayHaveHappened] {
        let mut registry = registry();
        begin(&mut registry, 1);
        registry.report(id(1), new([&file])).unwrap();
        registry.store(&metadata(1, [&file])).unwrap();
        registry.store_failed(id(1), presence);
        take(&mut registry, 2, &[], [&file]);
        assert_eq!(deletable(&mut registry), NOTHING);
        registry.discard(id(1));
        let is_in_doubt = presence == StoreEffect::MayHaveHappened;
        let expected: &[&str] = if is_in_doubt { &["chk-1/"] } else { &[] };
        assert_eq!(deletable(&mut registry), expected);
        assert_eq!(references(&registry), [(2, vec![file.clone()])]);
    }
}

#[test]
fn a_checkpoint_stored_too_late_leaves_its_files_to_the_next_one() {
    let file = table(1, 0);
    let mut registry = registry();
    begin(&mut registry, 1);
    registry.report(id(1), new([&file])).unwrap();
    registry.store(&metadata(1, [&file])).unwrap();
    registry.abort(id(1));
    registry.complete(id(1)).unwrap();
    registry.discard(id(1));
    assert_eq!(deletable(&mut registry), ["chk-1/"]);
    begin(&mut registry, 2);
    assert!(registry.is_offered(id(2), &file));
}

#[test]
fn metadata_that_names_a_file_nobody_reported_is_not_to_be_published() {
    let file = table(1, 0);
    let mut registry = registry();
    take(&mut registry, 1, [&file], &[]);
    begin(&mut registry, 2);
    let error = registry.store(&metadata(2, [&file])).unwrap_err();
    assert!(error.message().contains("not reported"), "{error}");
    assert!(registry.complete(id(2)).is_err());
    registry.report(id(2), reused([&file])).unwrap();
    assert!(registry.store(&metadata(2, [&file])).is_ok());
}

#[test]
fn uploads_that_the_metadata_does_not_name_are_kept_for_the_next_checkpoint_and_no_longer() {
    let [named, unnamed] = [table(1, 0), table(1, 1)];
    let mut registry = registry();
    begin(&mut registry, 1);
    registry.report(id(1), new(&[named.clone(), unnamed.clone()])).unwrap();
    registry.store(&metadata(1, [&named])).unwrap();
    registry.complete(id(1)).unwrap();
    assert_eq!(references(&registry), [(1, vec![named.clone()])]);
    take(&mut registry, 2, &[], [&named]);
    assert_eq!(deletable(&mut registry), [unnamed.object.name()]);
}

#[test]
fn savepoints_are_offered_nothing_and_share_nothing() {
    let mut registry = registry();
    take(&mut registry, 1, &[table(1, 0)], &[]);
    registry.begin(id(2), CheckpointKind::Savepoint).unwrap();
    assert_eq!(registry.offers(id(2)).count(), 0);
    assert!(registry.report(id(2), reused(&[table(1, 0)])).is_err());
    assert!(registry.report(id(2), new(&[table(2, 0)])).is_err());
    registry.store(&native_savepoint(2, &["a.sst"])).unwrap();
    registry.complete(id(2)).unwrap();
    assert_eq!(deletable(&mut registry), NOTHING);
}

#[test]
fn a_savepoint_does_not_end_the_wait_for_a_re_use_of_spare_uploads() {
    let file = table(1, 0);
    let mut registry = registry();
    begin(&mut registry, 1);
    registry.report(id(1), new([&file])).unwrap();
    registry.abort(id(1));
    registry.begin(id(2), CheckpointKind::Savepoint).unwrap();
    registry.store(&native_savepoint(2, &[])).unwrap();
    registry.complete(id(2)).unwrap();
    begin(&mut registry, 3);
    assert!(registry.is_offered(id(3), &file));
}

#[test]
fn numbers_of_checkpoints_only_grow() {
    let restored = metadata(5, &[]);
    let mut registry = registry();
    registry.restore(&stored("chk-5", &restored), RestoreMode::Claim).unwrap();
    for number in [4, 5] {
        assert!(registry.begin(id(number), CheckpointKind::Manual).is_err());
    }
    begin(&mut registry, 6);
    registry.abort(id(6));
    assert!(registry.begin(id(6), CheckpointKind::Manual).is_err());
}

#[test]
fn two_checkpoints_of_one_number_are_refused() {
    let metadata = metadata(1, &[]);
    let [one, other] = [stored("chk-1", &metadata), stored("old/chk-1", &metadata)];
    let rebuild = |owned: &[_], kept: &[_]| {
        let found = FoundCheckpoints { owned, kept, unreadable: false, offered: None };
        SharedFileRegistry::rebuild(RegistrySettings::default(), &found)
    };
    assert!(rebuild(&[one, other], &[]).is_err());
    assert!(rebuild(&[one], &[one]).is_err());
    let mut registry = rebuild(&[one], &[]).unwrap();
    assert!(registry.restore(&other, RestoreMode::Claim).is_err());
    begin(&mut registry, 2);
    let under_way = self::metadata(2, &[]);
    for mode in [RestoreMode::Claim, RestoreMode::NoClaim] {
        assert!(registry.restore(&stored("chk-2", &under_way), mode).is_err());
    }
}

#[test]
fn a_restore_that_contradicts_what_is_known_changes_nothing() {
    let file = table(1, 0);
    let mut registry = registry();
    take(&mut registry, 1, [&file], &[]);
    let other = SharedFile { attempt: AttemptId::new(2), ..file.clone() };
    let restored = metadata(9, &[table(9, 0), other]);
    assert!(registry.restore(&stored("chk-9", &restored), RestoreMode::Claim).is_err());
    assert_eq!(references(&registry), [(1, vec![file])]);
    assert!(!registry.is_in_use(table(9, 0).object.name()));
}

#[test]
fn what_a_savepoint_found_beside_refers_to_is_never_deleted() {
    let savepoint = native_savepoint(1, &["a.sst"]);
    let user = metadata(2, &[in_folder(1, "sp-1", "a.sst"), table(2, 0)]);
    let found = FoundCheckpoints {
        owned: &[stored("chk-2", &user)],
        kept: &[stored("sp-1", &savepoint)],
        unreadable: false,
        offered: None,
    };
    let mut registry = SharedFileRegistry::rebuild(RegistrySettings::default(), &found).unwrap();
    registry.discard(id(2));
    assert_eq!(deletable(&mut registry), ["chk-2/", table(2, 0).object.name()]);
}

#[test]
fn while_a_checkpoint_cannot_be_read_nothing_older_than_the_registry_is_deleted() {
    let old = table(1, 0);
    let readable = metadata(1, [&old]);
    let found = FoundCheckpoints {
        owned: &[stored("chk-1", &readable)],
        kept: &[],
        unreadable: true,
        offered: None,
    };
    let mut registry = SharedFileRegistry::rebuild(RegistrySettings::default(), &found).unwrap();
    take(&mut registry, 5, &[table(5, 0)], [&old]);
    registry.discard(id(1));
    registry.discard(id(5));
    assert_eq!(deletable(&mut registry), ["chk-1/", "chk-5/", table(5, 0).object.name()]);
}
