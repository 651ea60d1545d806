//! A schedule that fails is made small.

use millpond_sim::{Breakage, Plan, Profile, shrink, simulate, simulate_with_trace};

/// How much there is to a plan.
fn size(plan: &Plan) -> u64 {
    let subtasks = plan.sources + plan.counters.iter().sum::<u32>() + plan.sinks;
    plan.faults.iter().count() as u64
        + u64::from(subtasks)
        + u64::from(plan.partitions * plan.records)
        + plan.keys
}

#[test]
fn a_schedule_that_fails_is_made_small_and_fails_still() {
    // A coordinator that counts too much, a registry that releases too early.
    for (mistake, seed) in [(Breakage::AckCountsTwice, 0), (Breakage::ReferenceDroppedEarly, 0)] {
        let plan = Plan::new(seed, Profile::Mixed);
        let (smallest, violation) = shrink(&plan, Some(mistake)).unwrap();
        assert!(size(&smallest) * 3 < size(&plan), "{mistake}: {plan} became {smallest}");
        let run = simulate_with_trace(&smallest, Some(mistake));
        assert_eq!(run.violation.as_ref(), Some(&violation));
        let last = run.trace.iter().rfind(|line| line.contains("VIOLATION")).unwrap();
        assert!(last.contains(&violation.what), "{last}");
        assert!(run.trace.len() < simulate_with_trace(&plan, Some(mistake)).trace.len());
        // Nothing more can be taken away.
        assert_eq!(shrink(&smallest, Some(mistake)), Some((smallest.clone(), violation)));
        assert_eq!(simulate(&smallest, None).violation, None, "it is the mistake that fails");
    }
}

#[test]
fn a_schedule_that_holds_is_not_made_small() {
    assert_eq!(shrink(&Plan::new(0, Profile::Mixed), None), None);
}
