//! Session windows: windows by key that grow with each record and merge when they meet.
//!
//! For each key a map holds its open sessions: from the session's number to its bounds. The number
//! is the time of the record that began it, and the namespace of what it holds. Sessions of a key
//! are disjoint and each contains its number, so the map is in order of time.
//!
//! A session has one timer. A record that only moves its end leaves the timer where it is: when
//! that fires before the end it is set anew. When sessions merge, the earliest keeps its number and
//! gets what the others hold; their timers and map entries go.

use std::ops::ControlFlow;

use millpond_state::codec::{Codec, DefaultCodec, HasCodec};
use millpond_state::{
    At, EntryKey, KeyContext, KeyedBackend, MapState, NamespaceContext, TimeDomain,
};

use super::assign::Window;
use super::{
    KeyedBatch, OperatorContext, Pending, Result, Rules, Timer, WindowOperator, WindowState,
    addresses, late, not_opened,
};

/// An open session of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    /// What it is called, within the key.
    number: i64,
    start_ms: i64,
    end_ms: i64,
    /// What its timer is set for: not after it is to be said or forgotten next.
    timer_ms: i64,
}

type Stored = (i64, i64, i64);

impl Session {
    const fn window(&self) -> Window {
        Window::between(self.start_ms, self.end_ms)
    }

    const fn stored(&self) -> Stored {
        (self.start_ms, self.end_ms, self.timer_ms)
    }
}

/// The open sessions of all keys.
#[derive(Debug)]
pub(super) struct Sessions<K> {
    open: MapState<K, i64, Stored>,
}

impl<K: HasCodec> Sessions<K> {
    /// Registers the sessions of the windows called `name`.
    pub(super) fn register(backend: &mut dyn KeyedBackend, name: &str) -> Result<Self> {
        Ok(Self { open: MapState::register(backend, &format!("{name}:sessions"))? })
    }

