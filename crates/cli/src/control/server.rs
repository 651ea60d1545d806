//! The job's end: answers one connection after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use millpond_runtime::JobHandle;

use super::{Answer, Command, LINE_BYTES_MAX, Request, SOCKET, VERSION, socket_path};
use crate::background;
use crate::error::{CliError, Result};

/// Whoever connects and then says or takes nothing for so long is hung up on.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// Listens for requests to a job until it is dropped.
#[derive(Debug)]
pub(crate) struct ControlServer {
    folder: PathBuf,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Listens in `folder`, which this process holds the lock of, for requests to the job.
    ///
    /// # Errors
    /// If there can be no socket, or there is no thread left.
    pub(crate) fn start(folder: &Path, job: JobHandle) -> Result<Self> {
        let failed = |error| CliError::from(error).context("cannot listen for requests");
        // One that is there is of a process that was killed: we hold the lock.
        match std::fs::remove_file(folder.join(SOCKET)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        let (path, _open) = socket_path(folder).map_err(failed)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let closing = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&closing);
        let thread = background::start("control", move || serve(&listener, &job, &told))?;
        Ok(Self { folder: folder.to_owned(), closing, thread: Some(thread) })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // A connection wakes the thread, which then looks at the flag.
        let woken = socket_path(&self.folder).and_then(|(path, _open)| UnixStream::connect(path));
        let _ = std::fs::remove_file(self.folder.join(SOCKET));
        if woken.is_ok()
            && let Some(thread) = self.thread.take()
        {
            // It ends after the answer it is at, which the end of the job brings about.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &UnixListener, job: &JobHandle, closing: &AtomicBool) {
    for connection in listener.incoming() {
        if closing.load(Ordering::SeqCst) {
            return;
        }
        if let Ok(connection) = connection {
            // Whoever hangs up has no use for an answer.
            let _ = respond(connection, job);
        }
    }
}

fn respond(mut connection: UnixStream, job: &JobHandle) -> std::io::Result<()> {
    connection.set_read_timeout(Some(IDLE_MAX))?;
    connection.set_write_timeout(Some(IDLE_MAX))?;
    let mut line = String::new();
    BufReader::new((&connection).take(LINE_BYTES_MAX)).read_line(&mut line)?;
    let answer = answer(&line, job);
    let mut line = serde_json::to_string(&answer)?;
    line.push('\n');
    connection.write_all(line.as_bytes())
}

fn answer(line: &str, job: &JobHandle) -> Answer {
    let failed = |error: String| Answer::Failed { error };
    let request: Request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return failed(format!("the job does not understand the request: {error}")),
    };
    if request.version != VERSION {
        let version = request.version;
        return failed(format!(
            "the request has version {version}, the job knows {VERSION}: use the same millpond"
        ));
    }
    let Command::Savepoint { stop } = request.command;
    match job.savepoint(stop).wait(Duration::from_millis(request.timeout_ms)) {
        Ok(savepoint) => Answer::Savepoint {
            checkpoint: savepoint.checkpoint.get(),
            url: savepoint.url,
            bytes: savepoint.bytes,
        },
        Err(error) => failed(error.to_string()),
    }
}
