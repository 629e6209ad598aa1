//! Growing trees: random cuts until each row is alone, or deep enough.

use crate::sample::{RowSampler, below, between, normal, tree_rng};
use crate::trees::{Node, Root, Term, Trees};
use linfa::Float;
use ndarray::ArrayView2;
use rand::{RngCore, SeedableRng};

/// Up to this many columns a sub-sample is copied together before growing; a wider one is read
/// where it is, since most of its columns are never asked for.
const COPIED_COLUMNS: usize = 64;

/// Tries to find a direction along which the rows of a node differ, before calling it a leaf.
const DIRECTIONS: usize = 8;

/// What growing needs to know of the parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) sample_size: u32,
    pub(crate) max_depth: Option<u32>,
    pub(crate) extension: usize,
    /// Columns drawn for each tree.
    pub(crate) columns: usize,
}

impl Plan {
    /// Liu, Ting and Zhou stop at the height of a balanced tree, ⌈log₂ ψ⌉: what lies deeper is
    /// more ordinary than average and of no interest.
    fn depth_for(&self, rows: usize) -> u32 {
        let balanced = usize::BITS - rows.saturating_sub(1).leading_zeros();
        self.max_depth.unwrap_or(balanced)
    }
}

/// Grows the trees with the given serial numbers on sub-samples of `records`.
pub(crate) fn grow_trees<F: Float, R: RngCore + SeedableRng>(
    plan: &Plan,
    seed: u64,
    serials: impl Iterator<Item = u64>,
    records: ArrayView2<'_, F>,
) -> Trees<F> {
    let (n_rows, width) = records.dim();
    let mut trees = Trees::empty(width, plan.extension);
    let mut sampler = RowSampler::default();
    let mut grower = Grower::default();
    let mut drawn = Vec::new();
    let mut copied = Vec::new();
    for serial in serials {
        let mut rng: R = tree_rng(seed, serial);
        let rows = u32::try_from(n_rows).unwrap_or(u32::MAX);
        sampler.draw(&mut rng, rows, plan.sample_size, &mut drawn);
        if width <= COPIED_COLUMNS {
            copied.clear();
            for &row in &drawn {
                copied.extend(records.row(row as usize).iter().copied());
            }
            if let Ok(sample) = ArrayView2::from_shape((drawn.len(), width), &copied) {
                drawn.iter_mut().zip(0..).for_each(|(row, at)| *row = at);
                grower.grow(plan, &mut rng, sample, &mut drawn, &mut trees);
            }
        } else {
            grower.grow(plan, &mut rng, records, &mut drawn, &mut trees);
        }
    }
    trees
}

/// A node still to be split: its rows are `rows[start..end]`, and the first `constant` columns of
/// the list are known not to differ among them.
#[derive(Debug)]
struct Task {
    node: usize,
    start: usize,
    end: usize,
    depth: u32,
    constant: usize,
}

/// How to cut a node.
struct Cut<F> {
    threshold: F,
    slot: u32,
}

/// Memory that growing reuses from node to node and tree to tree.
#[derive(Debug)]
pub(crate) struct Grower<F> {
    columns: Vec<u32>,
    /// Of each row of the node, the value that is cut: of one column, or a projection.
    values: Vec<F>,
    right: Vec<u32>,
    tasks: Vec<Task>,
    direction: Vec<Term<F>>,
}

impl<F> Default for Grower<F> {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            values: Vec::new(),
            right: Vec::new(),
            tasks: Vec::new(),
            direction: Vec::new(),
        }
    }
}

