//! `millpond savepoint`: the other end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{Answer, Command, LINE_BYTES_MAX, Request, SOCKET, VERSION, socket_path};
use crate::args::SavepointArgs;
use crate::error::{CliError, Result};
use crate::run::file_folder;
use crate::{console, table};

/// The job says by itself that the time is over; this much later it is not expected to any more.
const ANSWER_GRACE: Duration = Duration::from_secs(10);

/// Has a running job take a savepoint and says where it is.
///
/// # Errors
/// If no job runs there, or there is no savepoint.
pub(crate) fn savepoint(args: &SavepointArgs) -> Result<()> {
    let folder = storage_folder(&args.path)?;
    let connection = connect(&folder)?;
    let timeout_ms = u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX);
    let command = Command::Savepoint { stop: args.stop };
    let request = Request { version: VERSION, command, timeout_ms };
    match ask(connection, &request, args.timeout.saturating_add(ANSWER_GRACE))? {
        Answer::Savepoint { checkpoint, url, bytes } => {
            let path = file_folder(&url).map_or(url, |path| path.display().to_string());
            if args.json {
                let line = json!({"checkpoint": checkpoint, "path": path, "bytes": bytes});
                return console::print(&line.to_string());
            }
            console::print(&format!("savepoint {checkpoint}: {path}, {}", table::bytes(bytes)))
        }
        Answer::Failed { error } => Err(CliError::new(error)),
    }
}

/// The folder that a path or a `file://` URL means.
fn storage_folder(path: &str) -> Result<PathBuf> {
    let folder = if path.contains("://") {
        file_folder(path).ok_or_else(|| {
            CliError::Usage(format!(
                "{path} is no folder: only a job with its checkpoints in a folder of this machine \
                 can be reached"
            ))
        })?
    } else {
        PathBuf::from(path)
    };
    match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(folder),
        Ok(_) => Err(CliError::new(format!("{path} is no folder"))),
        Err(error) => Err(CliError::from(error).context(format!("cannot open {path}"))),
    }
}

fn connect(folder: &Path) -> Result<UnixStream> {
    let shown = folder.display();
    let (path, _open) = socket_path(folder)?;
    UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound if folder.join("checkpoints").join(SOCKET).exists() => {
            let below = folder.join("checkpoints");
            CliError::new(format!("no job has its checkpoints in {shown}"))
                .advice(&format!("one has them in {}: give that folder", below.display()))
        }
        ErrorKind::NotFound => {
            CliError::new(format!("no job that runs has its checkpoints in {shown}"))
                .advice("give the folder that the job has as --checkpoint-storage")
        }
        ErrorKind::ConnectionRefused => {
            CliError::new(format!("no job runs any more in {shown}: the last one was killed"))
                .advice("its newest checkpoint is there for --restore latest")
        }
        _ => CliError::from(error).context(format!("cannot reach the job in {shown}")),
    })
}

fn ask(mut connection: UnixStream, request: &Request, wait: Duration) -> Result<Answer> {
    let gone = || CliError::new("the job ended before it answered");
    let mut line =
        serde_json::to_string(request).map_err(|error| CliError::new(error.to_string()))?;
    line.push('\n');
    connection.set_read_timeout(Some(wait))?;
    connection.write_all(line.as_bytes()).map_err(|_| gone())?;
    let mut answer = String::new();
    match BufReader::new((&connection).take(LINE_BYTES_MAX)).read_line(&mut answer) {
        Ok(0) => return Err(gone()),
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            return Err(CliError::new(format!("the job has not answered within {wait:?}")));
        }
        Err(_) => return Err(gone()),
    }
    serde_json::from_str(&answer)
        .map_err(|error| CliError::new(format!("the job's answer makes no sense: {error}")))
}
