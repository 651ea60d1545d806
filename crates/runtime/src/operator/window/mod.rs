//! Windows: records of a key are gathered by time, and each window is said when it is complete.
//!
//! A window is a namespace of the [state](WindowState) that holds its records, and has timers for
//! the moments when it is complete and when it is forgotten. State and timers are in the operator's
//! backend, so windows under way are in every snapshot and move with their keys. The namespace of a
//! tumbling or sliding window is its start; [sessions](session) have a number that stays the same
//! while they grow.

mod assign;
mod session;
mod state;

use std::fmt;

use millpond_state::codec::{Codec, DefaultCodec, HasCodec};
use millpond_state::{At, EntryKey, NamespaceContext, TimeDomain};

use super::{KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Timer};
use crate::error::Result;
use crate::watermark::Timestamp;
use assign::{Cut, starts};
use session::Sessions;
use state::not_opened;

pub use assign::{Window, Windows};
pub use state::{WindowAggregate, WindowList, WindowReduce, WindowState};

/// What a window held when it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowResult<K, R> {
    /// The key.
    pub key: K,
    /// The window.
    pub window: Window,
    /// What its state came to.
    pub result: R,
}

/// By which time windows go.
pub struct WindowTime<In>(Option<TimestampOf<In>>);

/// When a record happened.
type TimestampOf<In> = Box<dyn Fn(&In) -> Timestamp + Send>;

impl<In> WindowTime<In> {
    /// By event time; `timestamp` says when a record happened.
    pub fn event(timestamp: impl Fn(&In) -> Timestamp + Send + 'static) -> Self {
        Self(Some(Box::new(timestamp)))
    }

    /// By the time at which records are processed.
    #[must_use]
    pub const fn processing() -> Self {
        Self(None)
    }
}

impl<In> fmt::Debug for WindowTime<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Event" } else { "Processing" })
    }
}

/// Gathers records into windows and says each window's result when it is complete.
///
/// In event time a window is complete when the watermark reaches its last millisecond. It is kept
/// for the [allowed lateness](Self::allow_lateness_ms) after that, and said again with each record
/// that comes late. A record all of whose windows are forgotten is counted as late and goes to the
/// side output. In processing time a record belongs to the time at which it is processed, and
/// nothing is late; what is open when all input has been processed is said then.
///
/// The watermark is not in snapshots: after a restore it begins anew, so a record that was late
/// before may open its window again.
///
/// ```
/// use millpond_runtime::{Timestamp, WindowOperator, WindowReduce, WindowTime, Windows};
///
/// // The highest of the readings (time in milliseconds, value) of each key, every five seconds
/// // over the last minute. Readings may be ten seconds late.
/// let highest: WindowOperator<_, String, WindowReduce<String, _>> = WindowOperator::new(
///     "highest",
///     Windows::sliding(60_000, 5_000)?,
///     WindowTime::event(|reading: &(i64, u64)| Timestamp::from_ms(reading.0)),
///     WindowReduce::new(|a: (i64, u64), b: (i64, u64)| if b.1 > a.1 { b } else { a }),
/// )
/// .allow_lateness_ms(10_000);
/// # Ok::<(), millpond_runtime::JobError>(())
/// ```
pub struct WindowOperator<In, K, S> {
    name: String,
    windows: Windows,
    time: WindowTime<In>,
    lateness_ms: i64,
    state: S,
    /// Of session windows, once opened.
    sessions: Option<Sessions<K>>,
}

impl<In, K, S> WindowOperator<In, K, S> {
    /// Keeps `windows` by `time` in `state`, which is registered under `name`.
    #[must_use]
    pub fn new(name: impl Into<String>, windows: Windows, time: WindowTime<In>, state: S) -> Self {
        Self { name: name.into(), windows, time, lateness_ms: 0, state, sessions: None }
    }

    /// Keeps windows of event time for so long after they are complete, and says them again with
    /// each record that comes late. Without this a window is forgotten when it is complete. Makes
    /// no difference in processing time.
    #[must_use]
    pub fn allow_lateness_ms(mut self, lateness_ms: u32) -> Self {
        self.lateness_ms = lateness_ms.into();
        self
    }

    fn rules(&self) -> Rules {
        match self.time.0 {
            Some(_) => Rules { domain: TimeDomain::Event, lateness_ms: self.lateness_ms },
            None => Rules { domain: TimeDomain::Processing, lateness_ms: 0 },
        }
    }
}

