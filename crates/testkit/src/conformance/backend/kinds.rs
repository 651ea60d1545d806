//! One typed state of each kind, all holding numbers in one codec, written and read together.

use millpond_state::codec::{Codec, CodecIdentity, DefaultCodec, varint};
use millpond_state::kinds::{
    Aggregate, AggregatingState, ListState, MapState, ReducingState, ValueState,
};
use millpond_state::{
    At, ErrorKind, KeyContext, KeyedBackend, NamespaceContext, Result, Scratch, StateError,
    StateOptions,
};

use super::subject::{BackendUnderTest, key, namespace};

/// Names of the five states.
pub(super) const NAMES: [&str; 5] = ["value", "list", "map", "reducing", "aggregating"];

/// A codec of numbers in its first, second or third version; each has bytes of its own, and those
/// of the later ones differ in length.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers<const VERSION: u32>;

impl<const VERSION: u32> Codec<u64> for Numbers<VERSION> {
    fn identity(&self) -> CodecIdentity {
        CodecIdentity::new("testkit:numbers", VERSION)
    }

    fn encode_into(&self, value: &u64, out: &mut Scratch) -> Result<()> {
        match VERSION {
            1 => out.extend_from_slice(&value.to_be_bytes()),
            2 => varint::encode_into(*value, out),
            _ => DefaultCodec::<String>::default().encode_into(&value.to_string(), out)?,
        }
        Ok(())
    }

    fn decode_from(&self, input: &mut &[u8]) -> Result<u64> {
        match VERSION {
            1 => match input.split_first_chunk() {
                Some((bytes, rest)) => {
                    *input = rest;
                    Ok(u64::from_be_bytes(*bytes))
                }
                None => Err(not_a_number()),
            },
            2 => varint::decode_from(input),
            _ => {
                let text = DefaultCodec::<String>::default().decode_from(input)?;
                text.parse().map_err(|_| not_a_number())
            }
        }
    }
}

fn not_a_number() -> StateError {
    StateError::new(ErrorKind::Corrupt, "bytes are no number of this version")
}

/// Sums.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum;

impl Aggregate for Sum {
    type Input = u64;
    type Accumulator = u64;
    type Output = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, accumulator: &mut u64, input: &u64) {
        *accumulator += input;
    }

    fn merge(&self, accumulator: &mut u64, other: u64) {
        *accumulator += other;
    }

    fn result(&self, accumulator: &u64) -> u64 {
        *accumulator
    }
}

/// The states, keyed by numbers in namespaces that are numbers.
pub(super) struct Kinds<C: Codec<u64>> {
    pub(super) value: ValueState<u64, u64, i64, C>,
    pub(super) list: ListState<u64, u64, i64, C>,
    pub(super) map: MapState<u64, u32, u64, i64, DefaultCodec<u32>, C>,
    pub(super) reducing: ReducingState<u64, u64, i64, C>,
    pub(super) aggregating: AggregatingState<u64, Sum, i64, C>,
}

impl<C: Codec<u64>> Kinds<C> {
    pub(super) fn register(backend: &mut dyn KeyedBackend, options: &StateOptions) -> Result<Self> {
        let options = || options.clone();
        let sum = |a: u64, b: u64| a + b;
        Ok(Self {
            value: ValueState::register_with(backend, "value", options())?,
            list: ListState::register_with(backend, "list", options())?,
            map: MapState::register_with(backend, "map", options())?,
            reducing: ReducingState::register_with(backend, "reducing", sum, options())?,
            aggregating: AggregatingState::register_with(backend, "aggregating", Sum, options())?,
        })
    }

    /// Writes what [`Seen::of`] shows.
    pub(super) fn write(
        &self,
        backend: &mut dyn KeyedBackend,
        at: At<'_, u64, i64>,
        number: u64,
    ) -> Result<()> {
        self.value.put(backend, at, &number)?;
        self.list.replace(backend, at, &[number, number + 1])?;
        self.map.delete(backend, at)?;
        self.map.put(backend, at, &1, &number)?;
        self.map.put(backend, at, &2, &(number + 1))?;
        self.reducing.delete(backend, at)?;
        self.reducing.add(backend, at, number)?;
        self.aggregating.delete(backend, at)?;
        self.aggregating.add(backend, at, &number)
    }

    pub(super) fn read(
        &self,
        backend: &mut dyn KeyedBackend,
        at: At<'_, u64, i64>,
    ) -> Result<Seen> {
        Ok(Seen {
            value: self.value.get(backend, at)?,
            list: self.list.get(backend, at)?,
            map: self.map.entries(backend, at)?,
            reducing: self.reducing.get(backend, at)?,
            aggregating: self.aggregating.get(backend, at)?,
        })
    }

    /// Entries of all five states.
    pub(super) fn count(&self, backend: &mut dyn KeyedBackend) -> Result<u64> {
        let ids = [
            self.value.id(),
            self.list.id(),
            self.map.id(),
            self.reducing.id(),
            self.aggregating.id(),
        ];
        ids.into_iter().map(|id| backend.entry_count(id)).sum()
    }
}

/// What the five states say of one key and namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) value: Option<u64>,
    pub(super) list: Vec<u64>,
    pub(super) map: Vec<(u32, u64)>,
    pub(super) reducing: Option<u64>,
    pub(super) aggregating: Option<u64>,
}

impl Seen {
    pub(super) fn of(number: u64) -> Self {
        Self::through(number, |number| number)
    }

    /// As [`Self::of`], after every stored number was converted.
    pub(super) fn through(number: u64, convert: impl Fn(u64) -> u64) -> Self {
        Self {
            value: Some(convert(number)),
            list: vec![convert(number), convert(number + 1)],
            map: vec![(1, convert(number)), (2, convert(number + 1))],
            reducing: Some(convert(number)),
            aggregating: Some(convert(number)),
        }
    }

    pub(super) fn nothing() -> Self {
        Self::default()
    }
}

/// A key and a namespace, both numbers, encoded.
pub(super) struct Spot {
    pub(super) key: KeyContext<u64>,
    pub(super) window: NamespaceContext<i64>,
}

impl Spot {
    pub(super) fn new(subject: &BackendUnderTest, number: u64, window: i64) -> Result<Self> {
        Ok(Self { key: key(subject, &number)?, window: namespace(window)? })
    }

    pub(super) fn at(&self) -> At<'_, u64, i64> {
        self.key.within(&self.window)
    }
}