impl<F: Float> Grower<F> {
    /// Grows one tree on the given rows of `data` (whose order is lost) and appends it.
    pub(crate) fn grow<R: RngCore>(
        &mut self,
        plan: &Plan,
        rng: &mut R,
        data: ArrayView2<'_, F>,
        rows: &mut [u32],
        trees: &mut Trees<F>,
    ) {
        self.draw_columns(rng, data.ncols(), plan.columns);
        let max_depth = plan.depth_for(rows.len());
        let node = trees.push_leaf(rows.len() as u32);
        trees.roots.push(Root {
            node,
            sample: rows.len() as u32,
        });
        let root = Task {
            node: node as usize,
            start: 0,
            end: rows.len(),
            depth: 0,
            constant: 0,
        };
        self.tasks.clear();
        self.tasks.push(root);
        while let Some(mut task) = self.tasks.pop() {
            let Some(rows) = rows.get_mut(task.start..task.end) else {
                continue;
            };
            if task.depth >= max_depth || rows.len() < 2 {
                continue;
            }
            let cut = if plan.extension == 0 {
                self.cut_column(rng, data, rows, &mut task.constant)
            } else {
                self.cut_direction(rng, data, rows, &mut task.constant, trees)
            };
            let Some(cut) = cut else { continue };
            let on_left = self.partition(rows, &cut);
            let left = trees.push_leaf(on_left as u32);
            trees.push_leaf((rows.len() - on_left) as u32);
            if let Some(node) = trees.nodes.get_mut(task.node) {
                *node = Node {
                    threshold: cut.threshold,
                    left,
                    slot: cut.slot,
                };
            }
            let middle = task.start + on_left;
            let (depth, constant) = (task.depth + 1, task.constant);
            let left = left as usize;
            self.tasks.push(Task {
                node: left + 1,
                start: middle,
                end: task.end,
                depth,
                constant,
            });
            self.tasks.push(Task {
                node: left,
                start: task.start,
                end: middle,
                depth,
                constant,
            });
        }
    }

    /// The columns this tree may cut: all, or a random choice of `count`.
    fn draw_columns<R: RngCore>(&mut self, rng: &mut R, width: usize, count: usize) {
        self.columns.clear();
        self.columns.extend(0..width as u32);
        if count < width {
            for at in 0..count {
                let other = at + below(rng, (width - at) as u32) as usize;
                self.columns.swap(at, other);
            }
            self.columns.truncate(count);
        }
    }

    /// Reads a column of the node's rows into `values`. Gives its lowest and highest value;
    /// nothing if no two rows differ in it. Missing values do not count.
    fn read_column(
        &mut self,
        data: ArrayView2<'_, F>,
        rows: &[u32],
        feature: u32,
    ) -> Option<(F, F)> {
        let column = data.column(feature as usize);
        let (mut low, mut high) = (F::infinity(), F::neg_infinity());
        self.values.clear();
        self.values.extend(rows.iter().map(|&row| {
            let value = column.get(row as usize).copied().unwrap_or_else(F::nan);
            low = if value < low { value } else { low };
            high = if value > high { value } else { high };
            value
        }));
        (low < high).then_some((low, high))
    }

    /// Draws among the columns not yet known to be constant until one is not. Each column that
    /// differs among the rows is equally likely to be cut.
    fn cut_column<R: RngCore>(
        &mut self,
        rng: &mut R,
        data: ArrayView2<'_, F>,
        rows: &[u32],
        constant: &mut usize,
    ) -> Option<Cut<F>> {
        while *constant < self.columns.len() {
            let at = *constant + below(rng, (self.columns.len() - *constant) as u32) as usize;
            let feature = *self.columns.get(at)?;
            if let Some((low, high)) = self.read_column(data, rows, feature) {
                let threshold = between(rng, low, high);
                let slot = 2 * feature + u32::from(self.missing_go_right(rng, threshold));
                return Some(Cut { threshold, slot });
            }
            self.columns.swap(at, *constant);
            *constant += 1;
        }
        None
    }

