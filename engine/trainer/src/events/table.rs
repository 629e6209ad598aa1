//! Events in Parquet files: one row an event, in the columns of [`wire::row`].
//!
//! Bounded memory both ways: what is written goes out a row group at a time, what is read comes
//! in a batch at a time.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use domain::Timestamp;
use parquet::basic::{Compression, ConvertedType, LogicalType, TimeUnit, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnDescriptor;
use wire::Event;
use wire::row::{FLAGS, Row, TEXTS};

/// Rows in a group: what a writer holds in memory, some ten megabytes.
const GROUP_ROWS: usize = if cfg!(test) { 1 << 10 } else { 1 << 16 };
/// Rows that are read at once.
const BATCH_ROWS: usize = 1 << 12;
/// What a Parquet file begins with.
const MAGIC: &[u8; 4] = b"PAR1";

/// Whether this file is to be read as Parquet: by its name, or by its first bytes.
pub(super) fn is_table(path: &Path) -> bool {
    has_name_of_table(path) || begins_as_table(path).unwrap_or(false)
}

fn begins_as_table(path: &Path) -> io::Result<bool> {
    // A pipe would lose what is read here.
    if !path.metadata()?.is_file() {
        return Ok(false);
    }
    let mut start = [0; MAGIC.len()];
    File::open(path)?.read_exact(&mut start)?;
    Ok(start == *MAGIC)
}

pub(super) fn has_name_of_table(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

fn schema() -> String {
    let mut text = "message event {\nrequired int64 time (timestamp(millis,true));\n".to_owned();
    for (name, required) in TEXTS {
        let manner = if required { "required" } else { "optional" };
        text.push_str(&format!("{manner} binary {name} (string);\n"));
    }
    for name in FLAGS {
        text.push_str(&format!("optional boolean {name};\n"));
    }
    text + "}"
}

/// A column of text on its way out: all values in one buffer.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    /// Where each value ends.
    ends: Vec<usize>,
    /// 1 where there is a value, 0 where not.
    levels: Vec<i16>,
}

impl Texts {
    fn push(&mut self, value: Option<&str>) {
        self.levels.push(i16::from(value.is_some()));
        if let Some(value) = value {
            self.bytes.extend_from_slice(value.as_bytes());
            self.ends.push(self.bytes.len());
        }
    }

    fn take(&mut self) -> (Vec<ByteArray>, Vec<i16>) {
        let all = ByteArray::from(std::mem::take(&mut self.bytes));
        let mut start = 0;
        let values = self.ends.drain(..).map(|end| {
            let value = all.slice(start, end - start);
            start = end;
            value
        });
        (values.collect(), std::mem::take(&mut self.levels))
    }
}

/// Writes events as a table. The file is one only when it is finished.
pub(super) struct TableWriter {
    to: SerializedFileWriter<Box<dyn Write + Send>>,
    times: Vec<i64>,
    texts: [Texts; TEXTS.len()],
    flags: [(Vec<bool>, Vec<i16>); FLAGS.len()],
}

impl TableWriter {
    pub(super) fn new(to: Box<dyn Write + Send>) -> io::Result<Self> {
        let schema = parse_message_type(&schema()).map_err(io::Error::other)?;
        // Snappy: every reader knows it, and it costs next to nothing.
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let to = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties));
        Ok(Self {
            to: to.map_err(io::Error::other)?,
            times: Vec::new(),
            texts: Default::default(),
            flags: Default::default(),
        })
    }

    pub(super) fn write(&mut self, event: &Event) -> io::Result<()> {
        let row = Row::of(event);
        self.times.push(row.time.millis());
        for (column, value) in self.texts.iter_mut().zip(&row.texts) {
            column.push(value.as_deref());
        }
        for ((values, levels), value) in self.flags.iter_mut().zip(row.flags) {
            levels.push(i16::from(value.is_some()));
            values.extend(value);
        }
        if self.times.len() == GROUP_ROWS {
            self.write_group().map_err(io::Error::other)?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.times.is_empty() {
            self.write_group().map_err(io::Error::other)?;
        }
        let mut to = self.to.into_inner().map_err(io::Error::other)?;
        to.flush()
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.to.next_row_group()?;
        // Columns come in the order of the schema.
        if let Some(mut column) = group.next_column()? {
            let times = std::mem::take(&mut self.times);
            column
                .typed::<Int64Type>()
                .write_batch(&times, None, None)?;
            column.close()?;
        }
        for ((_, required), texts) in TEXTS.iter().zip(&mut self.texts) {
            if let Some(mut column) = group.next_column()? {
                let (values, levels) = texts.take();
                let levels = (!required).then_some(levels.as_slice());
                let typed = column.typed::<ByteArrayType>();
                typed.write_batch(&values, levels, None)?;
                column.close()?;
            }
        }
        for (values, levels) in &mut self.flags {
            if let Some(mut column) = group.next_column()? {
                let typed = column.typed::<BoolType>();
                typed.write_batch(values, Some(levels), None)?;
                column.close()?;
            }
            values.clear();
            levels.clear();
        }
        group.close()?;
        Ok(())
    }
}

