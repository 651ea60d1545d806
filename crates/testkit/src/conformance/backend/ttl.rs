//! Time to live: what is seen, what refreshes it, and by which clock. How space is given back is in
//! [`cleanup`](super::cleanup).

use core::ops::ControlFlow;
use core::time::Duration;

use millpond_state::kinds::{ValueState, apply_to_all, for_each_entry};
use millpond_state::{
    ErrorKind, KeyedBackend, Refresh, Result, StateOptions, StateTime, TimeDomain, Ttl, Visibility,
};

use super::kinds::{Kinds, Numbers, Seen, Spot};
use super::subject::{BackendUnderTest, restored, take_snapshot};
use crate::violation::{Verdict, ensure, ensure_eq, refused};

/// The codec of all states here.
pub(super) type Plain = Numbers<1>;

/// How long state lives, in milliseconds.
pub(super) const TTL_MS: i64 = 1_000;

pub(super) const DOMAINS: [TimeDomain; 2] = [TimeDomain::Processing, TimeDomain::Event];

/// A clock of both domains, and settings that expire by it.
pub(super) struct Clock {
    pub(super) time: StateTime,
    pub(super) domain: TimeDomain,
}

impl Clock {
    /// Both times are `now`.
    pub(super) fn at(domain: TimeDomain, now: i64) -> Self {
        let clock = Self { time: StateTime::new(), domain };
        clock.advance(now);
        clock
    }

    /// Advances the time that counts, and not the other.
    pub(super) fn advance(&self, now: i64) {
        match self.domain {
            TimeDomain::Processing => self.time.set_processing_ms(now),
            TimeDomain::Event => self.time.advance_event_ms(now),
        }
    }

    pub(super) fn ttl(&self) -> Result<Ttl> {
        Ttl::new(Duration::from_millis(TTL_MS as u64), self.domain, &self.time)
    }

    pub(super) fn options(&self) -> Result<StateOptions> {
        Ok(StateOptions::new().ttl(self.ttl()?))
    }
}

fn open(
    subject: &BackendUnderTest,
    options: &StateOptions,
) -> Result<(Box<dyn KeyedBackend>, Kinds<Plain>)> {
    let mut backend = subject.open()?;
    let states = Kinds::register(&mut *backend, options)?;
    Ok((backend, states))
}

/// State of every kind is not seen any more once its time has passed, and the read that would have
/// seen it removes it; what is written again lives again.
pub fn expired_state_is_not_seen(subject: &BackendUnderTest) -> Verdict {
    for domain in DOMAINS {
        let clock = Clock::at(domain, 10_000);
        let (mut backend, states) = open(subject, &clock.options()?)?;
        let spot = Spot::new(subject, 7, 1)?;
        states.write(&mut *backend, spot.at(), 5)?;
        clock.advance(10_999);
        let found = states.read(&mut *backend, spot.at())?;
        ensure_eq!(found, Seen::of(5), "a millisecond before it expires in {domain} time");
        clock.advance(11_000);
        if subject.capabilities().keeps_expired {
            ensure_eq!(states.count(&mut *backend)?, 5, "entries that nobody has read yet");
        }
        let found = states.read(&mut *backend, spot.at())?;
        ensure_eq!(found, Seen::nothing(), "once it has expired in {domain} time");
        ensure_eq!(states.count(&mut *backend)?, 0, "entries after the read that met them");
        states.write(&mut *backend, spot.at(), 6)?;
        clock.advance(11_999);
        let found = states.read(&mut *backend, spot.at())?;
        ensure_eq!(found, Seen::of(6), "written anew in {domain} time");
    }
    Ok(())
}

/// The other clock does not count: a state expires by its own.
pub fn state_expires_by_its_own_clock(subject: &BackendUnderTest) -> Verdict {
    for domain in DOMAINS {
        let clock = Clock::at(domain, 0);
        let (mut backend, states) = open(subject, &clock.options()?)?;
        let spot = Spot::new(subject, 7, 1)?;
        states.write(&mut *backend, spot.at(), 5)?;
        match domain {
            TimeDomain::Processing => clock.time.advance_event_ms(1_000_000),
            TimeDomain::Event => clock.time.set_processing_ms(1_000_000),
        }
        let found = states.read(&mut *backend, spot.at())?;
        ensure_eq!(found, Seen::of(5), "{domain} state while the other clock runs");
        // The end of the input is no time that passes.
        clock.time.advance_event_ms(i64::MAX);
        let found = states.read(&mut *backend, spot.at())?;
        ensure_eq!(found, Seen::of(5), "{domain} state at the end of the input");
    }
    Ok(())
}

