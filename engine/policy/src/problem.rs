//! What is wrong with a policy set, said so that its author can put it right.

use std::fmt;

use crate::source::SourceFile;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The set works, but somebody will be surprised.
    Warning,
    /// The set is not loaded.
    Error,
}

/// One finding, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// Line and column, from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// The line itself.
    pub line: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Problem {
    /// An error about a whole file.
    pub fn error(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            place: None,
            line: None,
            message: message.into(),
            help: None,
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn as_warning(self) -> Self {
        Self {
            severity: Severity::Warning,
            ..self
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// The same at a byte offset of its file.
    #[must_use]
    pub fn at(self, source: &SourceFile, offset: usize) -> Self {
        let before = source.text.get(..offset).unwrap_or(&source.text);
        let row = before.matches('\n').count();
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        let line = source
            .text
            .lines()
            .nth(row)
            .map(|line| line.trim_end().to_owned());
        Self {
            file: source.name.clone(),
            place: Some((row + 1, column)),
            line,
            ..self
        }
    }

    /// A problem that Cedar found, at the first place it points to.
    pub(crate) fn from_cedar(source: &SourceFile, found: &dyn miette::Diagnostic) -> Self {
        let problem = Self::error(&source.name, found.to_string());
        let problem = match found.help() {
            Some(help) => problem.with_help(help.to_string()),
            None => problem,
        };
        match found.labels().and_then(|mut labels| labels.next()) {
            Some(label) => {
                let hint = label.label().map(str::to_owned);
                let problem = problem.at(source, label.offset());
                match hint {
                    Some(hint) if problem.help.is_none() => problem.with_help(hint),
                    _ => problem,
                }
            }
            None => problem,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        let word = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, ": {word}: {}", self.message)?;
        if let (Some((number, column)), Some(line)) = (self.place, &self.line) {
            let mark = " ".repeat(column.saturating_sub(1));
            write!(f, "\n  {number:>4} | {line}\n       | {mark}^")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n       = help: {help}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong, at once. A set with an error in it is not loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether any of them keeps the set from loading.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
