//! The job in `timely`: keys by exchange to the worker that counts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use millpond_bench::job::{JobOptions, keys_of_producer};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Input, Operator, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

use crate::Outcome;

/// Keys that are sent before the worker gets to work.
const BATCH_RECORDS: u64 = 65_536;

/// Runs the job and returns the sum of all counts.
pub fn run(options: &JobOptions) -> Outcome<u64> {
    let (options, total) = (*options, Arc::new(AtomicU64::new(0)));
    let sum = Arc::clone(&total);
    let config = timely::Config::process(options.parallelism as usize);
    let guards = timely::execute(config, move |worker| {
        let mut input = InputHandle::new();
        let probe = ProbeHandle::new();
        let index = worker.index() as u32;
        let sum = Arc::clone(&sum);
        worker.dataflow::<u64, _, _>(|scope| {
            let keys = scope.input_from(&mut input).container::<Vec<u64>>();
            let by_key = Exchange::new(|key: &u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
            let counted = keys
                .unary::<timely::container::CapacityContainerBuilder<Vec<()>>, _, _, _>(
                    by_key,
                    "count",
                    move |_, _| {
                        let mut counts: HashMap<u64, u64, FixedState> = HashMap::default();
                        move |input, _output| {
                            let mut batch_sum = 0u64;
                            input.for_each(|_, batch| {
                                for key in batch.drain(..) {
                                    let count = counts.entry(key).or_insert(0);
                                    *count += 1;
                                    batch_sum = batch_sum.wrapping_add(*count);
                                }
                            });
                            sum.fetch_add(batch_sum, Ordering::Relaxed);
                        }
                    },
                );
            counted.probe_with(&probe);
        });
        let mut sent = 0u64;
        for key in keys_of_producer(&options, index) {
            input.send(key);
            sent += 1;
            if sent.is_multiple_of(BATCH_RECORDS) {
                input.advance_to(sent);
                // One batch under way while the next is made.
                while probe.less_than(&(sent - BATCH_RECORDS)) {
                    worker.step();
                }
            }
        }
        input.close();
        while worker.step() {}
    })?;
    for worker in guards.join() {
        worker?;
    }
    Ok(total.load(Ordering::Relaxed))
}
