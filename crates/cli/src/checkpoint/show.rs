//! `millpond checkpoint show`.

use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::incremental::CHAIN_FORMAT;
use millpond_snapshot::metadata::{KeyedStateHandle, Skew, SubtaskMetadata, VertexMetadata};
use millpond_state::StateDescriptor;
use serde_json::{Value, json};

use super::list::{entries, kind_name, mode_name};
use super::share::Share;
use super::target::newest;
use crate::args::TargetArgs;
use crate::error::Result;
use crate::{console, table};

/// Shows what is in a checkpoint.
///
/// # Errors
/// If it is not there or its metadata is damaged.
pub(super) fn run(args: &TargetArgs) -> Result<()> {
    let (folder, metadata) = newest(&args.url, args.id)?.into_metadata()?;
    if args.json {
        return console::print(&json_of(&folder.url(), &metadata).to_string());
    }
    head(&folder.url(), &metadata)?;
    metadata.vertices.iter().try_for_each(show_vertex)
}

fn head(url: &str, metadata: &CheckpointMetadata) -> Result<()> {
    let lines = [
        format!("checkpoint {} of job {}", metadata.checkpoint, metadata.job_name),
        format!("  {url}"),
        format!(
            "  {}, {}, state backend {}, max parallelism {}",
            kind_name(metadata.kind),
            mode_name(metadata.mode),
            metadata.state_backend,
            metadata.max_parallelism
        ),
        format!(
            "  completed {} UTC after {}; {} entries, {}",
            table::time(metadata.completed_at_ms),
            table::millis(metadata.duration_ms),
            table::count(entries(metadata)),
            table::bytes(metadata.data_bytes())
        ),
    ];
    lines.iter().try_for_each(|line| console::print(line))?;
    let share = Share::of(metadata);
    if share.shared == 0 {
        return Ok(());
    }
    console::print(&format!(
        "  {} shared with other checkpoints, {} exclusive; {} new, {} re-used",
        table::bytes(share.shared),
        table::bytes(share.exclusive),
        table::bytes(share.new),
        table::bytes(share.reused)
    ))
}

fn show_vertex(vertex: &VertexMetadata) -> Result<()> {
    let end = if vertex.finished { ", has processed all its input" } else { "" };
    console::print("")?;
    console::print(&format!("{} at parallelism {}{end}", vertex.name, vertex.parallelism))?;
    for state in &vertex.states {
        let entries = state_entries(vertex, state.name());
        let entries =
            entries.map_or_else(String::new, |it| format!("; {} entries", table::count(it)));
        console::print(&format!(
            "  state {}: {}, {}{entries}",
            state.name(),
            state.kind(),
            codecs(state)
        ))?;
    }
    if let Some((by_entries, by_bytes)) = skews(vertex).filter(|_| !vertex.states.is_empty()) {
        console::print(&format!(
            "  key groups: {} / {} / {} entries, {} / {} / {} (least / median / most)",
            by_entries.min,
            by_entries.median,
            by_entries.max,
            table::bytes(by_bytes.min),
            table::bytes(by_bytes.median),
            table::bytes(by_bytes.max)
        ))?;
    }
    let heads = ["subtask", "key groups", "entries", "size", "sync", "async", "align", "lists"];
    let mut rows = table::table(&heads, &["subtask", "entries", "size", "sync", "async", "align"]);
    for subtask in &vertex.subtasks {
        rows.add_row(row(subtask));
    }
    console::print(&rows.trim_fmt())
}

fn row(subtask: &SubtaskMetadata) -> Vec<String> {
    let stats = &subtask.stats;
    let lists: Vec<String> = subtask
        .operator_state
        .iter()
        .map(|list| format!("{} ({})", list.name, list.items.len()))
        .collect();
    vec![
        subtask.index.to_string(),
        subtask
            .key_groups
            .map_or_else(String::new, |range| format!("{} to {}", range.first(), range.last())),
        table::count(stats.entries),
        table::bytes(stats.bytes),
        format!("{} us", table::count(stats.sync_us)),
        table::millis(stats.async_ms),
        table::millis(stats.alignment_ms),
        lists.join(", "),
    ]
}

fn codecs(state: &StateDescriptor) -> String {
    let codecs = state.codecs();
    let mut parts = vec![format!("key {}", codecs.key)];
    if codecs.namespace.name() != "void" {
        parts.push(format!("namespace {}", codecs.namespace));
    }
    if let Some(user_key) = &codecs.user_key {
        parts.push(format!("user key {user_key}"));
    }
    parts.push(format!("value {}", codecs.value));
    parts.join(", ")
}

