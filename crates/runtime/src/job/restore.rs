//! From which checkpoint an attempt starts, and what each subtask gets of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use millpond_checkpoint::driver::{
    CheckpointFolder, CheckpointHistory, CheckpointStorage, KeyedStateSource, LocalCopies,
    facts_of, operator_state_parts,
};
use millpond_checkpoint::plan::{
    CheckpointFact, JobVertex, RestoreOptions, RestorePlan, Selection, SubtaskPlan, plan_restore,
};
use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::VertexMetadata;
use millpond_state::CheckpointId;

use super::StartFrom;
use super::notice::{JobListener, JobNotice};
use crate::error::{JobError, JobErrorKind, Result};
use crate::graph::JobGraph;
use crate::task::{SubtaskRestore, sink_list};

/// Where the next attempt starts, over the life of a run.
#[derive(Debug)]
pub(super) struct Origin {
    start: StartFrom,
    /// Checkpoints of the job's storage that turned out to be damaged in this run.
    damaged: BTreeMap<CheckpointId, String>,
    /// Where files may be read rather than in storage.
    pub(super) copies: Option<Arc<LocalCopies>>,
}

/// A checkpoint chosen and planned for.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) metadata: CheckpointMetadata,
    pub(super) folder: CheckpointFolder,
    pub(super) plan: RestorePlan,
    /// Whether it was asked for by name: newer checkpoints of the storage are then obsolete.
    pub(super) by_name: bool,
}

impl Origin {
    pub(super) fn new(start: StartFrom, copies: Option<Arc<LocalCopies>>) -> Self {
        Self { start, damaged: BTreeMap::new(), copies }
    }

    /// After a failure: from the newest checkpoint if this run has completed one, else from where
    /// it started.
    pub(super) fn restart(&mut self, completed_any: bool) {
        if completed_any {
            self.start = StartFrom::Latest;
        }
    }

    /// Remembers damage found in restoring; `false` if there is nothing to fall back to, since the
    /// checkpoint was asked for by name.
    pub(super) fn mark_damaged(&mut self, checkpoint: CheckpointId, reason: String) -> bool {
        self.damaged.insert(checkpoint, reason);
        !matches!(self.start, StartFrom::Folder(_))
    }

    /// Chooses a checkpoint and plans the restore; `None` for the beginning.
    pub(super) fn choose(
        &self,
        graph: &JobGraph,
        (storage, history): (&CheckpointStorage, &CheckpointHistory),
        listener: &dyn JobListener,
    ) -> Result<Option<Chosen>> {
        match &self.start {
            StartFrom::Beginning => Ok(None),
            StartFrom::Folder(folder) => {
                let metadata = folder.load().map_err(cannot_restore)?;
                folder.check_present(&metadata).map_err(cannot_restore)?;
                check_job(graph, &metadata)?;
                let facts = vec![CheckpointFact::Whole(facts_of(&metadata))];
                let select = Selection::Exactly(metadata.checkpoint);
                let plan = plan(graph, facts, select)?;
                let folder = folder.for_restore(self.copies.clone());
                Ok(Some(Chosen { metadata, folder, plan, by_name: true }))
            }
            StartFrom::Latest => self.choose_latest(graph, (storage, history), listener),
        }
    }

    fn choose_latest(
        &self,
        graph: &JobGraph,
        (storage, history): (&CheckpointStorage, &CheckpointHistory),
        listener: &dyn JobListener,
    ) -> Result<Option<Chosen>> {
        let mut whole = BTreeMap::new();
        let mut facts = Vec::new();
        for found in storage.list_existing(history).map_err(cannot_restore)? {
            let id = found.id;
            let known = self.damaged.get(&id).cloned();
            let read = found
                .metadata
                .and_then(|metadata| found.folder.check_present(&metadata).map(|()| metadata));
            match (known, read) {
                (Some(reason), _) => facts.push(CheckpointFact::Damaged { id, reason }),
                (None, Ok(metadata)) => {
                    facts.push(CheckpointFact::Whole(facts_of(&metadata)));
                    whole.insert(id, (metadata, found.folder));
                }
                (None, Err(error)) if error.kind() == millpond_checkpoint::ErrorKind::Corrupt => {
                    facts.push(CheckpointFact::Damaged { id, reason: error.to_string() });
                }
                (None, Err(error)) => return Err(cannot_restore(error)),
            }
        }
        // What a start of this run has passed over does not exist any more, and is to be named.
        for (id, reason) in &self.damaged {
            if facts.iter().all(|fact| fact.id() != *id) {
                facts.push(CheckpointFact::Damaged { id: *id, reason: reason.clone() });
            }
        }
        if facts.is_empty() {
            listener.on_notice(&JobNotice::NothingToRestore);
            return Ok(None);
        }
        let plan = plan(graph, facts, Selection::Latest)?;
        for skipped in &plan.skipped {
            let (checkpoint, reason) = (skipped.id, skipped.reason.as_str());
            listener.on_notice(&JobNotice::SkippedDamaged { checkpoint, reason });
        }
        let Some((metadata, folder)) = whole.remove(&plan.checkpoint) else {
            let message = format!("checkpoint {} was chosen but not found", plan.checkpoint);
            return Err(JobError::new(JobErrorKind::Restore, message));
        };
        check_job(graph, &metadata)?;
        let folder = folder.for_restore(self.copies.clone());
        Ok(Some(Chosen { metadata, folder, plan, by_name: false }))
    }
}

