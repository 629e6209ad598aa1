//! A limit to how deep policies and schemas nest, looked at before any parser sees them.
//!
//! Cedar's parser, validator and evaluator go down with what they read. A text of some kilobytes
//! that is nothing but brackets would end the process, whoever wrote it and wherever it lies.

use crate::problem::Problem;
use crate::source::SourceFile;

/// Brackets within brackets.
const DEPTH_MAX: usize = 64;
/// Operators of one policy: a chain of them nests as deep as it is long.
const OPERATORS_MAX: usize = 500;
/// Dots of one policy: so does a chain of attributes.
const DOTS_MAX: usize = 2_000;

/// What is too deep in a file of policies or of a schema, if anything is.
pub(crate) fn refuse(file: &SourceFile) -> Option<Problem> {
    let angled = file.is_schema();
    let mut scan = Scan::default();
    let mut bytes = file.text.bytes().enumerate().peekable();
    let mut word_before = false;
    while let Some((offset, byte)) = bytes.next() {
        let next = bytes.peek().map(|(_, byte)| *byte);
        match byte {
            b'/' if next == Some(b'/') => {
                while bytes.next_if(|(_, byte)| *byte != b'\n').is_some() {}
            }
            b'"' => {
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'(' | b'[' | b'{' => scan.depth += 1,
            b'<' if angled => scan.depth += 1,
            b')' | b']' | b'}' => scan.depth = scan.depth.saturating_sub(1),
            b'>' if angled => scan.depth = scan.depth.saturating_sub(1),
            b';' => scan = Scan::default(),
            b'.' => scan.dots += 1,
            b'&' | b'|' if next == Some(byte) => scan.operators += 1,
            b'!' | b'-' | b'+' | b'*' => scan.operators += 1,
            b'i' if !word_before && next == Some(b'f') => scan.operators += 1,
            _ => {}
        }
        word_before = byte.is_ascii_alphanumeric() || byte == b'_';
        if let Some(what) = scan.excess() {
            return Some(
                Problem::error(&file.name, what)
                    .at(file, offset)
                    .of_kind("policy::too-deep")
                    .with_help("write it as several policies, or name the parts as common types"),
            );
        }
    }
    None
}

/// What was counted since the last policy ended.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    operators: usize,
    dots: usize,
}

impl Scan {
    fn excess(&self) -> Option<String> {
        if self.depth > DEPTH_MAX {
            Some(format!("brackets nest deeper than {DEPTH_MAX}"))
        } else if self.operators > OPERATORS_MAX {
            Some(format!("a policy of more than {OPERATORS_MAX} operators"))
        } else if self.dots > DOTS_MAX {
            Some(format!("a policy of more than {DOTS_MAX} dots"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(condition: &str, refused: bool) {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        let file = SourceFile::new("p.cedar", text);
        assert_eq!(super::refuse(&file).is_some(), refused, "{condition:.40}");
    }

    #[test]
    fn what_nests_without_end_is_refused_before_it_is_parsed() {
        check(
            "context.risk.score >= 30 && !(principal in Group::\"a\")",
            false,
        );
        check(&format!("{}true{}", "(".repeat(60), ")".repeat(60)), false);
        check(&"true && ".repeat(400), false);
        check(&format!("\"{}\" == \"\\\"((\"", "(".repeat(5_000)), false);
        check(&format!("true // {}\n", "[".repeat(5_000)), false);
        for nested in [
            "(",
            "[",
            "{a: ",
            "!",
            "-",
            "if true then ",
            "true && ",
            "1 + ",
            "a.",
        ] {
            check(&nested.repeat(20_000), true);
        }
    }

    #[test]
    fn schemas_have_the_same_limit() {
        for nested in ["{a: ", "Set<"] {
            let text = format!("type T = {};", nested.repeat(5_000));
            assert!(refuse(&SourceFile::new("s.cedarschema", text)).is_some());
        }
    }
}
