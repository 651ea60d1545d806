//! The only place of this crate that starts a thread or sleeps.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::error::{CliError, Result};

/// Starts a thread that nobody waits for.
///
/// # Errors
/// If the system has no thread left.
pub(crate) fn detach(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    start(name, body).map(drop)
}

/// Lets time pass.
pub(crate) fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}

/// Does something again and again until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Calls `tick` every `period`.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start(period: Duration, tick: impl Fn() + Send + 'static) -> Result<Self> {
        let (stop, stopped) = channel();
        let body = move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                tick();
            }
        };
        Ok(Self { stop: Some(stop), thread: Some(start("progress", body)?) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A tick that panicked has lost a progress line, nothing else.
            let _ = thread.join();
        }
    }
}

/// Starts a thread to be waited for.
///
/// # Errors
/// If the system has no thread left.
pub(crate) fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| CliError::new(format!("cannot start the thread {name}: {error}")))
}
