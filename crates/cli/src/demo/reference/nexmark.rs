//! What the queries of NEXMark come to: plain loops over the generated events, in the words of the
//! queries and with nothing but standard collections.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use nexmark::event::{Auction, Bid, Event, Person};

use super::{ExpectedSink, Rows, all_rows, count};
use crate::args::NexmarkQuery;
use crate::error::{CliError, Result};
use crate::run::NexmarkEvents;

/// The events that `input` names.
///
/// # Errors
/// If it does not name any.
pub(super) fn events(input: &Path) -> Result<NexmarkEvents> {
    match input.to_str().and_then(NexmarkEvents::parse) {
        Some(Ok(events)) => Ok(events),
        Some(Err(wrong)) => Err(CliError::Usage(wrong)),
        None => {
            let message = "the queries of NEXMark are shown over its own events only".to_owned();
            let advice = "give --input nexmark:EVENTS:EVENT_TIME_RATE:OUT_OF_ORDER";
            Err(CliError::new(message).advice(advice))
        }
    }
}

/// Computes what a query comes to.
pub(super) fn compute(query: NexmarkQuery, events: NexmarkEvents) -> ExpectedSink {
    let (what, header, rows) = match query {
        NexmarkQuery::Q3 => ("auctions", "name,city,state,auction", q3(events)),
        NexmarkQuery::Q4 => ("averages", "closed_ms,category,auctions,average_price", q4(events)),
        NexmarkQuery::Q5 => ("hot items", "start_ms,end_ms,auction,bids", q5(events)),
        NexmarkQuery::Q7 => ("highest bids", "end_ms,auction,bidder,price,bid_ms", q7(events)),
        NexmarkQuery::Q8 => ("new users", "id,name,start_ms", q8(events)),
        NexmarkQuery::Q11 => ("sessions", "bidder,bids,start_ms,end_ms", q11(events)),
        NexmarkQuery::Q12 => ("bidders", "bidder,bids,start_ms,end_ms", q12(events)),
    };
    let view = if query == NexmarkQuery::Q12 { sums_by_bidder } else { all_rows };
    ExpectedSink { folder: query.name(), what, header, rows: count(rows.into_iter()), view }
}

fn all(events: NexmarkEvents) -> impl Iterator<Item = Event> {
    (0..events.events).zip(events.generator()).map(|(_, event)| event)
}

fn bids(events: NexmarkEvents) -> impl Iterator<Item = Bid> {
    all(events).filter_map(|event| match event {
        Event::Bid(bid) => Some(bid),
        _ => None,
    })
}

fn people_and_auctions(events: NexmarkEvents) -> (Vec<Person>, Vec<Auction>) {
    let (mut people, mut auctions) = (Vec::new(), Vec::new());
    for event in all(events) {
        match event {
            Event::Person(person) => people.push(person),
            Event::Auction(auction) => auctions.push(auction),
            Event::Bid(_) => {}
        }
    }
    (people, auctions)
}

fn q3(events: NexmarkEvents) -> Vec<String> {
    let (people, auctions) = people_and_auctions(events);
    let people: HashMap<usize, Person> = people.into_iter().map(|it| (it.id, it)).collect();
    let row = |auction: &Auction| {
        let person = people.get(&auction.seller)?;
        let wanted = auction.category == 10 && ["or", "id", "ca"].contains(&person.state.as_str());
        let Person { name, city, state, .. } = person;
        wanted.then(|| format!("{name},{city},{state},{}", auction.id))
    };
    auctions.iter().filter_map(row).collect()
}

fn q4(events: NexmarkEvents) -> Vec<String> {
    let mut auctions = HashMap::new();
    for event in all(events) {
        if let Event::Auction(auction) = event {
            let Auction { id, category, date_time, expires, .. } = auction;
            auctions.insert(id, (category, date_time, expires, None));
        }
    }
    for bid in bids(events) {
        if let Some((_, opened, expires, highest)) = auctions.get_mut(&bid.auction)
            && *opened <= bid.date_time
            && bid.date_time <= *expires
        {
            *highest = (*highest).max(Some(bid.price));
        }
    }
    let mut closings: BTreeMap<(usize, u64), Vec<usize>> = BTreeMap::new();
    for (category, _, expires, highest) in auctions.into_values() {
        if let Some(price) = highest {
            closings.entry((category, expires)).or_default().push(price);
        }
    }
    let mut totals: HashMap<usize, (usize, usize)> = HashMap::new();
    let row = |((category, closed), prices): ((usize, u64), Vec<usize>)| {
        let (auctions, sum) = totals.entry(category).or_default();
        *auctions += prices.len();
        *sum += prices.iter().sum::<usize>();
        format!("{closed},{category},{auctions},{}", *sum / *auctions)
    };
    closings.into_iter().map(row).collect()
}

