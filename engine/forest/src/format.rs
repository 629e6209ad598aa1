//! The binary form of a forest.
//!
//! All numbers are little-endian; a *varint* is LEB128, at most ten bytes, no longer than needed.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `"IFOREST\n"` |
//! | 2 | version of the format: 1 |
//! | 1 | bytes of a float: 4 or 8 |
//! | 1 | 1 if a threshold is set, else 0 |
//! | 4, 4, 4 | features, trees, extension level |
//! | 8 | serial number of the next tree |
//! | 8 | threshold as `f64`, 0 if not set |
//! | | extension level 0: for each feature a varint, how many thresholds; then those, ascending |
//! | | for each tree its sub-sample's size as a varint, then its nodes, parents first, left first |
//! | 4 | CRC-32 (ISO-HDLC) of all bytes before |
//!
//! A leaf is the varint `2 × rows`. A split is the varint `2 × slot + 1`, where the slot is twice
//! the feature plus 1 if missing values go right, then as a varint the place of its threshold
//! among those of the feature. In an extended forest a split is the varint `2 × right + 1`, its
//! threshold, and for each term the feature as a varint, the weight and the middle.
//!
//! There is one form for each forest: what loads is saved again as the same bytes. Path lengths
//! are not stored but follow from the rows of the leaves. Nodes have no addresses, so there are
//! no cycles to fear; each takes a byte at least, so memory is bounded by the input's length.

use crate::error::FormatError;
use crate::forest::IsolationForest;
use crate::ranking::Ranking;
use crate::trees::{MOST_NODES, Node, Root, Term, Trees};
use linfa::Float;

const MAGIC: &[u8; 8] = b"IFOREST\n";
const VERSION: u16 = 1;
const CHECKSUM_BYTES: usize = 4;

impl<F: Float> IsolationForest<F> {
    /// The forest in its binary form: compact (70 to 130 KiB for 100 trees × 256 of `f64`),
    /// versioned, checksummed, the same on every platform. Loading it gives this forest again,
    /// bit for bit. The number of threads is not part of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let trees = self.trees();
        let mut out = Vec::with_capacity(16 * trees.nodes.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.push(width_of::<F>());
        out.push(self.threshold.is_some().into());
        for number in [trees.n_features, trees.roots.len(), trees.extension] {
            out.extend_from_slice(&(number as u32).to_le_bytes());
        }
        out.extend_from_slice(&self.next_serial.to_le_bytes());
        out.extend_from_slice(&self.threshold.unwrap_or(0.0).to_le_bytes());
        let ranks = if trees.extension == 0 {
            let (ranking, ranks) = Ranking::of(&trees);
            for feature in 0..trees.n_features {
                write_varint(&mut out, ranking.of_feature(feature).len() as u64);
            }
            ranking
                .thresholds
                .iter()
                .for_each(|&threshold| write_float(&mut out, threshold));
            ranks
        } else {
            Vec::new()
        };
        for root in &trees.roots {
            write_varint(&mut out, root.sample.into());
            write_tree(&mut out, &trees, &ranks, root.node as usize);
        }
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Loads a forest from its binary form. It scores tables with one thread; see
    /// [`with_n_threads`](Self::with_n_threads).
    ///
    /// Safe on any input: bytes that are damaged, cut off or made up by an enemy give an error,
    /// in time and memory proportional to their length (at worst some forty bytes a byte).
    ///
    /// # Errors
    ///
    /// [`FormatError`] says what is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader {
            rest: bytes,
            length: bytes.len(),
        };
        if reader.array()? != *MAGIC {
            return Err(FormatError::Magic);
        }
        let found = u16::from_le_bytes(reader.array()?);
        if found != VERSION {
            return Err(FormatError::Version {
                expected: VERSION,
                found,
            });
        }
        let Some((content, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(reader.truncated());
        };
        if reader.rest.len() < CHECKSUM_BYTES {
            return Err(reader.truncated());
        }
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return Err(FormatError::Checksum);
        }
        reader.rest = reader
            .rest
            .get(..reader.rest.len() - CHECKSUM_BYTES)
            .unwrap_or_default();
        reader.forest()
    }
}

/// One byte of the form says how wide floats are.
fn width_of<F>() -> u8 {
    if size_of::<F>() == 4 { 4 } else { 8 }
}

