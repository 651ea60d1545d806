//! q8: who registered and opened an auction within the same ten seconds.
//!
//! ```text
//! input -> q8  registrations and auctions by user, in windows -> DIR/q8
//! ```

use millpond_runtime::sink::PartFiles;
use millpond_runtime::{
    JobGraph, Result, Stream, Timestamp, WindowAggregate, WindowOperator, WindowResult,
    WindowState, WindowTime, Windows,
};
use millpond_state::{
    Aggregate, At, EntryKey, KeyContext, KeyedBackend, NamespaceContext, StateId, record,
};
use nexmark::event::Event;

use super::event::{at, number};
use super::{JobContext, Rows, WINDOW_MS};

/// Something that a user did.
#[derive(Clone, Debug)]
struct Deed {
    user: u64,
    at: Timestamp,
    /// The user's name, if it was to register; else it was to open an auction.
    registered: Option<String>,
}

fn deed(event: &Event) -> Option<Deed> {
    match event {
        Event::Person(person) => Some(Deed {
            user: number(person.id),
            at: at(person.date_time),
            registered: Some(person.name.clone()),
        }),
        Event::Auction(auction) => {
            Some(Deed { user: number(auction.seller), at: at(auction.date_time), registered: None })
        }
        Event::Bid(_) => None,
    }
}

/// What a user did in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Deeds {
    registered: Option<String>,
    sells: bool,
}
record!(Deeds, version 1, { registered: Option<String>, sells: bool });

struct GatherDeeds;

impl Aggregate for GatherDeeds {
    type Input = Deed;
    type Accumulator = Deeds;
    /// The name of a user who did both.
    type Output = Option<String>;

    fn create(&self) -> Deeds {
        Deeds::default()
    }

    fn add(&self, deeds: &mut Deeds, deed: &Deed) {
        match &deed.registered {
            Some(name) => deeds.registered = Some(name.clone()),
            None => deeds.sells = true,
        }
    }

    fn merge(&self, deeds: &mut Deeds, other: Deeds) {
        deeds.registered = other.registered.or_else(|| deeds.registered.take());
        deeds.sells |= other.sells;
    }

    fn result(&self, deeds: &Deeds) -> Option<String> {
        deeds.registered.clone().filter(|_| deeds.sells)
    }
}

/// Windows of deeds that come to something only if the user did both.
struct NewSellers(WindowAggregate<u64, GatherDeeds>);

impl WindowState<u64, Deed> for NewSellers {
    type Result = String;

    fn open(&mut self, backend: &mut dyn KeyedBackend, name: &str) -> Result<()> {
        self.0.open(backend, name)
    }

    fn probe(&self) -> Option<StateId> {
        self.0.probe()
    }

    fn add_many(
        &self,
        backend: &mut dyn KeyedBackend,
        entries: &[EntryKey<'_>],
        records: &[&Deed],
    ) -> Result<()> {
        self.0.add_many(backend, entries, records)
    }

    fn result(
        &self,
        backend: &mut dyn KeyedBackend,
        at: At<'_, u64, i64>,
    ) -> Result<Option<String>> {
        Ok(self.0.result(backend, at)?.flatten())
    }

    fn merge(
        &self,
        backend: &mut dyn KeyedBackend,
        key: &KeyContext<u64>,
        sources: &[NamespaceContext<i64>],
        target: &NamespaceContext<i64>,
    ) -> Result<()> {
        self.0.merge(backend, key, sources, target)
    }

    fn delete(&self, backend: &mut dyn KeyedBackend, at: At<'_, u64, i64>) -> Result<()> {
        self.0.delete(backend, at)
    }
}

const ROWS: Rows<WindowResult<u64, String>> = Rows {
    header: "id,name,start_ms\n",
    append: |row, csv| {
        csv.number(row.key).text(row.result.as_bytes()).number(row.window.start().as_ms()).end();
    },
};

/// Adds the query's vertex.
///
/// # Errors
/// If the output folder cannot be made.
pub(super) fn build(graph: &mut JobGraph, events: &Stream<Event>, cx: &JobContext) -> Result<()> {
    let key = |deed: &Deed| deed.user;
    let make = |_| {
        let windows = Windows::tumbling(WINDOW_MS)?;
        let time = WindowTime::event(|deed: &Deed| deed.at);
        let state = NewSellers(WindowAggregate::new(GatherDeeds));
        Ok(WindowOperator::new("new_sellers", windows, time, state))
    };
    let sellers = graph.keyed("q8", cx.parallelism, events, (deed, key, make));
    graph.sink(&sellers, "q8", PartFiles::create(cx.output.join("q8"), ROWS)?);
    Ok(())
}
