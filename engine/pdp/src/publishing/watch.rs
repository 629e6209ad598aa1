//! Notices that the folder of policies has changed.
//!
//! By looking at the stamps of its files once a second: a few hundred `stat`s, no further crate,
//! and it works on every file system, mounted volumes of containers too.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::settings::Settings;

/// How often the stamps are looked at; what has not changed for as long is taken up, so that a
/// set that is half written is not.
const EVERY: Duration = Duration::from_secs(1);

/// Looks after which what could not be taken up is tried again.
const TRIES: u32 = 15;

/// Folders of tests below one another that are looked at.
const TESTS_DEPTH: usize = 8;

/// A file as it lies there: when any of this changes, so may its content.
type Stamp = (PathBuf, Option<SystemTime>, u64, u64);

/// Takes up what the folder holds whenever it has changed and come to rest.
pub(crate) async fn watch(app: Arc<App>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    let mut taken = None;
    let mut tries: u32 = 0;
    loop {
        ticks.tick().await;
        let settings = Arc::clone(&app.publishing.registry.settings);
        let seen = tokio::task::spawn_blocking(move || stamps(&settings)).await;
        let Ok(seen) = seen else { continue };
        let rests = last.as_ref() == Some(&seen);
        let is_news = taken.as_ref() != Some(&seen);
        tries = tries.wrapping_add(1);
        // What was refused may fit by now: stored entities were changed, a disk is back.
        let stale = app.live.stale().is_some_and(|stale| !stale.beyond_set);
        let again = stale && tries.is_multiple_of(TRIES);
        if rests && (is_news || again) {
            take_up(&app, is_news).await;
            taken = Some(seen.clone());
        }
        last = Some(seen);
    }
}

/// Takes up the folder; the faults of one that is tried again are known.
async fn take_up(app: &Arc<App>, is_news: bool) {
    match app.take_up_folder().await {
        Ok(None) => {}
        Ok(Some(notes)) => {
            for note in notes {
                tracing::warn!("{note}");
            }
            let revision = Arc::clone(&app.live.current().revisions.policies);
            tracing::info!(%revision, "the folder of policies has changed and was taken up");
        }
        Err(_) if !is_news => {}
        Err(faults) => {
            app.metrics.reload_failed();
            for fault in faults {
                tracing::error!("policies: {fault}");
            }
            tracing::error!(
                "what is in the folder of policies is refused; what decided before goes on"
            );
        }
    }
}

/// The stamps of everything that a set and its entities are read from, in order.
fn stamps(settings: &Settings) -> Vec<Stamp> {
    let mut found = Vec::new();
    // A folder that is not there has no files; whoever reads it says so.
    let _ = add_folder(&settings.policies, 0, &mut found);
    let _ = add_folder(&settings.policies.join("tests"), TESTS_DEPTH, &mut found);
    if let Some(file) = &settings.entities {
        let _ = add_file(file, &mut found);
    }
    found.sort();
    found
}

fn add_folder(folder: &Path, depth: usize, found: &mut Vec<Stamp>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let counts = path.extension().is_some_and(|extension| {
            ["cedar", "cedarschema", "json", "yaml", "yml"]
                .iter()
                .any(|known| extension == *known)
        });
        if counts {
            add_file(&path, found)?;
        } else if depth > 0 && path.is_dir() {
            add_folder(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

fn add_file(path: &Path, found: &mut Vec<Stamp>) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let about = fs::metadata(path)?;
    if about.is_file() {
        found.push((
            path.to_owned(),
            about.modified().ok(),
            about.len(),
            about.ino(),
        ));
    }
    Ok(())
}
