//! Time to live: how the space of expired state is given back, and what becomes of stamps between
//! one run of a program and the next.

use core::ops::ControlFlow;
use core::time::Duration;

use millpond_state::codec::Codec;
use millpond_state::kinds::for_each_entry;
use millpond_state::{
    Expiry, KeyedBackend, MigrationMode, Migrations, Result, Scratch, StateOptions, StateTime,
    Sweeper, TimeDomain, Ttl,
};

use super::kinds::{Kinds, Numbers, Seen, Spot};
use super::subject::{
    BackendUnderTest, begin_snapshot, finish_snapshot, owner, restore_parts, restored, take_parts,
    take_snapshot,
};
use super::ttl::{Clock, DOMAINS, Plain, TTL_MS};
use crate::violation::{Verdict, Violation, ensure, ensure_eq};

/// Steps after which a round of sweeping a few hundred entries must have ended.
const STEPS_MAX: u32 = 20_000;

/// Writes all kinds for `numbers`, to those instances that own the keys.
fn fill(
    subject: &BackendUnderTest,
    instances: &mut [Box<dyn KeyedBackend>],
    options: &StateOptions,
    numbers: core::ops::Range<u64>,
) -> Verdict {
    for backend in &mut *instances {
        Kinds::<Plain>::register(&mut **backend, options)?;
    }
    for number in numbers {
        let spot = Spot::new(subject, number, 0)?;
        let backend = owner(instances, spot.key.group())?;
        let states = Kinds::<Plain>::register(backend, options)?;
        states.write(backend, spot.at(), number)?;
    }
    Ok(())
}

/// Checks which of `0..200` are there, and reads them.
fn check<C: Codec<u64>>(
    subject: &BackendUnderTest,
    backend: &mut dyn KeyedBackend,
    options: &StateOptions,
    expected: impl Fn(u64) -> Seen,
) -> Verdict {
    let states = Kinds::<C>::register(backend, options)?;
    for number in 0..200 {
        let spot = Spot::new(subject, number, 0)?;
        let found = states.read(backend, spot.at())?;
        ensure_eq!(found, expected(number), "state of key {number}");
    }
    Ok(())
}

fn from(first: u64) -> impl Fn(u64) -> Seen + Copy {
    move |number| if number >= first { Seen::of(number) } else { Seen::nothing() }
}

/// One instance: keys 0 to 99 written at 0, 100 to 199 at 500.
fn two_ages(
    subject: &BackendUnderTest,
    clock: &Clock,
    options: &StateOptions,
) -> Verdict<Vec<Box<dyn KeyedBackend>>> {
    let mut instances = vec![subject.open()?];
    fill(subject, &mut instances, options, 0..100)?;
    clock.advance(500);
    fill(subject, &mut instances, options, 100..200)?;
    Ok(instances)
}

fn only(instances: &mut [Box<dyn KeyedBackend>]) -> Verdict<&mut dyn KeyedBackend> {
    match instances.first_mut() {
        Some(backend) => Ok(&mut **backend),
        None => Err(Violation::new("no instance")),
    }
}

/// A snapshot leaves out what has expired, per list element and map entry too, and its summary
/// counts what was written.
pub fn a_snapshot_leaves_out_what_has_expired(subject: &BackendUnderTest) -> Verdict {
    for domain in DOMAINS {
        let clock = Clock::at(domain, 0);
        let options = clock.options()?;
        let mut instances = two_ages(subject, &clock, &options)?;
        let backend = only(&mut instances)?;
        let states = Kinds::<Plain>::register(backend, &options)?;
        let mixed = Spot::new(subject, 0, 0)?;
        states.list.add(backend, mixed.at(), &7)?;
        states.map.put(backend, mixed.at(), &3, &7)?;
        clock.advance(TTL_MS);
        let (snapshot, summary) = finish_snapshot(begin_snapshot(backend, 1)?)?;
        ensure_eq!(snapshot.entries.len(), 602, "entries of the snapshot, by {domain} time");
        ensure_eq!(summary.entries, 602, "entries that the summary counts");
        ensure!(summary.entries_changed <= 602, "more entries changed than were written");
        // As of the state's time, also if the clock of the restored job is behind.
        let behind = Clock::at(domain, 600);
        let options = behind.options()?;
        let mut backend = restored(subject, &snapshot)?;
        check::<Plain>(subject, &mut *backend, &options, |number| match number {
            0 => Seen { list: vec![7], map: vec![(3, 7)], ..Seen::nothing() },
            _ => from(100)(number),
        })?;
    }
    Ok(())
}

