//! q7: the highest bids of every ten seconds.
//!
//! ```text
//! input -> auctions  the highest bids of each auction in each window, so that all subtasks work
//!       -> q7        the highest of those                              -> DIR/q7
//! ```

use millpond_runtime::sink::PartFiles;
use millpond_runtime::{JobGraph, Result, Stream};
use millpond_state::record;
use nexmark::event::Event;

use super::event::Bid;
use super::top::{Contender, Top};
use super::{JobContext, Rows, WINDOW_MS};

/// Who bid, for what, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    auction: u64,
    bidder: u64,
    at_ms: i64,
}
record!(Offer, version 1, { auction: u64, bidder: u64, at_ms: i64 });

const ROWS: Rows<Contender<Offer>> = Rows {
    header: "end_ms,auction,bidder,price,bid_ms\n",
    append: |row, csv| {
        csv.number(row.end_ms)
            .number(row.what.auction)
            .number(row.what.bidder)
            .number(row.score)
            .number(row.what.at_ms)
            .end();
    },
};

fn contender(event: &Event) -> Option<Contender<Offer>> {
    let bid = Bid::of(event)?;
    let at_ms = bid.at.as_ms();
    let end_ms = at_ms.saturating_sub(at_ms.rem_euclid(WINDOW_MS)).saturating_add(WINDOW_MS);
    let what = Offer { auction: bid.auction, bidder: bid.bidder, at_ms };
    Some(Contender { end_ms, score: bid.price, what })
}

/// Adds the query's vertices.
///
/// # Errors
/// If the output folder cannot be made.
pub(super) fn build(graph: &mut JobGraph, events: &Stream<Event>, cx: &JobContext) -> Result<()> {
    let key = |contender: &Contender<Offer>| contender.what.auction;
    let make = |_| Ok(Top::new());
    let of_auction = graph.keyed("auctions", cx.parallelism, events, (contender, key, make));
    let pass = |contender: &Contender<Offer>| Some(contender.clone());
    let key = |contender: &Contender<Offer>| contender.end_ms;
    let make = |_| Ok(Top::new());
    let top = graph.keyed("q7", cx.parallelism, &of_auction, (pass, key, make));
    graph.sink(&top, "q7", PartFiles::create(cx.output.join("q7"), ROWS)?);
    Ok(())
}
