//! Which model scores: listing, promoting, rolling back, shadowing. With the engine up or down;
//! a running one notices within a second.

use std::path::PathBuf;

use clap::Args;
use risk::artifact::Metric;
use serde_json::json;
use store::Store;
use store::sqlite::ModelAct;

use super::super::output::{Output, counter, table};
use super::{Failure, open_geo, os_user, runtime};
use crate::app::create_private;
use crate::inputs::Inputs;
use crate::models::acts::{Done, RefusedError, Registry, Wish, open_both};
use crate::models::open::{self, Listed, OpenError};
use crate::models::report::Report;
use crate::models::standing::Standing;
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct PromoteArgs {
    /// `name@version`
    model: String,
    /// Measure it and the champion on these events, instead of going by each one's manifest
    #[arg(long, num_args = 1..)]
    events: Vec<PathBuf>,
    /// One database for places, networks and anonymisers instead of those in the settings
    #[arg(long, value_name = "FILE", requires = "events")]
    geo: Option<PathBuf>,
    /// By how much it may do worse, instead of `models.margin`: 0 to 1
    #[arg(long, value_parser = share)]
    margin: Option<f64>,
    /// Promote it whatever the figures say; the reason goes on record
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a number from 0 to 1".to_owned())
}

impl From<RefusedError> for Failure {
    fn from(why: RefusedError) -> Self {
        let text = why.to_string();
        match why {
            RefusedError::Store(_)
            | RefusedError::Broken(_)
            | RefusedError::NoReason
            | RefusedError::NoChampion
            | RefusedError::Model(OpenError::NotThere { .. }) => Self::Unable(text),
            RefusedError::Model(_)
            | RefusedError::AlreadyChampion(_)
            | RefusedError::Worse { .. }
            | RefusedError::NothingToRollBack(_)
            | RefusedError::Overtaken => Self::No(text),
        }
    }
}

/// Opens the registry for one thing to be done with it.
async fn registry(settings: &Settings) -> Result<Registry, Failure> {
    create_private(&settings.data_dir)?;
    let store = Store::open(&settings.store).await;
    Ok(Registry::new(settings, store.map_err(Failure::unable)?))
}

pub(super) fn promote(
    args: PromoteArgs,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let now = Inputs::system().clock.now();
    let runtime = runtime()?;
    let mut registry = runtime.block_on(registry(settings))?;
    registry.margin = args.margin.unwrap_or(registry.margin);
    let measured = if args.events.is_empty() {
        None
    } else {
        let standing = runtime.block_on(registry.standing(now))?;
        Some(measure(&args, &standing, settings)?)
    };
    let wish = Wish {
        model: args.model,
        force: args.force,
        reason: args.reason,
        measured,
    };
    let done = runtime.block_on(registry.promote(wish, &os_user(), now))?;
    let model = done.model.clone().unwrap_or_default();
    let mut text = format!(
        "{model} scores from now on, in place of {}; `portreeve model rollback` takes it back",
        done.previous
    );
    for objection in &done.overruled {
        text.push_str(&format!("\noverruled: {objection}"));
    }
    report(&done, &text, output)
}

/// The figures of the champion and of the model on the same events.
fn measure(
    args: &PromoteArgs,
    standing: &Standing,
    settings: &Settings,
) -> Result<[Vec<Metric>; 2], Failure> {
    let champion = standing.champion().ok_or(RefusedError::NoChampion)?;
    let both = open_both(&settings.models, champion, &args.model).map_err(RefusedError::from)?;
    let geo = open_geo(settings, args.geo.clone())?;
    let [champion, it] = &both;
    let bar = counter("comparing on");
    let versus = trainer::versus::versus(
        trainer::events::read(&args.events),
        &geo,
        [&champion.model, &it.model],
        &settings.risk,
        |read| bar.set_position(read as u64),
    );
    bar.finish_and_clear();
    let versus = versus.map_err(Failure::unable)?;
    Ok([versus.metrics(0), versus.metrics(1)])
}

pub(super) fn rollback(
    reason: Option<String>,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let now = Inputs::system().clock.now();
    let done = runtime()?.block_on(async {
        let registry = registry(settings).await?;
        Ok::<_, Failure>(registry.rollback(reason, &os_user(), now).await?)
    })?;
    let model = done.model.clone().unwrap_or_default();
    let text = format!("{model} scores again, in place of {}", done.previous);
    report(&done, &text, output)
}

