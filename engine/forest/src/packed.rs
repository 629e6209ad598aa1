//! The fast layout: nodes of four bytes, rows as ranks, ten trees in step.
//!
//! ```text
//!  node  31..16  1 + rank of the threshold      a row goes right if its word for the slot,
//!        15..8   the pair of children           (rank << 16 | 0xFFFF), is not smaller than
//!         7..0   slot = 2 × feature + missing   the whole node: no field need be cut out
//! ```
//!
//! A tree is a window of at most 512 nodes, in pairs; node 0 is the root and node 1 unused.
//! The walk takes as many steps as the deepest of its trees has levels. A leaf leads to itself: it
//! names its own pair and one of two slots that no feature has, whose words are smaller than all
//! nodes or greater. Its upper half is free for the code of its path length.
//! So there is no branch to mispredict, and the only bound to check is that of the window.
//!
//! Measured on an AMD EPYC (Zen 5), 100 trees × 256, 10 columns of `f64`, single row, ranking
//! (.13 µs of .65 µs) included. This layout is 1; nodes of 16 bytes with the threshold inside 1.2,
//! perfect trees of 4-byte nodes 1.1 at 1.5 times the memory, of 2-byte nodes 1.2; one tree at a
//! time 2.0, four in step 1.3, eight 1.1, twelve 1.0, sixteen and twenty 1.05. In batches of rows
//! no other was faster. Built for the native CPU, single rows gain 4 % and batches lose three
//! quarters: LLVM then turns their lanes into gathers. Build for the default target.
#![expect(
    clippy::indexing_slicing,
    reason = "a numeric kernel: every index is masked or checked"
)]

use crate::error::RowError;
use crate::leaves::{Codes, NOTHING};
use crate::path::Leaf;
use crate::ranking::Ranking;
use crate::trees::{Node, Root, Trees};
use linfa::Float;

/// Words of a row in ranks: two for each feature, for either way a missing value may go.
const SLOTS: usize = 256;
/// Nodes of the largest tree, with the unused one.
const WINDOW: usize = 512;
/// Trees walked in step for a single row.
const LANES: usize = 10;
/// Rows walked in step in a batch.
pub(crate) const BLOCK: usize = 12;
/// The slot of leaves at even places: a row's word there is smaller than any node.
const NEVER: u32 = 254;
/// The slot of leaves at odd places: a row's word there is greater than any node.
const ALWAYS: u32 = 255;

/// A row as ranks: what a node is compared with, by slot.
pub(crate) type RankedRow = [u32; SLOTS];
pub(crate) const NO_RANKS: RankedRow = {
    let mut words = [0; SLOTS];
    words[ALWAYS as usize] = u32::MAX;
    words
};

/// An axis-parallel forest of up to 127 features whose trees have up to 256 leaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Packed<F> {
    ranking: Ranking<F>,
    nodes: Vec<u32>,
    /// For each node but roots the change in expected path length from its parent, in `unit`s.
    changes: Vec<i16>,
    /// Where each tree's window begins, filled up to whole groups with the tree at 0 that says zero.
    starts: Vec<u32>,
    /// Levels of each tree below the root.
    depths: Vec<u8>,
    n_trees: usize,
    /// Where the last tree ends; what follows only makes its window whole.
    end: usize,
    /// Sum over the trees of the expected path length of their roots.
    expected: f64,
    /// What the codes of leaves stand for.
    leaves: Vec<Leaf>,
    /// Normalised path length of each code.
    paths: Vec<f64>,
    unit: f64,
}

/// What a walk for an explanation adds up.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Sum over the trees of the normalised path length.
    pub(crate) path: f64,
    /// Sum over the trees and splits, by feature, of the change in expected path length.
    pub(crate) by_feature: [f64; SLOTS / 2],
}

impl<F: Float> Packed<F> {
    pub(crate) const MOST_FEATURES: usize = SLOTS / 2 - 1;

