//! Which keys are used how often.

use core::fmt;
use core::str::FromStr;

use crate::error::{BenchError, Result};
use crate::rng::Rng;

/// How often each key is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// All alike.
    Uniform,
    /// The key of rank `r` in proportion to `r` to the power of minus this exponent.
    Zipf(f64),
}

/// Largest exponent that makes sense: from there on nearly all accesses go to one key.
const EXPONENT_MAX: f64 = 10.0;

impl FromStr for Distribution {
    type Err = BenchError;

    /// Reads `uniform` or `zipf:S`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            BenchError::invalid(format!(
                "{text:?} is no distribution: write uniform, or zipf:S with an exponent S above 0 \
                 and at most {EXPONENT_MAX}, such as zipf:0.99"
            ))
        };
        match text.split_once(':') {
            None if text == "uniform" => Ok(Self::Uniform),
            Some(("zipf", exponent)) => match exponent.parse::<f64>() {
                Ok(exponent) if exponent > 0.0 && exponent <= EXPONENT_MAX => {
                    Ok(Self::Zipf(exponent))
                }
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
        }
    }
}

/// Draws numbers of keys.
#[derive(Clone, Debug)]
pub struct Sampler {
    rng: Rng,
    keys: u64,
    zipf: Option<Zipf>,
}

impl Sampler {
    /// Draws from `0..keys` as `distribution` says; what comes follows from `seed`. Of no keys, 0
    /// is drawn.
    #[must_use]
    pub fn new(distribution: Distribution, keys: u64, seed: u64) -> Self {
        let zipf = match distribution {
            Distribution::Uniform => None,
            Distribution::Zipf(exponent) => Some(Zipf::new(keys.max(1), exponent)),
        };
        Self { rng: Rng::new(seed), keys, zipf }
    }

    /// The next number.
    #[inline]
    pub fn next_number(&mut self) -> u64 {
        match &self.zipf {
            None => self.rng.below(self.keys),
            Some(zipf) => zipf.draw(&mut self.rng) - 1,
        }
    }
}

/// Zipf's distribution over the ranks from 1 to `ranks`, by rejection-inversion (Hoermann and
/// Derflinger, 1996): draws from the integral of `x^-s` and rejects the few points that lie outside
/// the bars of the distribution. Exact, in constant time and memory.
#[derive(Clone, Debug)]
struct Zipf {
    ranks: f64,
    exponent: f64,
    /// The integral from where the first bar begins to where the last one ends.
    from: f64,
    to: f64,
    /// Points so near to their rank are never outside its bar.
    safe: f64,
}

impl Zipf {
    fn new(ranks: u64, exponent: f64) -> Self {
        let mut zipf = Self { ranks: ranks as f64, exponent, from: 0.0, to: 0.0, safe: 0.0 };
        zipf.from = zipf.integral(1.5) - 1.0;
        zipf.to = zipf.integral(zipf.ranks + 0.5);
        zipf.safe = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    #[inline]
    fn density(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the density from 1 to `x`, in a form that holds near an exponent of 1 too.
    #[inline]
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let part = (1.0 - self.exponent) * log;
        log * if part.abs() > 1e-8 { part.exp_m1() / part } else { 1.0 + part / 2.0 }
    }

    #[inline]
    fn inverse(&self, area: f64) -> f64 {
        let part = (area * (1.0 - self.exponent)).max(-1.0);
        let log = if part.abs() > 1e-8 { part.ln_1p() / part } else { 1.0 - part / 2.0 };
        (area * log).exp()
    }

    #[inline]
    fn draw(&self, rng: &mut Rng) -> u64 {
        loop {
            let area = self.from + rng.unit() * (self.to - self.from);
            let x = self.inverse(area);
            let rank = (x + 0.5).floor().clamp(1.0, self.ranks);
            if rank - x <= self.safe || area >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(distribution: Distribution, keys: u64, draws: u64) -> Vec<f64> {
        let mut sampler = Sampler::new(distribution, keys, 5);
        let mut counts = vec![0u64; keys as usize];
        for _ in 0..draws {
            counts[sampler.next_number() as usize] += 1;
        }
        counts.into_iter().map(|count| count as f64 / draws as f64).collect()
    }

    #[test]
    fn zipf_gives_each_rank_its_share() {
        for exponent in [0.5, 0.99, 1.0, 1.5, 3.0] {
            let found = frequencies(Distribution::Zipf(exponent), 50, 400_000);
            let weights: Vec<f64> = (1..=50).map(|rank| f64::from(rank).powf(-exponent)).collect();
            let total: f64 = weights.iter().sum();
            for (rank, (found, weight)) in found.iter().zip(&weights).enumerate() {
                let expected = weight / total;
                // Five standard deviations of a count of that many draws.
                let most = 5.0 * (expected * (1.0 - expected) / 400_000.0).sqrt();
                assert!((found - expected).abs() <= most, "{exponent} {rank} {found} {expected}");
            }
        }
    }

    #[test]
    fn uniform_gives_all_keys_the_same() {
        let found = frequencies(Distribution::Uniform, 20, 200_000);
        assert!(found.iter().all(|share| (share - 0.05).abs() < 0.005), "{found:?}");
    }

    #[test]
    fn equal_seeds_draw_equal_numbers_of_few_and_many_keys() {
        for keys in [1, 2, 3, 1_000_000_000] {
            let draw = || {
                let mut sampler = Sampler::new(Distribution::Zipf(1.1), keys, 9);
                [(); 100].map(|()| sampler.next_number())
            };
            assert_eq!(draw(), draw());
            assert!(draw().into_iter().all(|number| number < keys));
        }
    }

    #[test]
    fn distributions_are_written_as_they_are_read() {
        for text in ["uniform", "zipf:0.99", "zipf:2"] {
            assert_eq!(text.parse::<Distribution>().unwrap().to_string(), text);
        }
        for wrong in ["", "zipf", "zipf:", "zipf:0", "zipf:-1", "zipf:nan", "zipf:11", "normal"] {
            assert!(wrong.parse::<Distribution>().is_err(), "{wrong}");
        }
    }
}
