//! What policies cost as they grow: a decision among ever more of them, with groups, beside
//! Cedar's own authorizer; and searches over many entities.
//!
//! `cargo bench -p pdp --bench policies`

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench that cannot go on must stop"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cedar_policy::{Authorizer, Context, Decision, Entities, Request};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use domain::record::Revisions;
use domain::{AccessRequest, Rung, Timestamp};
use pdp::engine::{Snapshot, decide};
use pdp::search::look::{Bounds, Quest};
use policy::{Directory, Policies, SourceFile};
use risk::{Model, Signals};
use wire::search::Sought;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Policies that the question meets, however many there are beside them.
const CANDIDATES: usize = 10;

const SCHEMA: &str = "
    entity Group in [Group];
    entity User in [Group] { department?: String };
    entity Folder in [Folder];
    entity Document in [Folder] { owner?: User, sensitivity?: Long };
    action read, write appliesTo {
        principal: [User], resource: [Document],
        context: {
            risk: { score: Long, level: String },
            signals: { tor?: Bool, new_country?: Bool },
        },
    };
";

const CONDITION: &str = "when { context.risk.score < 100 && (if resource has sensitivity then resource.sensitivity <= 2 else true) }";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn model() -> Arc<Model> {
    let (model, _) = risk::artifact::load(&root().join("models/behaviour/1")).unwrap();
    Arc::new(model)
}

/// Ten policies about the one who asks, and others about groups and folders that are not theirs.
fn scoped(count: usize) -> String {
    let mut text = String::new();
    for number in 0..CANDIDATES {
        write!(
            text,
            "@id(\"mine-{number}\")\npermit (principal in Group::\"g0\", action == Action::\"read\", \
             resource in Folder::\"f0\")\n{CONDITION};\n"
        )
        .unwrap();
    }
    for number in CANDIDATES..count {
        write!(
            text,
            "@id(\"other-{number}\")\npermit (principal in Group::\"o{number}\", \
             action in [Action::\"read\", Action::\"write\"], resource in Folder::\"o{number}\")\n{CONDITION};\n"
        )
        .unwrap();
    }
    text
}

/// Policies without a scope: each is a candidate.
fn unscoped(count: usize) -> String {
    (0..count)
        .map(|number| {
            format!("@id(\"any-{number}\")\npermit (principal, action, resource)\n{CONDITION};\n")
        })
        .collect()
}

