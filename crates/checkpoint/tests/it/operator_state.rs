//! Operator state from subtasks through a checkpoint's metadata into the subtasks of a job that
//! starts at another parallelism: the way an engine takes it.

use millpond_checkpoint::driver::{
    JobDescription, SubtaskSnapshot, VertexDescription, describe, facts_of, operator_state_parts,
};
use millpond_checkpoint::plan::{
    CheckpointFact, JobVertex, RestoreOptions, Selection, SubtaskPlan, plan_restore,
};
use millpond_checkpoint::{
    CheckpointError, CheckpointHead, CheckpointKind, CheckpointMode, CheckpointToStore, ErrorKind,
    SubtaskMetrics, SubtaskPart,
};
use millpond_snapshot::CheckpointMetadata;
use millpond_state::{
    AttemptId, CancelFlag, MaxParallelism, OperatorState, OperatorStatePart, Redistribution,
    SubtaskId,
};

use crate::engine::id;

const MAX: u32 = 128;

/// The parts of a subtask whose state `fill` makes.
fn state(fill: impl FnOnce(&mut OperatorState)) -> Option<Vec<OperatorStatePart>> {
    let mut store = OperatorState::new();
    fill(&mut store);
    Some(store.snapshot().run(&CancelFlag::new()).unwrap())
}

fn split(items: &[u64]) -> Option<Vec<OperatorStatePart>> {
    state(|store| store.split_list("list").unwrap().add_all(store, items).unwrap())
}

fn union(items: &[u64]) -> Option<Vec<OperatorStatePart>> {
    state(|store| store.union_list("list").unwrap().add_all(store, items).unwrap())
}

fn broadcast(entries: &[(&str, u64)]) -> Option<Vec<OperatorStatePart>> {
    state(|store| {
        let rules = store.broadcast::<String, u64>("rules").unwrap();
        for (key, value) in entries {
            rules.put(store, &(*key).to_owned(), value).unwrap();
        }
    })
}

fn described(
    subtasks: Vec<Option<Vec<OperatorStatePart>>>,
) -> Result<CheckpointMetadata, CheckpointError> {
    let job = JobDescription {
        name: "job".into(),
        kind: "test".into(),
        state_backend: "memory".into(),
        mode: CheckpointMode::ExactlyOnce,
        max_parallelism: MaxParallelism::new(MAX).unwrap(),
        vertices: vec![VertexDescription {
            name: "v".into(),
            parallelism: u32::try_from(subtasks.len()).unwrap(),
        }],
    };
    let parts = subtasks.into_iter().zip(0_u32..).map(|(operator_state, index)| {
        let part = operator_state.map_or(SubtaskPart::Finished, |operator_state| {
            let payload = SubtaskSnapshot { operator_state, ..SubtaskSnapshot::default() };
            SubtaskPart::Acknowledged { payload, metrics: SubtaskMetrics::default() }
        });
        (SubtaskId::new("v", index), part)
    });
    let checkpoint = CheckpointToStore {
        head: CheckpointHead {
            id: id(1),
            attempt: AttemptId::new(1),
            kind: CheckpointKind::Periodic,
            target: None,
            triggered_wall_ms: 0,
        },
        acknowledged_after_ms: 0,
        parts: parts.collect(),
    };
    describe(&job, &checkpoint, 0)
}

/// A checkpoint, as it is read back from its bytes. `None` is a subtask that had finished.
fn checkpoint(subtasks: Vec<Option<Vec<OperatorStatePart>>>) -> CheckpointMetadata {
    let bytes = described(subtasks).unwrap().encode().unwrap();
    CheckpointMetadata::decode_from("_metadata", &bytes).unwrap()
}

fn planned(metadata: &CheckpointMetadata, parallelism: u32) -> Vec<SubtaskPlan> {
    let facts = [CheckpointFact::Whole(facts_of(metadata))];
    let job = JobVertex {
        name: "v".into(),
        parallelism,
        max_parallelism: MaxParallelism::new(MAX).unwrap(),
    };
    let options = RestoreOptions { select: Selection::Latest, allow_dropped_state: false };
    plan_restore(&facts, &[job], options).unwrap().vertices.remove(0).subtasks
}

