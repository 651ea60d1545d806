//! q4: the average closing price of each category, said anew whenever auctions of it have closed.
//!
//! ```text
//! input -> closings  highest valid bid of each auction, when it expires
//!       -> q4        running average by category -> DIR/q4
//! ```
//!
//! A bid is valid from the moment its auction opens to the moment it expires, both included. Bids
//! may come before their auction: they are kept until event time has passed them, when the auction
//! must have come if it was open. An auction without a valid bid has no closing price.

use millpond_runtime::sink::PartFiles;
use millpond_runtime::{
    JobGraph, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result, Stream, Timer,
};
use millpond_state::{At, ListState, MapState, TimeDomain, ValueState, record};
use nexmark::event::Event;

use super::event::{Bid, at, number};
use super::{JobContext, Rows};
use crate::run::totals::not_opened;

/// An open auction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lot {
    category: u64,
    opened_ms: i64,
    expires_ms: i64,
    /// The highest valid bid, in cents.
    highest: Option<u64>,
}
record!(Lot, version 1, {
    category: u64,
    opened_ms: i64,
    expires_ms: i64,
    highest: Option<u64>,
});

impl Lot {
    /// Takes a bid, if it is valid.
    fn bid(&mut self, price: u64, at_ms: i64) {
        if (self.opened_ms..=self.expires_ms).contains(&at_ms) {
            self.highest = self.highest.max(Some(price));
        }
    }
}

/// Something happened to an auction.
#[derive(Clone, Debug)]
struct Happening {
    auction: u64,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Opened(Lot),
    Bid { price: u64, at_ms: i64 },
}

fn happening(event: &Event) -> Option<Happening> {
    if let Event::Auction(auction) = event {
        let lot = Lot {
            category: number(auction.category),
            opened_ms: at(auction.date_time).as_ms(),
            expires_ms: at(auction.expires).as_ms(),
            highest: None,
        };
        return Some(Happening { auction: number(auction.id), what: What::Opened(lot) });
    }
    let bid = Bid::of(event)?;
    let what = What::Bid { price: bid.price, at_ms: bid.at.as_ms() };
    Some(Happening { auction: bid.auction, what })
}

/// An auction closed with a valid bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Closing {
    category: u64,
    at_ms: i64,
    price: u64,
}

/// Price and time of a bid whose auction has not come.
type EarlyBid = (u64, i64);

/// Follows each auction to its end.
#[derive(Default)]
struct Auctions {
    states: Option<AuctionStates>,
}

struct AuctionStates {
    open: ValueState<u64, Lot>,
    early: ListState<u64, EarlyBid>,
}

impl AuctionStates {
    /// Notes what happened to open auctions; returns the positions of auctions that opened and of
    /// bids for auctions that are not open.
    fn update(
        &self,
        batch: &KeyedBatch<'_, Happening>,
        cx: &mut OperatorContext<'_, Auctions>,
    ) -> Result<(Vec<usize>, Vec<usize>)> {
        let (mut opened, mut early) = (Vec::new(), Vec::new());
        self.open.update_many(cx.backend(), batch.entries(), |index, lot| {
            match (batch.record(index)?.what, lot) {
                (What::Opened(lot), _) => {
                    opened.push(index);
                    Some(lot)
                }
                (What::Bid { price, at_ms }, Some(mut lot)) => {
                    lot.bid(price, at_ms);
                    Some(lot)
                }
                (What::Bid { .. }, None) => {
                    early.push(index);
                    None
                }
            }
        })?;
        Ok((opened, early))
    }

    fn keep_early(
        &self,
        (price, at_ms): EarlyBid,
        at: At<'_, u64>,
        cx: &mut OperatorContext<'_, Auctions>,
    ) -> Result<()> {
        self.early.add(cx.backend(), at, &(price, at_ms))?;
        cx.timers().add(TimeDomain::Event, at, at_ms)?;
        Ok(())
    }

    fn open(
        &self,
        expires_ms: i64,
        at: At<'_, u64>,
        cx: &mut OperatorContext<'_, Auctions>,
    ) -> Result<()> {
        cx.timers().add(TimeDomain::Event, at, expires_ms)?;
        let early = self.early.get(cx.backend(), at)?;
        if early.is_empty() {
            return Ok(());
        }
        self.open.update(cx.backend(), at, |lot| {
            let mut lot = lot?;
            early.iter().for_each(|(price, at_ms)| lot.bid(*price, *at_ms));
            Some(lot)
        })?;
        Ok(self.early.delete(cx.backend(), at)?)
    }

    /// Event time has come to the end of an auction, or to a bid that came early.
    fn on_time(
        &self,
        now_ms: i64,
        at: At<'_, u64>,
        cx: &mut OperatorContext<'_, Auctions>,
    ) -> Result<()> {
        let Some(lot) = self.open.get(cx.backend(), at)? else {
            let mut early = self.early.get(cx.backend(), at)?;
            early.retain(|(_, at_ms)| *at_ms > now_ms);
            return Ok(self.early.replace(cx.backend(), at, &early)?);
        };
        if lot.expires_ms > now_ms {
            return Ok(());
        }
        self.open.delete(cx.backend(), at)?;
        let Some(price) = lot.highest else { return Ok(()) };
        cx.emit(&Closing { category: lot.category, at_ms: lot.expires_ms, price })
    }
}

