//! Which checkpoint a job starts from, and whether it fits.

use millpond_checkpoint::plan::{
    CheckpointFact, CheckpointFacts, JobVertex, OperatorStateFacts, Redistribution, RestoreOptions,
    RestoreRefusal, Selection, SkippedCheckpoint, SubtaskFacts, VertexFacts, VertexStart,
    plan_restore,
};
use millpond_checkpoint::{CheckpointError, CheckpointKind, ErrorKind};
use millpond_state::{KeyGroup, KeyGroupRange, MaxParallelism};

use crate::engine::id;

const LATEST: RestoreOptions =
    RestoreOptions { select: Selection::Latest, allow_dropped_state: false };

pub(crate) fn max(groups: u32) -> MaxParallelism {
    MaxParallelism::new(groups).expect("in range")
}

pub(crate) fn range(first: u16, last: u16) -> KeyGroupRange {
    KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last)).expect("not empty")
}

pub(crate) fn job(name: &str, parallelism: u32, groups: u32) -> JobVertex {
    JobVertex { name: name.into(), parallelism, max_parallelism: max(groups) }
}

/// A vertex with one keyed handle a subtask, as Millpond's own ranges have it.
pub(crate) fn keyed(name: &str, parallelism: u32, groups: u32) -> VertexFacts {
    let subtasks = (0..parallelism)
        .map(|index| SubtaskFacts {
            keyed: vec![max(groups).range_of(index, parallelism).expect("in range")],
            ..SubtaskFacts::default()
        })
        .collect();
    VertexFacts { name: name.into(), max_parallelism: max(groups), subtasks }
}

/// A vertex with one operator state of so many items a subtask.
pub(crate) fn listed(name: &str, how: Redistribution, items: &[u32]) -> VertexFacts {
    let subtasks = items
        .iter()
        .map(|&items| SubtaskFacts {
            operator: vec![OperatorStateFacts { name: "list".into(), redistribution: how, items }],
            ..SubtaskFacts::default()
        })
        .collect();
    VertexFacts { name: name.into(), max_parallelism: max(128), subtasks }
}

fn facts(number: u64, vertices: Vec<VertexFacts>) -> CheckpointFacts {
    CheckpointFacts { id: id(number), kind: CheckpointKind::Periodic, vertices }
}

fn whole(number: u64, vertices: Vec<VertexFacts>) -> CheckpointFact {
    CheckpointFact::Whole(facts(number, vertices))
}

fn damaged(number: u64) -> CheckpointFact {
    CheckpointFact::Damaged { id: id(number), reason: "checksum of f-1 at offset 64".into() }
}

// C-14
#[test]
fn latest_is_the_newest_whatever_the_order_of_listing() {
    let found = [whole(2, vec![]), whole(11, vec![]), whole(9, vec![])];
    let plan = plan_restore(&found, &[], LATEST).unwrap();
    assert_eq!((plan.checkpoint, plan.skipped), (id(11), vec![]));
}

// C-12
#[test]
fn latest_passes_over_damaged_checkpoints_and_names_them() {
    let found = [damaged(7), whole(5, vec![]), damaged(3), damaged(8)];
    let plan = plan_restore(&found, &[], LATEST).unwrap();
    assert_eq!(plan.checkpoint, id(5));
    let reason = "checksum of f-1 at offset 64".to_owned();
    assert_eq!(
        plan.skipped,
        [8, 7].map(|it| SkippedCheckpoint { id: id(it), reason: reason.clone() })
    );
}

// C-12
#[test]
fn damage_everywhere_is_a_refusal_and_not_a_fresh_start() {
    let refusal = plan_restore(&[damaged(1), damaged(2)], &[], LATEST).unwrap_err();
    assert!(refusal.to_string().contains("checksum of f-1"), "{refusal}");
    assert_eq!(CheckpointError::from(refusal).kind(), ErrorKind::Corrupt);
    assert_eq!(plan_restore(&[], &[], LATEST), Err(RestoreRefusal::NothingThere));
}

