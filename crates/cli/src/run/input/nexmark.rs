//! The events of NEXMark: people, auctions and bids of an auction site, made up by the generator
//! crate `nexmark`.
//!
//! Event `n` follows from `n` and the settings alone, so the input can be read on from any number.
//! [`SPLITS`] readers share it: split `s` has the events `s`, `s + SPLITS` and so on, and a
//! checkpoint keeps the next number of each.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;

use super::{Gauge, Identity, JobInput};
use crate::args::{NexmarkArgs, nexmark as limits};
use crate::error::Result;

/// How many parts the input has: the most source subtasks that have something to read. Fixed, so
/// that a checkpoint restores at any parallelism.
pub(crate) const SPLITS: u64 = 16;

const SCHEME: &str = "nexmark:";

/// Time of event 0, in milliseconds since 1970: a midnight. Without it the generator would begin at
/// the present time, and no two runs were the same.
const FIRST_MS: u64 = 1_436_918_400_000;

/// Which events there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NexmarkEvents {
    /// How many.
    pub(crate) events: u64,
    /// How many in a second of event time.
    event_time_rate: u64,
    /// How many come shuffled in a group; 1 for none.
    out_of_order: u64,
}

impl NexmarkEvents {
    /// The events that were asked for.
    pub(crate) const fn of(args: &NexmarkArgs) -> Self {
        let NexmarkArgs { events, event_time_rate, out_of_order, .. } = *args;
        Self { events, event_time_rate, out_of_order }
    }

    /// Reads `nexmark:EVENTS:EVENT_TIME_RATE:OUT_OF_ORDER`; `None` if `name` does not begin like
    /// that.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(name: &str) -> Option<Result<Self, String>> {
        let numbers: Vec<&str> = name.strip_prefix(SCHEME)?.split(':').collect();
        let parsed = match numbers.as_slice() {
            [events, rate, group] => limits::events(events).and_then(|events| {
                let event_time_rate = limits::event_time_rate(rate)?;
                Ok(Self { events, event_time_rate, out_of_order: limits::out_of_order(group)? })
            }),
            _ => Err("write nexmark:EVENTS:EVENT_TIME_RATE:OUT_OF_ORDER".to_owned()),
        };
        Some(parsed.map_err(|wrong| format!("{name:?}: {wrong}")))
    }

    /// The options of `run nexmark` that ask for these events.
    pub(crate) fn options(self) -> [String; 3] {
        [
            format!("--events={}", self.events),
            format!("--event-time-rate={}", self.event_time_rate),
            format!("--out-of-order={}", self.out_of_order),
        ]
    }

    /// Makes the events from number 0 on, without end.
    pub(crate) fn generator(self) -> EventGenerator {
        // The limits of the options leave room in any integer.
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let rate = size(self.event_time_rate);
        EventGenerator::new(NexmarkConfig {
            base_time: FIRST_MS,
            first_rate: rate,
            next_rate: rate,
            out_of_order_group_size: size(self.out_of_order),
            ..NexmarkConfig::default()
        })
    }

    /// The first number of the group of events that are shuffled with event `number`: of it and all
    /// that come after it, none happened before that one.
    pub(super) fn group_start(self, number: u64) -> u64 {
        number - number.checked_rem(self.out_of_order).unwrap_or(0)
    }
}

impl fmt::Display for NexmarkEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, event_time_rate, out_of_order } = self;
        write!(f, "{SCHEME}{events}:{event_time_rate}:{out_of_order}")
    }
}

/// The events as the input of a job.
#[derive(Clone, Debug)]
pub(crate) struct NexmarkInput {
    events: NexmarkEvents,
    gauge: Arc<Gauge>,
    /// Events taken of each split.
    taken: Arc<Mutex<[u64; SPLITS as usize]>>,
}

impl NexmarkInput {
    /// These events.
    pub(crate) fn new(events: NexmarkEvents) -> Self {
        Self { events, gauge: Arc::default(), taken: Arc::default() }
    }

    /// Which events they are.
    pub(crate) const fn events(&self) -> NexmarkEvents {
        self.events
    }

    /// Notes how far splits have been read: their numbers and the next event of each.
    pub(super) fn note(&self, splits: impl Iterator<Item = (u64, u64)>) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for (split, next) in splits {
            if let Some(taken) = taken.get_mut(split as usize) {
                *taken = next.saturating_sub(split) / SPLITS;
            }
        }
        let records = taken.iter().sum();
        self.gauge.records.store(records, Ordering::Relaxed);
        self.gauge.file_bytes.store(records, Ordering::Relaxed);
    }
}

impl JobInput for NexmarkInput {
    fn name(&self) -> String {
        self.events.to_string()
    }

    fn file_bytes(&self) -> Option<u64> {
        Some(self.events.events)
    }

    fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    fn identity(&self, _bytes: Option<u64>) -> Result<Option<Identity>> {
        Ok(Some(Identity::of(self.name().as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_bad_ones_refused() {
        let events = NexmarkEvents { events: 10, event_time_rate: 1_000, out_of_order: 7 };
        assert_eq!(NexmarkEvents::parse(&events.to_string()), Some(Ok(events)));
        assert_eq!(NexmarkEvents::parse("flights.csv"), None);
        for bad in ["nexmark:", "nexmark:10", "nexmark:0:1:1", "nexmark:1:0:1", "nexmark:9:1:953"] {
            assert!(NexmarkEvents::parse(bad).unwrap().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_event_follows_from_its_number_alone() {
        let events = NexmarkEvents { events: 5_000, event_time_rate: 100, out_of_order: 10 };
        let all: Vec<_> = events.generator().take(5_000).collect();
        assert_eq!(all[0].timestamp(), FIRST_MS);
        for number in [0, 1, 9, 10, 4_321] {
            let mut again = events.generator().with_offset(number).with_step(3);
            assert_eq!(again.next().as_ref(), all.get(number as usize));
            assert_eq!(again.next().as_ref(), all.get(number as usize + 3));
        }
    }

    #[test]
    fn shuffled_groups_hold_the_same_events_and_none_before_their_start() {
        let of = |out_of_order| NexmarkEvents { events: 3_000, event_time_rate: 100, out_of_order };
        let times = |events: NexmarkEvents| -> Vec<u64> {
            events.generator().take(3_000).map(|event| event.timestamp()).collect()
        };
        let (ordered, shuffled) = (times(of(1)), times(of(30)));
        assert!(ordered.is_sorted() && !shuffled.is_sorted());
        let mut sorted = shuffled.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ordered);
        for number in 0..3_000 {
            let start = shuffled[of(30).group_start(number as u64) as usize];
            assert!(shuffled[number..].iter().all(|time| start <= *time), "{number}");
        }
    }
}
