//! Events as the queries take them: what the generator says, without what no query asks for.

use millpond_runtime::Timestamp;
use nexmark::event::Event;

/// A bid for an auction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bid {
    pub(super) auction: u64,
    pub(super) bidder: u64,
    /// In cents.
    pub(super) price: u64,
    pub(super) at: Timestamp,
}

impl Bid {
    /// The bid that an event is.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let Event::Bid(bid) = event else { return None };
        Some(Self {
            auction: number(bid.auction),
            bidder: number(bid.bidder),
            price: number(bid.price),
            at: at(bid.date_time),
        })
    }
}

/// A time of the generator.
pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// A number of the generator.
pub(super) const fn number(number: usize) -> u64 {
    number as u64
}
