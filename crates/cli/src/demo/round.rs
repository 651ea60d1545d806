//! One run of the job, from its start over its kills to its end.

use std::path::PathBuf;

use super::child::{ChildEvent, JobProcess};
use super::kill::{Moment, Random, Trigger, Watch};
use crate::args::{DemoJob, StateBackend};
use crate::error::{CliError, Result};
use crate::run::NexmarkEvents;
use crate::{background, console, table};

/// How fast a round goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// For people: slow enough for several checkpoints, every step said.
    Shown,
    /// For the kill test.
    Fast,
}

/// What a round is to do.
#[derive(Clone, Debug)]
pub(super) struct RoundPlan {
    pub(super) job: DemoJob,
    pub(super) state_backend: StateBackend,
    pub(super) incremental: bool,
    pub(super) local_recovery: bool,
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    /// Records of the input.
    pub(super) records: u64,
    pub(super) kills: u32,
    pub(super) pace: Pace,
    pub(super) first_parallelism: u32,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    pub(super) kills: u32,
    pub(super) restores: u32,
    pub(super) checkpoints: u64,
    /// How far the last child got.
    position: u64,
    starts: u32,
}

impl Round {
    /// Plays the round to its end.
    ///
    /// # Errors
    /// If a child fails.
    pub(super) fn play(plan: &RoundPlan, random: &mut Random) -> Result<Self> {
        let mut round = Self::default();
        loop {
            let moment = (round.kills < plan.kills).then(|| match plan.pace {
                Pace::Shown => Moment::shown(random, plan.records, (round.kills, plan.kills)),
                Pace::Fast => Moment::any(random, plan.records, round.position),
            });
            if !round.child(plan, moment)? {
                return Ok(round);
            }
        }
    }

    /// Runs a child to its end or until it is killed at `moment`; says whether it was killed.
    fn child(&mut self, plan: &RoundPlan, moment: Option<Moment>) -> Result<bool> {
        let parallelism = (plan.first_parallelism - 1 + self.starts) % 4 + 1;
        let mut process = JobProcess::start(&self.args(plan, parallelism))?;
        if self.starts == 0 {
            plan.say(&format!("  started   at parallelism {parallelism}"))?;
        }
        self.starts += 1;
        let mut watch = moment.map(|moment| Watch::new(moment.trigger));
        while let Some(event) = process.next_event()? {
            self.note(plan, &event, parallelism)?;
            if let (Some(moment), Some(watch)) = (moment, &mut watch)
                && watch.is_now(&event)
            {
                background::sleep(moment.delay);
                if process.kill()? {
                    self.kills += 1;
                    plan.say(&self.describe(moment.trigger, &event))?;
                    return Ok(true);
                }
                // It was over before the blow fell: no kill.
                break;
            }
        }
        process.finish()?;
        Ok(false)
    }

    fn note(&mut self, plan: &RoundPlan, event: &ChildEvent, parallelism: u32) -> Result<()> {
        match event {
            ChildEvent::Progress { position } => self.position = *position,
            ChildEvent::Checkpoint(_) => self.checkpoints += 1,
            ChildEvent::Restored(checkpoint) => {
                self.restores += 1;
                let line =
                    format!("  restored  checkpoint {checkpoint} at parallelism {parallelism}");
                plan.say(&line)?;
            }
            ChildEvent::Failed(why) => return Err(CliError::new(format!("the job failed: {why}"))),
            ChildEvent::Finished => plan.say("  finished")?,
            ChildEvent::EndOfInput | ChildEvent::Other => {}
        }
        Ok(())
    }

    fn describe(&self, trigger: Trigger, event: &ChildEvent) -> String {
        let at = table::count(self.position);
        match (trigger, event) {
            (Trigger::CheckpointAfter(_), ChildEvent::Checkpoint(checkpoint)) => {
                format!("  killed    at record {at}, as checkpoint {checkpoint} completed")
            }
            _ => format!("  killed    at record {at}"),
        }
    }

    fn args(&self, plan: &RoundPlan, parallelism: u32) -> Vec<String> {
        // Some ten checkpoints in a run, whatever the machine and the input.
        let (rate, interval) = match plan.pace {
            Pace::Shown => ((plan.records / 6).max(1), "500ms"),
            Pace::Fast => (plan.records.max(1), "50ms"),
        };
        let mut args = plan.job_args();
        args.extend(["--json", "--progress-interval", "10ms"].map(str::to_owned));
        args.push(format!("--output={}", plan.output.display()));
        args.push(format!("--state-backend={}", plan.state_backend.name()));
        args.push(format!("--incremental={}", plan.incremental));
        if plan.local_recovery {
            args.push(format!("--local-recovery={}", plan.output.join("local").display()));
        }
        args.push(format!("--parallelism={parallelism}"));
        args.push(format!("--rate={rate}"));
        args.push(format!("--interval={interval}"));
        if self.starts > 0 {
            args.push("--restore=latest".to_owned());
        }
        args
    }
}

impl RoundPlan {
    /// The arguments that name the job and its input.
    fn job_args(&self) -> Vec<String> {
        let name = self.input.to_str().unwrap_or_default();
        match (self.job, NexmarkEvents::parse(name)) {
            (DemoJob::Nexmark(query), Some(Ok(events))) => {
                let query = format!("--query={}", query.name());
                let job = ["run".to_owned(), "nexmark".to_owned(), query];
                job.into_iter().chain(events.options()).collect()
            }
            _ => {
                let input = format!("--input={}", self.input.display());
                vec!["run".to_owned(), self.job.name().to_owned(), input]
            }
        }
    }

    fn say(&self, line: &str) -> Result<()> {
        match self.pace {
            Pace::Shown => console::print(line),
            Pace::Fast => Ok(()),
        }
    }
}
