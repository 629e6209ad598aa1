//! Figures of decisions, and how sure they are: bootstrap over subjects.
//!
//! Events of one subject are alike, so whole subjects are drawn (Poisson weights, the bootstrap
//! for streams of Chamandy et al. 2012), and a figure's interval is from its 2.5th to its 97.5th
//! percentile.

use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::report::Figure;
use super::rows::{Evaluation, Row, is_settled};

/// Draws of the bootstrap.
const DRAWS: usize = 200;
/// Steps of gravity, or of a baseline's suspicion.
pub(super) const STEPS: usize = 256;

/// Weights of decisions by what they really were and how grave they seemed.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    /// By kind, then by step.
    pub(super) kinds: Vec<[f64; STEPS]>,
    /// Honest subjects with history.
    pub(super) settled: [f64; STEPS],
    /// All honest events.
    pub(super) honest: [f64; STEPS],
}

impl Histogram {
    fn new(kinds: usize) -> Self {
        Self {
            kinds: vec![[0.0; STEPS]; kinds],
            settled: [0.0; STEPS],
            honest: [0.0; STEPS],
        }
    }

    /// The least step at or above which at most this share of settled honest events lies.
    pub(super) fn limit(&self, share: f64) -> usize {
        let total: f64 = self.settled.iter().sum();
        let mut above = 0.0;
        for (step, weight) in self.settled.iter().enumerate().rev() {
            above += weight;
            if above > share * total {
                return step + 1;
            }
        }
        0
    }

    /// The share of a kind at or above a step.
    pub(super) fn share(&self, kind: usize, limit: usize) -> f64 {
        self.kinds
            .get(kind)
            .map_or(0.0, |weights| share_from(weights, limit))
    }

    /// Area under the ROC curve of a kind against all honest events; ties count half.
    pub(super) fn auc(&self, kind: usize) -> f64 {
        let Some(attack) = self.kinds.get(kind) else {
            return f64::NAN;
        };
        let (attacks, honest): (f64, f64) = (attack.iter().sum(), self.honest.iter().sum());
        let mut below = 0.0;
        let mut area = 0.0;
        for (a, h) in attack.iter().zip(&self.honest) {
            area += a * (below + h / 2.0);
            below += h;
        }
        area / (attacks * honest)
    }

    /// Average precision of a kind against all honest events: mean precision over the attacks,
    /// step by step.
    pub(super) fn average_precision(&self, kind: usize) -> f64 {
        let Some(attack) = self.kinds.get(kind) else {
            return f64::NAN;
        };
        let attacks: f64 = attack.iter().sum();
        let (mut found, mut alarms, mut sum) = (0.0, 0.0, 0.0);
        for (a, h) in attack.iter().zip(&self.honest).rev() {
            found += a;
            alarms += a + h;
            if *a > 0.0 {
                sum += a * found / alarms;
            }
        }
        sum / attacks
    }
}

/// The share of the weights that lies at or above a step.
pub(super) fn share_from(weights: &[f64; STEPS], limit: usize) -> f64 {
    let total: f64 = weights.iter().sum();
    let above: f64 = weights.iter().skip(limit).sum();
    if total > 0.0 { above / total } else { f64::NAN }
}

/// Draws of subjects: the first counts everybody once.
#[derive(Debug)]
pub(super) struct Draws {
    weights: Vec<Vec<u8>>,
}

