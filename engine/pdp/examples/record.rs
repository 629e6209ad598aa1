//! Puts many decisions on record, to measure what reads them.
//!
//! `cargo run --release -p pdp --example record -- EVENTS FOLDER [COUNT]` plays a file of events
//! (`portreeve data simulate`) through the engine's own `answer`, journal, flush and drain on,
//! and leaves `FOLDER/portreeve.toml` for `portreeve --config … policy replay`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "an example that cannot go on must stop"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use domain::EntityRef;
use futures_util::stream::{self, StreamExt as _};
use pdp::access::{Caller, Role};
use pdp::administrator::answer;
use pdp::app;
use pdp::background::Background;
use pdp::inputs::Inputs;
use pdp::settings::Settings;
use serde_json::json;
use wire::event::WrittenEvent;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Questions under way at once.
const AT_ONCE: usize = 64;

const PERMIT: &str = "@id(\"imported\")\n\
    permit (principal in Group::\"imported\", action, resource);\n";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, events, folder, rest @ ..] = args.as_slice() else {
        println!("record EVENTS FOLDER [COUNT]");
        return;
    };
    let most: usize = rest.first().map_or(1_000_000, |most| most.parse().unwrap());
    let (events, folder) = (PathBuf::from(events), PathBuf::from(folder));
    let settings = site(&folder, &events);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let app = app::build(settings, Inputs::system()).await.unwrap().app;
        let background = Background::start(&app);
        let caller = Caller {
            key_id: "recorder".to_owned(),
            client_id: "recorder".to_owned(),
            role: Role::Admin,
            subject: EntityRef::new("Service", "recorder").unwrap(),
            audience: None,
            permissions: None,
            token_id: None,
        };
        let started = Instant::now();
        let files = [events];
        let questions = trainer::events::read(&files)
            .map(Result::unwrap)
            .filter(|event| event.is_question())
            .take(most);
        let (app_, caller_) = (&app, &caller);
        let answered = stream::iter(questions)
            .map(|event| async move {
                let written = WrittenEvent {
                    event: &event,
                    as_question: true,
                };
                let text = serde_json::to_vec(&written).unwrap();
                let incoming = wire::request::parse(&text).unwrap();
                // What the simulator gets wrong about a moment is refused, and is no decision.
                let done = answer(app_, caller_, incoming, false, "record").await;
                usize::from(done.is_ok())
            })
            .buffer_unordered(AT_ONCE)
            .fold(0, async |sum, done| sum + done)
            .await;
        let seconds = started.elapsed().as_secs_f64();
        println!("{answered} decisions in {seconds:.1} s");
        background.finish().await;
        drop(Arc::clone(&app));
    });
    let bytes: u64 = fs::read_dir(folder.join("var/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    println!("{bytes} bytes of journal");
}

/// A folder with the shipped policies, and everybody in the events stored.
fn site(folder: &Path, events: &Path) -> Settings {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().unwrap();
    let policies = folder.join("policies");
    fs::create_dir_all(&policies).unwrap();
    for entry in fs::read_dir(root.join("policies")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, policies.join(path.file_name().unwrap())).unwrap();
        }
    }
    fs::write(policies.join("imported.cedar"), PERMIT).unwrap();
    let mut seen: BTreeSet<(EntityRef, bool)> = BTreeSet::new();
    for event in trainer::events::read(&[events.to_owned()]) {
        let request = event.unwrap().request;
        seen.insert((request.subject.entity, true));
        seen.insert((request.resource.entity, false));
    }
    let uid = |kind: &str, id: &str| json!({ "type": kind, "id": id });
    let group = uid("Group", "imported");
    let mut entities = vec![json!({ "uid": group, "attrs": {}, "parents": [] })];
    entities.extend(seen.iter().map(|(entity, is_subject)| {
        let parents = if *is_subject {
            vec![group.clone()]
        } else {
            Vec::new()
        };
        let uid = uid(entity.kind.as_str(), entity.id.as_str());
        json!({ "uid": uid, "attrs": {}, "parents": parents })
    }));
    let text = serde_json::to_string(&entities).unwrap();
    fs::write(policies.join("entities.json"), text).unwrap();
    let text = format!(
        "data_dir = {:?}\n[policies]\ndir = {policies:?}\nentities = {:?}\n[models]\ndir = {:?}\n\
         [geo]\ncity = {:?}\nasn = {:?}\nanonymous = {:?}\n",
        folder.join("var"),
        policies.join("entities.json"),
        root.join("models"),
        root.join("data/geo/demo.mmdb"),
        root.join("data/geo/demo.mmdb"),
        root.join("data/geo/demo.mmdb"),
    );
    let config = folder.join("portreeve.toml");
    fs::write(&config, text).unwrap();
    Settings::load(Some(&config), std::iter::empty()).unwrap()
}
