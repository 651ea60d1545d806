//! One execution attempt: the real coordinator and registry, the subtasks, and what carries their
//! actions out. It does what the runtime's own loop does, without threads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use millpond_checkpoint::driver::{
    AttemptLog, CheckpointStorage, JobDescription, PublishError, SharedFiles, SubtaskSnapshot,
    WriteKeyedState, describe,
};
use millpond_checkpoint::{
    Action, CheckpointToStore, Coordinator, DeclineReason, ErrorKind, Event as Told, Moment,
    Shutdown, StoreEffect, SubtaskMetrics, SubtaskState,
};
use millpond_state::{CancelFlag, CheckpointId, KeyContext, MaxParallelism, SubtaskId};

use crate::breakage::Breakage;
use crate::fault::Fault;
use crate::message::{Control, Element, Frozen, KeyedTask, Report};
use crate::subtask::{Context, Effect, Role, Subtask};
use crate::world::{Event, World};

/// A subtask of an attempt, and who its elements go to.
pub(crate) struct Member {
    pub(crate) id: SubtaskId,
    pub(crate) alive: Cell<bool>,
    pub(crate) subtask: RefCell<Subtask>,
    /// The subtasks of the next vertex.
    pub(crate) next: std::ops::Range<usize>,
    /// Which of their channels comes from this one.
    pub(crate) channel: usize,
}

pub(crate) struct Attempt {
    pub(crate) process: usize,
    pub(crate) storage: CheckpointStorage,
    pub(crate) log: AttemptLog,
    pub(crate) shared: SharedFiles,
    pub(crate) job: JobDescription,
    pub(crate) max_parallelism: MaxParallelism,
    pub(crate) members: Vec<Member>,
    pub(crate) coordinator: RefCell<Coordinator<SubtaskSnapshot>>,
    pub(crate) coordinator_alive: Cell<bool>,
    pub(crate) cancels: RefCell<BTreeMap<CheckpointId, CancelFlag>>,
    pub(crate) publishing: Cell<bool>,
    pub(crate) deleting: Cell<bool>,
    /// When the coordinator is woken next, in microseconds.
    pub(crate) wake_us: Cell<u64>,
    pub(crate) last_completed: Cell<Option<CheckpointId>>,
}

impl Attempt {
    /// Whether it can process anything.
    pub(crate) fn is_able(&self) -> bool {
        self.coordinator_alive.get() && self.members.iter().all(|member| member.alive.get())
    }

    pub(crate) fn crash_coordinator(&self) {
        self.coordinator_alive.set(false);
    }

    pub(crate) fn crash_subtask(&self, world: &World, choice: u64) {
        let picked = usize::try_from(choice).unwrap_or(0).checked_rem(self.members.len());
        if let Some(member) = picked.and_then(|picked| self.members.get(picked)) {
            world.say(format_args!("{} of p{} crashes", member.id, self.process));
            member.alive.set(false);
        }
    }

    /// Lets an event of this attempt happen; hands it back if who it is for is in the middle of
    /// something.
    pub(crate) fn dispatch(&self, world: &Rc<World>, event: Event) -> Option<Event> {
        match event {
            Event::Wake(_) | Event::Report(..) if !self.coordinator_alive.get() => {}
            Event::Wake(_) => {
                if self.coordinator.try_borrow_mut().is_err() {
                    return Some(event);
                }
                self.wake_us.set(u64::MAX);
                world.note(1, [self.process as u64, 0, 0]);
                self.tell(world, Told::Tick);
                self.repeat_final(world);
            }
            Event::Report(_, report) => self.on_report(world, *report),
            Event::Control(_, subtask, control) => {
                world.note(3, [self.process as u64, subtask as u64, control_code(control)]);
                self.step(world, subtask, |it, context, _| it.on_control(control, context));
            }
            Event::Work(_, subtask) => {
                if let Some(member) = self.members.get(subtask) {
                    member.subtask.borrow_mut().is_scheduled = false;
                }
                let choice = world.delay_us(0, u64::MAX - 1);
                world.note(4, [self.process as u64, subtask as u64, choice]);
                self.step(world, subtask, |it, context, choice| it.work(context, choice));
            }
            Event::Asynchronous(_, subtask, frozen) => self.snapshot(world, subtask, *frozen),
            Event::Publish(..) if self.publishing.get() => return Some(event),
            Event::Publish(_, checkpoint) => {
                self.publishing.set(true);
                self.publish(world, checkpoint);
                self.publishing.set(false);
            }
            Event::Discard(_, id, payloads) => self.discard(world, id, &payloads),
            Event::Delete(_) if self.deleting.get() => return Some(event),
            Event::Delete(_) => {
                self.deleting.set(true);
                let done = self.storage.execute_deletions(&self.shared);
                self.deleting.set(false);
                if done.is_err() && world.is_alive(self.process) {
                    world.schedule(world.delay_us(1_000, 20_000), Event::Delete(self.process));
                }
            }
            Event::Start | Event::Detect(_) | Event::Land(_) => {}
        }
        None
    }

