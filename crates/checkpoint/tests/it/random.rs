//! Random schedules against the invariants of the machine.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millpond_checkpoint::{
    Action, CheckpointToStore, Coordinator, CoordinatorSettings, CoordinatorStart, DeclineReason,
    Event, Exchange, Moment, RequestId, Shutdown, StoreEffect, SubtaskMetrics, SubtaskPart,
    SubtaskState, Topology, TriggerRequest,
};
use millpond_state::{AttemptId, CheckpointId, SubtaskId};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::engine::{settings, vertex};

/// Which checkpoint a message is about.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// One of those in flight, if there are any.
    InFlight(u8),
    /// So many before the next number.
    Recent(u8),
}

/// One random step. Small numbers pick among what exists.
#[derive(Clone, Debug)]
enum Step {
    Wait(u16),
    Manual,
    Savepoint,
    Ack { which: Which, subtask: u8 },
    AckRest { which: Which },
    Decline { which: Which, subtask: u8, counts: bool },
    Store { pick: u8, outcome: u8 },
    TriggerFailed { which: Which },
    State { subtask: u8, state: SubtaskState },
    RunAll,
    Restart { parallelism: u8, from_late: bool },
    Settings(CoordinatorSettings),
    Shutdown(u8),
}

fn any_settings() -> impl Strategy<Value = CoordinatorSettings> {
    let numbers = (
        1_u32..4,
        0_u64..2,
        proptest::option::weighted(0.6, 0_u32..6),
        1_u32..4,
        proptest::option::of(50_u64..300),
    );
    let flags = (any::<bool>(), any::<bool>(), 1_u32..4, any::<bool>());
    (numbers, flags).prop_map(|(numbers, flags)| CoordinatorSettings {
        max_concurrent: numbers.0,
        min_pause_ms: numbers.1 * 40,
        tolerable_consecutive_failures: numbers.2,
        retained_max: numbers.3,
        interval_ms: numbers.4,
        allow_finished_subtasks: flags.0,
        final_checkpoint: flags.1,
        queued_requests_max: flags.2,
        retain_on_cancel: flags.3,
        timeout_ms: 400,
        final_retry_pause_ms: 30,
        history_max: 3,
        ..settings()
    })
}

fn any_which() -> impl Strategy<Value = Which> {
    prop_oneof![
        9 => any::<u8>().prop_map(Which::InFlight),
        1 => (0_u8..6).prop_map(Which::Recent),
    ]
}

fn any_state() -> impl Strategy<Value = SubtaskState> {
    prop_oneof![
        1 => Just(SubtaskState::Starting),
        4 => Just(SubtaskState::Running),
        4 => Just(SubtaskState::AtEnd),
        2 => Just(SubtaskState::Finished),
        1 => Just(SubtaskState::Failed),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let restart = (1_u8..3, any::<bool>());
    prop_oneof![
        100 => (0_u16..150).prop_map(Step::Wait),
        60 => Just(Step::Manual),
        25 => Just(Step::Savepoint),
        100 => (any_which(), 0_u8..5).prop_map(|(which, subtask)| Step::Ack { which, subtask }),
        150 => any_which().prop_map(|which| Step::AckRest { which }),
        8 => (any_which(), 0_u8..4, any::<bool>())
            .prop_map(|(which, subtask, counts)| Step::Decline { which, subtask, counts }),
        150 => (any::<u8>(), 0_u8..10).prop_map(|(pick, outcome)| Step::Store { pick, outcome }),
        5 => any_which().prop_map(|which| Step::TriggerFailed { which }),
        12 => (0_u8..4, any_state()).prop_map(|(subtask, state)| Step::State { subtask, state }),
        40 => Just(Step::RunAll),
        10 => restart.prop_map(|(parallelism, from_late)| Step::Restart { parallelism, from_late }),
        8 => any_settings().prop_map(Step::Settings),
        1 => (0_u8..4).prop_map(Step::Shutdown),
    ]
}

/// Where a payload is. Each is a number of its own, so that none can be counted twice.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Coordinator,
    Storage(u64),
    Retained(u64),
    Discarded,
    Left,
}

#[derive(Debug, Default)]
struct Told {
    barriers: BTreeSet<u64>,
    stored_in_time: BTreeSet<u64>,
    completed: BTreeSet<u64>,
    aborted: BTreeSet<u64>,
    answered: BTreeSet<u64>,
    newest_trigger: u64,
    newest_commit: u64,
}

