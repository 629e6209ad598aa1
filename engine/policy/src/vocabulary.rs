//! The vocabulary as a schema: what the engine offers, in Cedar's own words.
//!
//! Made from [`GROUPS`], so that the schema that authors read cannot say anything else than the
//! engine does.

use std::fmt::Write as _;

use domain::facts::{GROUPS, Kind};
use domain::signal::Source;

const HEAD: &str = "\
// The words that policies are written in. Made by `portreeve policy vocabulary`: do not change it
// here; put your own types and actions into a further `.cedarschema` file, as
// organisation.cedarschema is, and both are merged.
//
// Portreeve builds each of these records itself, from its signals and never from what a caller
// claims. `?` marks what is there only when it is known: ask with `context.signals has …` first.
// An action sees what its context type declares, and no more: say `context: Circumstances`, or
// list the groups that you need beside attributes of your own:
//
//     context: {risk: Risk, assurance: Assurance, action?: {amount?: Long}, ticket?: String}
//
// `action` are the properties of the action, as the caller sends them, and any other name is taken
// from the caller's `context`: their word, not the engine's.
";

/// The vocabulary in Cedar's schema language, with `@doc` on every type and word.
#[must_use]
pub fn schema() -> String {
    let mut text = HEAD.to_owned();
    for group in GROUPS {
        let _ = write!(
            text,
            "\n@doc({})\ntype {} = {{",
            quoted(group.doc),
            type_name(group.name)
        );
        for word in group.words {
            let mark = if word.always { "" } else { "?" };
            let kind = cedar_name(word.kind);
            let _ = write!(
                text,
                "\n    @doc({})\n    {}{mark}: {kind},",
                quoted(word.doc),
                word.name
            );
        }
        text.push_str("\n};\n");
    }
    text.push_str("\n@doc(\"Everything that the engine offers an action to look at.\")\n");
    text.push_str("type Circumstances = {\n");
    for group in GROUPS {
        let _ = writeln!(text, "    {}: {},", group.name, type_name(group.name));
    }
    let sources = Source::ALL.map(Source::name).join(", ");
    let doc = format!("The sources that failed to answer, of: {sources}.");
    let _ = writeln!(
        text,
        "    @doc({})\n    unavailable: Set<String>,\n}};",
        quoted(&doc)
    );
    text
}

/// The name of a group's type. `Session` is left to authors: theirs are entities.
fn type_name(group: &str) -> String {
    match group {
        "session" => "SessionFacts".to_owned(),
        other => {
            let mut letters = other.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        }
    }
}

/// The Cedar type of a word.
pub(crate) const fn cedar_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "Bool",
        Kind::Long => "Long",
        Kind::Text => "String",
        Kind::Address => "ipaddr",
        Kind::Moment => "datetime",
    }
}

/// A string literal. Documentation comments begin each line with a space.
fn quoted(doc: &str) -> String {
    format!(
        "\"{}\"",
        doc.trim().replace('\\', "\\\\").replace('"', "\\\"")
    )
}
