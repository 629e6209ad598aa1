// What the fuzz target does with its input; also run by the plain tests. Not a test by itself.

/// Loads bytes as they are and with a right checksum after them, in both widths. What loads must
/// be a forest that scores, explains, merges, replaces its trees and is saved as the same bytes.
/// True if any did.
pub(crate) fn load(bytes: &[u8]) -> bool {
    let mut sealed = bytes.to_vec();
    sealed.extend(crc32fast::hash(bytes).to_le_bytes());
    let mut any = false;
    for bytes in [bytes, &sealed] {
        any |= load_as::<f32>(bytes) | load_as::<f64>(bytes);
    }
    any
}

fn load_as<F: linfa::Float>(bytes: &[u8]) -> bool {
    let Ok(forest) = forest::IsolationForest::<F>::from_bytes(bytes) else {
        return false;
    };
    assert_eq!(
        forest.to_bytes(),
        bytes,
        "there is one form for each forest"
    );
    // A forest of hyperplanes may claim any width at no cost; rows of it are then too long to try.
    if forest.n_features() <= 4096 {
        for value in [0.0, 1.5, -1e30, f64::NAN] {
            let row = vec![F::cast(value); forest.n_features()];
            let score = forest.score_one(&row).unwrap();
            assert!(score > F::zero() && score <= F::one());
            let explained = forest.explain(&row).unwrap();
            let sum: f64 = explained.contributions.iter().sum();
            assert!((sum - (explained.score - explained.base)).abs() < 1e-9);
        }
    }
    let mut twice = forest.clone();
    twice.merge(&forest).unwrap();
    assert_eq!(twice.n_trees(), 2 * forest.n_trees());
    if (1..=4096).contains(&forest.n_features()) && forest.extension_level() < 64 {
        let rows = ndarray::Array2::from_shape_fn((3, forest.n_features()), |(row, column)| {
            F::cast(row * (column + 1))
        });
        let params = forest::IsolationForest::params().extension_level(forest.extension_level());
        let replaced = twice.replace_oldest(2, &params, &linfa::DatasetBase::from(rows));
        replaced.unwrap();
        assert_eq!(twice.n_trees(), 2 * forest.n_trees());
        let again = forest::IsolationForest::from_bytes(&twice.to_bytes());
        assert_eq!(again.unwrap(), twice);
    }
    true
}
