use std::net::IpAddr;

use domain::facts::{AssuranceFacts, Fact, GROUPS, Kind, TimeFacts};
use domain::record::Manner;
use domain::request::{Action, Party, RequestContext};
use domain::signal::Source;
use domain::value::Attributes;
use domain::{
    ActionResult, DecidingPolicy, Decision, DecisionRecord, DeviceClaim, EntityRef, Factor,
    KeyThumbprint, Name, Reason, RiskAssessment, RiskLevel, RungTried, TokenWish,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::record::WrittenRecord;

const FEATURES: [&str; 4] = ["device_surprise", "asn_rarity", "hour_surprise", "hosting"];

fn moment() -> impl Strategy<Value = Timestamp> {
    (0..Timestamp::MAX.millis()).prop_map(Timestamp::from_millis)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "\\PC{1,12}", "[\"\\\\/\u{1}\u{7f}é日]{1,6}"]
}

fn name() -> impl Strategy<Value = Name> {
    text().prop_filter_map("a name", |text| Name::new(text).ok())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Long),
        (-1e300..1e300).prop_map(Value::Number),
        text().prop_map(Value::Text),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::List),
            btree_map(text(), inner, 0..3).prop_map(Value::Record),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    // The engine's own members are the caller's no more.
    btree_map("x_[a-z]{1,5}", value(), 0..3)
}

fn assurance() -> impl Strategy<Value = Assurance> {
    let level = (0..4_i64).prop_map(|number| Level::from_number(number).unwrap());
    let at = || option::of(moment());
    (level, at(), at(), at()).prop_map(|(level, at, challenge_at, mfa_at)| Assurance {
        level,
        at,
        challenge_at,
        mfa_at,
    })
}

fn party() -> impl Strategy<Value = Party> {
    (name(), name(), attributes()).prop_map(|(kind, id, properties)| Party {
        entity: EntityRef { kind, id },
        properties,
    })
}

fn confirmation() -> impl Strategy<Value = Option<KeyThumbprint>> {
    let thumbprint = "[A-Za-z0-9_-]{42}A";
    option::of(prop_oneof![
        thumbprint.prop_map(KeyThumbprint::Jkt),
        thumbprint.prop_map(KeyThumbprint::Certificate),
    ])
}

fn context() -> impl Strategy<Value = RequestContext> {
    let named = || option::of(name().prop_map(|name| name.as_str().to_owned()));
    let flag = || option::of(any::<bool>());
    let device = (
        named(),
        flag(),
        flag(),
        option::of(text()),
        option::of(text()),
        confirmation(),
    )
        .prop_map(
            |(id, managed, compliant, os, fingerprint, proven)| DeviceClaim {
                id,
                managed,
                compliant,
                os,
                os_version: None,
                fingerprint,
                proven,
            },
        );
    let token = (name(), vec("[a-z.]{1,8}", 0..3), confirmation()).prop_map(
        |(audience, scope, confirmation)| TokenWish {
            audience: audience.as_str().to_owned(),
            scope: scope.into_iter().map(|it| Name::new(it).unwrap()).collect(),
            confirmation,
        },
    );
    let ip = any::<[u8; 16]>().prop_map(|bytes| IpAddr::from(bytes).to_canonical());
    (
        (option::of(ip), option::of(text()), named()),
        option::of(device),
        option::of(assurance()),
        option::of(token),
        any::<bool>(),
        option::of(moment()),
        attributes(),
    )
        .prop_map(
            |((ip, user_agent, session_id), device, assurance, token, dry_run, time, extra)| {
                RequestContext {
                    ip,
                    user_agent,
                    session_id,
                    device,
                    assurance,
                    actor: None,
                    token,
                    dry_run,
                    time,
                    extra,
                }
            },
        )
}

fn request() -> impl Strategy<Value = AccessRequest> {
    let result = prop_oneof![Just(ActionResult::Success), Just(ActionResult::Failure)];
    (
        party(),
        (name(), attributes()),
        party(),
        context(),
        option::of(result),
    )
        .prop_map(
            |(subject, (name, properties), resource, context, result)| AccessRequest {
                subject,
                action: Action { name, properties },
                resource,
                context,
                result,
            },
        )
}

