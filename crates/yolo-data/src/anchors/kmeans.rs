//! k-means on label sizes, as SciPy's `kmeans` defines it: the best of several starts from random points.

use rand::Rng;
use rayon::prelude::*;

use super::CHUNK;

/// Number of random starts; the result with the smallest distortion is used.
const RESTARTS: usize = 30;
/// Iteration ends when the distortion changes by no more than this.
const SETTLED: f64 = 1e-5;

/// The `k` cluster centres of `sizes`, both as width and height. `None` if fewer clusters are
/// found, for example because there are fewer different sizes.
///
/// Distances are measured with each axis divided by its standard deviation.
pub(super) fn cluster(sizes: &[[f32; 2]], k: usize, rng: &mut impl Rng) -> Option<Vec<[f32; 2]>> {
    if k == 0 || sizes.len() < k {
        return None;
    }
    let deviation = standard_deviations(sizes);
    let scaled = |[w, h]: &[f32; 2]| [f64::from(*w) / deviation[0], f64::from(*h) / deviation[1]];
    let points: Vec<[f64; 2]> = sizes.iter().map(scaled).collect();
    let mut best: Option<Clusters> = None;
    for _ in 0..RESTARTS {
        let start = rand::seq::index::sample(rng, points.len(), k);
        let found = settle(&points, start.iter().map(|i| points[i]).collect());
        if best.as_ref().is_none_or(|best| found.distortion < best.distortion) {
            best = Some(found);
        }
    }
    let centres = best?.centres;
    let unscaled = |[w, h]: [f64; 2]| [(w * deviation[0]) as f32, (h * deviation[1]) as f32];
    (centres.len() == k).then(|| centres.into_iter().map(unscaled).collect())
}

/// Centres, and the mean distance of the points from the nearest of those before the last update.
struct Clusters {
    centres: Vec<[f64; 2]>,
    distortion: f64,
}

/// Moves the centres to the means of their points until the distortion settles. Centres without points are removed.
fn settle(points: &[[f64; 2]], mut centres: Vec<[f64; 2]>) -> Clusters {
    let mut previous = f64::INFINITY;
    loop {
        let sums = assign(points, &centres);
        let distortion = sums.distance / points.len() as f64;
        centres = sums.members.iter().filter(|[_, _, n]| *n > 0.0).map(|[w, h, n]| [w / n, h / n]).collect();
        if (previous - distortion).abs() <= SETTLED {
            return Clusters { centres, distortion };
        }
        previous = distortion;
    }
}

/// Sums over points, each counted for its nearest centre.
struct Sums {
    /// For each centre the sums of both axes and the number of its points.
    members: Vec<[f64; 3]>,
    distance: f64,
}

fn assign(points: &[[f64; 2]], centres: &[[f64; 2]]) -> Sums {
    let nothing = || Sums { members: vec![[0.0; 3]; centres.len()], distance: 0.0 };
    let parts: Vec<Sums> = points
        .par_chunks(CHUNK)
        .map(|chunk| {
            let mut sums = nothing();
            for &point in chunk {
                let (nearest, squared) = nearest(point, centres);
                let member = &mut sums.members[nearest];
                *member = [member[0] + point[0], member[1] + point[1], member[2] + 1.0];
                sums.distance += squared.sqrt();
            }
            sums
        })
        .collect();
    // In a fixed order, so that rounding does not depend on the threads.
    parts.into_iter().fold(nothing(), |mut all, part| {
        for (sum, more) in all.members.iter_mut().zip(part.members) {
            *sum = std::array::from_fn(|i| sum[i] + more[i]);
        }
        all.distance += part.distance;
        all
    })
}

/// The nearest centre, the first of equally near ones, and its squared distance.
fn nearest([x, y]: [f64; 2], centres: &[[f64; 2]]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (index, [cx, cy]) in centres.iter().enumerate() {
        let squared = (x - cx) * (x - cx) + (y - cy) * (y - cy);
        if squared < best.1 {
            best = (index, squared);
        }
    }
    best
}

/// Standard deviation of each axis, divided by n (not n − 1); 1 if all sizes are equal.
fn standard_deviations(sizes: &[[f32; 2]]) -> [f64; 2] {
    let n = sizes.len() as f64;
    std::array::from_fn(|axis| {
        let mean = sizes.iter().map(|size| f64::from(size[axis])).sum::<f64>() / n;
        let variance = sizes.iter().map(|size| (f64::from(size[axis]) - mean).powi(2)).sum::<f64>() / n;
        if variance > 0.0 { variance.sqrt() } else { 1.0 }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    /// 40 sizes within 1 pixel around each centre.
    fn around(centres: &[[f32; 2]], rng: &mut StdRng) -> Vec<[f32; 2]> {
        let near = |c: &[f32; 2], rng: &mut StdRng| c.map(|side| side + rng.random_range(-1.0..1.0f32));
        centres.iter().flat_map(|c| (0..40).map(|_| near(c, rng)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn known_clusters_are_found_with_their_axes_in_order() {
        let centres = [[10.0, 90.0], [30.0, 20.0], [80.0, 300.0], [200.0, 40.0]];
        let mut rng = StdRng::seed_from_u64(5);
        let sizes = around(&centres, &mut rng);
        let mut found = cluster(&sizes, 4, &mut rng).unwrap();
        found.sort_by(|a, b| a[0].total_cmp(&b[0]));
        for (found, expected) in found.iter().zip(centres) {
            let away = (found[0] - expected[0]).abs().max((found[1] - expected[1]).abs());
            assert!(away < 0.5, "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn as_many_points_as_clusters_are_their_own_centres() {
        let sizes = [[4.0, 8.0], [16.0, 2.0], [40.0, 41.0]];
        let mut found = cluster(&sizes, 3, &mut StdRng::seed_from_u64(0)).unwrap();
        found.sort_by(|a, b| a[0].total_cmp(&b[0]));
        for (found, expected) in found.as_flattened().iter().zip(sizes.as_flattened()) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn too_few_or_equal_points_give_none() {
        let mut rng = StdRng::seed_from_u64(0);
        assert_eq!(cluster(&[], 1, &mut rng), None);
        assert_eq!(cluster(&[[4.0, 8.0]], 2, &mut rng), None);
        assert_eq!(cluster(&[[4.0, 8.0]; 10], 2, &mut rng), None);
        assert_eq!(cluster(&[[4.0, 8.0]; 10], 0, &mut rng), None);
        assert_eq!(cluster(&[[4.0, 8.0]; 10], 1, &mut rng), Some(vec![[4.0, 8.0]]));
    }
}
