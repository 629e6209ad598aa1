//! The binary form: what loads, and that nothing else does. (B17: no pickle.)

use crate::data::{extended, holed, normal, small};
use forest::{FormatError, IsolationForest};
use linfa::prelude::*;

type Forest = IsolationForest<f64>;

/// Replaces the checksum by the right one, as an enemy would.
pub(crate) fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let checksum = crc32fast::hash(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&checksum);
    bytes
}

fn refusal(bytes: &[u8]) -> FormatError {
    Forest::from_bytes(bytes).expect_err("must be refused")
}

#[test]
fn both_kinds_and_both_floats_come_back() {
    let threaded = small(1).with_n_threads(2);
    assert_eq!(Forest::from_bytes(&threaded.to_bytes()), Ok(small(1)));
    assert_eq!(Forest::from_bytes(&extended(1).to_bytes()), Ok(extended(1)));
    let narrow = holed(200, 3, 1).mapv(|x| x as f32);
    let narrow = IsolationForest::params()
        .fit(&DatasetBase::from(narrow))
        .unwrap();
    assert_eq!(
        IsolationForest::<f32>::from_bytes(&narrow.to_bytes()),
        Ok(narrow.clone())
    );
    assert_eq!(
        refusal(&narrow.to_bytes()),
        FormatError::Width {
            expected: 8,
            found: 4
        }
    );
    // Forests that are walked the slow way: wide, and deep.
    let wide = IsolationForest::params()
        .n_trees(3)
        .fit(&DatasetBase::from(normal(50, 300, 1)));
    let wide = wide.unwrap();
    assert_eq!(Forest::from_bytes(&wide.to_bytes()), Ok(wide));
    let deep = IsolationForest::params()
        .n_trees(3)
        .sample_size(2000)
        .max_depth(99);
    let deep = deep.fit(&DatasetBase::from(normal(2000, 3, 1))).unwrap();
    assert_eq!(Forest::from_bytes(&deep.to_bytes()), Ok(deep));
}

#[test]
fn it_is_compact() {
    let forest = IsolationForest::params()
        .fit(&DatasetBase::from(normal(10_000, 10, 1)))
        .unwrap();
    assert!(
        forest.to_bytes().len() < 90 * 1024,
        "{}",
        forest.to_bytes().len()
    );
    assert!(
        forest.memory_bytes() < 140 * 1024,
        "{}",
        forest.memory_bytes()
    );
}

#[test]
fn every_cut_is_noticed() {
    for bytes in [small(1).to_bytes(), extended(1).to_bytes()] {
        for length in 0..bytes.len() {
            refusal(&bytes[..length]);
            if length >= 4 {
                refusal(&resealed(bytes[..length].to_vec()));
            }
        }
        let mut longer = bytes.clone();
        longer.insert(bytes.len() - 4, 0);
        let what = "something follows the last tree";
        assert_eq!(refusal(&resealed(longer)), FormatError::Malformed { what });
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = small(1).to_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let found = refusal(&damaged);
            let wanted = match at {
                0..8 => FormatError::Magic,
                8..10 => {
                    let found = u16::from_le_bytes([damaged[8], damaged[9]]);
                    FormatError::Version { expected: 1, found }
                }
                _ => FormatError::Checksum,
            };
            assert_eq!(found, wanted, "byte {at}, bit {bit}");
        }
    }
}

/// Where the body begins.
const BODY: usize = 40;
/// Bytes of a varint of `u64::MAX`.
const HUGE: [u8; 10] = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];