/// Every word of the vocabulary, known or not.
fn facts() -> impl Strategy<Value = Facts> {
    let count: usize = GROUPS.iter().map(|group| group.words.len()).sum();
    let given = (any::<bool>(), any::<i64>(), text(), moment(), any::<u32>());
    let sources = proptest::sample::subsequence(Source::ALL.to_vec(), 0..=Source::ALL.len());
    (vec(option::of(given), count), sources).prop_map(|(given, unavailable)| {
        let mut facts = Facts {
            unavailable,
            ..Facts::default()
        };
        let words = GROUPS.iter().flat_map(|group| group.words);
        for (word, given) in words.zip(given) {
            let Some((flag, number, text, moment, address)) = given else {
                continue;
            };
            let fact = match word.kind {
                Kind::Bool => Fact::Bool(flag),
                Kind::Long => Fact::Long(number),
                Kind::Text => Fact::Text(&text),
                Kind::Address => Fact::Address(IpAddr::from(address.to_be_bytes())),
                Kind::Moment => Fact::Moment(moment),
            };
            assert!((word.set)(&mut facts, fact));
        }
        facts
    })
}

fn rung() -> impl Strategy<Value = Rung> {
    proptest::sample::select(Rung::ALL.to_vec())
}

fn told() -> impl Strategy<Value = Vec<Arc<DecidingPolicy>>> {
    let policy = text().prop_map(|id| {
        Arc::new(DecidingPolicy {
            id: Arc::from(id),
            reason: None,
            severity: None,
            alert: None,
        })
    });
    vec(policy, 0..3)
}

fn decision() -> impl Strategy<Value = Decision> {
    let tried = (rung(), any::<bool>(), told(), vec(text(), 0..2)).prop_map(
        |(rung, allowed, determining, errors)| RungTried {
            rung,
            allowed,
            determining,
            errors,
        },
    );
    let points = || (0_u8..=100).prop_map(points_of);
    let factors = proptest::sample::subsequence(FEATURES.to_vec(), 0..=FEATURES.len());
    let risk = (points(), points(), points(), factors, any::<[i16; 2]>()).prop_map(
        |(score, model_score, rule_score, factors, [baseline, other])| RiskAssessment {
            score,
            level: RiskLevel::Low,
            model_score,
            rule_score,
            baseline: baseline.into(),
            other: other.into(),
            factors: factors
                .into_iter()
                .zip(1..)
                .map(|(feature, contribution)| Factor {
                    feature,
                    value: None,
                    contribution,
                    reason: String::new(),
                })
                .collect(),
            rules: vec!["tor", "new-device"],
            model: Arc::from("behaviour@1"),
        },
    );
    let cause = proptest::sample::select(Cause::ALL.to_vec());
    let told = (told(), vec(tried, 0..4), option::of(text()));
    (rung(), cause, told, risk).prop_map(|(rung, cause, (policies, tried, detail), risk)| {
        Decision {
            rung,
            cause,
            policies,
            reason: Reason {
                user: String::new(),
                admin: String::new(),
            },
            detail,
            tried,
            risk,
        }
    })
}

fn points_of(number: u8) -> RiskScore {
    RiskScore::from_points(f64::from(number)).unwrap()
}