fn q5(events: NexmarkEvents) -> Vec<String> {
    // By start of the window, then by auction.
    let mut windows: BTreeMap<u64, HashMap<usize, u64>> = BTreeMap::new();
    for bid in bids(events) {
        let mut start = bid.date_time / 2_000 * 2_000;
        while start + 10_000 > bid.date_time {
            *windows.entry(start).or_default().entry(bid.auction).or_default() += 1;
            start -= 2_000;
        }
    }
    let mut rows = Vec::new();
    for (start, auctions) in windows {
        let most = auctions.values().copied().max().unwrap_or(0);
        for (auction, _) in auctions.iter().filter(|(_, bids)| **bids == most) {
            rows.push(format!("{start},{},{auction},{most}", start + 10_000));
        }
    }
    rows
}

fn q7(events: NexmarkEvents) -> Vec<String> {
    let mut windows: BTreeMap<u64, Vec<Bid>> = BTreeMap::new();
    for bid in bids(events) {
        let end = bid.date_time / 10_000 * 10_000 + 10_000;
        let best = windows.entry(end).or_default();
        let highest = best.first().map_or(0, |it| it.price);
        if bid.price > highest {
            best.clear();
        }
        if bid.price >= highest {
            best.push(bid);
        }
    }
    let mut rows = Vec::new();
    for (end, best) in windows {
        for Bid { auction, bidder, price, date_time, .. } in best {
            rows.push(format!("{end},{auction},{bidder},{price},{date_time}"));
        }
    }
    rows
}

fn q8(events: NexmarkEvents) -> Vec<String> {
    let (people, auctions) = people_and_auctions(events);
    let start = |ms: u64| ms / 10_000 * 10_000;
    let sellers: HashSet<(usize, u64)> =
        auctions.iter().map(|auction| (auction.seller, start(auction.date_time))).collect();
    let new = people.iter().filter(|it| sellers.contains(&(it.id, start(it.date_time))));
    new.map(|it| format!("{},{},{}", it.id, it.name, start(it.date_time))).collect()
}

fn q11(events: NexmarkEvents) -> Vec<String> {
    let mut times: HashMap<usize, Vec<u64>> = HashMap::new();
    for bid in bids(events) {
        times.entry(bid.bidder).or_default().push(bid.date_time);
    }
    let mut rows = Vec::new();
    for (bidder, mut times) in times {
        times.sort_unstable();
        for session in times.chunk_by(|earlier, later| later - earlier < 10_000) {
            if let (Some(first), Some(last)) = (session.first(), session.last()) {
                rows.push(format!("{bidder},{},{first},{}", session.len(), last + 10_000));
            }
        }
    }
    rows
}

fn q12(events: NexmarkEvents) -> Vec<String> {
    let mut sums: HashMap<usize, u64> = HashMap::new();
    for bid in bids(events) {
        *sums.entry(bid.bidder).or_default() += 1;
    }
    sums.into_iter().map(|(bidder, bids)| format!("{bidder},{bids}")).collect()
}

/// Rows of q12 without their windows, which are where the clock put them. Rows of another form, or
/// whose window is not of ten seconds, are kept as they are, and so are wrong.
fn sums_by_bidder(rows: Rows) -> Rows {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    let mut strange = Rows::new();
    for (row, times) in rows {
        match bidder_and_bids(&row) {
            Some((bidder, bids)) => *sums.entry(bidder.to_owned()).or_default() += bids * times,
            None => *strange.entry(row).or_default() += times,
        }
    }
    strange.extend(sums.into_iter().map(|(bidder, bids)| (format!("{bidder},{bids}"), 1)));
    strange
}

fn bidder_and_bids(row: &str) -> Option<(&str, u64)> {
    let fields: Vec<&str> = row.split(',').collect();
    let [bidder, bids, start, end] = fields.as_slice() else { return None };
    let (start, end) = (start.parse::<u64>().ok()?, end.parse::<u64>().ok()?);
    let whole = start.is_multiple_of(10_000) && end == start.checked_add(10_000)?;
    whole.then_some((*bidder, bids.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_leave_out_where_the_windows_are_but_not_what_they_are() {
        let rows = |rows: &[&str]| count(rows.iter().map(|row| (*row).to_owned()));
        let found = rows(&["7,3,10000,20000", "7,1,30000,40000", "8,2,10000,20000", "9,2,1,10001"]);
        let expected = rows(&["7,4", "8,2", "9,2,1,10001"]);
        assert_eq!(sums_by_bidder(found), expected);
    }
}
