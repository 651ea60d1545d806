//! The job graph: vertices, the exchanges between them, and the sinks behind them.
//!
//! Building it starts nothing. Every execution attempt makes its own channels, operators and sinks
//! from it, so that nothing survives a failure but what is in checkpoints.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use millpond_checkpoint::{Exchange as ExchangeKind, InputSpec, VertexSpec};
use millpond_state::AttemptId;
use millpond_state::codec::HasCodec;

use crate::channel::{Exchange, Reconnect};
use crate::error::{JobError, JobErrorKind, Result};
use crate::operator::{BroadcastOperator, KeyedOperator};
use crate::output::{
    BroadcastPort, Collector, Keyed, KeyedPort, Outputs, Port, RebalancePort, VertexOutputs,
};
use crate::settings::JobSettings;
use crate::sink::{SinkFactory, SinkRecovery};
use crate::source::Source;
use crate::task::{
    BroadcastTask, Inputs, KeyedCore, KeyedTask, SubtaskEnv, SubtaskRestore, TransformTask,
    run_operator, run_source, wall_ms,
};
use crate::watermark::Timestamp;

/// What user code is told when its instance for a subtask is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubtaskContext {
    /// Index among the vertex's subtasks.
    pub index: u32,
    /// Number of the vertex's subtasks.
    pub parallelism: u32,
    /// The execution attempt.
    pub attempt: AttemptId,
}

/// The records that a vertex emits: what further vertices and sinks are attached to.
pub struct Stream<T> {
    vertex: String,
    outputs: Arc<OutputSpec<T>>,
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("vertex", &self.vertex).finish_non_exhaustive()
    }
}

type MakePort<T> = Box<dyn Fn(u32) -> Result<Box<dyn Port<T>>> + Send + Sync>;

/// How the outputs of a vertex's subtasks are made.
struct OutputSpec<T> {
    ports: Mutex<Vec<MakePort<T>>>,
    sinks: Mutex<Vec<NamedFactory<T>>>,
}

type NamedFactory<T> = (String, Arc<dyn SinkFactory<T>>);

impl<T: 'static> OutputSpec<T> {
    fn new() -> Arc<Self> {
        Arc::new(Self { ports: Mutex::new(Vec::new()), sinks: Mutex::new(Vec::new()) })
    }

    fn open(&self, env: &SubtaskEnv) -> Result<Outputs<T>> {
        let index = env.id.index.get();
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Outputs::new(
            ports.iter().map(|make| make(index)).collect::<Result<_>>()?,
            sinks
                .iter()
                .map(|(name, factory)| Ok((name.clone(), factory.open(env.attempt, index)?)))
                .collect::<Result<_>>()?,
        ))
    }
}

type RunSubtask = Arc<dyn Fn(SubtaskEnv, SubtaskRestore) -> Result<()> + Send + Sync>;

/// A vertex: what its subtasks run.
pub(crate) struct Vertex {
    pub(crate) name: String,
    pub(crate) parallelism: u32,
    inputs: Vec<String>,
    pub(crate) keyed: bool,
    pub(crate) run: RunSubtask,
    pub(crate) records: Arc<AtomicU64>,
}

/// A sink, as far as recovery is concerned.
pub(crate) struct SinkSpec {
    pub(crate) vertex: String,
    pub(crate) name: String,
    pub(crate) recovery: Arc<dyn SinkRecovery>,
}

struct Edge {
    channels: Arc<dyn Reconnect>,
    upstream: u32,
    downstream: u32,
}

/// How a stateless vertex makes watermarks: the time of a record it emits, if that has one. The
/// records of each input channel must then come in order of time.
pub type TimestampOf<U> = fn(&U) -> Option<Timestamp>;

/// A job: vertices and how records flow between them. See the crate's example.
pub struct JobGraph {
    settings: JobSettings,
    vertices: Vec<Vertex>,
    edges: Vec<Edge>,
    sinks: Vec<SinkSpec>,
    late_records: Arc<AtomicU64>,
    flaws: Vec<String>,
}

impl fmt::Debug for JobGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.vertices.iter().map(|vertex| vertex.name.as_str()).collect();
        f.debug_struct("JobGraph").field("vertices", &names).finish_non_exhaustive()
    }
}

impl JobGraph {
    /// An empty graph.
    #[must_use]
    pub fn new(settings: JobSettings) -> Self {
        Self {
            settings,
            vertices: Vec::new(),
            edges: Vec::new(),
            sinks: Vec::new(),
            late_records: Arc::new(AtomicU64::new(0)),
            flaws: Vec::new(),
        }
    }

