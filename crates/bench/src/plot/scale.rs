//! From figures to places along an axis.

/// Where figures lie on an axis.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    log: bool,
    /// Figures with a mark.
    pub(super) ticks: Vec<f64>,
}

impl Scale {
    /// From 0 to above all `figures`, with about five marks.
    pub(super) fn linear(figures: impl Iterator<Item = f64>) -> Self {
        let most = figures.fold(0.0, f64::max).max(1e-9);
        let rough = most / 5.0;
        let unit = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|it| it * unit).find(|it| *it >= rough);
        let step = step.unwrap_or(unit);
        let steps = (most / step).ceil().max(1.0);
        let ticks = (0..=steps as u32).map(|tick| f64::from(tick) * step).collect();
        Self { from: 0.0, to: step * steps, log: false, ticks }
    }

    /// From the power of ten below all `figures` to the one above; figures of 0 or less lie at its
    /// beginning.
    pub(super) fn log(figures: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = figures.filter(|figure| *figure > 0.0);
        let least = positive.clone().fold(f64::INFINITY, f64::min);
        let most = positive.fold(f64::NEG_INFINITY, f64::max);
        let (first, last) = if least.is_finite() {
            (least.log10().floor(), most.log10().ceil())
        } else {
            (0.0, 1.0)
        };
        let last = last.max(first + 1.0);
        let ticks = (first as i32..=last as i32).map(|power| 10f64.powi(power)).collect();
        Self { from: first, to: last, log: true, ticks }
    }

    /// Where a figure lies: 0 is the beginning of the axis, 1 its end.
    pub(super) fn place(&self, figure: f64) -> f64 {
        let figure = if self.log { figure.max(f64::MIN_POSITIVE).log10() } else { figure };
        ((figure - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

/// A number with a prefix, as axes show it: 2.5M.
pub(super) fn short(figure: f64) -> String {
    for (unit, suffix) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if figure.abs() >= unit {
            return format!("{}{suffix}", trimmed(figure / unit));
        }
    }
    trimmed(figure)
}

/// At most three digits that count.
fn trimmed(figure: f64) -> String {
    let digits = match figure.abs() {
        0.0 => 0,
        it if it >= 100.0 => 0,
        it if it >= 10.0 => 1,
        it if it >= 1.0 => 2,
        it => (2.0 - it.log10().floor()) as usize,
    };
    let text = format!("{figure:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_scales_begin_at_zero_and_hold_everything() {
        let scale = Scale::linear([3.0, 17.0].into_iter());
        assert_eq!(scale.ticks, [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!((scale.place(0.0), scale.place(20.0)), (0.0, 1.0));
    }

    #[test]
    fn log_scales_go_from_power_to_power() {
        let scale = Scale::log([0.0, 25.0, 3_000.0].into_iter());
        assert_eq!(scale.ticks, [10.0, 100.0, 1_000.0, 10_000.0]);
        assert_eq!((scale.place(0.0), scale.place(10_000.0)), (0.0, 1.0));
        assert_eq!(Scale::log(std::iter::empty()).ticks, [1.0, 10.0]);
        assert_eq!(Scale::log([5.0].into_iter()).ticks, [1.0, 10.0]);
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.05, 2.0, 2.54, 250.0, 1_000.0, 2_500_000.0, 1e10].map(short);
        assert_eq!(texts, ["0", "0.05", "2", "2.54", "250", "1k", "2.5M", "10G"]);
    }
}
