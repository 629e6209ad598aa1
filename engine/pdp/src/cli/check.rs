//! `portreeve check`: everything that `serve` would load, loaded, told, and let go.

use ::geo::Geo;
use ::policy::lint::Against;
use ::policy::{self, Severity};
use serde_json::json;

use super::output::Output;
use super::{Failure, runtime};
use crate::engine::Snapshot;
use crate::settings::Settings;
use crate::signing::KeyEncryptionKey;
use crate::snapshot::{self, LoadError};
use crate::{certificates, gateways, hearing, issuers, models};

pub(super) fn run(settings: &Settings, output: Output) -> Result<(), Failure> {
    let champion = runtime()?.block_on(models::foresee(settings));
    let loaded = snapshot::load(settings, snapshot::load_folder(settings), champion);
    let geo = Geo::open(&settings.geo);
    let mut faults = Vec::new();
    let mut found = Vec::new();
    let mut warnings = Vec::new();
    match &loaded {
        Ok(loaded) => {
            let snapshot = &loaded.snapshot;
            found.push(format!(
                "policies  {} in {} (revision {})",
                snapshot.policies.len(),
                settings.policies.display(),
                snapshot.revisions.policies
            ));
            found.push(format!(
                "entities  {} (revision {})",
                snapshot.directory.len(),
                snapshot.revisions.entities
            ));
            found.push(format!("model     {}", snapshot.revisions.model));
            warnings.extend(gateways::routes::unknown(settings, snapshot));
            let (worst, others) = lint(settings, snapshot);
            faults.extend(worst);
            warnings.extend(others);
        }
        Err(LoadError(more)) => faults.extend(more.iter().cloned()),
    }
    match &geo {
        Ok(geo) => {
            let databases = geo.describe();
            if databases.is_empty() {
                warnings.push(
                    "warning: no address database: set `geo.city`, `geo.asn`, `geo.anonymous`; \
                     until then places and networks are unknown"
                        .to_owned(),
                );
            }
            found.extend(
                databases
                    .into_iter()
                    .map(|database| format!("addresses {database}")),
            );
        }
        Err(error) => faults.push(error.to_string()),
    }
    let kek = settings.signing.key_encryption_key_file.as_deref();
    faults.extend(kek.and_then(|file| KeyEncryptionKey::read(file).err()));
    let roots = certificates::load_roots(&settings.certificates);
    faults.extend(roots.err().map(|error| error.to_string()));
    let doubts = settings.gateway.warnings().iter();
    warnings.extend(doubts.map(|doubt| format!("warning: {doubt}")));
    faults.extend(issuers::file_faults(&settings.issuers));
    faults.extend(hearing::file_faults(&settings.transmitters));
    let revision = loaded
        .as_ref()
        .ok()
        .map(|loaded| &*loaded.snapshot.revisions.policies);
    let report = json!({
        "ok": faults.is_empty(),
        "policy_revision": revision,
        "found": found,
        "warnings": warnings,
        "faults": faults,
    });
    let mut text = found;
    text.extend(warnings);
    text.extend(faults.iter().cloned());
    output.print(&report, &text.join("\n"))?;
    match faults.len() {
        0 => Ok(()),
        1 => Err(Failure::No(
            "1 fault: put it right and check again".to_owned(),
        )),
        count => Err(Failure::No(format!(
            "{count} faults: put them right and check again"
        ))),
    }
}

/// What `policy check` finds, too: errors, and warnings.
fn lint(settings: &Settings, snapshot: &Snapshot) -> (Vec<String>, Vec<String>) {
    // They were read a moment ago; where they cannot be any more, the next check will say so.
    let files = policy::source::read_folder(&settings.policies).unwrap_or_default();
    let against = Against {
        levels: Some(settings.risk.levels),
        directory: Some(&snapshot.directory),
    };
    let findings = snapshot.policies.lint(&files, against).0;
    let told = findings
        .iter()
        .filter(|finding| finding.severity > Severity::Note);
    let (worst, others): (Vec<_>, Vec<_>) =
        told.partition(|finding| finding.severity == Severity::Error);
    let words = |findings: Vec<&policy::Problem>| {
        let findings = findings.into_iter();
        findings.map(ToString::to_string).collect()
    };
    (words(worst), words(others))
}
