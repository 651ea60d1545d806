//! One subtask: a source, a counter over a real backend, or a sink. Barriers are handled by the
//! runtime's own state machines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use millpond_checkpoint::{CheckpointKind, DeclineReason};
use millpond_memory::MemoryBackend;
use millpond_runtime::barrier::{Aligner, BarrierAction, BarrierEvent, BarrierHandler, Tracker};
use millpond_state::{
    CheckpointId, KeyContext, KeyedBackend, OperatorStatePart, Redistribution, SnapshotRequest,
    ValueState,
};

use crate::breakage::Breakage;
use crate::message::{Control, Element, Frozen, KeyedTask, Report};
use crate::output::{Row, TransactionId};
use crate::plan::Plan;

/// Names of the operator states.
pub(crate) const POSITIONS: &str = "positions";
pub(crate) const TRANSACTIONS: &str = "transactions";

/// Most elements that a subtask handles at a time.
const ELEMENTS_AT_ONCE: u32 = 6;

/// A choice with which a source reads as many records as it can at a time.
const READS_MOST: u64 = 3 << 8;

/// What a subtask does with its input.
pub(crate) enum Role {
    /// Partitions and how far they have been read.
    Source(Vec<(u32, u32)>),
    Counter(Box<MemoryBackend>, ValueState<u64, u64>),
    Sink(Sink),
}

#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) rows: Vec<Row>,
    pub(crate) attempt: u64,
    pub(crate) index: u32,
    pub(crate) transactions: u32,
    /// Closed for a checkpoint and not committed.
    pub(crate) closed: BTreeMap<TransactionId, (CheckpointId, Rc<[Row]>)>,
}

pub(crate) struct Subtask {
    pub(crate) role: Role,
    /// Elements that have not been handled, by channel.
    pub(crate) inputs: Vec<VecDeque<Element>>,
    barriers: BarrierHandler,
    kinds: BTreeMap<CheckpointId, CheckpointKind>,
    ended: BTreeSet<usize>,
    pub(crate) at_end: bool,
    end_reported: bool,
    /// The newest checkpoint that a source was triggered for.
    triggered: Option<CheckpointId>,
    pub(crate) is_scheduled: bool,
}

/// What a subtask does to its surroundings.
pub(crate) enum Effect {
    /// To the next subtask that owns the key, or to all.
    Send(Element),
    Report(Report),
    Freeze(Box<Frozen>),
    Commit(TransactionId),
}

/// What a step needs to know.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) breakage: Option<Breakage>,
    pub(crate) index: usize,
    pub(crate) out: Vec<Effect>,
}

impl Context<'_> {
    fn is_broken(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }
}

type Step = millpond_state::Result<()>;

impl Subtask {
    pub(crate) fn new(role: Role, channels: usize, breakage: Option<Breakage>) -> Self {
        let barriers = if breakage == Some(Breakage::NotAligned) {
            BarrierHandler::Track(Tracker::new(channels))
        } else {
            BarrierHandler::Align(Aligner::new(channels))
        };
        Self {
            role,
            inputs: vec![VecDeque::new(); channels],
            barriers,
            kinds: BTreeMap::new(),
            ended: BTreeSet::new(),
            at_end: false,
            end_reported: false,
            triggered: None,
            is_scheduled: false,
        }
    }

    /// Whether there is something to do without another message.
    pub(crate) fn has_work(&self) -> bool {
        match &self.role {
            Role::Source(_) => !self.end_reported,
            _ => self
                .inputs
                .iter()
                .enumerate()
                .any(|(channel, input)| !input.is_empty() && !self.barriers.is_blocked(channel)),
        }
    }

    /// Reads some input.
    pub(crate) fn work(&mut self, context: &mut Context<'_>, choice: u64) -> Step {
        if let Role::Source(positions) = &mut self.role {
            let (at_end, rows) = read(positions, context.plan, choice);
            self.at_end = at_end;
            context.out.extend(rows.into_iter().map(|row| Effect::Send(Element::Row(row))));
            if self.at_end && !self.end_reported {
                self.end_reported = true;
                context.out.push(Effect::Send(Element::EndOfInput));
                context.out.push(Effect::Report(Report::AtEnd { subtask: context.index }));
            }
            return Ok(());
        }
        let channels = self.inputs.len();
        let first = usize::try_from(choice).unwrap_or(0);
        for turn in 0..channels {
            let channel = first.wrapping_add(turn).checked_rem(channels).unwrap_or(0);
            for _ in 0..ELEMENTS_AT_ONCE {
                if self.barriers.is_blocked(channel) {
                    break;
                }
                let next = self.inputs.get_mut(channel).and_then(VecDeque::pop_front);
                let Some(element) = next else { break };
                self.on_element(channel, element, context)?;
            }
        }
        Ok(())
    }