// C-12
#[test]
fn a_checkpoint_named_by_the_user_has_no_substitute() {
    let found = [whole(1, vec![]), damaged(2), whole(3, vec![])];
    let exactly = |number| RestoreOptions { select: Selection::Exactly(id(number)), ..LATEST };
    assert_eq!(plan_restore(&found, &[], exactly(1)).unwrap().checkpoint, id(1));
    assert!(matches!(plan_restore(&found, &[], exactly(2)), Err(RestoreRefusal::Damaged(_))));
    let missing = plan_restore(&found, &[], exactly(4)).unwrap_err();
    assert_eq!(
        missing,
        RestoreRefusal::NoSuchCheckpoint { id: id(4), available: vec![id(1), id(2), id(3)] }
    );
    assert_eq!(missing.to_string(), "there is no checkpoint 4; available: 1, 2, 3");
}

// C-12
#[test]
fn a_checkpoint_that_contradicts_itself_counts_as_damaged() {
    let mut overlapping = keyed("sum", 2, 128);
    overlapping.subtasks[1].keyed = vec![range(63, 127)];
    let mut outside = keyed("sum", 1, 128);
    outside.subtasks[0].keyed = vec![range(0, 128)];
    let mut finished = keyed("sum", 1, 128);
    finished.subtasks[0].finished = true;
    let mut empty = keyed("sum", 1, 128);
    empty.subtasks.clear();
    let mixed = {
        let mut vertex = listed("sum", Redistribution::Union, &[1, 1]);
        vertex.subtasks[1].operator[0].redistribution = Redistribution::Split;
        vertex
    };
    for vertex in [overlapping, outside, finished, empty, mixed] {
        let found = [whole(1, vec![keyed("sum", 1, 128)]), whole(2, vec![vertex.clone()])];
        let plan = plan_restore(&found, &[job("sum", 1, 128)], LATEST).unwrap();
        assert_eq!(plan.checkpoint, id(1), "{vertex:?}");
        assert_eq!(plan.skipped.len(), 1, "{vertex:?}");
    }
    let twice = whole(1, vec![keyed("sum", 1, 8), keyed("sum", 1, 8)]);
    assert!(plan_restore(&[twice], &[job("sum", 1, 8)], LATEST).is_err());
}

// Copies of an at-least-once checkpoint may differ by records between the barriers.
#[test]
fn broadcast_copies_of_different_sizes_are_no_damage() {
    let uneven = listed("sum", Redistribution::Broadcast, &[1, 2]);
    assert_eq!(facts(1, vec![uneven]).check(), Ok(()));
}

// C-14
#[test]
fn several_handles_of_one_subtask_may_overlap() {
    let mut vertex = keyed("sum", 2, 128);
    vertex.subtasks[0].keyed = vec![range(0, 63), range(10, 20), range(0, 63)];
    assert_eq!(facts(1, vec![vertex]).check(), Ok(()));
}

// C-14
#[test]
fn a_changed_max_parallelism_is_refused_where_there_is_keyed_state() {
    let found = [whole(4, vec![keyed("sum", 2, 128)])];
    let refusal = plan_restore(&found, &[job("sum", 2, 256)], LATEST).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "vertex \"sum\" has keyed state for max parallelism 128 in checkpoint 4, but the job \
         asks for 256: set it back to 128"
    );
    assert_eq!(CheckpointError::from(refusal).kind(), ErrorKind::Incompatible);
    let found = [whole(4, vec![listed("src", Redistribution::Split, &[1])])];
    assert!(plan_restore(&found, &[job("src", 1, 256)], LATEST).is_ok());
}

// C-14
#[test]
fn an_older_checkpoint_is_not_taken_because_the_newest_does_not_fit() {
    let found = [whole(1, vec![keyed("sum", 1, 256)]), whole(2, vec![keyed("sum", 1, 128)])];
    assert!(matches!(
        plan_restore(&found, &[job("sum", 1, 256)], LATEST),
        Err(RestoreRefusal::MaxParallelismChanged { .. })
    ));
}

