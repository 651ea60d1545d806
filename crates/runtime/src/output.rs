//! Where an operator's records go: exchanges to other vertices, and sinks chained behind it.
//!
//! An output port takes records by reference and signals by value. Exchange ports gather records
//! into a batch for each target and send it when full or flushed; before any signal they flush, so
//! that nothing overtakes or falls behind a barrier.

use crossbeam_channel::Sender;
use millpond_state::codec::{Codec, DefaultCodec, HasCodec};
use millpond_state::{CheckpointId, MaxParallelism, Scratch, key_hash};

use crate::channel::{Message, Signal, send};
use crate::error::{JobError, Result};
use crate::sink::{PreCommit, Sink};
use crate::task::sink_list;

/// Takes the records that an operator emits.
pub trait Collector<T> {
    /// Takes one record.
    ///
    /// # Errors
    /// [`JobErrorKind::Cancelled`](crate::JobErrorKind::Cancelled) if the job is ending; what a
    /// sink reports. Return it to the caller.
    fn emit(&mut self, record: &T) -> Result<()>;

    /// Takes many records, in order; cheaper than one by one.
    ///
    /// # Errors
    /// As [`Self::emit`]; some of the records may have been taken.
    fn emit_all(&mut self, records: &[T]) -> Result<()>;
}

impl<T> Collector<T> for Vec<T>
where
    T: Clone,
{
    fn emit(&mut self, record: &T) -> Result<()> {
        self.push(record.clone());
        Ok(())
    }

    fn emit_all(&mut self, records: &[T]) -> Result<()> {
        self.extend_from_slice(records);
        Ok(())
    }
}

/// One consumer of an operator's records.
pub(crate) trait Port<T>: Send {
    fn emit_all(&mut self, records: &[T]) -> Result<()>;
    /// Sends what is gathered.
    fn flush(&mut self) -> Result<()>;
    /// Flushes, then sends a signal to every receiver.
    fn signal(&mut self, signal: Signal) -> Result<()>;
}

/// All consumers of one subtask's records: exchanges to other vertices, and sinks by name.
pub(crate) struct Outputs<T> {
    ports: Vec<Box<dyn Port<T>>>,
    sinks: Vec<(String, Box<dyn Sink<T>>)>,
}

impl<T> Outputs<T> {
    pub(crate) fn new(
        ports: Vec<Box<dyn Port<T>>>,
        sinks: Vec<(String, Box<dyn Sink<T>>)>,
    ) -> Self {
        Self { ports, sinks }
    }

    /// No consumers at all.
    pub(crate) const fn none() -> Self {
        Self { ports: Vec::new(), sinks: Vec::new() }
    }

    /// Closes what the sinks wrote so far; returns their asynchronous parts by the name of the
    /// operator-state list that they fill.
    pub(crate) fn pre_commit(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<Vec<(String, PreCommit)>> {
        let prepare = |(name, sink): &mut (String, Box<dyn Sink<T>>)| {
            Ok((sink_list(name), sink.pre_commit(checkpoint)?))
        };
        self.sinks.iter_mut().map(prepare).collect()
    }

    /// Makes visible what the sinks pre-committed up to `checkpoint`.
    pub(crate) fn commit(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.sinks.iter_mut().try_for_each(|(_, sink)| sink.commit(checkpoint))
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.ports.iter_mut().try_for_each(|port| port.flush())
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        self.ports.iter_mut().try_for_each(|port| port.signal(signal))
    }
}

impl<T> Collector<T> for Outputs<T> {
    #[inline]
    fn emit(&mut self, record: &T) -> Result<()> {
        self.emit_all(std::slice::from_ref(record))
    }

    fn emit_all(&mut self, records: &[T]) -> Result<()> {
        for port in &mut self.ports {
            port.emit_all(records)?;
        }
        for (_, sink) in &mut self.sinks {
            for record in records {
                sink.write(record)?;
            }
        }
        Ok(())
    }
}

/// All consumers of a vertex's subtask: those of its records, and those of its side output.
pub(crate) struct VertexOutputs<T, S> {
    pub(crate) main: Outputs<T>,
    pub(crate) side: Outputs<S>,
}

impl<T, S> VertexOutputs<T, S> {
    pub(crate) fn pre_commit(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<Vec<(String, PreCommit)>> {
        let mut parts = self.main.pre_commit(checkpoint)?;
        parts.extend(self.side.pre_commit(checkpoint)?);
        Ok(parts)
    }

    pub(crate) fn commit(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.main.commit(checkpoint)?;
        self.side.commit(checkpoint)
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        self.main.signal(signal)?;
        self.side.signal(signal)
    }
}

/// A record on its way to the subtask that owns its key, with the hash of the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed<T> {
    pub(crate) hash: u64,
    pub(crate) record: T,
}

/// Gathers records for each target of an exchange.
struct Batches<T> {
    targets: Vec<(Sender<Message<T>>, Vec<T>)>,
    batch_records: usize,
}

impl<T> Batches<T> {
    fn new(senders: Vec<Sender<Message<T>>>, batch_records: usize) -> Self {
        let targets =
            senders.into_iter().map(|sender| (sender, Vec::with_capacity(batch_records))).collect();
        Self { targets, batch_records }
    }

