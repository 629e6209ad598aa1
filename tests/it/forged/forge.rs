//! Makes tokens out of rows.

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use token::SigningKey;

/// A row of the corpus.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Row {
    pub(super) name: String,
    header: Map<String, Value>,
    header_without: Vec<String>,
    header_text: Option<String>,
    claims: Map<String, Value>,
    claims_without: Vec<String>,
    claims_text: Option<String>,
    sign: Option<String>,
    text: Option<String>,
    pub(super) only: Option<String>,
}

/// What tokens are made with.
pub(super) struct Forge<'f> {
    pub(super) engine: &'f SigningKey,
    pub(super) stranger: &'f SigningKey,
    pub(super) url: &'f str,
    pub(super) client_id: &'f str,
    /// Seconds.
    pub(super) now: i64,
}

impl Forge<'_> {
    /// Claims that hold.
    fn good(&self) -> Value {
        json!({
            "iss": self.url, "sub": "Service/gateway", "aud": self.url,
            "client_id": self.client_id, "iat": self.now, "nbf": self.now,
            "exp": self.now + 300, "jti": "forged-1", "scope": "evaluate access",
            "acr": "urn:portreeve:acr:none",
        })
    }

    /// The token of a row; the one that holds for an empty row.
    pub(super) fn make(&self, row: &Row) -> String {
        let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": self.engine.id()});
        let h = self.part(&header, &row.header, &row.header_without, &row.header_text);
        let p = self.part(
            &self.good(),
            &row.claims,
            &row.claims_without,
            &row.claims_text,
        );
        let signed = format!("{h}.{p}");
        let message = signed.as_bytes();
        let hmac_by = |secret: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, message).as_ref().to_vec()
        };
        let public = serde_json::to_string(self.engine.public()).unwrap();
        let signature = match row.sign.as_deref().unwrap_or("engine") {
            "engine" => self.engine.sign(message).unwrap(),
            "stranger" => self.stranger.sign(message).unwrap(),
            "nobody" => Vec::new(),
            "zeros" => vec![0; 64],
            "public" => hmac_by(public.as_bytes()),
            other => hmac_by(other.strip_prefix("secret:").unwrap().as_bytes()),
        };
        let s = BASE64URL_NOPAD.encode(&signature);
        let whole = format!("{signed}.{s}");
        let Some(text) = &row.text else {
            return whole;
        };
        filled(text)
            .replace("$h", &h)
            .replace("$p", &p)
            .replace("$s", &s)
            .replace("$t", &whole)
    }

    fn part(
        &self,
        good: &Value,
        set: &Map<String, Value>,
        without: &[String],
        text: &Option<String>,
    ) -> String {
        let mut value = good.clone();
        let members = value.as_object_mut().unwrap();
        for (name, value) in set {
            members.insert(name.clone(), self.meant(value));
        }
        for name in without {
            assert!(members.remove(name).is_some(), "{name}");
        }
        let whole = value.to_string();
        let text = match text {
            None => whole,
            Some(text) => filled(text)
                .replace("$header", &whole)
                .replace("$claims", &whole)
                .replace("$members", &whole[1..whole.len() - 1]),
        };
        BASE64URL_NOPAD.encode(text.as_bytes())
    }

    /// A value with its words filled in.
    fn meant(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if text == "$jwk" => {
                serde_json::to_value(self.stranger.public()).unwrap()
            }
            Value::String(text) => match text.strip_prefix("$now") {
                Some("") => json!(self.now),
                Some(seconds) => json!(self.now + seconds.parse::<i64>().unwrap()),
                None => {
                    let text = text.replace("$url", self.url);
                    json!(text.replace("$kid", self.engine.id()))
                }
            },
            Value::Array(items) => items.iter().map(|item| self.meant(item)).collect(),
            Value::Object(members) => {
                let meant = |(name, value): (&String, &Value)| (name.clone(), self.meant(value));
                Value::Object(members.iter().map(meant).collect())
            }
            other => other.clone(),
        }
    }
}

fn filled(text: &str) -> String {
    text.replace("$deep", &format!("{}{}", "[".repeat(200), "]".repeat(200)))
        .replace("$dots", &".".repeat(4000))
        .replace("$20000", &"A".repeat(20_000))
        .replace("$6000", &"A".repeat(6000))
        .replace("$1000", &"k".repeat(1000))
}
