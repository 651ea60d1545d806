//! State that expires in an operator: the runtime tells it the time and sweeps.

use std::time::Duration;

use millpond_runtime::{KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result};
use millpond_state::{StateOptions, TimeDomain, Ttl, ValueState};

use crate::subtasks::Subtasks;

/// Counts records by key and forgets keys that were not seen for 100 ms.
struct Forgetful {
    domain: TimeDomain,
    counts: Option<ValueState<u64, u64>>,
}

impl KeyedOperator for Forgetful {
    type In = u64;
    type Key = u64;
    type Out = (u64, u64);
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        let ttl = Ttl::new(Duration::from_millis(100), self.domain, cx.state_time())?;
        let options = StateOptions::new().ttl(ttl);
        self.counts = Some(ValueState::register_with(cx.backend(), "counts", options)?);
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, u64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let mut counted = Vec::new();
        let counts = self.counts.as_ref().unwrap();
        counts.update_many(cx.backend(), batch.entries(), |_, count| {
            counted.push(count.unwrap_or(0) + 1);
            Some(count.unwrap_or(0) + 1)
        })?;
        let said: Vec<_> = batch.records().copied().zip(counted).collect();
        cx.emit_all(&said)
    }
}

fn expires_and_is_swept(domain: TimeDomain) {
    let make = move || Forgetful { domain, counts: None };
    let key: fn(&u64) -> u64 = |key| *key;
    let mut subtasks = Subtasks::open(2, make, key);
    let tell = |subtasks: &mut Subtasks<_, _, fn(&u64) -> u64>, ms| match domain {
        TimeDomain::Event => subtasks.advance_watermark(ms),
        TimeDomain::Processing => subtasks.advance_processing_ms(ms),
    };
    tell(&mut subtasks, 1_000);
    subtasks.process(0..500);
    subtasks.process([7]);
    assert!(subtasks.take_output().contains(&(7, 2)));
    tell(&mut subtasks, 1_099);
    subtasks.process([7]);
    assert_eq!(subtasks.take_output(), [(7, 3)]);
    subtasks.rescale(3);
    tell(&mut subtasks, 1_150);
    subtasks.process([8]);
    assert_eq!(subtasks.take_output(), [(8, 1)], "it was not seen for more than 100 ms");
    for _ in 0..100 {
        // One key of each subtask, so that all of them get batches.
        subtasks.process([7, 8, 9, 10, 11, 12, 13]);
    }
    assert_eq!(subtasks.entries("counts"), 7, "the others were swept out, unread");
}

#[test]
fn state_that_expires_by_processing_time_is_swept_out() {
    expires_and_is_swept(TimeDomain::Processing);
}

#[test]
fn state_that_expires_by_event_time_is_swept_out() {
    expires_and_is_swept(TimeDomain::Event);
}
