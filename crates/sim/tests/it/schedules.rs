//! Schedules of the product itself.

use millpond_sim::{Counts, Fault, Plan, Profile, simulate, simulate_with_trace};

/// Schedules of each profile with faults, and of the mixed one twice as many. `SCHEDULES=n` runs
/// more; for a million there is `millpond sim`.
fn schedules() -> u64 {
    std::env::var("SCHEDULES").map_or(200, |it| it.parse().expect("SCHEDULES is a number"))
}

/// Runs schedules, on both sides of a split so that two cores help, and adds up what happened.
fn run(profile: Profile, from: u64, count: u64) -> Counts {
    let run_half = |half: u64| {
        let mut counts = Counts::default();
        for seed in (from..from + count).filter(|seed| seed % 2 == half) {
            let run = simulate(&Plan::new(seed, profile), None);
            if let Some(violation) = run.violation {
                panic!("seed {seed} of {profile}, event {}: {}", violation.event, violation.what);
            }
            counts.add(&run.counts);
        }
        counts
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run_half(1));
        let mut counts = run_half(0);
        counts.add(&other.join().unwrap());
        counts
    })
}

#[test]
fn without_faults_checkpoints_complete_and_nothing_is_fenced() {
    let counts = run(Profile::Calm, 0, 50);
    assert!(counts.completed >= 100, "{counts:?}");
    assert_eq!(counts.fenced, 0);
    assert_eq!(counts.faults.iter().count(), 0);
}

#[test]
fn what_must_hold_holds_under_every_mix_of_faults() {
    let counts = run(Profile::Mixed, 0, 2 * schedules());
    // A schedule in which nothing happens would keep every promise.
    assert!(counts.completed >= schedules(), "{counts:?}");
    assert!(counts.aborted >= schedules() / 4, "{counts:?}");
    assert!(counts.restores >= schedules() / 4, "{counts:?}");
    assert!(counts.fenced >= schedules() / 10, "{counts:?}");
    for fault in Fault::ALL {
        assert!(counts.faults.get(fault) >= schedules() / 25, "{fault}: {counts:?}");
    }
}

#[test]
fn what_must_hold_holds_when_messages_are_lost_delayed_and_doubled() {
    let counts = run(Profile::Network, 10_000, schedules());
    assert!(counts.faults.get(Fault::MessageLost) > 0);
    assert_eq!(counts.faults.get(Fault::ProcessCrash), 0);
}

#[test]
fn what_must_hold_holds_when_storage_fails_in_every_way() {
    let counts = run(Profile::Storage, 20_000, schedules());
    assert!(counts.faults.get(Fault::HappensLate) > 0 && counts.faults.get(Fault::StaleList) > 0);
    assert_eq!(counts.faults.get(Fault::MessageLost), 0);
}

#[test]
fn what_must_hold_holds_when_processes_die_and_zombies_go_on() {
    let counts = run(Profile::Zombies, 30_000, schedules());
    assert!(counts.fenced > 0 && counts.restores > 0, "{counts:?}");
}

// Each of these seeds found something; what, is said in docs/reliability.md.
#[test]
fn seeds_that_have_failed_hold() {
    for seed in [159_130, 188_168, 190_696, 199_503, 232_886, 272_595] {
        assert_eq!(simulate(&Plan::new(seed, Profile::Mixed), None).violation, None, "{seed}");
    }
}

#[test]
fn equal_seeds_give_equal_histories_and_others_give_others() {
    let hashes = |_: ()| -> Vec<u64> {
        (0..60).map(|seed| simulate(&Plan::new(seed, Profile::Mixed), None).hash).collect()
    };
    let here = hashes(());
    // Another thread has other addresses, another random state of maps, and runs at other times.
    let there = std::thread::scope(|scope| scope.spawn(|| hashes(())).join().unwrap());
    assert_eq!(here, there);
    let distinct: std::collections::BTreeSet<u64> = here.iter().copied().collect();
    assert_eq!(distinct.len(), here.len());
}

#[test]
fn a_history_as_text_is_that_of_the_schedule_and_numbers_its_events_in_time() {
    let plan = Plan::new(7, Profile::Mixed);
    let run = simulate_with_trace(&plan, None);
    let plain = simulate(&plan, None);
    assert_eq!((run.hash, run.counts), (plain.hash, plain.counts));
    assert!(plain.trace.is_empty());
    assert_eq!(run.trace, simulate_with_trace(&plan, None).trace);
    let place = |line: &String| {
        let mut words = line.split_whitespace();
        let event: u64 = words.next().unwrap().parse().unwrap();
        let time_ms: f64 = words.next().unwrap().parse().unwrap();
        assert_eq!(words.next(), Some("ms"));
        (event, time_ms)
    };
    let places: Vec<(u64, f64)> = run.trace.iter().map(place).collect();
    assert!(places.len() > 20 && places.is_sorted(), "{:#?}", run.trace);
    assert!(run.trace[0].ends_with("p0 starts"));
}
