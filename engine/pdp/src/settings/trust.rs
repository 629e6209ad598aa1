//! Whom the engine believes and calls: other issuers, certificates of clients, hosts.

use std::path::PathBuf;

use ipnet::IpNet;
use token::certificate::is_trust_domain;

use crate::issuers::{IssuerSettings, RawIssuer};
use crate::outbound::{Allowed, OutboundSettings};

/// Which client certificates are believed, and from whom.
#[derive(Clone, Debug, Default)]
pub struct CertificateSettings {
    /// Who may say in `Client-Cert` which certificate a client showed: proxies that end TLS. From
    /// anybody else the header is nothing.
    pub from: Vec<IpNet>,
    /// Authorities, a PEM file.
    pub roots: Option<PathBuf>,
    /// What they revoked, a PEM file.
    pub revoked: Option<PathBuf>,
    /// Trust domains whose SPIFFE ids are believed.
    pub trust_domains: Vec<String>,
}

/// What the settings say of it, as text.
pub(super) struct RawTrust {
    pub(super) issuers: Vec<RawIssuer>,
    pub(super) client_cert_from: Vec<String>,
    pub(super) client_cert_roots: Option<PathBuf>,
    pub(super) client_cert_crls: Option<PathBuf>,
    pub(super) spiffe_trust_domains: Vec<String>,
    pub(super) outbound_allow: Vec<String>,
    pub(super) outbound_ca: Option<PathBuf>,
}

/// The same, checked.
pub(super) struct Trust {
    pub(super) issuers: Vec<IssuerSettings>,
    pub(super) certificates: CertificateSettings,
    pub(super) outbound: OutboundSettings,
}

impl RawTrust {
    pub(super) fn check(self, faults: &mut Vec<String>) -> Trust {
        let mut allow = Vec::new();
        for text in &self.outbound_allow {
            match Allowed::parse(text) {
                Some(allowed) => allow.push(allowed),
                None => faults.push(format!(
                    "`limits.outbound_allow`: `{text}` is not `host:port`, for example \
                     \"idp.internal:8443\" or \"[::1]:8443\""
                )),
            }
        }
        let mut from = Vec::new();
        for text in &self.client_cert_from {
            match text.parse() {
                Ok(network) => from.push(network),
                Err(_) => faults.push(format!(
                    "`tokens.client_cert_from`: `{text}` is no network, for example \
                     \"127.0.0.1/32\""
                )),
            }
        }
        if !from.is_empty() && self.client_cert_roots.is_none() {
            faults.push(
                "`tokens.client_cert_from` needs `tokens.client_cert_roots`: certificates are \
                 verified here, whoever passes them on"
                    .to_owned(),
            );
        }
        if self.client_cert_crls.is_some() && self.client_cert_roots.is_none() {
            faults.push("`tokens.client_cert_crls` needs `tokens.client_cert_roots`".to_owned());
        }
        for domain in &self.spiffe_trust_domains {
            if !is_trust_domain(domain) {
                faults.push(format!(
                    "`tokens.spiffe_trust_domains`: `{domain}` is no trust domain, for example \
                     \"example.org\""
                ));
            }
        }
        Trust {
            issuers: RawIssuer::check_all(self.issuers, &allow, faults),
            certificates: CertificateSettings {
                from,
                roots: self.client_cert_roots,
                revoked: self.client_cert_crls,
                trust_domains: self.spiffe_trust_domains,
            },
            outbound: OutboundSettings {
                allow,
                authorities: self.outbound_ca,
            },
        }
    }
}
