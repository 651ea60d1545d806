//! User requests that wait for a free place: bounded, savepoints before checkpoints, each in the
//! order of asking.

use std::collections::VecDeque;

use super::event::{RequestId, TriggerRequest};

/// A savepoint that waits.
#[derive(Debug)]
pub(crate) struct QueuedSavepoint {
    pub(crate) request: RequestId,
    pub(crate) target: String,
}

#[derive(Debug, Default)]
pub(crate) struct RequestQueue {
    savepoints: VecDeque<QueuedSavepoint>,
    manual: VecDeque<RequestId>,
}

impl RequestQueue {
    pub(crate) fn push(&mut self, request: TriggerRequest) {
        match request {
            TriggerRequest::Manual { request } => self.manual.push_back(request),
            TriggerRequest::Savepoint { request, target } => {
                self.savepoints.push_back(QueuedSavepoint { request, target });
            }
        }
    }

    /// If more than `max` wait, removes the one that has to go: the newest checkpoint request, or
    /// the newest savepoint if only those wait.
    pub(crate) fn pop_surplus(&mut self, max: u32) -> Option<RequestId> {
        if self.len() <= max as usize {
            return None;
        }
        self.manual.pop_back().or_else(|| self.savepoints.pop_back().map(|it| it.request))
    }

    pub(crate) fn pop_savepoint(&mut self) -> Option<QueuedSavepoint> {
        self.savepoints.pop_front()
    }

    pub(crate) fn pop_manual(&mut self) -> Option<RequestId> {
        self.manual.pop_front()
    }

    pub(crate) fn is_without_manual(&self) -> bool {
        self.manual.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.savepoints.len() + self.manual.len()
    }

    /// Empties the queue, in the order the requests would have been served.
    pub(crate) fn take_all(&mut self) -> Vec<RequestId> {
        let savepoints = std::mem::take(&mut self.savepoints).into_iter().map(|it| it.request);
        savepoints.chain(std::mem::take(&mut self.manual)).collect()
    }
}
