//! What is measured of those who come in, and of those who do not.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabel {
    outcome: &'static str,
}

/// Counters of the door.
#[derive(Debug, Default)]
pub struct DoorMetrics {
    gateway_answers: Family<AnswerLabel, Counter>,
    shed: Counter,
    handshakes_failed: Counter,
}

impl DoorMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "gateway_answers",
            "Answers to gateways: allow, challenge, mfa, deny, and what was not decided: \
             unauthenticated, refused (no route, scope, origin), malformed, too_many, unavailable, \
             not_a_gateway",
            self.gateway_answers.clone(),
        );
        registry.register(
            "requests_shed",
            "Requests that were refused at once, because there was too much to do",
            self.shed.clone(),
        );
        registry.register(
            "tls_handshakes_failed",
            "Connections that came to no TLS session",
            self.handshakes_failed.clone(),
        );
    }

    /// Counts an answer to a gateway, by what came of its question.
    pub fn gateway_answered(&self, outcome: &'static str) {
        let label = AnswerLabel { outcome };
        self.gateway_answers.get_or_create(&label).inc();
    }

    /// Counts a request that was refused at once, because there was too much to do.
    pub fn shed(&self) {
        self.shed.inc();
    }

    /// Counts a connection that came to no TLS session.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }
}