/// Files made up by someone who knows the format, with a right checksum.
#[test]
fn mutated_files_are_refused() {
    // One column, one tree on the rows 0 and 1: one cut between two leaves.
    let rows = DatasetBase::from(ndarray::array![[0.0], [1.0]]);
    let fit = |seed| {
        IsolationForest::params()
            .n_trees(1)
            .seed(seed)
            .fit(&rows)
            .unwrap()
            .to_bytes()
    };
    // One whose split sends missing values left.
    let two = (0..).map(fit).find(|file| file[BODY + 10] == 1).unwrap();
    let cut: [u8; 8] = two[BODY + 1..BODY + 9].try_into().unwrap();
    let head = |from: usize, bytes: &[u8]| {
        let mut file = two.clone();
        file[from..from + bytes.len()].copy_from_slice(bytes);
        file
    };
    let body = |parts: &[&[u8]]| [&two[..BODY], &parts.concat(), &[0; 4]].concat();
    assert_eq!(
        body(&[&[1], &cut, &[2, 1, 0, 2, 2]])[..two.len() - 4],
        two[..two.len() - 4]
    );
    let up = (f64::from_le_bytes(cut) + 1.0).to_le_bytes();
    let none = "no trees, no features, or more extension than features";
    let odd_threshold = "the threshold is outside (0, 1]";
    let not_finite = "a number is not finite";
    let no_feature = "a split names no feature";
    let no_rows = "a leaf holds no rows, or too many";
    let too_many = "a tree holds too many rows";
    let not_sample = "a tree does not hold its sub-sample";
    let beyond = "a varint is above 64 bits";
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("no features", head(12, &[0; 4]), none),
        ("no trees", head(16, &[0; 4]), none),
        ("extension of one column", head(20, &[1]), none),
        ("four thousand million features", head(12, &[0xFF; 4]), ""),
        ("four thousand million trees", head(16, &[0xFF; 4]), ""),
        (
            "threshold flag without value",
            head(11, &[1]),
            odd_threshold,
        ),
        (
            "threshold value without flag",
            head(32, &0.5_f64.to_le_bytes()),
            odd_threshold,
        ),
        ("unknown flag", head(11, &[2]), odd_threshold),
        (
            "threshold not a number",
            head(11, &[&[1][..], &[0; 20], &f64::NAN.to_le_bytes()].concat()),
            none,
        ),
        (
            "a million million thresholds",
            body(&[&HUGE]),
            "too many thresholds",
        ),
        (
            "2^30 thresholds",
            body(&[&[0x80, 0x80, 0x80, 0x80, 0x04], &cut, &[2, 1, 0, 2, 2]]),
            "",
        ),
        (
            "no thresholds",
            body(&[&[0], &[2, 1, 0, 2, 2]]),
            "a split names no threshold",
        ),
        (
            "equal thresholds",
            body(&[&[2], &cut, &cut, &[2, 1, 0, 2, 2]]),
            "thresholds are not ascending",
        ),
        (
            "falling thresholds",
            body(&[&[2], &up, &cut, &[2, 1, 0, 2, 2]]),
            "thresholds are not ascending",
        ),
        (
            "unused threshold",
            body(&[&[2], &cut, &up, &[2, 1, 0, 2, 2]]),
            "a threshold is not used",
        ),
        (
            "infinite threshold",
            body(&[&[1], &f64::INFINITY.to_le_bytes(), &[2, 1, 0, 2, 2]]),
            not_finite,
        ),
        (
            "threshold not a number",
            body(&[&[1], &f64::NAN.to_le_bytes(), &[2, 1, 0, 2, 2]]),
            not_finite,
        ),
        (
            "split on no feature",
            body(&[&[1], &cut, &[2, 5, 0, 2, 2]]),
            no_feature,
        ),
        (
            "split on feature 2^62",
            body(&[&[1], &cut, &[2], &HUGE, &[0, 2, 2]]),
            no_feature,
        ),
        (
            "split at no threshold",
            body(&[&[1], &cut, &[2, 1, 1, 2, 2]]),
            "a split names no threshold",
        ),
        (
            "leaf without rows",
            body(&[&[1], &cut, &[2, 1, 0, 4, 0]]),
            no_rows,
        ),
        (
            "leaf of 2^34 rows",
            body(&[
                &[1],
                &cut,
                &[2, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 2],
            ]),
            no_rows,
        ),
        (
            "leaves of 2^32 rows together",
            body(&[
                &[1],
                &cut,
                &[
                    2, 1, 0, 0xFE, 0xFF, 0xFF, 0xFF, 0x1F, 0xFE, 0xFF, 0xFF, 0xFF, 0x1F,
                ],
            ]),
            too_many,
        ),
        (
            "sub-sample of none",
            body(&[&[1], &cut, &[0, 1, 0, 2, 2]]),
            not_sample,
        ),
        (
            "sub-sample of three",
            body(&[&[1], &cut, &[3, 1, 0, 2, 2]]),
            not_sample,
        ),
        (
            "sub-sample of 2^64",
            body(&[&[1], &cut, &HUGE, &[1, 0, 2, 2]]),
            "a sub-sample is too large",
        ),
        (
            "long varint",
            body(&[&[1], &cut, &[0x82, 0x00, 1, 0, 2, 2]]),
            "a varint is longer than needed",
        ),
        ("endless varint", body(&[&[0xFF; 64]]), beyond),
        (
            "varint of 70 bits",
            body(&[&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]]),
            beyond,
        ),
        (
            "splits without end",
            body(&[&[1], &cut, &[2], &[1, 0].repeat(100_000)]),
            "",
        ),
        (
            "one leaf too many",
            body(&[&[1], &cut, &[2, 1, 0, 2, 2, 2]]),
            "something follows the last tree",
        ),
        ("one leaf missing", body(&[&[1], &cut, &[2, 1, 0, 2]]), ""),
    ];
    for (name, file, what) in cases {
        let found = refusal(&resealed(file.clone()));
        match *what {
            "" => assert!(
                matches!(
                    found,
                    FormatError::Truncated { .. } | FormatError::Malformed { .. }
                ),
                "{name}: {found}"
            ),
            what if *name == "threshold not a number" && what == none => {}
            what => assert_eq!(found, FormatError::Malformed { what }, "{name}"),
        }
    }
}

