//! The settings as text holds them, and the one place that checks them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::Level;
use gateway::{GatewayFaults, RawGateway};
use geo::GeoPaths;
use serde::Deserialize;
use store::JournalSettings;

use crate::hearing::RawTransmitter;
use crate::issuers::RawIssuer;

use super::limits::RawLimits;
use super::listen;
use super::section::{Span, section};
use super::sessions::{RawTier, check_tiers};
use super::shared_signals::RawAlert;
use super::tls::RawTls;
use super::trust::RawTrust;
use super::url::is_public_url;
use super::{
    AuditSettings, MonitorSettings, RefreshSettings, SessionSettings, Settings, SettingsError,
    SsfSettings,
};

/// The file's content. Every member has a default that runs on one machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    listen: String,
    admin_listen: Option<String>,
    grpc_listen: Option<String>,
    public_url: Option<String>,
    data_dir: PathBuf,
    tls: RawTls,
    store: RawStore,
    policies: RawPolicies,
    models: RawModels,
    geo: RawGeo,
    risk: RawRisk,
    sessions: RawSessions,
    monitor: RawMonitor,
    devices: RawDevices,
    tokens: RawTokens,
    audit: RawAudit,
    limits: RawLimits,
    ssf: RawSsf,
    issuers: Vec<RawIssuer>,
    alerts: Vec<RawAlert>,
    gateway: RawGateway,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8181".to_owned(),
            admin_listen: None,
            grpc_listen: None,
            public_url: None,
            data_dir: PathBuf::from("./var"),
            tls: RawTls::default(),
            store: RawStore::default(),
            policies: RawPolicies::default(),
            models: RawModels::default(),
            geo: RawGeo::default(),
            risk: RawRisk::default(),
            sessions: RawSessions::default(),
            monitor: RawMonitor::default(),
            devices: RawDevices::default(),
            tokens: RawTokens::default(),
            audit: RawAudit::default(),
            limits: RawLimits::default(),
            ssf: RawSsf::default(),
            issuers: Vec::new(),
            alerts: Vec::new(),
            gateway: RawGateway::default(),
        }
    }
}

section!(RawDevices {
    posture_max_age: Span = Span(Duration::from_secs(7 * 24 * 3600)),
});
section!(RawStore { url: Option<String> = None });
section!(RawPolicies {
    dir: PathBuf = PathBuf::from("./policies"),
    entities: Option<PathBuf> = None,
    watch: bool = true,
    stale_deny_after: Span = Span(Duration::from_secs(24 * 3600)),
});
section!(RawModels {
    dir: PathBuf = PathBuf::from("./models"),
    champion: String = "behaviour".to_owned(),
    margin: f64 = 0.02,
});
section!(RawGeo {
    city: Option<PathBuf> = None,
    asn: Option<PathBuf> = None,
    anonymous: Option<PathBuf> = None,
    threats: Vec<PathBuf> = Vec::new(),
});
section!(RawRisk {
    model_weight: f64 = 0.7,
    rule_weight: f64 = 0.3,
    levels: [i64; 3] = [30, 60, 80],
    interactive_types: Vec<String> = vec!["User".to_owned(), "user".to_owned()],
    sensitivity_attribute: String = "sensitivity".to_owned(),
    size_attribute: String = "size_bytes".to_owned(),
    peer_attribute: String = "department".to_owned(),
    time_zone_attribute: String = "time_zone".to_owned(),
    time_zone: Option<String> = None,
    rules: BTreeMap<String, i64> = BTreeMap::new(),
});
section!(RawSessions {
    remember: Span = Span(Duration::from_secs(7 * 24 * 3600)),
    idle: Span = Span(Duration::from_secs(30 * 60)),
    standard: RawTier<{ 8 * 3600 }, 5> = RawTier::default(),
    restricted: RawTier<{ 2 * 3600 }, 2> = RawTier::default(),
    strict: RawTier<{ 30 * 60 }, 1> = RawTier::default(),
    rotate_handle_every: Span = Span(Duration::from_secs(5 * 60)),
    handle_overlap: Span = Span(Duration::from_secs(10)),
    acr_levels: BTreeMap<String, i64> = BTreeMap::new(),
    challenge_acr: String = "urn:portreeve:acr:challenge".to_owned(),
    mfa_acr: String = "urn:portreeve:acr:mfa".to_owned(),
});
section!(RawMonitor {
    every: Span = Span(Duration::from_secs(30)),
    sweep_every: Span = Span(Duration::from_secs(300)),
    rise: i64 = 20,
});
section!(RawTokens {
    ttl_seconds: u64 = 300,
    algorithm: String = "ES256".to_owned(),
    rotate_every: Span = Span(Duration::from_secs(30 * 24 * 3600)),
    publish_before: Span = Span(Duration::from_secs(3600)),
    key_encryption_key_file: Option<PathBuf> = None,
    refresh_ttl: Span = Span(Duration::from_secs(7 * 24 * 3600)),
    refresh_idle: Span = Span(Duration::from_secs(24 * 3600)),
    refresh_grace: Span = Span(Duration::from_secs(10)),
    service_ttl_seconds: u64 = 60,
    status_list: bool = false,
    audience_attribute: String = "audience".to_owned(),
    audience_type: String = "Audience".to_owned(),
    service_type: String = "Service".to_owned(),
    client_cert_from: Vec<String> = Vec::new(),
    client_cert_roots: Option<PathBuf> = None,
    client_cert_crls: Option<PathBuf> = None,
    spiffe_trust_domains: Vec<String> = Vec::new(),
});
section!(RawAudit {
    sync: bool = true,
    segment_bytes: u64 = 64 << 20,
    queue: usize = 10_000,
    keep_days: Option<u32> = None,
    checkpoint_every: Span = Span(Duration::from_secs(10)),
});
section!(RawSsf {
    algorithm: String = "RS256".to_owned(),
    default_subjects: String = "ALL".to_owned(),
    email_attribute: Option<String> = None,
    held: u32 = 100_000,
    streams: u32 = 10,
    subjects: u32 = 10_000,
    min_verification_interval: Span = Span(Duration::from_secs(30)),
    inactivity: Span = Span(Duration::from_secs(30 * 24 * 3600)),
    transmitters: Vec<RawTransmitter> = Vec::new(),
});

