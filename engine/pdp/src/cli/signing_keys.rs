//! `portreeve signing-keys`: works with the engine up or down; a running one notices within a
//! second.

use clap::Subcommand;
use serde_json::json;

use super::output::{Output, table};
use super::{Failure, os_user};
use crate::app::create_private;
use crate::inputs::Inputs;
use crate::settings::Settings;
use crate::signing::{Listed, Ring, Seen, look};
use crate::telling::keys::FOLDER as SHARED_SIGNALS;

#[derive(Debug, Subcommand)]
pub(super) enum SigningKeysCommand {
    /// Publish the next key now; it signs once verifiers had time to fetch it
    Rotate {
        /// Let it sign at once: tokens are refused for minutes by services that keep the key set
        #[arg(long)]
        now: bool,
        /// The keys of security event tokens (SSF) and not those of access tokens
        #[arg(long)]
        shared_signals: bool,
    },
    /// List all keys, those that are over included
    List {
        /// The keys of security event tokens (SSF) and not those of access tokens
        #[arg(long)]
        shared_signals: bool,
    },
}

pub(super) fn run(
    command: &SigningKeysCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let now = Inputs::system().clock.now();
    let (SigningKeysCommand::Rotate { shared_signals, .. }
    | SigningKeysCommand::List { shared_signals }) = command;
    let (folder, signing) = if *shared_signals {
        let folder = settings.data_dir.join(SHARED_SIGNALS);
        (folder, &settings.ssf.signing)
    } else {
        (settings.data_dir.clone(), &settings.signing)
    };
    match command {
        SigningKeysCommand::Rotate { now: at_once, .. } => {
            create_private(&folder)?;
            let ring = Ring::open(&folder, signing, now);
            let ring = ring.map_err(Failure::unable)?;
            let rotation = ring
                .rotate(*at_once, &os_user(), now)
                .map_err(Failure::unable)?;
            let from = wire::time::format(rotation.signs_from);
            let text = match (at_once, rotation.is_new) {
                (true, _) => format!("{} signs from now on", rotation.kid),
                (false, true) => format!("{} is published, and signs from {from} on", rotation.kid),
                (false, false) => format!(
                    "{} is published already, and signs from {from} on; `--now` hastens it",
                    rotation.kid
                ),
            };
            let report = json!({
                "kid": rotation.kid,
                "signs_from": from,
                "is_new": rotation.is_new,
            });
            output.print(&report, &text)
        }
        SigningKeysCommand::List { .. } => {
            let seen = look(&folder, signing, now);
            let Seen { keys, is_sealed } = seen.map_err(Failure::unable)?;
            let mut rows = table(&["kid", "algorithm", "state", "made", "signs from", "by"]);
            for key in keys.iter() {
                rows.add_row([
                    &*key.known.kid,
                    key.known.algorithm.as_str(),
                    key.state.as_str(),
                    &*wire::time::format(key.known.created_at),
                    &*wire::time::format(key.known.signs_from),
                    &*key.by.escape_debug().to_string(),
                ]);
            }
            let none = keys.iter().next().is_none();
            let keys: Vec<_> = keys.iter().map(report).collect();
            let text = format!(
                "{rows}\nat rest: {}",
                if none {
                    if *shared_signals {
                        "none yet; the first receiver that asks has one made"
                    } else {
                        "none yet; the first start of the engine makes one"
                    }
                } else if is_sealed {
                    "encrypted"
                } else {
                    "in clear, mode 600; `tokens.key_encryption_key_file` encrypts them"
                }
            );
            output.print(&json!({ "encrypted": is_sealed, "keys": keys }), &text)
        }
    }
}

fn report(key: &Listed) -> serde_json::Value {
    json!({
        "kid": key.known.kid,
        "algorithm": key.known.algorithm.as_str(),
        "state": key.state.as_str(),
        "created_at": wire::time::format(key.known.created_at),
        "signs_from": wire::time::format(key.known.signs_from),
        "by": key.by,
        "jwk": key.public.jwk(),
    })
}
