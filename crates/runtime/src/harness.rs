//! Drives one subtask of a keyed operator by hand, without threads, channels or clocks: for tests
//! of operators, and for engines that bring their own runtime.
//!
//! ```
//! use millpond_memory::MemoryBackendFactory;
//! use millpond_runtime::harness::OperatorHarness;
//! use millpond_runtime::{Timestamp, WindowOperator, WindowReduce, WindowTime, Windows};
//! use millpond_state::{BackendContext, BackendFactory, MaxParallelism};
//!
//! let max = MaxParallelism::new(16)?;
//! let context = BackendContext::new("sums", max.full_range(), max);
//! let backend = MemoryBackendFactory::default().open(&context)?;
//! let sums = WindowOperator::new(
//!     "sums",
//!     Windows::tumbling(10)?,
//!     WindowTime::event(|record: &u64| Timestamp::from_ms(*record as i64)),
//!     WindowReduce::new(|a, b| a + b),
//! );
//! let mut harness = OperatorHarness::open(sums, |record: &u64| record % 2, backend)?;
//! harness.process([1, 2, 3, 11])?;
//! harness.advance_watermark(Timestamp::from_ms(9))?;
//! let mut results: Vec<(u64, u64)> =
//!     harness.take_output().into_iter().map(|said| (said.key, said.result)).collect();
//! results.sort_unstable();
//! assert_eq!(results, [(0, 2), (1, 4)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_state::codec::{Codec, DefaultCodec};
use millpond_state::{KeyedBackend, OperatorState, Scratch, key_hash};

use crate::error::Result;
use crate::operator::{BroadcastOperator, KeyedOperator};
use crate::output::Keyed;
use crate::task::{Emitters, KeyedCore, SubtaskState};
use crate::watermark::Timestamp;

/// One subtask of `Op`, keyed by `F`. See the [module](self).
pub struct OperatorHarness<Op: KeyedOperator, F> {
    core: KeyedCore<Op, F>,
    key: F,
    output: Vec<Op::Out>,
    side: Vec<Op::Side>,
    late_records: Arc<AtomicU64>,
}

impl<Op, F> OperatorHarness<Op, F>
where
    Op: KeyedOperator<Out: Clone, Side: Clone>,
    F: Fn(&Op::In) -> Op::Key + Clone,
{
    /// Opens `operator` over `backend`, which may hold restored state.
    ///
    /// # Errors
    /// What the operator reports.
    pub fn open(operator: Op, key: F, backend: Box<dyn KeyedBackend>) -> Result<Self> {
        Self::open_with(operator, key, backend, OperatorState::new())
    }

    /// As [`Self::open`], with operator state too.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        operator: Op,
        key: F,
        backend: Box<dyn KeyedBackend>,
        operator_state: OperatorState,
    ) -> Result<Self> {
        let late_records = Arc::<AtomicU64>::default();
        let state = SubtaskState { backend, operator: operator_state };
        let late = Arc::clone(&late_records);
        let core = KeyedCore::open(operator, key.clone(), state, late, i64::MIN)?;
        Ok(Self { core, key, output: Vec::new(), side: Vec::new(), late_records })
    }

    /// Hands records to the operator, in batches of at most
    /// [`RECORDS_MAX`](crate::KeyedBatch::RECORDS_MAX). They must be of the backend's key groups.
    ///
    /// # Errors
    /// What the operator reports.
    pub fn process(&mut self, records: impl IntoIterator<Item = Op::In>) -> Result<()> {
        let codec = DefaultCodec::<Op::Key>::default();
        let mut keyed = Vec::new();
        let mut bytes = Scratch::new();
        for record in records {
            bytes.clear();
            codec.encode_into(&(self.key)(&record), &mut bytes)?;
            keyed.push(Keyed { hash: key_hash(bytes.as_slice()), record });
        }
        self.core.process(&keyed, Emitters { output: &mut self.output, side: &mut self.side })
    }

    /// Moves event time on, and fires the timers that are due. A time that is not later is ignored.
    ///
    /// # Errors
    /// What the operator reports.
    pub fn advance_watermark(&mut self, watermark: Timestamp) -> Result<()> {
        if watermark <= self.core.watermark() {
            return Ok(());
        }
        let emitters = Emitters { output: &mut self.output, side: &mut self.side };
        self.core.advance_watermark(watermark, emitters)
    }

    /// Moves processing time on, and fires the timers whose time is over. It is unknown at first.
    ///
    /// # Errors
    /// What the operator reports.
    pub fn advance_processing_ms(&mut self, now_ms: i64) -> Result<()> {
        let emitters = Emitters { output: &mut self.output, side: &mut self.side };
        self.core.advance_processing_ms(now_ms, emitters)
    }

    /// The processing time before which no timer fires; `None` if there are none. To be asked again
    /// after each call.
    #[must_use]
    pub fn next_wake_ms(&self) -> Option<i64> {
        self.core.next_wake_ms()
    }

    /// Ends the input: event time comes to its end, then the operator hears of the end.
    ///
    /// # Errors
    /// What the operator reports.
    pub fn end(&mut self) -> Result<()> {
        self.advance_watermark(Timestamp::MAX)?;
        self.core.end(Emitters { output: &mut self.output, side: &mut self.side })
    }

    /// Takes what the operator has emitted since the last call.
    pub fn take_output(&mut self) -> Vec<Op::Out> {
        std::mem::take(&mut self.output)
    }

    /// Takes what the operator has sent to its side output since the last call.
    pub fn take_side(&mut self) -> Vec<Op::Side> {
        std::mem::take(&mut self.side)
    }

    /// Records that the operator has counted as late.
    #[must_use]
    pub fn late_records(&self) -> u64 {
        self.late_records.load(Ordering::Relaxed)
    }

    /// The backend, to take snapshots or to look into it.
    pub fn backend(&mut self) -> &mut dyn KeyedBackend {
        self.core.state().backend.as_mut()
    }

    /// The operator's state without keys.
    pub fn operator_state(&mut self) -> &mut OperatorState {
        &mut self.core.state().operator
    }

    /// Ends without a word to the operator and gives its state back.
    #[must_use]
    pub fn into_state(self) -> (Box<dyn KeyedBackend>, OperatorState) {
        let state = self.core.into_state();
        (state.backend, state.operator)
    }
}

impl<Op, F> OperatorHarness<Op, F>
where
    Op: BroadcastOperator<Out: Clone, Side: Clone>,
    F: Fn(&Op::In) -> Op::Key + Clone,
{
    /// Hands records of the broadcast input to the operator.
    ///
    /// # Errors
    /// What the operator reports.
    pub fn broadcast(&mut self, records: &[Op::Broadcast]) -> Result<()> {
        let emitters = Emitters { output: &mut self.output, side: &mut self.side };
        self.core.process_broadcast(records, emitters)
    }
}

impl<Op: KeyedOperator, F> fmt::Debug for OperatorHarness<Op, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorHarness").finish_non_exhaustive()
    }
}
