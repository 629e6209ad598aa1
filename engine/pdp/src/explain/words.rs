//! A story in words.

use domain::{AccessRequest, Cause, Rung};

use super::{Story, effect};

pub(super) fn text(story: &Story) -> String {
    let mut lines = Vec::new();
    head(story, &mut lines);
    asked(&story.recorded.request, &mut lines);
    known(story, &mut lines);
    score(story, &mut lines);
    rungs(story, &mut lines);
    policies(story, &mut lines);
    ways(story, &mut lines);
    lines.join("\n")
}

fn head(story: &Story, lines: &mut Vec<String>) {
    let recorded = &story.recorded;
    let request = &recorded.request;
    lines.push(format!(
        "{}: {} for {}, `{}` on {}",
        recorded.decision_id,
        recorded.outcome,
        request.subject.entity,
        request.action.name,
        request.resource.entity
    ));
    let for_another = if recorded.at == recorded.time {
        String::new()
    } else {
        format!(", for {}", wire::time::format(recorded.time))
    };
    lines.push(format!(
        "  decided {}{for_another}, asked by {} ({}), request {}",
        wire::time::format(recorded.at),
        recorded.caller,
        recorded.manner,
        recorded.request_id
    ));
    let revisions = &recorded.revisions;
    lines.push(format!(
        "  by policies {}, entities {}, model {}, settings {}",
        revisions.policies, revisions.entities, revisions.model, revisions.settings
    ));
    match &story.again {
        Ok(again) => {
            lines.push(format!("  because: {}", again.reason.admin));
            lines.push(format!("  the user was told: {}", again.reason.user));
        }
        Err(why) => {
            let detail = recorded.detail.as_deref();
            let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
            lines.push(format!("  because: {}{detail}", recorded.cause.code()));
            lines.push(format!("  it cannot be decided again: {why}"));
        }
    }
    if let Some(difference) = &story.difference {
        lines.push(format!(
            "  DECIDED AGAIN IT IS NOT THE SAME: {difference}; another version of the engine?"
        ));
    }
}

fn asked(request: &AccessRequest, lines: &mut Vec<String>) {
    let context = &request.context;
    let mut said = Vec::new();
    if let Some(ip) = context.ip {
        said.push(format!("address {ip}"));
    }
    if let Some(device) = context
        .device
        .as_ref()
        .and_then(|device| device.id.as_ref())
    {
        said.push(format!("device `{device}`"));
    }
    if let Some(session) = &context.session_id {
        said.push(format!("session `{session}`"));
    }
    if let Some(agent) = &context.user_agent {
        said.push(format!("client {agent:?}"));
    }
    if let Some(assurance) = &context.assurance {
        said.push(format!("assurance {}", assurance.level.number()));
    }
    for (of, properties) in [
        ("subject", &request.subject.properties),
        ("action", &request.action.properties),
        ("resource", &request.resource.properties),
        ("context", &context.extra),
    ] {
        if !properties.is_empty() {
            let names: Vec<&str> = properties.keys().map(String::as_str).collect();
            said.push(format!("{of} properties {}", names.join(", ")));
        }
    }
    lines.push(String::new());
    lines.push(match said.is_empty() {
        true => "the caller said nothing more".to_owned(),
        false => format!("the caller said: {}", said.join(", ")),
    });
}

fn known(story: &Story, lines: &mut Vec<String>) {
    lines.push(String::new());
    lines.push("known".to_owned());
    for word in &story.known {
        let said = format!("{} = {}", word.name, word.value);
        lines.push(format!("  {said:<44}  {}", word.origin.as_str()));
    }
    for (source, silence) in &story.silent {
        lines.push(format!(
            "  {:<44}  {}",
            super::origins::source_name(*source),
            silence.as_str()
        ));
    }
}

