//! What is wrong with a policy set, said so that its author can put it right.

use std::fmt;

use crate::source::SourceFile;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something that could not be decided, or is only worth knowing.
    Note,
    /// The set works, but somebody will be surprised.
    Warning,
    /// The set is not what its author means; most of these keep it from loading.
    Error,
}

impl Severity {
    /// `error`, `warning` or `note`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One finding, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of problem it is, for machines: `policy::never-matches`. It stays the same when
    /// the words change.
    pub code: &'static str,
    /// The file.
    pub file: String,
    /// Line and column, from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// The line itself.
    pub line: Option<String>,
    /// How many characters of the line it is about, from the column on; at least 1.
    pub width: usize,
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
            code: "policy::refused",
            file: file.into(),
            place: None,
            line: None,
            width: 1,
            message: message.into(),
            help: None,
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn as_warning(self) -> Self {
        self.as_bad_as(Severity::Warning)
    }

    /// The same as a note.
    #[must_use]
    pub fn as_note(self) -> Self {
        self.as_bad_as(Severity::Note)
    }

    /// The same, this bad.
    #[must_use]
    pub fn as_bad_as(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// The same of this kind.
    #[must_use]
    pub fn of_kind(self, code: &'static str) -> Self {
        Self { code, ..self }
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
        let (row, column) = source.row_and_column(offset);
        Self {
            file: source.name.clone(),
            place: Some((row + 1, column + 1)),
            line: source.row(row).map(|line| line.trim_end().to_owned()),
            ..self
        }
    }

    /// The same about so many bytes of its file, from this offset on; what is on further lines is
    /// not shown.
    #[must_use]
    pub(crate) fn over(self, source: &SourceFile, offset: usize, length: usize) -> Self {
        let text = source.text.get(offset..offset.saturating_add(length));
        let first = text.and_then(|text| text.lines().next());
        Self {
            width: first.map_or(1, |text| text.trim_end().chars().count().max(1)),
            ..self.at(source, offset)
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
                let problem = problem.over(source, label.offset(), label.len());
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
        write!(f, ": {}: {}", self.severity.word(), self.message)?;
        if let (Some((number, column)), Some(line)) = (self.place, &self.line) {
            // The same tabs under the same tabs, so that the mark stands where it should.
            let before = line.chars().take(column.saturating_sub(1));
            let indent: String = before
                .map(|letter| if letter == '\t' { '\t' } else { ' ' })
                .collect();
            let room = line.chars().count().saturating_sub(column - 1).max(1);
            let mark = "^".repeat(self.width.min(room));
            write!(f, "\n  {number:>4} | {line}\n       | {indent}{mark}")?;
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
        self.count(Severity::Error) > 0
    }

    /// How many there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let problems = self.0.iter();
        problems
            .filter(|problem| problem.severity == severity)
            .count()
    }

    /// The worst first, then by file and place.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| {
            (b.severity, &a.file, a.place, &a.message)
                .cmp(&(a.severity, &b.file, b.place, &b.message))
        });
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
