//! q5: the auctions with most bids in the last ten seconds, every two seconds.
//!
//! ```text
//! input -> auctions  bids of each auction in each sliding window
//!       -> q5        the most of each window                      -> DIR/q5
//! ```

use millpond_runtime::sink::PartFiles;
use millpond_runtime::{
    JobGraph, Result, Stream, WindowAggregate, WindowOperator, WindowResult, WindowTime, Windows,
};
use nexmark::event::Event;

use super::count::Count;
use super::event::Bid;
use super::top::{Contender, Top};
use super::{JobContext, Rows, WINDOW_MS};

const SLIDE_MS: i64 = 2_000;

const ROWS: Rows<Contender<u64>> = Rows {
    header: "start_ms,end_ms,auction,bids\n",
    append: |row, csv| {
        csv.number(row.end_ms.saturating_sub(WINDOW_MS))
            .number(row.end_ms)
            .number(row.what)
            .number(row.score)
            .end();
    },
};

/// Adds the query's vertices.
///
/// # Errors
/// If the output folder cannot be made.
pub(super) fn build(graph: &mut JobGraph, events: &Stream<Event>, cx: &JobContext) -> Result<()> {
    let key = |bid: &Bid| bid.auction;
    let make = |_| {
        let windows = Windows::sliding(WINDOW_MS, SLIDE_MS)?;
        let time = WindowTime::event(|bid: &Bid| bid.at);
        Ok(WindowOperator::new("bids", windows, time, WindowAggregate::new(Count::new())))
    };
    let counts = graph.keyed("auctions", cx.parallelism, events, (Bid::of, key, make));
    let contender = |counted: &WindowResult<u64, u64>| {
        let end_ms = counted.window.end().as_ms();
        Some(Contender { end_ms, score: counted.result, what: counted.key })
    };
    let key = |contender: &Contender<u64>| contender.end_ms;
    let make = |_| Ok(Top::new());
    let top = graph.keyed("q5", cx.parallelism, &counts, (contender, key, make));
    graph.sink(&top, "q5", PartFiles::create(cx.output.join("q5"), ROWS)?);
    Ok(())
}
