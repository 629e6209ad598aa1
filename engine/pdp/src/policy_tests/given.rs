//! From what a test gives to the question that the engine puts to the policies.

use domain::facts::{AssuranceFacts, Facts};
use domain::{AccessRequest, Assurance, Level, RiskLevel, RiskScore, Timestamp};
use policy::Directory;
use policy::clock::Zones;
use policy::plain::entity_named;
use serde_json::{Value, json};

use super::Set;
use super::form::{Case, Failed, Moment};

/// When a test says nothing of the time: a Monday at noon, 2026-01-05T12:00:00Z.
const SOME_MONDAY: Timestamp = Timestamp::from_seconds(1_767_614_400);

/// Members of `request.context` that the engine builds itself.
const BUILT: [&str; 10] = [
    "risk",
    "signals",
    "assurance",
    "device",
    "session",
    "network",
    "time",
    "unavailable",
    "actor",
    "token",
];

/// What is put to the policies.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: AccessRequest,
    pub(super) facts: Facts,
    pub(super) assurance: Assurance,
    pub(super) now: Timestamp,
}

/// Builds the question of a test; in words when it makes no sense.
pub(super) fn question(case: &Case, set: &Set<'_>, directory: &Directory) -> Result<Asked, String> {
    let now = case.time.map_or(SOME_MONDAY, |Moment(at)| at);
    let mut request = request(case)?;
    // A request names an action by its id alone; a test says which one it means.
    let action = entity_named(&case.request.action)?;
    if !set.policies.may_mean(&action) {
        return Err(format!("`request.action`: the schema has no {action}"));
    }
    let zones = Zones {
        attribute: &set.settings.time_zone_attribute,
        otherwise: set.settings.time_zone.as_deref(),
    };
    let mut facts = Facts {
        signals: case.signals.known().signals,
        device: case.device.known().device,
        network: case.network.known().network,
        session: case.session.known().session,
        actor: case.actor.known().actor,
        time: directory.clock(set.policies, &request.subject.entity, zones, now),
        unavailable: case
            .unavailable
            .iter()
            .map(|Failed(source)| *source)
            .collect(),
        ..Facts::default()
    };
    // The same address and session, wherever a test gives them.
    let context = &mut request.context;
    facts.network.ip = facts.network.ip.or(context.ip);
    context.ip = facts.network.ip;
    facts.session.id = facts.session.id.take().or(context.session_id.take());
    context.session_id.clone_from(&facts.session.id);
    facts.risk = risk(case, set)?;
    let assurance = assurance(&case.assurance.known().assurance, now)?;
    facts.assurance = AssuranceFacts::of(&assurance, now);
    Ok(Asked {
        request,
        facts,
        assurance,
        now,
    })
}

/// The request as a gateway would send it, read by the reader of the public API.
fn request(case: &Case) -> Result<AccessRequest, String> {
    let raw = &case.request;
    let subject = entity_named(&raw.principal)?;
    let action = entity_named(&raw.action)?;
    let resource = entity_named(&raw.resource)?;
    let mut context = raw.context.clone();
    if let Some(name) = BUILT.iter().find(|name| context.contains_key(**name)) {
        return Err(format!(
            "`request.context.{name}` is built by the engine: give `{name}` beside `request`, or \
             leave out what Cedar's own tests do not have"
        ));
    }
    let properties = context.remove("action").unwrap_or_else(|| json!({}));
    let question = json!({
        "subject": {"type": subject.kind.as_str(), "id": subject.id.as_str()},
        "action": {"name": action.id.as_str(), "properties": properties},
        "resource": {"type": resource.kind.as_str(), "id": resource.id.as_str()},
        "context": Value::Object(context),
    });
    let incoming =
        wire::request::parse(question.to_string().as_bytes()).map_err(|error| error.to_string())?;
    Ok(incoming.request)
}

/// The score and its parts: 0 where nothing is given, the parts as high as the whole, the level
/// by the settings.
fn risk(case: &Case, set: &Set<'_>) -> Result<domain::facts::RiskFacts, String> {
    let mut given = case.risk.known().risk;
    match (given.score, case.score) {
        (Some(_), Some(_)) => return Err("`score` and `risk.score` are the same: give one".into()),
        (score, short) => {
            given.score = Some(score.or(short.map(|score| score.0.into())).unwrap_or(0));
        }
    }
    let parts = [given.score, given.model_score, given.rule_score];
    if let Some(points) = parts
        .iter()
        .flatten()
        .find(|points| !(0..=100).contains(*points))
    {
        return Err(format!("`risk` has {points} points: 0 to 100"));
    }
    given.model_score = given.model_score.or(given.score);
    given.rule_score = given.rule_score.or(given.score);
    if let Some(level) = &given.level
        && !["LOW", "MEDIUM", "HIGH"].contains(&level.as_str())
    {
        return Err(format!("`risk.level` is `{level}`: LOW, MEDIUM or HIGH"));
    }
    if given.level.is_none() {
        #[expect(clippy::cast_precision_loss, reason = "0 to 100 by now")]
        let points = given.score.unwrap_or_default() as f64;
        let score = RiskScore::from_points(points).unwrap_or(RiskScore::MAX);
        let level = RiskLevel::of(score, set.settings.levels);
        given.level = Some(level.as_str().to_owned());
    }
    Ok(given)
}

/// The assurance that the words describe. An age that is not given is that of the level, and a
/// level without one is as old as can be: freshness is never assumed.
fn assurance(given: &AssuranceFacts, now: Timestamp) -> Result<Assurance, String> {
    let at = |age: i64| now.plus_seconds(-age);
    let ages = [
        ("age_seconds", given.age_seconds, 1),
        ("challenge_age_seconds", given.challenge_age_seconds, 2),
        ("mfa_age_seconds", given.mfa_age_seconds, 3),
    ];
    let proven = ages
        .iter()
        .filter(|(_, age, _)| age.is_some())
        .map(|(.., level)| *level)
        .max();
    let number = given.level.or(proven).unwrap_or(0);
    let level = Level::from_number(number)
        .ok_or_else(|| format!("`assurance.level` is {number}: 0 to 3"))?;
    for (name, age, least) in ages {
        match age {
            Some(age) if age < 0 => return Err(format!("`assurance.{name}` is {age}: 0 or more")),
            Some(_) if number < least => {
                return Err(format!(
                    "`assurance.{name}` says that level {least} was reached, and `level` is {number}"
                ));
            }
            _ => {}
        }
    }
    let mfa_at = given.mfa_age_seconds.map(at);
    let challenge_at = given.challenge_age_seconds.map(at).max(mfa_at);
    let strongest = match level {
        Level::Mfa => mfa_at,
        Level::Challenge => challenge_at,
        Level::SingleFactor | Level::None => None,
    };
    let since = given.age_seconds.map(at).or(strongest);
    let whole = Assurance::of(level, since);
    Ok(Assurance {
        challenge_at: challenge_at.or(whole.challenge_at),
        mfa_at: mfa_at.or(whole.mfa_at),
        ..whole
    })
}