    // The coordinator.

    fn moment(world: &World) -> Moment {
        let now = std::time::Duration::from_micros(world.now_us());
        Moment { now, wall_ms: world.now_us() / 1_000 }
    }

    pub(crate) fn tell(&self, world: &Rc<World>, event: Told<SubtaskSnapshot>) {
        let mut actions = Vec::new();
        let (wake, is_final) = {
            let mut coordinator = self.coordinator.borrow_mut();
            coordinator.handle(Self::moment(world), event, &mut actions);
            (coordinator.next_wake(), coordinator.final_checkpoint_completed())
        };
        for action in actions {
            if !world.is_alive(self.process) {
                return;
            }
            self.execute(world, action);
        }
        if self.shared.collect_deletions() && !self.deleting.get() {
            world.schedule(world.delay_us(50, 5_000), Event::Delete(self.process));
        }
        let mut wake_us = wake.map_or(u64::MAX, |at| u64::try_from(at.as_micros()).unwrap_or(0));
        if is_final {
            wake_us = wake_us.min(world.now_us() + 20_000);
        }
        if wake_us < self.wake_us.get() {
            self.wake_us.set(wake_us);
            let delay = wake_us.saturating_sub(world.now_us());
            world.schedule(delay, Event::Wake(self.process));
        }
    }

    fn on_report(&self, world: &Rc<World>, report: Report) {
        let process = self.process as u64;
        match report {
            Report::Acknowledged { checkpoint, subtask, payload } => {
                world.note(5, [process, checkpoint.get(), subtask as u64]);
                self.acknowledge(world, checkpoint, subtask, *payload);
            }
            Report::Declined { checkpoint, subtask, reason } => {
                world.note(6, [process, checkpoint.get(), subtask as u64]);
                if let Some(subtask) = self.subtask_id(subtask) {
                    world.say(format_args!("p{process}: {subtask} declines {checkpoint}"));
                    self.tell(world, Told::Declined { checkpoint, subtask, reason });
                }
            }
            Report::AtEnd { subtask } => {
                world.note(7, [process, subtask as u64, 0]);
                if let Some(subtask) = self.subtask_id(subtask) {
                    world.say(format_args!("p{process}: {subtask} is at its end"));
                    let state = SubtaskState::AtEnd;
                    self.tell(world, Told::SubtaskStateChanged { subtask, state });
                }
            }
            Report::Stored(checkpoint) => {
                world.note(8, [process, checkpoint.get(), 0]);
                if let Err(error) = self.shared.with(|files| files.complete(checkpoint)) {
                    world.violate(error);
                }
                if world.is_broken(Breakage::ReferenceDroppedEarly) {
                    self.shared.with(|files| files.discard(checkpoint));
                }
                self.tell(world, Told::Stored { checkpoint });
            }
            Report::StoreFailed(checkpoint, effect, reason) => {
                let id = checkpoint.head.id;
                world.note(9, [process, id.get(), effect as u64]);
                world.say(format_args!("p{process}: {id} is not stored ({effect:?}): {reason}"));
                self.shared.with(|files| files.store_failed(id, effect));
                if world.is_broken(Breakage::DoubtDeleted) && effect == StoreEffect::MayHaveHappened
                {
                    self.shared.with(|files| files.discard(id));
                }
                self.tell(world, Told::StoreFailed { checkpoint, effect, reason });
            }
            Report::Fenced => {
                world.note(10, [process, 0, 0]);
                world.counts.borrow_mut().fenced += 1;
                self.fail(world, "it was superseded");
            }
        }
    }