impl KeyedOperator for Auctions {
    type In = Happening;
    type Key = u64;
    type Out = Closing;
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.states = Some(AuctionStates {
            open: ValueState::register(cx.backend(), "open")?,
            early: ListState::register(cx.backend(), "early")?,
        });
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, Happening>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let states = self.states.as_ref().ok_or_else(not_opened)?;
        let (opened, early) = states.update(batch, cx)?;
        // Early bids first: their auction may have opened later in the same batch.
        for index in early.into_iter().chain(opened) {
            let (Some(record), Some(entry)) = (batch.record(index), batch.entries().get(index))
            else {
                continue;
            };
            let at = At::from_entry(*entry);
            match record.what {
                What::Bid { price, at_ms } => states.keep_early((price, at_ms), at, cx)?,
                What::Opened(lot) => states.open(lot.expires_ms, at, cx)?,
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: &Timer<u64>, cx: &mut OperatorContext<'_, Self>) -> Result<()> {
        let states = self.states.as_ref().ok_or_else(not_opened)?;
        states.on_time(timer.time_ms(), timer.at(), cx)
    }
}

/// Closings and the sum of their prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    auctions: u64,
    price: u64,
}
record!(Sum, version 1, { auctions: u64, price: u64 });

impl Sum {
    fn add(self, other: Self) -> Self {
        Self {
            auctions: self.auctions.saturating_add(other.auctions),
            price: self.price.saturating_add(other.price),
        }
    }
}

/// What a category has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Average {
    at_ms: i64,
    category: u64,
    sum: Sum,
}

const ROWS: Rows<Average> = Rows {
    header: "closed_ms,category,auctions,average_price\n",
    append: |row, csv| {
        let average = row.sum.price.checked_div(row.sum.auctions).unwrap_or(0);
        csv.number(row.at_ms).number(row.category).number(row.sum.auctions).number(average).end();
    },
};

/// Says the average of a category in the order of closings, however they come.
#[derive(Default)]
struct Averages {
    states: Option<AverageStates>,
}

struct AverageStates {
    /// Closings that event time has not come to, by their time.
    pending: MapState<u64, i64, Sum>,
    totals: ValueState<u64, Sum>,
}

impl AverageStates {
    fn take(
        &self,
        closing: &Closing,
        at: At<'_, u64>,
        cx: &mut OperatorContext<'_, Averages>,
    ) -> Result<()> {
        let sum = self.pending.get(cx.backend(), at, &closing.at_ms)?.unwrap_or_default();
        let sum = sum.add(Sum { auctions: 1, price: closing.price });
        self.pending.put(cx.backend(), at, &closing.at_ms, &sum)?;
        cx.timers().add(TimeDomain::Event, at, closing.at_ms)?;
        Ok(())
    }

    fn say(&self, timer: &Timer<u64>, cx: &mut OperatorContext<'_, Averages>) -> Result<()> {
        let (at, at_ms) = (timer.at(), timer.time_ms());
        let Some(new) = self.pending.get(cx.backend(), at, &at_ms)? else { return Ok(()) };
        self.pending.remove(cx.backend(), at, &at_ms)?;
        let sum = self.totals.get(cx.backend(), at)?.unwrap_or_default().add(new);
        self.totals.put(cx.backend(), at, &sum)?;
        cx.emit(&Average { at_ms, category: timer.key()?, sum })
    }
}

impl KeyedOperator for Averages {
    type In = Closing;
    type Key = u64;
    type Out = Average;
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.states = Some(AverageStates {
            pending: MapState::register(cx.backend(), "pending")?,
            totals: ValueState::register(cx.backend(), "totals")?,
        });
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, Closing>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let states = self.states.as_ref().ok_or_else(not_opened)?;
        for (closing, entry) in batch.records().zip(batch.entries()) {
            states.take(closing, At::from_entry(*entry), cx)?;
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: &Timer<u64>, cx: &mut OperatorContext<'_, Self>) -> Result<()> {
        self.states.as_ref().ok_or_else(not_opened)?.say(timer, cx)
    }
}

/// Adds the query's vertices.
///
/// # Errors
/// If the output folder cannot be made.
pub(super) fn build(graph: &mut JobGraph, events: &Stream<Event>, cx: &JobContext) -> Result<()> {
    let key = |happening: &Happening| happening.auction;
    let make = |_| Ok(Auctions::default());
    let closings = graph.keyed("closings", cx.parallelism, events, (happening, key, make));
    let pass = |closing: &Closing| Some(*closing);
    let key = |closing: &Closing| closing.category;
    let make = |_| Ok(Averages::default());
    let averages = graph.keyed("q4", cx.parallelism, &closings, (pass, key, make));
    graph.sink(&averages, "q4", PartFiles::create(cx.output.join("q4"), ROWS)?);
    Ok(())
}
