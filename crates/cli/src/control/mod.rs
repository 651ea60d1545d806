//! Steering a job from another process of the same machine, over a socket in its checkpoint
//! storage: one request and one answer a connection, each a line of JSON.
//!
//! The socket is there while the job runs, and for whoever may write to the folder. A job that was
//! killed leaves it behind; then nobody listens, and the next job takes its place.

mod client;
mod server;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use client::savepoint;
pub(crate) use server::ControlServer;

/// Name of the socket. No store shows or deletes it.
const SOCKET: &str = ".millpond.control";

/// The version of requests and answers.
const VERSION: u32 = 1;

/// Longest request or answer, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Longest path that every system lets a socket have, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// What a job is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    version: u32,
    command: Command,
    /// How long whoever asks waits, in milliseconds.
    timeout_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Command {
    Savepoint {
        /// Whether the job is to end with it.
        stop: bool,
    },
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Savepoint { checkpoint: u64, url: String, bytes: u64 },
    Failed { error: String },
}

/// A path of the socket in `folder` that is short enough, and what must stay open for it.
fn socket_path(folder: &Path) -> std::io::Result<(PathBuf, Option<File>)> {
    let path = folder.join(SOCKET);
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok((path, None));
    }
    let open = File::open(folder)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd())), Some(open)))
}