/// What a column of a file is to us.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// The time, and how many of its units make a millisecond.
    Time { per_milli: i64 },
    /// This one of [`TEXTS`].
    Text(usize),
    /// This one of [`FLAGS`].
    Flag(usize),
}

/// Reads a table's rows. Columns are found by name, in any order; others are passed over.
pub(super) struct TableReader {
    file: SerializedFileReader<File>,
    columns: Vec<(usize, Meaning)>,
    next_group: usize,
    group: Vec<(ColumnReader, Meaning)>,
    left_in_group: usize,
    batch: std::vec::IntoIter<Row>,
}

impl TableReader {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let file = guarded(|| SerializedFileReader::new(file))?;
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        let mut columns = Vec::new();
        for (position, column) in schema.columns().iter().enumerate() {
            if let Some(meaning) = meaning(column).map_err(io::Error::other)? {
                columns.push((position, meaning));
            }
        }
        let has = |name: &str| {
            columns.iter().any(|(_, meaning)| match meaning {
                Meaning::Time { .. } => name == "time",
                Meaning::Text(text) => TEXTS.get(*text).is_some_and(|(known, _)| *known == name),
                Meaning::Flag(_) => false,
            })
        };
        let required = TEXTS.iter().filter(|(_, required)| *required);
        let mut missing = std::iter::once("time").chain(required.map(|(name, _)| *name));
        if let Some(name) = missing.find(|name| !has(name)) {
            return Err(io::Error::other(format!(
                "there is no column `{name}`: a table of events has time, subject_type, \
                 subject_id, action, resource_type and resource_id at least"
            )));
        }
        Ok(Self {
            file,
            columns,
            next_group: 0,
            group: Vec::new(),
            left_in_group: 0,
            batch: Vec::new().into_iter(),
        })
    }

    /// The next row; none after the last.
    pub(super) fn next_row(&mut self) -> io::Result<Option<Row>> {
        loop {
            if let Some(row) = self.batch.next() {
                return Ok(Some(row));
            }
            if self.left_in_group > 0 {
                guarded(|| self.read_batch())?;
            } else if self.next_group < self.file.num_row_groups() {
                guarded(|| self.open_group())?;
            } else {
                return Ok(None);
            }
        }
    }

    fn open_group(&mut self) -> Result<(), ParquetError> {
        let group = self.file.get_row_group(self.next_group)?;
        self.next_group += 1;
        self.left_in_group = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        self.group.clear();
        for (position, meaning) in &self.columns {
            self.group
                .push((group.get_column_reader(*position)?, *meaning));
        }
        Ok(())
    }

    fn read_batch(&mut self) -> Result<(), ParquetError> {
        let count = self.left_in_group.min(BATCH_ROWS);
        let mut rows = vec![Row::default(); count];
        for (column, meaning) in &mut self.group {
            match (column, *meaning) {
                (ColumnReader::Int64ColumnReader(column), Meaning::Time { per_milli }) => {
                    fill(column, &mut rows, |row, value| {
                        let millis = value.div_euclid(per_milli);
                        row.time = Timestamp::from_millis(millis);
                        if row.time.millis() == millis {
                            Ok(())
                        } else {
                            Err("`time` lies before 1970 or after 9999")
                        }
                    })?;
                }
                (ColumnReader::ByteArrayColumnReader(column), Meaning::Text(text)) => {
                    fill(column, &mut rows, |row, value: ByteArray| {
                        let Ok(value) = String::from_utf8(value.data().to_vec()) else {
                            return Err("text that is no UTF-8");
                        };
                        if let Some(place) = row.texts.get_mut(text) {
                            *place = Some(value);
                        }
                        Ok(())
                    })?;
                }
                (ColumnReader::BoolColumnReader(column), Meaning::Flag(flag)) => {
                    fill(column, &mut rows, |row, value| {
                        if let Some(place) = row.flags.get_mut(flag) {
                            *place = Some(value);
                        }
                        Ok(())
                    })?;
                }
                // The file says another type in the group than in its schema.
                _ => return Err(ParquetError::General("damaged schema".to_owned())),
            }
        }
        self.left_in_group -= count;
        self.batch = rows.into_iter();
        Ok(())
    }
}