impl Chosen {
    /// Whether the job had processed all its input at the checkpoint.
    pub(super) fn is_finished(&self) -> bool {
        self.metadata.vertices.iter().all(at_end)
    }

    /// What subtask `index` of the vertex called `vertex` starts from.
    pub(super) fn subtask(&self, vertex: &str, index: u32) -> Result<SubtaskRestore> {
        let mut restore =
            SubtaskRestore { checkpoint: Some(self.metadata.checkpoint), ..Default::default() };
        let old = self.metadata.vertex(vertex);
        let plan = self
            .plan
            .vertices
            .iter()
            .find(|plan| plan.name == vertex)
            .and_then(|plan| plan.subtasks.iter().find(|subtask| subtask.index.get() == index));
        if let (Some(old), Some(plan)) = (old, plan) {
            restore.keyed = self.keyed_sources(old, plan);
            restore.operator_state = operator_state_parts(old, plan).map_err(cannot_restore)?;
            restore.at_end = at_end(old);
        }
        Ok(restore)
    }

    fn keyed_sources(&self, old: &VertexMetadata, plan: &SubtaskPlan) -> Vec<KeyedStateSource> {
        let source = |source: &millpond_checkpoint::plan::KeyedSource| {
            let subtask = old.subtasks.get(source.from.get() as usize)?;
            Some(KeyedStateSource {
                folder: self.folder.clone(),
                handle: Arc::new(subtask.keyed_state.get(source.handle)?.clone()),
                key_groups: source.range,
            })
        };
        plan.keyed.iter().filter_map(source).collect()
    }

    /// Everything that the sink called `sink` behind `vertex` had pre-committed.
    pub(super) fn committables(&self, vertex: &str, sink: &str) -> Vec<Vec<u8>> {
        let list = sink_list(sink);
        let vertex = self.metadata.vertex(vertex);
        vertex
            .iter()
            .flat_map(|vertex| &vertex.subtasks)
            .flat_map(|subtask| &subtask.operator_state)
            .filter(|state| state.name == list)
            .flat_map(|state| state.items.iter().cloned())
            .collect()
    }
}

/// Whether all subtasks had processed all their input.
fn at_end(vertex: &VertexMetadata) -> bool {
    vertex.subtasks.iter().all(|subtask| subtask.finished)
}

fn plan(graph: &JobGraph, facts: Vec<CheckpointFact>, select: Selection) -> Result<RestorePlan> {
    let max_parallelism = graph.settings().max_parallelism;
    let vertices: Vec<JobVertex> = graph
        .vertices()
        .iter()
        .map(|vertex| JobVertex {
            name: vertex.name.clone(),
            parallelism: vertex.parallelism,
            max_parallelism,
        })
        .collect();
    let options = RestoreOptions { select, allow_dropped_state: false };
    plan_restore(&facts, &vertices, options)
        .map_err(|refusal| JobError::new(JobErrorKind::Restore, refusal.to_string()))
}

fn check_job(graph: &JobGraph, metadata: &CheckpointMetadata) -> Result<()> {
    let name = &graph.settings().name;
    if metadata.job_name == *name {
        return Ok(());
    }
    let message = format!(
        "checkpoint {} belongs to job {:?}, not {name:?}: restore a checkpoint of this job",
        metadata.checkpoint, metadata.job_name
    );
    Err(JobError::new(JobErrorKind::Restore, message))
}

fn cannot_restore(error: millpond_checkpoint::CheckpointError) -> JobError {
    JobError::new(JobErrorKind::Restore, "cannot restore").with_source(error)
}
