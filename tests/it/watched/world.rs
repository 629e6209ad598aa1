//! An engine in this process, with a clock that is moved by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use domain::Timestamp;
use pdp::access::Role;
use pdp::app::{self, App};
use pdp::inputs::{Clock, Inputs};
use pdp::settings::Settings;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::form::Story;
use crate::harness::{Client, root};

/// A Monday at eight, UTC: nine in Paris.
const START: Timestamp = Timestamp::from_seconds(1_803_888_000);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
});

/// A clock that stands still until it is moved.
#[derive(Debug)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// The engine, and who talks to it.
pub(super) struct World {
    app: Arc<App>,
    clock: Arc<HandClock>,
    key_id: String,
    address: SocketAddr,
    pub(super) gateway: Client,
    pub(super) another: Client,
    pub(super) admin: Client,
    /// Number of the last security event that was asked for.
    seen: u64,
    _stop: watch::Sender<bool>,
    folder: TempDir,
}

impl World {
    /// Shipped policies, model and demo addresses; nothing goes on by itself.
    pub(super) fn new(story: &Story) -> Self {
        let settings = &story.settings;
        let folder = TempDir::new().unwrap();
        let policies = folder.path().join("policies");
        copy(&root().join("policies"), &policies);
        std::fs::write(policies.join("99-story.cedar"), &story.more_policies).unwrap();
        for name in &story.without_policies {
            std::fs::remove_file(policies.join(name)).unwrap();
        }
        let (data, root) = (folder.path().join("var"), root());
        let geo = root.join("data/geo/demo.mmdb");
        let models = root.join("models");
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = {data:?}\n{settings}\n\
             [audit]\nsync = false\n[policies]\ndir = {policies:?}\n[models]\ndir = {models:?}\n\
             [geo]\ncity = {geo:?}\nasn = {geo:?}\nanonymous = {geo:?}\n"
        );
        let file = folder.path().join("portreeve.toml");
        std::fs::write(&file, text).unwrap();
        let settings = Settings::load(Some(&file), std::iter::empty()).unwrap();
        let clock = Arc::new(HandClock(AtomicI64::new(START.millis())));
        let inputs = Inputs {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ..Inputs::system()
        };
        let (stop, stopped) = watch::channel(false);
        let (app, address, keys) = RUNTIME.block_on(async {
            let built = app::build(settings, inputs).await.unwrap();
            let app = built.app;
            let listeners = pdp::serve::listen(&app).await.unwrap();
            let address = listeners.address();
            let gateway = app.create_key("gateway", Role::Gateway).await.unwrap();
            let another = app.create_key("another", Role::Gateway).await.unwrap();
            let admin = app.create_key("admin", Role::Admin).await.unwrap();
            tokio::spawn(pdp::serve::serve(Arc::clone(&app), listeners, stopped));
            (app, address, [gateway, another, admin])
        });
        let [gateway, another, admin] = keys;
        let client = |key: &str, address: SocketAddr| Client::of(address, key);
        Self {
            gateway: client(&gateway.key, address),
            another: client(&another.key, address),
            admin: client(&admin.key, address),
            key_id: gateway.record.key_id.clone(),
            address,
            app,
            clock,
            seen: 0,
            _stop: stop,
            folder,
        }
    }

    pub(super) fn client(&self, key: &str) -> Client {
        Client::of(self.address, key)
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// One without a story, with these settings.
    pub(super) fn with(settings: &str) -> Self {
        let story = json!({ "about": "", "covers": [], "settings": settings, "steps": [] });
        Self::new(&serde_json::from_value(story).unwrap())
    }

    /// What the clock says, seconds.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().seconds()
    }

    /// The same with the moment in the place of `$now`.
    pub(super) fn timed(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if text == "$now" => wire::time::format(self.clock.now()).into(),
            Value::Object(members) => {
                let timed = |(name, value): (&String, &Value)| (name.clone(), self.timed(value));
                Value::Object(members.iter().map(timed).collect())
            }
            other => other.clone(),
        }
    }

    /// Makes the monitor's rounds that are due, and says how many sessions were looked at.
    pub(super) fn monitor(&self) -> Result<usize, store::sqlite::StoreError> {
        RUNTIME.block_on(pdp::monitor::round(&self.app))
    }

    /// How many acts of the monitor are in the journal.
    pub(super) fn recorded(&self) -> usize {
        let files = std::fs::read_dir(self.folder.path().join("var/journal")).unwrap();
        let count = |file: std::io::Result<std::fs::DirEntry>| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            text.matches(r#""kind":"monitor""#).count()
        };
        files.map(count).sum()
    }

    /// Does something to the database by a connection of its own.
    pub(super) fn sql(&self, sql: &str) {
        let path = self.folder.path().join("var/portreeve.db");
        assert!(path.exists(), "{}", path.display());
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        RUNTIME.block_on(async {
            let options = SqliteConnectOptions::new().filename(path);
            let mut connection = options.connect().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
    }

    /// Pauses streams whose receivers are silent, as is done from time to time.
    pub(super) fn look_after_streams(&self) {
        RUNTIME.block_on(self.app.look_after_streams()).unwrap();
    }

    pub(super) fn revoke_key(&mut self) -> u16 {
        let path = format!("/v1/keys/{}", self.key_id);
        self.admin.send("DELETE", &path, &[], b"").status
    }

    /// What was told since the last time: kinds, and of alerts their words.
    pub(super) fn told(&mut self) -> Vec<String> {
        let store = self.app.state.store();
        let rows = RUNTIME.block_on(store.security_events(10_000)).unwrap();
        let new: Vec<_> = rows
            .into_iter()
            .filter(|row| row.number > self.seen)
            .collect();
        self.seen = new.last().map_or(self.seen, |row| row.number);
        let word = |row: &store::sqlite::SecurityEventRow| {
            let body: Value = row
                .event
                .body
                .as_deref()
                .map_or(Value::Null, |body| serde_json::from_str(body).unwrap());
            match body["alert"].as_str() {
                Some(alert) => format!("alert {alert}"),
                None => row.event.kind.as_str().to_owned(),
            }
        };
        new.iter().map(word).collect()
    }
}

/// The request that alice makes every day, with members changed.
pub(super) fn ordinary(change: &Value) -> Value {
    let mut request = crate::harness::alice_reads();
    merge(&mut request, change);
    request
}

/// The same, in the form that opens a session.
pub(super) fn opening(change: &Value) -> Value {
    let mut request = ordinary(change);
    let members = request.as_object_mut().unwrap();
    members.retain(|name, _| matches!(name.as_str(), "subject" | "context"));
    request
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (name, value) in change {
                if value.is_null() {
                    into.remove(name);
                } else {
                    merge(into.entry(name).or_insert(json!({})), value);
                }
            }
        }
        (_, Value::Null) => {}
        (into, change) => *into = change.clone(),
    }
}

/// `type` and `id` aside, what is put.
pub(super) fn without(members: &BTreeMap<String, Value>, names: &[&str]) -> Value {
    let kept = members
        .iter()
        .filter(|(name, _)| !names.contains(&name.as_str()));
    Value::Object(
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}