    #[inline]
    fn push(&mut self, target: usize, record: T) -> Result<()> {
        let Some((sender, batch)) = self.targets.get_mut(target) else {
            return Err(crate::channel::disconnected());
        };
        batch.push(record);
        if batch.len() >= self.batch_records {
            let full = std::mem::replace(batch, Vec::with_capacity(self.batch_records));
            send(sender, Message::Batch(full))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for (sender, batch) in &mut self.targets {
            if !batch.is_empty() {
                let full = std::mem::replace(batch, Vec::with_capacity(self.batch_records));
                send(sender, Message::Batch(full))?;
            }
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        self.flush()?;
        self.targets.iter().try_for_each(|(sender, _)| send(sender, Message::Signal(signal)))
    }
}

/// Routes records to the subtask that owns their key group.
pub(crate) struct KeyedPort<T, U, K, P, F> {
    batches: Batches<Keyed<U>>,
    project: P,
    key: F,
    max_parallelism: MaxParallelism,
    /// The target of each key group: a look-up instead of a division for each record.
    targets: Vec<u16>,
    scratch: Scratch,
    types: std::marker::PhantomData<fn(&T) -> K>,
}

impl<T, U, K, P, F> KeyedPort<T, U, K, P, F> {
    pub(crate) fn new(
        senders: Vec<Sender<Message<Keyed<U>>>>,
        batch_records: usize,
        max_parallelism: MaxParallelism,
        (project, key): (P, F),
    ) -> Self {
        let parallelism = senders.len() as u32;
        let target = |group| max_parallelism.subtask_of(group, parallelism) as u16;
        Self {
            targets: max_parallelism.full_range().iter().map(target).collect(),
            batches: Batches::new(senders, batch_records),
            project,
            key,
            max_parallelism,
            scratch: Scratch::new(),
            types: std::marker::PhantomData,
        }
    }
}

impl<T, U, K, P, F> Port<T> for KeyedPort<T, U, K, P, F>
where
    U: Send,
    K: HasCodec,
    P: Fn(&T) -> Option<U> + Send,
    F: Fn(&U) -> K + Send,
{
    fn emit_all(&mut self, records: &[T]) -> Result<()> {
        let codec = DefaultCodec::<K>::default();
        for record in records {
            let Some(record) = (self.project)(record) else { continue };
            self.scratch.clear();
            codec.encode_into(&(self.key)(&record), &mut self.scratch).map_err(JobError::from)?;
            let hash = key_hash(self.scratch.as_slice());
            let group = self.max_parallelism.group_of_hash(hash);
            let target = self.targets.get(group.index()).copied().unwrap_or(0);
            self.batches.push(usize::from(target), Keyed { hash, record })?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.batches.flush()
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        self.batches.signal(signal)
    }
}

/// Hands whole batches to the targets in turn.
pub(crate) struct RebalancePort<T, U, P> {
    batches: Batches<U>,
    project: P,
    target: usize,
    in_batch: usize,
    types: std::marker::PhantomData<fn(&T)>,
}

impl<T, U, P> RebalancePort<T, U, P> {
    /// `first` is the target to begin with: different for each upstream subtask.
    pub(crate) fn new(
        senders: Vec<Sender<Message<U>>>,
        batch_records: usize,
        first: usize,
        project: P,
    ) -> Self {
        let target = first.checked_rem(senders.len()).unwrap_or(0);
        let batches = Batches::new(senders, batch_records);
        Self { batches, project, target, in_batch: 0, types: std::marker::PhantomData }
    }

    fn advance(&mut self) {
        self.in_batch = 0;
        self.target = (self.target + 1).checked_rem(self.batches.targets.len()).unwrap_or(0);
    }
}

impl<T, U: Send, P: Fn(&T) -> Option<U> + Send> Port<T> for RebalancePort<T, U, P> {
    fn emit_all(&mut self, records: &[T]) -> Result<()> {
        for record in records {
            let Some(record) = (self.project)(record) else { continue };
            self.batches.push(self.target, record)?;
            self.in_batch += 1;
            if self.in_batch == self.batches.batch_records {
                self.advance();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.batches.flush()?;
        if self.in_batch > 0 {
            self.advance();
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        self.flush()?;
        self.batches.signal(signal)
    }
}

/// Sends every record to all targets.
pub(crate) struct BroadcastPort<T, U, P> {
    batches: Batches<U>,
    project: P,
    types: std::marker::PhantomData<fn(&T)>,
}

impl<T, U, P> BroadcastPort<T, U, P> {
    pub(crate) fn new(senders: Vec<Sender<Message<U>>>, batch_records: usize, project: P) -> Self {
        let batches = Batches::new(senders, batch_records);
        Self { batches, project, types: std::marker::PhantomData }
    }
}

impl<T, U: Clone + Send, P: Fn(&T) -> Option<U> + Send> Port<T> for BroadcastPort<T, U, P> {
    fn emit_all(&mut self, records: &[T]) -> Result<()> {
        for record in records {
            let Some(record) = (self.project)(record) else { continue };
            for target in 0..self.batches.targets.len() {
                self.batches.push(target, record.clone())?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.batches.flush()
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        self.batches.signal(signal)
    }
}
