//! Timers of operators: when they fire, in which order, and that they survive a restore.

use millpond_runtime::{KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result, Timer};
use millpond_state::{At, NamespaceContext, TimeDomain};

use crate::subtasks::{Random, Subtasks};

/// What to do with a timer of a key in a namespace.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Add(TimeDomain, u64, u32, i64),
    Delete(TimeDomain, u64, u32, i64),
    DeleteAll(TimeDomain, u64, u32),
    Nothing(u64),
}

use Order::{Add, Delete, DeleteAll, Nothing};
use TimeDomain::{Event, Processing};

impl Order {
    fn key(&self) -> u64 {
        match self {
            Add(_, key, ..) | Delete(_, key, ..) | DeleteAll(_, key, _) | Nothing(key) => *key,
        }
    }
}

/// Carries out orders and says which timers fire. A timer whose time ends in 7 sets another one
/// tenth later.
#[derive(Default)]
pub(crate) struct Clockwork;

impl KeyedOperator for Clockwork {
    type In = Order;
    type Key = u64;
    type Out = (TimeDomain, u64, u32, i64);
    type Side = ();
    type TimerNamespace = u32;

    fn open(&mut self, _: &mut OpenContext<'_>) -> Result<()> {
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, Order>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        for (order, entry) in batch.records().zip(batch.entries()) {
            let (domain, room) = match order {
                Add(domain, _, room, _) | Delete(domain, _, room, _) => (domain, room),
                DeleteAll(domain, _, room) => (domain, room),
                Nothing(_) => continue,
            };
            let namespace = NamespaceContext::new(room)?;
            let at = At::from_entry(entry.in_namespace(namespace.as_bytes()));
            match order {
                Add(_, _, _, time) => drop(cx.timers().add(*domain, at, *time)?),
                Delete(_, _, _, time) => drop(cx.timers().delete(*domain, at, *time)?),
                _ => cx.timers().delete_all(*domain, at)?,
            }
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: &Timer<u64, u32>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        if timer.time_ms() % 10 == 7 {
            cx.timers().add(timer.domain(), timer.at(), timer.time_ms() + 1)?;
        }
        cx.emit(&(timer.domain(), timer.key()?, timer.namespace()?, timer.time_ms()))
    }
}

type Clockworks = Subtasks<Clockwork, fn() -> Clockwork, fn(&Order) -> u64>;

fn clockwork(parallelism: u32) -> Clockworks {
    Subtasks::open(parallelism, Clockwork::default, Order::key)
}

#[test]
fn event_timers_fire_in_order_when_the_watermark_reaches_them_and_not_before() {
    let mut subtasks = clockwork(1);
    subtasks.process([30, 10, 20, 10, 40].map(|time| Add(Event, 1, 0, time)));
    assert_eq!(subtasks.take_output(), []);
    subtasks.advance_watermark(9);
    assert_eq!(subtasks.take_output(), []);
    subtasks.advance_watermark(30);
    let fired = subtasks.take_output();
    assert_eq!(fired, [10, 20, 30].map(|time| (Event, 1, 0, time)), "10 was set twice");
    subtasks.advance_processing_ms(1_000);
    assert_eq!(subtasks.take_output(), [], "processing time is another clock");
    subtasks.advance_watermark(41);
    assert_eq!(subtasks.take_output(), [(Event, 1, 0, 40)]);
}

#[test]
fn processing_timers_fire_by_the_clock_and_event_timers_do_not() {
    let mut subtasks = clockwork(1);
    subtasks.process([Add(Processing, 1, 0, 20), Add(Event, 1, 0, 20), Add(Processing, 2, 0, 10)]);
    assert_eq!(subtasks.all[0].next_wake_ms(), Some(11));
    subtasks.advance_processing_ms(15);
    assert_eq!(subtasks.take_output(), [(Processing, 2, 0, 10)]);
    subtasks.advance_processing_ms(20);
    assert_eq!(subtasks.take_output(), [], "records of that millisecond may still come");
    subtasks.advance_processing_ms(21);
    assert_eq!(subtasks.take_output(), [(Processing, 1, 0, 20)]);
    assert_eq!(subtasks.all[0].next_wake_ms(), None);
}

#[test]
fn at_the_end_of_input_event_timers_fire_and_processing_timers_do_not() {
    let mut subtasks = clockwork(1);
    subtasks.process([Add(Event, 1, 0, 1 << 62), Add(Processing, 1, 0, 20)]);
    subtasks.end();
    assert_eq!(subtasks.take_output(), [(Event, 1, 0, 1 << 62)]);
}

#[test]
fn a_deleted_timer_does_not_fire_and_one_set_again_does() {
    let mut subtasks = clockwork(1);
    subtasks.process([
        Add(Event, 1, 0, 10),
        Add(Event, 1, 0, 20),
        Delete(Event, 1, 0, 10),
        Delete(Event, 1, 0, 99),
        Add(Event, 1, 1, 10),
        Add(Event, 2, 0, 10),
        Delete(Event, 2, 0, 10),
        Add(Event, 2, 0, 10),
        Add(Event, 3, 0, 11),
        Add(Event, 3, 0, 12),
        DeleteAll(Event, 3, 0),
    ]);
    subtasks.advance_watermark(100);
    let mut fired = subtasks.take_output();
    fired.sort_unstable_by_key(|(_, key, room, time)| (*key, *room, *time));
    assert_eq!(fired, [(Event, 1, 0, 20), (Event, 1, 1, 10), (Event, 2, 0, 10)]);
    assert_eq!(subtasks.entries("timers:event"), 0);
}

#[test]
fn a_timer_set_by_a_timer_for_a_time_that_has_come_fires_in_its_turn() {
    let mut subtasks = clockwork(1);
    subtasks.process([Add(Event, 1, 0, 7), Add(Event, 2, 0, 9), Add(Processing, 1, 0, 7)]);
    subtasks.advance_watermark(9);
    let fired = [(Event, 1, 0, 7), (Event, 1, 0, 8), (Event, 2, 0, 9)];
    assert_eq!(subtasks.take_output(), fired);
    subtasks.advance_processing_ms(8);
    assert_eq!(subtasks.take_output(), [(Processing, 1, 0, 7)]);
    subtasks.advance_processing_ms(9);
    assert_eq!(subtasks.take_output(), [(Processing, 1, 0, 8)]);
}

#[test]
fn an_operator_without_timers_has_no_timer_states() {
    let mut subtasks = clockwork(1);
    subtasks.process([Nothing(1), Delete(Event, 1, 0, 5), DeleteAll(Processing, 1, 0)]);
    subtasks.advance_watermark(100);
    assert!(subtasks.all[0].backend().states().is_empty());
}

#[test]
fn timers_are_restored_at_any_parallelism_with_their_keys_and_namespaces() {
    for (before, after) in [(1, 3), (3, 1), (4, 7), (5, 5)] {
        let mut random = Random::new(u64::from(before * 10 + after));
        let mut subtasks = clockwork(before);
        let mut expected = Vec::new();
        for _ in 0..500 {
            let (key, room) = (random.below(60), random.below(3) as u32);
            let time = random.below(50) as i64 * 10;
            let domain = if random.below(2) == 0 { Event } else { Processing };
            subtasks.process([Add(domain, key, room, time)]);
            expected.push((domain == Event, key, room, time));
        }
        expected.sort_unstable();
        expected.dedup();
        subtasks.advance_watermark(199);
        subtasks.advance_processing_ms(99);
        let mut fired = subtasks.take_output();
        subtasks.rescale(after);
        subtasks.advance_watermark(199);
        assert_eq!(subtasks.take_output(), [], "what fired before is gone");
        subtasks.advance_watermark(1_000);
        subtasks.advance_processing_ms(1_000);
        fired.extend(subtasks.take_output());
        let mut fired: Vec<_> = fired
            .into_iter()
            .map(|(domain, key, room, time)| (domain == Event, key, room, time))
            .collect();
        fired.sort_unstable();
        assert_eq!(fired, expected, "from {before} to {after}");
    }
}

#[test]
fn a_million_due_timers_fire_once_each_in_order() {
    // Unoptimised code takes a minute for a million.
    const TIMERS: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let mut subtasks = clockwork(1);
    let mut random = Random::new(5);
    for _ in 0..TIMERS / 1_000 {
        let times = |_| Add(Event, random.below(TIMERS / 10), 0, random.below(1 << 40) as i64 * 10);
        subtasks.process((0..1_000).map(times).collect::<Vec<_>>());
    }
    subtasks.advance_watermark(i64::MAX - 1);
    let fired = subtasks.take_output();
    // Two of 2^40 * 10^5 addresses being alike is as good as impossible.
    assert_eq!(fired.len(), TIMERS as usize);
    assert!(fired.is_sorted_by_key(|(_, _, _, time)| *time));
    assert_eq!(subtasks.entries("timers:event"), 0);
}
