//! Steps from one codec to the next, and the search for a chain of them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Compatibility;
use crate::buffer::Scratch;
use crate::codec::{Codec, CodecIdentity, Conversion, DefaultCodec, Evolution, HasCodec};
use crate::error::Result;

/// Asks a codec about another identity.
type Evolve = fn(&CodecIdentity) -> Evolution;

pub(super) fn evolve<T, C: Codec<T>>(written: &CodecIdentity) -> Evolution {
    C::default().evolve_from(written)
}

#[derive(Debug)]
struct Step {
    from: CodecIdentity,
    to: CodecIdentity,
    evolve_from: Evolve,
    conversion: Conversion,
}

/// Functions from older types of a state's values to newer ones. They are chained: with a step from
/// version 1 to 2 and one from 2 to 3, values of version 1 become values of version 3. Old types
/// stay in the program as long as snapshots with them are restored.
///
/// ```
/// use millpond_state::{KeyedBackend, Migrations, Result, StateOptions, ValueState, record};
///
/// struct Delay { minutes: i32 }
/// record!(Delay, version 1, { minutes: i32 });
///
/// struct DelayMs { millis: i64 }
/// record!(DelayMs, version 2, { millis: i64 });
///
/// fn delays(backend: &mut dyn KeyedBackend) -> Result<ValueState<String, DelayMs>> {
///     let migrations = Migrations::new()
///         .step(|old: Delay| DelayMs { millis: i64::from(old.minutes) * 60_000 });
///     let options = StateOptions::new().migrations(migrations);
///     ValueState::register_with(backend, "delays", options)
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Migrations {
    steps: Vec<Arc<Step>>,
}

impl Migrations {
    /// No steps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step between types with [codecs of their own](HasCodec).
    #[must_use]
    pub fn step<Old: HasCodec + 'static, New: HasCodec + 'static>(
        self,
        convert: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Self {
        self.try_step(move |old| Ok(convert(old)))
    }

    /// Adds a step that may fail. The migration then fails and has changed nothing.
    #[must_use]
    pub fn try_step<Old: HasCodec + 'static, New: HasCodec + 'static>(
        self,
        convert: impl Fn(Old) -> Result<New> + Send + Sync + 'static,
    ) -> Self {
        self.step_between::<Old, DefaultCodec<Old>, New, DefaultCodec<New>>(convert)
    }

    /// Adds a step between any two codecs.
    #[must_use]
    pub fn step_between<Old, OldC: Codec<Old>, New, NewC: Codec<New>>(
        mut self,
        convert: impl Fn(Old) -> Result<New> + Send + Sync + 'static,
    ) -> Self
    where
        Old: 'static,
        New: 'static,
    {
        let (old, new) = (OldC::default(), NewC::default());
        let (from, to) = (old.identity(), new.identity());
        let names = (from.clone(), to.clone());
        let conversion = Conversion::new(move |input, out| {
            let converted = convert(old.decode_from(input)?).map_err(|error| {
                error.context(format!("migration step from codec {} to {}", names.0, names.1))
            })?;
            new.encode_into(&converted, out)
        });
        self.steps.push(Arc::new(Step { from, to, evolve_from: evolve::<Old, OldC>, conversion }));
        self
    }
}

/// A chain of conversions from the codec that wrote values to the one declared.
#[derive(Clone, Debug)]
pub struct MigrationPlan {
    path: Vec<CodecIdentity>,
    conversions: Vec<Conversion>,
}

impl MigrationPlan {
    /// The codecs on the way: first the one that wrote, last the one declared.
    #[must_use]
    pub fn path(&self) -> &[CodecIdentity] {
        &self.path
    }

    /// Takes one value of the first codec off the front of `input` and appends what it becomes.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the bytes do not decode; what a step
    /// returns.
    pub fn convert(&self, input: &mut &[u8], out: &mut Scratch) -> Result<()> {
        let Some((last, before)) = self.conversions.split_last() else { return Ok(()) };
        let mut value: Option<Scratch> = None;
        for conversion in before {
            let mut next = Scratch::new();
            match &value {
                None => conversion.convert(input, &mut next)?,
                Some(value) => conversion.convert(&mut value.as_slice(), &mut next)?,
            }
            value = Some(next);
        }
        match &value {
            None => last.convert(input, out),
            Some(value) => last.convert(&mut value.as_slice(), out),
        }
    }

    fn starting_at(written: &CodecIdentity) -> Self {
        Self { path: vec![written.clone()], conversions: Vec::new() }
    }

    fn then(&self, to: &CodecIdentity, conversion: Conversion) -> Self {
        let mut longer = self.clone();
        longer.path.push(to.clone());
        longer.conversions.push(conversion);
        longer
    }

    fn end(&self) -> Option<&CodecIdentity> {
        self.path.last()
    }
}

/// Says whether values written as `written` can be read by codec `C`, given `migrations`. Steps of
/// the user alone are preferred; where they do not reach, what codecs offer helps out. Of several
/// chains the shortest is taken, of equally short ones that of the steps given first.
#[must_use]
pub fn plan_migration<T, C: Codec<T>>(
    written: &CodecIdentity,
    migrations: &Migrations,
) -> Compatibility {
    plan(written, &C::default().identity(), evolve::<T, C>, migrations)
}

pub(super) fn plan(
    written: &CodecIdentity,
    declared: &CodecIdentity,
    evolve: Evolve,
    migrations: &Migrations,
) -> Compatibility {
    if written == declared {
        return Compatibility::AsIs;
    }
    let search = Search { declared, evolve, migrations };
    if let Some(plan) = search.run(written, false).or_else(|| search.run(written, true)) {
        return Compatibility::AfterMigration(plan);
    }
    match evolve(written) {
        Evolution::Refused(why) => Compatibility::Incompatible(why),
        _ => Compatibility::Incompatible("no migration leads from one to the other".to_owned()),
    }
}

/// A search for the shortest chain from one codec to another.
struct Search<'a> {
    declared: &'a CodecIdentity,
    evolve: Evolve,
    migrations: &'a Migrations,
}

impl Search<'_> {
    /// Breadth first; with `offers`, codecs are asked as well.
    fn run(&self, written: &CodecIdentity, offers: bool) -> Option<MigrationPlan> {
        let mut seen = vec![written.clone()];
        let mut queue = VecDeque::from([MigrationPlan::starting_at(written)]);
        while let Some(plan) = queue.pop_front() {
            let end = plan.end()?;
            if end == self.declared {
                return Some(plan);
            }
            for (to, conversion) in self.edges(end, offers) {
                if !seen.contains(to) {
                    seen.push(to.clone());
                    queue.push_back(plan.then(to, conversion));
                }
            }
        }
        None
    }

    fn edges(&self, from: &CodecIdentity, offers: bool) -> Vec<(&CodecIdentity, Conversion)> {
        let steps = || self.migrations.steps.iter();
        let given = steps().filter(|step| step.from == *from);
        let mut edges: Vec<_> = given.map(|step| (&step.to, step.conversion.clone())).collect();
        if offers {
            let codecs = steps().map(|step| (&step.from, step.evolve_from));
            for (to, evolve) in codecs.chain([(self.declared, self.evolve)]) {
                if let Evolution::Possible(conversion) = evolve(from) {
                    edges.push((to, conversion));
                }
            }
        }
        edges
    }
}
