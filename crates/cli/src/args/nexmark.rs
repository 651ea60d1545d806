//! Options of the queries of NEXMark.

use clap::{Args, ValueEnum};

use super::RunArgs;

/// Most events: the generator counts time in 32-bit floats, which get coarse.
const EVENTS_MAX: u64 = 10_000_000_000;

/// Largest group of events that are shuffled.
const OUT_OF_ORDER_MAX: u64 = 1_000_000;

/// By what the generator multiplies to shuffle a group.
const SHUFFLE_FACTOR: u64 = 953;

/// Options of a query.
#[derive(Debug, Args)]
pub(crate) struct NexmarkArgs {
    /// The query
    #[arg(long, value_enum)]
    pub(crate) query: NexmarkQuery,

    /// How many events: of 50, one is a person, three are auctions, the rest bids
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = events)]
    pub(crate) events: u64,

    /// Events in a second of event time; --rate bounds how many are read in a second of the clock
    #[arg(
        long,
        value_name = "EVENTS_PER_S",
        default_value_t = 10_000,
        value_parser = event_time_rate
    )]
    pub(crate) event_time_rate: u64,

    /// Events come shuffled in groups of so many: 1 is in order of time
    #[arg(long, value_name = "EVENTS", default_value_t = 1, value_parser = out_of_order)]
    pub(crate) out_of_order: u64,

    /// At the end compare the output with a plain single-threaded computation; exit status 1 if it
    /// differs. Of q12 only the sums by bidder, since the clock decides about its windows
    #[arg(long)]
    pub(crate) check: bool,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// The queries of NEXMark that keep state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NexmarkQuery {
    /// Auctions of category 10 of sellers in Oregon, Idaho and California, as either comes.
    Q3,
    /// Average closing price of a category, whenever auctions close.
    Q4,
    /// The auctions with most bids in the last ten seconds, every two seconds.
    Q5,
    /// The highest bids of every ten seconds.
    Q7,
    /// Who registered and opened an auction in the same ten seconds.
    Q8,
    /// How often a user bid in each session, which ends after ten seconds without a bid.
    Q11,
    /// How often a user bid in every ten seconds of processing time.
    Q12,
}

impl NexmarkQuery {
    /// What `--query` calls it; also the folder of its output and the vertex that writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Q3 => "q3",
            Self::Q4 => "q4",
            Self::Q5 => "q5",
            Self::Q7 => "q7",
            Self::Q8 => "q8",
            Self::Q11 => "q11",
            Self::Q12 => "q12",
        }
    }

    /// What checkpoints call the job.
    pub(crate) const fn job(self) -> &'static str {
        match self {
            Self::Q3 => "nexmark-q3",
            Self::Q4 => "nexmark-q4",
            Self::Q5 => "nexmark-q5",
            Self::Q7 => "nexmark-q7",
            Self::Q8 => "nexmark-q8",
            Self::Q11 => "nexmark-q11",
            Self::Q12 => "nexmark-q12",
        }
    }

    /// A state of the vertex that writes its output.
    pub(crate) const fn state(self) -> &'static str {
        match self {
            Self::Q3 => "sellers",
            Self::Q4 => "totals",
            Self::Q5 | Self::Q7 => "best",
            Self::Q8 => "new_sellers",
            Self::Q11 | Self::Q12 => "bids",
        }
    }
}

/// A number of events.
pub(crate) fn events(text: &str) -> Result<u64, String> {
    number(text, EVENTS_MAX)
}

/// Events in a second of event time.
pub(crate) fn event_time_rate(text: &str) -> Result<u64, String> {
    number(text, 1_000_000)
}

/// A group of events that are shuffled.
pub(crate) fn out_of_order(text: &str) -> Result<u64, String> {
    let group = number(text, OUT_OF_ORDER_MAX)?;
    if group.is_multiple_of(SHUFFLE_FACTOR) {
        return Err(format!("the generator cannot shuffle a multiple of {SHUFFLE_FACTOR} events"));
    }
    Ok(group)
}

fn number(text: &str, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("give a number from 1 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_the_generator_would_not_shuffle_but_repeat_are_refused() {
        assert_eq!(out_of_order("1"), Ok(1));
        assert_eq!(out_of_order("952"), Ok(952));
        for bad in ["0", "953", "1906", "-1", "many", "1000001"] {
            assert!(out_of_order(bad).is_err(), "{bad}");
        }
    }
}
