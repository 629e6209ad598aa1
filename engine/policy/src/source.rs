//! Policy files as they stand on disk, and the revision that names their content.

use std::path::Path;
use std::{fs, io};

use aws_lc_rs::digest::{Context, SHA256};

/// One file of a policy set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name as messages show it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Where its lines begin: looked for once, as a set may have a message for each of its
    /// thousands of policies.
    rows: Vec<usize>,
}

impl SourceFile {
    /// A file that exists only in memory.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        Self {
            name: name.into(),
            rows: [0].into_iter().chain(ends).collect(),
            text,
        }
    }

    /// Its name without the folder: what the revision is made from.
    #[must_use]
    pub fn base_name(&self) -> &str {
        let base = Path::new(&self.name).file_name();
        base.and_then(|base| base.to_str()).unwrap_or(&self.name)
    }

    /// The row and the column, in characters and both from 0, of a byte offset; the end of the
    /// text for what lies behind it.
    pub(crate) fn row_and_column(&self, offset: usize) -> (usize, usize) {
        let offset = if self.text.is_char_boundary(offset) {
            offset
        } else {
            self.text.len()
        };
        let row = self.rows.partition_point(|start| *start <= offset) - 1;
        let start = self.rows.get(row).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        (row, before.chars().count())
    }

    /// The text of a row, from 0.
    pub(crate) fn row(&self, row: usize) -> Option<&str> {
        let start = *self.rows.get(row)?;
        self.text.get(start..)?.lines().next()
    }

    /// Whether it is a schema (`*.cedarschema`).
    #[must_use]
    pub fn is_schema(&self) -> bool {
        self.name.ends_with(".cedarschema")
    }

    /// Whether it links templates (`*.links.json`).
    #[must_use]
    pub fn is_links(&self) -> bool {
        self.name.ends_with(".links.json")
    }

    /// Whether it holds policies: anything else.
    #[must_use]
    pub fn is_policies(&self) -> bool {
        !self.is_schema() && !self.is_links()
    }
}

/// Reads the `*.cedarschema`, `*.cedar` and `*.links.json` files of a folder, in the order of
/// their names.
/// Folders inside it (`examples`, `tests`) are not part of the set.
///
/// # Errors
/// When the folder or one of the files cannot be read.
pub fn read_folder(folder: &Path) -> io::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.to_string_lossy();
        let is_source = [".cedar", ".cedarschema", ".links.json"]
            .iter()
            .any(|end| name.ends_with(end));
        if is_source && path.is_file() {
            let text = fs::read_to_string(&path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
            files.push(SourceFile::new(path.display().to_string(), text));
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The revision of a set: the first 32 hex digits of a SHA-256 over names and texts, so that
/// the same content has the same revision wherever it lies, and nobody makes two of one name.
#[must_use]
pub fn revision(files: &[SourceFile]) -> String {
    let mut context = Context::new(&SHA256);
    for file in files {
        for part in [file.base_name(), &file.text] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
    }
    hex::encode(context.finish().as_ref().get(..16).unwrap_or_default())
}
