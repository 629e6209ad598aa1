//! Templates and their links: one policy text for many pairs of principal and resource.
//!
//! A `*.links.json` file beside the policies has the form that Cedar's command line takes for
//! template-linked policies. A link counts as a policy like any other: it has an id of its own,
//! and its scope is the one with the slots filled in.

use std::collections::{BTreeSet, HashMap};

use cedar_policy::{EntityUid, PolicyId, PolicySet, SlotId, Template};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::load::{Places, offset_of};
use crate::problem::Problem;
use crate::source::SourceFile;

const FORM: &str = "links are a JSON array of {\"template_id\":\"…\",\"link_id\":\"…\",\
                    \"args\":{\"?principal\":\"User::\\\"…\\\"\",\"?resource\":\"…\"}}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    template_id: String,
    link_id: String,
    args: Args,
}

/// The slots that Cedar knows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    #[serde(rename = "?principal")]
    principal: Option<String>,
    #[serde(rename = "?resource")]
    resource: Option<String>,
}

impl Args {
    /// What is filled in, by slot.
    fn given(&self) -> impl Iterator<Item = (SlotId, &str)> {
        let principal = self.principal.as_deref();
        let resource = self.resource.as_deref();
        let principal = principal.map(|text| (SlotId::principal(), text));
        principal
            .into_iter()
            .chain(resource.map(|text| (SlotId::resource(), text)))
    }
}

/// Links the templates of a set by the `*.links.json` among the files; a template that nothing
/// links is reported, because it decides nothing.
pub(crate) fn link<'a>(
    files: &'a [SourceFile],
    set: &mut PolicySet,
    places: &mut Places<'a>,
    problems: &mut Vec<Problem>,
) {
    // Where a link is wrong, what it would have linked is not known.
    let mut wrong = false;
    let mut linked: BTreeSet<PolicyId> = BTreeSet::new();
    for file in files.iter().filter(|file| file.is_links()) {
        let links = match serde_json::from_str::<Vec<Link>>(&file.text) {
            Ok(links) => links,
            Err(error) => {
                let offset = offset_in(&file.text, error.line(), error.column());
                problems.push(
                    Problem::error(&file.name, without_place(&error.to_string()))
                        .at(file, offset)
                        .of_kind("policy::links")
                        .with_help(FORM),
                );
                wrong = true;
                continue;
            }
        };
        for (link, offset) in links.iter().zip(offsets(&file.text)) {
            linked.insert(PolicyId::new(&link.template_id));
            let id = PolicyId::new(&link.link_id);
            if let Err((message, help)) = add(link, &id, set, places) {
                let problem = Problem::error(&file.name, message)
                    .of_kind("policy::links")
                    .with_help(help);
                problems.push(problem.at(file, offset));
                wrong = true;
            } else {
                places.insert(id, (file, offset));
            }
        }
    }
    let unlinked = |template: &&Template| !wrong && !linked.contains(template.id());
    let mut lonely: Vec<Problem> = set
        .templates()
        .filter(unlinked)
        .filter_map(|template| {
            let (file, offset) = places.get(template.id())?;
            let problem = Problem::error(
                &file.name,
                format!(
                    "nothing links the template `{}`, so it decides nothing",
                    template.id()
                ),
            );
            Some(
                problem
                    .at(file, *offset)
                    .of_kind("policy::template")
                    .with_help(format!(
                        "write the principal or resource in place of the slot, or put \
                 [{{\"template_id\":{:?},\"link_id\":\"…\",\"args\":{{…}}}}] into a `*.links.json`",
                        template.id().to_string()
                    )),
            )
        })
        .collect();
    problems.append(&mut lonely);
}

/// What is wrong, and what to do.
type Fault = (String, String);

/// Adds one link, or says what is wrong with it.
fn add(link: &Link, id: &PolicyId, set: &mut PolicySet, places: &Places<'_>) -> Result<(), Fault> {
    if link.link_id.trim().is_empty() {
        let help = "name what the link is for: answers and records name it";
        return Err(("`link_id` is empty".to_owned(), help.to_owned()));
    }
    if places.contains_key(id) {
        let message = format!("`link_id` `{id}` is taken");
        return Err((message, stands(id, places)));
    }
    let template_id = PolicyId::new(&link.template_id);
    let Some(template) = set.template(&template_id) else {
        return Err(no_template(&template_id, set));
    };
    let slots: BTreeSet<SlotId> = template.slots().cloned().collect();
    let mut filled: HashMap<SlotId, EntityUid> = HashMap::new();
    for (slot, text) in link.args.given() {
        if !slots.contains(&slot) {
            let names: Vec<String> = slots.iter().map(|slot| format!("`{slot}`")).collect();
            let message = format!("the template `{template_id}` has no slot `{slot}`");
            return Err((message, format!("it has {}", names.join(" and "))));
        }
        let uid = text.parse::<EntityUid>().map_err(|_| {
            let help = "write its type and its id in quotes, in JSON \"User::\\\"alice\\\"\"";
            (format!("`{slot}` is no entity: `{text}`"), help.to_owned())
        })?;
        filled.insert(slot, uid);
    }
    if let Some(slot) = slots.iter().find(|slot| !filled.contains_key(*slot)) {
        return Err((
            format!("`args` leave out `{slot}` of the template `{template_id}`"),
            format!("add \"{slot}\":\"TYPE::\\\"ID\\\"\""),
        ));
    }
    set.link(template_id, id.clone(), filled)
        .map_err(|error| (error.to_string(), FORM.to_owned()))
}

fn no_template(id: &PolicyId, set: &PolicySet) -> Fault {
    if set.policy(id).is_some() {
        let help = "a link needs a template: write `principal == ?principal` or \
                    `resource in ?resource` in its scope";
        return (format!("`{id}` is a policy without slots"), help.to_owned());
    }
    let known: BTreeSet<&PolicyId> = set.templates().map(Template::id).collect();
    let known: Vec<String> = known.iter().map(|id| format!("`{id}`")).collect();
    let help = if known.is_empty() {
        let id = id.to_string();
        format!("there is none at all: write one with `@id({id:?})` in a `*.cedar` file")
    } else {
        format!("templates are called by their `@id`: {}", known.join(", "))
    };
    (format!("there is no template `{id}`"), help)
}

/// Where an id stands that something else wants.
pub(crate) fn stands(id: &PolicyId, places: &Places<'_>) -> String {
    let place = places.get(id).map(|(file, offset)| {
        let problem = Problem::error("", "").at(file, *offset);
        format!("{}:{}", file.name, problem.place.unwrap_or_default().0)
    });
    format!("it stands at {} already", place.unwrap_or_default())
}

/// Where a template stands.
pub(crate) fn place_of(template: &Template) -> usize {
    offset_of(template.as_ref().loc())
}

/// Where the elements of a JSON array begin, in bytes.
fn offsets(text: &str) -> Vec<usize> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    let start = text.as_ptr().addr();
    let begins = |element: &&RawValue| element.get().as_ptr().addr().saturating_sub(start);
    elements.iter().map(begins).collect()
}

/// The byte that a line and a column of serde's mean, both from 1.
fn offset_in(text: &str, line: usize, column: usize) -> usize {
    let before = line.saturating_sub(1);
    let lines: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    lines + column.saturating_sub(1)
}

/// The message without the place, which is told beside it.
fn without_place(message: &str) -> &str {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(what, _)| what)
}

#[cfg(test)]
mod tests;
