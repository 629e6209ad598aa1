//! One form for all policies: Cedar's own formatter, with nothing lost.

use cedar_policy_formatter::{Config, policies_str_to_pretty};

use crate::problem::{Problem, Problems};
use crate::source::SourceFile;

/// How wide lines may get, characters.
const WIDTH: usize = 100;

/// The text of a file of policies in Cedar's form.
///
/// # Errors
/// When the file does not parse, or a comment would get lost.
pub fn pretty(file: &SourceFile) -> Result<String, Problems> {
    use std::str::FromStr as _;
    // For its messages: the formatter's own say nothing of where.
    if let Err(errors) = cedar_policy::PolicySet::from_str(&file.text) {
        let problems = errors
            .iter()
            .map(|error| Problem::from_cedar(file, error).of_kind("cedar::syntax"));
        return Err(Problems(problems.collect()));
    }
    let refused = |why: String| {
        let problem = Problem::error(&file.name, why).of_kind("policy::not-formatted");
        Problems(vec![problem.with_help("the file is left as it is")])
    };
    let config = Config {
        line_width: WIDTH,
        indent_width: 4,
    };
    let mut text = policies_str_to_pretty(&file.text, &config)
        .map_err(|error| refused(format!("cannot be formatted: {error}")))?;
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    if comments(&text) != comments(&file.text) {
        return Err(refused("a comment would get lost".to_owned()));
    }
    Ok(text)
}

/// The comments of a text, in their order.
fn comments(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/']) {
        let (_, from) = rest.split_at(at);
        rest = if from.starts_with("//") {
            let end = from.find('\n').unwrap_or(from.len());
            let (comment, after) = from.split_at(end);
            found.push(comment.trim_end());
            after
        } else if let Some(inside) = from.strip_prefix('"') {
            after_string(inside)
        } else {
            from.get(1..).unwrap_or_default()
        };
    }
    found
}

/// What follows a string whose opening quote was taken.
fn after_string(inside: &str) -> &str {
    let mut escaped = false;
    for (at, letter) in inside.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return inside.get(at + 1..).unwrap_or_default(),
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_survive_and_the_form_is_settled() {
        let text = "// Above.\n@id(\"a//b\") // beside\npermit(principal,action, // what\n\
                    resource) when{context.x==\"\\\"// none\" && // why\ntrue};\n// The end.\n";
        let file = SourceFile::new("a.cedar", text);
        let once = pretty(&file).unwrap();
        assert_ne!(once, text);
        let told = comments(&once);
        assert_eq!(
            told,
            ["// Above.", "// beside", "// what", "// why", "// The end."]
        );
        let again = pretty(&SourceFile::new("a.cedar", once.clone())).unwrap();
        assert_eq!(again, once);
    }

    #[test]
    fn what_does_not_parse_is_told_with_its_place() {
        let file = SourceFile::new("a.cedar", "permit(principal, action);\n");
        let problems = pretty(&file).unwrap_err();
        assert_eq!(problems.0[0].code, "cedar::syntax");
        assert!(problems.0[0].place.is_some());
        assert_eq!(pretty(&SourceFile::new("a.cedar", "")).unwrap(), "");
    }
}