impl Draws {
    pub(super) fn new(subjects: usize) -> Self {
        let mut dice = Xoshiro256PlusPlus::seed_from_u64(0x5EED);
        let mut weights = vec![vec![1; subjects]];
        for _ in 0..DRAWS {
            weights.push((0..subjects).map(|_| poisson(dice.r#gen())).collect());
        }
        Self { weights }
    }

    /// A figure by draw: the first is the figure itself, the others say how sure it is.
    pub(super) fn figure(
        &self,
        count: usize,
        mut of: impl FnMut(&dyn Fn(&Row) -> f64) -> f64,
    ) -> Figure {
        let values: Vec<f64> = self
            .weights
            .iter()
            .map(|weights| {
                of(&|row: &Row| {
                    let subject = usize::try_from(row.subject).unwrap_or_default();
                    f64::from(weights.get(subject).copied().unwrap_or_default())
                })
            })
            .collect();
        Figure::of(&values, count)
    }

    /// The histogram of each draw.
    pub(super) fn histograms(
        &self,
        evaluation: &Evaluation,
        step: impl Fn(&Row) -> u8,
    ) -> Vec<Histogram> {
        self.weights
            .iter()
            .map(|weights| {
                let mut histogram = Histogram::new(evaluation.kinds.len());
                for row in &evaluation.rows {
                    let subject = usize::try_from(row.subject).unwrap_or_default();
                    let weight = weights.get(subject).copied().unwrap_or_default();
                    if weight == 0 {
                        continue;
                    }
                    let weight = f64::from(weight);
                    let step = usize::from(step(row));
                    let add = |slot: Option<&mut f64>| {
                        if let Some(slot) = slot {
                            *slot += weight;
                        }
                    };
                    if !evaluation.is_attack(row.kind) {
                        add(histogram.honest.get_mut(step));
                        if is_settled(row) {
                            add(histogram.settled.get_mut(step));
                        }
                    }
                    let kind = histogram.kinds.get_mut(usize::from(row.kind));
                    add(kind.and_then(|steps| steps.get_mut(step)));
                }
                histogram
            })
            .collect()
    }
}

/// A Poisson number of mean 1 from a uniform one.
fn poisson(uniform: f64) -> u8 {
    let mut left = uniform;
    let mut chance = (-1.0_f64).exp();
    for number in 0..12_u8 {
        if left < chance {
            return number;
        }
        left -= chance;
        chance /= f64::from(number) + 1.0;
    }
    12
}

/// Turns a baseline's suspicion into steps that are fine where few honest events lie.
#[derive(Debug)]
pub(super) struct Steps {
    edges: Vec<f32>,
}

impl Steps {
    pub(super) fn new(mut honest: Vec<f32>) -> Self {
        honest.sort_by(f32::total_cmp);
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a length is a valid index"
            )]
            let place = (share * honest.len() as f64) as usize;
            honest
                .get(place.min(honest.len().saturating_sub(1)))
                .copied()
        };
        // Hundredths, then tenths of what is left above them, down to one in ten thousand.
        let mut shares: Vec<f64> = (0..=99).map(|step| f64::from(step) / 100.0).collect();
        for power in 2..4 {
            let unit = 0.1_f64.powi(power);
            shares.extend((1..=45).map(|step| 1.0 - unit + unit * 0.02 * f64::from(step)));
        }
        shares.push(0.9999);
        shares.sort_by(f64::total_cmp);
        let mut edges: Vec<f32> = shares.into_iter().filter_map(at).collect();
        edges.extend(honest.last());
        edges.dedup();
        Self { edges }
    }

    /// How many of the edges a suspicion lies above.
    pub(super) fn of(&self, suspicion: f32) -> u8 {
        let above = self.edges.partition_point(|edge| *edge < suspicion);
        u8::try_from(above).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four honest events at steps 0, 1, 1, 2 and two attacks at 1 and 3.
    fn histogram() -> Histogram {
        let mut histogram = Histogram::new(1);
        for (step, weight) in [(0, 1.0), (1, 2.0), (2, 1.0)] {
            histogram.honest[step] = weight;
            histogram.settled[step] = weight;
        }
        histogram.kinds[0][1] = 1.0;
        histogram.kinds[0][3] = 1.0;
        histogram
    }

    #[test]
    fn figures_are_those_worked_out_by_hand() {
        let histogram = histogram();
        // 3 beats all four; 1 beats one, ties with two, loses to one.
        assert!((histogram.auc(0) - (4.0 + 2.0) / 8.0).abs() < 1e-12);
        // Precision 1 at step 3, 2 of 5 at step 1.
        assert!((histogram.average_precision(0) - (1.0 + 0.4) / 2.0).abs() < 1e-12);
        assert_eq!((histogram.limit(0.25), histogram.limit(0.2)), (2, 3));
        assert!((histogram.share(0, 2) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_draw_counts_each_subject_about_once() {
        let draws = Draws::new(10_000);
        let sum: u32 = draws.weights[1]
            .iter()
            .map(|weight| u32::from(*weight))
            .sum();
        assert!((9_700..10_300).contains(&sum), "{sum}");
        assert!(draws.weights[0].iter().all(|weight| *weight == 1));
    }

    #[test]
    fn steps_are_fine_in_the_tail() {
        let steps = Steps::new((0..100_000_u32).map(|number| number as f32).collect());
        let few = Steps::new(vec![0.0, 0.0, 1.0]);
        assert!(steps.of(99_990.0) > steps.of(99_900.0));
        assert!(steps.of(99_900.0) > steps.of(99_000.0));
        assert_eq!((few.of(0.0), few.of(1.0), few.of(2.0)), (0, 1, 2));
    }
}
