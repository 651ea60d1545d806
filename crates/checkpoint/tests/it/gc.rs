//! Garbage collection classifies everything and deletes nothing it is not sure of.

use millpond_checkpoint::registry::{
    GcCheckpoint, GcFacts, GcPlan, ListedObject, MissingFile, ObjectClass, SharedFile, plan_gc,
    shared_object_name,
};
use millpond_snapshot::CheckpointMetadata;
use millpond_state::{AttemptId, SubtaskId};

use crate::shared_world::{id, metadata, native_savepoint, table};

const DAY_MS: u64 = 86_400_000;
const OWN: &str = "chk-2/0000000000000001-sum-a3e92f70-0.full";

fn listed(name: &str) -> ListedObject<'_> {
    ListedObject { name, bytes: 100, age_ms: Some(2 * DAY_MS) }
}

fn facts<'a>(objects: &'a [ListedObject<'a>], checkpoints: &'a [GcCheckpoint<'a>]) -> GcFacts<'a> {
    let (safe_age_ms, in_flight_from) = (DAY_MS, None);
    GcFacts { objects, checkpoints, safe_age_ms, in_flight_from, is_in_use: &|_| false }
}

fn read<'a>(folder: &'a str, metadata: &'a CheckpointMetadata) -> GcCheckpoint<'a> {
    GcCheckpoint { folder, metadata: Ok(metadata), is_void: false }
}

fn classes(plan: &GcPlan<'_>) -> Vec<ObjectClass> {
    plan.objects.iter().map(|it| it.class).collect()
}

#[test]
fn what_a_checkpoint_names_is_referenced_and_what_none_names_is_an_orphan() {
    let (used, unused) = (table(1, 0), table(1, 1));
    let checkpoint = metadata(2, [&used]);
    let objects = [
        listed("_job"),
        listed("chk-2/_metadata"),
        listed(used.object.name()),
        listed(unused.object.name()),
        listed(OWN),
        listed("chk-1/0000000000000001-sum-a3e92f70-0.full"),
    ];
    let checkpoints = [read("chk-2", &checkpoint)];
    let plan = plan_gc(&facts(&objects, &checkpoints));
    use ObjectClass::{Orphan, Referenced};
    assert_eq!(classes(&plan), [Referenced, Referenced, Referenced, Orphan, Orphan, Orphan]);
    assert_eq!(plan.deletable().collect::<Vec<_>>(), objects[3..]);
    assert!(plan.blocked.is_empty() && plan.missing.is_empty());
}

#[test]
fn files_in_the_folder_of_a_savepoint_are_referenced_by_their_place() {
    let savepoint = native_savepoint(1, &["0000000000000001-a.sst"]);
    let objects = [
        listed("chk-1/0000000000000001-a.sst"),
        listed("chk-2/0000000000000001-a.sst"),
        listed("chk-1/_metadata"),
    ];
    let checkpoints = [read("chk-1", &savepoint)];
    let plan = plan_gc(&facts(&objects, &checkpoints));
    use ObjectClass::{Orphan, Referenced};
    assert_eq!(classes(&plan), [Referenced, Orphan, Referenced]);
}

#[test]
fn an_orphan_younger_than_the_safe_age_or_of_unknown_age_stays() {
    let file = table(1, 0);
    let orphan = listed(file.object.name());
    let objects = [
        ListedObject { age_ms: Some(DAY_MS), ..orphan },
        ListedObject { age_ms: Some(DAY_MS - 1), ..orphan },
        ListedObject { age_ms: None, ..orphan },
    ];
    let plan = plan_gc(&facts(&objects, &[]));
    use ObjectClass::{Orphan, TooYoung};
    assert_eq!(classes(&plan), [Orphan, TooYoung, TooYoung]);
}

#[test]
fn what_is_written_for_a_checkpoint_under_way_stays_whatever_its_age() {
    let files = [table(4, 0), table(5, 0), table(6, 0)];
    let folder = "chk-5/0000000000000001-sum-a3e92f70-0.full";
    let names = files.each_ref().map(|file| file.object.name());
    let objects = [listed(names[0]), listed(names[1]), listed(names[2]), listed(folder)];
    let facts = GcFacts { in_flight_from: Some(id(5)), ..facts(&objects, &[]) };
    use ObjectClass::{InFlight, Orphan};
    assert_eq!(classes(&plan_gc(&facts)), [Orphan, InFlight, InFlight, InFlight]);
}

#[test]
fn what_the_registry_of_a_running_job_has_a_use_for_stays() {
    let file = table(1, 0);
    let objects = [listed(file.object.name())];
    let in_use = |name: &str| name == file.object.name();
    let facts = GcFacts { is_in_use: &in_use, ..facts(&objects, &[]) };
    assert_eq!(classes(&plan_gc(&facts)), [ObjectClass::InFlight]);
}

#[test]
fn if_one_checkpoint_cannot_be_read_nothing_is_deletable() {
    let used = table(1, 0);
    let checkpoint = metadata(2, [&used]);
    let orphan = table(1, 1);
    let objects = [listed(used.object.name()), listed(orphan.object.name()), listed(OWN)];
    let checkpoints = [
        read("chk-2", &checkpoint),
        GcCheckpoint { folder: "chk-3", metadata: Err("checksum of its 7 bytes"), is_void: false },
    ];
    let plan = plan_gc(&facts(&objects, &checkpoints));
    use ObjectClass::{Referenced, Undecided};
    assert_eq!(classes(&plan), [Referenced, Undecided, Undecided]);
    assert_eq!(plan.deletable().count(), 0);
    assert!(plan.blocked[0].contains("chk-3"), "{:?}", plan.blocked);
    assert!(plan.blocked[0].contains("checksum"), "{:?}", plan.blocked);
}

#[test]
fn metadata_that_is_listed_but_was_not_read_keeps_everything() {
    let orphan = table(1, 0);
    for unread in ["chk-3/_metadata", "backup/deep/_metadata", "_metadata"] {
        let objects = [listed(orphan.object.name()), listed(unread)];
        let plan = plan_gc(&facts(&objects, &[]));
        assert_eq!(plan.objects[0].class, ObjectClass::Undecided, "{unread}");
        assert_ne!(plan.objects[1].class, ObjectClass::Orphan, "{unread}");
        assert_eq!(plan.blocked.len(), 1);
    }
}

#[test]
fn metadata_of_another_checkpoint_in_a_folder_keeps_everything() {
    let stale = metadata(2, []);
    let orphan = table(1, 0);
    let objects = [listed(orphan.object.name())];
    let checkpoints = [read("chk-3", &stale)];
    let plan = plan_gc(&facts(&objects, &checkpoints));
    assert_eq!(plan.deletable().count(), 0);
    assert!(plan.blocked[0].contains("that of checkpoint 2"), "{:?}", plan.blocked);
}

#[test]
fn names_that_millpond_does_not_give_are_not_understood_and_stay() {
    let names = [
        "notes.txt",
        "chk-3/notes.txt",
        "chk-03/0000000000000001-sum-a3e92f70-0.full",
        "shared/notes.txt",
        "backup/0000000000000001-sum-a3e92f70-0.full",
    ];
    let objects = names.map(listed);
    let plan = plan_gc(&facts(&objects, &[]));
    assert!(classes(&plan).iter().all(|class| *class == ObjectClass::UnknownName), "{plan:?}");
}

#[test]
fn a_file_of_whatever_name_that_a_checkpoint_refers_to_is_referenced() {
    let savepoint = native_savepoint(1, &["notes.txt"]);
    let objects = [listed("my-savepoint/notes.txt"), listed("my-savepoint/_metadata")];
    let checkpoints = [read("my-savepoint", &savepoint)];
    let plan = plan_gc(&facts(&objects, &checkpoints));
    assert_eq!(plan.of_class(ObjectClass::Referenced).count(), 2);
}

#[test]
fn files_that_checkpoints_lack_are_named_with_their_lengths() {
    let [short, absent] = [table(1, 0), table(1, 1)];
    let checkpoint = metadata(2, [&short, &absent]);
    let objects = [ListedObject { bytes: 99, ..listed(short.object.name()) }];
    let checkpoints = [read("chk-2", &checkpoint)];
    let plan = plan_gc(&facts(&objects, &checkpoints));
    let missing = |file: &SharedFile, found_bytes| MissingFile {
        name: file.object.name().to_owned(),
        expected_bytes: 100,
        found_bytes,
    };
    assert_eq!(plan.missing, [missing(&short, Some(99)), missing(&absent, None)]);
    assert_eq!(classes(&plan), [ObjectClass::Referenced]);
}

#[test]
fn vertices_of_any_name_have_shared_objects_that_are_understood() {
    for vertex in ["sum", "x-1-2-3", "\u{e9}/..", ""] {
        let subtask = SubtaskId::new(vertex, 7);
        let name = shared_object_name(AttemptId::new(u64::MAX), id(u64::MAX), &subtask, u32::MAX);
        let objects = [listed(&name)];
        assert_eq!(classes(&plan_gc(&facts(&objects, &[]))), [ObjectClass::Orphan], "{name}");
    }
}