/// What a snapshot leaves out is judged at its instant, however late its task runs.
pub fn a_snapshot_judges_expiry_at_its_instant(subject: &BackendUnderTest) -> Verdict {
    for domain in DOMAINS {
        let clock = Clock::at(domain, 0);
        let options = clock.options()?;
        let mut instances = two_ages(subject, &clock, &options)?;
        let backend = only(&mut instances)?;
        clock.advance(TTL_MS - 1);
        let all = begin_snapshot(backend, 1)?;
        clock.advance(TTL_MS);
        let half = begin_snapshot(backend, 2)?;
        clock.advance(TTL_MS * 10);
        // What has expired is removed under the snapshots' feet.
        check::<Plain>(subject, backend, &options, |_| Seen::nothing())?;
        for (task, first, entries) in [(half, 100, 600), (all, 0, 1_200)] {
            let (snapshot, summary) = finish_snapshot(task)?;
            ensure_eq!(summary.entries, entries, "entries from key {first}, {domain} time");
            let behind = Clock::at(domain, 600);
            let mut backend = restored(subject, &snapshot)?;
            check::<Plain>(subject, &mut *backend, &behind.options()?, from(first))?;
        }
    }
    Ok(())
}

/// Sweeps to the end of a round; gives how many entries were removed.
fn sweep(backend: &mut dyn KeyedBackend, sweeper: &mut Sweeper) -> Verdict<u64> {
    let mut removed = 0;
    for _ in 0..STEPS_MAX {
        let step = sweeper.step(backend)?;
        removed += step.removed;
        if step.round_ended {
            return Ok(removed);
        }
    }
    Err(Violation::new(format!("a round has not ended after {STEPS_MAX} steps")))
}

/// A sweeper gives back the space of expired state that nobody reads, a bounded number of entries
/// at a time, and spares what is live.
pub fn a_sweeper_removes_expired_state_that_nobody_reads(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Event, 0);
    let options = StateOptions::new().ttl(clock.ttl()?.sweep(7));
    let mut instances = two_ages(subject, &clock, &options)?;
    let backend = only(&mut instances)?;
    let states = Kinds::<Plain>::register(backend, &options)?;
    let mut sweeper = Sweeper::new();
    ensure_eq!(sweep(backend, &mut sweeper)?, 0, "entries removed before any has expired");
    clock.advance(TTL_MS);
    let keeps_expired = subject.capabilities().keeps_expired;
    if keeps_expired {
        ensure_eq!(states.count(backend)?, 1_000, "entries before the sweep");
    }
    let before = backend.memory_bytes();
    let mut steps = 0;
    let mut removed = 0;
    loop {
        let step = sweeper.step(backend)?;
        // A step finishes the map that it has begun, of two entries here.
        ensure!(step.examined <= 8, "a step of 7 examined {} entries", step.examined);
        removed += step.removed;
        steps += 1;
        ensure!(steps < STEPS_MAX, "the round does not end");
        if step.round_ended {
            break;
        }
    }
    if keeps_expired {
        ensure_eq!(removed, 600, "entries removed");
    }
    ensure_eq!(states.count(backend)?, 500, "entries after the sweep");
    if subject.capabilities().reports_memory {
        let after = backend.memory_bytes();
        ensure!(after <= before, "{after} bytes after the sweep, {before} before");
    }
    check::<Plain>(subject, backend, &options, from(100))?;
    clock.advance(TTL_MS + 500);
    sweep(backend, &mut sweeper)?;
    ensure_eq!(states.count(backend)?, 0, "entries when all have expired");
    Ok(())
}

