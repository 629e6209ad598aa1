//! `portreeve policy fmt`: policies in one form.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use ::policy::{SourceFile, format};
use clap::Args;
use serde_json::json;
use similar::TextDiff;
use tempfile::NamedTempFile;

use crate::cli::Failure;
use crate::cli::output::{Output, line};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct FmtArgs {
    /// Files and folders of `*.cedar`; `policies.dir` of the settings by default
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Another folder than that of the settings
    #[arg(long, value_name = "DIR", conflicts_with = "paths")]
    dir: Option<PathBuf>,
    /// Write nothing: print what would change; 1 when something would
    #[arg(long)]
    check: bool,
    /// Read one file from standard input and print it
    #[arg(long, conflicts_with_all = ["paths", "dir"])]
    stdin: bool,
}

/// A file that is not in its form.
struct Change {
    name: String,
    /// None for standard input.
    path: Option<PathBuf>,
    diff: String,
    text: String,
}

pub(super) fn run(args: &FmtArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let files = files(args, settings)?;
    let mut changes = Vec::new();
    let mut faults = Vec::new();
    for (path, file) in &files {
        match format::pretty(file) {
            Ok(text) if text == file.text => {
                if args.stdin && !args.check && !output.json {
                    return written(&text);
                }
            }
            Ok(text) => changes.push(Change {
                name: file.name.clone(),
                path: path.clone(),
                diff: diff(file, &text),
                text,
            }),
            Err(problems) => faults.push(problems.to_string()),
        }
    }
    if !args.check {
        for change in &changes {
            match &change.path {
                Some(path) => write(path, &change.text)?,
                None if output.json => {}
                None => written(&change.text)?,
            }
        }
    }
    let report = json!({
        "ok": faults.is_empty() && (changes.is_empty() || !args.check),
        "files": files.len(),
        "changed": changes
            .iter()
            .map(|change| json!({ "file": change.name, "diff": change.diff, "text": change.text }))
            .collect::<Vec<_>>(),
        "faults": faults,
    });
    let mut text: Vec<String> = changes
        .iter()
        .filter(|_| args.check)
        .map(|change| change.diff.trim_end().to_owned())
        .collect();
    text.extend(faults.iter().cloned());
    if !args.stdin || args.check {
        let what = if args.check {
            "would change"
        } else {
            "changed"
        };
        text.push(format!("{} of {} files {what}", changes.len(), files.len()));
    }
    if output.json || !text.is_empty() {
        output.print(&report, &text.join("\n"))?;
    }
    match (faults.is_empty(), args.check && !changes.is_empty()) {
        (false, _) => Err(Failure::No("not every file could be formatted".to_owned())),
        (true, true) => Err(Failure::No("run `portreeve policy fmt`".to_owned())),
        (true, false) => Ok(()),
    }
}

fn files(
    args: &FmtArgs,
    settings: &Settings,
) -> Result<Vec<(Option<PathBuf>, SourceFile)>, Failure> {
    if args.stdin {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(vec![(None, SourceFile::new("standard input", text))]);
    }
    let folder = args.dir.as_ref().unwrap_or(&settings.policies);
    let paths = if args.paths.is_empty() {
        std::slice::from_ref(folder)
    } else {
        &args.paths
    };
    let unable =
        |path: &Path, error: io::Error| Failure::Unable(format!("{}: {error}", path.display()));
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inside = ::policy::source::read_folder(path);
            let inside = inside.map_err(|error| unable(path, error))?;
            let policies = inside.into_iter().filter(|file| !file.is_schema());
            found.extend(policies.map(|file| (Some(PathBuf::from(&file.name)), file)));
        } else {
            let text = fs::read_to_string(path).map_err(|error| unable(path, error))?;
            let file = SourceFile::new(path.display().to_string(), text);
            found.push((Some(path.clone()), file));
        }
    }
    Ok(found)
}

fn diff(file: &SourceFile, text: &str) -> String {
    let (before, after) = (format!("a/{}", file.name), format!("b/{}", file.name));
    TextDiff::from_lines(file.text.as_str(), text)
        .unified_diff()
        .context_radius(3)
        .header(&before, &after)
        .to_string()
}

/// The text as it is, with no line added to it.
fn written(text: &str) -> Result<(), Failure> {
    match text.strip_suffix('\n') {
        Some(text) => line(text),
        None => Ok(()),
    }
}

/// Puts a text in the place of a file, whole or not at all: an engine may watch the folder.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let unable =
        |error: &dyn std::fmt::Display| Failure::Unable(format!("{}: {error}", path.display()));
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let put = || -> io::Result<NamedTempFile> {
        // A link stays a link: what it leads to is written.
        let permissions = fs::metadata(path)?.permissions();
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(permissions)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    let file = put().map_err(|error| unable(&error))?;
    let target = fs::canonicalize(path).map_err(|error| unable(&error))?;
    file.persist(target).map_err(|error| unable(&error.error))?;
    Ok(())
}
