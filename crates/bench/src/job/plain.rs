//! The job written by hand: producers, bounded channels of batches, consumers that count.

use crossbeam_channel::bounded;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{JobOptions, Keys};
use crate::error::{BenchError, Result};

/// Records that go through a channel at once, as in a job.
const BATCH_RECORDS: usize = 1_024;

/// Batches that a channel holds for each producer.
const CHANNEL_BATCHES: usize = 4;

/// Returns the sum of all counts.
///
/// # Errors
/// If a thread panicked.
pub(super) fn run(options: &JobOptions) -> Result<u64> {
    let consumers = options.parallelism as usize;
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..consumers).map(|_| bounded::<Vec<u64>>(CHANNEL_BATCHES * consumers)).unzip();
    std::thread::scope(|scope| {
        for index in 0..options.parallelism {
            let senders = senders.clone();
            scope.spawn(move || produce(Keys::new(options, index), &senders));
        }
        drop(senders);
        let threads: Vec<_> =
            receivers.into_iter().map(|batches| scope.spawn(move || consume(&batches))).collect();
        let mut sum = 0u64;
        for thread in threads {
            let counted = thread.join().map_err(|_| BenchError::failed("a consumer panicked"))?;
            sum = sum.wrapping_add(counted);
        }
        Ok(sum)
    })
}

fn produce(mut keys: Keys, senders: &[crossbeam_channel::Sender<Vec<u64>>]) {
    let empty = || Vec::with_capacity(BATCH_RECORDS);
    let mut batches: Vec<Vec<u64>> = senders.iter().map(|_| empty()).collect();
    while let Some(key) = keys.next_key() {
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let target = (hash as usize * batches.len()) >> 32;
        if let (Some(batch), Some(sender)) = (batches.get_mut(target), senders.get(target)) {
            batch.push(key);
            if batch.len() == BATCH_RECORDS {
                // A consumer that has gone shows when it is joined.
                let _ = sender.send(std::mem::replace(batch, empty()));
            }
        }
    }
    for (sender, batch) in senders.iter().zip(batches) {
        let _ = sender.send(batch);
    }
}

fn consume(batches: &crossbeam_channel::Receiver<Vec<u64>>) -> u64 {
    let mut counts: HashMap<u64, u64, FixedState> = HashMap::default();
    let mut sum = 0u64;
    for key in batches.iter().flatten() {
        let count = counts.entry(key).or_insert(0);
        *count += 1;
        sum = sum.wrapping_add(*count);
    }
    sum
}