/// With relaxed visibility expired state is seen until something cleans it: a write or a snapshot.
/// Reading it does not make it live longer.
///
/// Needs `keeps_expired`.
pub fn expired_state_may_be_seen_until_it_is_cleaned(subject: &BackendUnderTest) -> Verdict {
    if !subject.capabilities().keeps_expired {
        return Ok(());
    }
    for refresh in [Refresh::OnWrite, Refresh::OnReadAndWrite] {
        let clock = Clock::at(TimeDomain::Processing, 0);
        let ttl = clock.ttl()?.visibility(Visibility::UntilCleaned).refresh(refresh);
        let options = StateOptions::new().ttl(ttl);
        let (mut backend, states) = open(subject, &options)?;
        let spot = Spot::new(subject, 7, 1)?;
        states.write(&mut *backend, spot.at(), 5)?;
        clock.advance(TTL_MS);
        let value = states.value.get(&mut *backend, spot.at())?;
        ensure_eq!(value, Some(5), "expired value");
        ensure_eq!(states.list.get(&mut *backend, spot.at())?, [5, 6], "expired list");
        let map = states.map.entries(&mut *backend, spot.at())?;
        ensure_eq!(map, [(1, 5), (2, 6)], "expired map");
        let reducing = states.reducing.get(&mut *backend, spot.at())?;
        ensure_eq!(reducing, Some(5), "expired reduction");
        let snapshot = take_snapshot(&mut *backend)?;
        ensure_eq!(snapshot.entries.len(), 0, "entries of a snapshot, {refresh:?}");
        let mut backend = restored(subject, &snapshot)?;
        let states = Kinds::<Plain>::register(&mut *backend, &options)?;
        let found = states.read(&mut *backend, spot.at())?;
        ensure_eq!(found, Seen::nothing(), "after snapshot and restore, {refresh:?}");
    }
    Ok(())
}

/// Writes refresh state of every kind; reads do not, unless asked.
pub fn writes_refresh_state_and_reads_do_not(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Processing, 0);
    let (mut backend, states) = open(subject, &clock.options()?)?;
    let (read, written) = (Spot::new(subject, 1, 0)?, Spot::new(subject, 2, 0)?);
    states.write(&mut *backend, read.at(), 1)?;
    states.write(&mut *backend, written.at(), 2)?;
    for now in [400, 800] {
        clock.advance(now);
        ensure_eq!(states.read(&mut *backend, read.at())?, Seen::of(1), "read at {now}");
        states.value.update(&mut *backend, written.at(), |old| old)?;
        states.map.update_each(&mut *backend, written.at(), |_, value| Some(value))?;
        states.list.replace(&mut *backend, written.at(), &[2, 3])?;
        states.reducing.add(&mut *backend, written.at(), 0)?;
        states.aggregating.add(&mut *backend, written.at(), &0)?;
    }
    clock.advance(1_200);
    ensure_eq!(states.read(&mut *backend, read.at())?, Seen::nothing(), "only read");
    ensure_eq!(states.read(&mut *backend, written.at())?, Seen::of(2), "written");
    clock.advance(1_800);
    ensure_eq!(states.read(&mut *backend, written.at())?, Seen::nothing(), "written long ago");
    Ok(())
}

