//! Rewriting a checkpoint for another number of key groups.

use millpond_snapshot::metadata::CheckpointKind;
use millpond_state::MaxParallelism;

use super::checkpoint::OfflineCheckpoint;
use super::content::{StateContent, Summing};
use super::options::{OfflineOptions, OfflinePhase};
use super::plan::{Rewrite, VertexPlan};
use super::target::Target;
use crate::error::{CheckpointError, ErrorKind, Result};

/// A checkpoint that was rewritten, and what was compared.
#[derive(Clone, Debug)]
pub struct RekeyReport {
    /// The new checkpoint.
    pub checkpoint: OfflineCheckpoint,
    /// What both sides hold, state by state.
    pub states: Vec<StateContent>,
}

/// Writes `original` for `max_parallelism` key groups: every key goes to the key group that its
/// hash gives now, every operator keeps its parallelism and its operator state. Before the new
/// checkpoint is published it is read again and compared with the original, entry counts and
/// checksums of all states.
///
/// A job then restores it with this max parallelism and goes on where the original was taken.
///
/// # Errors
/// [`ErrorKind::Incompatible`] if the engine assigned keys to key groups in its own way, or if an
/// operator has more subtasks than `max_parallelism`; [`ErrorKind::InvalidArgument`] if it is what
/// the original has; [`ErrorKind::Corrupt`] if a file of the
/// original is damaged, or if both sides differ; [`ErrorKind::Storage`] if the target or the
/// temporary files cannot be written. On an error nothing is left in the target.
pub fn rekey(
    original: &OfflineCheckpoint,
    max_parallelism: MaxParallelism,
    mut target: Target,
    options: OfflineOptions<'_>,
) -> Result<RekeyReport> {
    let mut metadata = original.metadata().clone();
    check_wanted(original, max_parallelism)?;
    metadata.kind = CheckpointKind::Savepoint;
    metadata.max_parallelism = max_parallelism;
    if let Some(at_ms) = options.written_at_ms {
        (metadata.triggered_at_ms, metadata.completed_at_ms) = (at_ms, at_ms);
        metadata.duration_ms = 0;
    }
    let mut states = Vec::new();
    for (index, vertex) in original.metadata().vertices.iter().enumerate() {
        let mut summing = Summing::new(vertex);
        let plan = VertexPlan::keeping(vertex, &options)?;
        let rewrite = Rewrite { original, index, vertex, max_parallelism, options };
        let moved = plan.write(&rewrite, &mut target, &mut |entry| summing.add(entry))?;
        if let Some(slot) = metadata.vertices.get_mut(index) {
            *slot = moved;
        }
        states.extend(summing.finish());
    }
    let written = OfflineCheckpoint::unpublished(target.folder(), metadata.clone());
    compare(&states, &written, &options)?;
    let folder = target.publish(&metadata)?;
    Ok(RekeyReport { checkpoint: OfflineCheckpoint::unpublished(folder, metadata), states })
}

/// Subtasks have operator state, which cannot be given to fewer of them here.
fn check_wanted(original: &OfflineCheckpoint, max_parallelism: MaxParallelism) -> Result<()> {
    let vertices = &original.metadata().vertices;
    if vertices.iter().all(|vertex| vertex.max_parallelism == max_parallelism) {
        let message = format!(
            "checkpoint {} has max parallelism {max_parallelism} already: use it as it is",
            original.metadata().checkpoint
        );
        return Err(CheckpointError::new(ErrorKind::InvalidArgument, message));
    }
    match vertices.iter().find(|vertex| vertex.parallelism > max_parallelism.get()) {
        None => Ok(()),
        Some(vertex) => Err(CheckpointError::new(
            ErrorKind::Incompatible,
            format!(
                "operator {:?} ran at parallelism {}, more than the max parallelism {} asked for: \
                 restore the job at {} or less, take a checkpoint, and rekey that",
                vertex.name, vertex.parallelism, max_parallelism, max_parallelism
            ),
        )),
    }
}

fn compare(
    states: &[StateContent],
    written: &OfflineCheckpoint,
    options: &OfflineOptions<'_>,
) -> Result<()> {
    let mut ticks = options.ticks(OfflinePhase::Compare);
    let found = written.contents_with(&mut |_| ticks.entry())?;
    if found == states {
        return Ok(());
    }
    let differs = states.iter().zip(&found).find(|(before, after)| before != after);
    let what = differs.map_or_else(
        || "the states are not the same".to_owned(),
        |(before, after)| {
            format!(
                "state {:?} of operator {:?} had {} entries with checksum {:016x}, now {} with \
                 {:016x}",
                before.state,
                before.operator,
                before.entries,
                before.checksum,
                after.entries,
                after.checksum
            )
        },
    );
    let message = format!("what was written is not what was read: {what}; nothing was published");
    Err(CheckpointError::new(ErrorKind::Corrupt, message))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millpond_storage::MemoryStore;

    use super::*;
    use crate::coordinator::CheckpointMode;
    use crate::driver::{JobDescription, VertexDescription};
    use crate::offline::{KeyedEntry, NewCheckpoint, Spill, kind};

    #[test]
    fn sides_that_differ_in_a_count_or_a_checksum_are_told_apart_and_named() {
        let spill = Spill::new(Arc::new(MemoryStore::new()), None, 1_000);
        let options = OfflineOptions::new(&spill);
        let job = JobDescription {
            name: "job".to_owned(),
            kind: "test".to_owned(),
            state_backend: "none".to_owned(),
            mode: CheckpointMode::ExactlyOnce,
            max_parallelism: MaxParallelism::new(8).unwrap(),
            vertices: vec![VertexDescription { name: "op".to_owned(), parallelism: 1 }],
        };
        let mut new = NewCheckpoint::create(&job, options);
        let entries = (0..10u64).map(|key| Ok(KeyedEntry { key, namespace: (), value: key }));
        new.put_state::<kind::Value<u64, u64>>("op", "sums", entries).unwrap();
        let target = Target::create(Arc::new(MemoryStore::new()), None).unwrap();
        let written = new.write(target).unwrap();
        let same = written.contents().unwrap();
        compare(&same, &written, &options).unwrap();
        let changes: [fn(&mut StateContent); 2] = [|it| it.checksum ^= 1, |it| it.entries += 1];
        for change in changes {
            let mut other = same.clone();
            other.iter_mut().for_each(change);
            let error = compare(&other, &written, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.message().contains("state \"sums\" of operator \"op\""), "{error}");
        }
        assert!(compare(&[], &written, &options).is_err());
    }
}