impl Raw {
    /// Checks everything, and tells everything that is wrong.
    pub(super) fn check(self) -> Result<Settings, SettingsError> {
        let mut faults = Vec::new();
        let listen = listen::check(&self.listen, &mut faults);
        let admin_listen = listen::check_admin(self.admin_listen.as_deref(), &mut faults);
        let grpc_listen =
            listen::check_grpc(self.grpc_listen.as_deref(), &self.gateway, &mut faults);
        let gateway = self
            .gateway
            .check()
            .map_err(|GatewayFaults(why)| faults.extend(why));
        if let Some(url) = &self.public_url
            && !is_public_url(url)
        {
            faults.push(format!(
                "`public_url`: `{url}` must be https (or http on a loopback address), without \
                 query, fragment or a slash at the end"
            ));
        }
        if self.public_url.is_none() && !listen.ip().is_loopback() {
            faults.push(format!(
                "`public_url` is missing: others can reach `listen` {listen}, and tokens need an \
                 issuer; say what they call the engine, for example `https://pdp.example`"
            ));
        }
        let store = match &self.store.url {
            None => self.data_dir.join("portreeve.db"),
            Some(url) => match url.strip_prefix("sqlite:") {
                Some(path) if !path.is_empty() => PathBuf::from(path.trim_start_matches("//")),
                _ => {
                    faults.push(format!("`store.url`: `{url}` is not `sqlite:FILE`"));
                    PathBuf::new()
                }
            },
        };
        if !(0.0..=1.0).contains(&self.models.margin) {
            faults.push(format!("`models.margin` is {}: 0 to 1", self.models.margin));
        }
        let mut risk = check_risk(&self.risk, &mut faults);
        risk.posture_max_age_seconds = check_posture(self.devices.posture_max_age, &mut faults);
        let sessions = check_sessions(&self.sessions, &mut faults);
        let monitor = check_monitor(&self.monitor, &mut faults);
        if let Err(error) = domain::Name::new(self.tokens.service_type.as_str()) {
            faults.push(format!("`tokens.service_type` {error}"));
        }
        let audience_type = domain::Name::new(self.tokens.audience_type.as_str());
        let audience_type = audience_type.map_err(|error| {
            faults.push(format!("`tokens.audience_type` {error}"));
        });
        let service_ttl = self.tokens.service_ttl_seconds;
        if !(10..=900).contains(&service_ttl) {
            faults.push(format!(
                "`tokens.service_ttl_seconds` is {service_ttl}: 10 to 900"
            ));
        }
        let ttl = self.tokens.ttl_seconds;
        if !(60..=900).contains(&ttl) {
            faults.push(format!("`tokens.ttl_seconds` is {ttl}: 60 to 900"));
        }
        let refresh = check_refresh(&self.tokens, &mut faults);
        let signing = super::signing::check(
            &self.tokens.algorithm,
            self.tokens.rotate_every.0,
            self.tokens.publish_before.0,
            self.tokens.key_encryption_key_file,
            &mut faults,
        );
        if !(1 << 16..=1 << 32).contains(&self.audit.segment_bytes) {
            faults.push("`audit.segment_bytes`: 65536 to 4294967296".to_owned());
        }
        if !(1..=3600).contains(&self.audit.checkpoint_every.0.as_secs()) {
            faults.push("`audit.checkpoint_every`: a second to an hour".to_owned());
        }
        if self.audit.keep_days == Some(0) {
            faults.push("`audit.keep_days` is 0: 1 or more, or take it out".to_owned());
        }
        let tls = super::tls::check(self.tls, &mut faults);
        let limits = super::limits::check(&self.limits, &mut faults);
        let ssf = check_ssf(&self.ssf, &signing, &mut faults);
        let trust = RawTrust {
            issuers: self.issuers,
            client_cert_from: self.tokens.client_cert_from,
            client_cert_roots: self.tokens.client_cert_roots,
            client_cert_crls: self.tokens.client_cert_crls,
            spiffe_trust_domains: self.tokens.spiffe_trust_domains,
            outbound_allow: self.limits.outbound_allow,
            outbound_ca: self.limits.outbound_ca,
        }
        .check(&mut faults);
        let alerts = RawAlert::check_all(self.alerts, &trust.outbound.allow, &mut faults);
        let transmitters = RawTransmitter::check_all(
            self.ssf.transmitters,
            &trust.issuers,
            &trust.outbound.allow,
            &mut faults,
        );
        let (true, Ok(audience_type), Ok(gateway)) = (faults.is_empty(), audience_type, gateway)
        else {
            return Err(SettingsError(faults));
        };
        Ok(Settings {
            listen,
            admin_listen,
            grpc_listen,
            tls,
            gateway: Arc::new(gateway),
            public_url: self.public_url,
            data_dir: self.data_dir,
            store,
            policies: self.policies.dir,
            entities: self.policies.entities,
            watch_policies: self.policies.watch,
            stale_deny_after: self.policies.stale_deny_after.0,
            models: self.models.dir,
            champion: self.models.champion,
            model_margin: self.models.margin,
            geo: GeoPaths {
                city: self.geo.city,
                asn: self.geo.asn,
                anonymous: self.geo.anonymous,
                threats: self.geo.threats,
            },
            risk,
            sensitivity_attribute: self.risk.sensitivity_attribute,
            size_attribute: self.risk.size_attribute,
            peer_attribute: self.risk.peer_attribute,
            sessions,
            monitor,
            audience_attribute: self.tokens.audience_attribute,
            audience_type,
            service_token_ttl_seconds: service_ttl,
            service_type: self.tokens.service_type,
            token_ttl_seconds: ttl,
            signing,
            status_list: self.tokens.status_list,
            refresh,
            audit: AuditSettings {
                journal: JournalSettings {
                    segment_bytes: self.audit.segment_bytes,
                    queue_max: self.audit.queue.max(1),
                    sync: self.audit.sync,
                },
                keep_days: self.audit.keep_days,
                checkpoint_every: self.audit.checkpoint_every.0,
            },
            limits,
            issuers: trust.issuers,
            certificates: trust.certificates,
            outbound: trust.outbound,
            ssf,
            alerts,
            transmitters,
        })
    }
}