/// Entries of a state; `None` if only a backend could count them.
fn state_entries(vertex: &VertexMetadata, state: &str) -> Option<u64> {
    let mut handles = vertex.subtasks.iter().flat_map(|subtask| &subtask.keyed_state);
    handles.try_fold(0u64, |sum, handle| {
        let is_known = match handle {
            KeyedStateHandle::Incremental(native) => native.backend == CHAIN_FORMAT,
            _ => true,
        };
        is_known.then(|| sum.saturating_add(handle.state_entries(state)))
    })
}

/// How unevenly entries and bytes lie over all key groups of a vertex; `None` if that is not noted
/// of all files.
fn skews(vertex: &VertexMetadata) -> Option<(Skew, Skew)> {
    let groups = vertex.max_parallelism.get() as usize;
    let (mut by_entries, mut by_bytes) = (Vec::new(), Vec::new());
    for handle in vertex.subtasks.iter().flat_map(|subtask| &subtask.keyed_state) {
        let KeyedStateHandle::Full(full) = handle else { return None };
        by_entries.extend(full.sizes.iter().map(|size| size.entries));
        by_bytes.extend(full.sizes.iter().map(|size| size.bytes));
    }
    by_entries.resize(by_entries.len().max(groups), 0);
    by_bytes.resize(by_bytes.len().max(groups), 0);
    Some((Skew::of(by_entries), Skew::of(by_bytes)))
}

fn json_of(url: &str, metadata: &CheckpointMetadata) -> Value {
    let share = Share::of(metadata);
    json!({
        "id": metadata.checkpoint.get(),
        "url": url,
        "job": metadata.job_name,
        "job_kind": metadata.job_kind,
        "kind": kind_name(metadata.kind),
        "mode": mode_name(metadata.mode),
        "state_backend": metadata.state_backend,
        "max_parallelism": metadata.max_parallelism.get(),
        "triggered_at_ms": metadata.triggered_at_ms,
        "completed_at_ms": metadata.completed_at_ms,
        "duration_ms": metadata.duration_ms,
        "entries": entries(metadata),
        "bytes": metadata.data_bytes(),
        "shared_bytes": share.shared,
        "exclusive_bytes": share.exclusive,
        "new_bytes": share.new,
        "reused_bytes": share.reused,
        "vertices": metadata.vertices.iter().map(json_vertex).collect::<Vec<_>>(),
    })
}

fn json_vertex(vertex: &VertexMetadata) -> Value {
    let (by_entries, by_bytes) = skews(vertex).unzip();
    let skew = |skew: Option<Skew>| {
        skew.map(|skew| json!({"min": skew.min, "median": skew.median, "max": skew.max}))
    };
    let state = |state: &StateDescriptor| {
        let codecs = state.codecs();
        json!({
            "name": state.name(),
            "kind": state.kind().to_string(),
            "key": codecs.key.to_string(),
            "namespace": codecs.namespace.to_string(),
            "user_key": codecs.user_key.as_ref().map(ToString::to_string),
            "value": codecs.value.to_string(),
            "entries": state_entries(vertex, state.name()),
        })
    };
    json!({
        "name": vertex.name,
        "parallelism": vertex.parallelism,
        "finished": vertex.finished,
        "states": vertex.states.iter().map(state).collect::<Vec<_>>(),
        "key_group_entries": skew(by_entries),
        "key_group_bytes": skew(by_bytes),
        "subtasks": vertex.subtasks.iter().map(json_subtask).collect::<Vec<_>>(),
    })
}

fn json_subtask(subtask: &SubtaskMetadata) -> Value {
    let stats = &subtask.stats;
    let lists = subtask
        .operator_state
        .iter()
        .map(|list| json!({"name": list.name, "items": list.items.len()}));
    json!({
        "index": subtask.index.get(),
        "key_groups": subtask.key_groups.map(|range| [range.first().get(), range.last().get()]),
        "finished": subtask.finished,
        "entries": stats.entries,
        "bytes": stats.bytes,
        "sync_us": stats.sync_us,
        "async_ms": stats.async_ms,
        "alignment_ms": stats.alignment_ms,
        "files": subtask
            .keyed_state
            .iter()
            .flat_map(KeyedStateHandle::files)
            .map(|file| json!({"name": file.name(), "bytes": file.bytes()}))
            .collect::<Vec<_>>(),
        "operator_state": lists.collect::<Vec<_>>(),
    })
}
