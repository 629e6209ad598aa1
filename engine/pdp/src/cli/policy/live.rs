//! Which policies decide: publishing, shadowing, promoting, going back. With the engine up or
//! down; a running one notices within a second.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use store::Store;

use crate::app::create_private;
use crate::cli::output::{Output, table};
use crate::cli::{Failure, os_user, runtime};
use crate::inputs::Inputs;
use crate::publishing::acts::{Doer, Done, RefusedError, Registry};
use crate::publishing::report::{Act, Report};
use crate::publishing::standing::Standing;
use crate::publishing::upload::Upload;
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct WhyArgs {
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Only if this set is there: the live one, or for `promote` and `drop` the one in the shadow
    #[arg(long, value_name = "REVISION")]
    expected: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SetArgs {
    /// The set's folder, with its tests in `tests`
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    why: WhyArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ActsArgs {
    /// The last so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    last: usize,
}

/// What is done with policy sets.
pub(super) enum Deed {
    Publish(PathBuf),
    Shadow(PathBuf),
    Promote,
    Drop,
    Rollback,
}

impl From<RefusedError> for Failure {
    fn from(error: RefusedError) -> Self {
        let text = error.to_string();
        match error {
            RefusedError::Store(_) | RefusedError::Broken(_) | RefusedError::NoWhy => {
                Self::Unable(text)
            }
            RefusedError::Faults(_)
            | RefusedError::Unexpected { .. }
            | RefusedError::LiveAlready(_)
            | RefusedError::NoShadow
            | RefusedError::NothingBefore(_)
            | RefusedError::NeverLive
            | RefusedError::Gone(_)
            | RefusedError::Overtaken => Self::No(text),
        }
    }
}

pub(super) fn publish(args: SetArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    run(Deed::Publish(args.dir), args.why, settings, output)
}

pub(super) fn shadow(args: SetArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    run(Deed::Shadow(args.dir), args.why, settings, output)
}

pub(super) fn run(
    deed: Deed,
    why: WhyArgs,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let doer = Doer {
        by: os_user(),
        at: Inputs::system().clock.now(),
        why: why.why,
        expected: why.expected,
    };
    let of = |folder: PathBuf| Upload::of(&folder).map_err(|fault| Failure::unable(&fault));
    let (done, text) = runtime()?.block_on(async {
        let registry = registry(settings).await?;
        let done = match deed {
            Deed::Publish(folder) => {
                let done = registry.publish(of(folder)?, doer).await?;
                let text = if done.changed {
                    format!("{} decides from now on{}", done.revision, instead(&done))
                } else {
                    format!("{} decides already", done.revision)
                };
                (done, text)
            }
            Deed::Shadow(folder) => {
                let done = registry.shadow(of(folder)?, doer).await?;
                let text = format!(
                    "{} is evaluated beside {}, unheard; `portreeve_policy_shadow_compared` in \
                     /metrics and `GET /v1/policies` count how often they agree",
                    done.revision,
                    done.previous.as_deref().unwrap_or_default()
                );
                (done, text)
            }
            Deed::Promote => {
                let done = registry.promote(doer).await?;
                let text = format!("{} decides from now on{}", done.revision, instead(&done));
                (done, text)
            }
            Deed::Drop => {
                let done = registry.drop_shadow(doer).await?;
                let text = format!("{} is evaluated no more", done.revision);
                (done, text)
            }
            Deed::Rollback => {
                let done = registry.rollback(doer).await?;
                let text = format!("{} decides again{}", done.revision, instead(&done));
                (done, text)
            }
        };
        Ok::<_, Failure>(done)
    })?;
    let mut lines = vec![text];
    lines.extend(done.warnings.iter().cloned());
    let value = json!({
        "revision": done.revision,
        "previous": done.previous,
        "changed": done.changed,
        "warnings": done.warnings,
    });
    output.print(&value, &lines.join("\n"))
}

fn instead(done: &Done) -> String {
    let previous = done.previous.as_ref();
    previous.map_or_else(String::new, |previous| {
        format!(", in place of {previous}; `portreeve policy rollback` goes back")
    })
}

/// Opens the registry for one thing to be done with it.
async fn registry(settings: &Settings) -> Result<Registry, Failure> {
    create_private(&settings.data_dir)?;
    let store = Store::open(&settings.store).await;
    Ok(Registry::new(settings, store.map_err(Failure::unable)?))
}

pub(super) fn acts(args: &ActsArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let acts = if settings.store.is_file() {
        runtime()?.block_on(async {
            let registry = registry(settings).await?;
            registry.store.policy_acts().await.map_err(Failure::unable)
        })?
    } else {
        Vec::new()
    };
    let report = Report::of(&Standing::of(&acts));
    let passed_over = acts.len().saturating_sub(args.last);
    let acts: Vec<Act> = acts.into_iter().skip(passed_over).map(Act::from).collect();
    let mut rows = table(&["at", "act", "revision", "in place of", "by", "why"]);
    for act in &acts {
        rows.add_row([
            act.at.clone(),
            act.act.to_owned(),
            act.revision.clone().unwrap_or_default(),
            act.previous.clone().unwrap_or_default(),
            act.by.clone(),
            act.why.clone().unwrap_or_default(),
        ]);
    }
    let mut text = rows.to_string();
    if let Some(live) = &report.live {
        text.push_str(&format!("\n{} decides ({})", live.revision, live.source));
    }
    if let Some(shadow) = &report.shadow {
        text.push_str(&format!("\n{} is in the shadow", shadow.revision));
    }
    output.print(&json!({ "standing": report, "acts": acts }), &text)
}
