//! Restart strategies: how often, and after what pause, a failed job is started again. Pure: the
//! time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

/// When a failed job is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartStrategy {
    /// Never: the first failure ends the job.
    Never,
    /// At most `attempts_max` times, each after `delay_ms`.
    FixedDelay {
        /// Most restarts in the job's life.
        attempts_max: u32,
        /// Pause before each restart, in milliseconds.
        delay_ms: u64,
    },
    /// For ever, after a pause that grows from `delay_ms` by `factor` up to `delay_max_ms`, and
    /// starts anew once the job ran for `reset_after_ms`.
    ExponentialDelay {
        /// First pause, in milliseconds.
        delay_ms: u64,
        /// Longest pause, in milliseconds.
        delay_max_ms: u64,
        /// What each pause is multiplied by.
        factor: u32,
        /// A run of at least this many milliseconds resets the pause.
        reset_after_ms: u64,
    },
    /// As long as there are at most `failures_max` failures within `interval_ms`.
    FailureRate {
        /// Most failures within the interval.
        failures_max: u32,
        /// The interval, in milliseconds.
        interval_ms: u64,
        /// Pause before each restart, in milliseconds.
        delay_ms: u64,
    },
}

impl Default for RestartStrategy {
    /// Three restarts, a second apart.
    fn default() -> Self {
        Self::FixedDelay { attempts_max: 3, delay_ms: 1_000 }
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartDecision {
    /// Start again after this pause.
    After(Duration),
    /// Give up.
    GiveUp,
}

/// Applies a [`RestartStrategy`] over a job's life.
#[derive(Clone, Debug)]
pub struct RestartPolicy {
    strategy: RestartStrategy,
    restarts: u32,
    pause_ms: u64,
    failures: VecDeque<Duration>,
}

impl RestartPolicy {
    /// A policy at the start of a job's life.
    #[must_use]
    pub const fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, restarts: 0, pause_ms: 0, failures: VecDeque::new() }
    }

    /// How often a restart was allowed so far.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Decides about a failure at `now` of an attempt that had run for `ran`.
    pub fn on_failure(&mut self, now: Duration, ran: Duration) -> RestartDecision {
        let pause_ms = match self.strategy {
            RestartStrategy::Never => None,
            RestartStrategy::FixedDelay { attempts_max, delay_ms } => {
                (self.restarts < attempts_max).then_some(delay_ms)
            }
            RestartStrategy::ExponentialDelay {
                delay_ms,
                delay_max_ms,
                factor,
                reset_after_ms,
            } => {
                let reset = ran >= Duration::from_millis(reset_after_ms) || self.pause_ms == 0;
                let grown = self.pause_ms.saturating_mul(u64::from(factor.max(1)));
                self.pause_ms = if reset { delay_ms } else { grown }.min(delay_max_ms);
                Some(self.pause_ms)
            }
            RestartStrategy::FailureRate { failures_max, interval_ms, delay_ms } => {
                self.failures.push_back(now);
                let since = now.saturating_sub(Duration::from_millis(interval_ms));
                while self.failures.front().is_some_and(|failure| *failure < since) {
                    self.failures.pop_front();
                }
                (self.failures.len() <= failures_max as usize).then_some(delay_ms)
            }
        };
        match pause_ms {
            Some(pause_ms) => {
                self.restarts = self.restarts.saturating_add(1);
                RestartDecision::After(Duration::from_millis(pause_ms))
            }
            None => RestartDecision::GiveUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RestartDecision::{After, GiveUp};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn never_gives_up_at_once() {
        let mut policy = RestartPolicy::new(RestartStrategy::Never);
        assert_eq!(policy.on_failure(ms(0), ms(0)), GiveUp);
    }

    #[test]
    fn a_fixed_delay_allows_so_many_restarts() {
        let strategy = RestartStrategy::FixedDelay { attempts_max: 2, delay_ms: 5 };
        let mut policy = RestartPolicy::new(strategy);
        let decisions = [1, 2, 3].map(|now| policy.on_failure(ms(now), ms(1)));
        assert_eq!(decisions, [After(ms(5)), After(ms(5)), GiveUp]);
        assert_eq!(policy.restarts(), 2);
    }

    #[test]
    fn an_exponential_delay_grows_to_its_bound_and_resets_after_a_good_run() {
        let mut policy = RestartPolicy::new(RestartStrategy::ExponentialDelay {
            delay_ms: 10,
            delay_max_ms: 30,
            factor: 2,
            reset_after_ms: 1_000,
        });
        let decisions = [1, 1, 1, 1, 5_000].map(|ran| policy.on_failure(ms(0), ms(ran)));
        assert_eq!(decisions, [10, 20, 30, 30, 10].map(|pause| After(ms(pause))));
    }

    #[test]
    fn a_failure_rate_forgets_old_failures() {
        let mut policy = RestartPolicy::new(RestartStrategy::FailureRate {
            failures_max: 2,
            interval_ms: 100,
            delay_ms: 1,
        });
        let decisions = [0, 50, 160, 170, 180].map(|now| policy.on_failure(ms(now), ms(1)));
        assert_eq!(decisions, [After(ms(1)), After(ms(1)), After(ms(1)), After(ms(1)), GiveUp]);
    }
}