    fn acknowledge(
        &self,
        world: &Rc<World>,
        mut checkpoint: CheckpointId,
        subtask: usize,
        payload: SubtaskSnapshot,
    ) {
        let Some(id) = self.subtask_id(subtask) else { return };
        world.say(format_args!("p{}: {id} acknowledges {checkpoint}", self.process));
        if world.is_broken(Breakage::LateAckCounts) {
            let in_flight: Vec<_> = self.coordinator.borrow().in_flight().collect();
            if let Some(next) = in_flight.first().filter(|next| **next > checkpoint) {
                checkpoint = *next;
            }
        }
        let metrics = SubtaskMetrics::default();
        if world.is_broken(Breakage::AckCountsTwice) {
            let other = subtask.wrapping_add(1).checked_rem(self.members.len()).unwrap_or(0);
            if let Some(subtask) = self.subtask_id(other) {
                let payload = payload.clone();
                self.tell(world, Told::Acknowledged { checkpoint, subtask, payload, metrics });
            }
        }
        self.tell(world, Told::Acknowledged { checkpoint, subtask: id, payload, metrics });
    }

    fn execute(&self, world: &Rc<World>, action: Action<SubtaskSnapshot>) {
        let process = self.process;
        match action {
            Action::SendBarriers { checkpoint, to, options, .. } => {
                world.note(11, [process as u64, checkpoint.get(), 0]);
                world.say(format_args!("p{process}: checkpoint {checkpoint} begins"));
                if let Err(error) = self.shared.with(|files| files.begin(checkpoint, options.kind))
                {
                    return self.fail(world, &error.to_string());
                }
                for (index, member) in self.members.iter().enumerate() {
                    if to.contains(&member.id) {
                        self.send(world, index, Control::Trigger(checkpoint, options.kind));
                    }
                }
            }
            Action::StoreMetadata(checkpoint) => {
                world.schedule(world.delay_us(50, 4_000), Event::Publish(process, checkpoint));
            }
            Action::NotifyComplete { completed, commit } => {
                let checkpoint = completed.id;
                world.note(12, [process as u64, checkpoint.get(), 0]);
                world.say(format_args!("p{process}: checkpoint {checkpoint} is complete"));
                world.counts.borrow_mut().completed += 1;
                let whole = crate::check::completed(world, self, checkpoint);
                world.check(whole);
                self.last_completed.set(Some(checkpoint));
                self.broadcast(world, Control::Completed { checkpoint, commit });
            }
            Action::NotifyAborted { checkpoint, reason, .. } => {
                world.note(13, [process as u64, checkpoint.get(), 0]);
                world.say(format_args!("p{process}: checkpoint {checkpoint} is aborted: {reason}"));
                world.counts.borrow_mut().aborted += 1;
                self.cancel_flag(checkpoint).cancel();
                self.shared.with(|files| files.abort(checkpoint));
                self.broadcast(world, Control::Aborted(checkpoint));
            }
            Action::DiscardPayloads { checkpoint, payloads } => {
                let event = Event::Discard(process, checkpoint, payloads);
                world.schedule(world.delay_us(50, 5_000), event);
            }
            Action::DiscardCompleted { checkpoint, reason } => {
                world.note(14, [process as u64, checkpoint.get(), 0]);
                world.say(format_args!("p{process}: {checkpoint} is discarded ({reason:?})"));
                self.log.forget(checkpoint);
                self.shared.with(|files| files.discard(checkpoint));
            }
            Action::FailJob(_) => self.fail(world, "too many checkpoints failed"),
            _ => {}
        }
    }

    /// The process ends, as the runtime's does after a failure, and is started again.
    fn fail(&self, world: &Rc<World>, why: &str) {
        world.note(15, [self.process as u64, 0, 0]);
        world.say(format_args!("p{} ends: {why}", self.process));
        if let Ok(mut coordinator) = self.coordinator.try_borrow_mut() {
            let event = Told::Shutdown(Shutdown::Suspended);
            coordinator.handle(Self::moment(world), event, &mut Vec::new());
        }
        world.end_process(self.process);
        world.ensure_progress();
    }

    /// The final checkpoint is complete: its news must reach every sink.
    fn repeat_final(&self, world: &Rc<World>) {
        if !self.coordinator.borrow().final_checkpoint_completed() {
            return;
        }
        let Some(checkpoint) = self.last_completed.get() else { return };
        self.broadcast(world, Control::Completed { checkpoint, commit: true });
        let is_done = |member: &Member| match &member.subtask.borrow().role {
            Role::Sink(sink) => sink.closed.is_empty(),
            _ => true,
        };
        if self.members.iter().all(is_done) {
            crate::check::ended(world);
        }
    }