/// The stores of a job that starts from `metadata` with so many subtasks.
fn restored(metadata: &CheckpointMetadata, parallelism: u32) -> Vec<OperatorState> {
    let vertex = metadata.vertex("v").unwrap();
    let restore = |plan| OperatorState::restore(operator_state_parts(vertex, &plan).unwrap());
    planned(metadata, parallelism).into_iter().map(|plan| restore(plan).unwrap()).collect()
}

fn split_items(stores: &mut [OperatorState]) -> Vec<Vec<u64>> {
    let get = |store: &mut OperatorState| store.split_list("list").unwrap().get(store).unwrap();
    stores.iter_mut().map(get).collect()
}

fn union_items(stores: &mut [OperatorState]) -> Vec<Vec<u64>> {
    let get = |store: &mut OperatorState| store.union_list("list").unwrap().get(store).unwrap();
    stores.iter_mut().map(get).collect()
}

fn rules(store: &mut OperatorState) -> Vec<(String, u64)> {
    let rules = store.broadcast::<String, u64>("rules").unwrap();
    let mut all = Vec::new();
    rules.for_each(store, |key, value| all.push((key, value))).unwrap();
    all
}

// B-24
#[test]
fn split_items_go_round_the_subtasks_in_their_order() {
    let metadata = checkpoint(vec![split(&[5, 1, 4]), split(&[]), split(&[2, 2])]);
    assert_eq!(split_items(&mut restored(&metadata, 3)), [vec![5, 1, 4], vec![], vec![2, 2]]);
    assert_eq!(split_items(&mut restored(&metadata, 1)), [[5, 1, 4, 2, 2]]);
    assert_eq!(split_items(&mut restored(&metadata, 2)), [vec![5, 4, 2], vec![1, 2]]);
    let many = split_items(&mut restored(&metadata, 7));
    assert_eq!(many, [vec![5], vec![1], vec![4], vec![2], vec![2], vec![], vec![]]);
}

// B-24
#[test]
fn union_items_reach_every_subtask_all_of_them_at_any_parallelism() {
    let metadata = checkpoint(vec![union(&[5, 1]), union(&[]), union(&[3])]);
    for parallelism in [1, 2, 3, 8] {
        let items = union_items(&mut restored(&metadata, parallelism));
        assert_eq!(items, vec![vec![5, 1, 3]; parallelism as usize]);
    }
}

// B-24
#[test]
fn broadcast_state_reaches_every_subtask_once_at_any_parallelism() {
    let expected = [("a".to_owned(), 1), ("b".to_owned(), 2)];
    let copy = || broadcast(&[("b", 2), ("a", 1)]);
    let metadata = checkpoint(vec![copy(), copy()]);
    for parallelism in [1, 2, 5] {
        let mut stores = restored(&metadata, parallelism);
        assert_eq!(stores.len(), parallelism as usize);
        for store in &mut stores {
            assert_eq!(rules(store), expected);
        }
    }
}

// B-24
#[test]
fn an_empty_list_beside_a_broadcast_state_that_is_not_loses_neither() {
    let both = |rules: &[(&str, u64)]| {
        let mut parts = split(&[]).unwrap();
        parts.extend(broadcast(rules).unwrap());
        Some(parts)
    };
    let metadata = checkpoint(vec![both(&[("a", 1)]), both(&[("a", 1)])]);
    for parallelism in [1, 2, 3] {
        let mut stores = restored(&metadata, parallelism);
        assert_eq!(split_items(&mut stores), vec![Vec::<u64>::new(); parallelism as usize]);
        assert!(stores.iter_mut().all(|store| rules(store) == [("a".to_owned(), 1)]));
    }
    let metadata = checkpoint(vec![both(&[]), both(&[])]);
    assert!(restored(&metadata, 3).iter_mut().all(|store| rules(store).is_empty()));
}

