//! The source vertex of NEXMark: each subtask makes the events of its splits, earliest first.
//!
//! The watermark is exact: it is just before the earliest event that may still come, so no event is
//! ever late.

use millpond_runtime::{Result, Source, SourceStatus, Timestamp};
use nexmark::EventGenerator;
use nexmark::event::Event;

use super::nexmark::SPLITS;
use super::{NexmarkInput, Throttle};

/// A split and the number of its next event; shape `tuple<u64,u64>` in snapshots.
pub(crate) type Position = (u64, u64);

/// The events of a split that are not taken yet.
struct Split {
    number: u64,
    generator: EventGenerator,
}

/// Makes the events of some splits.
pub(crate) struct EventSource {
    input: NexmarkInput,
    throttle: Option<Throttle>,
    splits: Vec<Split>,
    /// Tells the time of an event without making it.
    clock: Option<EventGenerator>,
    watermark: Option<Timestamp>,
}

impl EventSource {
    /// The source of subtask `subtask` of `parallelism`: every such split, from its beginning
    /// unless it is restored.
    pub(crate) fn new(
        input: NexmarkInput,
        throttle: Option<Throttle>,
        (subtask, parallelism): (u32, u32),
    ) -> Self {
        let clock = Some(input.events().generator());
        let mut source = Self { input, throttle, splits: Vec::new(), clock, watermark: None };
        let own = (u64::from(subtask)..SPLITS).step_by(parallelism.max(1) as usize);
        source.splits = own.map(|split| source.split((split, split))).collect();
        source
    }

    fn split(&self, (number, next): Position) -> Split {
        let generator = self.input.events().generator().with_offset(next).with_step(SPLITS);
        Split { number, generator }
    }

    /// The split whose next event is the earliest of all that are left.
    fn earliest(&mut self) -> Option<&mut Split> {
        let end = self.input.events().events;
        let split = self.splits.iter_mut().min_by_key(|split| split.generator.offset())?;
        (split.generator.offset() < end).then_some(split)
    }

    fn fill(&mut self, out: &mut Vec<Event>, most: usize) -> SourceStatus {
        for _ in 0..most {
            let Some(split) = self.earliest() else { return SourceStatus::End };
            out.extend(split.generator.next());
        }
        SourceStatus::Ready
    }

    /// Event time after what was taken.
    fn advance(&mut self) {
        let events = self.input.events();
        let Some(next) = self.earliest().map(|split| split.generator.offset()) else { return };
        let Some(clock) = self.clock.take() else { return };
        let clock = clock.with_offset(events.group_start(next));
        let earliest = i64::try_from(clock.timestamp()).unwrap_or(i64::MAX);
        self.watermark = Some(Timestamp::from_ms(earliest.saturating_sub(1)));
        self.clock = Some(clock);
    }

    fn next_events(&self) -> impl Iterator<Item = Position> + '_ {
        self.splits.iter().map(|split| (split.number, split.generator.offset()))
    }
}

impl Source for EventSource {
    type Record = Event;
    type Position = Position;

    fn restore(&mut self, positions: Vec<Position>) -> Result<()> {
        self.splits = positions.into_iter().map(|position| self.split(position)).collect();
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<Event>, records_max: usize) -> Result<SourceStatus> {
        let most = match self.throttle.as_mut().map(|throttle| throttle.allow(records_max)) {
            Some(Err(wait)) => return Ok(SourceStatus::Idle(wait)),
            Some(Ok(most)) => most,
            None => records_max,
        };
        let status = self.fill(out, most);
        if let Some(throttle) = &mut self.throttle {
            throttle.take(out.len());
        }
        self.advance();
        self.input.note(self.next_events());
        Ok(status)
    }

    fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    fn positions(&mut self) -> Result<Vec<Position>> {
        Ok(self.next_events().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::{JobInput, NexmarkEvents};
    use super::*;

    const EVENTS: u64 = 5_003;

    fn input() -> NexmarkInput {
        NexmarkInput::new(NexmarkEvents::parse("nexmark:5003:100:30").unwrap().unwrap())
    }

    fn sources(input: &NexmarkInput, parallelism: u32) -> Vec<EventSource> {
        let source = |subtask| EventSource::new(input.clone(), None, (subtask, parallelism));
        (0..parallelism).map(source).collect()
    }

    fn drain(source: &mut EventSource) -> Vec<Event> {
        let mut events = Vec::new();
        while source.poll(&mut events, 100).unwrap() != SourceStatus::End {}
        events
    }

    /// Events as sorted text: they have no order of their own.
    fn sorted(events: impl IntoIterator<Item = Event>) -> Vec<String> {
        let mut texts: Vec<String> = events.into_iter().map(|event| format!("{event:?}")).collect();
        texts.sort_unstable();
        texts
    }

    fn all() -> Vec<String> {
        sorted(input().events().generator().take(EVENTS as usize))
    }

    #[test]
    fn any_number_of_subtasks_makes_each_event_once() {
        for parallelism in [1, 2, 3, 16, 20] {
            let input = input();
            let events =
                sources(&input, parallelism).iter_mut().flat_map(drain).collect::<Vec<_>>();
            assert_eq!(sorted(events), all(), "{parallelism}");
            assert_eq!(input.gauge().records.load(Ordering::Relaxed), EVENTS);
        }
    }

    #[test]
    fn splits_that_are_dealt_out_anew_are_read_on() {
        let mut events = Vec::new();
        let mut positions = Vec::new();
        for (index, source) in sources(&input(), 3).iter_mut().enumerate() {
            // Each is at another place when the checkpoint comes.
            source.poll(&mut events, 700 * index).unwrap();
            positions.extend(source.positions().unwrap());
        }
        for (source, part) in sources(&input(), 2).iter_mut().zip(positions.chunks(9)) {
            source.restore(part.to_vec()).unwrap();
            events.extend(drain(source));
        }
        assert_eq!(sorted(events), all());
    }

    #[test]
    fn no_event_comes_at_or_before_the_watermark() {
        for source in &mut sources(&input(), 3) {
            let mut before = i64::MIN;
            loop {
                let mut events = Vec::new();
                let status = source.poll(&mut events, 50).unwrap();
                let late = |event: &Event| event.timestamp() as i64 <= before;
                assert!(!events.iter().any(late));
                if status == SourceStatus::End {
                    break;
                }
                before = source.watermark().unwrap().as_ms();
            }
            assert!(before > i64::MIN);
        }
    }
}
