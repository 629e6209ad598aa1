// What the fuzz target does with its input; also run by the plain tests. Not a test by itself.

/// Loads bytes as they are and with a right checksum after them, in both widths. What loads must
/// be a forest that scores, explains, merges and is saved as the same bytes. True if any did.
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
    true
}