/// When windows are complete, late and forgotten.
#[derive(Clone, Copy, Debug)]
struct Rules {
    domain: TimeDomain,
    lateness_ms: i64,
}

impl Rules {
    /// When a window that ends with `last_ms` is forgotten.
    const fn forgotten_ms(self, last_ms: i64) -> i64 {
        last_ms.saturating_add(self.lateness_ms)
    }

    /// Whether a window is complete already. In processing time the timer always comes first.
    fn is_complete(self, last_ms: i64, watermark: Timestamp) -> bool {
        self.domain == TimeDomain::Event && last_ms <= watermark.as_ms()
    }

    fn is_forgotten(self, last_ms: i64, watermark: Timestamp) -> bool {
        self.is_complete(self.forgotten_ms(last_ms), watermark)
    }
}

/// Records of a batch on their way into windows: position in the batch, and the window.
type Pending = Vec<(usize, NamespaceContext<i64>)>;

impl<In, K, S> WindowOperator<In, K, S>
where
    In: Send,
    K: HasCodec,
    S: WindowState<K, In>,
{
    /// When a record happened.
    fn at_ms(&self, record: &In, cx: &OperatorContext<'_, Self>) -> i64 {
        match &self.time.0 {
            Some(timestamp) => timestamp(record).as_ms(),
            None => cx.processing_ms(),
        }
    }

    /// Takes records into tumbling or sliding windows.
    fn process_aligned(
        &mut self,
        (size_ms, slide_ms): (i64, i64),
        batch: &KeyedBatch<'_, In>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let rules = self.rules();
        let mut pending = Pending::with_capacity(batch.len());
        for (index, record) in batch.records().enumerate() {
            let (mut covered, mut taken) = (false, false);
            for start in starts(self.at_ms(record, cx), size_ms, slide_ms) {
                covered = true;
                let window = Window::of_size(start, size_ms);
                if rules.is_forgotten(window.last_ms(), cx.watermark()) {
                    continue;
                }
                taken = true;
                pending.push((index, NamespaceContext::new(&start)?));
                let complete = rules.is_complete(window.last_ms(), cx.watermark());
                if complete || pending.len() == KeyedBatch::<In>::RECORDS_MAX {
                    self.add_aligned(batch, &mut pending, size_ms, cx)?;
                }
                if complete {
                    self.say_again(batch, index, window, cx)?;
                }
            }
            if covered && !taken {
                late(record, cx)?;
            }
        }
        self.add_aligned(batch, &mut pending, size_ms, cx)
    }

    /// Adds pending records to their windows, and sets the timers of windows that are new.
    fn add_aligned(
        &mut self,
        batch: &KeyedBatch<'_, In>,
        pending: &mut Pending,
        size_ms: i64,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let entries = addresses(batch, pending);
        let rules = self.rules();
        let mut known = [false; KeyedBatch::<()>::RECORDS_MAX];
        // With lateness a known window may still need its first timer again, after a restore.
        if let Some(state) = self.state.probe().filter(|_| rules.lateness_ms == 0) {
            let mut held = [None; KeyedBatch::<()>::RECORDS_MAX];
            let held = held.get_mut(..entries.len()).unwrap_or_default();
            cx.backend().get_many(state, &entries, held)?;
            for (known, held) in known.iter_mut().zip(held) {
                *known = held.is_some();
            }
        }
        let codec = DefaultCodec::<i64>::default();
        for (entry, _) in entries.iter().zip(known).filter(|(_, known)| !known) {
            let last_ms = Window::of_size(codec.decode_all(entry.namespace())?, size_ms).last_ms();
            set_timers(rules, At::from_entry(*entry), last_ms, cx)?;
        }
        self.add_pending(batch, pending, &entries, cx)?;
        pending.clear();
        Ok(())
    }

    /// Adds pending records to their windows.
    fn add_pending(
        &self,
        batch: &KeyedBatch<'_, In>,
        pending: &Pending,
        entries: &[EntryKey<'_>],
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let record = |(index, _): &(usize, _)| batch.record(*index);
        let records: Vec<&In> = pending.iter().filter_map(record).collect();
        self.state.add_many(cx.backend(), entries, &records)
    }

    /// Says a window again that a record has come to late.
    fn say_again(
        &self,
        batch: &KeyedBatch<'_, In>,
        index: usize,
        window: Window,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let Some(entry) = batch.entries().get(index) else { return Ok(()) };
        let namespace = NamespaceContext::new(&window.start().as_ms())?;
        self.say(At::from_entry(entry.in_namespace(namespace.as_bytes())), window, cx)
    }

    /// Emits what a window holds, if it holds anything.
    fn say(
        &self,
        at: At<'_, K, i64>,
        window: Window,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let Some(result) = self.state.result(cx.backend(), at)? else { return Ok(()) };
        let key = DefaultCodec::<K>::default().decode_all(at.entry().key())?;
        cx.emit(&WindowResult { key, window, result })
    }

    fn on_aligned_timer(
        &self,
        size_ms: i64,
        timer: &Timer<K, i64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let window = Window::of_size(timer.namespace()?, size_ms);
        if timer.time_ms() == window.last_ms() {
            self.say(timer.at(), window, cx)?;
        }
        if timer.time_ms() == self.rules().forgotten_ms(window.last_ms()) {
            self.state.delete(cx.backend(), timer.at())?;
        }
        Ok(())
    }
}

impl<In, K, S> KeyedOperator for WindowOperator<In, K, S>
where
    In: Send,
    K: HasCodec,
    S: WindowState<K, In>,
{
    type In = In;
    type Key = K;
    type Out = WindowResult<K, S::Result>;
    type Side = In;
    type TimerNamespace = i64;

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.state.open(cx.backend(), &self.name)?;
        if let Cut::Session { .. } = self.windows.0 {
            self.sessions = Some(Sessions::register(cx.backend(), &self.name)?);
        }
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, In>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        match self.windows.0 {
            Cut::Aligned { size_ms, slide_ms } => {
                self.process_aligned((size_ms, slide_ms), batch, cx)
            }
            Cut::Session { gap_ms } => self.process_sessions(gap_ms, batch, cx),
        }
    }

    fn on_timer(
        &mut self,
        timer: &Timer<K, i64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        match self.windows.0 {
            Cut::Aligned { size_ms, .. } => self.on_aligned_timer(size_ms, timer, cx),
            Cut::Session { .. } => self.on_session_timer(timer, cx),
        }
    }

    fn on_end(&mut self, cx: &mut OperatorContext<'_, Self>) -> Result<()> {
        // Those of event time have all fired.
        while let Some(timer) = cx.timers().take_earliest(TimeDomain::Processing)? {
            self.on_timer(&timer, cx)?;
        }
        Ok(())
    }
}

