//! The layouts against each other and against a walk that is too simple to be wrong.

use crate::IsolationForest;
use crate::forest::Layout;
use crate::grow::project;
use crate::packed::{NO_RANKS, Packed};
use crate::path::{AveragePath, Leaf};
use crate::plain::Plain;
use crate::ranking::Ranking;
use crate::sample::{tree_rng, unit};
use crate::trees::Trees;
use linfa::prelude::*;
use ndarray::Array2;
use rand_xoshiro::Xoshiro256Plus;

/// Ties, holes and values outside what was fitted.
fn table(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut rng: Xoshiro256Plus = tree_rng(seed, 0);
    Array2::from_shape_simple_fn((rows, columns), || match unit(&mut rng) {
        u if u < 0.1 => f64::NAN,
        u if u < 0.3 => (u * 40.0).round(),
        u => 20.0 * u.powi(3),
    })
}

fn fitted(columns: usize, level: usize, trees: usize) -> IsolationForest<f64> {
    let params = IsolationForest::params()
        .n_trees(trees)
        .extension_level(level);
    params
        .fit(&DatasetBase::from(table(800, columns, 1)))
        .unwrap()
}

/// Equation 1 and nothing else: down the tree, counting.
fn path(trees: &Trees<f64>, row: &[f64]) -> f64 {
    let paths = AveragePath::up_to(256);
    let one = |root: usize| {
        let (mut at, mut depth) = (trees.roots[root].node as usize, 0);
        while trees.nodes[at].left as usize != at {
            let node = trees.nodes[at];
            let first = (node.slot / 2) as usize;
            let value = if trees.extension == 0 {
                row[first]
            } else {
                project(
                    &trees.terms[first..first + trees.terms_per_split()],
                    |column| row[column],
                )
            };
            let right = if value.is_nan() {
                node.slot % 2 == 1
            } else {
                value > node.threshold
            };
            at = node.left as usize + usize::from(right);
            depth += 1;
        }
        let leaf = Leaf {
            depth,
            count: trees.counts[at],
            sample: trees.roots[root].sample,
        };
        paths.normalised(leaf)
    };
    (0..trees.roots.len()).map(one).sum()
}

fn both(trees: &Trees<f64>) -> (Packed<f64>, Plain<f64>) {
    let (ranking, ranks) = Ranking::of(trees);
    (
        Packed::new(trees, ranking, &ranks).unwrap(),
        Plain::new(trees.clone()),
    )
}

#[test]
fn both_layouts_walk_as_the_formula_says() {
    for (columns, trees) in [(1, 10), (4, 13), (127, 27)] {
        let trees = fitted(columns, 0, trees).trees();
        let (packed, plain) = both(&trees);
        let mut ranked = NO_RANKS;
        for row in table(200, columns, 2).rows() {
            let row = row.as_slice().unwrap();
            let wanted = path(&trees, row);
            packed.rank(row, &mut ranked).unwrap();
            assert_eq!(packed.path(&ranked), wanted);
            assert_eq!(plain.path(row), wanted);
        }
    }
    let trees = fitted(4, 2, 9).trees();
    let plain = Plain::new(trees.clone());
    for row in table(200, 4, 2).rows() {
        assert_eq!(
            plain.path(row.as_slice().unwrap()),
            path(&trees, row.as_slice().unwrap())
        );
    }
}

/// Values on a threshold, and one step beside it.
#[test]
fn ranks_decide_as_thresholds_do() {
    let trees = fitted(2, 0, 20).trees();
    let (packed, plain) = both(&trees);
    let mut ranked = NO_RANKS;
    for node in trees.nodes.iter().filter(|node| node.threshold.is_finite()) {
        let bits = node.threshold.to_bits();
        for value in [bits - 1, bits, bits + 1].map(f64::from_bits) {
            let row = [value, value];
            packed.rank(&row, &mut ranked).unwrap();
            assert_eq!(packed.path(&ranked), plain.path(&row));
        }
    }
}

#[test]
fn both_layouts_explain_alike() {
    let trees = fitted(5, 0, 50).trees();
    let (packed, plain) = both(&trees);
    assert!((packed.expected() - plain.expected()).abs() < 1e-12);
    let mut ranked = NO_RANKS;
    for row in table(200, 5, 2).rows() {
        let row = row.as_slice().unwrap();
        packed.rank(row, &mut ranked).unwrap();
        let walk = packed.explain(&ranked);
        let mut changes = [0.0; 5];
        assert_eq!(plain.explain(row, &mut changes), walk.path);
        for (packed, plain) in walk.by_feature.iter().zip(changes) {
            // 50 trees, each within a few 32,767ths of the longest path.
            assert!((packed - plain).abs() < 0.02, "{packed} {plain}");
        }
    }
}

#[test]
fn packing_loses_nothing() {
    for columns in [1, 3, 127] {
        let forest = fitted(columns, 0, 17);
        assert!(matches!(forest.layout, Layout::Packed(_)));
        let trees = forest.trees();
        let (packed, _) = both(&trees);
        assert_eq!(packed.trees(), trees);
    }
    assert!(matches!(fitted(128, 0, 2).layout, Layout::Plain(_)));
    assert!(matches!(fitted(3, 1, 2).layout, Layout::Plain(_)));
}

/// The memory that a forest says it needs is what it holds, also after loading.
#[test]
fn no_memory_is_held_in_reserve() {
    let forest = fitted(4, 2, 9);
    let loaded = IsolationForest::<f64>::from_bytes(&forest.to_bytes()).unwrap();
    for forest in [forest, loaded] {
        let Layout::Plain(Plain { trees, .. }) = forest.layout else {
            panic!("hyperplanes cannot be packed");
        };
        assert_eq!(trees.nodes.capacity(), trees.nodes.len());
        assert_eq!(trees.counts.capacity(), trees.counts.len());
        assert_eq!(trees.terms.capacity(), trees.terms.len());
    }
}

/// Forgetting the first trees and appending what was forgotten only turns the forest round.
#[test]
fn trees_keep_their_shape_when_moved() {
    for level in [0, 2] {
        let whole = fitted(4, level, 6).trees();
        let mut young = whole.clone();
        young.forget(2);
        let mut old = whole.clone();
        old.forget(6);
        assert_eq!(old, Trees::empty(4, level));
        let mut first = fitted(4, level, 2).trees();
        first.append(young);
        assert_eq!(first, whole);
    }
}
