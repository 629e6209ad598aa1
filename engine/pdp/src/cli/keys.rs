//! `portreeve keys`: works with the engine up or down; a running one notices within a second.

use clap::Subcommand;
use domain::Name;
use serde_json::json;
use store::Store;

use super::output::{Output, table, tell};
use super::{Failure, runtime};
use crate::access::{KeyWish, LIFE_MAX_DAYS, NewKey, Role};
use crate::app::create_private;
use crate::inputs::Inputs;
use crate::key_acts::{self, AT_THE_COMMAND_LINE};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key; its secret is shown only now
    Create {
        /// Who will hold it
        #[arg(long, value_parser = key_name)]
        name: String,
        /// What they may do
        #[arg(long)]
        role: Role,
        /// Its life in days, 365 at most
        #[arg(long, default_value_t = LIFE_MAX_DAYS, value_parser = clap::value_parser!(u32).range(1..=365))]
        days: u32,
    },
    /// List all keys
    List,
    /// Revoke a key by its id, for good
    Revoke {
        /// The part before the dot, `sk_…`
        key_id: String,
    },
}

/// Names are shown on terminals and told apart by people.
fn key_name(text: &str) -> Result<String, String> {
    match Name::new(text.trim()) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(error) => Err(format!("the name {error}")),
    }
}

pub(super) fn run(
    command: KeysCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    create_private(&settings.data_dir)?;
    let inputs = Inputs::system();
    let now = inputs.clock.now();
    runtime()?.block_on(async {
        let store = Store::open(&settings.store)
            .await
            .map_err(Failure::unable)?;
        match command {
            KeysCommand::Create { name, role, days } => {
                let subject = key_acts::service_of(&settings.service_type, &name)
                    .map_err(|error| Failure::Unable(format!("the name {error}")))?;
                let mut wish = KeyWish::plain(&name, role, subject);
                wish.life_days = days;
                let new = NewKey::generate(wish, now, &*inputs.randomness);
                let act = key_acts::created(&new.record, AT_THE_COMMAND_LINE);
                store
                    .insert_key(&new.record, settings.limits.keys, &act)
                    .await
                    .map_err(Failure::unable)?;
                let report = json!({ "key": new.key, "key_id": new.record.key_id });
                let shown = output.print(&report, &new.key);
                if shown.is_err() {
                    // Nobody has it, and nobody can ask for it again.
                    key_acts::revoke_at_the_command_line(&store, &new.record.key_id, now)
                        .await
                        .map_err(Failure::unable)?;
                    tell("the new key could not be shown, so it is revoked");
                }
                shown
            }
            KeysCommand::List => {
                let keys = store.keys().await.map_err(Failure::unable)?;
                let text =
                    |at: Option<domain::Timestamp>| at.map(wire::time::format).unwrap_or_default();
                let mut rows = table(&["key id", "name", "role", "expires", "last used", "state"]);
                let mut report = Vec::new();
                for key in keys {
                    let state = match (key.revoked_at, key.is_active(now)) {
                        (Some(_), _) => "revoked",
                        (None, true) => "active",
                        (None, false) => "expired",
                    };
                    let (expires, used) = (text(Some(key.expires_at)), text(key.last_used_at));
                    rows.add_row([
                        &*key.key_id,
                        // One of an earlier version may hold anything.
                        &*key.name.escape_debug().to_string(),
                        &*key.role,
                        &*expires,
                        &*used,
                        state,
                    ]);
                    report.push(json!({
                        "key_id": key.key_id,
                        "name": key.name,
                        "role": key.role,
                        "created_at": text(Some(key.created_at)),
                        "expires_at": expires,
                        "last_used_at": key.last_used_at.map(wire::time::format),
                        "revoked_at": key.revoked_at.map(wire::time::format),
                        "is_active": state == "active",
                    }));
                }
                output.print(&report, &rows.to_string())
            }
            KeysCommand::Revoke { key_id } => {
                // A whole key is as good as its id, and should not be needed.
                let id = key_id.split('.').next().unwrap_or_default();
                let revoked = key_acts::revoke_at_the_command_line(&store, id, now).await;
                if revoked.map_err(Failure::unable)? {
                    output.print(&json!({ "revoked": id }), &format!("{id} is revoked"))
                } else {
                    Err(Failure::No(format!(
                        "no active key {id}; `portreeve keys list` shows them"
                    )))
                }
            }
        }
    })
}
