//! Numbers for operators, in Prometheus's text form.

mod door;
mod monitor;
mod telling;
mod tokens;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::signal::Source;
use domain::{Cause, Rung};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use risk::distribution::Drift;

pub use self::door::DoorMetrics;
pub use self::monitor::MonitorMetrics;
pub use self::telling::TellingMetrics;
pub use self::tokens::TokenMetrics;
use crate::engine::Outcome;
use crate::models::shadow::{LEVELS, Meters, Shadow};
use crate::publishing::shadow::Matrix;
use crate::revoking::Meters as RevocationMeters;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabel {
    policy: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PatternLabel {
    pattern: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    role: &'static str,
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComparedLabel {
    challenger: String,
    agrees: &'static str,
    champion_level: &'static str,
    challenger_level: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CandidateLabel {
    candidate: String,
    agrees: &'static str,
    live: &'static str,
    shadow: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChallengerLabel {
    challenger: String,
}

/// `service`: the client that opened the session, or named it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabel {
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HeardLabel {
    transmitter: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SessionErrorLabel {
    service: String,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FeatureLabel {
    feature: &'static str,
}

/// The challenger's score less the champion's, points.
fn differences() -> Histogram {
    Histogram::new([
        -40.0, -20.0, -10.0, -5.0, -1.0, 0.0, 1.0, 5.0, 10.0, 20.0, 40.0,
    ])
}

/// What is measured of models. Only the models of the moment have labels: each change clears
/// those of the one before.
#[derive(Debug)]
struct ModelMetrics {
    names: Family<ModelLabel, Gauge>,
    compared: Family<ComparedLabel, Counter>,
    difference: Family<ChallengerLabel, Histogram, fn() -> Histogram>,
    failures: Family<ChallengerLabel, Counter>,
    drift: Family<FeatureLabel, Gauge<f64, AtomicU64>>,
}

impl Default for ModelMetrics {
    fn default() -> Self {
        Self {
            names: Family::default(),
            compared: Family::default(),
            difference: Family::new_with_constructor(differences),
            failures: Family::default(),
            drift: Family::default(),
        }
    }
}

impl ModelMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "model",
            "The models at work, by what they do",
            self.names.clone(),
        );
        registry.register(
            "shadow_compared",
            "Accesses that champion and challenger scored, by the level of either score",
            self.compared.clone(),
        );
        registry.register(
            "shadow_score_difference",
            "The challenger's score less the champion's, points",
            self.difference.clone(),
        );
        registry.register(
            "shadow_failures",
            "Accesses that the challenger could not score",
            self.failures.clone(),
        );
        registry.register(
            "feature_drift",
            "Population stability index of a feature, last accesses against the champion's training",
            self.drift.clone(),
        );
    }
}

/// Every metric of the engine.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// In the order of [`Rung::ALL`], looked up once.
    decisions: [Counter; 4],
    denials: Family<CauseLabel, Counter>,
    alerts: Family<PolicyLabel, Counter>,
    decide_seconds: Histogram,
    score: Histogram,
    unavailable: Family<SourceLabel, Counter>,
    responses: Family<StatusLabel, Counter>,
    request_seconds: Histogram,
    snapshot_age: Gauge,
    journal_undrained: Gauge,
    journal_signed: Gauge,
    signing_failing: Gauge,
    sessions: Gauge,
    active_sessions: Family<ServiceLabel, Gauge>,
    session_errors: Family<SessionErrorLabel, Counter>,
    heard: Family<HeardLabel, Counter>,
    token_reuses: Counter,
    suspicious: Family<PatternLabel, Counter>,
    reload_failures: Counter,
    models: ModelMetrics,
    candidate: Family<CandidateLabel, Counter>,
    revocations: RevocationMeters,
    /// What is measured of what is told to others.
    pub telling: TellingMetrics,
    /// What is measured of the door.
    pub door: DoorMetrics,
    /// What is measured of the monitor.
    pub monitor: MonitorMetrics,
    /// What is measured of tokens.
    pub tokens: TokenMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portreeve");
        let decisions = Family::<OutcomeLabel, Counter>::default();
        let by_rung = Rung::ALL.map(|rung| {
            decisions
                .get_or_create(&OutcomeLabel {
                    outcome: rung.as_str(),
                })
                .clone()
        });
        registry.register("decisions", "Decisions by outcome", decisions);
        let metrics = Self {
            decisions: by_rung,
            denials: Family::default(),
            alerts: Family::default(),
            decide_seconds: Histogram::new([
                5e-6, 1e-5, 2e-5, 4e-5, 8e-5, 1.6e-4, 3.2e-4, 1e-3, 5e-3, 2.5e-2,
            ]),
            score: Histogram::new([9.0, 19.0, 29.0, 39.0, 49.0, 59.0, 69.0, 79.0, 89.0, 100.0]),
            unavailable: Family::default(),
            responses: Family::default(),
            request_seconds: Histogram::new([
                2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 6.4e-2, 0.25, 1.0,
            ]),
            snapshot_age: Gauge::default(),
            journal_undrained: Gauge::default(),
            journal_signed: Gauge::default(),
            signing_failing: Gauge::default(),
            sessions: Gauge::default(),
            active_sessions: Family::default(),
            session_errors: Family::default(),
            suspicious: Family::default(),
            heard: Family::default(),
            token_reuses: Counter::default(),
            reload_failures: Counter::default(),
            models: ModelMetrics::default(),
            candidate: Family::default(),
            revocations: RevocationMeters::default(),
            telling: TellingMetrics::default(),
            door: DoorMetrics::default(),
            monitor: MonitorMetrics::default(),
            tokens: TokenMetrics::default(),
            registry,
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        self.models.register(registry);
        self.revocations.register(registry);
        self.telling.register(registry);
        self.tokens.register(registry);
        self.door.register(registry);
        self.monitor.register(registry);
        registry.register(
            "policy_shadow_compared",
            "Accesses that the live policies and those in the shadow were asked about, by outcome",
            self.candidate.clone(),
        );
        registry.register("denials", "Denials by cause", self.denials.clone());
        registry.register(
            "alerts",
            "Accesses settled by a policy with an alert, by policy",
            self.alerts.clone(),
        );
        registry.register_with_unit(
            "decide_duration",
            "Time in the decision itself, without signals and journal",
            Unit::Seconds,
            self.decide_seconds.clone(),
        );
        registry.register("risk_score", "Risk scores, 0 to 100", self.score.clone());
        registry.register(
            "signals_unavailable",
            "Signals whose source failed, by source",
            self.unavailable.clone(),
        );
        registry.register(
            "http_responses",
            "HTTP responses by status",
            self.responses.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from the first byte of a request to its answer",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register_with_unit(
            "snapshot_age",
            "Time since the first reload that failed; 0 when the last one succeeded",
            Unit::Seconds,
            self.snapshot_age.clone(),
        );
        registry.register(
            "reload_failures",
            "Reloads that failed",
            self.reload_failures.clone(),
        );
        registry.register(
            "journal_undrained_records",
            "Durable records that are not in the store yet",
            self.journal_undrained.clone(),
        );
        registry.register(
            "journal_signed_record",
            "Number of the last record that a checkpoint signs: to be held against another day",
            self.journal_signed.clone(),
        );
        registry.register(
            "signing_keys_failing",
            "1 while the turn of signing keys cannot be carried out; see the log",
            self.signing_failing.clone(),
        );
        registry.register(
            "sessions_in_memory",
            "Sessions in memory",
            self.sessions.clone(),
        );
        registry.register(
            "active_sessions",
            "Sessions opened with the engine that can be used, by the client that opened them",
            self.active_sessions.clone(),
        );
        registry.register(
            "session_errors",
            "Sessions that were refused, by the client that asked and why",
            self.session_errors.clone(),
        );
        registry.register(
            "refresh_token_reuses",
            "Refresh tokens that came again after they were used up",
            self.token_reuses.clone(),
        );
        registry.register(
            "suspicious_patterns",
            "Suspicious patterns that sessions came to show, by name",
            self.suspicious.clone(),
        );
        registry.register(
            "security_event_tokens",
            "Security event tokens of others, by transmitter and result: taken, again (taken \
             before), refused, not_now, not_understood (events that were passed over)",
            self.heard.clone(),
        );
        self
    }

    /// What is measured of revocations.
    #[must_use]
    pub const fn revocations(&self) -> &RevocationMeters {
        &self.revocations
    }

    /// Counts a decision.
    pub fn decided(&self, outcome: &Outcome, took: Duration) {
        let decision = &outcome.decision;
        if let Some(counter) = self.decisions.get(decision.rung as usize) {
            counter.inc();
        }
        if decision.rung == Rung::Deny && decision.cause != Cause::Policies {
            self.denials
                .get_or_create(&CauseLabel {
                    cause: decision.cause.code(),
                })
                .inc();
        }
        self.decide_seconds.observe(took.as_secs_f64());
        self.score.observe(f64::from(decision.risk.score.points()));
        for source in &outcome.evidence.facts.unavailable {
            self.unavailable
                .get_or_create(&SourceLabel {
                    source: Source::name(*source),
                })
                .inc();
        }
    }

    /// Counts an access that a policy with an alert settled.
    pub fn alerted(&self, policy: &str) {
        let policy = policy.to_owned();
        self.alerts.get_or_create(&PolicyLabel { policy }).inc();
    }

    /// Takes over how many sessions can be used, by client (O8).
    pub fn set_active_sessions(&self, live: &[(String, i64)]) {
        self.active_sessions.clear();
        for (service, count) in live {
            let service = service.clone();
            let gauge = self
                .active_sessions
                .get_or_create(&ServiceLabel { service });
            gauge.set(*count);
        }
    }

    /// Counts a session that a client opened.
    pub fn session_opened(&self, client_id: &str) {
        let service = client_id.to_owned();
        self.active_sessions
            .get_or_create(&ServiceLabel { service })
            .inc();
    }

    /// Counts a session that was ended.
    pub fn session_ended(&self, client_id: &str) {
        let service = client_id.to_owned();
        self.active_sessions
            .get_or_create(&ServiceLabel { service })
            .dec();
    }

    /// Counts a session that was refused (O9).
    pub fn session_error(&self, client_id: &str, error_type: &'static str) {
        let service = client_id.to_owned();
        self.session_errors
            .get_or_create(&SessionErrorLabel {
                service,
                error_type,
            })
            .inc();
    }

    /// Counts a security event token of another, or an event of one that is passed over. The
    /// transmitter is one of the settings', so the labels are bounded.
    pub fn heard(&self, transmitter: &str, result: &'static str) {
        let transmitter = transmitter.to_owned();
        let label = HeardLabel {
            transmitter,
            result,
        };
        self.heard.get_or_create(&label).inc();
    }

    /// Counts a pattern that a session has come to show (M15).
    pub fn suspicious(&self, pattern: &'static str) {
        self.suspicious
            .get_or_create(&PatternLabel { pattern })
            .inc();
    }

    /// Counts a refresh token that was used twice (T9).
    pub fn token_reused(&self) {
        self.token_reuses.inc();
    }

    /// Counts a response.
    pub fn responded(&self, status: u16, took: Duration) {
        self.responses.get_or_create(&StatusLabel { status }).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// Counts a reload that failed.
    pub fn reload_failed(&self) {
        self.reload_failures.inc();
    }

    /// Names the models at work.
    pub fn name_models(&self, champion: &str, challenger: Option<&Shadow>) {
        let names = &self.models.names;
        names.clear();
        let name = |role, model: &str| {
            let model = model.to_owned();
            names.get_or_create(&ModelLabel { role, model }).set(1);
        };
        name("champion", champion);
        if let Some(challenger) = challenger {
            name("challenger", &challenger.choice.model);
        }
    }

    /// Begins to measure a challenger, from zero; none ends it.
    pub fn begin_shadow(&self, challenger: Option<&str>) -> Meters {
        let models = &self.models;
        models.compared.clear();
        models.difference.clear();
        models.failures.clear();
        let Some(challenger) = challenger else {
            return Meters::default();
        };
        let label = ChallengerLabel {
            challenger: challenger.to_owned(),
        };
        let compared = LEVELS.map(|champion_level| {
            LEVELS.map(|challenger_level| {
                let label = ComparedLabel {
                    challenger: challenger.to_owned(),
                    agrees: if champion_level == challenger_level {
                        "yes"
                    } else {
                        "no"
                    },
                    champion_level,
                    challenger_level,
                };
                models.compared.get_or_create(&label).clone()
            })
        });
        Meters {
            compared,
            difference: Some(models.difference.get_or_create(&label).clone()),
            failures: models.failures.get_or_create(&label).clone(),
        }
    }

    /// Begins to count what policies in the shadow make of accesses, from zero; none ends it.
    pub fn begin_policy_shadow(&self, candidate: Option<&str>) -> Matrix {
        self.candidate.clear();
        let Some(candidate) = candidate else {
            return Matrix::default();
        };
        Rung::ALL.map(|live| {
            Rung::ALL.map(|shadow| {
                let label = CandidateLabel {
                    candidate: candidate.to_owned(),
                    agrees: if live == shadow { "yes" } else { "no" },
                    live: live.as_str(),
                    shadow: shadow.as_str(),
                };
                self.candidate.get_or_create(&label).clone()
            })
        })
    }

    /// Sets how far features have drifted.
    pub fn set_drift(&self, drift: &[Drift]) {
        for Drift { feature, psi, .. } in drift {
            self.models
                .drift
                .get_or_create(&FeatureLabel { feature })
                .set(*psi);
        }
    }

    /// Forgets how far features have drifted: another model was made from something else.
    pub fn forget_drift(&self) {
        self.models.drift.clear();
    }

    /// Sets how many durable records are not in the store yet.
    pub fn set_undrained(&self, records: u64) {
        self.journal_undrained
            .set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// Sets how far the journal is signed.
    pub fn set_signed_until(&self, seq: u64) {
        self.journal_signed
            .set(i64::try_from(seq).unwrap_or(i64::MAX));
    }

    /// Sets whether what is due of the signing keys cannot be done.
    pub fn set_signing_failing(&self, failing: bool) {
        self.signing_failing.set(i64::from(failing));
    }

    /// The text of all metrics, with what is measured when it is asked for.
    #[must_use]
    pub fn text(&self, snapshot_age_seconds: i64, sessions: usize) -> String {
        self.snapshot_age.set(snapshot_age_seconds);
        self.sessions
            .set(i64::try_from(sessions).unwrap_or(i64::MAX));
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }
}
