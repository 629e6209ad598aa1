//! The layout for forests that the [packed](crate::packed) one cannot hold: any width, any
//! depth, hyperplanes. The trees are walked as they were grown, eight in step until none moves.
#![expect(
    clippy::indexing_slicing,
    reason = "a numeric kernel: every index is checked"
)]

use crate::grow::project;
use crate::trees::{Node, Term, Trees};
use linfa::Float;

const LANES: usize = 8;

/// A forest as it was grown, with the expected path length of every node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plain<F> {
    pub(crate) trees: Trees<F>,
    /// Normalised; exact in leaves.
    values: Vec<f64>,
    depth: u32,
}

impl<F: Float> Plain<F> {
    pub(crate) fn new(mut trees: Trees<F>) -> Self {
        // Growing and loading reserve more than is filled.
        trees.nodes.shrink_to_fit();
        trees.counts.shrink_to_fit();
        trees.terms.shrink_to_fit();
        let depths = trees.depths();
        let values = trees.expected(&depths);
        Self {
            trees,
            values,
            depth: depths.into_iter().max().unwrap_or(0),
        }
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// Sum over the trees of the expected normalised path length.
    pub(crate) fn expected(&self) -> f64 {
        self.trees
            .roots
            .iter()
            .map(|root| self.values[root.node as usize])
            .sum()
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&self.trees.nodes[..])
            + size_of_val(&self.trees.counts[..])
            + size_of_val(&self.trees.terms[..])
            + size_of_val(&self.trees.roots[..])
            + size_of_val(&self.values[..])
    }

    /// Sum over the trees of the normalised path length of one row of the right length.
    pub(crate) fn path(&self, row: &[F]) -> f64 {
        let mut sum = 0.0;
        for roots in self.trees.roots.chunks(LANES) {
            // Places without a tree stay at the first leaf-like thing there is: a root.
            let mut at = [roots[0].node as usize; LANES];
            for (place, root) in at.iter_mut().zip(roots) {
                *place = root.node as usize;
            }
            loop {
                let mut moved = false;
                for place in &mut at {
                    let next = self.next(row, *place);
                    moved |= next != *place;
                    *place = next;
                }
                if !moved {
                    break;
                }
            }
            for &leaf in at.iter().take(roots.len()) {
                sum += self.values[leaf];
            }
        }
        sum
    }

    /// Adds to `changes`, by feature, what each split changed in the expected path length; gives
    /// the sum of path lengths.
    pub(crate) fn explain(&self, row: &[F], changes: &mut [f64]) -> f64 {
        let mut path = 0.0;
        for root in &self.trees.roots {
            let mut at = root.node as usize;
            loop {
                let next = self.next(row, at);
                if next == at {
                    break;
                }
                let change = self.values[next] - self.values[at];
                if self.trees.extension == 0 {
                    changes[(self.trees.nodes[at].slot / 2) as usize] += change;
                } else {
                    share(self.terms(&self.trees.nodes[at]), row, change, changes);
                }
                at = next;
            }
            path += self.values[at];
        }
        path
    }

    /// The child a row goes to, or the node itself if it is a leaf.
    #[inline(always)]
    fn next(&self, row: &[F], at: usize) -> usize {
        let node = &self.trees.nodes[at];
        let left = node.left as usize;
        let value = if self.trees.extension == 0 {
            row[(node.slot / 2) as usize]
        } else if left == at {
            return at;
        } else {
            project(self.terms(node), |feature| row[feature])
        };
        // In a leaf the threshold is ∞ and a missing value stays.
        let right = (value > node.threshold) | (value.is_nan() & (node.slot & 1 == 1));
        left + usize::from(right)
    }

    fn terms(&self, node: &Node<F>) -> &[Term<F>] {
        let start = (node.slot / 2) as usize;
        &self.trees.terms[start..start + self.trees.terms_per_split()]
    }
}

/// Shares a change out among the features of a hyperplane by how much each moved the row along
/// it; evenly if none did.
fn share<F: Float>(terms: &[Term<F>], row: &[F], change: f64, changes: &mut [f64]) {
    let moved = |term: &Term<F>| {
        let moved = term.weight * (row[term.feature as usize] - term.middle);
        moved
            .to_f64()
            .filter(|moved| moved.is_finite())
            .map_or(0.0, f64::abs)
    };
    let total: f64 = terms.iter().map(moved).sum();
    for term in terms {
        let part = if total > 0.0 && total.is_finite() {
            moved(term) / total
        } else {
            1.0 / terms.len() as f64
        };
        changes[term.feature as usize] += change * part;
    }
}
