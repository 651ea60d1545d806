//! q11 and q12: how often a user bid, in each session and in each ten seconds of processing time.
//!
//! ```text
//! input -> q11  bids of a user not ten seconds apart        -> DIR/q11
//! input -> q12  bids of a user in ten seconds of the clock  -> DIR/q12
//! ```

use millpond_runtime::sink::PartFiles;
use millpond_runtime::{
    JobGraph, Result, Stream, WindowAggregate, WindowOperator, WindowResult, WindowTime, Windows,
};
use nexmark::event::Event;

use super::count::Count;
use super::event::Bid;
use super::{JobContext, Rows, WINDOW_MS};

type BidsOfUser = WindowResult<u64, u64>;

const ROWS: Rows<BidsOfUser> = Rows {
    header: "bidder,bids,start_ms,end_ms\n",
    append: |row, csv| {
        csv.number(row.key)
            .number(row.result)
            .number(row.window.start().as_ms())
            .number(row.window.end().as_ms())
            .end();
    },
};

/// Adds the sessions of users.
///
/// # Errors
/// If the output folder cannot be made.
pub(super) fn build_q11(
    graph: &mut JobGraph,
    events: &Stream<Event>,
    cx: &JobContext,
) -> Result<()> {
    let make = |_| {
        let time = WindowTime::event(|bid: &Bid| bid.at);
        let count = WindowAggregate::new(Count::new());
        Ok(WindowOperator::new("bids", Windows::session(WINDOW_MS)?, time, count))
    };
    let sessions = graph.keyed("q11", cx.parallelism, events, (Bid::of, bidder, make));
    graph.sink(&sessions, "q11", PartFiles::create(cx.output.join("q11"), ROWS)?);
    Ok(())
}

/// Adds the windows of processing time.
///
/// # Errors
/// If the output folder cannot be made.
pub(super) fn build_q12(
    graph: &mut JobGraph,
    events: &Stream<Event>,
    cx: &JobContext,
) -> Result<()> {
    let make = |_| {
        let count = WindowAggregate::new(Count::<Bid>::new());
        let windows = Windows::tumbling(WINDOW_MS)?;
        Ok(WindowOperator::new("bids", windows, WindowTime::processing(), count))
    };
    let windows = graph.keyed("q12", cx.parallelism, events, (Bid::of, bidder, make));
    graph.sink(&windows, "q12", PartFiles::create(cx.output.join("q12"), ROWS)?);
    Ok(())
}

fn bidder(bid: &Bid) -> u64 {
    bid.bidder
}
