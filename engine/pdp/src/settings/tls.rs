//! The engine's own TLS, as text holds it, and its check.

use std::path::PathBuf;

use serde::Deserialize;

use super::section::section;

section!(RawTls {
    certificate: Option<PathBuf> = None,
    key: Option<PathBuf> = None,
    client_roots: Option<PathBuf> = None,
    client_crls: Option<PathBuf> = None,
    client_required: bool = false,
});

/// What the engine shows to those who connect, and whom it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Its certificate and what leads to its authority, a PEM file.
    pub certificate: PathBuf,
    /// The key that goes with it, a PEM file.
    pub key: PathBuf,
    /// Who vouches for certificates of those who connect. None: nobody is asked for one.
    pub clients: Option<TlsClients>,
}

/// Certificates of those who connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsClients {
    /// Authorities, a PEM file.
    pub roots: PathBuf,
    /// What they revoked, a PEM file.
    pub revoked: Option<PathBuf>,
    /// Whether nobody is let in without one.
    pub required: bool,
}

/// Checks it. None: the engine speaks in clear.
pub(super) fn check(raw: RawTls, faults: &mut Vec<String>) -> Option<TlsSettings> {
    let mut needs = |name: &str, other: &str| {
        faults.push(format!("`tls.{name}` needs `tls.{other}`"));
    };
    if raw.client_crls.is_some() && raw.client_roots.is_none() {
        needs("client_crls", "client_roots");
    }
    if raw.client_required && raw.client_roots.is_none() {
        needs("client_required", "client_roots");
    }
    match (raw.certificate, raw.key) {
        (Some(certificate), Some(key)) => Some(TlsSettings {
            certificate,
            key,
            clients: raw.client_roots.map(|roots| TlsClients {
                roots,
                revoked: raw.client_crls,
                required: raw.client_required,
            }),
        }),
        (None, None) => {
            if raw.client_roots.is_some() {
                needs("client_roots", "certificate");
            }
            None
        }
        (Some(_), None) => {
            needs("certificate", "key");
            None
        }
        (None, Some(_)) => {
            needs("key", "certificate");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_together_is_set_together() {
        let check = |text: &str| {
            let mut faults = Vec::new();
            let settings = check(toml::from_str(text).unwrap(), &mut faults);
            (settings, faults.join("; "))
        };
        let (settings, faults) = check("certificate = \"c\"\nkey = \"k\"\nclient_roots = \"r\"");
        assert_eq!(faults, "");
        assert!(
            settings
                .unwrap()
                .clients
                .is_some_and(|clients| !clients.required)
        );
        assert_eq!(check(""), (None, String::new()));
        for (text, fault) in [
            ("certificate = \"c\"", "`tls.certificate` needs `tls.key`"),
            ("key = \"k\"", "`tls.key` needs `tls.certificate`"),
            (
                "client_roots = \"r\"",
                "`tls.client_roots` needs `tls.certificate`",
            ),
            (
                "client_required = true",
                "`tls.client_required` needs `tls.client_roots`",
            ),
            (
                "client_crls = \"l\"",
                "`tls.client_crls` needs `tls.client_roots`",
            ),
        ] {
            assert_eq!(check(text), (None, fault.to_owned()));
        }
    }
}
