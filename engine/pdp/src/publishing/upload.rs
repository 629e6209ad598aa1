//! A policy set as somebody sends it, or as the folder holds it, with its own tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use policy::SourceFile;

use crate::policy_tests;
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
            // Tests may lie in folders; nothing else does.
            let parts: Vec<&str> = stem.split('/').collect();
            let is_plain = name.len() <= NAME_MAX
                && (is_test || parts.len() == 1)
                && !stem.contains(['\\', '\0'])
                && parts
                    .iter()
                    .all(|part| !part.is_empty() && !part.starts_with('.'));
            if is_plain && is_test && ends(&["json", "yaml", "yml"]) {
                tests.push(SourceFile::new(name, text));
            } else if is_plain && !is_test && ends(&["cedar", "cedarschema"]) {
                policies.push(SourceFile::new(name, text));
            } else {
                faults.push(Fault::Other(format!(
                    "`files`: `{name}` is no file of a policy set: name policies `….cedar`, \
                     schemas `….cedarschema`, tests `tests/….json` or `tests/….yaml`"
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

    /// The set in a folder.
    ///
    /// # Errors
    /// When one of its files cannot be read.
    pub fn of(folder: &Path) -> Result<Self, Fault> {
        let policies = snapshot::read_folder(folder)?;
        let tests = folder.join(TESTS);
        let tests = if tests.is_dir() {
            policy_tests::read_folder(&tests).map_err(|error| Fault::Other(error.to_string()))?
        } else {
            Vec::new()
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_by_name_and_strangers_are_refused() {
        let files = |names: &[&str]| {
            let files = names.iter().map(|name| ((*name).to_owned(), String::new()));
            Upload::sorted(files.collect())
        };
        let sorted =
            files(&["b.cedar", "a.cedarschema", "tests/x.json", "tests/a/y.yaml"]).unwrap();
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
            "tests/../x.json",
            "tests//x.json",
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