/// A round of sweeping ends although entries are added, deleted and changed between its steps; it
/// removes nothing that is live.
pub fn a_sweep_ends_while_entries_change(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Processing, 0);
    let options = StateOptions::new().ttl(clock.ttl()?.sweep(5));
    let mut instances = two_ages(subject, &clock, &options)?;
    let backend = only(&mut instances)?;
    let states = Kinds::<Plain>::register(backend, &options)?;
    clock.advance(TTL_MS);
    let (mut sweeper, mut steps) = (Sweeper::new(), 0u64);
    loop {
        let step = sweeper.step(backend)?;
        steps += 1;
        ensure!(steps < 5_000, "the round does not end while entries change");
        if step.round_ended {
            break;
        }
        let (added, changed) = (1_000 + steps, 100 + steps % 100);
        let spot = Spot::new(subject, added, 0)?;
        states.write(backend, spot.at(), added)?;
        let spot = Spot::new(subject, changed, 0)?;
        states.write(backend, spot.at(), changed)?;
        let spot = Spot::new(subject, steps % 100, 0)?;
        states.value.delete(backend, spot.at())?;
        states.map.delete(backend, spot.at())?;
    }
    for number in (1_001..1_000 + steps).step_by(7) {
        let spot = Spot::new(subject, number, 0)?;
        let found = states.read(backend, spot.at())?;
        ensure_eq!(found, Seen::of(number), "what was added while the sweep went on");
    }
    check::<Plain>(subject, backend, &options, from(100))
}

/// State that expires after its snapshot is gone from every instance of a restored and rescaled
/// job, and is swept there.
pub fn expired_state_is_dropped_after_restore_and_rescale(subject: &BackendUnderTest) -> Verdict {
    for (before, after) in [(1, 1), (1, 3), (3, 2)] {
        let clock = Clock::at(TimeDomain::Event, 0);
        let options = clock.options()?;
        let mut old = subject.open_all(before)?;
        fill(subject, &mut old, &options, 0..100)?;
        clock.advance(500);
        fill(subject, &mut old, &options, 100..200)?;
        let parts = take_parts(&mut old)?;
        let mut new = subject.open_all(after)?;
        restore_parts(&parts, &mut new)?;
        clock.advance(TTL_MS);
        let (mut count, mut removed) = (0, 0);
        for backend in &mut new {
            let states = Kinds::<Plain>::register(&mut **backend, &options)?;
            removed += sweep(&mut **backend, &mut Sweeper::new())?;
            count += states.count(&mut **backend)?;
        }
        ensure_eq!(count, 500, "entries left, {before} to {after}");
        if subject.capabilities().keeps_expired {
            ensure_eq!(removed, 600, "entries removed, {before} to {after}");
        }
        for number in 0..200 {
            let spot = Spot::new(subject, number, 0)?;
            let backend = owner(&mut new, spot.key.group())?;
            let states = Kinds::<Plain>::register(backend, &options)?;
            let found = states.read(backend, spot.at())?;
            ensure_eq!(found, from(100)(number), "key {number}, {before} to {after}");
        }
    }
    Ok(())
}

/// What was written before time was known gets a stamp from a sweep, a snapshot or a write, and
/// expires from there.
pub fn state_without_a_stamp_gets_one(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock { time: StateTime::new(), domain: TimeDomain::Event };
    let options = clock.options()?;
    let mut instances = vec![subject.open()?];
    fill(subject, &mut instances, &options, 0..200)?;
    let backend = only(&mut instances)?;
    let unknown = take_snapshot(backend)?;
    ensure_eq!(unknown.entries.len(), 1_200, "entries of a snapshot in unknown time");
    clock.advance(5_000);
    let known = take_snapshot(backend)?;
    let swept = sweep(backend, &mut Sweeper::new())?;
    ensure_eq!(swept, 0, "entries removed by the sweep that stamps them");
    clock.advance(5_000 + TTL_MS - 1);
    check::<Plain>(subject, backend, &options, Seen::of)?;
    clock.advance(5_000 + TTL_MS);
    check::<Plain>(subject, backend, &options, |_| Seen::nothing())?;
    let mut backend = restored(subject, &known)?;
    check::<Plain>(subject, &mut *backend, &options, |_| Seen::nothing())?;
    let mut backend = restored(subject, &unknown)?;
    check::<Plain>(subject, &mut *backend, &options, Seen::of)
}