struct World {
    coordinator: Coordinator<u64>,
    now_ms: u64,
    payloads: Vec<Place>,
    acknowledged: BTreeMap<u64, BTreeSet<SubtaskId>>,
    storing: BTreeMap<u64, Box<CheckpointToStore<u64>>>,
    subtasks: Vec<SubtaskId>,
    states: BTreeMap<SubtaskId, SubtaskState>,
    requests: u64,
    attempt: u64,
    stopped: bool,
    /// Whether the end left completed checkpoints in place.
    ended_retaining: Option<bool>,
    discarding: BTreeSet<u64>,
    savepoints: BTreeSet<u64>,
    /// Aborted, and stored or perhaps stored: to be discarded once a later one is complete.
    held: BTreeSet<u64>,
    max_retained: usize,
    max_in_flight: usize,
    told: Told,
}

fn topology(parallelism: u32) -> Topology {
    Topology::new(vec![
        vertex("src", parallelism, &[]),
        vertex("sum", parallelism, &[("src", Exchange::AllToAll)]),
    ])
    .expect("a valid job")
}

impl World {
    fn new(settings: CoordinatorSettings) -> Self {
        let settings = settings.validate().expect("valid");
        let topology = topology(2);
        let subtasks: Vec<SubtaskId> = topology.subtasks().collect();
        let mut world = Self {
            max_retained: settings.get().retained_max as usize,
            max_in_flight: settings.effective_max_concurrent(),
            coordinator: Coordinator::new(CoordinatorStart {
                settings,
                topology,
                attempt: AttemptId::new(1),
                first_checkpoint: CheckpointId::new(1),
                retained: Vec::new(),
                restored: None,
                at: Moment::default(),
            })
            .expect("a valid start"),
            now_ms: 0,
            payloads: Vec::new(),
            acknowledged: BTreeMap::new(),
            storing: BTreeMap::new(),
            states: subtasks.iter().map(|it| (it.clone(), SubtaskState::Starting)).collect(),
            subtasks,
            requests: 0,
            attempt: 1,
            stopped: false,
            ended_retaining: None,
            discarding: BTreeSet::new(),
            savepoints: BTreeSet::new(),
            held: BTreeSet::new(),
            told: Told::default(),
        };
        world.run_all();
        world
    }

    fn run_all(&mut self) {
        for subtask in self.subtasks.clone() {
            self.set_state(subtask, SubtaskState::Running);
        }
    }

    fn set_state(&mut self, subtask: SubtaskId, state: SubtaskState) {
        self.states.insert(subtask.clone(), state);
        self.handle(Event::SubtaskStateChanged { subtask, state });
    }

    fn checkpoint(&self, which: Which) -> CheckpointId {
        let recent = |back: u8| {
            CheckpointId::new((self.told.newest_trigger + 1).saturating_sub(back.into()).max(1))
        };
        match which {
            Which::Recent(back) => recent(back),
            Which::InFlight(pick) => {
                let all: Vec<CheckpointId> = self.coordinator.in_flight().collect();
                all.get(usize::from(pick) % all.len().max(1)).copied().unwrap_or(recent(1))
            }
        }
    }

    fn acknowledge(&mut self, checkpoint: CheckpointId, subtask: SubtaskId) {
        let payload = self.payloads.len() as u64;
        self.payloads.push(Place::Coordinator);
        self.acknowledged.entry(checkpoint.get()).or_default().insert(subtask.clone());
        let metrics = SubtaskMetrics::default();
        self.handle(Event::Acknowledged { checkpoint, subtask, payload, metrics });
    }

    fn acknowledge_rest(&mut self, checkpoint: CheckpointId) {
        for subtask in self.subtasks.clone() {
            let done = self.acknowledged.get(&checkpoint.get());
            if !done.is_some_and(|done| done.contains(&subtask)) {
                self.acknowledge(checkpoint, subtask);
            }
        }
    }

