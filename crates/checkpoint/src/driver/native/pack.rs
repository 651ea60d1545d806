//! Which new files go together into one object. Pure.
//!
//! Few large objects are cheaper than many small ones, several can be written at once, and space is
//! given back object by object. So small files are packed into objects of similar size, no more
//! than can be written at once; a file that is large by itself has its own.

/// Bounds of packing.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackLimits {
    /// Most objects of more than one file; at least 1.
    pub(super) objects_max: usize,
    /// Files together smaller than this are not worth an object of their own.
    pub(super) object_bytes_min: u64,
    /// A file of this size has an object of its own.
    pub(super) large_bytes: u64,
}

impl PackLimits {
    /// The bounds for `threads` threads.
    pub(super) const fn of(threads: usize) -> Self {
        Self { objects_max: threads, object_bytes_min: 8 << 20, large_bytes: 8 << 20 }
    }
}

/// Positions of files, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packing {
    /// New objects, largest first.
    pub(super) objects: Vec<Vec<usize>>,
    /// What goes with the other small files of the snapshot.
    pub(super) rest: Vec<usize>,
}

/// Packs files of these sizes.
pub(super) fn plan_objects(sizes: &[u64], limits: PackLimits) -> Packing {
    let mut by_size: Vec<(usize, u64)> = sizes.iter().copied().enumerate().collect();
    by_size.sort_by_key(|(position, bytes)| (std::cmp::Reverse(*bytes), *position));
    let large = by_size.partition_point(|(_, bytes)| *bytes >= limits.large_bytes);
    let small = by_size.split_off(large);
    let total = small.iter().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
    let worth = usize::try_from(total / limits.object_bytes_min.max(1)).unwrap_or(usize::MAX);
    let count = worth.min(limits.objects_max.max(1));
    let mut objects: Vec<(u64, Vec<usize>)> =
        by_size.into_iter().map(|(position, bytes)| (bytes, vec![position])).collect();
    let mut bins = fill_bins(small, count.max(1), limits.object_bytes_min);
    let mut rest = Vec::new();
    if bins.len() == 1 {
        rest = bins.pop().map(|(_, files)| files).unwrap_or_default();
    }
    objects.append(&mut bins);
    objects.sort_by_key(|(load, _)| std::cmp::Reverse(*load));
    Packing { objects: objects.into_iter().map(|(_, files)| files).collect(), rest }
}

/// Deals files, largest first, out to at most `count` bins of similar load, each of at least
/// `bytes_min` if there are several. At least one bin, of files in order.
fn fill_bins(files: Vec<(usize, u64)>, count: usize, bytes_min: u64) -> Vec<(u64, Vec<usize>)> {
    let mut bins = vec![(0_u64, Vec::new()); count];
    for (position, bytes) in files {
        // To where there is least: so the bins end up alike.
        if let Some((load, files)) = bins.iter_mut().min_by_key(|(load, _)| *load) {
            *load = load.saturating_add(bytes);
            files.push(position);
        }
    }
    bins.sort_by_key(|(load, _)| std::cmp::Reverse(*load));
    while bins.len() > 1 && bins.last().is_some_and(|(load, _)| *load < bytes_min) {
        let small = bins.pop().unwrap_or_default();
        if let Some((load, files)) = bins.last_mut() {
            *load = load.saturating_add(small.0);
            files.extend(small.1);
        }
    }
    bins.iter_mut().for_each(|(_, files)| files.sort_unstable());
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PackLimits =
        PackLimits { objects_max: 3, object_bytes_min: 10, large_bytes: 100 };

    #[test]
    fn small_files_stay_together_and_large_ones_alone() {
        let packing = plan_objects(&[4, 100, 5, 250], LIMITS);
        assert_eq!(packing, Packing { objects: vec![vec![3], vec![1]], rest: vec![0, 2] });
        assert_eq!(plan_objects(&[], LIMITS), Packing::default());
        // Enough for one object is not enough for two.
        assert_eq!(plan_objects(&[9, 9], LIMITS).rest, [0, 1]);
    }

    #[test]
    fn files_enough_for_several_objects_are_dealt_out_evenly_and_in_order() {
        let packing = plan_objects(&[9, 1, 9, 1, 9, 1], LIMITS);
        assert_eq!(packing.objects, [[0, 1], [2, 3], [4, 5]]);
        let packing = plan_objects(&[12; 40], LIMITS);
        let counts: Vec<usize> = packing.objects.iter().map(Vec::len).collect();
        assert_eq!(counts, [14, 13, 13]);
        assert_eq!(plan_objects(&[12, 12], LIMITS).objects, [[0], [1]]);
        // Not more objects than files, and none that is too small.
        assert_eq!(plan_objects(&[99], LIMITS).rest, [0]);
        assert_eq!(plan_objects(&[99, 5, 4], LIMITS).rest, [0, 1, 2]);
    }

    #[test]
    fn each_file_is_somewhere_once_and_no_object_is_too_small() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..1_000 {
            let sizes: Vec<u64> = (0..random(30)).map(|_| 1 + random(130)).collect();
            let packing = plan_objects(&sizes, LIMITS);
            let mut all: Vec<usize> = packing.objects.concat();
            all.extend(&packing.rest);
            all.sort_unstable();
            assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>(), "{sizes:?}");
            let bytes = |files: &Vec<usize>| files.iter().map(|at| sizes[*at]).sum::<u64>();
            let large = sizes.iter().filter(|bytes| **bytes >= 100).count();
            assert!(packing.objects.len() <= large + 3, "{sizes:?}");
            for object in packing.objects.iter().filter(|object| object.len() > 1) {
                assert!(packing.rest.is_empty());
                assert!(object.is_sorted(), "{object:?}");
            }
            assert!(packing.objects.iter().all(|object| bytes(object) >= 10), "{sizes:?}");
        }
    }
}