    fn subtask_id(&self, subtask: usize) -> Option<SubtaskId> {
        self.members.get(subtask).map(|member| member.id.clone())
    }

    fn cancel_flag(&self, checkpoint: CheckpointId) -> CancelFlag {
        self.cancels.borrow_mut().entry(checkpoint).or_default().clone()
    }

    // Messages.

    fn broadcast(&self, world: &World, control: Control) {
        for index in 0..self.members.len() {
            self.send(world, index, control);
        }
    }

    fn send(&self, world: &World, subtask: usize, control: Control) {
        if world.strikes(Fault::MessageLost) {
            return world.say(format_args!("p{}: lost: {control:?} to {subtask}", self.process));
        }
        let copies = if world.strikes(Fault::MessageDuplicated) { 2 } else { 1 };
        for _ in 0..copies {
            world.schedule(message_delay(world), Event::Control(self.process, subtask, control));
        }
    }

    fn report(&self, world: &World, report: Report) {
        // What storage answers stays in the process.
        let is_message = report.duplicate().is_some();
        if is_message && world.strikes(Fault::MessageLost) {
            // The end of input is said until it is heard.
            if let Report::AtEnd { .. } = report {
                let event = Event::Report(self.process, Box::new(report));
                return world.schedule(50_000, event);
            }
            return world.say(format_args!("p{}: a report is lost", self.process));
        }
        if is_message
            && world.strikes(Fault::MessageDuplicated)
            && let Some(copy) = report.duplicate()
        {
            world.schedule(message_delay(world), Event::Report(self.process, Box::new(copy)));
        }
        world.schedule(message_delay(world), Event::Report(self.process, Box::new(report)));
    }

    // Subtasks.

