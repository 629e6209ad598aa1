//! Names that callers send: checked once, at the edge, so that nothing below can be fooled by
//! a character nobody sees.

use std::fmt;

/// The longest type, id or action name that is accepted, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 512;

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing between the quotes.
    Empty,
    /// More than [`MAX_NAME_BYTES`] bytes.
    TooLong,
    /// A control character, or one that prints nothing or turns the writing direction: two
    /// names that look the same must be the same.
    Invisible(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => write!(f, "is longer than {MAX_NAME_BYTES} bytes"),
            Self::Invisible(character) => write!(
                f,
                "contains U+{:04X}, a control or invisible character",
                u32::from(*character)
            ),
        }
    }
}

impl std::error::Error for NameError {}

/// A checked type, id or action name: 1 to [`MAX_NAME_BYTES`] bytes, no control and no
/// invisible characters. Quotes, spaces and any visible script are fine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a character that cannot be seen.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, NameError> {
        let text = text.into();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        // Nearly every name is printable ASCII; one pass over its bytes settles that.
        if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            && let Some(character) = text.chars().find(|c| is_invisible(*c))
        {
            return Err(NameError::Invisible(character));
        }
        Ok(Self(text))
    }

    /// The name as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Control characters (Cc), format characters (Cf), line and paragraph separators, variation
/// selectors, and the Hangul and Khmer fillers that print as nothing.
///
/// The ranges are those of Unicode 16 `Cf` and `Default_Ignorable_Code_Point`.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{034F}' | '\u{0600}'..='\u{0605}' | '\u{061C}' | '\u{06DD}'
            | '\u{070F}' | '\u{0890}'..='\u{0891}' | '\u{08E2}' | '\u{115F}'..='\u{1160}'
            | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{110BD}' | '\u{110CD}' | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// What a subject, a resource or an actor is called: a type and an id (AuthZEN 1.0 §5).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityRef {
    /// The type, for example `User`; the Cedar entity type as it stands.
    pub kind: Name,
    /// The id, unique within the type.
    pub id: Name,
}

impl EntityRef {
    /// Checks and joins both parts.
    ///
    /// # Errors
    /// As [`Name::new`], for either part.
    pub fn new(kind: impl Into<Box<str>>, id: impl Into<Box<str>>) -> Result<Self, NameError> {
        Ok(Self {
            kind: Name::new(kind)?,
            id: Name::new(id)?,
        })
    }
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{:?}", self.kind, self.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_refused_or_equal() {
        for (text, wanted) in [
            ("alice", Ok(())),
            ("o'brien \"the\" \\ admin", Ok(())),
            ("日本語", Ok(())),
            ("", Err(NameError::Empty)),
            ("ali\u{200B}ce", Err(NameError::Invisible('\u{200B}'))),
            ("alice\n", Err(NameError::Invisible('\n'))),
            ("\u{202E}ecila", Err(NameError::Invisible('\u{202E}'))),
            ("al\0ice", Err(NameError::Invisible('\0'))),
            ("\u{FEFF}alice", Err(NameError::Invisible('\u{FEFF}'))),
        ] {
            assert_eq!(Name::new(text).map(|_| ()), wanted, "{text:?}");
        }
        assert!(Name::new("x".repeat(MAX_NAME_BYTES)).is_ok());
        assert_eq!(
            Name::new("x".repeat(MAX_NAME_BYTES + 1)),
            Err(NameError::TooLong)
        );
    }
}
