//! Scenarios: stories as data in `tests/scenarios`, one `check` for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use domain::record::{Manner, Revisions};
use domain::signal::{Country, Source, Spot};
use domain::{
    Anonymity, Assurance, DecisionRecord, DeviceRecord, EntityRef, Heard, KeyThumbprint, Level,
    Network, Place, RiskLevel, SessionBirth, SessionRecord, Signal, Timestamp,
};
use pdp::engine::{Outcome, Snapshot, decide};
use pdp::replay::{difference, judge_again, settle_again};
use policy::{Directory, Policies, SourceFile};
use risk::agent::Agent;
use risk::behaviour::{Analysis, Pattern};
use risk::{Attempt, Crowd, Crowds, Key, Lesson, Profile, Settings, Signals, Standing, Tally};
use serde::Deserialize;
use serde_json::Value;
use wire::record::replay::Recorded;

mod form;
mod given;

use crate::harness::root;
use form::*;
pub(crate) use given::place;
use given::*;

/// A Monday at nine, UTC.
const START: Timestamp = Timestamp::from_seconds(1_772_442_000);

static MODEL: LazyLock<Arc<risk::Model>> = LazyLock::new(|| {
    let (model, _) = risk::artifact::load(&root().join("models/behaviour/1")).unwrap();
    Arc::new(model)
});

static SHIPPED: LazyLock<Vec<SourceFile>> =
    LazyLock::new(|| policy::source::read_folder(&root().join("policies")).unwrap());

