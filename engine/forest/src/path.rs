//! Path lengths: the one formula everything else rests on.
//!
//! Liu, Ting and Zhou, *Isolation Forest* (ICDM 2008), equation 1: the average path length of an
//! unsuccessful search in a binary search tree with `n` places to end in is
//! `c(n) = 2 H(n − 1) − 2 (n − 1) / n`, with `H` the harmonic number.
//! The paper estimates `H(i)` by `ln i + γ`; here it is exact, which matters for small leaves
//! (`c(2)` is 1 by definition and .15 by the estimate).

/// Values of `c` kept in a table; larger ones are computed.
const TABLE: u32 = 4096;
const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// `c(n)` for any `n`, without a logarithm for the sizes that are common.
#[derive(Debug)]
pub(crate) struct AveragePath {
    table: Vec<f64>,
}

impl AveragePath {
    /// Prepares for sizes up to `most`; larger ones are right too, only slower.
    pub(crate) fn up_to(most: u32) -> Self {
        let mut harmonic = 0.0;
        let table = (0..=most.min(TABLE))
            .map(|n| {
                if n > 1 {
                    harmonic += 1.0 / f64::from(n - 1);
                }
                from_harmonic(n, harmonic)
            })
            .collect();
        Self { table }
    }

    /// `c(n)`: 0 for `n < 2`, 1 for 2, then about `2 ln n`.
    pub(crate) fn of(&self, n: u32) -> f64 {
        match self.table.get(n as usize) {
            Some(&c) => c,
            None => from_harmonic(n, harmonic(n.saturating_sub(1))),
        }
    }

    /// Path length of a leaf `depth` splits below the root holding `count` of `sample` rows,
    /// divided by `c(sample)`. A tree grown from a single row knows nothing: it says 1, average.
    pub(crate) fn normalised(&self, leaf: Leaf) -> f64 {
        if leaf.sample < 2 {
            return 1.0;
        }
        (f64::from(leaf.depth) + self.of(leaf.count)) / self.of(leaf.sample)
    }
}

/// All that the path length of a leaf depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Leaf {
    pub(crate) depth: u32,
    pub(crate) count: u32,
    pub(crate) sample: u32,
}

fn from_harmonic(n: u32, harmonic: f64) -> f64 {
    if n < 2 {
        return 0.0;
    }
    2.0 * harmonic - 2.0 * f64::from(n - 1) / f64::from(n)
}

/// `H(n)` for `n` past the table, by its asymptotic series; exact to the last digit or two there.
fn harmonic(n: u32) -> f64 {
    let n = f64::from(n.max(1));
    let square = n * n;
    n.ln() + EULER_GAMMA + 0.5 / n - 1.0 / (12.0 * square) + 1.0 / (120.0 * square * square)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected depth of a random leaf position of a random binary search tree, by its recursion.
    fn by_recursion(n: usize) -> f64 {
        // external[k] = expected sum of the depths of the k + 1 external nodes.
        let mut external = vec![0.0; n + 1];
        for k in 1..=n {
            let below: f64 = (0..k)
                .map(|left| external[left] + external[k - 1 - left])
                .sum();
            external[k] = (k + 1) as f64 + below / k as f64;
        }
        external[n] / (n + 1) as f64
    }

    #[test]
    fn average_path_is_that_of_an_unsuccessful_search() {
        let paths = AveragePath::up_to(300);
        for n in 2..=300 {
            // `n` rows are the `n` external nodes of a tree of `n − 1` splits.
            let wanted = by_recursion(n - 1);
            let found = paths.of(n as u32);
            assert!(
                (found - wanted).abs() < 1e-10,
                "c({n}) is {found}, wanted {wanted}"
            );
        }
        assert_eq!(paths.of(0), 0.0);
        assert_eq!(paths.of(1), 0.0);
        assert_eq!(paths.of(2), 1.0);
    }

    #[test]
    fn series_joins_the_table() {
        let short = AveragePath::up_to(1);
        let long = AveragePath::up_to(TABLE);
        for n in [64, 256, 1000, TABLE] {
            assert!((short.of(n) - long.of(n)).abs() < 1e-12, "at {n}");
        }
        // The paper's estimate, where it is meant to hold.
        let n = 100_000_f64;
        let liu = 2.0 * ((n - 1.0).ln() + EULER_GAMMA) - 2.0 * (n - 1.0) / n;
        assert!((long.of(100_000) - liu).abs() < 1e-4);
    }
}
