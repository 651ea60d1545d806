//! Plays the engine around a coordinator: time, subtasks, storage and the shared-file registry, all
//! in memory. Each event returns what the coordinator wants done as lines of text, so that a test
//! reads as a protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millpond_checkpoint::{
    Action, CheckpointMode, CheckpointToStore, CompletedCheckpoint, Coordinator,
    CoordinatorSettings, CoordinatorStart, DeclineReason, Event, Exchange, InputSpec, Moment,
    RequestId, RequestResult, Shutdown, StoreEffect, SubtaskMetrics, SubtaskPart, SubtaskState,
    Topology, TriggerRequest, VertexSpec,
};
use millpond_state::{AttemptId, CheckpointId, SubtaskId};

/// What a subtask acknowledges with: names of files.
pub(crate) type Files = Vec<String>;

pub(crate) struct Engine {
    pub(crate) coordinator: Coordinator<Files>,
    pub(crate) now_ms: u64,
    /// Files that exist.
    pub(crate) files: BTreeSet<String>,
    /// What storage has been asked to publish and has not answered.
    pub(crate) storing: BTreeMap<u64, Box<CheckpointToStore<Files>>>,
    /// Metadata that exists, with the files it names.
    pub(crate) stored: BTreeMap<u64, Vec<String>>,
}

pub(crate) fn id(raw: u64) -> CheckpointId {
    CheckpointId::new(raw)
}

pub(crate) fn vertex(name: &str, parallelism: u32, inputs: &[(&str, Exchange)]) -> VertexSpec {
    let inputs = inputs
        .iter()
        .map(|(vertex, exchange)| InputSpec { vertex: (*vertex).into(), exchange: *exchange })
        .collect();
    VertexSpec { name: name.into(), parallelism, inputs }
}

/// `src[0] -> sum[0]`.
pub(crate) fn pipeline() -> Vec<VertexSpec> {
    vec![vertex("src", 1, &[]), vertex("sum", 1, &[("src", Exchange::AllToAll)])]
}

/// Everything by request only, one at a time, no failure tolerated.
pub(crate) fn settings() -> CoordinatorSettings {
    CoordinatorSettings { interval_ms: None, timeout_ms: 1_000, ..CoordinatorSettings::default() }
}

pub(crate) fn subtask(text: &str) -> SubtaskId {
    let (vertex, rest) = text.split_once('[').expect("a subtask is written v[i]");
    SubtaskId::new(vertex, rest.trim_end_matches(']').parse().expect("an index"))
}

impl Engine {
    /// A job of `vertices` whose subtasks all run, at time 0.
    pub(crate) fn running(vertices: Vec<VertexSpec>, settings: CoordinatorSettings) -> Self {
        let mut engine = Self::starting(vertices, settings);
        engine.run_all();
        engine
    }

    /// `src[0] -> sum[0]`, running.
    pub(crate) fn pipeline(settings: CoordinatorSettings) -> Self {
        Self::running(pipeline(), settings)
    }

    /// A job whose subtasks are all still starting.
    pub(crate) fn starting(vertices: Vec<VertexSpec>, settings: CoordinatorSettings) -> Self {
        Self::restored(vertices, settings, Vec::new(), None)
    }

    pub(crate) fn restored(
        vertices: Vec<VertexSpec>,
        settings: CoordinatorSettings,
        retained: Vec<CompletedCheckpoint>,
        restored: Option<u64>,
    ) -> Self {
        let newest = retained.iter().map(|it| it.id.get()).max().unwrap_or(0);
        let coordinator = Coordinator::new(CoordinatorStart {
            settings: settings.validate().expect("valid settings"),
            topology: Topology::new(vertices).expect("a valid job"),
            attempt: AttemptId::new(1),
            first_checkpoint: id(newest + 1),
            retained,
            restored: restored.map(id),
            at: Moment::default(),
        })
        .expect("a valid start");
        Self {
            coordinator,
            now_ms: 0,
            files: BTreeSet::new(),
            storing: BTreeMap::new(),
            stored: BTreeMap::new(),
        }
    }

