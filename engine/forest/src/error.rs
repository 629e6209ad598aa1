//! What can go wrong, one type for each thing a caller does.

use thiserror::Error;

/// Why parameters were refused or a forest could not be fitted.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum IsolationForestError {
    /// A parameter is outside its range.
    #[error("parameter `{name}` must be {range}, but is `{value}`")]
    InvalidParameter {
        /// Name of the setter.
        name: &'static str,
        /// The value that was set.
        value: String,
        /// The values it may have.
        range: String,
    },
    /// Both ways to say where anomalies begin were set.
    #[error(
        "parameters `contamination` (`{contamination}`) and `threshold` (`{threshold}`) exclude \
         each other: set one of them"
    )]
    TwoThresholds {
        /// The contamination that was set.
        contamination: f64,
        /// The threshold that was set.
        threshold: f64,
    },
    /// There is no row, or no column, to learn from.
    #[error("cannot fit on {rows} rows of {columns} columns: at least one of each is needed")]
    NoData {
        /// Rows given.
        rows: usize,
        /// Columns given.
        columns: usize,
    },
    /// A value is `∞` or `−∞`. (`NaN` is a missing value and welcome.)
    #[error("value in row {row}, column {column} is infinite")]
    Infinite {
        /// Row of the first such value; counted over all chunks when streaming.
        row: usize,
        /// Column of the first such value.
        column: usize,
    },
    /// New data has another width than the data before.
    #[error("expected {expected} columns, found {found}")]
    WrongWidth {
        /// Columns of the forest, or of the first chunk.
        expected: usize,
        /// Columns given.
        found: usize,
    },
    /// The forest would need more than 2³¹ nodes or hyperplane terms.
    #[error(
        "a forest of {trees} trees on {sample} rows each may need more than 2³¹ nodes or \
         hyperplane terms, too many to index"
    )]
    TooLarge {
        /// Trees asked for.
        trees: usize,
        /// Rows of each sub-sample.
        sample: usize,
    },
    /// New trees do not fit the forest they are meant for.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// An error of linfa itself.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

/// Why a row got no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RowError {
    /// The row has not as many values as the forest has features.
    #[error("expected a row of {expected} values, found {found}")]
    WrongLength {
        /// Features of the forest.
        expected: usize,
        /// Values in the row.
        found: usize,
    },
    /// The buffer for contributions has not as many places as the forest has features.
    #[error("expected room for {expected} contributions, found {found}")]
    WrongOutput {
        /// Features of the forest.
        expected: usize,
        /// Places in the buffer.
        found: usize,
    },
    /// A value is `∞` or `−∞`. (`NaN` is a missing value and welcome.)
    #[error("value in column {column} is infinite")]
    Infinite {
        /// Column of the first such value.
        column: usize,
    },
}

/// Why two forests cannot become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// They were fitted on tables of different width.
    #[error("cannot merge a forest of {right} features into one of {left}")]
    Features {
        /// Features of the forest merged into.
        left: usize,
        /// Features of the other.
        right: usize,
    },
    /// They cut in different ways.
    #[error("cannot merge a forest of extension level {right} into one of level {left}")]
    Extension {
        /// Extension level of the forest merged into.
        left: usize,
        /// Extension level of the other.
        right: usize,
    },
    /// Together they have more than 2³¹ nodes or terms.
    #[error("the merged forest is too large to index")]
    TooLarge,
}

/// Why bytes are not a forest. Whatever the bytes are, loading ends in a forest or in one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes do not begin as a forest does.
    #[error("not a saved forest")]
    Magic,
    /// The bytes were written by another version of the format.
    #[error("saved in format version {found}, this reads version {expected}")]
    Version {
        /// The version this crate reads and writes.
        expected: u16,
        /// The version found.
        found: u16,
    },
    /// The forest is of the other float type.
    #[error("saved with {found}-byte numbers, asked for {expected}-byte ones")]
    Width {
        /// Size of the wanted float type in bytes.
        expected: u8,
        /// Size of the saved float type in bytes.
        found: u8,
    },
    /// The bytes end too early.
    #[error("cut off after {length} bytes")]
    Truncated {
        /// Bytes given.
        length: usize,
    },
    /// The checksum at the end is not that of the bytes before it.
    #[error("damaged: the checksum does not match")]
    Checksum,
    /// The checksum matches but the content makes no sense; `what` says where.
    #[error("not a well-formed forest: {what}")]
    Malformed {
        /// The rule that is broken.
        what: &'static str,
    },
}
