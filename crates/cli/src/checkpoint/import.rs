//! `millpond checkpoint import`: a checkpoint with a state that is read from a table.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use millpond_checkpoint::driver::{JobDescription, VertexDescription};
use millpond_checkpoint::offline::{DynEntry, NewCheckpoint, OfflineCheckpoint};
use millpond_checkpoint::{CheckpointError, CheckpointMode, ErrorKind};
use millpond_state::codec::{CodecIdentity, Shape};
use millpond_state::{MaxParallelism, StateCodecs, StateDescriptor, StateKind};
use serde_json::json;

use super::columns::Columns;
use super::list::entries;
use super::out::{make, report};
use super::rows::Rows;
use super::target::original;
use crate::args::{ImportArgs, KindArg, OriginalArgs};
use crate::error::{CliError, Result};
use crate::table;

/// Reads the table and writes the checkpoint.
///
/// # Errors
/// If the table does not parse (line and column), a key comes twice, the copied checkpoint is not
/// there or damaged, or OUT cannot be written.
pub(super) fn run(args: &ImportArgs) -> Result<()> {
    let from = args.from.as_ref().map(|path| {
        let path = path.clone();
        original(&OriginalArgs { path, id: args.id })
    });
    let from = from.transpose()?;
    let descriptor = describe(args, from.as_ref())?;
    let columns = Columns::new(&descriptor)?;
    let name = args.file.display().to_string();
    let input = open(&args.file)?;
    let in_file = |error: CliError| error.context(&name);
    let rows = Rows::new(input, args.format, &columns).map_err(in_file)?;
    let rows = rows.map(|row| row.map_err(|error| as_checkpoint_error(error.context(&name))));
    let total = from.as_ref().map_or(0, |it| entries(it.metadata()));
    let (count, written) = make(&args.out, total, |target, options| {
        let mut new = match &from {
            Some(from) => NewCheckpoint::copy_of(from, options),
            None => NewCheckpoint::create(&job(args)?, options),
        };
        let count = put(&mut new, &args.state.operator, descriptor, rows)?;
        Ok((count, new.write(target)?))
    })?;
    let (operator, state) = (&args.state.operator, &args.state.state);
    let what = format!("imported {} rows into {operator}.{state}", table::count(count));
    report(&args.out, &written, &what, json!({"imported": count}))
}

fn put(
    new: &mut NewCheckpoint<'_>,
    operator: &str,
    descriptor: StateDescriptor,
    rows: impl Iterator<Item = millpond_checkpoint::Result<DynEntry>>,
) -> Result<u64> {
    Ok(new.put_dynamic(operator, descriptor, rows)?)
}

/// Rows go through the library, which has its own errors.
fn as_checkpoint_error(error: CliError) -> CheckpointError {
    CheckpointError::new(ErrorKind::InvalidArgument, error.message().unwrap_or_default())
}

fn open(file: &Path) -> Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let opened = File::open(file).map_err(|error| {
        CliError::from(error).context(format!("cannot read {}", file.display()))
    })?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, opened)))
}

/// A job with the one operator.
fn job(args: &ImportArgs) -> Result<JobDescription> {
    let name = args.job.clone().unwrap_or_default();
    Ok(JobDescription {
        kind: name.clone(),
        name,
        state_backend: "import".to_owned(),
        mode: CheckpointMode::ExactlyOnce,
        max_parallelism: MaxParallelism::new(args.max_parallelism)?,
        vertices: vec![VertexDescription { name: args.state.operator.clone(), parallelism: 1 }],
    })
}

/// What the state is, by the arguments and, where they are silent, by the copied checkpoint.
fn describe(args: &ImportArgs, from: Option<&OfflineCheckpoint>) -> Result<StateDescriptor> {
    let known = match from {
        None => None,
        Some(from) => {
            let vertex = from.operator(&args.state.operator)?;
            vertex.states.iter().find(|state| state.name() == args.state.state)
        }
    };
    let kind = args.kind.map_or_else(|| known.map_or(StateKind::Value, |it| it.kind()), kind_of);
    let codecs = known.map(StateDescriptor::codecs);
    let time = CodecIdentity::new("i64", 1);
    let user_key = match kind {
        StateKind::Timer => Some(time),
        kind if kind.is_map() => {
            let known = codecs.and_then(|it| it.user_key.clone());
            Some(codec("--user-key", args.user_key.as_deref(), known)?)
        }
        _ => None,
    };
    let namespace = codecs.map(|it| it.namespace.clone());
    let namespace = namespace.or_else(|| Some(CodecIdentity::void()));
    let value = if kind == StateKind::Timer {
        Some(CodecIdentity::void())
    } else {
        codecs.map(|it| it.value.clone())
    };
    let codecs = StateCodecs {
        key: codec("--key", args.key.as_deref(), codecs.map(|it| it.key.clone()))?,
        namespace: codec("--namespace", args.namespace.as_deref(), namespace)?,
        user_key,
        value: codec("--value", args.value.as_deref(), value)?,
    };
    Ok(StateDescriptor::new(&args.state.state, kind, codecs)?)
}

const fn kind_of(kind: KindArg) -> StateKind {
    match kind {
        KindArg::Value => StateKind::Value,
        KindArg::List => StateKind::List,
        KindArg::Map => StateKind::Map,
        KindArg::Reducing => StateKind::Reducing,
        KindArg::Aggregating => StateKind::Aggregating,
        KindArg::Timer => StateKind::Timer,
    }
}

/// A type as it was given, or as it is in the copied checkpoint.
fn codec(option: &str, given: Option<&str>, known: Option<CodecIdentity>) -> Result<CodecIdentity> {
    let Some(text) = given else {
        return known.ok_or_else(|| {
            CliError::Usage(format!("{option} is needed: there is no such state to take it from"))
        });
    };
    let (name, version) = match text.rsplit_once(" v") {
        Some((name, digits)) => (name, digits.parse().ok()),
        None => (text, Some(1)),
    };
    let name: String = name.split_whitespace().collect();
    match (Shape::parse(&name), version) {
        (Ok(_), Some(version)) => Ok(CodecIdentity::new(name, version)),
        _ => Err(CliError::Usage(format!("{option} {text:?} is no type: see --help"))),
    }
}
