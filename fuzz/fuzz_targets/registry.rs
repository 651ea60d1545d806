//! Any metadata, as many files as the input has parts, as what a job finds at its start: planning a
//! restore, counting references and finding garbage must not panic, whatever they say; and what is
//! handed out for deletion is nothing that a checkpoint left in place refers to.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use millpond_checkpoint::driver::{facts_of, operator_state_parts};
use millpond_checkpoint::plan::{
    CheckpointFact, JobVertex, RestoreOptions, Selection, plan_restore,
};
use millpond_checkpoint::registry::{
    Deletion, FoundCheckpoints, GcCheckpoint, GcFacts, ListedObject, ObjectClass, RegistrySettings,
    RestoreMode, SharedFileRegistry, StoredCheckpoint, plan_gc,
};
use millpond_snapshot::CheckpointMetadata;
use millpond_state::CheckpointId;

#[path = "../../crates/snapshot/tests/it/seal.rs"]
#[allow(dead_code, reason = "shared with the tests and other targets")]
mod seal;

/// The metadata in the input: parts of so many bytes as two bytes before them say, sealed.
fn decode(mut bytes: &[u8]) -> Vec<CheckpointMetadata> {
    let mut decoded = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<2>() {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (part, rest) = rest.split_at(len);
        let mut part = part.to_vec();
        seal::seal_metadata(&mut part);
        decoded.extend(CheckpointMetadata::decode_from("fuzz", &part));
        bytes = rest;
    }
    decoded
}

fn plan(metadata: &CheckpointMetadata, parallelism: u32) {
    let vertices = metadata.vertices.iter().map(|vertex| JobVertex {
        name: vertex.name.clone(),
        parallelism: parallelism.min(vertex.max_parallelism.get()),
        max_parallelism: vertex.max_parallelism,
    });
    let job: Vec<JobVertex> = vertices.take(16).collect();
    let facts = [CheckpointFact::Whole(facts_of(metadata))];
    let options = RestoreOptions { select: Selection::Latest, allow_dropped_state: true };
    let Ok(plan) = plan_restore(&facts, &job, options) else { return };
    for (planned, vertex) in plan.vertices.iter().zip(&metadata.vertices) {
        for subtask in &planned.subtasks {
            let _ = operator_state_parts(vertex, subtask);
        }
    }
}

fn collect(metadata: &[CheckpointMetadata]) {
    let folders: Vec<String> =
        metadata.iter().map(|metadata| format!("chk-{}", metadata.checkpoint)).collect();
    let stored: Vec<StoredCheckpoint<'_>> = folders
        .iter()
        .zip(metadata)
        .map(|(folder, metadata)| StoredCheckpoint { folder, metadata })
        .collect();
    let (owned, kept) = stored.split_at(stored.len() / 2);
    let found = FoundCheckpoints { owned, kept, unreadable: false, offered: None };
    let rebuilt = SharedFileRegistry::rebuild(RegistrySettings::default(), &found);
    let Ok(mut registry) = rebuilt else { return };
    if let Some(first) = owned.first() {
        let _ = registry.restore(first, RestoreMode::NoClaim);
    }
    let ids: Vec<CheckpointId> = registry.retained().collect();
    let (discarded, left) = ids.split_at(ids.len() / 2);
    discarded.iter().for_each(|id| registry.discard(*id));
    let mut needed = BTreeSet::new();
    for stored in owned.iter().filter(|it| left.contains(&it.metadata.checkpoint)).chain(kept) {
        let shared = stored.metadata.files().filter(|file| file.is_shared());
        needed.extend(shared.map(|file| file.name()));
    }
    for deletion in registry.take_deletions() {
        if let Deletion::Object(object) = deletion {
            assert!(!needed.contains(object.name()), "{} is referred to", object.name());
        }
    }
}

fn garbage(metadata: &[CheckpointMetadata]) {
    let folders: Vec<String> = (0..metadata.len()).map(|number| format!("chk-{number}")).collect();
    let checkpoints: Vec<GcCheckpoint<'_>> = folders
        .iter()
        .zip(metadata)
        .map(|(folder, metadata)| GcCheckpoint { folder, metadata: Ok(metadata), is_void: false })
        .collect();
    let files = metadata.iter().flat_map(CheckpointMetadata::files);
    let objects: Vec<ListedObject<'_>> = files
        .map(|file| ListedObject { name: file.name(), bytes: file.bytes(), age_ms: Some(10) })
        .collect();
    let plan = plan_gc(&GcFacts {
        objects: &objects,
        checkpoints: &checkpoints,
        safe_age_ms: 1,
        in_flight_from: None,
        is_in_use: &|_| false,
    });
    let shared: BTreeSet<&str> = metadata
        .iter()
        .flat_map(CheckpointMetadata::files)
        .filter(|file| file.is_shared())
        .map(|file| file.name())
        .collect();
    for object in &plan.objects {
        let orphan = object.class == ObjectClass::Orphan;
        assert!(!orphan || !shared.contains(object.object.name), "a needed object is an orphan");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let metadata = decode(bytes);
    for metadata in &metadata {
        for parallelism in [1, 3] {
            plan(metadata, parallelism);
        }
    }
    collect(&metadata);
    garbage(&metadata);
});
