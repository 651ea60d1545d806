//! What must hold when a checkpoint completes, and at the end.

use std::rc::Rc;
use std::sync::Arc;

use millpond_checkpoint::driver::{CheckpointStorage, SubtaskSnapshot};
use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::KeyedStateHandle;
use millpond_state::CheckpointId;
use millpond_storage::StorePath;

use crate::attempt::Attempt;
use crate::disk::verify;
use crate::store::{Change, SimStore};
use crate::subtask::{POSITIONS, decode_position};
use crate::world::World;

/// A checkpoint that subtasks hear is complete must be whole.
pub(crate) fn completed(world: &World, attempt: &Attempt, id: CheckpointId) -> Result<(), String> {
    let disk = world.disk.borrow();
    if disk.was_completed_by_predecessor(id, attempt.log.id().get()) {
        // The news is late. A successor has begun from it or from a later one.
        return Ok(());
    }
    disk.check_whole(id)?;
    let path = StorePath::new(format!("chk-{id}/_metadata")).map_err(|it| it.to_string())?;
    let object = disk.get(&path).ok_or_else(|| format!("{path} is not there"))?;
    let metadata = CheckpointMetadata::decode_from(path.as_str(), &object.bytes);
    let metadata = metadata.map_err(|error| error.to_string())?;
    if metadata.attempt != attempt.log.id() {
        return Err(format!("checkpoint {id} is of attempt {}", metadata.attempt));
    }
    let keyed: usize = metadata
        .vertices
        .iter()
        .flat_map(|vertex| &vertex.subtasks)
        .flat_map(|subtask| subtask.keyed_state.iter().map(KeyedStateHandle::key_groups))
        .map(|range| range.count())
        .sum();
    if keyed != attempt.max_parallelism.get() as usize {
        return Err(format!("checkpoint {id} has {keyed} key groups"));
    }
    let read = positions(&metadata).len();
    if read != world.plan.partitions as usize {
        return Err(format!("checkpoint {id} has the positions of {read} partitions"));
    }
    Ok(())
}

/// How far the sources had read.
pub(crate) fn positions(metadata: &CheckpointMetadata) -> Vec<(u32, u32)> {
    metadata
        .vertices
        .iter()
        .flat_map(|vertex| &vertex.subtasks)
        .flat_map(|subtask| &subtask.operator_state)
        .filter(|state| state.name == POSITIONS)
        .flat_map(|state| state.items.iter().filter_map(|item| decode_position(item)))
        .collect()
}

/// The job has ended, with everything committed that ever will be.
pub(crate) fn ended(world: &World) {
    let (found, expected) = (world.output.borrow().len(), world.expected_records());
    if found == expected {
        world.finish();
    } else {
        world.violate(format_args!("the job has ended with {found} of {expected} records"));
    }
}

/// After the end: what exists is whole, and garbage collection leaves nothing that is not needed.
pub(crate) fn collect_garbage(world: &Rc<World>) -> Result<(), String> {
    world.end_all();
    world.land_all();
    let (process, _) = world.add_process();
    let storage = CheckpointStorage::new(Arc::new(SimStore::new(process)));
    let text = |error: millpond_checkpoint::CheckpointError| error.to_string();
    let history = storage.history().map_err(text)?;
    let newest = history.checkpoints().next_back();
    for found in storage.list_existing(&history).map_err(text)? {
        if Some(found.id) == newest {
            verify(&storage, found.id)?;
        }
    }
    let garbage = storage.find_garbage(u64::MAX / 2, 0).map_err(text)?;
    storage.delete_garbage(&garbage).map_err(text)?;
    let left = world.disk.borrow().unreferenced();
    if left.is_empty() {
        return Ok(());
    }
    Err(format!("garbage collection leaves what nothing refers to: {}", left.join(", ")))
}

/// A mistake: deletes all that payloads name.
pub(crate) fn delete_all(world: &World, payloads: &[SubtaskSnapshot]) {
    for file in payloads.iter().flat_map(SubtaskSnapshot::files) {
        if let Ok(path) = StorePath::new(file.name()) {
            world.apply(&Change::Delete(path));
        }
    }
}
