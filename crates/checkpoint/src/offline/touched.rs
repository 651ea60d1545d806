//! Values of states with a time to live, with the time they were last touched at.

use millpond_state::codec::{Codec, CodecIdentity, DefaultCodec};
use millpond_state::{Result, Scratch, TimeDomain};

use super::entry::encode;

/// How a time that was not known is stored.
const UNKNOWN: i64 = i64::MIN;

/// A value, accumulator, list element or map value of a state with a time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched<V> {
    /// When it was last touched, in milliseconds of the state's clock; `None` if that was before
    /// the clock was known: it then counts as touched when a job next cleans it.
    pub touched_ms: Option<i64>,
    /// The value.
    pub value: V,
}

macro_rules! expiring {
    ($(#[$doc:meta])* $name:ident, $domain:expr) => {
        $(#[$doc])*
        ///
        /// ```
        /// use millpond_checkpoint::offline::{Touched, kind};
        #[doc = concat!("use millpond_checkpoint::offline::", stringify!($name), ";")]
        ///
        #[doc = concat!(
            "type Sessions = kind::Value<String, Touched<u64>, (), ", stringify!($name), "<u64>>;"
        )]
        /// ```
        #[derive(Debug)]
        pub struct $name<V, C = DefaultCodec<V>>(C, core::marker::PhantomData<fn() -> V>);

        impl<V, C: Default> Default for $name<V, C> {
            fn default() -> Self {
                Self(C::default(), core::marker::PhantomData)
            }
        }

        impl<V, C: Clone> Clone for $name<V, C> {
            fn clone(&self) -> Self {
                Self(self.0.clone(), core::marker::PhantomData)
            }
        }

        impl<V: 'static, C: Codec<V>> Codec<Touched<V>> for $name<V, C> {
            fn identity(&self) -> CodecIdentity {
                let inner = self.0.identity();
                let name = format!("expiring<{},{}>", $domain, inner.name());
                CodecIdentity::new(name, inner.version())
            }

            fn encode_into(&self, value: &Touched<V>, out: &mut Scratch) -> Result<()> {
                encode(&value.touched_ms.unwrap_or(UNKNOWN), out)?;
                self.0.encode_into(&value.value, out)
            }

            fn decode_from(&self, input: &mut &[u8]) -> Result<Touched<V>> {
                let stamp = DefaultCodec::<i64>::default().decode_from(input)?;
                let touched_ms = (stamp != UNKNOWN).then_some(stamp);
                Ok(Touched { touched_ms, value: self.0.decode_from(input)? })
            }
        }
    };
}

expiring! {
    /// The codec of values that expire by processing time.
    ExpiringByProcessingTime, TimeDomain::Processing
}
expiring! {
    /// The codec of values that expire by event time.
    ExpiringByEventTime, TimeDomain::Event
}