fn check_risk(raw: &RawRisk, faults: &mut Vec<String>) -> risk::Settings {
    let mut settings = risk::Settings {
        model_weight: raw.model_weight,
        rule_weight: raw.rule_weight,
        interactive_types: raw.interactive_types.clone(),
        time_zone_attribute: raw.time_zone_attribute.clone(),
        time_zone: raw.time_zone.clone(),
        ..risk::Settings::default()
    };
    let weights = [raw.model_weight, raw.rule_weight];
    let sum = raw.model_weight + raw.rule_weight;
    if weights.iter().any(|weight| !(0.0..=1.0).contains(weight)) || (sum - 1.0).abs() > 1e-9 {
        faults.push(format!(
            "`risk.model_weight` and `risk.rule_weight` are {} and {}: both 0 to 1, together 1",
            raw.model_weight, raw.rule_weight
        ));
    }
    match raw.levels.map(u8::try_from) {
        [Ok(medium), Ok(high), Ok(critical)]
            if 0 < medium && medium < high && high < critical && critical <= 100 =>
        {
            settings.levels = [medium, high, critical];
        }
        _ => faults.push("`risk.levels` must rise from 1 to 100, for example [30, 60, 80]".into()),
    }
    if let Some(zone) = &raw.time_zone
        && !policy::clock::is_zone(zone)
    {
        faults.push(format!(
            "`risk.time_zone` is `{zone}`, and there is no such time zone: an IANA name, for \
             example `Europe/Paris`"
        ));
    }
    if let Err(wrong) = settings.set_rules(&raw.rules) {
        faults.extend(wrong);
    }
    settings
}