pub(super) fn shadow(model: String, settings: &Settings, output: Output) -> Result<(), Failure> {
    let now = Inputs::system().clock.now();
    let model = (model != "off").then_some(model);
    let done = runtime()?.block_on(async {
        let registry = registry(settings).await?;
        Ok::<_, Failure>(registry.shadow(model, &os_user(), now).await?)
    })?;
    let text = match &done.model {
        Some(model) => format!(
            "{model} scores beside {}, unheard; `portreeve_shadow_…` in /metrics counts how often \
             they agree",
            done.previous
        ),
        None => format!("{} scores alone", done.previous),
    };
    report(&done, &text, output)
}

fn report(done: &Done, text: &str, output: Output) -> Result<(), Failure> {
    let value = json!({
        "model": done.model,
        "previous": done.previous,
        "compared": done.compared,
        "overruled": done.overruled,
    });
    output.print(&value, text)
}

pub(super) fn list(settings: &Settings, output: Output) -> Result<(), Failure> {
    let acts: Vec<ModelAct> = if settings.store.is_file() {
        runtime()?.block_on(async {
            let registry = registry(settings).await?;
            registry.store.model_acts().await.map_err(Failure::unable)
        })?
    } else {
        Vec::new()
    };
    let mut shown = acts.clone();
    let standing = Standing::of(&acts);
    if standing.champion().is_none()
        && let Ok(Some(choice)) = open::settle(&settings.models, &settings.champion, &standing)
    {
        // What a first start would settle on.
        let now = Inputs::system().clock.now();
        shown.push(open::settling(&settings.champion, choice, now));
    }
    let mut report = Report::of(&settings.models, shown)?;
    report.history.retain(|act| act.number > 0);
    let [_, high, _] = settings.risk.levels;
    let caught = format!("attacks ≥ {high}");
    let bothered = format!("ordinary ≥ {high}");
    let mut rows = table(&[
        "model",
        "is",
        "usable",
        "features",
        "fitted on",
        "from",
        "to",
        &caught,
        &bothered,
    ]);
    for listed in &report.models {
        let source = report
            .champion
            .as_ref()
            .map_or("", |champion| champion.source);
        let (events, from, to) = listed
            .trained_on
            .as_ref()
            .map_or_else(Default::default, |data| {
                (data.fitted.to_string(), day(&data.from), day(&data.to))
            });
        rows.add_row([
            listed.model.clone(),
            match (listed.is_champion, listed.is_challenger) {
                (true, _) => format!("champion ({source})"),
                (false, true) => "challenger".to_owned(),
                (false, false) => String::new(),
            },
            if listed.usable { "yes" } else { "NO" }.to_owned(),
            listed
                .features
                .map(|features| features.to_string())
                .unwrap_or_default(),
            events,
            from,
            to,
            percent(mean_caught(listed, high)),
            percent(
                listed
                    .metrics
                    .get(&format!("ordinary.at_or_above_{high}"))
                    .copied(),
            ),
        ]);
    }
    let mut text = rows.to_string();
    for listed in &report.models {
        if let Some(fault) = &listed.fault {
            text.push_str(&format!("\n{}: {fault}", listed.model));
        }
    }
    for act in &report.history {
        text.push_str(&format!(
            "\n{}  {} {} by {}{}{}",
            act.at,
            act.act,
            act.model.as_deref().unwrap_or("off"),
            act.by,
            if act.forced { ", forced" } else { "" },
            act.reason
                .as_ref()
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default(),
        ));
    }
    output.print(&report, &text)
}

/// The mean over attacks of the share caught, where it was measured.
fn mean_caught(listed: &Listed, least: u8) -> Option<f64> {
    let wanted = format!(".at_or_above_{least}");
    let shares: Vec<f64> = listed
        .metrics
        .iter()
        .filter(|(name, _)| name.starts_with("attack.") && name.ends_with(&wanted))
        .map(|(_, share)| *share)
        .collect();
    let count = shares.len();
    (count > 0).then(|| shares.iter().sum::<f64>() / count as f64)
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

/// The day of a moment.
fn day(text: &str) -> String {
    text.split('T').next().unwrap_or_default().to_owned()
}
