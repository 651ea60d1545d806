//! Makes a failing sequence small by leaving operations out.

/// Most replays that one shrinking costs.
const REPLAYS_MAX: usize = 3_000;

/// A short sequence, part of `ops`, for which `fails` still holds: no single operation can be left
/// out, unless the bound on replays ended the search. Leaves out ever smaller runs of operations,
/// and starts over as long as that helps.
#[must_use]
pub fn shrink<T: Clone>(ops: &[T], fails: &mut dyn FnMut(&[T]) -> bool) -> Vec<T> {
    let mut best = ops.to_vec();
    let mut replays_left = REPLAYS_MAX;
    let mut run = best.len().div_ceil(2);
    while run > 0 && replays_left > 0 {
        let before = best.len();
        let mut start = 0;
        while start < best.len() && replays_left > 0 {
            replays_left -= 1;
            let end = (start + run).min(best.len());
            let candidate: Vec<T> =
                best.iter().take(start).chain(best.iter().skip(end)).cloned().collect();
            if fails(&candidate) {
                best = candidate;
            } else {
                start = end;
            }
        }
        let helped = best.len() < before;
        run = if run == 1 && helped { 1 } else { run / 2 };
    }
    best
}