    /// Packs a forest; nothing if it is too wide, too large or extended. `ranks` has, for every
    /// split, the place of its threshold in the ranking.
    pub(crate) fn new(trees: &Trees<F>, ranking: Ranking<F>, ranks: &[u32]) -> Option<Self> {
        let fits = trees.extension == 0
            && trees.n_features <= Self::MOST_FEATURES
            && ranking.longest() < usize::from(u16::MAX) - 1
            && (0..trees.roots.len()).all(|index| trees.range(index).len() < WINDOW);
        if !fits {
            return None;
        }
        let n_trees = trees.roots.len();
        let groups = n_trees.next_multiple_of(LANES);
        let room = trees.nodes.len() + n_trees + WINDOW + 2;
        let mut packed = Self {
            ranking,
            nodes: Vec::with_capacity(room),
            changes: Vec::new(),
            starts: Vec::with_capacity(groups),
            depths: Vec::with_capacity(groups),
            n_trees,
            end: 0,
            expected: 0.0,
            leaves: Vec::new(),
            paths: Vec::new(),
            unit: 0.0,
        };
        packed
            .nodes
            .extend([leaf_node(0, NOTHING), leaf_node(1, NOTHING)]);
        let mut codes = Codes::new(trees);
        for index in 0..n_trees {
            packed.push_tree(trees, index, ranks, &mut codes)?;
        }
        packed.end = packed.nodes.len();
        let last = packed.starts.last().map_or(0, |&start| start as usize);
        packed.nodes.resize(last + WINDOW, leaf_node(0, NOTHING));
        packed.nodes.shrink_to_fit();
        (packed.leaves, packed.paths) = codes.finish();
        let longest = packed
            .paths
            .iter()
            .copied()
            .fold(f64::MIN_POSITIVE, f64::max);
        packed.unit = longest / f64::from(i16::MAX);
        packed.changes = vec![0; packed.nodes.len()];
        for index in 0..n_trees {
            packed.note_changes(trees, index);
        }
        packed.starts.resize(groups, 0);
        packed.depths.resize(groups, 0);
        Some(packed)
    }

    /// Packs the nodes of a tree; nothing if there are too many kinds of leaves.
    fn push_tree(
        &mut self,
        trees: &Trees<F>,
        index: usize,
        ranks: &[u32],
        codes: &mut Codes,
    ) -> Option<()> {
        let (range, sample) = (trees.range(index), trees.roots[index].sample);
        let mut depths = [0_u8; WINDOW];
        let mut levels = 0;
        self.starts.push(self.nodes.len() as u32);
        for (local, at) in range.clone().enumerate() {
            let place = if local == 0 { 0 } else { local + 1 };
            let node = trees.nodes[at];
            let depth = depths[local];
            levels = levels.max(depth);
            self.nodes.push(if node.left as usize == at {
                let leaf = Leaf {
                    depth: depth.into(),
                    count: trees.counts[at],
                    sample,
                };
                leaf_node(place, codes.of(leaf)?)
            } else {
                let left = node.left as usize - range.start;
                depths[left..left + 2].fill(depth + 1);
                (ranks[at] + 1) << 16 | (left.div_ceil(2) as u32) << 8 | node.slot
            });
            if local == 0 {
                self.nodes.push(leaf_node(1, NOTHING));
            }
        }
        self.depths.push(levels);
        Some(())
    }

    /// Works out the expected path length of every node of a tree from those of its leaves, and
    /// notes the steps between them.
    fn note_changes(&mut self, trees: &Trees<F>, index: usize) {
        let range = trees.range(index);
        let start = self.starts[index] as usize;
        let mut expected = [0.0; WINDOW];
        // Rounded to the nearest; none is negative.
        let in_units = |path: f64| (path / self.unit + 0.5) as i16;
        for (local, at) in range.clone().enumerate().rev() {
            let place = if local == 0 { 0 } else { local + 1 };
            let left = trees.nodes[at].left as usize;
            if left == at {
                expected[local] = self.leaf(self.nodes[start + place]);
                continue;
            }
            let (child, rows) = (left - range.start, |at: usize| f64::from(trees.counts[at]));
            let sum = rows(left) * expected[child] + rows(left + 1) * expected[child + 1];
            expected[local] = sum / rows(at);
            let here = in_units(expected[local]);
            for side in [0, 1] {
                self.changes[start + child + 1 + side] = in_units(expected[child + side]) - here;
            }
        }
        self.expected += expected[0];
    }