    /// A subtask of the job, or one that it does not have.
    fn subtask(&self, pick: u8) -> SubtaskId {
        let unknown = SubtaskId::new("other", 0);
        self.subtasks.get(usize::from(pick)).cloned().unwrap_or(unknown)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait(ms) => {
                self.now_ms += u64::from(ms);
                self.handle(Event::Tick);
            }
            Step::Manual => {
                self.requests += 1;
                let request = RequestId::new(self.requests);
                self.handle(Event::TriggerRequested(TriggerRequest::Manual { request }));
            }
            Step::Savepoint => {
                self.requests += 1;
                let (request, target) = (RequestId::new(self.requests), "sp".into());
                self.handle(Event::TriggerRequested(TriggerRequest::Savepoint { request, target }));
            }
            Step::Ack { which, subtask } => {
                self.acknowledge(self.checkpoint(which), self.subtask(subtask));
            }
            Step::AckRest { which } => self.acknowledge_rest(self.checkpoint(which)),
            Step::Decline { which, subtask, counts } => {
                let (checkpoint, subtask) = (self.checkpoint(which), self.subtask(subtask));
                let failed = DeclineReason::Failed("x".into());
                let reason = if counts { failed } else { DeclineReason::NotReady };
                self.handle(Event::Declined { checkpoint, subtask, reason });
            }
            Step::Store { pick, outcome } => self.answer_store(pick, outcome),
            Step::TriggerFailed { which } => {
                let checkpoint = self.checkpoint(which);
                self.handle(Event::TriggerFailed { checkpoint, reason: "x".into() });
            }
            Step::State { subtask, state } => self.set_state(self.subtask(subtask), state),
            Step::RunAll => self.run_all(),
            Step::Restart { parallelism, from_late } => self.restart(parallelism, from_late),
            Step::Settings(settings) => {
                let settings = settings.validate().expect("valid");
                if !self.stopped {
                    self.max_retained = settings.get().retained_max as usize;
                    // What is in flight already may exceed a lower limit until it ends.
                    let in_flight = self.coordinator.in_flight().count();
                    self.max_in_flight = settings.effective_max_concurrent().max(in_flight);
                }
                self.handle(Event::SettingsChanged(settings));
            }
            Step::Shutdown(how) => {
                let ways = [
                    Shutdown::Suspended,
                    Shutdown::Finished,
                    Shutdown::Cancelled,
                    Shutdown::Failed,
                ];
                let how = ways[usize::from(how)];
                // Only the setting for a cancellation varies here.
                let retaining = how != Shutdown::Cancelled
                    || self.coordinator.settings().get().retain_on_cancel;
                self.ended_retaining.get_or_insert(retaining);
                self.handle(Event::Shutdown(how));
                self.stopped = true;
            }
        }
        self.check();
    }

    fn restart(&mut self, parallelism: u8, from_late: bool) {
        self.attempt += 1;
        let topology = topology(parallelism.into());
        if !self.stopped {
            self.subtasks = topology.subtasks().collect();
            self.states =
                self.subtasks.iter().map(|it| (it.clone(), SubtaskState::Starting)).collect();
        }
        let late = self.storing.keys().next_back().copied().filter(|_| from_late);
        let newest = self.coordinator.retention().latest_checkpoint().map(|it| it.id.get());
        let restored = late.or(newest).map(CheckpointId::new);
        self.handle(Event::Restarted { attempt: AttemptId::new(self.attempt), topology, restored });
        // A savepoint that had been given up is the user's again once the job starts from it.
        let retention = self.coordinator.retention();
        let checkpoint = |id| retention.iter().any(|it| it.id == id);
        if let Some(id) = restored.filter(|id| retention.is_kept(*id) && !checkpoint(*id)) {
            self.savepoints.insert(id.get());
        }
        self.run_all();
    }

    fn answer_store(&mut self, pick: u8, outcome: u8) {
        let picked =
            self.storing.keys().copied().nth(usize::from(pick) % self.storing.len().max(1));
        let Some(number) = picked else { return };
        let checkpoint = self.storing.remove(&number).expect("picked");
        let payloads: Vec<u64> = checkpoint
            .parts
            .iter()
            .filter_map(|(_, part)| match part {
                SubtaskPart::Acknowledged { payload, .. } => Some(*payload),
                SubtaskPart::Finished => None,
            })
            .collect();
        if outcome < 8 {
            self.move_stored(&payloads, Place::Retained(number));
            if self.coordinator.in_flight().any(|it| it.get() == number) {
                self.told.stored_in_time.insert(number);
            } else if !self.is_adopted(number) {
                self.held.insert(number);
            }
            self.handle(Event::Stored { checkpoint: CheckpointId::new(number) });
        } else {
            self.move_stored(&payloads, Place::Coordinator);
            let effects = [StoreEffect::DidNotHappen, StoreEffect::MayHaveHappened];
            let effect = effects[usize::from(outcome) - 8];
            if effect == StoreEffect::MayHaveHappened && !self.is_adopted(number) {
                self.held.insert(number);
            }
            self.handle(Event::StoreFailed { checkpoint, effect, reason: "x".into() });
        }
    }

    /// Whether the job restarted from the checkpoint while storage owed the answer.
    fn is_adopted(&self, number: u64) -> bool {
        let retained = self.coordinator.retention().iter().any(|it| it.id.get() == number);
        retained || self.savepoints.contains(&number) || self.discarding.contains(&number)
    }

    /// Whether a held checkpoint must have been discarded by now.
    fn is_due(&self, number: u64) -> bool {
        self.ended_retaining == Some(false)
            || (self.ended_retaining.is_none() && number < self.told.newest_commit)
    }

    /// Storage has answered, unless the checkpoint was adopted and discarded before that.
    fn move_stored(&mut self, payloads: &[u64], to: Place) {
        for payload in payloads {
            let place = &mut self.payloads[*payload as usize];
            if *place != Place::Discarded {
                *place = to;
            }
        }
    }

    fn handle(&mut self, event: Event<u64>) {
        let was_stopped = self.stopped;
        let mut actions = Vec::new();
        let now = Duration::from_millis(self.now_ms);
        self.coordinator.handle(Moment { now, wall_ms: 0 }, event, &mut actions);
        for action in actions {
            if was_stopped {
                let allowed = matches!(
                    action,
                    Action::DiscardPayloads { .. }
                        | Action::LeavePayloads { .. }
                        | Action::DiscardCompleted { .. }
                        | Action::RequestDone { .. }
                );
                assert!(allowed, "after the end: {action:?}");
            }
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action<u64>) {
        match action {
            Action::SendBarriers { checkpoint, .. } => {
                let number = checkpoint.get();
                assert!(number > self.told.newest_trigger, "numbers strictly increase");
                self.told.newest_trigger = number;
                self.told.barriers.insert(number);
                assert!(
                    self.coordinator.in_flight().count() <= self.max_in_flight,
                    "too many in flight"
                );
            }
            Action::StoreMetadata(complete) => self.begin_store(complete),
            Action::NotifyComplete { completed, commit } => {
                let number = completed.id.get();
                assert!(self.told.stored_in_time.contains(&number), "complete before stored");
                assert!(!self.told.aborted.contains(&number), "complete after abort");
                assert!(self.told.completed.insert(number), "complete twice");
                assert_eq!(commit, !completed.kind.is_savepoint());
                if commit {
                    assert!(number > self.told.newest_commit, "commits in order");
                    self.told.newest_commit = number;
                } else {
                    self.savepoints.insert(number);
                }
            }
            Action::NotifyAborted { checkpoint, .. } => {
                let number = checkpoint.get();
                assert!(!self.told.completed.contains(&number), "abort after complete");
                assert!(self.told.aborted.insert(number), "abort twice");
                self.told.newest_trigger = self.told.newest_trigger.max(number);
            }
            Action::DiscardPayloads { payloads, .. } => self.release(&payloads, Place::Discarded),
            Action::LeavePayloads { payloads, .. } => self.release(&payloads, Place::Left),
            Action::DiscardCompleted { checkpoint, .. } => {
                let number = checkpoint.get();
                assert!(self.discarding.insert(number), "discarded twice");
                assert!(!self.savepoints.contains(&number), "savepoints are the user's");
                for place in &mut self.payloads {
                    // One the job restarted from exists before storage has answered for it.
                    if matches!(*place, Place::Retained(it) | Place::Storage(it) if it == number) {
                        *place = Place::Discarded;
                    }
                }
            }
            Action::FailJob(_) => {}
            Action::RequestDone { request, .. } => {
                assert!(self.told.answered.insert(request.get()), "answered twice");
            }
            other => panic!("unknown action {other:?}"),
        }
    }

    fn begin_store(&mut self, complete: Box<CheckpointToStore<u64>>) {
        let number = complete.head.id.get();
        assert!(self.told.barriers.contains(&number));
        assert_eq!(complete.parts.len(), self.subtasks.len(), "one part a subtask");
        for ((subtask, part), expected) in complete.parts.iter().zip(&self.subtasks) {
            assert_eq!(subtask, expected);
            match part {
                SubtaskPart::Acknowledged { payload, .. } => {
                    assert!(self.acknowledged[&number].contains(subtask));
                    let place = &mut self.payloads[*payload as usize];
                    assert_eq!(*place, Place::Coordinator);
                    *place = Place::Storage(number);
                }
                // It may have been restarted in place since it was counted as finished.
                SubtaskPart::Finished => assert!(self.states.contains_key(subtask)),
            }
        }
        assert!(self.storing.insert(number, complete).is_none(), "stored twice");
    }

    fn release(&mut self, payloads: &[u64], to: Place) {
        for payload in payloads {
            let place = &mut self.payloads[*payload as usize];
            if *place == Place::Discarded {
                assert_eq!(to, Place::Left, "discarded twice");
                continue;
            }
            assert_eq!(*place, Place::Coordinator, "a payload leaves once");
            *place = to;
        }
    }

    fn check(&self) {
        let plain = self.coordinator.settings().get();
        let queued = self.coordinator.queued_requests();
        assert!(queued <= plain.queued_requests_max as usize, "{queued} wait");
        let retained: Vec<u64> =
            self.coordinator.retention().iter().map(|it| it.id.get()).collect();
        assert!(retained.len() <= self.max_retained, "{retained:?}");
        assert!(retained.iter().all(|it| !self.discarding.contains(it)));
        for in_flight in self.coordinator.in_flight() {
            let number = in_flight.get();
            assert!(!self.told.completed.contains(&number) && !self.told.aborted.contains(&number));
        }
        for number in &self.held {
            let kept = !self.discarding.contains(number) && !self.is_adopted(*number);
            assert!(!(kept && self.is_due(*number)), "{number} is held for ever");
        }
        let ended =
            self.coordinator.stats().checkpoints().filter(|it| it.duration_ms.is_some()).count();
        assert!(ended <= plain.history_max as usize);
        assert!(self.storing.len() <= 6, "{} wait for storage", self.storing.len());
    }

    /// Ends the job, lets storage answer for everything, and looks where everything came to.
    fn settle(&mut self) {
        self.step(Step::Shutdown(2));
        while !self.storing.is_empty() {
            self.step(Step::Store { pick: 0, outcome: 0 });
        }
        assert_eq!(self.coordinator.in_flight().count(), 0);
        assert_eq!(self.told.answered.len() as u64, self.requests, "every request is answered");
        let told = self.told.completed.len() + self.told.aborted.len();
        assert!(
            self.told
                .barriers
                .iter()
                .all(|it| { self.told.completed.contains(it) || self.told.aborted.contains(it) })
        );
        assert_eq!(told as u64, self.coordinator.stats().totals().triggered);
        let retained: BTreeSet<u64> =
            self.coordinator.retention().iter().map(|it| it.id.get()).collect();
        for place in &self.payloads {
            let fine = match place {
                Place::Discarded | Place::Left => true,
                Place::Retained(number) => {
                    retained.contains(number)
                        || self.savepoints.contains(number)
                        || (self.held.contains(number) && self.ended_retaining == Some(true))
                }
                Place::Coordinator | Place::Storage(_) => false,
            };
            assert!(fine, "{place:?}");
        }
    }
}