/// The descriptor that the backend holds judges stored bytes, for a backend's own compaction, and
/// is not part of a snapshot.
pub fn a_backend_can_judge_stored_bytes_by_itself(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Processing, 0);
    let options = clock.options()?;
    let mut instances = two_ages(subject, &clock, &options)?;
    let backend = only(&mut instances)?;
    let states = Kinds::<Plain>::register(backend, &options)?;
    let (old, young) = (Spot::new(subject, 3, 0)?, Spot::new(subject, 150, 0)?);
    states.list.add(backend, old.at(), &9)?;
    clock.advance(TTL_MS);
    let expected = [
        (states.value.id(), &old, Expiry::Expired),
        (states.value.id(), &young, Expiry::Live),
        (states.reducing.id(), &old, Expiry::Expired),
        (states.list.id(), &old, Expiry::Rewrite),
        (states.list.id(), &young, Expiry::Live),
    ];
    for (id, spot, wanted) in expected {
        let stored = backend.get(id, spot.at().entry())?.unwrap_or_default().to_vec();
        let filter = backend.states().get(id.index()).and_then(|state| state.expiry());
        let filter = filter.ok_or_else(|| Violation::new(format!("{id} has no filter")))?;
        let mut rewritten = Scratch::new();
        let verdict = filter.judge(&stored, filter.now_ms(), &mut rewritten)?;
        ensure_eq!(verdict, wanted, "what becomes of stored bytes of {id}");
        if verdict == Expiry::Rewrite {
            ensure_eq!(rewritten.as_slice().len(), 16, "bytes of the one element that is left");
        }
    }
    let snapshot = take_snapshot(backend)?;
    let told = snapshot.states.iter().any(|state| state.expiry().is_some());
    ensure!(!told, "a snapshot's descriptors judge expiry");
    Ok(())
}

/// Settings for a restored state.
struct Change<'a> {
    options: StateOptions,
    time: &'a StateTime,
}

impl<'a> Change<'a> {
    fn new(clock: &'a Clock, ttl: Option<Ttl>, mode: MigrationMode) -> Self {
        let options = StateOptions::new().migration_mode(mode);
        let options = match ttl {
            Some(ttl) => options.ttl(ttl),
            None => options,
        };
        Self { options, time: &clock.time }
    }

    fn advance(&self, now: i64) {
        self.time.set_processing_ms(now);
        self.time.advance_event_ms(now);
    }
}

fn register(backend: &mut dyn KeyedBackend, change: &Change<'_>) -> Result<Kinds<Plain>> {
    Kinds::register(backend, &change.options)
}

/// Switched on between two runs, a time to live begins with the restore; and it is in the next
/// snapshot, eagerly or lazily, touched or not.
pub fn a_ttl_switched_on_begins_with_the_restore(subject: &BackendUnderTest) -> Verdict {
    let mut instances = vec![subject.open()?];
    fill(subject, &mut instances, &StateOptions::new(), 0..200)?;
    let snapshot = take_snapshot(only(&mut instances)?)?;
    for mode in [MigrationMode::Eager, MigrationMode::Lazy] {
        let clock = Clock::at(TimeDomain::Event, 70_000);
        let change = Change::new(&clock, Some(clock.ttl()?), mode);
        let mut backend = restored(subject, &snapshot)?;
        register(&mut *backend, &change)?;
        check::<Plain>(subject, &mut *backend, &change.options, Seen::of)?;
        let mut untouched = restored(subject, &snapshot)?;
        register(&mut *untouched, &change)?;
        let mut walked = restored(subject, &snapshot)?;
        let states = register(&mut *walked, &change)?;
        let mut met = 0;
        for_each_entry::<u64, i64, dyn KeyedBackend>(&mut *walked, states.list.id(), |_, _| {
            met += 1;
            ControlFlow::Continue(())
        })?;
        ensure_eq!(met, 200, "lists met by a walk right after the restore, {mode:?}");
        let next = take_snapshot(&mut *untouched)?;
        change.advance(70_000 + TTL_MS - 1);
        check::<Plain>(subject, &mut *backend, &change.options, Seen::of)?;
        change.advance(70_000 + TTL_MS);
        check::<Plain>(subject, &mut *backend, &change.options, |_| Seen::nothing())?;
        let mut backend = restored(subject, &next)?;
        check::<Plain>(subject, &mut *backend, &change.options, |_| Seen::nothing())?;
    }
    Ok(())
}