    /// The sessions of a key that a window overlaps, in order of time. Windows that only touch do
    /// not: whether the earlier one was said already would depend on how far other keys are.
    fn meeting(
        &self,
        backend: &mut dyn KeyedBackend,
        key: EntryKey<'_>,
        window: Window,
    ) -> Result<Vec<Session>> {
        let mut found = Vec::new();
        let (numbers, bounds) = (DefaultCodec::<i64>::default(), DefaultCodec::<Stored>::default());
        backend.map_visit(self.open.id(), key, &mut |number, edit| {
            let (start_ms, end_ms, timer_ms) =
                bounds.decode_all(edit.current().unwrap_or_default())?;
            if start_ms >= window.end().as_ms() {
                return Ok(ControlFlow::Break(()));
            }
            if end_ms > window.start().as_ms() {
                let number = numbers.decode_all(number)?;
                found.push(Session { number, start_ms, end_ms, timer_ms });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn get(
        &self,
        backend: &mut dyn KeyedBackend,
        key: EntryKey<'_>,
        number: i64,
    ) -> Result<Option<Session>> {
        let stored = self.open.get(backend, At::from_entry(key), &number)?;
        Ok(stored.map(|(start_ms, end_ms, timer_ms)| Session {
            number,
            start_ms,
            end_ms,
            timer_ms,
        }))
    }

    fn put(
        &self,
        backend: &mut dyn KeyedBackend,
        key: EntryKey<'_>,
        session: &Session,
    ) -> Result<()> {
        Ok(self.open.put(backend, At::from_entry(key), &session.number, &session.stored())?)
    }

    fn remove(&self, backend: &mut dyn KeyedBackend, key: EntryKey<'_>, number: i64) -> Result<()> {
        Ok(self.open.remove(backend, At::from_entry(key), &number)?)
    }
}

impl Rules {
    /// When something is next to be done about a window: say it, or forget it.
    fn next_ms(self, window: Window, watermark: crate::Timestamp) -> i64 {
        let last_ms = window.last_ms();
        if self.is_complete(last_ms, watermark) { self.forgotten_ms(last_ms) } else { last_ms }
    }
}

impl<In, K, S> WindowOperator<In, K, S>
where
    In: Send,
    K: HasCodec,
    S: WindowState<K, In>,
{
    /// Takes records into sessions.
    pub(super) fn process_sessions(
        &mut self,
        gap_ms: i64,
        batch: &KeyedBatch<'_, In>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let rules = self.rules();
        let mut pending = Pending::with_capacity(batch.len());
        for (index, (record, entry)) in batch.records().zip(batch.entries()).enumerate() {
            let own = Window::of_size(self.at_ms(record, cx), gap_ms);
            let meeting = self.sessions()?.meeting(cx.backend(), *entry, own)?;
            if meeting.len() > 1 {
                // What is to be merged must be there.
                self.add_to_sessions(batch, &mut pending, cx)?;
            }
            let session = match meeting.split_first() {
                Some((first, others)) => self.extend(*entry, (*first, others), own, cx)?,
                None if rules.is_forgotten(own.last_ms(), cx.watermark()) => {
                    late(record, cx)?;
                    continue;
                }
                None => self.begin(*entry, own, cx)?,
            };
            let namespace = NamespaceContext::new(&session.number)?;
            pending.push((index, namespace.clone()));
            if rules.is_complete(session.window().last_ms(), cx.watermark()) {
                self.add_to_sessions(batch, &mut pending, cx)?;
                let at = At::from_entry(entry.in_namespace(namespace.as_bytes()));
                self.say(at, session.window(), cx)?;
            }
        }
        self.add_to_sessions(batch, &mut pending, cx)
    }

    fn sessions(&self) -> Result<&Sessions<K>> {
        self.sessions.as_ref().ok_or_else(not_opened)
    }

    fn add_to_sessions(
        &self,
        batch: &KeyedBatch<'_, In>,
        pending: &mut Pending,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        self.add_pending(batch, pending, &addresses(batch, pending), cx)?;
        pending.clear();
        Ok(())
    }

    /// Begins a session with a record that meets none.
    fn begin(
        &self,
        key: EntryKey<'_>,
        own: Window,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<Session> {
        let rules = self.rules();
        let (start_ms, end_ms) = (own.start().as_ms(), own.end().as_ms());
        let timer_ms = rules.next_ms(own, cx.watermark());
        let session = Session { number: start_ms, start_ms, end_ms, timer_ms };
        self.set_timer(rules.domain, key, &session, cx)?;
        self.sessions()?.put(cx.backend(), key, &session)?;
        Ok(session)
    }

    /// Makes one session of those that a record meets, and of its own window.
    fn extend(
        &self,
        key: EntryKey<'_>,
        (mut session, others): (Session, &[Session]),
        own: Window,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<Session> {
        let (rules, before) = (self.rules(), session);
        session.start_ms = session.start_ms.min(own.start().as_ms());
        session.end_ms = session.end_ms.max(own.end().as_ms());
        if !others.is_empty() {
            self.merge(key, &session, others, cx)?;
            session.end_ms = others.iter().fold(session.end_ms, |end, it| end.max(it.end_ms));
        }
        let next_ms = rules.next_ms(session.window(), cx.watermark());
        if session.timer_ms > next_ms {
            self.delete_timer(rules.domain, key, &session, cx)?;
            session.timer_ms = next_ms;
            self.set_timer(rules.domain, key, &session, cx)?;
        }
        if session != before {
            self.sessions()?.put(cx.backend(), key, &session)?;
        }
        Ok(session)
    }

    /// Moves what `others` hold to `target`; nothing is left of them.
    fn merge(
        &self,
        key: EntryKey<'_>,
        target: &Session,
        others: &[Session],
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let mut sources = Vec::with_capacity(others.len());
        for other in others {
            sources.push(NamespaceContext::new(&other.number)?);
            self.delete_timer(self.rules().domain, key, other, cx)?;
            self.sessions()?.remove(cx.backend(), key, other.number)?;
        }
        let typed = DefaultCodec::<K>::default().decode_all(key.key())?;
        let key = KeyContext::new(&typed, cx.backend().max_parallelism())?;
        let target = NamespaceContext::new(&target.number)?;
        self.state.merge(cx.backend(), &key, &sources, &target)
    }

    fn set_timer(
        &self,
        domain: TimeDomain,
        key: EntryKey<'_>,
        session: &Session,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let namespace = NamespaceContext::new(&session.number)?;
        let at = At::from_entry(key.in_namespace(namespace.as_bytes()));
        cx.timers().add(domain, at, session.timer_ms).map(drop)
    }

    fn delete_timer(
        &self,
        domain: TimeDomain,
        key: EntryKey<'_>,
        session: &Session,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let namespace = NamespaceContext::new(&session.number)?;
        let at = At::from_entry(key.in_namespace(namespace.as_bytes()));
        cx.timers().delete(domain, at, session.timer_ms).map(drop)
    }

    pub(super) fn on_session_timer(
        &mut self,
        timer: &Timer<K, i64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let key = timer.at().entry().in_namespace(&[]);
        let sessions = self.sessions()?;
        let Some(mut session) = sessions.get(cx.backend(), key, timer.namespace()?)? else {
            return Ok(());
        };
        let (rules, last_ms) = (self.rules(), session.window().last_ms());
        if timer.time_ms() == last_ms {
            self.say(timer.at(), session.window(), cx)?;
        }
        let forgotten_ms = rules.forgotten_ms(last_ms);
        if timer.time_ms() >= forgotten_ms {
            self.state.delete(cx.backend(), timer.at())?;
            return sessions.remove(cx.backend(), key, session.number);
        }
        session.timer_ms = if timer.time_ms() < last_ms { last_ms } else { forgotten_ms };
        self.set_timer(rules.domain, key, &session, cx)?;
        sessions.put(cx.backend(), key, &session)
    }
}