    /// Draws a direction over `extension + 1` columns that differ (or as many as there are), in
    /// units of the node's own range so that no column's unit of measure counts, then a point
    /// between the outermost projections.
    fn cut_direction<R: RngCore>(
        &mut self,
        rng: &mut R,
        data: ArrayView2<'_, F>,
        rows: &[u32],
        constant: &mut usize,
        trees: &mut Trees<F>,
    ) -> Option<Cut<F>> {
        let wanted = trees.terms_per_split();
        for _ in 0..DIRECTIONS {
            self.direction.clear();
            while self.direction.len() < wanted {
                let chosen = *constant + self.direction.len();
                if chosen >= self.columns.len() {
                    break;
                }
                let at = chosen + below(rng, (self.columns.len() - chosen) as u32) as usize;
                let feature = *self.columns.get(at)?;
                self.columns.swap(at, chosen);
                let half = F::cast(0.5);
                let term = self
                    .read_column(data, rows, feature)
                    .map(|(low, high)| Term {
                        weight: F::cast(normal(rng)) / (high * half - low * half),
                        middle: high * half + low * half,
                        feature,
                    });
                match term.filter(|term| term.weight.is_finite()) {
                    Some(term) => self.direction.push(term),
                    None => {
                        // Known to be constant: to the front, before those already chosen.
                        self.columns.swap(chosen, *constant);
                        *constant += 1;
                    }
                }
            }
            let &first = self.direction.first()?;
            let (low, high) = self.project(data, rows);
            if low < high {
                let threshold = between(rng, low, high);
                let padding = Term {
                    weight: F::zero(),
                    ..first
                };
                let start = trees.terms.len() as u32;
                trees.terms.extend_from_slice(&self.direction);
                trees
                    .terms
                    .extend((self.direction.len()..wanted).map(|_| padding));
                let slot = 2 * start + u32::from(self.missing_go_right(rng, threshold));
                return Some(Cut { threshold, slot });
            }
        }
        None
    }

    /// Projects the rows on the direction into `values`; gives the outermost projections.
    fn project(&mut self, data: ArrayView2<'_, F>, rows: &[u32]) -> (F, F) {
        let (mut low, mut high) = (F::infinity(), F::neg_infinity());
        self.values.clear();
        for &row in rows {
            let value = project(&self.direction, |feature| {
                data.get((row as usize, feature))
                    .copied()
                    .unwrap_or_else(F::nan)
            });
            low = if value < low { value } else { low };
            high = if value > high { value } else { high };
            self.values.push(value);
        }
        (low, high)
    }

    /// Draws the way of rows whose value is missing: either side in proportion to the known rows
    /// on it. Averaged over the trees, not knowing a value then changes nothing in the path
    /// length to be expected.
    fn missing_go_right<R: RngCore>(&self, rng: &mut R, threshold: F) -> bool {
        let count = |side: fn(F, F) -> bool| {
            self.values
                .iter()
                .fold(0, |sum, &value| sum + u32::from(side(value, threshold)))
        };
        let right = count(|value, threshold| value > threshold);
        let left = count(|value, threshold| value <= threshold);
        below(rng, left + right) < right
    }

    /// Moves the rows that go left to the front, by `values`; gives their number.
    fn partition(&mut self, rows: &mut [u32], cut: &Cut<F>) -> usize {
        let missing_right = cut.slot & 1 == 1;
        self.right.clear();
        self.right.resize(rows.len(), 0);
        let (mut on_left, mut on_right) = (0, 0);
        for (at, &value) in self.values.iter().enumerate() {
            let goes_right = value > cut.threshold || (missing_right && value.is_nan());
            let Some(&row) = rows.get(at) else { break };
            // Written to both sides, kept on one: which side cannot be guessed, so no branch.
            if let (Some(left), Some(right)) = (rows.get_mut(on_left), self.right.get_mut(on_right))
            {
                *left = row;
                *right = row;
            }
            on_right += usize::from(goes_right);
            on_left += usize::from(!goes_right);
        }
        for (place, &row) in rows.iter_mut().skip(on_left).zip(&self.right) {
            *place = row;
        }
        on_left
    }
}

/// The signed length of a row along a direction. Missing values leave their term out, as if they
/// stood in the middle of their column; if all are missing, so is the projection (`NaN`).
pub(crate) fn project<F: Float>(terms: &[Term<F>], value: impl Fn(usize) -> F) -> F {
    let mut sum = F::zero();
    let mut known = false;
    for term in terms {
        let x = value(term.feature as usize);
        if !x.is_nan() {
            sum += term.weight * (x - term.middle);
            known = true;
        }
    }
    if known { sum } else { F::nan() }
}