    pub(crate) fn run_all(&mut self) -> Vec<String> {
        let names: Vec<SubtaskId> = self.coordinator.stats().subtasks().to_vec();
        let mut lines = Vec::new();
        for name in names {
            lines.extend(self.state(&name.to_string(), SubtaskState::Running));
        }
        lines
    }

    pub(crate) fn handle(&mut self, event: Event<Files>) -> Vec<String> {
        let mut actions = Vec::new();
        let moment =
            Moment { now: Duration::from_millis(self.now_ms), wall_ms: 1_000_000 + self.now_ms };
        self.coordinator.handle(moment, event, &mut actions);
        actions.into_iter().map(|action| self.carry_out(action)).collect()
    }

    /// Lets time pass up to `ms`, waking the coordinator when it asks for it.
    pub(crate) fn until(&mut self, ms: u64) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(wake) = self.coordinator.next_wake().filter(|it| it.as_millis() <= ms.into())
        {
            let wake = u64::try_from(wake.as_millis()).unwrap();
            self.now_ms = self.now_ms.max(wake);
            let before = self.coordinator.next_wake();
            lines.extend(self.handle(Event::Tick));
            assert!(self.coordinator.next_wake() != before, "a tick in time changes something");
        }
        self.now_ms = ms;
        lines.extend(self.handle(Event::Tick));
        lines
    }

    pub(crate) fn manual(&mut self, request: u64) -> Vec<String> {
        let request = RequestId::new(request);
        self.handle(Event::TriggerRequested(TriggerRequest::Manual { request }))
    }

    pub(crate) fn savepoint(&mut self, request: u64) -> Vec<String> {
        let request = RequestId::new(request);
        let target = "sp".to_owned();
        self.handle(Event::TriggerRequested(TriggerRequest::Savepoint { request, target }))
    }

    /// Acknowledges with one file of its own, `<checkpoint>/<subtask>`.
    pub(crate) fn ack(&mut self, checkpoint: u64, who: &str) -> Vec<String> {
        self.ack_with(checkpoint, who, &[&format!("{checkpoint}/{who}")])
    }

    pub(crate) fn ack_with(&mut self, checkpoint: u64, who: &str, files: &[&str]) -> Vec<String> {
        self.ack_measured(checkpoint, who, files, SubtaskMetrics::default())
    }

    pub(crate) fn ack_measured(
        &mut self,
        checkpoint: u64,
        who: &str,
        files: &[&str],
        metrics: SubtaskMetrics,
    ) -> Vec<String> {
        let payload: Files = files.iter().map(ToString::to_string).collect();
        self.files.extend(payload.iter().cloned());
        let (checkpoint, subtask) = (id(checkpoint), subtask(who));
        self.handle(Event::Acknowledged { checkpoint, subtask, payload, metrics })
    }

    pub(crate) fn ack_all(&mut self, checkpoint: u64) -> Vec<String> {
        let names: Vec<SubtaskId> = self.coordinator.stats().subtasks().to_vec();
        names.iter().flat_map(|name| self.ack(checkpoint, &name.to_string())).collect()
    }

    pub(crate) fn decline(
        &mut self,
        checkpoint: u64,
        who: &str,
        reason: DeclineReason,
    ) -> Vec<String> {
        self.handle(Event::Declined { checkpoint: id(checkpoint), subtask: subtask(who), reason })
    }

    pub(crate) fn stored(&mut self, checkpoint: u64) -> Vec<String> {
        if let Some(complete) = self.storing.remove(&checkpoint) {
            let files = complete.into_payloads().into_iter().flatten().collect();
            self.stored.insert(checkpoint, files);
        }
        self.handle(Event::Stored { checkpoint: id(checkpoint) })
    }

    pub(crate) fn store_failed(&mut self, checkpoint: u64, effect: StoreEffect) -> Vec<String> {
        let checkpoint = self.storing.remove(&checkpoint).expect("being stored");
        self.handle(Event::StoreFailed { checkpoint, effect, reason: "disk full".into() })
    }

    /// Acknowledges from everybody and stores.
    pub(crate) fn complete(&mut self, checkpoint: u64) -> Vec<String> {
        let mut lines = self.ack_all(checkpoint);
        lines.extend(self.stored(checkpoint));
        lines
    }

    /// A checkpoint by request from trigger to end.
    pub(crate) fn take_checkpoint(&mut self) -> u64 {
        let before: BTreeSet<_> = self.coordinator.in_flight().collect();
        self.manual(900);
        let new = self.coordinator.in_flight().find(|it| !before.contains(it)).expect("triggered");
        self.complete(new.get());
        new.get()
    }

    pub(crate) fn state(&mut self, who: &str, state: SubtaskState) -> Vec<String> {
        self.handle(Event::SubtaskStateChanged { subtask: subtask(who), state })
    }

    pub(crate) fn restart(
        &mut self,
        attempt: u64,
        vertices: Vec<VertexSpec>,
        restored: Option<u64>,
    ) -> Vec<String> {
        self.handle(Event::Restarted {
            attempt: AttemptId::new(attempt),
            topology: Topology::new(vertices).expect("a valid job"),
            restored: restored.map(id),
        })
    }

    pub(crate) fn shutdown(&mut self, how: Shutdown) -> Vec<String> {
        self.handle(Event::Shutdown(how))
    }

    pub(crate) fn retained(&self) -> Vec<u64> {
        self.coordinator.retention().iter().map(|it| it.id.get()).collect()
    }

    /// Files that existing metadata or a checkpoint in flight names: what a registry answers.
    fn referenced(&self) -> BTreeSet<&String> {
        let in_flight = self.storing.values().flat_map(|complete| {
            complete.parts.iter().flat_map(|(_, part)| match part {
                SubtaskPart::Acknowledged { payload, .. } => payload.as_slice(),
                SubtaskPart::Finished => &[],
            })
        });
        self.stored.values().flatten().chain(in_flight).collect()
    }

    fn remove_unreferenced(&mut self, files: Vec<String>) {
        let doomed: Vec<String> = {
            let referenced = self.referenced();
            files.into_iter().filter(|file| !referenced.contains(file)).collect()
        };
        for file in doomed {
            self.files.remove(&file);
        }
    }

    fn carry_out(&mut self, action: Action<Files>) -> String {
        match action {
            Action::SendBarriers { checkpoint, to, options, .. } => {
                let to: Vec<String> = to.iter().map(ToString::to_string).collect();
                let mode = match options.mode {
                    CheckpointMode::AtLeastOnce => " at-least-once",
                    _ => "",
                };
                format!("barriers {checkpoint} {}{mode} -> {}", options.kind, to.join(" "))
            }
            Action::StoreMetadata(complete) => {
                let line = format!("store {}", complete.head.id);
                assert!(self.storing.insert(complete.head.id.get(), complete).is_none());
                line
            }
            Action::NotifyComplete { completed, commit } => {
                let only = if commit { "" } else { " without commit" };
                format!("complete {}{only}", completed.id)
            }
            Action::NotifyAborted { checkpoint, reason, latest_completed } => {
                let latest = latest_completed.map_or("none".into(), |it| it.to_string());
                format!("abort {checkpoint}: {reason} (latest {latest})")
            }
            Action::DiscardPayloads { checkpoint, payloads } => {
                let line = format!("discard {checkpoint}: {}", text(&payloads));
                self.remove_unreferenced(payloads.into_iter().flatten().collect());
                line
            }
            Action::LeavePayloads { checkpoint, payloads, reason } => {
                format!("leave {checkpoint}: {} ({reason:?})", text(&payloads))
            }
            Action::DiscardCompleted { checkpoint, reason } => {
                let files = self.stored.remove(&checkpoint.get()).unwrap_or_default();
                self.remove_unreferenced(files);
                format!("discard completed {checkpoint} ({reason:?})")
            }
            Action::FailJob(reason) => format!("fail job after {}", reason.consecutive_failures),
            Action::RequestDone { request, result } => {
                let result = match result {
                    RequestResult::Completed(done) => format!("completed {done}"),
                    RequestResult::Aborted { checkpoint, .. } => format!("aborted {checkpoint}"),
                    RequestResult::Refused(why) => format!("refused {why:?}"),
                    other => format!("{other:?}"),
                };
                format!("request {}: {result}", request.get())
            }
            other => format!("{other:?}"),
        }
    }
}

fn text(payloads: &[Files]) -> String {
    payloads.concat().join(" ")
}