/// Where reads refresh too, state that is read lives on, each map entry and list by itself.
pub fn reads_refresh_state_if_asked(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Event, 0);
    let ttl = clock.ttl()?.refresh(Refresh::OnReadAndWrite);
    let (mut backend, states) = open(subject, &StateOptions::new().ttl(ttl))?;
    let (read, left) = (Spot::new(subject, 1, 0)?, Spot::new(subject, 2, 0)?);
    let (one, contained) = (Spot::new(subject, 3, 0)?, Spot::new(subject, 4, 0)?);
    for (spot, number) in [(&read, 1), (&left, 2), (&one, 3), (&contained, 4)] {
        states.write(&mut *backend, spot.at(), number)?;
    }
    for now in [600, 1_200, 1_800] {
        clock.advance(now);
        ensure_eq!(states.read(&mut *backend, read.at())?, Seen::of(1), "read at {now}");
        let value = states.map.get(&mut *backend, one.at(), &2)?;
        ensure_eq!(value, Some(4), "one map entry at {now}");
        let there = states.map.contains(&mut *backend, contained.at(), &1)?;
        ensure!(there, "a map entry that was asked for has expired at {now}");
    }
    ensure_eq!(states.read(&mut *backend, left.at())?, Seen::nothing(), "what was left alone");
    let map = states.map.entries(&mut *backend, one.at())?;
    ensure_eq!(map, [(2, 4)], "map of which one entry was read");
    let map = states.map.entries(&mut *backend, contained.at())?;
    ensure_eq!(map, [(1, 4)], "map of which one entry was asked for");
    // A read of what has expired does not revive it.
    clock.advance(5_000);
    ensure_eq!(states.read(&mut *backend, read.at())?, Seen::nothing(), "after a long pause");
    clock.advance(5_001);
    ensure_eq!(states.read(&mut *backend, read.at())?, Seen::nothing(), "read again");
    Ok(())
}

/// Each list element has a time of its own; order is kept, appending refreshes none.
pub fn list_elements_expire_one_by_one(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Processing, 0);
    let (mut backend, states) = open(subject, &clock.options()?)?;
    let (list, spot) = (&states.list, Spot::new(subject, 7, 1)?);
    for (now, element) in [(0, 10), (300, 11), (600, 12), (600, 13), (900, 14)] {
        clock.advance(now);
        list.add(&mut *backend, spot.at(), &element)?;
    }
    for (now, expected) in
        [(999, [10, 11, 12, 13, 14].as_slice()), (1_000, &[11, 12, 13, 14]), (1_300, &[12, 13, 14])]
    {
        clock.advance(now);
        ensure_eq!(list.get(&mut *backend, spot.at())?, expected, "elements at {now}");
    }
    let stored = backend.get(list.id(), spot.at().entry())?.map(<[u8]>::len);
    ensure_eq!(stored, Some(3 * 16), "bytes stored after the read that met expired elements");
    list.add(&mut *backend, spot.at(), &15)?;
    clock.advance(1_650);
    ensure_eq!(list.get(&mut *backend, spot.at())?, [14, 15], "elements after one was added");
    list.replace(&mut *backend, spot.at(), &[20, 21])?;
    clock.advance(2_649);
    ensure_eq!(list.get(&mut *backend, spot.at())?, [20, 21], "replaced elements");
    clock.advance(2_650);
    ensure_eq!(list.get(&mut *backend, spot.at())?.len(), 0, "elements at last");
    ensure_eq!(backend.entry_count(list.id())?, 0, "lists");
    Ok(())
}

/// Each map entry has a time of its own, for look-ups, emptiness, walks and changes.
pub fn map_entries_expire_one_by_one(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Processing, 0);
    let (mut backend, states) = open(subject, &clock.options()?)?;
    let backend = &mut *backend;
    let (map, spot) = (&states.map, Spot::new(subject, 7, 1)?);
    for (now, user_key) in [(0, 5), (100, 4), (500, 3), (700, 2), (700, 1)] {
        clock.advance(now);
        map.put(backend, spot.at(), &user_key, &u64::from(user_key))?;
    }
    clock.advance(1_000);
    ensure_eq!(map.get(backend, spot.at(), &5)?, None, "expired entry");
    ensure!(map.contains(backend, spot.at(), &4)?, "a live entry is not contained");
    clock.advance(1_100);
    ensure!(!map.contains(backend, spot.at(), &4)?, "an expired entry is contained");
    map.put(backend, spot.at(), &2, &20)?;
    clock.advance(1_500);
    ensure_eq!(map.entries(backend, spot.at())?, [(1, 1), (2, 20)], "entries at 1500");
    let mut met = Vec::new();
    clock.advance(1_700);
    map.update_each(backend, spot.at(), |user_key, value| {
        met.push(*user_key);
        Some(value + 1)
    })?;
    ensure_eq!(met, [2], "entries met by a change at 1700");
    ensure!(!map.is_empty(backend, spot.at())?, "a map with a live entry is empty");
    clock.advance(2_700);
    ensure!(map.is_empty(backend, spot.at())?, "a map of expired entries is not empty");
    ensure_eq!(backend.entry_count(map.id())?, 0, "maps");
    Ok(())
}