    pub(crate) fn n_features(&self) -> usize {
        self.ranking.offsets.len() - 1
    }

    pub(crate) fn n_trees(&self) -> usize {
        self.n_trees
    }

    /// Sum over the trees of the expected normalised path length.
    pub(crate) fn expected(&self) -> f64 {
        self.expected
    }

    /// Rows of the largest sub-sample.
    pub(crate) fn sample_size(&self) -> u32 {
        self.leaves
            .iter()
            .map(|leaf| leaf.sample)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depths.iter().copied().max().unwrap_or(0).into()
    }

    /// Nodes without the padding: each tree has one that is unused.
    pub(crate) fn n_nodes(&self) -> usize {
        self.end - 2 - self.n_trees
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&self.ranking.offsets[..])
            + size_of_val(&self.ranking.thresholds[..])
            + size_of_val(&self.nodes[..])
            + size_of_val(&self.changes[..])
            + size_of_val(&self.starts[..])
            + size_of_val(&self.depths[..])
            + size_of_val(&self.leaves[..])
            + size_of_val(&self.paths[..])
    }

    /// Turns a row of the right length into ranks.
    #[inline]
    pub(crate) fn rank(&self, row: &[F], ranked: &mut RankedRow) -> Result<(), RowError> {
        let ranges = self.ranking.offsets.windows(2);
        let words = ranked.chunks_exact_mut(2);
        for (column, ((&value, range), words)) in row.iter().zip(ranges).zip(words).enumerate() {
            if value.is_infinite() {
                return Err(RowError::Infinite { column });
            }
            let thresholds = &self.ranking.thresholds[range[0] as usize..range[1] as usize];
            let rank = thresholds.partition_point(|&threshold| threshold < value) as u32;
            // A missing value is below every threshold: left in the first slot by its rank of 0.
            let word = rank << 16 | 0xFFFF;
            words[0] = word;
            words[1] = if value.is_nan() { u32::MAX } else { word };
        }
        Ok(())
    }

    /// Sum over the trees of the normalised path length of one row.
    #[inline]
    pub(crate) fn path(&self, ranked: &RankedRow) -> f64 {
        let mut sum = 0.0;
        let groups = self
            .starts
            .chunks_exact(LANES)
            .zip(self.depths.chunks_exact(LANES));
        for (starts, depths) in groups {
            let windows: [&[u32; WINDOW]; LANES] =
                std::array::from_fn(|lane| window(&self.nodes, starts[lane], &NO_NODES));
            let mut at = [0_usize; LANES];
            let levels = depths.iter().copied().max().unwrap_or(0);
            for _ in 0..levels {
                for lane in 0..LANES {
                    at[lane] = step(windows[lane], ranked, at[lane]).0;
                }
            }
            for lane in 0..LANES {
                sum += self.leaf(windows[lane][at[lane] % WINDOW]);
            }
        }
        sum
    }

    /// The same for a block of rows, each tree going over all of them while it is in cache.
    #[inline]
    pub(crate) fn path_block(&self, ranked: &[RankedRow; BLOCK], sums: &mut [f64; BLOCK]) {
        *sums = [0.0; BLOCK];
        for (&start, &levels) in self.starts.iter().zip(&self.depths).take(self.n_trees) {
            let nodes = window(&self.nodes, start, &NO_NODES);
            let mut at = [0_usize; BLOCK];
            for _ in 0..levels {
                for lane in 0..BLOCK {
                    at[lane] = step(nodes, &ranked[lane], at[lane]).0;
                }
            }
            for lane in 0..BLOCK {
                sums[lane] += self.leaf(nodes[at[lane] % WINDOW]);
            }
        }
    }

    /// Walks all trees and notes what each split changed.
    #[inline]
    pub(crate) fn explain(&self, ranked: &RankedRow) -> Walk {
        let mut path = 0.0;
        // By slot, in whole units so that no rounding adds up; those of leaves are of no use.
        let mut sums = [0_i64; SLOTS];
        let groups = self
            .starts
            .chunks_exact(LANES)
            .zip(self.depths.chunks_exact(LANES));
        for (starts, depths) in groups {
            let windows: [&[u32; WINDOW]; LANES] =
                std::array::from_fn(|lane| window(&self.nodes, starts[lane], &NO_NODES));
            let changes: [&[i16; WINDOW]; LANES] =
                std::array::from_fn(|lane| window(&self.changes, starts[lane], &NO_CHANGES));
            let mut at = [0_usize; LANES];
            let levels = depths.iter().copied().max().unwrap_or(0);
            for _ in 0..levels {
                for lane in 0..LANES {
                    let (next, slot) = step(windows[lane], ranked, at[lane]);
                    let change = i64::from(changes[lane][next % WINDOW]);
                    sums[usize::from(slot)] += change;
                    at[lane] = next;
                }
            }
            for lane in 0..LANES {
                path += self.leaf(windows[lane][at[lane] % WINDOW]);
            }
        }
        let mut by_feature = [0.0; SLOTS / 2];
        for (feature, slots) in by_feature.iter_mut().zip(sums.chunks_exact(2)) {
            *feature = (slots[0] + slots[1]) as f64 * self.unit;
        }
        Walk { path, by_feature }
    }

    /// Path length that a leaf stands for.
    #[inline]
    fn leaf(&self, node: u32) -> f64 {
        self.paths
            .get((node >> 16) as usize)
            .copied()
            .unwrap_or(0.0)
    }

    /// The forest as it was before packing.
    pub(crate) fn trees(&self) -> Trees<F> {
        let mut trees = Trees::empty(self.n_features(), 0);
        for index in 0..self.n_trees {
            let start = self.starts[index] as usize;
            let next = (index + 1 < self.n_trees).then(|| self.starts[index + 1] as usize);
            let end = next.unwrap_or(self.end);
            let first = trees.nodes.len();
            let number = |place: usize| first + place.saturating_sub(1);
            let mut sample = 0;
            for place in (0..end - start).filter(|&place| place != 1) {
                let word = self.nodes[start + place];
                let slot = word & 0xFF;
                if slot >= NEVER {
                    let leaf = self.leaves[(word >> 16) as usize];
                    sample = leaf.sample;
                    trees.push_leaf(leaf.count);
                } else {
                    let thresholds = self.ranking.of_feature(slot as usize / 2);
                    trees.nodes.push(Node {
                        threshold: thresholds[(word >> 16) as usize - 1],
                        left: number(2 * (word >> 8 & 0xFF) as usize) as u32,
                        slot,
                    });
                    trees.counts.push(0);
                }
            }
            trees.roots.push(Root {
                node: first as u32,
                sample,
            });
            for at in (first..trees.nodes.len()).rev() {
                let left = trees.nodes[at].left as usize;
                if left != at {
                    trees.counts[at] = trees.counts[left] + trees.counts[left + 1];
                }
            }
        }
        trees
    }
}

/// A leaf at the given place of its window.
fn leaf_node(place: usize, code: u16) -> u32 {
    let slot = if place.is_multiple_of(2) {
        NEVER
    } else {
        ALWAYS
    };
    u32::from(code) << 16 | (place as u32 / 2) << 8 | slot
}

const NO_NODES: [u32; WINDOW] = [NEVER; WINDOW];
const NO_CHANGES: [i16; WINDOW] = [0; WINDOW];

/// The window of a tree. INVARIANT: it is there, since the arrays end with a window to spare; the
/// other arm only says so without a panic.
#[inline(always)]
fn window<'a, T>(all: &'a [T], start: u32, nothing: &'a [T; WINDOW]) -> &'a [T; WINDOW] {
    all.get(start as usize..)
        .and_then(|rest| rest.first_chunk())
        .unwrap_or(nothing)
}

/// One step down: the next node, and the slot that was looked at.
#[inline(always)]
fn step(nodes: &[u32; WINDOW], ranked: &RankedRow, at: usize) -> (usize, u8) {
    let node = nodes[at % WINDOW];
    let slot = node as u8;
    let pair = usize::from((node >> 8) as u8);
    let right = ranked[usize::from(slot)] >= node;
    (2 * pair + usize::from(right), slot)
}
