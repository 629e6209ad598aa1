//! The tables at the end.

use std::collections::BTreeMap;

use comfy_table::Table;
use domain::Rung;
use serde_json::json;
use wire::event::Label;

use super::day::Scene;
use super::watched::Watched;
use super::{Answer, Played};
use crate::cli::Failure;
use crate::cli::output::{Output, table, tell};

/// Groups shown of a file; the rest is counted.
const GROUPS_SHOWN: usize = 40;

/// The built-in day: a row a scene, and whether it ended as it must.
pub(super) fn of_day(
    played: &[Played],
    scenes: &[Scene],
    learnt: usize,
    watched: &Watched,
    output: Output,
) -> Result<(), Failure> {
    let mut rows = table(&["", "what happened", "answers", "score", "why"]);
    let mut report = Vec::new();
    let mut wrong = Vec::new();
    for scene in scenes {
        let answers: Vec<&Answer> = played
            .iter()
            .filter(|played| played.event.label.as_ref() == Some(&scene.label))
            .map(|played| &played.answer)
            .collect();
        let Some(worst) = answers
            .iter()
            .max_by_key(|answer| (rung(answer), answer.score))
        else {
            wrong.push(format!("{}: nothing was played", scene.title));
            continue;
        };
        let ended = rung(worst);
        let good = scene.ends.contains(&ended);
        let is_attack = matches!(scene.label, Label::Attack(_));
        let stopped_at = answers
            .iter()
            .position(|answer| rung(answer) != Rung::Allow);
        if !good {
            wrong.push(format!("{}: ended on {ended}", scene.title));
        }
        let mark = if good { "ok" } else { "WRONG" };
        rows.add_row([
            format!("{}\n{mark}", if is_attack { "attack" } else { "honest" }),
            scene.title.to_owned(),
            counts(&answers),
            worst.score.to_string(),
            why(worst),
        ]);
        report.push(json!({
            "scene": scene.title,
            "attack": is_attack,
            "outcome": ended.as_str(),
            "as_it_must": good,
            "score": worst.score,
            "requests": answers.len(),
            "allowed_before_first_stop": stopped_at,
            "policies": worst.policies,
            "reason_user": worst.reason_user,
            "reason_admin": worst.reason_admin,
            "factors": worst.factors.iter().map(|factor| json!({
                "contribution": factor.contribution, "reason": factor.reason,
            })).collect::<Vec<_>>(),
        }));
    }
    let ordinary: Vec<&Answer> = played
        .iter()
        .filter(|played| played.event.label.is_none())
        .map(|played| &played.answer)
        .collect();
    let denied = ordinary
        .iter()
        .filter(|answer| rung(answer) == Rung::Deny)
        .count();
    if denied > 0 {
        wrong.push(format!("{denied} ordinary requests were denied"));
    }
    wrong.extend(watched.wrong.clone());
    let summary = format!(
        "{learnt} requests of three quiet weeks to learn from, then one Wednesday. Everything \
         else on that day, {} ordinary requests: {}.",
        ordinary.len(),
        counts(&ordinary).replace('\n', ", ")
    );
    let value = json!({
        "ok": wrong.is_empty(),
        "scenes": report,
        "ordinary": outcome_counts(&ordinary),
        "learnt_from": learnt,
        "watched": watched.report,
    });
    let text = format!("{rows}\n{summary}\n{}", watched.text());
    output.print(&value, &text)?;
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Failure::No(wrong.join("; ")))
    }
}

/// A file: how many of each outcome for the same reason, and what became of labelled attacks.
pub(super) fn of_file(played: &[Played], output: Output) -> Result<(), Failure> {
    let mut groups: BTreeMap<(Rung, String, String), Vec<&Played>> = BTreeMap::new();
    for played in played {
        let kind = match &played.event.label {
            Some(Label::Attack(name)) => format!("attack {name}"),
            Some(Label::Benign(name)) => format!("honest {name}"),
            None => String::new(),
        };
        let because = because(&played.answer);
        groups
            .entry((rung(&played.answer), kind, because))
            .or_default()
            .push(played);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|((rung, ..), members)| (std::cmp::Reverse(*rung), members.len()));
    groups.reverse();
    groups.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    let mut rows: Table = table(&["outcome", "events", "label", "because", "for example"]);
    for ((rung, kind, because), members) in groups.iter().take(GROUPS_SHOWN) {
        let worst = members.iter().max_by_key(|played| played.answer.score);
        let example = worst.map(|played| {
            let request = &played.event.request;
            format!(
                "{} {} {} ({}), score {}\n{}",
                request.subject.entity,
                request.action.name,
                request.resource.entity,
                wire::time::format(played.event.time),
                played.answer.score,
                factors(&played.answer, 2)
            )
        });
        rows.add_row([
            rung.to_string(),
            members.len().to_string(),
            kind.clone(),
            because.clone(),
            example.unwrap_or_default(),
        ]);
    }
    let answers: Vec<&Answer> = played.iter().map(|played| &played.answer).collect();
    let value = json!({
        "events": played.len(),
        "outcomes": outcome_counts(&answers),
        "groups": groups.iter().map(|((rung, kind, because), members)| json!({
            "outcome": rung.as_str(),
            "label": kind,
            "because": because,
            "events": members.len(),
        })).collect::<Vec<_>>(),
    });
    let hidden = groups.len().saturating_sub(GROUPS_SHOWN);
    if hidden > 0 {
        tell(&format!(
            "{hidden} smaller groups are not shown; `--json` has them"
        ));
    }
    let summary = format!(
        "{} events: {}",
        played.len(),
        counts(&answers).replace('\n', ", ")
    );
    output.print(&value, &format!("{rows}\n{summary}"))
}

fn rung(answer: &Answer) -> Rung {
    Rung::from_word(&answer.outcome).unwrap_or(Rung::Deny)
}

fn outcome_counts(answers: &[&Answer]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(rung(answer).as_str()).or_default() += 1;
    }
    counts
}

/// `12 allow, 3 mfa`, a line each, from the bottom of the ladder.
fn counts(answers: &[&Answer]) -> String {
    let counts = outcome_counts(answers);
    let lines: Vec<String> = Rung::ALL
        .iter()
        .filter_map(|rung| Some(format!("{} {rung}", counts.get(rung.as_str())?)))
        .collect();
    lines.join("\n")
}

/// The policies that settled it, or what else did.
fn because(answer: &Answer) -> String {
    if answer.cause == "policies" {
        answer.policies.join(", ")
    } else {
        answer.cause.clone()
    }
}

/// Policies and factors, in words.
fn why(answer: &Answer) -> String {
    format!(
        "{}\n{}\n“{}”",
        because(answer),
        factors(answer, 4),
        answer.reason_user
    )
}

fn factors(answer: &Answer, most: usize) -> String {
    let lines: Vec<String> = answer
        .factors
        .iter()
        .filter(|factor| factor.contribution > 0)
        .take(most)
        .map(|factor| format!("+{} {}", factor.contribution, factor.reason))
        .collect();
    lines.join("\n")
}
