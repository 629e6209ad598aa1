//! Codes for leaves: a forest has thousands of leaves but few path lengths.

use crate::path::{AveragePath, Leaf};
use crate::trees::Trees;
use std::collections::HashMap;

/// The code of a leaf that adds nothing, for trees that only fill up a group.
pub(crate) const NOTHING: u16 = 0;

/// Leaves up to this deep and with up to this many rows are found in a table, others by hash.
const TABLED_DEPTHS: usize = 12;
const TABLED_COUNTS: usize = 512;

/// Gives each different leaf a code, in the order they are first asked for.
pub(crate) struct Codes {
    average: AveragePath,
    leaves: Vec<Leaf>,
    paths: Vec<f64>,
    /// Codes by depth and count of the leaves of most trees; `NOTHING` if not given yet.
    table: Vec<u16>,
    sample: u32,
    others: HashMap<Leaf, u16>,
}

impl Codes {
    pub(crate) fn new<F>(trees: &Trees<F>) -> Self {
        let largest = trees
            .roots
            .iter()
            .map(|root| root.sample)
            .max()
            .unwrap_or(0);
        Self {
            average: AveragePath::up_to(largest),
            leaves: vec![Leaf {
                depth: 0,
                count: 0,
                sample: 0,
            }],
            paths: vec![0.0],
            table: vec![NOTHING; TABLED_DEPTHS * TABLED_COUNTS],
            sample: trees.roots.first().map_or(0, |root| root.sample),
            others: HashMap::new(),
        }
    }

    /// The code of a leaf; nothing if there are too many different ones.
    pub(crate) fn of(&mut self, leaf: Leaf) -> Option<u16> {
        let next = u16::try_from(self.leaves.len());
        let tabled = leaf.sample == self.sample && (leaf.count as usize) < TABLED_COUNTS;
        let place = leaf.depth as usize * TABLED_COUNTS + leaf.count as usize;
        let code = match self.table.get_mut(place).filter(|_| tabled) {
            Some(code) if *code != NOTHING => return Some(*code),
            Some(code) => {
                *code = next.ok()?;
                *code
            }
            None => match self.others.get(&leaf) {
                Some(&code) => return Some(code),
                None => *self.others.entry(leaf).or_insert(next.ok()?),
            },
        };
        self.leaves.push(leaf);
        self.paths.push(self.average.normalised(leaf));
        Some(code)
    }

    /// What the codes stand for, and their normalised path lengths.
    pub(crate) fn finish(self) -> (Vec<Leaf>, Vec<f64>) {
        (self.leaves, self.paths)
    }
}
