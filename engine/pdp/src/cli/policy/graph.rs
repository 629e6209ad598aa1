//! `portreeve policy graph`: which policies have a say in which requests, by their scopes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ::policy::{Directory, Policies, Reach, RequestKind};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Where;
use crate::cli::Failure;
use crate::cli::output::{Output, table};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct GraphArgs {
    #[command(flatten)]
    place: Where,
    /// How to show it
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
    /// This action alone: its id, `read`
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// These principals alone: a type, `User`, or one of them with its stored groups,
    /// `User::"alice"`
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For people
    Table,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
}

/// What is to be shown.
struct Graph {
    kinds: Vec<RequestKind>,
    /// Policies that have a say in some of the kinds.
    reach: Vec<Reach>,
}

pub(super) fn run(args: &GraphArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let files = args.place.policies(settings)?;
    let policies = Policies::load(&files).map_err(|problems| Failure::No(problems.to_string()))?;
    let directory = match args.place.entities(settings)? {
        Some(file) => Directory::load(&file, &policies),
        None => Directory::empty(&policies),
    };
    let directory = directory.map_err(|problems| Failure::No(problems.to_string()))?;
    let graph = select(args, &policies, &directory)?;
    let text = match args.format {
        Form::Table => in_words(&graph),
        Form::Dot => dot(&graph),
        Form::Mermaid => mermaid(&graph),
    };
    output.print(&in_json(&graph), text.trim_end())
}

fn select(args: &GraphArgs, policies: &Policies, directory: &Directory) -> Result<Graph, Failure> {
    let (kinds, mut reach) = policies.reach();
    let mut shown: BTreeSet<usize> = (0..kinds.len()).collect();
    let keep = |shown: &mut BTreeSet<usize>, test: &dyn Fn(&RequestKind) -> bool| {
        shown.retain(|kind| kinds.get(*kind).is_some_and(test));
    };
    if let Some(wanted) = &args.action {
        let whole = format!("Action::\"{wanted}\"");
        keep(&mut shown, &|kind| {
            kind.action == *wanted
                || kind.action == whole
                || kind.action.ends_with(&format!("::{whole}"))
        });
        if shown.is_empty() {
            let names = kinds.iter().map(|kind| kind.action.as_str());
            return Err(unknown("action", wanted, names));
        }
    }
    if let Some(wanted) = &args.principal {
        let kind = wanted.split("::\"").next().unwrap_or(wanted).to_owned();
        keep(&mut shown, &|known| known.principal == kind);
        if shown.is_empty() {
            let names = kinds.iter().map(|kind| kind.principal.as_str());
            return Err(unknown("principal", wanted, names));
        }
        if kind != *wanted {
            let admitted = policies.open_to(directory, wanted).ok_or_else(|| {
                Failure::Unable(format!("{wanted} is no principal: write `{kind}::\"id\"`"))
            })?;
            let mut admitted = admitted.into_iter();
            reach.retain(|_| admitted.next().unwrap_or_default());
        }
    }
    for policy in &mut reach {
        policy.kinds.retain(|kind| shown.contains(kind));
    }
    reach.retain(|policy| !policy.kinds.is_empty());
    // Only what is shown is numbered.
    let numbers: BTreeMap<usize, usize> = shown.iter().copied().zip(0..).collect();
    for policy in &mut reach {
        let kinds = policy.kinds.iter();
        policy.kinds = kinds
            .filter_map(|kind| numbers.get(kind).copied())
            .collect();
    }
    let kinds = kinds.into_iter().enumerate();
    let kinds = kinds.filter(|(position, _)| shown.contains(position));
    Ok(Graph {
        kinds: kinds.map(|(_, kind)| kind).collect(),
        reach,
    })
}

fn unknown<'a>(what: &str, wanted: &str, names: impl Iterator<Item = &'a str>) -> Failure {
    let names: BTreeSet<&str> = names.collect();
    let names: Vec<&str> = names.into_iter().collect();
    Failure::No(format!(
        "the schema has no {what} {wanted} that a request could name; it has: {}",
        names.join(", ")
    ))
}

/// The policies with a say in each kind: permits, and forbids.
fn by_kind(graph: &Graph) -> Vec<(Vec<&Reach>, Vec<&Reach>)> {
    let mut found = vec![(Vec::new(), Vec::new()); graph.kinds.len()];
    for policy in &graph.reach {
        for kind in &policy.kinds {
            if let Some((permits, forbids)) = found.get_mut(*kind) {
                let side = if policy.permits { permits } else { forbids };
                side.push(policy);
            }
        }
    }
    found
}

fn ids(policies: &[&Reach], between: &str) -> String {
    let ids: Vec<&str> = policies.iter().map(|policy| &*policy.policy.id).collect();
    ids.join(between)
}