fn check_posture(max_age: Span, faults: &mut Vec<String>) -> u32 {
    let seconds = max_age.0.as_secs();
    if !(60..=365 * 24 * 3600).contains(&seconds) {
        faults.push("`devices.posture_max_age` must be a minute to 365 days".to_owned());
    }
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

fn check_sessions(raw: &RawSessions, faults: &mut Vec<String>) -> SessionSettings {
    // RFC 8176 methods, and the engine's own classes. One factor of any kind is one factor;
    // `mfa` says that there were two.
    let mut acr_levels: BTreeMap<String, Level> = [
        ("pwd", Level::SingleFactor),
        ("pin", Level::SingleFactor),
        ("otp", Level::Challenge),
        ("sms", Level::Challenge),
        ("swk", Level::Challenge),
        ("hwk", Level::Challenge),
        ("fpt", Level::Challenge),
        ("face", Level::Challenge),
        ("mfa", Level::Mfa),
    ]
    .map(|(name, level)| (name.to_owned(), level))
    .into();
    acr_levels.insert(raw.challenge_acr.clone(), Level::Challenge);
    acr_levels.insert(raw.mfa_acr.clone(), Level::Mfa);
    for (name, level) in &raw.acr_levels {
        match Level::from_number(*level) {
            Some(level) => {
                acr_levels.insert(name.clone(), level);
            }
            None => faults.push(format!("`sessions.acr_levels.{name}` is {level}: 0 to 3")),
        }
    }
    if raw.remember.0.as_secs() < 60 {
        faults.push("`sessions.remember` must be a minute or more".to_owned());
    }
    let tiers = check_tiers(
        [
            raw.standard.settings(),
            raw.restricted.settings(),
            raw.strict.settings(),
        ],
        faults,
    );
    let [standard, ..] = tiers;
    if raw.idle.0.as_secs() < 60 || raw.idle.0 > standard.absolute {
        faults.push("`sessions.idle`: a minute to `sessions.standard.absolute`".to_owned());
    }
    if raw.rotate_handle_every.0.as_secs() < 10 {
        faults.push("`sessions.rotate_handle_every` must be 10 seconds or more".to_owned());
    }
    // Within it, whoever has the handle before is as good as who has the one after.
    if raw.handle_overlap.0.as_secs() > 60 {
        faults.push("`sessions.handle_overlap` must be at most 60 seconds".to_owned());
    }
    SessionSettings {
        remember: raw.remember.0,
        tiers,
        idle: raw.idle.0,
        rotate_handle_every: raw.rotate_handle_every.0,
        handle_overlap: raw.handle_overlap.0,
        acr_levels,
        challenge_acr: raw.challenge_acr.clone(),
        mfa_acr: raw.mfa_acr.clone(),
    }
}

fn check_monitor(raw: &RawMonitor, faults: &mut Vec<String>) -> MonitorSettings {
    let (every, sweep_every) = (raw.every.0, raw.sweep_every.0);
    if every < Duration::from_secs(1) || every > Duration::from_secs(3600) {
        faults.push("`monitor.every` must be a second to an hour".to_owned());
    }
    if sweep_every < every || sweep_every > Duration::from_secs(24 * 3600) {
        faults.push("`monitor.sweep_every` must be `monitor.every` to 24 hours".to_owned());
    }
    let rise = u8::try_from(raw.rise).ok().filter(|rise| *rise <= 100);
    if rise.is_none() {
        faults.push(format!("`monitor.rise` is {}: 0 to 100", raw.rise));
    }
    MonitorSettings {
        every,
        sweep_every,
        rise: rise.unwrap_or_default(),
    }
}

fn check_refresh(raw: &RawTokens, faults: &mut Vec<String>) -> RefreshSettings {
    let (ttl, idle, grace) = (raw.refresh_ttl.0, raw.refresh_idle.0, raw.refresh_grace.0);
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    if ttl < Duration::from_secs(60) || ttl > days(365) {
        faults.push("`tokens.refresh_ttl` must be a minute to 365 days".to_owned());
    }
    if idle < Duration::from_secs(60) || idle > ttl {
        faults.push("`tokens.refresh_idle` must be a minute to `tokens.refresh_ttl`".to_owned());
    }
    // Within it, whoever has the token before gets what the client got.
    if grace > Duration::from_secs(60) {
        faults.push("`tokens.refresh_grace` must be at most 60 seconds; 0 for none".to_owned());
    }
    RefreshSettings { ttl, idle, grace }
}

fn check_ssf(
    raw: &RawSsf,
    tokens: &crate::signing::SigningSettings,
    faults: &mut Vec<String>,
) -> SsfSettings {
    super::shared_signals::check(
        &raw.algorithm,
        tokens,
        SsfSettings {
            signing: tokens.clone(),
            hears_all: raw.default_subjects == "ALL",
            email_attribute: raw.email_attribute.clone(),
            held: raw.held,
            streams: raw.streams,
            subjects: raw.subjects,
            min_verification_interval: raw.min_verification_interval.0,
            inactivity: raw.inactivity.0,
        },
        &raw.default_subjects,
        faults,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_runs_without_settings_passes_its_own_check() {
        let settings = Raw::default().check().unwrap();
        assert_eq!(
            format!("{settings:?}"),
            format!("{:?}", Settings::default())
        );
    }

    #[test]
    fn who_listens_to_others_says_what_they_call_it() {
        let listening = |listen: &str, public_url: Option<&str>| {
            let raw = Raw {
                listen: listen.to_owned(),
                public_url: public_url.map(str::to_owned),
                ..Raw::default()
            };
            raw.check()
        };
        assert!(listening("0.0.0.0:8181", None).is_err());
        assert!(listening("0.0.0.0:8181", Some("https://pdp.example")).is_ok());
        assert!(listening("[::1]:8181", None).is_ok());
    }

    #[test]
    fn the_readme_shows_every_setting_with_its_default() {
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let block = readme.split("```toml").nth(1).unwrap();
        let block = block.split("```").next().unwrap();
        let shown: Raw = toml::from_str(block).unwrap();
        assert_eq!(format!("{shown:?}"), format!("{:?}", Raw::default()));

        // What has no default is shown as a comment.
        let uncommented = block.replace("\n# ", "\n");
        let table: toml::Table = uncommented.parse().unwrap();
        for (section, keys) in [
            ("store", RawStore::KEYS),
            ("policies", RawPolicies::KEYS),
            ("models", RawModels::KEYS),
            ("geo", RawGeo::KEYS),
            ("risk", RawRisk::KEYS),
            ("sessions", RawSessions::KEYS),
            ("monitor", RawMonitor::KEYS),
            ("devices", RawDevices::KEYS),
            ("tokens", RawTokens::KEYS),
            ("audit", RawAudit::KEYS),
            ("tls", RawTls::KEYS),
            ("limits", RawLimits::KEYS),
            ("ssf", RawSsf::KEYS),
        ] {
            let shown: BTreeSet<&str> = table[section]
                .as_table()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(shown, keys.iter().copied().collect(), "[{section}]");
        }
        // Its words stand in what it says of one that is none.
        let words = toml::from_str::<RawGateway>("no-word = 1").unwrap_err();
        let words = words.message().split_once("expected one of ").unwrap().1;
        let words: BTreeSet<&str> = words
            .split(", ")
            .map(|word| word.trim_matches('`'))
            .collect();
        let shown = table["gateway"].as_table().unwrap().keys();
        assert_eq!(shown.map(String::as_str).collect::<BTreeSet<_>>(), words);
        toml::from_str::<Raw>(&uncommented)
            .unwrap()
            .check()
            .unwrap();
    }
}