fn write_float<F: Float>(out: &mut Vec<u8>, value: F) {
    let value = value.to_f64().unwrap_or(f64::NAN);
    if width_of::<F>() == 4 {
        out.extend_from_slice(&(value as f32).to_le_bytes());
    } else {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_tree<F: Float>(out: &mut Vec<u8>, trees: &Trees<F>, ranks: &[u32], root: usize) {
    let mut next = vec![root];
    while let Some(at) = next.pop() {
        let (Some(node), Some(&count)) = (trees.nodes.get(at), trees.counts.get(at)) else {
            continue;
        };
        let left = node.left as usize;
        if left == at {
            write_varint(out, 2 * u64::from(count));
            continue;
        }
        if trees.extension == 0 {
            write_varint(out, 2 * u64::from(node.slot) + 1);
            write_varint(out, ranks.get(at).copied().unwrap_or(0).into());
        } else {
            write_varint(out, 2 * u64::from(node.slot & 1) + 1);
            write_float(out, node.threshold);
            let start = (node.slot / 2) as usize;
            let terms = trees.terms.get(start..start + trees.terms_per_split());
            for term in terms.unwrap_or_default() {
                write_varint(out, term.feature.into());
                write_float(out, term.weight);
                write_float(out, term.middle);
            }
        }
        next.extend([left + 1, left]);
    }
}

fn malformed(what: &'static str) -> FormatError {
    FormatError::Malformed { what }
}

/// Reads from the front of what is left.
struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl Reader<'_> {
    fn truncated(&self) -> FormatError {
        FormatError::Truncated {
            length: self.length,
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (&array, rest) = self.rest.split_first_chunk().ok_or(self.truncated())?;
        self.rest = rest;
        Ok(array)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, FormatError> {
        // Nearly all are of one byte.
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(byte.into());
        }
        let mut value = 0_u64;
        for place in 0..10 {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7F);
            if place == 9 && bits > 1 {
                return Err(malformed("a varint is above 64 bits"));
            }
            value |= bits << (7 * place);
            if byte < 0x80 {
                if byte == 0 && place > 0 {
                    return Err(malformed("a varint is longer than needed"));
                }
                return Ok(value);
            }
        }
        Err(malformed("a varint is above 64 bits"))
    }

    /// A varint below `bound`.
    #[inline]
    fn below(&mut self, bound: u64, what: &'static str) -> Result<u32, FormatError> {
        let value = self.varint()?;
        match u32::try_from(value) {
            Ok(small) if value < bound => Ok(small),
            _ => Err(malformed(what)),
        }
    }

    fn finite<F: Float>(&mut self) -> Result<F, FormatError> {
        let value = if width_of::<F>() == 4 {
            F::cast(f32::from_le_bytes(self.array()?))
        } else {
            F::cast(f64::from_le_bytes(self.array()?))
        };
        if value.is_finite() {
            Ok(value)
        } else {
            Err(malformed("a number is not finite"))
        }
    }

    fn forest<F: Float>(mut self) -> Result<IsolationForest<F>, FormatError> {
        let [found, has_threshold] = self.array()?;
        let expected = width_of::<F>();
        if found != expected {
            return Err(FormatError::Width { expected, found });
        }
        let n_features = u32::from_le_bytes(self.array()?);
        let n_trees = u32::from_le_bytes(self.array()?);
        let extension = u32::from_le_bytes(self.array()?);
        if n_trees == 0 || extension >= n_features {
            return Err(malformed(
                "no trees, no features, or more extension than features",
            ));
        }
        let next_serial = u64::from_le_bytes(self.array()?);
        let threshold = f64::from_le_bytes(self.array()?);
        let threshold = match has_threshold {
            0 if threshold.to_bits() == 0 => None,
            1 if threshold > 0.0 && threshold <= 1.0 => Some(threshold),
            _ => return Err(malformed("the threshold is outside (0, 1]")),
        };
        let mut trees = Trees::empty(n_features as usize, extension as usize);
        let mut ranks = Vec::new();
        let mut ranking = Ranking {
            offsets: vec![0],
            thresholds: Vec::new(),
        };
        if extension == 0 {
            self.thresholds(n_features, &mut ranking)?;
        }
        // A split and a leaf take about four bytes together, or those of the split's terms.
        let term = 1 + 2 * usize::from(expected);
        let pair = trees.terms_per_split().saturating_mul(term).max(4);
        let splits = self.rest.len() / pair;
        trees.nodes.reserve(2 * splits);
        trees.counts.reserve(2 * splits);
        trees.terms.reserve(splits * trees.terms_per_split());
        ranks.reserve(2 * splits);
        let mut used = vec![false; ranking.thresholds.len()];
        let mut next = Vec::new();
        for _ in 0..n_trees {
            let node = trees.push_leaf(0);
            let sample = self.below(1 << 32, "a sub-sample is too large")?;
            trees.roots.push(Root { node, sample });
            if extension == 0 {
                self.axis_tree(&mut trees, &mut next, &ranking, &mut ranks, &mut used)?;
            } else {
                self.oblique_tree(&mut trees, &mut next)?;
            }
            count_rows(&mut trees, node as usize, sample)?;
        }
        if !self.rest.is_empty() {
            return Err(malformed("something follows the last tree"));
        }
        if used.contains(&false) {
            return Err(malformed("a threshold is not used"));
        }
        let forest = IsolationForest::from_ranked(trees, ranking, &ranks);
        Ok(IsolationForest {
            threshold,
            next_serial,
            ..forest
        })
    }

    fn thresholds<F: Float>(
        &mut self,
        n_features: u32,
        ranking: &mut Ranking<F>,
    ) -> Result<(), FormatError> {
        let mut total = 0_u32;
        for _ in 0..n_features {
            let count = self.below(MOST_NODES as u64, "too many thresholds")?;
            total = total
                .checked_add(count)
                .ok_or(malformed("too many thresholds"))?;
            ranking.offsets.push(total);
        }
        if self.rest.len() / usize::from(width_of::<F>()) < total as usize {
            return Err(self.truncated());
        }
        ranking.thresholds.reserve_exact(total as usize);
        let mut from = 0;
        for &to in ranking.offsets.iter().skip(1) {
            let mut last = F::neg_infinity();
            for _ in from..to {
                let threshold = self.finite()?;
                if threshold <= last {
                    return Err(malformed("thresholds are not ascending"));
                }
                ranking.thresholds.push(threshold);
                last = threshold;
            }
            from = to;
        }
        Ok(())
    }

    /// Splits of one column below the node just pushed; `next` is empty before and after. `ranks`
    /// keeps up with the nodes.
    fn axis_tree<F: Float>(
        &mut self,
        trees: &mut Trees<F>,
        next: &mut Vec<usize>,
        ranking: &Ranking<F>,
        ranks: &mut Vec<u32>,
        used: &mut [bool],
    ) -> Result<(), FormatError> {
        let slots = 2 * trees.n_features as u64;
        ranks.push(0);
        next.push(trees.nodes.len() - 1);
        while let Some(at) = next.pop() {
            let Some(slot) = self.leaf_or_split(trees, at, slots)? else {
                continue;
            };
            let feature = (slot / 2) as usize;
            let thresholds = ranking.of_feature(feature);
            let rank = self.below(thresholds.len() as u64, "a split names no threshold")?;
            let first = ranking.offsets.get(feature).copied().unwrap_or(0) as usize;
            let threshold = thresholds
                .get(rank as usize)
                .copied()
                .unwrap_or_else(F::zero);
            if let Some(used) = used.get_mut(first + rank as usize) {
                *used = true;
            }
            if let Some(place) = ranks.get_mut(at) {
                *place = rank;
            }
            ranks.extend([0, 0]);
            next.extend(split(trees, at, threshold, slot)?);
        }
        Ok(())
    }

    /// Hyperplanes below the node just pushed.
    fn oblique_tree<F: Float>(
        &mut self,
        trees: &mut Trees<F>,
        next: &mut Vec<usize>,
    ) -> Result<(), FormatError> {
        next.push(trees.nodes.len() - 1);
        while let Some(at) = next.pop() {
            let Some(missing) = self.leaf_or_split(trees, at, 2)? else {
                continue;
            };
            let threshold = self.finite()?;
            let start = trees.terms.len();
            for _ in 0..trees.terms_per_split() {
                let feature = self.below(trees.n_features as u64, "a term names no feature")?;
                let (weight, middle) = (self.finite()?, self.finite()?);
                trees.terms.push(Term {
                    weight,
                    middle,
                    feature,
                });
            }
            if trees.terms.len() > MOST_NODES {
                return Err(malformed("too many terms"));
            }
            next.extend(split(trees, at, threshold, 2 * start as u32 + missing)?);
        }
        Ok(())
    }

    /// The slot of a split, or nothing if the node is a leaf, whose rows are then noted.
    #[inline]
    fn leaf_or_split<F>(
        &mut self,
        trees: &mut Trees<F>,
        at: usize,
        slots: u64,
    ) -> Result<Option<u32>, FormatError> {
        let word = self.varint()?;
        if word & 1 == 1 {
            return match u32::try_from(word / 2) {
                Ok(slot) if word / 2 < slots => Ok(Some(slot)),
                _ => Err(malformed("a split names no feature")),
            };
        }
        match (u32::try_from(word / 2), trees.counts.get_mut(at)) {
            (Ok(rows), Some(count)) if rows > 0 => *count = rows,
            _ => return Err(malformed("a leaf holds no rows, or too many")),
        }
        Ok(None)
    }
}

/// Makes a leaf into a split; gives its children, the left one last.
fn split<F: Float>(
    trees: &mut Trees<F>,
    at: usize,
    threshold: F,
    slot: u32,
) -> Result<[usize; 2], FormatError> {
    if trees.nodes.len() + 2 > MOST_NODES {
        return Err(malformed("too many nodes"));
    }
    let left = trees.push_leaf(0);
    let right = trees.push_leaf(0);
    if let Some(node) = trees.nodes.get_mut(at) {
        *node = Node {
            threshold,
            left,
            slot,
        };
    }
    Ok([right as usize, left as usize])
}

/// Adds up the rows of the leaves from node `first` on; they must be those of the sub-sample.
fn count_rows<F>(trees: &mut Trees<F>, first: usize, sample: u32) -> Result<(), FormatError> {
    for at in (first..trees.nodes.len()).rev() {
        let left = trees.nodes.get(at).map_or(at, |node| node.left as usize);
        if left != at {
            let below = [left, left + 1].map(|child| trees.counts.get(child).copied());
            let rows = match below {
                [Some(left), Some(right)] => left.checked_add(right),
                _ => None,
            };
            let rows = rows.ok_or(malformed("a tree holds too many rows"))?;
            if let Some(count) = trees.counts.get_mut(at) {
                *count = rows;
            }
        }
    }
    if trees.counts.get(first) == Some(&sample) {
        Ok(())
    } else {
        Err(malformed("a tree does not hold its sub-sample"))
    }
}