#[test]
fn any_schedule_keeps_the_invariants() {
    let config =
        ProptestConfig { cases: 3_000, source_file: Some(file!()), ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let schedules = (any_settings(), proptest::collection::vec(any_step(), 1..300));
    let (completed, aborted, discarded) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let outcome = runner.run(&schedules, |(settings, steps)| {
        let mut world = World::new(settings);
        for step in steps {
            world.step(step);
        }
        world.settle();
        completed.set(completed.get() + world.told.completed.len());
        aborted.set(aborted.get() + world.told.aborted.len());
        discarded.set(discarded.get() + world.discarding.len());
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    // A schedule in which nothing ever completes would keep every invariant.
    let per_case = [&completed, &aborted, &discarded].map(|it| it.get() / 3_000);
    assert!(per_case.iter().all(|&count| count >= 1), "{per_case:?}");
}

#[test]
fn equal_schedules_give_equal_actions() {
    let run = || {
        let mut coordinator: Coordinator<u64> = Coordinator::new(CoordinatorStart {
            settings: CoordinatorSettings { interval_ms: Some(7), ..settings() }
                .validate()
                .expect("valid"),
            topology: topology(2),
            attempt: AttemptId::new(1),
            first_checkpoint: CheckpointId::new(1),
            retained: Vec::new(),
            restored: None,
            at: Moment::default(),
        })
        .expect("a valid start");
        let mut actions = Vec::new();
        let subtasks: Vec<SubtaskId> = topology(2).subtasks().collect();
        for ms in 0..500_u64 {
            let at = Moment { now: Duration::from_millis(ms), wall_ms: ms };
            let subtask = subtasks[(ms % 4) as usize].clone();
            let event = if ms < 4 {
                Event::SubtaskStateChanged { subtask, state: SubtaskState::Running }
            } else if ms % 5 == 0 {
                Event::Stored { checkpoint: CheckpointId::new(ms / 20) }
            } else {
                let checkpoint = CheckpointId::new(1 + ms / 20);
                let metrics = SubtaskMetrics::default();
                Event::Acknowledged { checkpoint, subtask, payload: ms, metrics }
            };
            coordinator.handle(at, event, &mut actions);
        }
        format!("{actions:?}")
    };
    assert_eq!(run(), run());
}
