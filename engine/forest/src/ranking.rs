//! Thresholds in order: for each feature all places where some tree cuts it, sorted.
//!
//! Against this list a value becomes a rank, a small whole number, and a cut becomes a
//! comparison of ranks. Nothing is lost: `x > t` exactly if the rank of `x` is at least that of
//! `t`. The binary form stores thresholds this way too.

use crate::trees::Trees;
use linfa::Float;

/// All thresholds of an axis-parallel forest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranking<F> {
    /// Where the thresholds of each feature begin; one more than there are features.
    pub(crate) offsets: Vec<u32>,
    /// Ascending within a feature, no two the same.
    pub(crate) thresholds: Vec<F>,
}

impl<F: Float> Ranking<F> {
    /// Sorts the thresholds of a forest. Also gives for every node the place of its threshold
    /// among those of its feature (0 for leaves).
    pub(crate) fn of(trees: &Trees<F>) -> (Self, Vec<u32>) {
        let splits = || {
            let nodes = trees.nodes.iter().enumerate();
            nodes.filter(|(at, node)| node.left as usize != *at)
        };
        let mut starts = vec![0_usize; trees.n_features + 1];
        for (_, node) in splits() {
            if let Some(count) = starts.get_mut((node.slot / 2) as usize + 1) {
                *count += 1;
            }
        }
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        let mut sorted = vec![(F::zero(), 0_u32); total];
        let mut free = starts.clone();
        for (at, node) in splits() {
            if let Some(place) = free.get_mut((node.slot / 2) as usize) {
                if let Some(entry) = sorted.get_mut(*place) {
                    *entry = (node.threshold, at as u32);
                }
                *place += 1;
            }
        }
        let mut ranks = vec![0_u32; trees.nodes.len()];
        let mut ranking = Self {
            offsets: vec![0],
            thresholds: Vec::with_capacity(total),
        };
        for range in starts.windows(2) {
            let (&[from, to], first) = (range, ranking.thresholds.len()) else {
                continue;
            };
            let Some(entries) = sorted.get_mut(from..to) else {
                continue;
            };
            entries.sort_unstable_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(a.1.cmp(&b.1)));
            for &(threshold, node) in entries.iter() {
                if ranking.thresholds.len() == first
                    || ranking.thresholds.last() != Some(&threshold)
                {
                    ranking.thresholds.push(threshold);
                }
                if let Some(rank) = ranks.get_mut(node as usize) {
                    *rank = (ranking.thresholds.len() - first - 1) as u32;
                }
            }
            ranking.offsets.push(ranking.thresholds.len() as u32);
        }
        (ranking, ranks)
    }

    /// The thresholds of one feature.
    pub(crate) fn of_feature(&self, feature: usize) -> &[F] {
        let from = self.offsets.get(feature).copied().unwrap_or(0) as usize;
        let to = self.offsets.get(feature + 1).copied().unwrap_or(0) as usize;
        self.thresholds.get(from..to).unwrap_or(&[])
    }

    /// Most thresholds of any one feature.
    pub(crate) fn longest(&self) -> usize {
        let lengths = self.offsets.windows(2).map(|range| match range {
            &[from, to] => (to - from) as usize,
            _ => 0,
        });
        lengths.max().unwrap_or(0)
    }
}
