//! Chance: one generator a tree, and the few draws that growing needs.
//!
//! Every draw takes whole 64-bit outputs and uses integer arithmetic or exactly rounded floating
//! point only, so that a seed gives the same forest on every platform.

use linfa::Float;
use rand::{RngCore, SeedableRng};

/// SplitMix64's finaliser (Steele, Lea and Flood 2014): a bijection that leaves no trace of order.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The generator of tree number `serial` of a forest seeded with `seed`.
///
/// The pair is hashed: `seed + serial` would let neighbouring seeds share all but one tree and
/// so fake the stability of their scores.
pub(crate) fn tree_rng<R: SeedableRng>(seed: u64, serial: u64) -> R {
    let spread = serial.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    R::seed_from_u64(mix(mix(seed) ^ spread))
}

/// Uniform in `0..bound` (Lemire's multiplication, without rejection: the bias is below 2⁻³²).
pub(crate) fn below<R: RngCore>(rng: &mut R, bound: u32) -> u32 {
    let wide = u128::from(rng.next_u64()) * u128::from(bound);
    (wide >> 64) as u32
}

/// Uniform in [0, 1) with 53 bits.
pub(crate) fn unit<R: RngCore>(rng: &mut R) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// A point of the interval [low, high) for `low < high`.
pub(crate) fn between<F: Float, R: RngCore>(rng: &mut R, low: F, high: F) -> F {
    let u = F::cast(unit(rng));
    let gap = high - low;
    let point = if gap.is_finite() {
        low + gap * u
    } else {
        low * (F::one() - u) + high * u
    };
    // Rounding can reach `high`, or in the second form fall below `low`.
    // Adding zero makes −0 into 0, so that equal thresholds have equal bits.
    if point >= low && point < high {
        point + F::zero()
    } else {
        low + F::zero()
    }
}

/// A deviate close to the standard normal: the sum of twelve uniforms less six (Irwin and Hall).
/// Exact in integers, so the same everywhere; a hyperplane's direction needs no better tails.
pub(crate) fn normal<R: RngCore>(rng: &mut R) -> f64 {
    let mut sum = 0_u64;
    for _ in 0..6 {
        let bits = rng.next_u64();
        sum += (bits >> 32) + (bits & 0xFFFF_FFFF);
    }
    // Each of the twelve is uniform on 0..2³² with mean 2³¹ − ½.
    (sum as f64 + 6.0) / 4_294_967_296.0 - 6.0
}

/// Draws sub-samples of row numbers without replacement, reusing its memory from tree to tree.
#[derive(Debug, Default)]
pub(crate) struct RowSampler {
    taken: Vec<u64>,
}

impl RowSampler {
    /// `count` different numbers below `rows` into `out`, every set as likely as any other
    /// (Floyd's algorithm; Bentley and Floyd, CACM 1987).
    pub(crate) fn draw<R: RngCore>(
        &mut self,
        rng: &mut R,
        rows: u32,
        count: u32,
        out: &mut Vec<u32>,
    ) {
        out.clear();
        if count >= rows {
            out.extend(0..rows);
            return;
        }
        self.taken.resize((rows as usize).div_ceil(64), 0);
        for last in rows - count..rows {
            let drawn = below(rng, last + 1);
            let row = if self.take(drawn) {
                drawn
            } else {
                self.take(last);
                last
            };
            out.push(row);
        }
        for &row in out.iter() {
            if let Some(word) = self.taken.get_mut((row / 64) as usize) {
                *word = 0;
            }
        }
    }

    /// Marks a row as taken; false if it was already.
    fn take(&mut self, row: u32) -> bool {
        let bit = 1_u64 << (row % 64);
        match self.taken.get_mut((row / 64) as usize) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::Xoshiro256Plus;
    use std::collections::HashSet;

    #[test]
    fn neighbouring_seeds_share_no_tree() {
        let mut seen = HashSet::new();
        for seed in 0..50 {
            for serial in 0..100 {
                let first = tree_rng::<Xoshiro256Plus>(seed, serial).next_u64();
                assert!(seen.insert(first), "seed {seed}, tree {serial}");
            }
        }
    }

    #[test]
    fn rows_are_different_and_equally_likely() {
        let mut rng = tree_rng::<Xoshiro256Plus>(1, 0);
        let mut sampler = RowSampler::default();
        let mut rows = Vec::new();
        let mut hits = [0_u32; 20];
        for _ in 0..10_000 {
            sampler.draw(&mut rng, 20, 5, &mut rows);
            assert_eq!(rows.iter().collect::<HashSet<_>>().len(), 5);
            rows.iter().for_each(|&row| hits[row as usize] += 1);
        }
        // Binomial(10,000, 1/4): 2,500 ± 43; five sigma either way.
        assert!(
            hits.iter().all(|&n| (2_280..2_720).contains(&n)),
            "{hits:?}"
        );
        sampler.draw(&mut rng, 3, 5, &mut rows);
        assert_eq!(rows, [0, 1, 2]);
    }

    #[test]
    fn points_stay_inside_whatever_the_interval() {
        let mut rng = tree_rng::<Xoshiro256Plus>(1, 0);
        let next_up = |x: f64| f64::from_bits(x.to_bits() + 1);
        for (low, high) in [
            (0.0, 1.0),
            (1e300, next_up(1e300)),
            (-f64::MAX, f64::MAX),
            (0.0, f64::from_bits(1)),
            (-1e-310, 1e-310),
        ] {
            for _ in 0..1000 {
                let point = between(&mut rng, low, high);
                assert!(point >= low && point < high, "{point} of [{low}, {high})");
            }
        }
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut rng = tree_rng::<Xoshiro256Plus>(2, 0);
        let draws: Vec<f64> = (0..100_000).map(|_| normal(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.015, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.03, "variance {variance}");
    }
}