#[test]
fn every_scenario_holds() {
    let folder = root().join("tests/scenarios");
    let mut failures = Vec::new();
    let mut covered = BTreeSet::new();
    let mut count = 0;
    for path in yaml_files(&folder) {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let scenario: Scenario = match serde_yaml_ng::from_str(&text) {
            Ok(scenario) => scenario,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        count += 1;
        covered.extend(scenario.covers.clone());
        if let Err(why) = check(&scenario) {
            failures.push(format!("{name}: {}\n    {why}", scenario.about));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(count >= 40, "only {count} scenarios");
    for needed in [
        "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R11", "R12", "R13", "R14", "R15",
    ] {
        assert!(covered.contains(needed), "no scenario covers {needed}");
    }
}

/// The shipped policies, entities, model and settings.
pub(crate) fn shipped() -> Snapshot {
    let nothing_else = "{about: '', covers: [], steps: []}";
    snapshot(&serde_yaml_ng::from_str(nothing_else).unwrap()).unwrap()
}

fn yaml_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Stories of another kind: see `watched`.
            if !path.ends_with("scenarios/sessions") {
                files.extend(yaml_files(&path));
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Plays a story and holds every step against what is wanted.
fn check(scenario: &Scenario) -> Result<(), String> {
    let snapshot = snapshot(scenario)?;
    let subject = EntityRef::new(scenario.subject.kind.as_str(), scenario.subject.id.as_str())
        .map_err(|error| error.to_string())?;
    let mut profile = Arc::new(Profile::default());
    let mut crowd = Arc::new(Crowd::default());
    let mut now = START;
    for number in 0..scenario.history {
        // Two working hours a day, a dozen documents: an ordinary month.
        let request = question(&subject, &Value::Null, now, 0)?;
        let given = GivenSignals::default();
        let signals = signals(&given, &request, &subject, (&profile, &crowd), now)?;
        let evidence = risk::extract(&request, &signals, &snapshot.settings, now);
        let delta = evidence.delta(Key::number(u64::from(number) + 1), Lesson::Baselines);
        drop(signals);
        Arc::make_mut(&mut profile).apply(&delta);
        Arc::make_mut(&mut crowd).learn(&delta.observation, &Standing::of(&profile));
        let next_day = number % 6 == 5;
        now = now.plus_seconds(if next_day { 86_400 - 5 * 1200 } else { 1200 });
    }
    if scenario.history > 0 {
        now = now.plus_seconds(3600);
    }
    let mut event = 1_000_000;
    for (number, step) in scenario.steps.iter().enumerate() {
        let at_step = |why: String| format!("step {}: {why}", number + 1);
        now = now.plus_seconds(step.after);
        for time in 1..=step.times {
            let request = question(&subject, &step.request, now, time).map_err(at_step)?;
            let signals = signals(&step.signals, &request, &subject, (&profile, &crowd), now)
                .map_err(at_step)?;
            let outcome = decide(&request, &signals, &snapshot, now);
            replays(&request, &outcome, &snapshot, now).map_err(at_step)?;
            event += 1;
            let key = Key::number(event);
            let delta = outcome.evidence.delta(key, outcome.lesson);
            let before = profile.history();
            Arc::make_mut(&mut profile).apply(&delta);
            if step.passes.is_some() {
                Arc::make_mut(&mut profile).confirm(key, now.plus_seconds(20));
            }
            if time == step.times {
                let learnt = profile.history() - before;
                let record = record(&request, &outcome, &snapshot, now);
                let record = serde_json::from_slice(&record).unwrap();
                compare(&step.want, &outcome, learnt, &record).map_err(at_step)?;
            } else {
                now = now.plus_seconds(1);
            }
        }
    }
    Ok(())
}

fn snapshot(scenario: &Scenario) -> Result<Snapshot, String> {
    let mut files: Vec<SourceFile> = SHIPPED.clone();
    if let Some(schema) = &scenario.only_schema {
        files.retain(|file| !file.is_schema());
        files.push(SourceFile::new("scenario.cedarschema", schema.as_str()));
    }
    if let Some(only) = &scenario.only_policies {
        files.retain(SourceFile::is_schema);
        files.push(SourceFile::new("scenario.cedar", only.as_str()));
    }
    if !scenario.more_policies.is_empty() {
        files.push(SourceFile::new(
            "more.cedar",
            scenario.more_policies.as_str(),
        ));
    }
    let policies = Policies::load(&files).map_err(|problems| problems.to_string())?;
    let entities = match &scenario.entities {
        Some(entities) => entities.to_string(),
        None => std::fs::read_to_string(root().join("policies/entities.json")).unwrap(),
    };
    let directory = Directory::load(&SourceFile::new("entities.json", entities), &policies)
        .map_err(|problems| problems.to_string())?;
    let given = &scenario.settings;
    let mut settings = Settings::default();
    settings.model_weight = given.model_weight.unwrap_or(settings.model_weight);
    settings.rule_weight = given.rule_weight.unwrap_or(settings.rule_weight);
    if given.no_other_rules {
        settings.rule_points.fill(0);
    }
    settings
        .set_rules(&given.rules)
        .map_err(|wrong| wrong.join("; "))?;
    Ok(Snapshot {
        revisions: Arc::new(Revisions {
            policies: Arc::from(policies.revision()),
            entities: Arc::from(directory.revision()),
            model: Arc::clone(MODEL.name()),
            model_hash: Arc::clone(MODEL.hash()),
            settings: Arc::from(settings.revision()),
        }),
        policies: Arc::new(policies),
        directory: Arc::new(directory),
        model: Arc::clone(&MODEL),
        settings: Arc::new(settings),
        deny_from: given.stale.then_some(Timestamp::MIN),
    })
}

/// The ordinary question of a subject, with some members changed.
fn question(
    subject: &EntityRef,
    changes: &Value,
    now: Timestamp,
    time: u32,
) -> Result<domain::AccessRequest, String> {
    let mut question = serde_json::json!({
        "subject": { "type": subject.kind.as_str(), "id": subject.id.as_str() },
        "action": { "name": "read" },
        "resource": { "type": "Document", "id": "handbook" },
        "context": {
            "ip": "192.0.2.7",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "device": { "id": "laptop-1" },
        },
    });
    merge(&mut question, changes);
    let assurance = question["context"]["assurance"].take();
    question["context"]
        .as_object_mut()
        .map(|context| context.remove("assurance"));
    // `{n}` counts the times.
    let text = question.to_string().replace("{n}", &time.to_string());
    let mut request = wire::request::parse(text.as_bytes())
        .map_err(|error| error.to_string())?
        .request;
    // `{level, ago}`: what the edge makes of a caller's word.
    if let Some(level) = assurance["level"].as_i64() {
        let ago = assurance["ago"].as_i64();
        let level = Level::from_number(level).ok_or("no such level")?;
        request.context.assurance =
            Some(Assurance::of(level, ago.map(|ago| now.plus_seconds(-ago))));
    }
    Ok(request)
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                if value.is_null() {
                    into.remove(name);
                } else {
                    merge(into.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (_, Value::Null) => {}
        (into, from) => *into = from.clone(),
    }
}

/// The record as the journal would hold it.
fn record(
    request: &domain::AccessRequest,
    outcome: &Outcome,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Vec<u8> {
    let record = DecisionRecord {
        decision_id: "scenario",
        at: now,
        time: outcome.time,
        caller: "sk_scenario",
        caller_token: None,
        request_id: "req",
        manner: Manner::Access,
        request,
        facts: &outcome.evidence.facts,
        features: outcome.evidence.features.values(),
        decision: &outcome.decision,
        revisions: &snapshot.revisions,
        shadow: None,
        token_id: None,
    };
    serde_json::to_vec(&wire::record::WrittenRecord(&record)).unwrap()
}

/// Whether what the record holds decides the same again.
pub(crate) fn replays(
    request: &domain::AccessRequest,
    outcome: &Outcome,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), String> {
    let text = record(request, outcome, snapshot, now);
    let recorded = Recorded::read(&text).map_err(|error| error.to_string())?;
    let basis = snapshot.basis();
    let again = judge_again(&recorded, &snapshot.model, basis).map_err(|why| why.to_string())?;
    let settled = settle_again(&recorded, basis).map_err(|error| error.to_string())?;
    let same = |what: &str, again: &domain::Decision| {
        difference(&recorded, again).map_or(Ok(()), |why| Err(format!("{what}: {why}")))
    };
    same("judged again", &again)?;
    // With the recorded score: everything but what fired, which is the score's.
    let settled = domain::Decision {
        risk: domain::RiskAssessment {
            rules: again.risk.rules.clone(),
            ..settled.risk
        },
        ..settled
    };
    same("settled again", &settled)?;
    let told = |risk: &domain::RiskAssessment| -> Vec<(&str, i32)> {
        let factors = risk.factors.iter();
        factors.map(|it| (it.feature, it.contribution)).collect()
    };
    if told(&again.risk) != told(&outcome.decision.risk) {
        return Err("the factors are not the same when it is judged again".to_owned());
    }
    Ok(())
}

fn compare(want: &Want, outcome: &Outcome, learnt: u32, record: &Value) -> Result<(), String> {
    let decision = &outcome.decision;
    let risk = &decision.risk;
    let story = || {
        let factors: Vec<String> = risk
            .factors
            .iter()
            .map(|factor| format!("{} {:+}", factor.feature, factor.contribution))
            .collect();
        format!(
            "got {} ({}), score {} = model {} / rules {}, rules {:?}, factors {factors:?}, {}",
            decision.rung,
            decision.cause.code(),
            risk.score,
            risk.model_score,
            risk.rule_score,
            risk.rules,
            decision.reason.admin,
        )
    };
    let must = |holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(format!("wanted {what}; {}", story()))
        }
    };
    let score = i64::from(risk.score.points());
    if let Some(rung) = &want.outcome {
        must(decision.rung.as_str() == rung, &format!("outcome {rung}"))?;
    }
    if let Some(cause) = &want.cause {
        must(decision.cause.code() == cause, &format!("cause {cause}"))?;
    }
    if let Some(wanted) = want.score {
        must(score == wanted, &format!("score {wanted}"))?;
    }
    if let Some(least) = want.score_at_least {
        must(score >= least, &format!("a score of {least} or more"))?;
    }
    if let Some(most) = want.score_at_most {
        must(score <= most, &format!("a score of {most} or less"))?;
    }
    if let Some(level) = &want.level {
        must(risk.level.as_str() == level, &format!("level {level}"))?;
    }
    if let Some(policies) = &want.policies {
        let ids: Vec<&str> = decision.policies.iter().map(|policy| &*policy.id).collect();
        must(
            ids == *policies,
            &format!("policies {policies:?} and not {ids:?}"),
        )?;
    }
    for rule in &want.rules {
        must(risk.rules.contains(&rule.as_str()), &format!("rule {rule}"))?;
    }
    for rule in &want.no_rules {
        must(
            !risk.rules.contains(&rule.as_str()),
            &format!("no rule {rule}"),
        )?;
    }
    let facts = &record["facts"];
    for (name, wanted) in &want.facts {
        let found = name.split('.').fold(facts, |value, part| &value[part]);
        must(
            found == wanted,
            &format!("{name} = {wanted} and not {found}"),
        )?;
    }
    if let Some(wanted) = &want.unavailable {
        let found: Vec<&str> = outcome
            .evidence
            .facts
            .unavailable
            .iter()
            .map(|source| Source::name(*source))
            .collect();
        must(
            found == *wanted,
            &format!("unavailable {wanted:?} and not {found:?}"),
        )?;
    }
    if let Some(lesson) = &want.lesson {
        let found = match outcome.lesson {
            Lesson::Baselines => "baselines",
            Lesson::Reserved => "reserved",
            Lesson::Wait => "wait",
            Lesson::Counters => "counters",
        };
        must(found == lesson, &format!("lesson {lesson} and not {found}"))?;
    }
    for feature in &want.factors {
        let named = risk.factors.iter().any(|factor| factor.feature == feature);
        must(named, &format!("factor {feature}"))?;
    }
    if let Some(text) = &want.reason_user {
        must(
            decision.reason.user.contains(text),
            &format!("the user to read “{text}”"),
        )?;
        let digits = decision
            .reason
            .user
            .chars()
            .any(|character| character.is_ascii_digit());
        must(!digits, "no number in what the user reads")?;
    }
    if let Some(text) = &want.reason_admin {
        must(
            decision.reason.admin.contains(text),
            &format!("the admin to read “{text}”"),
        )?;
    }
    if let Some(wanted) = want.learnt {
        must(
            learnt == wanted,
            &format!("{wanted} learnt and not {learnt}"),
        )?;
    }
    for (pointer, wanted) in &want.record {
        let found = record.pointer(pointer).unwrap_or(&Value::Null);
        must(
            found == wanted,
            &format!("record {pointer} = {wanted} and not {found}"),
        )?;
    }
    // R16: whatever the story, the factors add up to the score.
    let told: i32 = risk.factors.iter().map(|factor| factor.contribution).sum();
    must(
        i64::from(risk.baseline + risk.other + told) == score,
        "baseline, other and contributions to add up to the score",
    )
}
