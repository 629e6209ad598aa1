//! A policy set as somebody sends it, or as the folder holds it, with its own tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use policy::SourceFile;

use crate::snapshot::{self, Fault};

/// Files of one set at most.
const FILES_MAX: usize = 10_000;
/// Longest name of a file, bytes.
const NAME_MAX: usize = 255;
/// What names of tests begin with; the folder of the same name lies beside the policies.
const TESTS: &str = "tests/";

/// The texts of a set.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Schemas and policies, in the order of their names.
    pub policies: Arc<[SourceFile]>,
    /// Its tests, by their names below `tests/`, in order.
    pub tests: Arc<[SourceFile]>,
}

impl Upload {
    /// Sorts files by what they are.
    ///
    /// # Errors
    /// Every name that is neither a policy's, nor a schema's, nor a test's.
    pub fn sorted(files: BTreeMap<String, String>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        if files.is_empty() || files.len() > FILES_MAX {
            faults.push(Fault::Other(format!(
                "`files` has {} files: 1 to {FILES_MAX}",
                files.len()
            )));
        }
        let (mut policies, mut tests) = (Vec::new(), Vec::new());
        for (name, text) in files {
            let (stem, is_test) = match name.strip_prefix(TESTS) {
                Some(below) => (below, true),
                None => (name.as_str(), false),
            };
            let ends = |ends: &[&str]| {
                Path::new(stem)
                    .extension()
                    .and_then(|found| found.to_str())
                    .is_some_and(|found| ends.contains(&found))
            };
            let is_plain = !stem.is_empty()
                && name.len() <= NAME_MAX
                && !stem.contains(['/', '\\', '\0'])
                && !stem.starts_with('.');
            if is_plain && is_test && ends(&["json", "yaml", "yml"]) {
                tests.push(SourceFile::new(name, text));
            } else if is_plain && !is_test && ends(&["cedar", "cedarschema"]) {
                policies.push(SourceFile::new(name, text));
            } else {
                faults.push(Fault::Other(format!(
                    "`files`: `{name}` is no file of a policy set: name policies `….cedar`, \
                     schemas `….cedarschema`, tests `tests/….json` or `tests/….yaml`, without \
                     further folders"
                )));
            }
        }
        if faults.is_empty() {
            Ok(Self {
                policies: policies.into(),
                tests: tests.into(),
            })
        } else {
            Err(faults)
        }
    }

    /// The set in the folder of the settings.
    ///
    /// # Errors
    /// When one of its files cannot be read.
    pub fn of_folder(settings: &crate::settings::Settings) -> Result<Self, Fault> {
        let policies = snapshot::read_folder(settings)?;
        let folder = settings.policies.join(TESTS);
        let tests = read_tests(&folder)
            .map_err(|error| Fault::Other(format!("{}: {error}", folder.display())))?;
        Ok(Self {
            policies,
            tests: tests.into(),
        })
    }

    /// The revision of its policies.
    #[must_use]
    pub fn revision(&self) -> String {
        policy::source::revision(&self.policies)
    }
}

fn read_tests(folder: &Path) -> io::Result<Vec<SourceFile>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut tests = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_test = path
            .extension()
            .is_some_and(|found| ["json", "yaml", "yml"].iter().any(|known| found == *known));
        if is_test && path.is_file() {
            tests.push(SourceFile::new(
                path.display().to_string(),
                fs::read_to_string(&path)?,
            ));
        }
    }
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_by_name_and_strangers_are_refused() {
        let files = |names: &[&str]| {
            let files = names.iter().map(|name| ((*name).to_owned(), String::new()));
            Upload::sorted(files.collect())
        };
        let sorted = files(&["b.cedar", "a.cedarschema", "tests/x.json", "tests/y.yaml"]).unwrap();
        let names: Vec<&str> = sorted
            .policies
            .iter()
            .map(|file| file.name.as_str())
            .collect();
        assert_eq!(names, ["a.cedarschema", "b.cedar"]);
        assert_eq!(sorted.tests.len(), 2);
        for name in [
            "x.txt",
            "../x.cedar",
            "a/x.cedar",
            "tests/a/x.json",
            "tests/x.cedar",
            ".cedar",
            "",
            "tests/",
            "x.json",
        ] {
            let faults = files(&["ok.cedar", name]).unwrap_err();
            assert_eq!(faults.len(), 1, "{name}: {faults:?}");
        }
        assert!(files(&[]).is_err());
    }
}