    fn on_element(&mut self, channel: usize, element: Element, context: &mut Context<'_>) -> Step {
        match element {
            Element::Row(row) => match &mut self.role {
                Role::Source(_) => Ok(()),
                Role::Counter(backend, counts) => {
                    let key = KeyContext::new(&row.key, backend.max_parallelism())?;
                    let mut count = 0;
                    counts.update(backend.as_mut(), key.at(), |old| {
                        count = old.unwrap_or(0) + 1;
                        Some(count)
                    })?;
                    context.out.push(Effect::Send(Element::Row(Row { count, ..row })));
                    Ok(())
                }
                Role::Sink(sink) => {
                    sink.rows.push(row);
                    Ok(())
                }
            },
            Element::Barrier(checkpoint, kind) => {
                self.kinds.insert(checkpoint, kind);
                self.on_barrier(channel, BarrierEvent::Barrier(checkpoint), context)
            }
            Element::Cancelled(checkpoint) => {
                self.on_barrier(channel, BarrierEvent::Cancelled(checkpoint), context)
            }
            Element::EndOfInput => {
                self.ended.insert(channel);
                if self.ended.len() == self.inputs.len() {
                    self.at_end = true;
                    context.out.push(Effect::Send(Element::EndOfInput));
                }
                Ok(())
            }
        }
    }

