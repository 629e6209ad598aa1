//! The trees as they are grown, saved and merged: one array of nodes for the whole forest.
//!
//! A forest that fits the [packed](crate::packed) layout is scored there; all others (more
//! columns than a byte can name, deep trees, hyperplanes) are scored right here.

use crate::path::{AveragePath, Leaf};
use linfa::Float;

/// A split, or a leaf that leads to itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Node<F> {
    /// A row goes right if its value (or projection) is greater. `∞` in a leaf.
    pub(crate) threshold: F,
    /// The left child; the right child is the next node. A leaf has its own number here.
    pub(crate) left: u32,
    /// Twice the feature (or, in an extended forest, the first term), plus 1 if a row whose
    /// value is missing goes right.
    pub(crate) slot: u32,
}

/// One direction of a hyperplane: contributes `weight × (x[feature] − middle)`, or nothing if
/// that value is missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Term<F> {
    pub(crate) weight: F,
    pub(crate) middle: F,
    pub(crate) feature: u32,
}

/// Where a tree begins and how many rows it was grown from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) node: u32,
    pub(crate) sample: u32,
}

/// All trees of a forest, oldest first.
///
/// INVARIANT: children come after their parent and in the order the splits were made (depth
/// first, left first); the nodes of a tree are contiguous; a split's `left + 1` exists;
/// `counts` of two siblings add up to their parent's; every leaf holds a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trees<F> {
    pub(crate) n_features: usize,
    /// 0: splits on one column; above: hyperplanes over one column more than this.
    pub(crate) extension: usize,
    pub(crate) nodes: Vec<Node<F>>,
    /// Rows of the sub-sample that reached each node.
    pub(crate) counts: Vec<u32>,
    /// `extension + 1` for each split of an extended forest, else none.
    pub(crate) terms: Vec<Term<F>>,
    pub(crate) roots: Vec<Root>,
}

/// Nodes and terms are numbered in 31 bits: one more is the missing-value direction.
pub(crate) const MOST_NODES: usize = 1 << 31;

impl<F: Float> Trees<F> {
    pub(crate) fn empty(n_features: usize, extension: usize) -> Self {
        Self {
            n_features,
            extension,
            nodes: Vec::new(),
            counts: Vec::new(),
            terms: Vec::new(),
            roots: Vec::new(),
        }
    }

    /// Adds a leaf of `count` rows and returns its number.
    pub(crate) fn push_leaf(&mut self, count: u32) -> u32 {
        let at = self.nodes.len() as u32;
        self.nodes.push(Node {
            threshold: F::infinity(),
            left: at,
            slot: 0,
        });
        self.counts.push(count);
        at
    }

    /// Terms of every hyperplane of this forest.
    pub(crate) fn terms_per_split(&self) -> usize {
        if self.extension == 0 {
            0
        } else {
            self.extension + 1
        }
    }

    /// The nodes of tree `index`, as a range of `nodes`.
    pub(crate) fn range(&self, index: usize) -> std::ops::Range<usize> {
        let end = self
            .roots
            .get(index + 1)
            .map_or(self.nodes.len(), |root| root.node as usize);
        let start = self.roots.get(index).map_or(end, |root| root.node as usize);
        start..end
    }

    pub(crate) fn is_leaf(&self, at: usize) -> bool {
        self.nodes
            .get(at)
            .is_none_or(|node| node.left as usize == at)
    }

    /// Depth of every node below its root.
    pub(crate) fn depths(&self) -> Vec<u32> {
        let mut depths = vec![0_u32; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            if node.left as usize != at {
                let below = depths.get(at).copied().unwrap_or(0) + 1;
                for child in [node.left as usize, node.left as usize + 1] {
                    if let Some(depth) = depths.get_mut(child) {
                        *depth = below;
                    }
                }
            }
        }
        depths
    }

    /// For every node the path length that the tree's own sub-sample has on average below it,
    /// divided by `c` of the sub-sample; for a leaf, the path length of every row that ends there.
    pub(crate) fn expected(&self, depths: &[u32]) -> Vec<f64> {
        let largest = self.roots.iter().map(|root| root.sample).max().unwrap_or(0);
        let paths = AveragePath::up_to(largest);
        let mut expected = vec![0.0; self.nodes.len()];
        for (index, root) in self.roots.iter().enumerate() {
            for at in self.range(index).rev() {
                let (Some(node), Some(&count), Some(&depth)) =
                    (self.nodes.get(at), self.counts.get(at), depths.get(at))
                else {
                    continue;
                };
                let left = node.left as usize;
                let value = if left == at {
                    paths.normalised(Leaf {
                        depth,
                        count,
                        sample: root.sample,
                    })
                } else {
                    let sum: f64 = [left, left + 1]
                        .iter()
                        .filter_map(|&child| {
                            Some(f64::from(*self.counts.get(child)?) * expected.get(child)?)
                        })
                        .sum();
                    sum / f64::from(count)
                };
                if let Some(place) = expected.get_mut(at) {
                    *place = value;
                }
            }
        }
        expected
    }

    /// Appends the trees of another forest of the same shape.
    pub(crate) fn append(&mut self, other: Self) {
        let nodes = self.nodes.len() as u32;
        let terms = 2 * self.terms.len() as u32;
        let extended = self.extension > 0;
        self.nodes
            .extend(other.nodes.iter().enumerate().map(|(at, node)| {
                let split = node.left as usize != at;
                let slot = if extended && split {
                    node.slot + terms
                } else {
                    node.slot
                };
                Node {
                    left: node.left + nodes,
                    slot,
                    ..*node
                }
            }));
        self.counts.extend(other.counts);
        self.terms.extend(other.terms);
        self.roots.extend(other.roots.iter().map(|root| Root {
            node: root.node + nodes,
            ..*root
        }));
    }

    /// Forgets the first `count` trees.
    pub(crate) fn forget(&mut self, count: usize) {
        let count = count.min(self.roots.len());
        let nodes = self
            .roots
            .get(count)
            .map_or(self.nodes.len(), |root| root.node as usize);
        let splits = (0..nodes).filter(|&at| !self.is_leaf(at)).count();
        let terms = splits * self.terms_per_split();
        let extended = self.extension > 0;
        self.roots.drain(..count);
        self.nodes.drain(..nodes);
        self.counts.drain(..nodes);
        self.terms.drain(..terms);
        for (at, node) in self.nodes.iter_mut().enumerate() {
            node.left -= nodes as u32;
            if extended && node.left as usize != at {
                node.slot -= 2 * terms as u32;
            }
        }
        for root in &mut self.roots {
            root.node -= nodes as u32;
        }
    }
}
