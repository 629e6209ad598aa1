//! `portreeve sessions`: works with the engine up or down; a running one has ended a session within a
//! second.

use clap::{Args, Subcommand};
use domain::{EntityRef, Timestamp};
use serde_json::{Value, json};
use store::Store;
use store::sqlite::{Ending, Initiator, SessionFilter, SessionsOf, StoredSession};

use super::output::{Output, table};
use super::{Failure, runtime};
use crate::app::create_private;
use crate::http::session_view;
use crate::inputs::Inputs;
use crate::revoking::REASON_MAX;
use crate::settings::Settings;

/// Who ends sessions here, in records.
const BY: &str = "command-line";
/// Between two clocks, and while a request is under way.
const LEEWAY_SECONDS: i64 = 240;

#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// List sessions, those opened last first
    List(Which),
    /// End sessions, their refresh tokens and their access tokens, for good
    Revoke(Ended),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Of this subject, as User/alice
    #[arg(long, value_name = "TYPE/ID", value_parser = subject)]
    subject: Option<EntityRef>,
    /// Opened by this client, the id of its first key
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Those that are over as well
    #[arg(long)]
    all: bool,
    /// As many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct Ended {
    /// One session, `ses_…`
    #[arg(required_unless_present = "subject", conflicts_with = "subject")]
    id: Option<String>,
    /// All sessions of this subject instead, as User/alice
    #[arg(long, value_name = "TYPE/ID", value_parser = subject)]
    subject: Option<EntityRef>,
    /// Why, for records and for those who are told
    #[arg(long, default_value = "ended", value_parser = reason)]
    reason: String,
}

fn subject(text: &str) -> Result<EntityRef, String> {
    token::claims::parse_subject(text).ok_or_else(|| "write TYPE/ID, as User/alice".to_owned())
}

fn reason(text: &str) -> Result<String, String> {
    match text.len() {
        1..=REASON_MAX => Ok(text.to_owned()),
        _ => Err(format!("1 to {REASON_MAX} bytes")),
    }
}

pub(super) fn run(
    command: SessionsCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    create_private(&settings.data_dir)?;
    let now = Inputs::system().clock.now();
    runtime()?.block_on(async {
        let store = Store::open(&settings.store)
            .await
            .map_err(Failure::unable)?;
        match command {
            SessionsCommand::List(which) => list(&store, &which, now, output).await,
            SessionsCommand::Revoke(ended) => revoke(&store, &ended, now, output).await,
        }
    })
}

async fn list(store: &Store, which: &Which, now: Timestamp, output: Output) -> Result<(), Failure> {
    let filter = SessionFilter {
        client_id: which.client.as_deref(),
        subject: which.subject.as_ref(),
        live_at: (!which.all).then_some(now),
        after: None,
    };
    let most = usize::try_from(which.limit).unwrap_or(usize::MAX);
    let page = store.sessions_page(filter, most).await;
    let page = page.map_err(Failure::unable)?;
    let mut rows = table(&[
        "session",
        "subject",
        "client",
        "tier",
        "score",
        "opened",
        "last used",
        "ends",
        "state",
    ]);
    for stored in &page {
        rows.add_row(row(stored, now));
    }
    let report: Vec<Value> = page
        .iter()
        .map(|stored| session_view(stored, now))
        .collect();
    output.print(&report, &rows.to_string())
}

fn row(stored: &StoredSession, now: Timestamp) -> [String; 9] {
    let session = &stored.record;
    let time = wire::time::format;
    let terms = session.terms.as_ref();
    let state = match (&stored.ended, session.is_over(now)) {
        (Some((_, why)), _) => format!("ended: {}", why.escape_debug()),
        (None, true) => "expired".to_owned(),
        (None, false) => "live".to_owned(),
    };
    let score = terms.and_then(|terms| terms.score.or(terms.granted_score));
    [
        session.id.clone(),
        session.subject.to_string(),
        terms.map_or_else(String::new, |terms| terms.client_id.clone()),
        terms.map_or("", |terms| terms.tier.as_str()).to_owned(),
        score.map_or_else(String::new, |score| score.to_string()),
        time(session.birth.at),
        time(session.last_seen),
        session.live_until().map(time).unwrap_or_default(),
        state,
    ]
}

async fn revoke(
    store: &Store,
    ended: &Ended,
    now: Timestamp,
    output: Output,
) -> Result<(), Failure> {
    let life = i64::try_from(token::claims::LIFE_MAX_SECONDS).unwrap_or(i64::MAX);
    let ending = Ending {
        at: now,
        why: &ended.reason,
        by: BY,
        initiator: Initiator::Admin,
        until: now.plus_seconds(life + LEEWAY_SECONDS),
        written: |subject| token::claims::subject(subject.kind.as_str(), subject.id.as_str()),
        tells: &[],
    };
    let done = match (&ended.id, &ended.subject) {
        (Some(id), _) => {
            let one = store.end_session(id, &ending).await;
            one.map_err(Failure::unable)?.into_iter().collect()
        }
        (None, Some(subject)) => {
            let of = SessionsOf {
                subject,
                client_id: None,
            };
            let all = store.end_sessions_of(of, &ending).await;
            all.map_err(Failure::unable)?
        }
        (None, None) => Vec::new(),
    };
    if done.is_empty() {
        return Err(Failure::No(
            "no such session lives; see `portreeve sessions list`".to_owned(),
        ));
    }
    let ids: Vec<&str> = done.iter().map(|session| session.id.as_str()).collect();
    let text = match ids.as_slice() {
        [id] => format!("{id} has ended"),
        many => format!("{} sessions have ended", many.len()),
    };
    output.print(&json!({ "ended": ids }), &text)
}
