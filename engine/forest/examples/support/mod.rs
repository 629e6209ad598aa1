//! Labelled tables and exact measures of ranking, for the accuracy example and a test.

use ndarray::Array2;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name, rows × columns of each table; see `shared/data/README.md` for their origin.
pub(crate) const TABLES: [&str; 10] = [
    "smtp",
    "shuttle",
    "mammography",
    "annthyroid",
    "thyroid",
    "pima",
    "cardio",
    "pendigits",
    "arrhythmia",
    "letter",
];

/// A table and which of its rows are anomalies.
pub(crate) struct Table {
    pub(crate) records: Array2<f64>,
    pub(crate) anomalous: Vec<bool>,
}

/// Where the tables are: beside the workspace, if at all.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/anomaly");
    folder.is_dir().then_some(folder)
}

/// Reads `NAME.csv.gz`: a header, then numbers, the label last. Unpacks with the system's `gzip`.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Table, String> {
    let file = folder.join(format!("{name}.csv.gz"));
    let output = Command::new("gzip").arg("-dc").arg(&file).output();
    let output = output.map_err(|error| format!("cannot run gzip: {error}"))?;
    let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    let (mut values, mut anomalous) = (Vec::new(), Vec::new());
    for line in text.lines().skip(1) {
        let (row, label) = line
            .rsplit_once(',')
            .ok_or(format!("{name}: no label: {line}"))?;
        for value in row.split(',') {
            values.push(
                value
                    .parse()
                    .map_err(|_| format!("{name}: not a number: {value}"))?,
            );
        }
        anomalous.push(label.starts_with('1'));
    }
    let columns = values.len().checked_div(anomalous.len()).unwrap_or(0);
    let records = Array2::from_shape_vec((anomalous.len(), columns), values);
    Ok(Table {
        records: records.map_err(|error| format!("{name}: {error}"))?,
        anomalous,
    })
}

/// How well scores rank anomalies first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranking {
    /// Area under the ROC curve: the chance that an anomaly scores above an ordinary row, ties
    /// counting half.
    pub(crate) auc: f64,
    /// Average precision: Σ (recallₙ − recallₙ₋₁) × precisionₙ over the distinct scores.
    pub(crate) average_precision: f64,
    /// Share of the anomalies found by the lowest threshold that flags at most 1 % of the others.
    pub(crate) recall_at_1_percent: f64,
}

/// Measures exactly, rows of equal score always together.
pub(crate) fn rank(scores: impl Iterator<Item = f64>, anomalous: &[bool]) -> Ranking {
    let mut rows: Vec<(f64, bool)> = scores.zip(anomalous.iter().copied()).collect();
    rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let anomalies = anomalous.iter().filter(|&&anomaly| anomaly).count() as f64;
    let others = anomalous.len() as f64 - anomalies;
    let (mut hits, mut alarms) = (0.0, 0.0);
    let mut ranking = Ranking {
        auc: 0.0,
        average_precision: 0.0,
        recall_at_1_percent: 0.0,
    };
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let found = tied.iter().filter(|row| row.1).count() as f64;
        let wrong = tied.len() as f64 - found;
        ranking.auc += wrong * (hits + found / 2.0);
        hits += found;
        alarms += wrong;
        ranking.average_precision += found / anomalies * hits / (hits + alarms);
        if alarms <= 0.01 * others {
            ranking.recall_at_1_percent = hits / anomalies;
        }
    }
    ranking.auc /= anomalies * others;
    ranking
}

/// Mean and sample standard deviation.
pub(crate) fn mean_and_sd(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}