/// The library panics over some damaged files; to us they are files that cannot be read. What it
/// was reading is not touched again.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> io::Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ParquetError::General("the file is damaged".to_owned())))
        .map_err(io::Error::other)
}

/// What a column is to us; none when it is nothing. Refuses one of the right name and the wrong
/// type: to pass it over would lose what it says.
fn meaning(column: &ColumnDescriptor) -> Result<Option<Meaning>, String> {
    let [name] = column.path().parts() else {
        return Ok(None);
    };
    let text = TEXTS.iter().position(|(known, _)| known == name);
    let flag = FLAGS.iter().position(|known| known == name);
    let (meaning, wanted) = if name == "time" {
        let per_milli = per_milli(column)?;
        (Meaning::Time { per_milli }, PhysicalType::INT64)
    } else if let Some(text) = text {
        (Meaning::Text(text), PhysicalType::BYTE_ARRAY)
    } else if let Some(flag) = flag {
        (Meaning::Flag(flag), PhysicalType::BOOLEAN)
    } else {
        return Ok(None);
    };
    if column.physical_type() != wanted || column.max_rep_level() != 0 || column.max_def_level() > 1
    {
        return Err(format!(
            "column `{name}` is {}, and should be {wanted}",
            column.physical_type()
        ));
    }
    Ok(Some(meaning))
}

fn per_milli(column: &ColumnDescriptor) -> Result<i64, String> {
    let unit = match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Timestamp(time)), _) if time.is_adjusted_to_u_t_c => Some(time.unit),
        (None, ConvertedType::TIMESTAMP_MILLIS) => Some(TimeUnit::MILLIS),
        (None, ConvertedType::TIMESTAMP_MICROS) => Some(TimeUnit::MICROS),
        _ => None,
    };
    match unit {
        Some(TimeUnit::MILLIS) => Ok(1),
        Some(TimeUnit::MICROS) => Ok(1000),
        Some(TimeUnit::NANOS) => Ok(1_000_000),
        None => Err(
            "column `time` is no timestamp in UTC: write it as timestamp(millis), with a zone"
                .to_owned(),
        ),
    }
}

/// Reads the values of one column into its rows.
fn fill<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    rows: &mut [Row],
    mut put: impl FnMut(&mut Row, T::T) -> Result<(), &'static str>,
) -> Result<(), ParquetError> {
    let mut values: Vec<T::T> = Vec::with_capacity(rows.len());
    let mut levels: Vec<i16> = Vec::with_capacity(rows.len());
    let mut read = 0;
    while read < rows.len() {
        let more = column.read_records(rows.len() - read, Some(&mut levels), None, &mut values)?;
        if more.0 == 0 {
            return Err(ParquetError::EOF(
                "a column has fewer rows than the others".to_owned(),
            ));
        }
        read += more.0;
    }
    let mut values = values.into_iter();
    let mut levels = levels.into_iter();
    for row in rows {
        // A column that every row must have has no levels.
        if levels.next().is_none_or(|level| level == 1)
            && let Some(value) = values.next()
        {
            put(row, value).map_err(|why| ParquetError::General(why.to_owned()))?;
        }
    }
    Ok(())
}
