//! Two models on the same events: how often they agree, and where they do not.

use std::path::PathBuf;

use clap::Args;
use domain::Factor;
use serde_json::{Value, json};
use trainer::versus::{Example, Opinion, Tally, Versus};
use wire::event::WrittenEvent;

use super::super::output::{Output, counter, table};
use super::{Failure, open_geo};
use crate::models::acts::RefusedError;
use crate::models::open::{self, Opened};
use crate::models::shadow::LEVELS;
use crate::settings::Settings;

/// Factors of an example that are shown to people.
const FACTORS: usize = 5;

#[derive(Debug, Args)]
pub(in crate::cli) struct CompareArgs {
    /// `name` or `name@version`
    first: String,
    /// Another one
    second: String,
    /// Files of events in order of time; `.gz` is unpacked
    #[arg(long, required = true, num_args = 1..)]
    events: Vec<PathBuf>,
    /// One database for places, networks and anonymisers instead of those in the settings
    #[arg(long, value_name = "FILE")]
    geo: Option<PathBuf>,
    /// Examples of disagreement, one of each way to disagree, the widest apart first
    #[arg(long, default_value_t = 10)]
    examples: usize,
}

pub(super) fn run(args: &CompareArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let opened = |name: &str| open::open(&settings.models, name).map_err(RefusedError::from);
    let both = [opened(&args.first)?, opened(&args.second)?];
    let geo = open_geo(settings, args.geo.clone())?;
    let [first, second] = &both;
    let bar = counter("comparing on");
    let versus = trainer::versus::versus(
        trainer::events::read(&args.events),
        &geo,
        [&first.model, &second.model],
        &settings.risk,
        |read| bar.set_position(read as u64),
    );
    bar.finish_and_clear();
    let versus = versus.map_err(Failure::unable)?;
    let examples: Vec<&Example> = versus.examples.iter().take(args.examples).collect();
    let value = as_value(&both, &versus, &examples);
    let text = as_text(&both, &versus, &examples, settings.risk.levels);
    output.print(&value, &text)
}

fn as_value(both: &[Opened; 2], versus: &Versus, examples: &[&Example]) -> Value {
    let kinds = versus.kinds.iter().map(|(kind, tally)| {
        json!({
            "kind": kind,
            "events": tally.events,
            "agree": tally.agree,
            "at_or_above": tally.above,
            "mean_difference": mean_difference(tally),
        })
    });
    let opinion = |opinion: &Opinion| {
        json!({
            "score": opinion.score,
            "model_score": opinion.model_score,
            "rule_score": opinion.rule_score,
            "level": level(opinion),
            "factors": opinion.factors.iter().map(factor).collect::<Vec<_>>(),
        })
    };
    json!({
        "models": both.each_ref().map(|opened| &opened.choice.model),
        "events": versus.events,
        "agree": versus.agree(),
        "kinds": kinds.collect::<Vec<_>>(),
        "metrics": [versus.metrics(0), versus.metrics(1)],
        "examples": examples.iter().map(|example| json!({
            "kind": example.kind,
            "alike": example.alike,
            "event": WrittenEvent { event: &example.event, as_question: false },
            "scores": example.scores.each_ref().map(opinion),
        })).collect::<Vec<_>>(),
    })
}

fn factor(factor: &Factor) -> Value {
    json!({
        "feature": factor.feature,
        "value": factor.value,
        "contribution": factor.contribution,
        "reason": factor.reason,
    })
}

fn as_text(both: &[Opened; 2], versus: &Versus, examples: &[&Example], levels: [u8; 3]) -> String {
    let names = both.each_ref().map(|opened| opened.choice.model.as_str());
    let least = levels.map(|level| level.to_string()).join(" / ");
    let headers: Vec<String> = ["kind", "events", "agree"]
        .into_iter()
        .map(str::to_owned)
        .chain(names.map(|name| format!("{name} ≥ {least}")))
        .chain(["difference".to_owned()])
        .collect();
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut rows = table(&headers);
    for (kind, tally) in &versus.kinds {
        let share = |count: usize| percent(count, tally.events);
        let mut row = vec![kind.clone(), tally.events.to_string(), share(tally.agree)];
        row.extend(tally.above.map(|above| above.map(share).join(" / ")));
        row.push(format!("{:+.2}", mean_difference(tally)));
        rows.add_row(row);
    }
    let mut text = format!(
        "{rows}\n{} of {} events on the same level ({})",
        versus.agree(),
        versus.events,
        percent(versus.agree(), versus.events)
    );
    for example in examples {
        let request = &example.event.request;
        text.push_str(&format!(
            "\n\n{} ({} alike)\n  {}  {} {} {}{}",
            example.kind,
            example.alike,
            wire::time::format(example.event.time),
            request.subject.entity,
            request.action.name.as_str(),
            request.resource.entity,
            request
                .context
                .ip
                .map(|ip| format!(" from {ip}"))
                .unwrap_or_default(),
        ));
        for (name, opinion) in names.iter().zip(&example.scores) {
            text.push_str(&format!(
                "\n  {name}: {} ({})",
                opinion.score,
                level(opinion)
            ));
            for factor in opinion.factors.iter().take(FACTORS) {
                text.push_str(&format!(
                    "\n    {:+4}  {}",
                    factor.contribution, factor.reason
                ));
            }
        }
    }
    text
}

fn level(opinion: &Opinion) -> &'static str {
    LEVELS.get(opinion.level).copied().unwrap_or_default()
}

fn mean_difference(tally: &Tally) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let sum = tally.difference as f64;
    sum / tally.events.max(1) as f64
}

fn percent(part: usize, of: usize) -> String {
    format!("{:.2} %", part as f64 / of.max(1) as f64 * 100.0)
}
