//! The models of a running engine: choosing one, and watching what they do.

mod choosing;
mod watching;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Engine, Ran, Site, alice_reads, eventually, root, run};

/// A site with models of its own: the shipped one as `behaviour@1`.
struct Shelf {
    site: Site,
    models: PathBuf,
}

impl Shelf {
    fn new(champion: &str) -> Self {
        let site = Site::new();
        let shelf = Self {
            models: site.folder.path().join("models"),
            site,
        };
        shelf.set_champion(champion);
        shelf.put(1, |_| {});
        shelf
    }

    fn set_champion(&self, champion: &str) {
        let path = self.site.config();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("[models]").next().unwrap();
        let models = format!(
            "[models]\ndir = {:?}\nchampion = {champion:?}\n",
            self.models
        );
        fs::write(&path, format!("{text}{models}")).unwrap();
    }

    fn folder(&self, version: u32) -> PathBuf {
        self.models.join("behaviour").join(version.to_string())
    }

    /// A copy of the shipped model under another version, its manifest changed.
    fn put(&self, version: u32, change: impl FnOnce(&mut Value)) {
        self.put_copy(&root().join("models/behaviour/1"), version, change);
    }

    /// The model trained by this test binary, as this version.
    fn put_trained(&self, version: u32) {
        let trained = trained().folder.path().join("models/behaviour/7");
        self.put_copy(&trained, version, |_| {});
    }

    fn put_copy(&self, of: &Path, version: u32, change: impl FnOnce(&mut Value)) {
        let folder = self.folder(version);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(of.join("forest.bin"), folder.join("forest.bin")).unwrap();
        let text = fs::read_to_string(of.join("manifest.json")).unwrap();
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["version"] = json!(version);
        change(&mut manifest);
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    }

    fn model(&self, arguments: &[&str]) -> Ran {
        run(self.site.command().arg("model").args(arguments))
    }

    fn model_json(&self, arguments: &[&str]) -> Value {
        let ran = self.model(&[arguments, &["--json"]].concat());
        assert_eq!(ran.status, Some(0), "{arguments:?}: {ran:?}");
        serde_json::from_str(&ran.out).unwrap()
    }

    fn champion(&self) -> String {
        let listed = self.model_json(&["list"]);
        listed["champion"]["model"].as_str().unwrap().to_owned()
    }
}

/// Events and a model fitted on them, made once.
struct Trained {
    folder: TempDir,
}

impl Trained {
    fn events(&self) -> String {
        let path = self.folder.path().join("events.jsonl");
        path.display().to_string()
    }

    /// The first days of them.
    fn few(&self) -> String {
        let all = fs::read_to_string(self.events()).unwrap();
        let few: Vec<&str> = all.lines().take(8000).collect();
        let path = self.folder.path().join("few.jsonl");
        fs::write(&path, few.join("\n")).unwrap();
        path.display().to_string()
    }
}

fn trained() -> &'static Trained {
    static TRAINED: OnceLock<Trained> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let trained = Trained {
            folder: TempDir::new().unwrap(),
        };
        let events = trained.events();
        let models = trained.folder.path().join("models").display().to_string();
        let binary = || {
            let mut command = Command::new(crate::harness::BINARY);
            command.current_dir(root());
            command
        };
        for arguments in [
            vec![
                "data", "simulate", "--people", "12", "--days", "14", "--seed", "11", "--out",
                &events,
            ],
            vec![
                "model",
                "train",
                "--events",
                &events,
                "--geo",
                "data/geo/demo.mmdb",
                "--out",
                &models,
                "--version",
                "7",
                "--trees",
                "50",
            ],
        ] {
            let ran = run(binary().args(&arguments));
            assert_eq!(ran.status, Some(0), "{arguments:?}: {ran:?}");
        }
        trained
    })
}

fn scored_by(client: &mut Client) -> String {
    let answer = client.ask(&alice_reads());
    answer["context"]["risk"]["model"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn soon_scored_by(client: &mut Client, model: &str) {
    eventually(&format!("{model} scores"), || {
        (scored_by(client) == model).then_some(())
    });
}

fn metrics(engine: &Engine) -> String {
    String::from_utf8(engine.client("").get("/metrics").body).unwrap()
}
