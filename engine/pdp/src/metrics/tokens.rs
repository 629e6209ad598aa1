//! What is measured of tokens (O1 to O3).

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabel {
    service: String,
    token_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PropagationLabel {
    source: String,
    target: String,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ValidationLabel {
    service: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CredentialLabel {
    credential: &'static str,
}

/// Different names of services that have labels of their own; what comes after is `other`.
const SERVICES_MAX: usize = 200;

/// What is measured of tokens (O1 to O3).
#[derive(Debug)]
pub struct TokenMetrics {
    issued_by_service: Family<TokenLabel, Counter>,
    propagation_errors: Family<PropagationLabel, Counter>,
    validation: Family<ValidationLabel, Histogram, fn() -> Histogram>,
    failures: Family<CredentialLabel, Counter>,
    services: Mutex<BTreeSet<String>>,
}

impl Default for TokenMetrics {
    fn default() -> Self {
        Self {
            issued_by_service: Family::default(),
            propagation_errors: Family::default(),
            validation: Family::new_with_constructor(|| {
                Histogram::new([2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 1e-2, 0.1])
            }),
            failures: Family::default(),
            services: Mutex::default(),
        }
    }
}

impl TokenMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "token_issued",
            "Access tokens minted, by the service that they are for and how they were asked for",
            self.issued_by_service.clone(),
        );
        registry.register(
            "token_propagation_errors",
            "Exchanges of tokens that were refused, by who asked, for which service and why",
            self.propagation_errors.clone(),
        );
        registry.register(
            "authentication_failures",
            "Callers that failed to show who they are, by what they sent for it",
            self.failures.clone(),
        );
        registry.register_with_unit(
            "token_validation_duration",
            "Time in which a presented token was judged, by who asked for it and what came of it",
            Unit::Seconds,
            self.validation.clone(),
        );
    }

    /// Counts a caller that failed to show who it is.
    pub fn not_authenticated(&self, credential: &'static str) {
        let label = CredentialLabel { credential };
        self.failures.get_or_create(&label).inc();
    }

    /// The name as a label. Names come from callers, so there is an end to them; one that is not
    /// `known` to be a service gets none of its own.
    fn service(&self, name: &str, known: bool) -> String {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if services.contains(name) {
            return name.to_owned();
        }
        if known && services.len() < SERVICES_MAX {
            services.insert(name.to_owned());
            return name.to_owned();
        }
        "other".to_owned()
    }

    /// Counts a token that was minted for a service (O1).
    pub fn issued(&self, service: &str, how: &'static str) {
        let label = TokenLabel {
            service: self.service(service, true),
            token_type: how,
        };
        self.issued_by_service.get_or_create(&label).inc();
    }

    /// Counts an exchange that was refused (O3). The source is a client of ours; the target is
    /// whatever it asked for.
    pub fn propagation_failed(&self, source: &str, target: &str, error_type: &'static str) {
        let label = PropagationLabel {
            source: self.service(source, true),
            target: self.service(target, false),
            error_type,
        };
        self.propagation_errors.get_or_create(&label).inc();
    }

    /// Notes how long it took to judge a presented token (O2).
    pub fn validated(&self, by: &'static str, result: &'static str, took: Duration) {
        let service = by;
        let label = ValidationLabel { service, result };
        let histogram = self.validation.get_or_create(&label);
        histogram.observe(took.as_secs_f64());
    }
}
