//! `millpond checkpoint export`: typed state as CSV or JSON, one row for each entry (of a list
//! state: for each element), streamed in the order of key groups.

use std::io::Write;

use millpond_checkpoint::driver::CheckpointFolder;
use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::VertexMetadata;
use millpond_state::codec::{CodecIdentity, DynValue, Shape};
use millpond_state::{EntrySource, SnapshotEntry, StateDescriptor, StateKind};

use super::cell::{Part, json};
use super::target::newest;
use crate::args::{ExportArgs, Format};
use crate::console;
use crate::error::{CliError, Result};
use crate::run::CsvRow;

/// Prints the state.
///
/// # Errors
/// If there is no such state, its codecs are not self-describing, or its files are damaged.
pub(super) fn run(args: &ExportArgs) -> Result<()> {
    let (folder, metadata) = newest(&args.path, args.id)?.into_metadata()?;
    let vertex = find_vertex(args, &metadata)?;
    let descriptor = find_state(args, vertex)?;
    let columns = Columns::new(descriptor)?;
    let mut out = console::stream();
    if args.format == Format::Csv {
        out.write_all(&csv_line(columns.names.iter().map(String::as_bytes)))?;
    }
    export_vertex(args, &folder, vertex, &columns, &mut out)?;
    Ok(out.flush()?)
}

fn export_vertex(
    args: &ExportArgs,
    folder: &CheckpointFolder,
    vertex: &VertexMetadata,
    columns: &Columns,
    out: &mut impl Write,
) -> Result<()> {
    for handle in vertex.subtasks.iter().flat_map(|subtask| &subtask.keyed_state) {
        let reader = folder.open_full(handle)?;
        let Some(state) = reader.states().iter().position(|it| it.name() == args.state) else {
            continue;
        };
        let mut entries = reader.entries(vertex.max_parallelism.full_range());
        while let Some(entry) = entries.next_entry()? {
            if usize::from(entry.state) == state {
                columns.write_rows(&entry, args.format, out)?;
            }
        }
    }
    Ok(())
}

fn find_vertex<'m>(
    args: &ExportArgs,
    metadata: &'m CheckpointMetadata,
) -> Result<&'m VertexMetadata> {
    metadata.vertex(&args.operator).ok_or_else(|| {
        let with_state = metadata.vertices.iter().filter(|it| !it.states.is_empty());
        let names: Vec<&str> = with_state.map(|vertex| vertex.name.as_str()).collect();
        let names = names.join(", ");
        CliError::new(format!("there is no operator {:?}; with state are: {names}", args.operator))
    })
}

fn find_state<'m>(args: &ExportArgs, vertex: &'m VertexMetadata) -> Result<&'m StateDescriptor> {
    vertex.states.iter().find(|state| state.name() == args.state).ok_or_else(|| {
        let names: Vec<&str> = vertex.states.iter().map(StateDescriptor::name).collect();
        let (operator, state) = (&args.operator, &args.state);
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        CliError::new(format!("operator {operator:?} has no state {state:?}; it has: {names}"))
    })
}

/// The columns of a state.
struct Columns {
    is_list: bool,
    key: Part,
    namespace: Part,
    user_key: Option<Part>,
    value: Part,
    names: Vec<String>,
}

impl Columns {
    fn new(state: &StateDescriptor) -> Result<Self> {
        let codecs = state.codecs();
        let mut names = Vec::new();
        let mut part = |name: &str, codec: &CodecIdentity| -> Result<Part> {
            let shape = Shape::parse(codec.name()).map_err(|error| {
                CliError::from(error).context(format!("cannot show the {name}"))
            })?;
            let part = Part::new(name, shape, &names);
            names.extend(part.columns.iter().cloned());
            Ok(part)
        };
        let key = part("key", &codecs.key)?;
        let namespace = part("namespace", &codecs.namespace)?;
        let user_key = codecs.user_key.as_ref().map(|it| part("user_key", it)).transpose()?;
        let value = part("value", &codecs.value)?;
        Ok(Self {
            is_list: state.kind() == StateKind::List,
            key,
            namespace,
            user_key,
            value,
            names,
        })
    }

    fn write_rows(
        &self,
        entry: &SnapshotEntry<'_>,
        format: Format,
        out: &mut impl Write,
    ) -> Result<()> {
        let mut head = Vec::new();
        self.key.decode(&mut { entry.key }, &mut head)?;
        self.namespace.decode(&mut { entry.namespace }, &mut head)?;
        if let Some(user_key) = &self.user_key {
            user_key.decode(&mut { entry.user_key }, &mut head)?;
        }
        let mut rest = entry.value;
        loop {
            let mut cells = head.clone();
            let before = rest.len();
            if !(self.is_list && rest.is_empty()) {
                self.value.decode(&mut rest, &mut cells)?;
                self.write_row(&cells, format, out)?;
            }
            if !self.is_list || rest.is_empty() || rest.len() == before {
                return Ok(());
            }
        }
    }

    fn write_row(&self, cells: &[DynValue], format: Format, out: &mut impl Write) -> Result<()> {
        match format {
            Format::Csv => {
                let cells = cells.iter().map(|cell| cell.to_string().into_bytes());
                out.write_all(&csv_line(cells))?;
            }
            Format::Json => {
                // Written by hand to keep the order of the columns.
                let fields: Vec<String> = self
                    .names
                    .iter()
                    .zip(cells)
                    .map(|(name, cell)| format!("{}:{}", serde_json::json!(name), json(cell)))
                    .collect();
                writeln!(out, "{{{}}}", fields.join(","))?;
            }
        }
        Ok(())
    }
}

fn csv_line(cells: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut line = Vec::new();
    cells.fold(CsvRow::new(&mut line), |row, cell| row.text(cell.as_ref())).end();
    line
}