impl<In, K, S> fmt::Debug for WindowOperator<In, K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowOperator")
            .field("name", &self.name)
            .field("windows", &self.windows)
            .field("time", &self.time)
            .field("lateness_ms", &self.lateness_ms)
            .finish_non_exhaustive()
    }
}

/// The windows of pending records as entries of the state.
fn addresses<'a, In>(batch: &KeyedBatch<'a, In>, pending: &'a Pending) -> Vec<EntryKey<'a>> {
    let address = |(index, namespace): &'a (usize, NamespaceContext<i64>)| {
        let entry = batch.entries().get(*index)?;
        Some(entry.in_namespace(namespace.as_bytes()))
    };
    pending.iter().filter_map(address).collect()
}

/// Sets the timers of a window: when it is complete, unless that is past, and when it is forgotten.
fn set_timers<Op>(
    rules: Rules,
    at: At<'_, Op::Key, i64>,
    last_ms: i64,
    cx: &mut OperatorContext<'_, Op>,
) -> Result<()>
where
    Op: KeyedOperator<TimerNamespace = i64>,
{
    let complete = rules.is_complete(last_ms, cx.watermark());
    if !complete {
        cx.timers().add(rules.domain, at, last_ms)?;
    }
    let forgotten_ms = rules.forgotten_ms(last_ms);
    if complete || forgotten_ms != last_ms {
        cx.timers().add(rules.domain, at, forgotten_ms)?;
    }
    Ok(())
}

/// Counts a record that is too late, and sends it to the side output.
fn late<Op: KeyedOperator<Side = In, In = In>, In>(
    record: &In,
    cx: &mut OperatorContext<'_, Op>,
) -> Result<()> {
    cx.count_late(1);
    cx.emit_side(record)
}