fn in_words(graph: &Graph) -> String {
    // Kinds with the same policies share a row.
    let mut rows: Vec<((String, String), Vec<&RequestKind>)> = Vec::new();
    let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (kind, (permits, forbids)) in graph.kinds.iter().zip(by_kind(graph)) {
        let key = (ids(&permits, "\n"), ids(&forbids, "\n"));
        let place = *places.entry(key.clone()).or_insert(rows.len());
        if place == rows.len() {
            rows.push((key, Vec::new()));
        }
        if let Some((_, kinds)) = rows.get_mut(place) {
            kinds.push(kind);
        }
    }
    let mut shown = table(&["request", "permits", "forbids"]);
    for ((permits, forbids), kinds) in rows {
        let kinds: Vec<String> = kinds
            .iter()
            .map(|kind| format!("{} {} {}", kind.principal, kind.action, kind.resource))
            .collect();
        let permits = if permits.is_empty() {
            "(none: denied)".to_owned()
        } else {
            permits
        };
        shown.add_row([kinds.join("\n"), permits, forbids]);
    }
    shown.to_string()
}

fn in_json(graph: &Graph) -> Value {
    let kinds = graph.kinds.iter().zip(by_kind(graph));
    let names = |policies: &[&Reach]| -> Vec<String> {
        let ids = policies.iter().map(|policy| policy.policy.id.to_string());
        ids.collect()
    };
    json!({
        "requests": kinds
            .map(|(kind, (permits, forbids))| {
                json!({
                    "action": kind.action,
                    "principal": kind.principal,
                    "resource": kind.resource,
                    "permits": names(&permits),
                    "forbids": names(&forbids),
                })
            })
            .collect::<Vec<_>>(),
        "policies": graph
            .reach
            .iter()
            .map(|policy| {
                json!({
                    "id": policy.policy.id,
                    "effect": effect(policy),
                    "file": policy.file,
                    "principal": policy.principal,
                    "resource": policy.resource,
                    "any_action": policy.any_action,
                    "conditional": policy.conditional,
                })
            })
            .collect::<Vec<_>>(),
    })
}

const fn effect(policy: &Reach) -> &'static str {
    if policy.permits { "permit" } else { "forbid" }
}

/// The edges: a policy, an action, and the types that it is about there.
fn edges(graph: &Graph) -> Vec<(usize, String, String)> {
    let mut edges = Vec::new();
    for (position, policy) in graph.reach.iter().enumerate() {
        let mut actions: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
        for kind in policy
            .kinds
            .iter()
            .filter_map(|kind| graph.kinds.get(*kind))
        {
            let (principals, resources) = actions.entry(&kind.action).or_default();
            principals.insert(&kind.principal);
            resources.insert(&kind.resource);
        }
        for (action, (principals, resources)) in actions {
            let list = |types: BTreeSet<&str>| types.into_iter().collect::<Vec<_>>().join(", ");
            let label = format!("{} on {}", list(principals), list(resources));
            edges.push((position, action.to_owned(), label));
        }
    }
    edges
}

fn dot(graph: &Graph) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = String::from("digraph policies {\n  rankdir=LR;\n  node [shape=box];\n");
    for (position, policy) in graph.reach.iter().enumerate() {
        let colour = if policy.permits {
            "darkgreen"
        } else {
            "firebrick"
        };
        let label = quoted(&policy.policy.id);
        let _ = writeln!(text, "  p{position} [label={label}, color={colour}];");
    }
    let actions: BTreeSet<&str> = graph.kinds.iter().map(|kind| &*kind.action).collect();
    for action in actions {
        let _ = writeln!(text, "  {} [shape=ellipse];", quoted(action));
    }
    for (policy, action, label) in edges(graph) {
        let (action, label) = (quoted(&action), quoted(&label));
        let _ = writeln!(text, "  p{policy} -> {action} [label={label}];");
    }
    text.push_str("}\n");
    text
}

fn mermaid(graph: &Graph) -> String {
    // Mermaid takes HTML entities, without the ampersand's.
    let quoted = |text: &str| {
        let text = text.replace('#', "#35;").replace('"', "#quot;");
        format!("\"{}\"", text.replace('<', "#lt;").replace('>', "#gt;"))
    };
    let mut text = String::from("flowchart LR\n");
    for (position, policy) in graph.reach.iter().enumerate() {
        let label = quoted(&policy.policy.id);
        let _ = writeln!(text, "  p{position}[{label}]:::{}", effect(policy));
    }
    let actions: BTreeSet<&str> = graph.kinds.iter().map(|kind| &*kind.action).collect();
    let numbers: BTreeMap<&str, usize> = actions.into_iter().zip(0..).collect();
    for (action, number) in &numbers {
        let _ = writeln!(text, "  a{number}([{}])", quoted(action));
    }
    for (policy, action, label) in edges(graph) {
        if let Some(number) = numbers.get(action.as_str()) {
            let _ = writeln!(text, "  p{policy} -->|{}| a{number}", quoted(&label));
        }
    }
    text.push_str("  classDef permit stroke:#2e7d32\n  classDef forbid stroke:#c62828\n");
    text
}