fn score(story: &Story, lines: &mut Vec<String>) {
    let risk = &story.recorded.risk;
    lines.push(String::new());
    lines.push(format!(
        "score {}, from the model's {} and the rules' {}",
        risk.score, risk.model_score, risk.rule_score
    ));
    let row = |what: &str, points: i32, why: &str| {
        format!("  {what:<24}{points:>+5}  {why}")
            .trim_end()
            .to_owned()
    };
    lines.push(row(
        "baseline",
        risk.baseline,
        "what an ordinary request scores",
    ));
    match &story.again {
        Ok(again) => lines.extend(
            again
                .risk
                .factors
                .iter()
                .map(|factor| row(factor.feature, factor.contribution, &factor.reason)),
        ),
        Err(_) => lines.extend(
            risk.contributions
                .iter()
                .map(|(feature, points)| row(feature, *points, "")),
        ),
    }
    lines.push(row("other", risk.other, "rounding and small effects"));
    if !risk.fired.is_empty() {
        lines.push(format!("  rules that fired: {}", risk.fired.join(", ")));
    }
}

fn rungs(story: &Story, lines: &mut Vec<String>) {
    lines.push(String::new());
    if story.rungs.is_empty() {
        lines.push("no policy was asked".to_owned());
        return;
    }
    lines.push("the policies were asked".to_owned());
    for tried in &story.rungs {
        let how = match tried.rung {
            Rung::Allow => "with the assurance that it had",
            Rung::Challenge => "as if a challenge had just passed",
            Rung::Mfa | Rung::Deny => "as if MFA had just passed",
        };
        let said = match (tried.allowed, tried.policies.is_empty()) {
            (true, _) => format!("yes, permitted by {}", tried.policies.join(", ")),
            (false, false) => format!("no, forbidden by {}", tried.policies.join(", ")),
            (false, true) if tried.errors.is_empty() => "no, nothing permits it".to_owned(),
            (false, true) => "no".to_owned(),
        };
        lines.push(format!("  {how:<34}  {said}"));
        for error in &tried.errors {
            lines.push(format!("  {:<34}  could not be evaluated: {error}", ""));
        }
    }
}

fn policies(story: &Story, lines: &mut Vec<String>) {
    if story.policies.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push("settled by".to_owned());
    for (id, place) in &story.policies {
        let Some(place) = place else {
            lines.push(format!("  {id}  (its text is not in the archive)"));
            continue;
        };
        let severity = place.severity.as_deref();
        let severity = severity.map_or_else(String::new, |word| format!(", severity {word}"));
        lines.push(format!(
            "  {id}  {}:{}  {}{severity}",
            place.file,
            place.line,
            effect(place)
        ));
        if let Some(reason) = &place.reason {
            lines.push(format!("    {reason:?}"));
        }
    }
}

fn ways(story: &Story, lines: &mut Vec<String>) {
    let recorded = &story.recorded;
    if recorded.outcome == Rung::Allow {
        return;
    }
    lines.push(String::new());
    let Some(ways) = &story.ways else {
        lines.push("what would have made it an allow cannot be told: see above".to_owned());
        return;
    };
    let (allow, less): (Vec<_>, Vec<_>) = ways.iter().partition(|way| way.becomes == Rung::Allow);
    if allow.is_empty() {
        lines.push("no single change would have made it an allow".to_owned());
        lines.extend(advice(recorded.cause).map(|advice| format!("  {advice}")));
    } else {
        lines.push("it would have been an allow with any one of".to_owned());
        lines.extend(allow.iter().map(|way| format!("  {}", way.change)));
    }
    if !less.is_empty() {
        lines.push("less would have been asked with any one of".to_owned());
        let told = less.iter();
        lines.extend(told.map(|way| format!("  {}: {}", way.change, way.becomes)));
    }
    let last = story.rungs.last().filter(|rung| !rung.allowed);
    // Where no step-up was tried, none was stood in the way of.
    let standing = last.filter(|_| story.rungs.len() > 1);
    if let Some(rung) = standing.filter(|rung| !rung.policies.is_empty()) {
        lines.push(format!(
            "in the way of every step-up: {}",
            rung.policies.join(", ")
        ));
    }
}

/// What to do where it was nothing about the request's circumstances.
const fn advice(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::NothingPermits => Some("no policy permits this: a permit has to be written"),
        Cause::PolicyError => Some("a policy has to be put right: see its error above"),
        Cause::UnknownSubject => Some("the subject has to be stored among the entities"),
        Cause::UnknownResource => Some("the resource has to be stored among the entities"),
        Cause::UnknownAction => Some("the schema has to have the action"),
        Cause::ActionDoesNotApply => Some("the schema has to let the action apply to these types"),
        Cause::BadAttribute => Some("the caller has to send what the schema declares"),
        _ => None,
    }
}
