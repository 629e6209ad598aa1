//! `portreeve gateway`: which question a request becomes, and why.

use ::gateway::explain::{LineFault, Report, explain, parse};
use ::gateway::{Credential, Door, Question};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use clap::{Args, Subcommand};
use domain::value::Attributes;
use domain::{EntityRef, Value};
use serde_json::json;

use super::Failure;
use super::output::Output;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum GatewayCommand {
    /// Say which route a request takes, why not the ones before it, and what is asked then
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The request, for example 'GET https://shop.example/orders/7'
    request: String,
    /// A header of the client, for example 'X-Tenant: acme'
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The gateway, by the name of its key; without it, what holds for all
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Whom the client's credential would name, for example User::alice
    #[arg(long, value_name = "TYPE::ID")]
    subject: Option<String>,
    /// What the credential would say, for example tenant=acme; a list with commas between
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
}

pub(super) fn run(
    command: GatewayCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let GatewayCommand::Explain(args) = command;
    let door = door(settings, args.caller.as_deref())?;
    let headers = headers(&args.headers)?;
    let original = match parse(&args.request, &headers, door.reading) {
        Ok(original) => original,
        Err(why @ LineFault::Form(_)) => return Err(Failure::unable(why)),
        Err(LineFault::Original(why)) => {
            let detail = why.to_string();
            let reply = door.reply(None, None, &why.verdict(&detail));
            let refusal = json!({"status": reply.status.as_u16(), "why": detail});
            let text = format!("answers {}: {detail}", reply.status.as_u16());
            output.print(&json!({ "refusal": refusal }), &text)?;
            return Err(Failure::No(String::new()));
        }
    };
    let subject = args.subject.as_deref().map(subject).transpose()?;
    let claims = claims(&args.claims)?;
    if subject.is_none() && !claims.is_empty() {
        return Err(Failure::Unable(
            "`--claim` is what a credential says; name whose it is, for example `--subject \
             User::alice`"
                .to_owned(),
        ));
    }
    let credential = subject.as_ref().map(|subject| Credential {
        subject,
        claims: &claims,
    });
    let question = Question {
        original: &original,
        headers: &headers,
        credential,
    };
    let report = explain(door, &question);
    output.print(&report, &text(&report))?;
    match report.evaluation {
        Some(_) => Ok(()),
        None => Err(Failure::No(String::new())),
    }
}

fn text(report: &Report) -> String {
    report.text().trim_end().to_owned()
}

fn door<'s>(settings: &'s Settings, caller: Option<&str>) -> Result<&'s Door, Failure> {
    let gateway = &settings.gateway;
    let door = gateway.door(caller);
    if door.routes.iter().next().is_none() {
        return Err(Failure::Unable(
            "there is no route; write `[[gateway.routes]]` into the settings, with `path`, \
             `action` and `resource`"
                .to_owned(),
        ));
    }
    Ok(door)
}

fn headers(texts: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for text in texts {
        let read = text.split_once(':').and_then(|(name, value)| {
            let name: HeaderName = name.trim().to_ascii_lowercase().parse().ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let (name, value) = read.ok_or_else(|| {
            Failure::Unable(format!(
                "`{text}` is no header, for example 'X-Tenant: acme'"
            ))
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Reads `User::alice`, and `User::"alice"` as Cedar writes it.
fn subject(text: &str) -> Result<EntityRef, Failure> {
    let read = text.rsplit_once("::").and_then(|(kind, id)| {
        let bare = id.strip_prefix('"').and_then(|id| id.strip_suffix('"'));
        EntityRef::new(kind, bare.unwrap_or(id)).ok()
    });
    read.ok_or_else(|| Failure::Unable(format!("`{text}` is nobody, for example User::alice")))
}

fn claims(texts: &[String]) -> Result<Attributes, Failure> {
    let one = |text: &str| Value::Text(text.to_owned());
    texts
        .iter()
        .map(|text| {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                Failure::Unable(format!("`{text}` is no claim, for example tenant=acme"))
            })?;
            let value = match value.contains(',') {
                true => Value::List(value.split(',').map(one).collect()),
                false => one(value),
            };
            Ok((name.to_owned(), value))
        })
        .collect()
}
