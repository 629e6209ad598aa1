//! What somebody wants a key to be, in their words; checked into what it will be.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use domain::{EntityRef, Name};

use crate::access::{KeyWish, LIFE_MAX_DAYS, Permission, PermissionSet, Role};

/// Longest SPIFFE id, bytes (SPIFFE-ID §2.3).
const SPIFFE_MAX: usize = 2048;
/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;

/// A key as it is asked for, at the command line or over HTTP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) role: String,
    /// Names of permissions; none: all that the role has.
    pub(crate) permissions: Option<Vec<String>>,
    /// Type and id; none: the service of this name.
    pub(crate) subject: Option<(String, String)>,
    pub(crate) audience: Option<String>,
    pub(crate) certificate: Option<String>,
    /// None: as long as a key may live.
    pub(crate) days: Option<u32>,
}

impl Wanted {
    /// Checks every part.
    ///
    /// # Errors
    /// What is wrong with the first that is, and what it could be.
    pub(crate) fn check(self, service_type: &str) -> Result<KeyWish, String> {
        let name = Name::new(self.name.trim()).map_err(|error| format!("the name {error}"))?;
        let role = Role::from_word(&self.role).ok_or_else(|| {
            let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
            format!(
                "there is no role `{}`; one of {}",
                shown(&self.role),
                roles.join(", ")
            )
        })?;
        let permissions = self
            .permissions
            .map(|names| permissions(&names))
            .transpose()?;
        let (kind, id) = match &self.subject {
            Some((kind, id)) => (kind.as_str(), id.as_str()),
            None => (service_type, name.as_str()),
        };
        let subject =
            EntityRef::new(kind, id).map_err(|error| format!("a part of the subject {error}"))?;
        let audience = self
            .audience
            .map(|audience| match Name::new(audience) {
                Ok(audience) => Ok(audience.as_str().to_owned()),
                Err(error) => Err(format!("the audience {error}")),
            })
            .transpose()?;
        let certificate = self.certificate.as_deref().map(certificate).transpose()?;
        let life_days = self.days.unwrap_or(LIFE_MAX_DAYS);
        if !(1..=LIFE_MAX_DAYS).contains(&life_days) {
            return Err(format!(
                "a key lives 1 to {LIFE_MAX_DAYS} days, not {life_days}"
            ));
        }
        Ok(KeyWish {
            name: name.as_str().to_owned(),
            role,
            permissions,
            subject,
            audience,
            certificate,
            life_days,
            created_by: None,
        })
    }
}

fn permissions(names: &[String]) -> Result<PermissionSet, String> {
    names
        .iter()
        .map(|name| {
            Permission::from_action(name).ok_or_else(|| {
                let all: Vec<&str> = Permission::ALL.iter().map(|one| one.action()).collect();
                format!(
                    "there is no permission `{}`; there are {}",
                    shown(name),
                    all.join(", ")
                )
            })
        })
        .collect()
}

/// What somebody sent, fit for a message.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// The certificate that is to stand for a key: an exact SPIFFE id, or the SHA-256 of its DER, as
/// base64url or as `openssl x509 -fingerprint -sha256` prints it.
fn certificate(text: &str) -> Result<String, String> {
    if let Some(rest) = text.strip_prefix("spiffe://") {
        return if text.len() <= SPIFFE_MAX && is_spiffe(rest) {
            Ok(text.to_owned())
        } else {
            Err(format!(
                "`{}` is no SPIFFE id: write spiffe://TRUST-DOMAIN/PATH, exactly as it stands in \
                 the certificate",
                shown(text)
            ))
        };
    }
    let hex: String = text.chars().filter(|character| *character != ':').collect();
    let thumbprint = BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()
        .filter(|bytes| bytes.len() == SHA256_BYTES)
        .or_else(|| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok())
        .filter(|bytes| bytes.len() == SHA256_BYTES);
    thumbprint
        .map(|bytes| BASE64URL_NOPAD.encode(&bytes))
        .ok_or_else(|| {
            format!(
                "`{}` is no certificate: write its SPIFFE id, or its thumbprint as `openssl x509 \
                 -fingerprint -sha256` prints it",
                shown(text)
            )
        })
}