/// Times and durations at the ends of their range neither wrap nor expire too early.
pub fn times_at_the_ends_of_their_range_do_not_wrap(subject: &BackendUnderTest) -> Verdict {
    let spot = Spot::new(subject, 7, 1)?;
    // First write, last time at which it lives, first at which it has expired.
    let cases = [
        (i64::MIN + 1, i64::MIN + TTL_MS, i64::MIN + 1 + TTL_MS),
        (-1, TTL_MS - 2, TTL_MS - 1),
        (i64::MAX - 1 - TTL_MS, i64::MAX - 2, i64::MAX - 1),
    ];
    for (written, lives, expired) in cases {
        let clock = Clock::at(TimeDomain::Processing, written);
        let (mut backend, states) = open(subject, &clock.options()?)?;
        states.write(&mut *backend, spot.at(), 5)?;
        clock.advance(lives);
        ensure_eq!(states.read(&mut *backend, spot.at())?, Seen::of(5), "at {lives}");
        clock.advance(expired);
        ensure_eq!(states.read(&mut *backend, spot.at())?, Seen::nothing(), "at {expired}");
    }
    // From one end of time to the other: the age is more than a number can say.
    let clock = Clock::at(TimeDomain::Processing, i64::MIN + 1);
    let (mut backend, states) = open(subject, &clock.options()?)?;
    states.write(&mut *backend, spot.at(), 5)?;
    clock.advance(i64::MAX);
    ensure_eq!(states.read(&mut *backend, spot.at())?, Seen::nothing(), "after all of time");
    // Written at the very end of time: there is no later time at which it could expire.
    let clock = Clock::at(TimeDomain::Processing, i64::MAX);
    let (mut backend, states) = open(subject, &clock.options()?)?;
    states.write(&mut *backend, spot.at(), 5)?;
    ensure_eq!(states.read(&mut *backend, spot.at())?, Seen::of(5), "at the end of time");
    // The longest duration there is.
    let clock = Clock::at(TimeDomain::Processing, 0);
    let forever = Ttl::new(Duration::MAX, clock.domain, &clock.time)?;
    let (mut backend, states) = open(subject, &StateOptions::new().ttl(forever))?;
    states.write(&mut *backend, spot.at(), 5)?;
    clock.advance(i64::MAX - 1);
    ensure_eq!(states.read(&mut *backend, spot.at())?, Seen::of(5), "with the longest duration");
    let none = Ttl::new(Duration::from_micros(999), clock.domain, &clock.time);
    refused(none, ErrorKind::InvalidArgument, "a duration under a millisecond")
}

/// While time is unknown nothing expires, and what is written then does not expire as soon as time
/// is known.
pub fn nothing_expires_while_time_is_unknown(subject: &BackendUnderTest) -> Verdict {
    for domain in DOMAINS {
        let clock = Clock { time: StateTime::new(), domain };
        let (mut backend, states) = open(subject, &clock.options()?)?;
        let spot = Spot::new(subject, 7, 1)?;
        states.write(&mut *backend, spot.at(), 5)?;
        ensure_eq!(states.read(&mut *backend, spot.at())?, Seen::of(5), "in unknown time");
        ensure_eq!(take_snapshot(&mut *backend)?.entries.len(), 6, "entries of a snapshot");
        clock.advance(1_000_000_000);
        let found = states.read(&mut *backend, spot.at())?;
        ensure_eq!(found, Seen::of(5), "as soon as {domain} time is known");
        // What has a stamp, in a job that was restored and has seen no time yet.
        let known = Clock::at(domain, 5_000);
        let (mut backend, states) = open(subject, &known.options()?)?;
        states.write(&mut *backend, spot.at(), 5)?;
        let snapshot = take_snapshot(&mut *backend)?;
        let unknown = Clock { time: StateTime::new(), domain };
        let mut backend = restored(subject, &snapshot)?;
        let states = Kinds::<Plain>::register(&mut *backend, &unknown.options()?)?;
        let found = states.read(&mut *backend, spot.at())?;
        ensure_eq!(found, Seen::of(5), "restored, while {domain} time is unknown");
    }
    Ok(())
}