// B-24
#[test]
fn a_subtask_without_the_state_neither_adds_to_it_nor_goes_without_it() {
    let nothing = || Some(Vec::new());
    let metadata = checkpoint(vec![nothing(), split(&[5, 1]), nothing()]);
    assert_eq!(split_items(&mut restored(&metadata, 3)), [vec![], vec![5, 1], vec![]]);
    assert_eq!(split_items(&mut restored(&metadata, 2)), [[5], [1]]);
    let metadata = checkpoint(vec![nothing(), union(&[5])]);
    assert_eq!(union_items(&mut restored(&metadata, 2)), [[5], [5]]);
    let metadata = checkpoint(vec![nothing(), broadcast(&[("a", 1)]), None]);
    for store in &mut restored(&metadata, 3) {
        assert_eq!(rules(store), [("a".to_owned(), 1)]);
    }
}

// B-24
#[test]
fn state_that_nobody_declares_goes_on_into_the_next_checkpoint() {
    let opaque = OperatorStatePart::opaque("raw", Redistribution::Split, vec![vec![7], vec![]]);
    let first = checkpoint(vec![Some(vec![opaque]), broadcast(&[("a", 1)])]);
    let snapshot = |store: &OperatorState| Some(store.snapshot().run(&CancelFlag::new()).unwrap());
    let second = checkpoint(restored(&first, 3).iter().map(snapshot).collect());
    let third = restored(&second, 1);
    let parts = third[0].snapshot().run(&CancelFlag::new()).unwrap();
    let items: Vec<_> = parts.iter().map(|part| (part.name.as_str(), &part.items)).collect();
    let rules = first.vertices[0].subtasks[1].operator_state[0].items.clone();
    assert_eq!(items, [("raw", &vec![vec![7], vec![]]), ("rules", &rules)]);
}

// B-16
#[test]
fn codecs_go_through_a_checkpoint_and_are_compared_with_those_declared() {
    let metadata = checkpoint(vec![split(&[5]), split(&[6])]);
    for mut store in restored(&metadata, 1) {
        let error = store.split_list::<i64>("list").unwrap_err();
        assert_eq!(error.kind(), millpond_state::ErrorKind::Incompatible);
        for part in ["\"list\"", "u64 v1", "i64 v1"] {
            assert!(error.message().contains(part), "{part} is not in: {error}");
        }
        assert_eq!(store.split_list::<u64>("list").unwrap().get(&store).unwrap(), [5, 6]);
    }
}

// B-16
#[test]
fn subtasks_that_write_a_state_in_different_ways_make_no_checkpoint() {
    let signed = state(|store| {
        store.split_list::<i64>("list").unwrap();
    });
    let other_key = state(|store| {
        store.broadcast::<u8, u64>("rules").unwrap();
    });
    let pairs = [
        (split(&[1]), union(&[1]), "split state", "union state"),
        (split(&[]), signed, "codec u64 v1", "codec i64 v1"),
        (broadcast(&[]), other_key, "codecs string v1 and u64 v1", "codecs u8 v1 and u64 v1"),
        (
            split(&[]),
            Some(vec![OperatorStatePart::opaque("list", Redistribution::Split, vec![])]),
            "codec u64 v1",
            "no codec",
        ),
    ];
    for (one, other, first, second) in pairs {
        let error = described(vec![one, other]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        for part in ["vertex \"v\"", first, second] {
            assert!(error.to_string().contains(part), "{part} is not in: {error}");
        }
    }
}

// B-16
#[test]
fn files_whose_subtasks_disagree_are_refused_at_restore() {
    let mut metadata = checkpoint(vec![split(&[1]), split(&[2])]);
    let plan = planned(&metadata, 1).remove(0);
    metadata.vertices[0].subtasks[1].operator_state[0].codecs = None;
    let error = operator_state_parts(&metadata.vertices[0], &plan).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("\"list\""), "{error}");
}

#[test]
fn a_plan_for_another_checkpoint_is_refused() {
    let plan = planned(&checkpoint(vec![split(&[1, 2, 3])]), 1).remove(0);
    for other in [vec![split(&[1, 2])], vec![broadcast(&[("a", 1)])], vec![Some(Vec::new())]] {
        let metadata = checkpoint(other);
        let error = operator_state_parts(&metadata.vertices[0], &plan).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("\"list\""), "{error}");
    }
}