/// Trust domain and path (SPIFFE-ID §2.1, §2.2).
fn is_spiffe(rest: &str) -> bool {
    let mut parts = rest.split('/');
    let domain = parts.next().unwrap_or_default();
    let is_domain = !domain.is_empty()
        && domain.len() <= 255
        && domain
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'));
    let mut segments = 0;
    is_domain
        && parts.all(|segment| {
            segments += 1;
            !matches!(segment, "" | "." | "..")
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        })
        // A trust domain alone is nobody's.
        && segments > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            name: " billing ".to_owned(),
            role: "service".to_owned(),
            ..Wanted::default()
        }
    }

    #[test]
    fn x15_a_key_is_what_was_asked_for() {
        let plain = wanted().check("Service").unwrap();
        assert_eq!(
            plain,
            KeyWish::plain(
                "billing",
                Role::Service,
                EntityRef::new("Service", "billing").unwrap()
            )
        );
        let more = Wanted {
            permissions: Some(vec!["tokens.request".to_owned()]),
            subject: Some(("Job".to_owned(), "nightly".to_owned())),
            audience: Some("https://docs.example".to_owned()),
            certificate: Some("spiffe://example.org/ns/shop/sa/billing".to_owned()),
            days: Some(30),
            ..wanted()
        };
        let wish = more.check("Service").unwrap();
        assert_eq!(wish.subject.to_string(), "Job::\"nightly\"");
        assert_eq!(wish.life_days, 30, "x16");
        assert_eq!(
            wish.permissions.unwrap().iter().collect::<Vec<_>>(),
            [Permission::RequestTokens]
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_word() {
        type Change = fn(&mut Wanted);
        let cases: [(Change, &str); 9] = [
            (|wanted| wanted.name.clear(), "the name is empty"),
            (|wanted| wanted.name = "a\u{202E}b".to_owned(), "U+202E"),
            (|wanted| wanted.role = "root".to_owned(), "no role `root`"),
            (
                |wanted| wanted.permissions = Some(vec!["fly".to_owned()]),
                "no permission `fly`",
            ),
            (
                |wanted| wanted.subject = Some((String::new(), "x".to_owned())),
                "subject is empty",
            ),
            (
                |wanted| wanted.audience = Some(String::new()),
                "the audience is empty",
            ),
            (|wanted| wanted.days = Some(0), "1 to 365 days"),
            (|wanted| wanted.days = Some(366), "1 to 365 days"),
            (
                |wanted| wanted.certificate = Some("CN=billing".to_owned()),
                "no certificate",
            ),
        ];
        for (change, told) in cases {
            let mut wanted = wanted();
            change(&mut wanted);
            let why = wanted.check("Service").unwrap_err();
            assert!(why.contains(told), "{why}");
        }
    }

    #[test]
    fn x22_certificates_are_named_exactly() {
        let base64 = "A".repeat(43);
        let colons = ["00"; 32].join(":");
        assert_eq!(certificate(&colons).as_deref(), Ok(&*base64));
        assert_eq!(
            certificate(&colons.replace(':', "")).as_deref(),
            Ok(&*base64)
        );
        assert_eq!(certificate(&base64).as_deref(), Ok(&*base64));
        let spiffe = "spiffe://example.org/ns/shop/sa/billing";
        assert_eq!(certificate(spiffe).as_deref(), Ok(spiffe));
        for refused in [
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://Example.org/a",
            "spiffe://example.org/a//b",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/a?b",
            "spiffe://user@example.org/a",
            "spiffe://example.org:8443/a",
            "spiffe:///a",
            "SPIFFE://example.org/a",
            &"A".repeat(42),
            "00:11",
            "",
        ] {
            assert!(certificate(refused).is_err(), "{refused}");
        }
    }
}