    /// Adds a source of `parallelism` subtasks; `make` makes each one's instance, anew in every
    /// execution attempt.
    pub fn source<S: Source + 'static>(
        &mut self,
        name: &str,
        parallelism: u32,
        make: impl Fn(SubtaskContext) -> Result<S> + Send + Sync + 'static,
    ) -> Stream<S::Record> {
        let outputs = OutputSpec::<S::Record>::new();
        let spec = Arc::clone(&outputs);
        let run = move |env: SubtaskEnv, restore: SubtaskRestore| {
            let source = make(context(&env))?;
            let outputs = spec.open(&env)?;
            run_source(env, source, outputs, restore)
        };
        self.add(name, parallelism, Vec::new(), (false, Arc::new(run)));
        Stream { vertex: name.to_owned(), outputs }
    }

    /// Adds a stateless operator of `parallelism` subtasks, to which the records of `input` are
    /// dealt out in batches. `project` picks what is sent over; `make` makes each subtask's
    /// function. With `timestamp` the operator makes the watermarks.
    pub fn transform<T: 'static, I, U, P, M, F>(
        &mut self,
        name: &str,
        parallelism: u32,
        input: &Stream<T>,
        (project, timestamp, make): (P, Option<TimestampOf<U>>, M),
    ) -> Stream<U>
    where
        I: Send + 'static,
        U: 'static,
        P: Fn(&T) -> Option<I> + Clone + Send + Sync + 'static,
        M: Fn(SubtaskContext) -> Result<F> + Send + Sync + 'static,
        F: FnMut(I, &mut dyn Collector<U>) -> Result<()>,
    {
        let channels = Arc::new(Exchange::<I>::new());
        let (senders, batch_records) = (Arc::clone(&channels), self.settings.batch_records);
        self.connect(input, &channels, parallelism, move |index| {
            let senders = senders.take_senders(index as usize)?;
            let first = index as usize;
            Ok(Box::new(RebalancePort::new(senders, batch_records, first, project.clone())))
        });
        let outputs = OutputSpec::<U>::new();
        let spec = Arc::clone(&outputs);
        let run = move |env: SubtaskEnv, restore: SubtaskRestore| {
            let inputs = channels.take_receivers(env.id.index.get() as usize)?;
            let task = TransformTask::new(make(context(&env))?, timestamp);
            let outputs = VertexOutputs { main: spec.open(&env)?, side: Outputs::none() };
            run_operator(env, Inputs::of(inputs), task, outputs, restore.at_end)
        };
        self.add(name, parallelism, vec![input.vertex.clone()], (false, Arc::new(run)));
        Stream { vertex: name.to_owned(), outputs }
    }

    /// Adds an operator with keyed state, of `parallelism` subtasks, each of which gets the records
    /// of its key groups. `project` picks what is sent over, `key` says by what it is keyed, and
    /// `make` makes each subtask's instance.
    pub fn keyed<T: 'static, Op, P, F, M>(
        &mut self,
        name: &str,
        parallelism: u32,
        input: &Stream<T>,
        functions: (P, F, M),
    ) -> Stream<Op::Out>
    where
        Op: KeyedOperator + 'static,
        P: Fn(&T) -> Option<Op::In> + Clone + Send + Sync + 'static,
        F: Fn(&Op::In) -> Op::Key + Clone + Send + Sync + 'static,
        M: Fn(SubtaskContext) -> Result<Op> + Send + Sync + 'static,
    {
        self.keyed_with_side(name, parallelism, input, functions).0
    }

    /// As [`Self::keyed`], for an operator with a side output: returns its stream and that of its
    /// side output.
    pub fn keyed_with_side<T: 'static, Op, P, F, M>(
        &mut self,
        name: &str,
        parallelism: u32,
        input: &Stream<T>,
        (project, key, make): (P, F, M),
    ) -> (Stream<Op::Out>, Stream<Op::Side>)
    where
        Op: KeyedOperator + 'static,
        P: Fn(&T) -> Option<Op::In> + Clone + Send + Sync + 'static,
        F: Fn(&Op::In) -> Op::Key + Clone + Send + Sync + 'static,
        M: Fn(SubtaskContext) -> Result<Op> + Send + Sync + 'static,
    {
        let channels = self.connect_keyed(input, parallelism, (project, key.clone()));
        let (outputs, side) = (OutputSpec::<Op::Out>::new(), OutputSpec::<Op::Side>::new());
        let specs = (Arc::clone(&outputs), Arc::clone(&side));
        let run = move |env: SubtaskEnv, restore: SubtaskRestore| {
            let inputs = channels.take_receivers(env.id.index.get() as usize)?;
            let task = open_keyed(&env, &restore, make(context(&env))?, key.clone())?;
            let outputs = VertexOutputs { main: specs.0.open(&env)?, side: specs.1.open(&env)? };
            run_operator(env, Inputs::of(inputs), task, outputs, restore.at_end)
        };
        self.add(name, parallelism, vec![input.vertex.clone()], (true, Arc::new(run)));
        let stream = Stream { vertex: name.to_owned(), outputs };
        (stream, Stream { vertex: name.to_owned(), outputs: side })
    }

    /// As [`Self::keyed_with_side`], for an operator with a second input, such as rules, that goes
    /// to all its subtasks. `pick` picks what is sent over of the second input.
    pub fn keyed_with_broadcast<T: 'static, R: 'static, Op, P, Q, F, M>(
        &mut self,
        name: &str,
        parallelism: u32,
        (input, broadcast): (&Stream<T>, &Stream<R>),
        (project, pick, key, make): (P, Q, F, M),
    ) -> (Stream<Op::Out>, Stream<Op::Side>)
    where
        Op: BroadcastOperator + 'static,
        Op::Broadcast: Clone,
        P: Fn(&T) -> Option<Op::In> + Clone + Send + Sync + 'static,
        Q: Fn(&R) -> Option<Op::Broadcast> + Clone + Send + Sync + 'static,
        F: Fn(&Op::In) -> Op::Key + Clone + Send + Sync + 'static,
        M: Fn(SubtaskContext) -> Result<Op> + Send + Sync + 'static,
    {
        let keyed = self.connect_keyed(input, parallelism, (project, key.clone()));
        let everywhere = Arc::new(Exchange::<Op::Broadcast>::new());
        let (senders, batch_records) = (Arc::clone(&everywhere), self.settings.batch_records);
        self.connect(broadcast, &everywhere, parallelism, move |index| {
            let senders = senders.take_senders(index as usize)?;
            Ok(Box::new(BroadcastPort::new(senders, batch_records, pick.clone())))
        });
        let (outputs, side) = (OutputSpec::<Op::Out>::new(), OutputSpec::<Op::Side>::new());
        let specs = (Arc::clone(&outputs), Arc::clone(&side));
        let run = move |env: SubtaskEnv, restore: SubtaskRestore| {
            let index = env.id.index.get() as usize;
            let first = keyed.take_receivers(index)?;
            let inputs = Inputs { first, broadcast: everywhere.take_receivers(index)? };
            let task = open_keyed(&env, &restore, make(context(&env))?, key.clone())?;
            let outputs = VertexOutputs { main: specs.0.open(&env)?, side: specs.1.open(&env)? };
            run_operator(env, inputs, BroadcastTask(task), outputs, restore.at_end)
        };
        let inputs = vec![input.vertex.clone(), broadcast.vertex.clone()];
        self.add(name, parallelism, inputs, (true, Arc::new(run)));
        let stream = Stream { vertex: name.to_owned(), outputs };
        (stream, Stream { vertex: name.to_owned(), outputs: side })
    }

    /// Connects `input` to the subtasks that own the keys of its records.
    fn connect_keyed<T: 'static, U, K, P, F>(
        &mut self,
        input: &Stream<T>,
        parallelism: u32,
        (project, key): (P, F),
    ) -> Arc<Exchange<Keyed<U>>>
    where
        U: Send + 'static,
        K: HasCodec + 'static,
        P: Fn(&T) -> Option<U> + Clone + Send + Sync + 'static,
        F: Fn(&U) -> K + Clone + Send + Sync + 'static,
    {
        let channels = Arc::new(Exchange::<Keyed<U>>::new());
        let (senders, batch_records) = (Arc::clone(&channels), self.settings.batch_records);
        let max_parallelism = self.settings.max_parallelism;
        self.connect(input, &channels, parallelism, move |index| {
            let senders = senders.take_senders(index as usize)?;
            let functions = (project.clone(), key.clone());
            Ok(Box::new(KeyedPort::new(senders, batch_records, max_parallelism, functions)))
        });
        channels
    }

    /// Writes the records of `input` to a sink, in the threads of the vertex that emits them.
    pub fn sink<T: 'static>(
        &mut self,
        input: &Stream<T>,
        name: &str,
        factory: impl SinkFactory<T> + 'static,
    ) {
        let taken = |sink: &SinkSpec| sink.name == name && sink.vertex == input.vertex;
        if self.sinks.iter().any(taken) {
            self.flaws.push(format!("vertex {:?} has two sinks named {name:?}", input.vertex));
        }
        let factory = Arc::new(factory);
        let recovery: Arc<dyn SinkRecovery> = Arc::clone(&factory) as Arc<dyn SinkRecovery>;
        let mut sinks = input.outputs.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.push((name.to_owned(), factory));
        self.sinks.push(SinkSpec { vertex: input.vertex.clone(), name: name.to_owned(), recovery });
    }

    fn connect<T: 'static, M: Send + 'static>(
        &mut self,
        input: &Stream<T>,
        channels: &Arc<Exchange<M>>,
        downstream: u32,
        make: impl Fn(u32) -> Result<Box<dyn Port<T>>> + Send + Sync + 'static,
    ) {
        let mut ports = input.outputs.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.push(Box::new(make));
        match self.vertices.iter().find(|vertex| vertex.name == input.vertex) {
            Some(vertex) => self.edges.push(Edge {
                channels: Arc::clone(channels) as Arc<dyn Reconnect>,
                upstream: vertex.parallelism,
                downstream,
            }),
            None => self.flaws.push(format!("stream {:?} is of another job", input.vertex)),
        }
    }

    fn add(
        &mut self,
        name: &str,
        parallelism: u32,
        inputs: Vec<String>,
        (keyed, run): (bool, RunSubtask),
    ) {
        self.vertices.push(Vertex {
            name: name.to_owned(),
            parallelism,
            inputs,
            keyed,
            run,
            records: Arc::new(AtomicU64::new(0)),
        });
    }

    pub(crate) fn settings(&self) -> &JobSettings {
        &self.settings
    }

    pub(crate) fn vertices(&self) -> &[Vertex] {
        &self.vertices
    }

    pub(crate) fn sinks(&self) -> &[SinkSpec] {
        &self.sinks
    }

    /// Records left out because their window had closed, over all vertices.
    pub(crate) fn late_records(&self) -> &Arc<AtomicU64> {
        &self.late_records
    }

    /// Makes new channels for an execution attempt.
    pub(crate) fn reconnect(&self) {
        for edge in &self.edges {
            let (upstream, downstream) = (edge.upstream as usize, edge.downstream as usize);
            edge.channels.reconnect(upstream, downstream, self.settings.channel_messages);
        }
    }

    /// The vertices as the coordinator wants them.
    pub(crate) fn vertex_specs(&self) -> Vec<VertexSpec> {
        let spec = |vertex: &Vertex| VertexSpec {
            name: vertex.name.clone(),
            parallelism: vertex.parallelism,
            inputs: vertex
                .inputs
                .iter()
                .map(|input| InputSpec { vertex: input.clone(), exchange: ExchangeKind::AllToAll })
                .collect(),
        };
        self.vertices.iter().map(spec).collect()
    }

    /// Checks names and parallelisms.
    pub(crate) fn check(&self) -> Result<()> {
        self.settings.check()?;
        let mut flaws = self.flaws.clone();
        let mut names = BTreeSet::new();
        let max = self.settings.max_parallelism;
        for vertex in &self.vertices {
            if vertex.name.is_empty() || !names.insert(&vertex.name) {
                flaws.push(format!("the name {:?} is empty or used twice", vertex.name));
            }
            let most = if vertex.keyed { max.get() } else { u32::from(u16::MAX) };
            if vertex.parallelism == 0 || vertex.parallelism > most {
                flaws.push(format!(
                    "vertex {:?} has parallelism {}; it must be 1 to {most}",
                    vertex.name, vertex.parallelism
                ));
            }
        }
        match flaws.first() {
            None => Ok(()),
            Some(flaw) => Err(JobError::new(JobErrorKind::InvalidArgument, flaw.clone())),
        }
    }
}

fn context(env: &SubtaskEnv) -> SubtaskContext {
    SubtaskContext { index: env.id.index.get(), parallelism: env.parallelism, attempt: env.attempt }
}

/// Opens a keyed operator of a subtask over its state.
fn open_keyed<Op: KeyedOperator, F: Fn(&Op::In) -> Op::Key>(
    env: &SubtaskEnv,
    restore: &SubtaskRestore,
    operator: Op,
    key: F,
) -> Result<KeyedTask<Op, F>> {
    let (state, late_records) = (env.open_state(restore)?, Arc::clone(&env.late_records));
    let now_ms = wall_ms(env.clock.as_ref());
    let core = KeyedCore::open(operator, key, state, late_records, now_ms)?;
    Ok(KeyedTask::new(core, Arc::clone(&env.clock)))
}
