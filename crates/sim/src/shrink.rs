//! Makes a failing schedule small: fewer faults and kinds of them, fewer subtasks, a shorter run.

use crate::breakage::Breakage;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::{Violation, simulate};

/// Most schedules that are tried.
const TRIES_MAX: u32 = 2_000;

/// The smallest schedule found that fails as `plan` does, or in another way, and how it fails;
/// `None` if `plan` does not fail.
#[must_use]
pub fn shrink(plan: &Plan, breakage: Option<Breakage>) -> Option<(Plan, Violation)> {
    let mut best = (plan.clone(), simulate(plan, breakage).violation?);
    let mut tries = 0;
    loop {
        let smaller = candidates(&best.0).into_iter().find_map(|candidate| {
            tries += 1;
            if tries > TRIES_MAX {
                return None;
            }
            let violation = simulate(&candidate, breakage).violation?;
            Some((candidate, violation))
        });
        match smaller {
            Some(smaller) => best = smaller,
            None => return Some(best),
        }
    }
}

/// Plans that are smaller by one step, boldest first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut found = Vec::new();
    let mut offer = |change: &dyn Fn(&mut Plan)| {
        let mut candidate = plan.clone();
        change(&mut candidate);
        if candidate != *plan {
            found.push(candidate);
        }
    };
    for fault in Fault::ALL {
        offer(&|it| it.faults.set(fault, 0));
    }
    if plan.faults_max == u64::MAX {
        for most in [0, 1, 2, 4, 8, 16, 32] {
            offer(&|it| it.faults_max = most);
        }
    }
    offer(&|it| it.faults_max = it.faults_max.saturating_sub(1));
    offer(&|it| it.records = (it.records / 2).max(1));
    offer(&|it| it.partitions = 1);
    offer(&|it| it.counters = [1, 1]);
    offer(&|it| it.sources = 1);
    offer(&|it| it.sinks = 1);
    offer(&|it| it.keys = 1);
    offer(&|it| it.incremental = false);
    offer(&|it| it.max_concurrent = 1);
    offer(&|it| it.retained_max = 1);
    offer(&|it| it.faults_end_ms /= 2);
    offer(&|it| it.records = it.records.saturating_sub(1).max(1));
    found
}