    fn on_barrier(
        &mut self,
        channel: usize,
        event: BarrierEvent,
        context: &mut Context<'_>,
    ) -> Step {
        let mut actions = Vec::new();
        self.barriers.on_event(channel, event, &mut actions);
        for action in actions {
            match action {
                BarrierAction::Abandon(checkpoint) => {
                    self.kinds.remove(&checkpoint);
                    let (subtask, reason) = (context.index, DeclineReason::Cancelled);
                    let report = Report::Declined { checkpoint, subtask, reason };
                    context.out.push(Effect::Report(report));
                    context.out.push(Effect::Send(Element::Cancelled(checkpoint)));
                }
                BarrierAction::Snapshot(checkpoint) => {
                    let kind = self.kinds.remove(&checkpoint);
                    self.kinds = self.kinds.split_off(&checkpoint);
                    let kind = kind.unwrap_or(CheckpointKind::Periodic);
                    self.snapshot(checkpoint, kind, context)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn on_control(&mut self, control: Control, context: &mut Context<'_>) -> Step {
        match control {
            Control::Trigger(checkpoint, kind) => {
                // A trigger may come twice, or after a later one.
                let is_new = self.triggered.is_none_or(|newest| newest < checkpoint);
                if is_new && matches!(self.role, Role::Source(_)) {
                    self.triggered = Some(checkpoint);
                    if context.is_broken(Breakage::PositionsLate) {
                        context.out.push(Effect::Send(Element::Barrier(checkpoint, kind)));
                        self.work(context, READS_MOST)?;
                    }
                    return self.snapshot(checkpoint, kind, context);
                }
                Ok(())
            }
            Control::Completed { checkpoint, commit } => {
                if let Role::Counter(backend, _) = &mut self.role {
                    backend.checkpoint_completed(checkpoint);
                }
                if let (Role::Sink(sink), true) = (&mut self.role, commit) {
                    let closed = std::mem::take(&mut sink.closed).into_iter();
                    let (due, open): (BTreeMap<_, _>, BTreeMap<_, _>) =
                        closed.partition(|(_, closed)| closed.0 <= checkpoint);
                    sink.closed = open;
                    context.out.extend(due.into_keys().map(Effect::Commit));
                }
                Ok(())
            }
            Control::Aborted(checkpoint) => self.on_aborted(checkpoint, context),
        }
    }

    fn on_aborted(&mut self, checkpoint: CheckpointId, context: &mut Context<'_>) -> Step {
        match &mut self.role {
            Role::Source(_) => {}
            Role::Counter(backend, _) => backend.checkpoint_aborted(checkpoint),
            Role::Sink(sink) => {
                if context.is_broken(Breakage::AbortDropsPrepared) {
                    sink.closed.retain(|_, closed| closed.0 != checkpoint);
                }
            }
        }
        if self.barriers.under_way() == Some(checkpoint) {
            return self.on_barrier(0, BarrierEvent::Cancelled(checkpoint), context);
        }
        Ok(())
    }

    /// The synchronous part.
    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        kind: CheckpointKind,
        context: &mut Context<'_>,
    ) -> Step {
        if !(context.is_broken(Breakage::PositionsLate) && matches!(self.role, Role::Source(_))) {
            context.out.push(Effect::Send(Element::Barrier(checkpoint, kind)));
        }
        let mut frozen = Frozen {
            checkpoint,
            keyed: None,
            operator_state: Vec::new(),
            transactions: Vec::new(),
            at_end: self.at_end,
        };
        match &mut self.role {
            Role::Source(positions) => {
                let items = positions.iter().map(encode_position).collect();
                frozen.operator_state.push(list(POSITIONS, items));
            }
            Role::Counter(backend, _) => {
                let groups = backend.key_groups();
                let files = if context.plan.incremental {
                    backend.snapshot_files(&SnapshotRequest::incremental(checkpoint))?
                } else {
                    None
                };
                let task = match files {
                    Some(task) => KeyedTask::Files(task),
                    None => {
                        KeyedTask::Canonical(backend.snapshot(&SnapshotRequest::full(checkpoint))?)
                    }
                };
                frozen.keyed = Some((task, groups));
            }
            Role::Sink(sink) => {
                if !sink.rows.is_empty() {
                    let id = (sink.attempt, sink.index, sink.transactions);
                    sink.transactions += 1;
                    let rows = std::mem::take(&mut sink.rows).into();
                    sink.closed.insert(id, (checkpoint, rows));
                }
                // Those of earlier checkpoints, too: their asynchronous parts may still be to come.
                let own = context.is_broken(Breakage::PreparesOwnOnly);
                let named = sink.closed.iter().filter(|(_, it)| !own || it.0 == checkpoint);
                frozen.transactions = named.map(|(id, it)| (*id, Rc::clone(&it.1))).collect();
                let items = sink.closed.keys().map(encode_transaction).collect();
                frozen.operator_state.push(list(TRANSACTIONS, items));
            }
        }
        context.out.push(Effect::Freeze(Box::new(frozen)));
        Ok(())
    }
}

/// Reads some records; whether there are no more.
fn read(positions: &mut [(u32, u32)], plan: &Plan, choice: u64) -> (bool, Vec<Row>) {
    let mut rows = Vec::new();
    let count = positions.len();
    let picked = usize::try_from(choice).unwrap_or(0).checked_rem(count).unwrap_or(0);
    if let Some((partition, offset)) = positions.get_mut(picked) {
        for _ in 0..(choice >> 8) % 4 {
            if *offset < plan.records {
                rows.push(Row {
                    partition: *partition,
                    offset: *offset,
                    key: key(plan, *partition, *offset),
                    count: 0,
                });
                *offset += 1;
            }
        }
    }
    (positions.iter().all(|(_, offset)| *offset >= plan.records), rows)
}

/// The key of a record.
fn key(plan: &Plan, partition: u32, offset: u32) -> u64 {
    let mixed =
        (u64::from(partition) << 32 | u64::from(offset)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40).checked_rem(plan.keys).unwrap_or(0)
}

fn list(name: &str, items: Vec<Vec<u8>>) -> OperatorStatePart {
    OperatorStatePart::opaque(name, Redistribution::Split, items)
}

fn encode_position((partition, offset): &(u32, u32)) -> Vec<u8> {
    [partition.to_le_bytes(), offset.to_le_bytes()].concat()
}

pub(crate) fn decode_position(item: &[u8]) -> Option<(u32, u32)> {
    let (partition, offset) = item.split_at_checked(4)?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes);
    Some((number(partition)?, number(offset)?))
}

fn encode_transaction((attempt, sink, number): &TransactionId) -> Vec<u8> {
    let mut item = attempt.to_le_bytes().to_vec();
    item.extend(sink.to_le_bytes());
    item.extend(number.to_le_bytes());
    item
}

pub(crate) fn decode_transaction(item: &[u8]) -> Option<TransactionId> {
    let (attempt, rest) = item.split_at_checked(8)?;
    let (sink, number) = decode_position(rest)?;
    Some((u64::from_le_bytes(attempt.try_into().ok()?), sink, number))
}
