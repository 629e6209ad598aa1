//! The body of the fuzz target, here on mutations with fixed seeds.

use crate::data::{extended, holed, small};
use forest::IsolationForest;
use linfa::prelude::*;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;

#[path = "../fuzz_body.rs"]
mod fuzz_body;

/// A file of the narrower float.
fn narrow(seed: u64) -> Vec<u8> {
    let dataset = DatasetBase::from(holed(100, 3, 1).mapv(|x| x as f32));
    let params = IsolationForest::params().n_trees(5).sample_size(32);
    params.seed(seed).fit(&dataset).unwrap().to_bytes()
}

/// Files of version 1 as they were first written, less their checksums: what the fuzzer starts
/// from, and what has to load as long as there is a version 1.
#[test]
fn seeds_load() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seeds");
    let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert_eq!(seeds.len(), 6);
    for seed in seeds {
        let path = seed.unwrap().path();
        assert!(fuzz_body::load(&std::fs::read(&path).unwrap()), "{path:?}");
    }
}

#[test]
fn mutations_load_or_are_refused() {
    let mut rng = Xoshiro256Plus::seed_from_u64(1);
    let mut loaded = 0;
    for seed in 0..40 {
        let file = match seed % 3 {
            0 => small(seed).to_bytes(),
            1 => extended(seed).to_bytes(),
            _ => narrow(seed),
        };
        for _ in 0..50 {
            let mut bytes = file[..file.len() - 4].to_vec();
            for _ in 0..rng.gen_range(1..4) {
                let at = rng.gen_range(0..bytes.len());
                match rng.gen_range(0..5) {
                    0 => bytes[at] = rng.r#gen(),
                    1 => bytes[at] ^= 1 << rng.gen_range(0..8),
                    2 => bytes.truncate(at.max(1)),
                    3 => bytes.insert(at, rng.r#gen()),
                    _ => {
                        let from = rng.gen_range(0..bytes.len());
                        bytes.swap(at, from);
                    }
                }
            }
            loaded += usize::from(fuzz_body::load(&bytes));
        }
        assert!(fuzz_body::load(&file[..file.len() - 4]));
    }
    // Thresholds and places of thresholds may be changed without harm: some still load.
    assert!(loaded > 20, "{loaded}");
    for length in 0..64 {
        let noise: Vec<u8> = (0..length).map(|_| rng.r#gen()).collect();
        assert!(!fuzz_body::load(&noise));
    }
}
