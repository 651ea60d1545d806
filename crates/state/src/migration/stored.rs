//! What becomes of the stored bytes of one entry: the codec of its parts, and their stamps.

use super::{Compatibility, MigrationPlan, Migrations, ValueCodec, steps};
use crate::buffer::Scratch;
use crate::codec::{CodecIdentity, Skip, malformed};
use crate::error::Result;
use crate::ttl::{self, Ttl, stamp};

/// What happens to the stamp of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamps {
    /// There was none and is none.
    None,
    /// It stays.
    Kept,
    /// There was none, or one of another clock; it becomes the present time.
    Set { had_one: bool },
    /// It goes.
    Dropped,
}

/// How the stored bytes of one entry are migrated.
#[derive(Clone, Debug)]
pub(crate) struct StoredPlan {
    stamps: Stamps,
    values: Option<MigrationPlan>,
    skip: Skip,
    /// Whether an entry is a sequence of parts.
    is_list: bool,
    /// Whose clock stamps are set by.
    ttl: Option<Ttl>,
}

impl StoredPlan {
    /// The plan for entries whose parts were written as `written`; `Ok(None)` if they stay as they
    /// are, and the reason if there is no way.
    pub(super) fn derive(
        written: &CodecIdentity,
        value: &ValueCodec,
        ttl: Option<&Ttl>,
        migrations: &Migrations,
    ) -> Result<Option<Self>, String> {
        let (had, inner) = match ttl::split_identity(written) {
            Some((domain, inner)) => (Some(domain), inner),
            None => (None, written.clone()),
        };
        let stamps = match (had, ttl.map(Ttl::domain)) {
            (None, None) => Stamps::None,
            (Some(old), Some(new)) if old == new => Stamps::Kept,
            (had, Some(_)) => Stamps::Set { had_one: had.is_some() },
            (Some(_), None) => Stamps::Dropped,
        };
        let values = match steps::plan(&inner, &value.identity, value.evolve, migrations) {
            Compatibility::AsIs => None,
            Compatibility::AfterMigration(plan) => Some(plan),
            Compatibility::Incompatible(why) => return Err(why),
        };
        if values.is_none() && matches!(stamps, Stamps::None | Stamps::Kept) {
            return Ok(None);
        }
        let (skip, is_list) = (value.skip, value.is_list);
        Ok(Some(Self { stamps, values, skip, is_list, ttl: ttl.cloned() }))
    }

    /// The present time of the clock that stamps are set by, or the unknown one.
    pub(crate) fn now(&self) -> i64 {
        self.ttl.as_ref().map_or(crate::time::UNKNOWN, Ttl::now)
    }

    /// Appends what the entry `stored` becomes.
    pub(crate) fn convert(&self, mut stored: &[u8], now: i64, out: &mut Scratch) -> Result<()> {
        if !self.is_list {
            self.convert_part(&mut stored, now, out)?;
            return if stored.is_empty() { Ok(()) } else { Err(malformed("one value")) };
        }
        while !stored.is_empty() {
            let before = out.len();
            self.convert_part(&mut stored, now, out)?;
            if out.len() == before {
                return Err(malformed("a list's element: it migrates to no bytes"));
            }
        }
        Ok(())
    }

    #[inline]
    fn convert_part(&self, input: &mut &[u8], now: i64, out: &mut Scratch) -> Result<()> {
        match self.stamps {
            Stamps::None => {}
            Stamps::Kept => stamp::encode_into(stamp::decode_from(input)?, out),
            Stamps::Dropped => drop(stamp::decode_from(input)?),
            Stamps::Set { had_one } => {
                if had_one {
                    stamp::decode_from(input)?;
                }
                stamp::encode_into(now, out);
            }
        }
        if let Some(values) = &self.values {
            return values.convert(input, out);
        }
        let start = *input;
        (self.skip)(input)?;
        out.extend_from_slice(start.get(..start.len() - input.len()).unwrap_or_default());
        Ok(())
    }
}
