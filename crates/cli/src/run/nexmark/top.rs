//! The best of each window: an operator that keeps the contenders with the highest score, all of
//! them if several have it, and says them when the window is over.

use millpond_runtime::{KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result, Timer};
use millpond_state::codec::HasCodec;
use millpond_state::{At, EntryKey, ListState, NamespaceContext, TimeDomain, ValueState};

use crate::run::totals::not_opened;

/// Something that may be the best of its window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contender<R> {
    /// When its window is over, in milliseconds: it happened before that.
    pub(super) end_ms: i64,
    pub(super) score: u64,
    pub(super) what: R,
}

/// Keeps the best contenders of each key and window.
pub(super) struct Top<K, R: HasCodec> {
    states: Option<States<K, R>>,
}

struct States<K, R: HasCodec> {
    /// The highest score; the namespace is the end of the window.
    best: ValueState<K, u64, i64>,
    /// Who has it.
    holders: ListState<K, R, i64>,
}

/// What a contender came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// The first of its window.
    First,
    Higher,
    Equal,
    Lower,
}

impl Rank {
    fn of(score: u64, best: Option<u64>) -> Self {
        match best {
            None => Self::First,
            Some(best) if score > best => Self::Higher,
            Some(best) if score == best => Self::Equal,
            Some(_) => Self::Lower,
        }
    }
}

impl<K, R: HasCodec> Top<K, R> {
    pub(super) const fn new() -> Self {
        Self { states: None }
    }

    fn states(&self) -> Result<&States<K, R>> {
        self.states.as_ref().ok_or_else(not_opened)
    }
}

impl<K: HasCodec, R: HasCodec + Send> States<K, R> {
    fn take(
        &self,
        batch: &KeyedBatch<'_, Contender<R>>,
        entries: &[EntryKey<'_>],
        cx: &mut OperatorContext<'_, Top<K, R>>,
    ) -> Result<()> {
        let mut ranks = Vec::with_capacity(batch.len());
        self.best.update_many(cx.backend(), entries, |index, best| {
            let score = batch.record(index)?.score;
            ranks.push((index, Rank::of(score, best)));
            best.max(Some(score))
        })?;
        for (index, rank) in ranks.into_iter().filter(|(_, rank)| *rank != Rank::Lower) {
            if let (Some(contender), Some(entry)) = (batch.record(index), entries.get(index)) {
                self.hold(contender, rank, At::from_entry(*entry), cx)?;
            }
        }
        Ok(())
    }

    fn hold(
        &self,
        contender: &Contender<R>,
        rank: Rank,
        at: At<'_, K, i64>,
        cx: &mut OperatorContext<'_, Top<K, R>>,
    ) -> Result<()> {
        if rank == Rank::First {
            cx.timers().add(TimeDomain::Event, at, contender.end_ms.saturating_sub(1))?;
        }
        if rank == Rank::Higher {
            return Ok(self.holders.replace(cx.backend(), at, [&contender.what])?);
        }
        Ok(self.holders.add(cx.backend(), at, &contender.what)?)
    }

    fn say(
        &self,
        end_ms: i64,
        at: At<'_, K, i64>,
        cx: &mut OperatorContext<'_, Top<K, R>>,
    ) -> Result<()> {
        let Some(score) = self.best.get(cx.backend(), at)? else { return Ok(()) };
        for what in self.holders.get(cx.backend(), at)? {
            cx.emit(&Contender { end_ms, score, what })?;
        }
        self.best.delete(cx.backend(), at)?;
        Ok(self.holders.delete(cx.backend(), at)?)
    }
}

impl<K: HasCodec, R: HasCodec + Send> KeyedOperator for Top<K, R> {
    type In = Contender<R>;
    type Key = K;
    type Out = Contender<R>;
    type Side = ();
    type TimerNamespace = i64;

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.states = Some(States {
            best: ValueState::register(cx.backend(), "best")?,
            holders: ListState::register(cx.backend(), "holders")?,
        });
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, Contender<R>>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let windows = batch
            .records()
            .map(|contender| NamespaceContext::new(&contender.end_ms))
            .collect::<millpond_state::Result<Vec<_>>>()?;
        let entries: Vec<EntryKey<'_>> = batch
            .entries()
            .iter()
            .zip(&windows)
            .map(|(entry, window)| entry.in_namespace(window.as_bytes()))
            .collect();
        self.states()?.take(batch, &entries, cx)
    }

    fn on_timer(
        &mut self,
        timer: &Timer<K, i64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        self.states()?.say(timer.namespace()?, timer.at(), cx)
    }
}