/// Alice in so many groups, and the one document.
fn entities(groups: usize) -> String {
    let mut all = Vec::new();
    let parents: Vec<String> = (0..groups)
        .map(|number| format!(r#"{{"type":"Group","id":"g{number}"}}"#))
        .collect();
    all.extend((0..groups).map(|number| {
        format!(r#"{{"uid":{{"type":"Group","id":"g{number}"}},"attrs":{{}},"parents":[]}}"#)
    }));
    all.push(format!(
        r#"{{"uid":{{"type":"User","id":"alice"}},"attrs":{{}},"parents":[{}]}}"#,
        parents.join(",")
    ));
    all.push(
        r#"{"uid":{"type":"Document","id":"d"},"attrs":{"sensitivity":1},"parents":[{"type":"Folder","id":"f0"}]}"#
            .to_owned(),
    );
    format!("[{}]", all.join(","))
}

fn snapshot(policies: &str, entities: &str, model: &Arc<Model>) -> Snapshot {
    let files = [
        SourceFile::new("s.cedarschema", SCHEMA),
        SourceFile::new("p.cedar", policies),
    ];
    let policies = Policies::load(&files).unwrap();
    let directory = Directory::load(&SourceFile::new("e.json", entities), &policies).unwrap();
    let name = |text: &str| Arc::from(text);
    Snapshot {
        policies: Arc::new(policies),
        directory: Arc::new(directory),
        model: Arc::clone(model),
        settings: Arc::default(),
        revisions: Arc::new(Revisions {
            policies: name("p"),
            entities: name("e"),
            model: name("m"),
            model_hash: name("h"),
            settings: name("s"),
        }),
        deny_from: None,
    }
}

fn request() -> AccessRequest {
    let text = br#"{"subject":{"type":"User","id":"alice"},"action":{"name":"read"},"resource":{"type":"Document","id":"d"}}"#;
    wire::request::parse(text).unwrap().request
}

const NOW: Timestamp = Timestamp::from_seconds(1_772_442_000);

fn decisions(criterion: &mut Criterion) {
    let model = model();
    let request = request();
    let signals = Signals::default();
    let mut group = criterion.benchmark_group("decide_among_policies");
    for groups in [1, 10, 50] {
        for count in [10, 100, 1_000, 10_000] {
            let snapshot = snapshot(&scoped(count), &entities(groups), &model);
            let outcome = decide(&request, &signals, &snapshot, NOW);
            assert_eq!(outcome.decision.rung, Rung::Allow);
            assert_eq!(outcome.decision.policies.len(), CANDIDATES);
            let id = BenchmarkId::new(format!("{groups}_groups"), count);
            group.bench_function(id, |bench| {
                bench.iter(|| decide(black_box(&request), &signals, &snapshot, NOW));
            });
        }
    }
    for count in [10, 100, 1_000] {
        let snapshot = snapshot(&unscoped(count), &entities(10), &model);
        let outcome = decide(&request, &signals, &snapshot, NOW);
        assert_eq!(outcome.decision.policies.len(), count);
        group.bench_function(BenchmarkId::new("unscoped", count), |bench| {
            bench.iter(|| decide(black_box(&request), &signals, &snapshot, NOW));
        });
    }
    group.finish();
}

/// The same questions, put to Cedar's own authorizer, with the request made beforehand.
fn cedar(criterion: &mut Criterion) {
    let model = model();
    let context = serde_json::json!({ "risk": { "score": 5, "level": "LOW" }, "signals": {} });
    let context = Context::from_json_value(context, None).unwrap();
    let uid = |text: &str| text.parse().unwrap();
    let request = Request::new(
        uid("User::\"alice\""),
        uid("Action::\"read\""),
        uid("Document::\"d\""),
        context,
        None,
    )
    .unwrap();
    let mut group = criterion.benchmark_group("cedar_authorizer");
    let scoped = [10, 100, 1_000, 10_000].map(|count| ("scoped", count, scoped(count)));
    let unscoped = [10, 100, 1_000].map(|count| ("unscoped", count, unscoped(count)));
    for (name, count, text) in scoped.into_iter().chain(unscoped) {
        let text_of_entities = entities(10);
        let snapshot = snapshot(&text, &text_of_entities, &model);
        let policies = snapshot.policies.as_cedar();
        let schema = Some(snapshot.policies.schema());
        let entities = Entities::from_json_str(&text_of_entities, schema).unwrap();
        let authorizer = Authorizer::new();
        let asked = || authorizer.is_authorized(black_box(&request), policies, &entities);
        assert_eq!(asked().decision(), Decision::Allow);
        group.bench_function(BenchmarkId::new(name, count), |bench| bench.iter(asked));
    }
    group.finish();
}

/// A hundred thousand documents, fifty of them alice's, by three ways of writing the same grant.
fn searches(criterion: &mut Criterion) {
    const STORED: usize = 100_000;
    let model = model();
    let documents = (0..STORED).map(|number| {
        let mine = number % (STORED / 50) == 7;
        let (owner, folder) = if mine { ("alice", "f0") } else { ("bob", "f1") };
        format!(
            r#"{{"uid":{{"type":"Document","id":"d{number}"}},"attrs":{{"owner":{{"__entity":{{"type":"User","id":"{owner}"}}}}}},"parents":[{{"type":"Folder","id":"{folder}"}}]}}"#
        )
    });
    let documents: Vec<String> = documents.collect();
    let people = r#"{"uid":{"type":"User","id":"alice"},"attrs":{},"parents":[]},{"uid":{"type":"User","id":"bob"},"attrs":{},"parents":[]}"#;
    let stored = format!("[{people},{}]", documents.join(","));
    let owned = "resource has owner && resource.owner == principal";
    let mut group = criterion.benchmark_group("search_among_100000");
    for (name, policy) in [
        (
            "by_folder",
            "permit (principal, action, resource in Folder::\"f0\");".to_owned(),
        ),
        (
            "by_owner",
            format!(
                "permit (principal, action, resource) when {{ {owned} && context.risk.score < 90 }};"
            ),
        ),
        (
            "by_owner_or_risk",
            format!(
                "permit (principal, action, resource) when {{ ({owned}) || context.risk.score > 90 }};"
            ),
        ),
    ] {
        let snapshot = snapshot(&format!("@id(\"it\")\n{policy}"), &stored, &model);
        let request = request();
        let signals = Signals::default();
        let quest = Quest {
            sought: Sought::Resource,
            request: &request,
            signals: &signals,
            snapshot: &snapshot,
            sensitivity_attribute: "sensitivity",
            size_attribute: "size_bytes",
            now: NOW,
        };
        let bounds = Bounds {
            results: 1000,
            evaluations: 10_000,
            expired: &|| false,
        };
        let whole = || {
            let (mut pages, mut evaluated, mut found, mut next) = (0, 0, 0, Some(0));
            while let Some(from) = next {
                let page = quest.page(from, &bounds);
                pages += 1;
                evaluated += page.evaluated;
                found += page.found.len();
                next = page.next;
            }
            (found, evaluated, pages)
        };
        let started = Instant::now();
        let (found, evaluated, pages) = whole();
        let first = started.elapsed();
        assert_eq!(found, 50);
        println!("{name}: {evaluated} decisions on {pages} pages; {first:?} with the index made");
        group.bench_function(name, |bench| bench.iter(whole));
    }
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

criterion_group! {
    name = benches;
    config = quick();
    targets = decisions, cedar, searches
}
criterion_main!(benches);