/// Keys, namespaces and states expire each on its own, also with different times to live, and state
/// without one beside them does not.
pub fn keys_namespaces_and_states_expire_on_their_own(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Processing, 0);
    let mut backend = subject.open()?;
    let backend: &mut dyn KeyedBackend = &mut *backend;
    let long = Ttl::new(Duration::from_millis(5_000), clock.domain, &clock.time)?;
    type State = ValueState<u64, u64, i64>;
    let short = State::register_with(backend, "short", clock.options()?)?;
    let long = State::register_with(backend, "long", StateOptions::new().ttl(long))?;
    let always = State::register(backend, "always")?;
    let mut spots = Vec::new();
    for number in 0..10u64 {
        for window in 0..3i64 {
            clock.advance((number * 100) as i64 + window * 10);
            let spot = Spot::new(subject, number, window)?;
            for state in [&short, &long, &always] {
                state.put(backend, spot.at(), &number)?;
            }
            spots.push((number, window, spot));
        }
    }
    for now in [1_000, 1_455, 1_920, 5_000, 5_333, 5_920] {
        clock.advance(now);
        for (number, window, spot) in &spots {
            let age = now - ((number * 100) as i64 + window * 10);
            let found = short.get(backend, spot.at())?;
            ensure_eq!(found, (age < 1_000).then_some(*number), "short-lived, of age {age}");
            let found = long.get(backend, spot.at())?;
            ensure_eq!(found, (age < 5_000).then_some(*number), "long-lived, of age {age}");
            ensure_eq!(always.get(backend, spot.at())?, Some(*number), "everlasting");
        }
    }
    Ok(())
}

/// Expired parts take no part in a merge of namespaces, whoever may see them; list elements keep
/// the times they had.
pub fn expired_state_takes_no_part_in_a_merge(subject: &BackendUnderTest) -> Verdict {
    for visibility in [Visibility::NeverExpired, Visibility::UntilCleaned] {
        let clock = Clock::at(TimeDomain::Event, 0);
        let ttl = clock.ttl()?.visibility(visibility);
        let (mut backend, states) = open(subject, &StateOptions::new().ttl(ttl))?;
        let backend = &mut *backend;
        let spots =
            [Spot::new(subject, 7, 1)?, Spot::new(subject, 7, 2)?, Spot::new(subject, 7, 3)?];
        for (now, number, spot) in [(0, 1, &spots[0]), (600, 20, &spots[1]), (800, 300, &spots[2])]
        {
            clock.advance(now);
            states.write(backend, spot.at(), number)?;
        }
        clock.advance(1_000);
        let [old, target, young] = spots;
        let sources = [old.window.clone(), young.window.clone()];
        states.list.merge_namespaces(backend, &old.key, &sources, &target.window)?;
        states.reducing.merge_namespaces(backend, &old.key, &sources, &target.window)?;
        states.aggregating.merge_namespaces(backend, &old.key, &sources, &target.window)?;
        let list = states.list.get(backend, target.at())?;
        ensure_eq!(list, [20, 21, 300, 301], "list, {visibility:?}");
        ensure_eq!(states.reducing.get(backend, target.at())?, Some(320), "reduction");
        ensure_eq!(states.aggregating.get(backend, target.at())?, Some(320), "aggregate");
        for source in [&old, &young] {
            ensure_eq!(states.list.get(backend, source.at())?.len(), 0, "source of lists");
            ensure_eq!(states.reducing.get(backend, source.at())?, None, "source");
        }
        if visibility == Visibility::NeverExpired {
            clock.advance(1_650);
            let list = states.list.get(backend, target.at())?;
            ensure_eq!(list, [300, 301], "merged list when its first elements expire");
        }
    }
    Ok(())
}

/// A clock that goes back is ignored: nothing lives longer, and nothing comes back.
pub fn a_clock_that_goes_back_is_ignored(subject: &BackendUnderTest) -> Verdict {
    for domain in DOMAINS {
        let clock = Clock::at(domain, 5_000);
        let (mut backend, states) = open(subject, &clock.options()?)?;
        let (early, late) = (Spot::new(subject, 1, 0)?, Spot::new(subject, 2, 0)?);
        states.write(&mut *backend, early.at(), 1)?;
        clock.advance(1_000);
        states.write(&mut *backend, late.at(), 2)?;
        clock.advance(5_000 + TTL_MS - 1);
        clock.advance(0);
        for (spot, number) in [(&early, 1), (&late, 2)] {
            let found = states.read(&mut *backend, spot.at())?;
            ensure_eq!(found, Seen::of(number), "before it expires in {domain} time");
        }
        clock.advance(5_000 + TTL_MS);
        clock.advance(5_000);
        for spot in [&early, &late] {
            let found = states.read(&mut *backend, spot.at())?;
            ensure_eq!(found, Seen::nothing(), "once it has expired in {domain} time");
        }
    }
    Ok(())
}

