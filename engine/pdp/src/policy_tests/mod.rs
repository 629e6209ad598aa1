//! Tests that policy authors write: texts in, a report out.
//!
//! A test gives a request and what is known about it, and says what must come of it. The form is
//! that of `cedar run-tests`; a test that uses nothing beyond it means what it means there and is
//! put to Cedar's own authorizer. What is added makes it a test of the ladder: the engine's own
//! climb, with facts built from what is given, and everything else unknown.
//!
//! No I/O here: the command line reads a folder ([`read_folder`]), HTTP takes a body, and both
//! call [`run`].
//!
//! Start reading at [`form`].

mod form;
mod given;
mod report;
mod run;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::{fs, io};

use policy::{Policies, SourceFile};

pub use report::{Coverage, Covered, Difference, Report, TestReport, TriedReport};
pub use run::run;

/// Most tests in one run; more is refused rather than run for minutes.
pub const MAX_TESTS: usize = 10_000;

/// What is tested.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// The policies.
    pub policies: &'a Policies,
    /// The set's entities in Cedar's JSON form, for tests that bring none of their own.
    pub entities: &'a SourceFile,
    /// Who can be asked for a step-up, where levels begin.
    pub settings: &'a risk::Settings,
}

/// Deepest folder below the tests' own.
const DEPTH_MAX: usize = 8;

/// Reads the tests of a set: the `*.json`, `*.yaml` and `*.yml` below a folder, in the order of
/// their names. Files of entities that tests name are among them, [`run`] tells them apart.
///
/// # Errors
/// When the folder or one of the files cannot be read.
pub fn read_folder(folder: &Path) -> io::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    read_below(folder, DEPTH_MAX, &mut files)?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn read_below(folder: &Path, depth: usize, files: &mut Vec<SourceFile>) -> io::Result<()> {
    let at = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    for entry in fs::read_dir(folder).map_err(|error| at(folder, error))? {
        let path = entry?.path();
        let is_test = path.extension().is_some_and(|extension| {
            ["json", "yaml", "yml"]
                .iter()
                .any(|known| extension == *known)
        });
        if path.is_dir() && depth > 0 {
            read_below(&path, depth - 1, files)?;
        } else if is_test && path.is_file() {
            let text = fs::read_to_string(&path).map_err(|error| at(&path, error))?;
            files.push(SourceFile::new(path.display().to_string(), text));
        }
    }
    Ok(())
}