fn ids(policies: &[Arc<DecidingPolicy>]) -> Vec<&str> {
    policies.iter().map(|policy| &*policy.id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_written_is_read_back(
        request in request(),
        mut facts in facts(),
        held in assurance(),
        decision in decision(),
        features in vec(option::of(any::<f32>()), 0..40),
        (at, time) in (moment(), moment()),
        is_derived in any::<bool>(),
        token in option::of(text()),
    ) {
        facts.assurance = AssuranceFacts::of(&held, time);
        // The words of another moment are none that follow, and are written then.
        if is_derived || facts.time.now.is_none() {
            facts.time = TimeFacts::at(time);
        } else {
            facts.time = TimeFacts::at(facts.time.now.unwrap_or_default());
        }
        let features: Vec<f64> = features
            .into_iter()
            .map(|value| value.filter(|value| value.is_finite()).map_or(f64::NAN, f64::from))
            .collect();
        let revisions = Revisions {
            policies: Arc::from("0011"),
            entities: Arc::from("2233+7"),
            model: Arc::from("behaviour@1"),
            model_hash: Arc::from("4455"),
            settings: Arc::from("6677"),
        };
        let record = DecisionRecord {
            decision_id: "0190-d",
            at,
            time,
            caller: "sk_1",
            caller_token: None,
            request_id: "r\"1",
            manner: Manner::Batch,
            request: &request,
            facts: &facts,
            features: &features,
            decision: &decision,
            revisions: &revisions,
            token_id: token.as_deref(),
            shadow: None,
        };
        let text = serde_json::to_vec(&WrittenRecord(&record)).unwrap();
        prop_assert_eq!(Glance::at(&text), Ok(Glance::Decision(at)));
        let read = Recorded::read(&text).unwrap();

        prop_assert_eq!((read.at, read.time), (at, time));
        prop_assert_eq!(&read.decision_id, "0190-d");
        prop_assert_eq!((&*read.caller, &*read.request_id), ("sk_1", "r\"1"));
        prop_assert_eq!(&read.manner, "batch");
        prop_assert_eq!(&read.request, &request);
        prop_assert_eq!(&read.revisions, &revisions);
        prop_assert_eq!(&read.token_id, &token);
        // Bit by bit, and what is unknown stays so.
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read.features), bits(&features));
        // The score is the record's; its words follow from it.
        facts.risk = Default::default();
        prop_assert_eq!(&read.facts, &facts);
        prop_assert_eq!(AssuranceFacts::of(&read.assurance, time), facts.assurance);

        prop_assert_eq!((read.outcome, read.cause), (decision.rung, decision.cause));
        prop_assert_eq!(&read.detail, &decision.detail);
        prop_assert_eq!(read.policies, ids(&decision.policies));
        let risk = &decision.risk;
        prop_assert_eq!(
            (read.risk.score, read.risk.model_score, read.risk.rule_score),
            (risk.score, risk.model_score, risk.rule_score)
        );
        prop_assert_eq!((read.risk.baseline, read.risk.other), (risk.baseline, risk.other));
        prop_assert_eq!(&read.risk.fired, &risk.rules);
        let told: Vec<_> = risk
            .factors
            .iter()
            .map(|factor| (factor.feature.to_owned(), factor.contribution))
            .collect();
        prop_assert_eq!(&read.risk.contributions, &told);
        if decision.tried.len() > 1 {
            for (read, tried) in read.tried.iter().zip(&decision.tried) {
                prop_assert_eq!((read.rung, read.allowed), (tried.rung, tried.allowed));
                prop_assert_eq!(&read.errors, &tried.errors);
                prop_assert_eq!(&read.policies, &ids(&tried.determining));
            }
        }
        prop_assert_eq!(read.tried.len(), if decision.tried.len() > 1 { decision.tried.len() } else { 0 });
    }
}

const RECORD: &str = r#"{"v":1,"decision_id":"d","at":"2026-03-02T09:00:01.000Z","time":"2026-03-02T09:00:00.000Z","manner":"access","outcome":"allow","cause":"policies","score":0,"caller":"k","request_id":"r","request":{"subject":{"type":"User","id":"alice"},"action":{"name":"read"},"resource":{"type":"Document","id":"handbook"},"context":{}},"facts":{"assurance":{"level":0,"age_seconds":3155760000}},"features":[null,0.5],"risk":{"model":0,"rules":0,"fired":[],"baseline":0,"other":0,"contributions":{}},"policies":[],"revisions":{"policies":"p","entities":"e","model":"m@1","model_hash":"h","settings":"s"}}"#;

#[test]
fn what_is_missing_or_strange_is_not_guessed() {
    assert!(Recorded::read(RECORD.as_bytes()).is_ok());
    for (from, to, told) in [
        (r#""v":1"#, r#""v":2"#, "version 2"),
        (r#""level":0,"#, "", "no assurance"),
        (r#""level":0"#, r#""level":9"#, "9 is no level"),
        (r#""cause":"policies""#, r#""cause":"whim""#, "whim"),
        (r#""outcome":"allow""#, r#""outcome":"maybe""#, "maybe"),
        (r#""facts":{"#, r#""facts":{"mood":{},"#, "mood"),
        (r#""facts":{"#, r#""facts":{"signals":{"luck":1},"#, "luck"),
        (
            r#""facts":{"#,
            r#""facts":{"signals":{"tor":1},"#,
            "boolean",
        ),
        (
            r#""facts":{"#,
            r#""facts":{"unavailable":["moon"],"#,
            "moon",
        ),
        (r#""score":0"#, r#""score":101"#, "101"),
        (r#","features":[null,0.5]"#, "", "features"),
        (r#""settings":"s""#, r#""more":"s""#, "settings"),
    ] {
        let text = RECORD.replacen(from, to, 1);
        assert_ne!(text, RECORD, "{from}");
        let error = Recorded::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(told), "{from}: {error}");
    }
    let other = Glance::at(br#"{"v":1,"kind":"step_up","at":"x"}"#);
    assert_eq!(other, Ok(Glance::Other));
    let monitor =
        |rest: &str| format!(r#"{{"v":1,"kind":"monitor","at":"1970-01-01T00:00:01Z"{rest}}}"#);
    let at = Timestamp::from_seconds(1);
    assert_eq!(Glance::at(monitor("").as_bytes()), Ok(Glance::Monitor(at)));
    let follows = monitor(r#","decision_id":"dec_1""#);
    assert_eq!(Glance::at(follows.as_bytes()), Ok(Glance::Other));
}
