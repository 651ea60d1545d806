//! A keyed operator that adds records up for each key and emits the totals at the end of input.

use std::ops::ControlFlow;

use millpond_runtime::{
    JobError, JobErrorKind, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result,
};
use millpond_state::codec::{Codec, DefaultCodec, HasCodec};
use millpond_state::{At, EntryKey, KeyGroupRange, ReducingState};

/// A key and what is added to its total; also a key and its total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keyed<T> {
    /// The key.
    pub(crate) key: String,
    /// The amount.
    pub(crate) amount: T,
}

/// Adds up amounts by key, in the state it is told.
pub(crate) struct Totals<T: HasCodec> {
    state_name: &'static str,
    add: fn(T, T) -> T,
    state: Option<ReducingState<String, T>>,
}

impl<T: HasCodec + Copy + Send + 'static> Totals<T> {
    /// Keeps totals in the state called `state_name`; `add` adds two amounts.
    pub(crate) fn new(state_name: &'static str, add: fn(T, T) -> T) -> Self {
        Self { state_name, add, state: None }
    }

    fn emit_group(
        state: &ReducingState<String, T>,
        range: KeyGroupRange,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        cx.backend().visit_entries(state.id(), range, None, &mut |_, key, _| {
            keys.push(key.to_vec());
            Ok(ControlFlow::Continue(()))
        })?;
        keys.sort_unstable();
        for bytes in &keys {
            let at = At::from_entry(EntryKey::in_group(bytes, range.first()));
            if let Some(amount) = state.get(cx.backend(), at)? {
                let key = DefaultCodec::<String>::default().decode_all(bytes)?;
                cx.emit(&Keyed { key, amount })?;
            }
        }
        Ok(())
    }
}

impl<T: HasCodec + Copy + Send + 'static> KeyedOperator for Totals<T> {
    type In = Keyed<T>;
    type Key = String;
    type Out = Keyed<T>;
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.state = Some(ReducingState::register(cx.backend(), self.state_name, self.add)?);
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, Keyed<T>>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let state = self.state.as_ref().ok_or_else(not_opened)?;
        let amounts: Vec<T> = batch.records().map(|record| record.amount).collect();
        let Some(first) = amounts.first().copied() else { return Ok(()) };
        // There are as many amounts as entries.
        let amount = |index: usize| amounts.get(index).copied().unwrap_or(first);
        Ok(state.add_many(cx.backend(), batch.entries(), amount)?)
    }

    fn on_end(&mut self, cx: &mut OperatorContext<'_, Self>) -> Result<()> {
        let state = self.state.as_ref().ok_or_else(not_opened)?;
        // One key group at a time: only its keys are held in memory.
        for group in cx.backend().key_groups().iter() {
            Self::emit_group(state, KeyGroupRange::new(group, group)?, cx)?;
        }
        Ok(())
    }
}

#[cold]
pub(crate) fn not_opened() -> JobError {
    JobError::new(JobErrorKind::InvalidArgument, "an operator was used before it was opened")
}