/// Switched off, a time to live leaves what had not expired when the snapshot was taken, for ever.
pub fn a_ttl_switched_off_leaves_what_was_live(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Event, 0);
    let options = clock.options()?;
    let mut instances = two_ages(subject, &clock, &options)?;
    clock.advance(TTL_MS);
    let snapshot = take_snapshot(only(&mut instances)?)?;
    for mode in [MigrationMode::Eager, MigrationMode::Lazy] {
        let change = Change::new(&clock, None, mode);
        let mut backend = restored(subject, &snapshot)?;
        register(&mut *backend, &change)?;
        change.advance(TTL_MS * 1_000);
        let next = take_snapshot(&mut *backend)?;
        check::<Plain>(subject, &mut *backend, &change.options, from(100))?;
        let mut backend = restored(subject, &next)?;
        check::<Plain>(subject, &mut *backend, &StateOptions::new(), from(100))?;
    }
    Ok(())
}

/// Moved to the other clock, a time to live begins with the restore; made longer or shorter, it
/// counts from the stamps there are.
pub fn a_changed_ttl_counts_as_documented(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Processing, 0);
    let mut instances = two_ages(subject, &clock, &clock.options()?)?;
    let snapshot = take_snapshot(only(&mut instances)?)?;
    for mode in [MigrationMode::Eager, MigrationMode::Lazy] {
        let other = Clock::at(TimeDomain::Event, -9_000);
        let change = Change::new(&other, Some(other.ttl()?), mode);
        let mut backend = restored(subject, &snapshot)?;
        register(&mut *backend, &change)?;
        check::<Plain>(subject, &mut *backend, &change.options, Seen::of)?;
        change.advance(-9_001 + TTL_MS);
        check::<Plain>(subject, &mut *backend, &change.options, Seen::of)?;
        change.advance(-9_000 + TTL_MS);
        check::<Plain>(subject, &mut *backend, &change.options, |_| Seen::nothing())?;
    }
    for (duration_ms, now, first) in [(3_000, 3_499, 100), (3_000, 2_999, 0), (200, 699, 100)] {
        let clock = Clock::at(TimeDomain::Processing, 500);
        let duration = Duration::from_millis(duration_ms);
        let ttl = Ttl::new(duration, clock.domain, &clock.time)?;
        let change = Change::new(&clock, Some(ttl), MigrationMode::Eager);
        let mut backend = restored(subject, &snapshot)?;
        register(&mut *backend, &change)?;
        change.advance(now);
        check::<Plain>(subject, &mut *backend, &change.options, from(first))?;
    }
    Ok(())
}

/// Codec and time to live may change together.
pub fn a_ttl_and_a_codec_change_together(subject: &BackendUnderTest) -> Verdict {
    let clock = Clock::at(TimeDomain::Event, 0);
    let mut instances = two_ages(subject, &clock, &clock.options()?)?;
    clock.advance(TTL_MS);
    let snapshot = take_snapshot(only(&mut instances)?)?;
    let doubled = |number| match number {
        0..100 => Seen::nothing(),
        _ => Seen::through(number, |number| number * 2),
    };
    for mode in [MigrationMode::Eager, MigrationMode::Lazy] {
        let steps = Migrations::new()
            .step_between::<u64, Numbers<1>, u64, Numbers<3>>(|number| Ok(number * 2));
        // Kept with its stamps, moved to the other clock, switched off; and when all has expired.
        let (kept, other) =
            (Clock::at(TimeDomain::Event, TTL_MS), Clock::at(TimeDomain::Processing, 0));
        let cases = [
            (&kept, Some(kept.ttl()?), Some(TTL_MS + 500)),
            (&other, Some(other.ttl()?), Some(TTL_MS)),
            (&kept, None, None),
        ];
        for (clock, ttl, expired) in cases {
            let mut change = Change::new(clock, ttl, mode);
            change.options = change.options.migrations(steps.clone());
            let mut backend = restored(subject, &snapshot)?;
            check::<Numbers<3>>(subject, &mut *backend, &change.options, doubled)?;
            let next = take_snapshot(&mut *backend)?;
            let mut backend = restored(subject, &next)?;
            check::<Numbers<3>>(subject, &mut *backend, &change.options, doubled)?;
            if let Some(expired) = expired {
                clock.advance(expired - 1);
                check::<Numbers<3>>(subject, &mut *backend, &change.options, doubled)?;
                clock.advance(expired);
                let nothing = |_| Seen::nothing();
                check::<Numbers<3>>(subject, &mut *backend, &change.options, nothing)?;
            }
        }
    }
    Ok(())
}
