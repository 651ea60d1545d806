//! Standard input without blocking: a thread reads it, so that barriers do not wait for a writer
//! that has nothing to say.

use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use crate::background;
use crate::error::Result;

const CHUNK_BYTES: usize = 1 << 16;

/// Chunks read ahead.
const CHUNKS_MAX: usize = 16;

/// Reads standard input; [`ErrorKind::WouldBlock`] says that there is nothing for now.
#[derive(Debug)]
pub(super) struct PipeReader {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    taken: usize,
}

impl PipeReader {
    /// Starts the thread. It ends with the input or with the process.
    ///
    /// # Errors
    /// If there is no thread left.
    pub(super) fn start() -> Result<Self> {
        let (sender, chunks) = sync_channel(CHUNKS_MAX);
        background::detach("stdin", move || {
            let mut stdin = io::stdin().lock();
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = match stdin.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(len) => {
                        chunk.truncate(len);
                        Ok(chunk)
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = read.is_err();
                if sender.send(read).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, chunk: Vec::new(), taken: 0 })
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(buffer)?;
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.chunk.len() {
            self.taken = 0;
            self.chunk = match self.chunks.try_recv() {
                Ok(chunk) => chunk?,
                Err(TryRecvError::Empty) => {
                    self.chunk.clear();
                    return Err(ErrorKind::WouldBlock.into());
                }
                Err(TryRecvError::Disconnected) => Vec::new(),
            };
        }
        Ok(self.chunk.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, len: usize) {
        self.taken += len;
    }
}
