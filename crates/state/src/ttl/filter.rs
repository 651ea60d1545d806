//! What becomes of a stored entry as time passes, judged from its bytes alone.

use core::fmt;

use super::{Ttl, stamp};
use crate::buffer::Scratch;
use crate::codec::Skip;
use crate::error::Result;
use crate::time::UNKNOWN;

/// What shall become of a stored entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It stays as it is.
    Live,
    /// It goes.
    Expired,
    /// It stays with other bytes: some of its parts have expired, or had no stamp yet.
    Rewrite,
}

/// Judges stored entries of a state that expires. In the state's descriptor while the program runs,
/// never in a snapshot. A backend that rewrites its own files may apply it to whatever it comes
/// upon, as often as it likes.
pub trait ExpiryFilter: fmt::Debug + Send + Sync {
    /// The present time of the state's clock; `None` if it is unknown. Ask once, and use the answer
    /// for all entries that shall be judged at one instant.
    fn now_ms(&self) -> Option<i64>;

    /// Judges the stored bytes of one entry (of a map: of one user key) at `now_ms`. For
    /// [`Expiry::Rewrite`], and only then, `rewritten` holds the new bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the bytes are not of this state.
    fn judge(&self, stored: &[u8], now_ms: Option<i64>, rewritten: &mut Scratch) -> Result<Expiry>;
}

/// The filter of a [`Ttl`].
#[derive(Clone, Debug)]
pub(crate) struct TtlFilter {
    ttl: Ttl,
    /// Finds the end of an element, for lists.
    element: Option<Skip>,
}

impl TtlFilter {
    pub(crate) const fn new(ttl: Ttl, element: Option<Skip>) -> Self {
        Self { ttl, element }
    }

    /// Judges the one part that `stored` is.
    fn judge_part(&self, stored: &[u8], now: i64, rewritten: &mut Scratch) -> Result<Expiry> {
        let mut value = stored;
        let stamp = stamp::decode_from(&mut value)?;
        if stamp == UNKNOWN {
            rewritten.clear();
            stamp::encode_into(now, rewritten);
            rewritten.extend_from_slice(value);
            return Ok(Expiry::Rewrite);
        }
        Ok(if self.ttl.is_expired(stamp, now) { Expiry::Expired } else { Expiry::Live })
    }

    /// Judges each element of the list `stored`; with `touch`, live ones are stamped anew.
    pub(crate) fn judge_list(
        &self,
        skip: Skip,
        stored: &[u8],
        (now, touch): (i64, bool),
        rewritten: &mut Scratch,
    ) -> Result<Expiry> {
        rewritten.clear();
        let mut rest = stored;
        let mut changed = false;
        while !rest.is_empty() {
            let start = rest;
            let before = stored.len() - rest.len();
            let stamp = stamp::decode_from(&mut rest)?;
            let element = rest;
            skip(&mut rest)?;
            let expired = self.ttl.is_expired(stamp, now);
            let stamped = stamp == UNKNOWN || (touch && stamp < now);
            if (expired || stamped) && !changed {
                changed = true;
                rewritten.extend_from_slice(stored.get(..before).unwrap_or_default());
            }
            if expired || !changed {
                continue;
            }
            if stamped {
                stamp::encode_into(now, rewritten);
                rewritten.extend_from_slice(front(element, rest));
            } else {
                rewritten.extend_from_slice(front(start, rest));
            }
        }
        Ok(match (changed, rewritten.is_empty()) {
            (false, _) => Expiry::Live,
            (true, true) => Expiry::Expired,
            (true, false) => Expiry::Rewrite,
        })
    }
}

impl ExpiryFilter for TtlFilter {
    fn now_ms(&self) -> Option<i64> {
        let now = self.ttl.now();
        (now != UNKNOWN).then_some(now)
    }

    fn judge(&self, stored: &[u8], now_ms: Option<i64>, rewritten: &mut Scratch) -> Result<Expiry> {
        let Some(now) = now_ms else { return Ok(Expiry::Live) };
        match self.element {
            None => self.judge_part(stored, now, rewritten),
            Some(skip) => self.judge_list(skip, stored, (now, false), rewritten),
        }
    }
}

/// What lies in `from` before its tail `rest`.
#[inline]
fn front<'a>(from: &'a [u8], rest: &[u8]) -> &'a [u8] {
    from.get(..from.len() - rest.len()).unwrap_or_default()
}