    fn step(
        &self,
        world: &Rc<World>,
        index: usize,
        act: impl FnOnce(&mut Subtask, &mut Context<'_>, u64) -> millpond_state::Result<()>,
    ) {
        let Some(member) = self.members.get(index).filter(|member| member.alive.get()) else {
            return;
        };
        let (plan, breakage) = (&world.plan, world.breakage);
        let mut context = Context { plan, breakage, index, out: Vec::new() };
        let choice = world.delay_us(0, u64::MAX - 1);
        let outcome = act(&mut member.subtask.borrow_mut(), &mut context, choice);
        if let Err(error) = outcome {
            return world.violate(error);
        }
        for effect in context.out {
            self.effect(world, member, index, effect);
        }
        self.schedule_work(world, index);
    }

    pub(crate) fn schedule_work(&self, world: &World, index: usize) {
        let Some(member) = self.members.get(index).filter(|member| member.alive.get()) else {
            return;
        };
        let mut subtask = member.subtask.borrow_mut();
        if subtask.has_work() && !subtask.is_scheduled {
            subtask.is_scheduled = true;
            // Sources set the pace.
            let most = if matches!(subtask.role, Role::Source(_)) { 12_000 } else { 1_500 };
            world.schedule(world.delay_us(20, most), Event::Work(self.process, index));
        }
    }

    fn effect(&self, world: &Rc<World>, member: &Member, index: usize, effect: Effect) {
        match effect {
            Effect::Send(element) => self.deliver(world, member, element),
            Effect::Report(report) => self.report(world, report),
            Effect::Freeze(frozen) => {
                let event = Event::Asynchronous(self.process, index, frozen);
                world.schedule(world.delay_us(20, 8_000), event);
            }
            Effect::Commit(id) => {
                world.note(16, [id.0, u64::from(id.1), u64::from(id.2)]);
                world.say(format_args!("p{}: {} commits {id:?}", self.process, member.id));
                let committed = world.output.borrow_mut().commit(id);
                world.check(committed);
                if world.output.borrow().len() == world.expected_records() {
                    world.finish();
                }
            }
        }
    }

    fn deliver(&self, world: &World, member: &Member, element: Element) {
        let to = match element {
            Element::Row(row) => {
                let Ok(key) = KeyContext::new(&row.key, self.max_parallelism) else { return };
                let group = key.group();
                let width = u32::try_from(member.next.len()).unwrap_or(1);
                let owner = match width {
                    0 => return,
                    width => self.max_parallelism.subtask_of(group, width),
                };
                let owner = member.next.start + owner as usize;
                owner..owner + 1
            }
            _ => member.next.clone(),
        };
        for index in to {
            if let Some(next) = self.members.get(index) {
                if let Some(input) = next.subtask.borrow_mut().inputs.get_mut(member.channel) {
                    input.push_back(element);
                }
                self.schedule_work(world, index);
            }
        }
    }

    // Storage.

    /// The asynchronous part of a snapshot.
    fn snapshot(&self, world: &Rc<World>, index: usize, frozen: Frozen) {
        let Some(member) = self.members.get(index).filter(|member| member.alive.get()) else {
            return;
        };
        let checkpoint = frozen.checkpoint;
        world.note(17, [self.process as u64, index as u64, checkpoint.get()]);
        let cancel = self.cancel_flag(checkpoint);
        for (id, rows) in frozen.transactions {
            world.output.borrow_mut().prepare(id, rows);
            if world.is_broken(Breakage::CommitsEarly) {
                let committed = world.output.borrow_mut().commit(id);
                world.check(committed);
            }
        }
        let write = WriteKeyedState {
            checkpoint,
            attempt: self.log.id(),
            subtask: &member.id,
            key_groups: frozen.keyed.as_ref().map_or(self.max_parallelism.full_range(), |it| it.1),
            compression_level: 0,
        };
        let keyed = frozen.keyed.map(|(task, _)| match task {
            KeyedTask::Canonical(task) => self.storage.write_keyed_state(&write, task, &cancel),
            KeyedTask::Files(task) => {
                self.storage.write_files((&write, "memory"), task, &self.shared, &cancel)
            }
        });
        if !world.is_alive(self.process) || !member.alive.get() {
            return;
        }
        let subtask = index;
        self.report(
            world,
            match keyed.transpose() {
                Ok(keyed) => {
                    let operator_state = frozen.operator_state;
                    let (at_end, sync_us) = (frozen.at_end, 0);
                    let payload = SubtaskSnapshot { keyed, operator_state, at_end, sync_us };
                    Report::Acknowledged { checkpoint, subtask, payload: Box::new(payload) }
                }
                Err(_) if cancel.is_cancelled() => {
                    Report::Declined { checkpoint, subtask, reason: DeclineReason::Cancelled }
                }
                Err(error) => {
                    let reason = DeclineReason::Failed(error.to_string());
                    Report::Declined { checkpoint, subtask, reason }
                }
            },
        );
    }

    fn publish(&self, world: &Rc<World>, checkpoint: Box<CheckpointToStore<SubtaskSnapshot>>) {
        let id = checkpoint.head.id;
        world.note(18, [self.process as u64, id.get(), 0]);
        let published = describe(&self.job, &checkpoint, world.now_us() / 1_000)
            .and_then(|metadata| {
                self.shared.with(|files| files.store(&metadata))?;
                Ok(metadata)
            })
            .map_err(|error| PublishError { effect: StoreEffect::DidNotHappen, error })
            .and_then(|metadata| self.log.publish(&metadata));
        if !world.is_alive(self.process) || !self.coordinator_alive.get() {
            return;
        }
        let fenced = published.as_ref().is_err_and(|it| it.error.kind() == ErrorKind::Fenced);
        if fenced && world.is_broken(Breakage::ZombieCompletes) {
            return self.report(world, Report::Stored(id));
        }
        self.report(
            world,
            match published {
                Ok(()) => Report::Stored(id),
                Err(failed) => {
                    Report::StoreFailed(checkpoint, failed.effect, failed.error.to_string())
                }
            },
        );
        if fenced {
            self.report(world, Report::Fenced);
        }
    }

    fn discard(&self, world: &Rc<World>, id: CheckpointId, payloads: &[SubtaskSnapshot]) {
        world.note(19, [self.process as u64, id.get(), 0]);
        // What stays is found by garbage collection.
        let _ = self.storage.discard_snapshots(id, payloads);
        if world.is_broken(Breakage::AbortDeletesShared) {
            crate::check::delete_all(world, payloads);
        }
    }
}

fn message_delay(world: &World) -> u64 {
    if world.strikes(Fault::MessageDelayed) {
        return world.delay_us(5_000, 120_000);
    }
    world.delay_us(20, 2_000)
}

fn control_code(control: Control) -> u64 {
    match control {
        Control::Trigger(id, _) => id.get() << 2,
        Control::Completed { checkpoint, .. } => checkpoint.get() << 2 | 1,
        Control::Aborted(id) => id.get() << 2 | 2,
    }
}
