//! `portreeve keys`: works with the engine up or down; a running one notices within a second.

use clap::{Args, Subcommand};
use domain::Timestamp;
use serde_json::{Value, json};
use store::Store;
use store::sqlite::KeyRecord;

use super::output::{Output, table, tell};
use super::{Failure, runtime};
use crate::access::{LIFE_MAX_DAYS, NewKey, Role};
use crate::app::create_private;
use crate::inputs::Inputs;
use crate::key_acts::{
    Actor, Hands, KeyActError, OVERLAP_MAX_DAYS, Wanted, shown_once, state, view, warning,
};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key; its secret is shown only now
    Create(NewKeyArgs),
    /// List all keys, and what should be seen to
    List,
    /// Make the key that takes the place of another; its secret is shown only now
    Rotate {
        /// The part before the dot, `sk_…`
        key_id: String,
        /// Days that the old one goes on, 7 at most
        #[arg(long, value_name = "DAYS", default_value_t = OVERLAP_MAX_DAYS, value_parser = clap::value_parser!(u32).range(0..=i64::from(OVERLAP_MAX_DAYS)))]
        overlap: u32,
    },
    /// Revoke a key by its id, for good
    Revoke {
        /// The part before the dot, `sk_…`
        key_id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct NewKeyArgs {
    /// Who will hold it
    #[arg(long)]
    name: String,
    /// What they may do
    #[arg(long)]
    role: Role,
    /// Only this of what the role may do, as `evaluate`; may be given again
    #[arg(long = "permission", value_name = "PERMISSION")]
    permissions: Vec<String>,
    /// As whom its holder acts, as `Service::billing`; by default the service of its name
    #[arg(long, value_name = "TYPE::ID", value_parser = subject)]
    subject: Option<(String, String)>,
    /// The resource server that its holder is, as https://docs.example
    #[arg(long)]
    audience: Option<String>,
    /// The client certificate that stands for it: a SPIFFE id, or its SHA-256 thumbprint
    #[arg(long)]
    certificate: Option<String>,
    /// Its life in days, 365 at most
    #[arg(long, default_value_t = LIFE_MAX_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(LIFE_MAX_DAYS)))]
    days: u32,
}

/// Type and id, apart by the last `::` before the id, which may have quotes as in Cedar.
fn subject(text: &str) -> Result<(String, String), String> {
    let (kind, id) = match text.split_once("::\"") {
        Some((kind, rest)) => (kind, rest.strip_suffix('"')),
        None => text
            .rsplit_once("::")
            .map_or((text, None), |(kind, id)| (kind, Some(id))),
    };
    let id = id.ok_or_else(|| "write TYPE::ID, as Service::billing".to_owned())?;
    Ok((kind.to_owned(), id.to_owned()))
}

impl From<KeyActError> for Failure {
    fn from(error: KeyActError) -> Self {
        match error {
            KeyActError::Store(_) | KeyActError::NotRecorded(_) => Self::unable(error),
            _ => Self::No(error.to_string()),
        }
    }
}

pub(super) fn run(
    command: KeysCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    create_private(&settings.data_dir)?;
    let inputs = Inputs::system();
    runtime()?.block_on(async {
        let store = Store::open(&settings.store)
            .await
            .map_err(Failure::unable)?;
        let hands = Hands {
            store: &store,
            randomness: &*inputs.randomness,
            most: settings.limits.keys,
            now: inputs.clock.now(),
            actor: Actor::Person,
        };
        match command {
            KeysCommand::Create(args) => {
                let wanted = Wanted {
                    name: args.name,
                    role: args.role.as_str().to_owned(),
                    permissions: Some(args.permissions).filter(|names| !names.is_empty()),
                    subject: args.subject,
                    audience: args.audience,
                    certificate: args.certificate,
                    days: Some(args.days),
                };
                let wish = wanted.check(&settings.service_type);
                let new = hands.create(wish.map_err(Failure::Unable)?).await?;
                let report = Value::Object(shown_once(&new));
                show(&hands, output, &new, &report).await
            }
            KeysCommand::List => {
                let keys = store.keys().await.map_err(Failure::unable)?;
                list(&keys, hands.now, output)
            }
            KeysCommand::Rotate { key_id, overlap } => {
                let rotated = hands.rotate(id_of(&key_id), overlap).await?;
                let mut report = shown_once(&rotated.new);
                report.extend(rotated.told());
                show(&hands, output, &rotated.new, &Value::Object(report)).await?;
                tell(&format!(
                    "{} goes on until {}",
                    rotated.old_key_id,
                    wire::time::format(rotated.overlap_end)
                ));
                Ok(())
            }
            KeysCommand::Revoke { key_id } => {
                let id = id_of(&key_id);
                if hands.revoke(id).await? {
                    output.print(&json!({ "revoked": id }), &format!("{id} is revoked"))
                } else {
                    Err(Failure::No(format!("{id} was revoked before")))
                }
            }
        }
    })
}

/// A whole key is as good as its id, and should not be needed.
fn id_of(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

/// Shows a new key, once.
async fn show(
    hands: &Hands<'_>,
    output: Output,
    new: &NewKey,
    report: &Value,
) -> Result<(), Failure> {
    let shown = output.print(report, &new.key);
    if shown.is_err() {
        // Nobody has it, and nobody can ask for it again.
        hands.revoke(&new.record.key_id).await?;
        tell("the new key could not be shown, so it is revoked");
    }
    shown
}

fn list(keys: &[KeyRecord], now: Timestamp, output: Output) -> Result<(), Failure> {
    let mut rows = table(&[
        "key id",
        "name",
        "role",
        "speaks for",
        "ends",
        "last used",
        "state",
    ]);
    let mut report = Vec::new();
    for key in keys {
        let role = match &key.permissions {
            Some(permissions) => format!("{}: {}", key.role, permissions.join(", ")),
            None => key.role.clone(),
        };
        let used = key.last_used_at.map(wire::time::format);
        let state = match warning(key, now) {
            Some(warning) => format!("{}: {warning}", state(key, now)),
            None => state(key, now).to_owned(),
        };
        rows.add_row([
            &*key.key_id,
            // One of an earlier version may hold anything.
            &*key.name.escape_debug().to_string(),
            &*role,
            &*key.subject.to_string(),
            &*wire::time::format(key.ends_at()),
            &*used.unwrap_or_default(),
            &*state,
        ]);
        report.push(view(key, now));
    }
    output.print(&report, &rows.to_string())
}
