//! An unbounded channel with the calls of crossbeam's that the modules under test make.

use std::collections::VecDeque;

use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};

struct Queue<T> {
    waiting: VecDeque<T>,
    senders: usize,
    receivers: usize,
}

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap()
    }
}

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let queue = Queue { waiting: VecDeque::new(), senders: 1, receivers: 1 };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

pub(crate) struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Gives `value` back if nobody is there to take it.
    pub(crate) fn send(&self, value: T) -> Result<(), T> {
        let mut queue = self.0.lock();
        if queue.receivers == 0 {
            return Err(value);
        }
        queue.waiting.push_back(value);
        drop(queue);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.changed.notify_all();
    }
}

pub(crate) struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// What is sent, until nobody can send any more.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| {
            let mut queue = self.0.lock();
            loop {
                if let Some(value) = queue.waiting.pop_front() {
                    return Some(value);
                }
                if queue.senders == 0 {
                    return None;
                }
                queue = self.0.changed.wait(queue).unwrap();
            }
        })
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.lock().receivers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.lock().receivers -= 1;
    }
}