/// Batches see, fold onto and refresh what single calls would.
pub fn batches_expire_like_single_calls(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Processing, 0);
    let (mut backend, states) = open(subject, &clock.options()?)?;
    let backend = &mut *backend;
    let (old, young) = (Spot::new(subject, 1, 0)?, Spot::new(subject, 2, 0)?);
    states.write(backend, old.at(), 100)?;
    clock.advance(600);
    states.write(backend, young.at(), 200)?;
    clock.advance(TTL_MS);
    let places = [&old, &young, &old].map(|spot| spot.at().entry());
    let mut seen = Vec::new();
    states.value.update_many(backend, &places, |_, value| {
        seen.push(value);
        Some(value.unwrap_or_default() + 1)
    })?;
    ensure_eq!(seen, [None, Some(200), Some(1)], "values that a batch sees");
    states.reducing.add_many(backend, &places, |_| 1)?;
    states.aggregating.add_many(backend, &places, &[&1, &1, &1])?;
    clock.advance(TTL_MS + 999);
    for (spot, number) in [(&old, 2), (&young, 201)] {
        let at = spot.at();
        ensure_eq!(states.value.get(backend, at)?, Some(number), "value");
        ensure_eq!(states.reducing.get(backend, at)?, Some(number), "reduction");
        ensure_eq!(states.aggregating.get(backend, at)?, Some(number), "aggregate");
    }
    clock.advance(TTL_MS * 2);
    for spot in [&old, &young] {
        let at = spot.at();
        ensure_eq!(states.value.get(backend, at)?, None, "value that a batch refreshed");
        ensure_eq!(states.reducing.get(backend, at)?, None, "reduction");
        ensure_eq!(states.aggregating.get(backend, at)?, None, "aggregate");
    }
    Ok(())
}

/// Walks over keys leave out what has expired, and remove it.
pub fn walks_leave_out_expired_state(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Processing, 0);
    let (mut backend, states) = open(subject, &clock.options()?)?;
    let backend = &mut *backend;
    for number in 0..200u64 {
        clock.advance(number as i64);
        let spot = Spot::new(subject, number, 1)?;
        states.value.put(backend, spot.at(), &number)?;
        states.map.put(backend, spot.at(), &1, &number)?;
    }
    clock.advance(1_099);
    let mut seen = Vec::new();
    for_each_entry::<u64, i64, dyn KeyedBackend>(backend, states.value.id(), |key, _| {
        seen.push(key);
        ControlFlow::Continue(())
    })?;
    seen.sort_unstable();
    ensure_eq!(seen, (100..200).collect::<Vec<_>>(), "keys met by a walk");
    ensure_eq!(backend.entry_count(states.value.id())?, 100, "values after the walk");
    let mut applied = 0;
    apply_to_all::<u64, i64, dyn KeyedBackend>(backend, states.map.id(), |backend, at| {
        applied += 1;
        states.map.put(backend, at, &2, &0)
    })?;
    ensure_eq!(applied, 100, "maps that a function was applied to");
    ensure_eq!(backend.entry_count(states.map.id())?, 100, "maps afterwards");
    Ok(())
}

/// A state that is declared twice with different times to live is refused; with the same, found.
pub fn two_times_to_live_for_one_state_are_refused(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Processing, 0);
    let mut backend = subject.open()?;
    type State = ValueState<u64, u64>;
    let first = State::register_with(&mut *backend, "state", clock.options()?)?;
    let again = State::register_with(&mut *backend, "state", clock.options()?)?;
    ensure_eq!(again.id(), first.id(), "id of the second handle");
    let longer = Ttl::new(Duration::from_secs(9), clock.domain, &clock.time)?;
    let longer = State::register_with(&mut *backend, "state", StateOptions::new().ttl(longer));
    refused(longer, ErrorKind::InvalidArgument, "another duration")?;
    let none = State::register(&mut *backend, "state");
    refused(none, ErrorKind::Incompatible, "no time to live beside one")
}
