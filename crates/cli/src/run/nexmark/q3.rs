//! q3: who sells in category 10 in Oregon, Idaho or California: sellers joined with their auctions
//! as either comes.
//!
//! ```text
//! input -> q3  sellers and auctions by seller -> DIR/q3
//! ```
//!
//! Nothing is ever forgotten: a seller may open an auction at any time, and an auction may come
//! before its seller. Of the others, auctions wait for ever too, since no one says that their
//! seller is not among those looked for. So the state grows with the input, which is the point of
//! this query.

use millpond_runtime::sink::PartFiles;
use millpond_runtime::{
    JobError, JobGraph, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result, Stream,
};
use millpond_state::{At, ListState, ValueState, record};
use nexmark::event::Event;

use super::event::number;
use super::{JobContext, Rows};
use crate::run::totals::not_opened;

const CATEGORY: usize = 10;
const STATES: [&str; 3] = ["OR", "ID", "CA"];

/// Someone who may sell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seller {
    name: String,
    city: String,
    state: String,
}
record!(Seller, version 1, { name: String, city: String, state: String });

/// What is joined, by the seller's number.
#[derive(Clone, Debug)]
struct Arrival {
    seller: u64,
    side: Side,
}

#[derive(Clone, Debug)]
enum Side {
    Seller(Seller),
    Auction(u64),
}

/// A seller's auction.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    seller: Seller,
    auction: u64,
}

const ROWS: Rows<Offer> = Rows {
    header: "name,city,state,auction\n",
    append: |row, csv| {
        csv.text(row.seller.name.as_bytes())
            .text(row.seller.city.as_bytes())
            .text(row.seller.state.as_bytes())
            .number(row.auction)
            .end();
    },
};

fn arrival(event: &Event) -> Option<Arrival> {
    match event {
        Event::Person(person) if STATES.iter().any(|it| person.state.eq_ignore_ascii_case(it)) => {
            let (name, city) = (person.name.clone(), person.city.clone());
            let seller = Seller { name, city, state: person.state.clone() };
            Some(Arrival { seller: number(person.id), side: Side::Seller(seller) })
        }
        Event::Auction(auction) if auction.category == CATEGORY => Some(Arrival {
            seller: number(auction.seller),
            side: Side::Auction(number(auction.id)),
        }),
        _ => None,
    }
}

/// Keeps both sides and emits each pair once, with its second part.
#[derive(Default)]
struct Join {
    states: Option<States>,
}

struct States {
    sellers: ValueState<u64, Seller>,
    /// Auctions whose seller has not come.
    waiting: ListState<u64, u64>,
}

impl States {
    fn take(
        &self,
        arrival: &Arrival,
        at: At<'_, u64>,
        cx: &mut OperatorContext<'_, Join>,
    ) -> Result<()> {
        match &arrival.side {
            Side::Seller(seller) => {
                self.sellers.put(cx.backend(), at, seller)?;
                for auction in self.waiting.get(cx.backend(), at)? {
                    cx.emit(&Offer { seller: seller.clone(), auction })?;
                }
                Ok(self.waiting.delete(cx.backend(), at)?)
            }
            Side::Auction(auction) => match self.sellers.get(cx.backend(), at)? {
                Some(seller) => cx.emit(&Offer { seller, auction: *auction }),
                None => Ok(self.waiting.add(cx.backend(), at, auction)?),
            },
        }
    }
}

impl KeyedOperator for Join {
    type In = Arrival;
    type Key = u64;
    type Out = Offer;
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.states = Some(States {
            sellers: ValueState::register(cx.backend(), "sellers")?,
            waiting: ListState::register(cx.backend(), "waiting")?,
        });
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, Arrival>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let states = self.states.as_ref().ok_or_else::<JobError, _>(not_opened)?;
        for (arrival, entry) in batch.records().zip(batch.entries()) {
            states.take(arrival, At::from_entry(*entry), cx)?;
        }
        Ok(())
    }
}

/// Adds the query's vertex.
///
/// # Errors
/// If the output folder cannot be made.
pub(super) fn build(graph: &mut JobGraph, events: &Stream<Event>, cx: &JobContext) -> Result<()> {
    let key = |arrival: &Arrival| arrival.seller;
    let make = |_| Ok(Join::default());
    let offers = graph.keyed("q3", cx.parallelism, events, (arrival, key, make));
    graph.sink(&offers, "q3", PartFiles::create(cx.output.join("q3"), ROWS)?);
    Ok(())
}