/// A file may be as deep as it is long; that is no reason to run out of stack.
#[test]
fn a_chain_of_splits_loads() {
    const SPLITS: usize = 50_000;
    let mut file = b"IFOREST\n\x01\x00\x08\x00".to_vec();
    for number in [1_u32, 1, 0] {
        file.extend(number.to_le_bytes());
    }
    file.extend([0; 16]);
    file.push(1);
    file.extend(0.5_f64.to_le_bytes());
    // SPLITS + 1 rows, each split with one of them on its left.
    let mut rows = (SPLITS + 1) as u64;
    while rows >= 0x80 {
        file.push(rows as u8 | 0x80);
        rows >>= 7;
    }
    file.push(rows as u8);
    (0..SPLITS).for_each(|_| file.extend([1, 0, 2]));
    file.extend([2, 0, 0, 0, 0]);
    let forest = Forest::from_bytes(&resealed(file)).unwrap();
    assert_eq!(forest.depth(), SPLITS);
    let score = forest.score_one(&[1.0]).unwrap();
    assert!(score > 0.0 && score < 1e-300);
    assert!(forest.explain(&[1.0]).unwrap().contributions[0] <= 0.0);
}

/// A file may say that any number of trees was grown before; the count then goes round.
#[test]
fn the_last_serial_number_is_no_trap() {
    let mut bytes = small(1).to_bytes();
    bytes[24..32].copy_from_slice(&(u64::MAX - 1).to_le_bytes());
    let mut forest = Forest::from_bytes(&resealed(bytes)).unwrap();
    let params = IsolationForest::params().n_threads(2);
    let dataset = DatasetBase::from(normal(100, 4, 1));
    forest.replace_oldest(5, &params, &dataset).unwrap();
    assert_eq!(forest.n_trees(), 7);
    assert_eq!(Forest::from_bytes(&forest.to_bytes()), Ok(forest));
}

#[test]
fn messages_say_what_is_wrong() {
    let bytes = small(1).to_bytes();
    assert_eq!(refusal(b"").to_string(), "cut off after 0 bytes");
    assert_eq!(refusal(b"PK\x03\x04....").to_string(), "not a saved forest");
    assert_eq!(
        refusal(&bytes[..20]).to_string(),
        "damaged: the checksum does not match"
    );
    let mut other = bytes;
    other[8] = 9;
    assert_eq!(
        refusal(&other).to_string(),
        "saved in format version 9, this reads version 1"
    );
}

#[cfg(feature = "serde")]
#[test]
fn serde_goes_through_the_binary_form() {
    let forest = small(1);
    let text = serde_json::to_string(&forest).unwrap();
    assert_eq!(serde_json::from_str::<Forest>(&text).unwrap(), forest);
    let damaged = text.replacen("73,70", "73,71", 1);
    let error = serde_json::from_str::<Forest>(&damaged)
        .unwrap_err()
        .to_string();
    assert!(error.contains("not a saved forest"), "{error}");
    let params = IsolationForest::<f64>::params()
        .n_trees(3)
        .contamination(0.2)
        .seed(9);
    let text = serde_json::to_string(&params).unwrap();
    let read: forest::IsolationForestParams<f64, rand_xoshiro::Xoshiro256Plus> =
        serde_json::from_str(&text).unwrap();
    assert_eq!(read, params);
    // Valid ones have to be.
    type Valid = forest::IsolationForestValidParams<f64, rand_xoshiro::Xoshiro256Plus>;
    assert!(serde_json::from_str::<Valid>(&text).is_ok());
    let error = serde_json::from_str::<Valid>(&text.replace("\"n_trees\":3", "\"n_trees\":0"));
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("`n_trees` must be at least 1")
    );
}