// C-14
#[test]
fn state_of_vanished_vertices_is_refused_unless_that_is_allowed() {
    let stateless = VertexFacts {
        name: "log".into(),
        max_parallelism: max(128),
        subtasks: vec![SubtaskFacts::default()],
    };
    let vertices =
        vec![keyed("old", 1, 128), listed("gone", Redistribution::Union, &[2]), stateless];
    let found = [whole(3, vertices)];
    let refusal = plan_restore(&found, &[job("new", 1, 128)], LATEST).unwrap_err();
    let RestoreRefusal::StateWouldBeDropped { vertices, .. } = &refusal else {
        panic!("{refusal}");
    };
    assert_eq!(vertices, &["gone", "old"]);
    let allowed = RestoreOptions { allow_dropped_state: true, ..LATEST };
    let plan = plan_restore(&found, &[job("new", 1, 128)], allowed).unwrap();
    assert_eq!(plan.dropped, ["gone", "old"]);
    assert_eq!(plan.vertices[0].start, VertexStart::Empty);
    assert!(plan.vertices[0].subtasks[0].keyed.is_empty());
}

// C-14
#[test]
fn finished_subtasks_stay_finished_at_the_same_parallelism() {
    let mut vertex = listed("src", Redistribution::Split, &[3, 0]);
    vertex.subtasks[1] = SubtaskFacts { finished: true, ..SubtaskFacts::default() };
    let plan = plan_restore(&[whole(1, vec![vertex])], &[job("src", 2, 128)], LATEST).unwrap();
    let finished: Vec<bool> = plan.vertices[0].subtasks.iter().map(|it| it.finished).collect();
    assert_eq!(finished, [false, true]);
}

// C-14
#[test]
fn a_vertex_that_finished_as_a_whole_stays_finished_at_any_parallelism() {
    let done = SubtaskFacts { finished: true, ..SubtaskFacts::default() };
    let vertex = VertexFacts {
        name: "src".into(),
        max_parallelism: max(128),
        subtasks: vec![done.clone(), done],
    };
    let plan = plan_restore(&[whole(1, vec![vertex])], &[job("src", 3, 128)], LATEST).unwrap();
    assert!(plan.vertices[0].subtasks.iter().all(|it| it.finished));
    assert_eq!(plan.vertices[0].start, VertexStart::Rescaled { from: 2 });
}

// C-14
#[test]
fn a_partly_finished_vertex_with_operator_state_keeps_its_parallelism() {
    let mut vertex = listed("src", Redistribution::Split, &[3, 0]);
    vertex.subtasks[1] = SubtaskFacts { finished: true, ..SubtaskFacts::default() };
    let refusal =
        plan_restore(&[whole(1, vec![vertex])], &[job("src", 3, 128)], LATEST).unwrap_err();
    assert!(matches!(refusal, RestoreRefusal::PartlyFinishedRescaled { .. }));
    assert!(refusal.to_string().contains("set the parallelism back to 2"), "{refusal}");
    let mut vertex = keyed("sum", 2, 128);
    vertex.subtasks[1] = SubtaskFacts { finished: true, ..SubtaskFacts::default() };
    let plan = plan_restore(&[whole(1, vec![vertex])], &[job("sum", 3, 128)], LATEST).unwrap();
    assert!(plan.vertices[0].subtasks.iter().all(|it| !it.finished));
}

// C-14
#[test]
fn a_job_that_cannot_be_is_refused() {
    let found = [whole(1, vec![])];
    for wrong in [vec![job("a", 0, 8)], vec![job("a", 9, 8)], vec![job("a", 1, 8), job("a", 1, 8)]]
    {
        let refusal = plan_restore(&found, &wrong, LATEST).unwrap_err();
        assert!(matches!(refusal, RestoreRefusal::InvalidJob(_)), "{refusal}");
        assert_eq!(CheckpointError::from(refusal).kind(), ErrorKind::InvalidArgument);
    }
}
