//! A shop behind gateways: its settings, its policies, who comes with what.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Map, Value, json};
use token::SigningKey;
use token::keys::Algorithm;

use crate::harness::{Engine, Response, Site, root};
use crate::oauth::Holder;

/// What a gateway is, to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `X-Forwarded-*`: Caddy, Traefik, HAProxy, Apache.
    Forwarded,
    /// `X-Original-*`, and of the answers only 2xx, 401 and 403: nginx.
    Nginx,
    /// The client's own request under a prefix: Envoy over HTTP.
    Envoy,
}

impl Form {
    pub(super) const ALL: [Self; 3] = [Self::Forwarded, Self::Nginx, Self::Envoy];
}

/// The policies of the shop: how much each action takes.
const SCHEMA: &str = r#"
entity User, Service, Visitor;
@audience("https://orders.internal") entity Order;
@audience("https://shop.example") entity Receipt;
entity Page, Session;
action "orders.read", "orders.change", "orders.approve", "orders.delete", "orders.delegated"
    appliesTo { principal: [User, Service], resource: [Order], context: Circumstances };
action "orders.from_here"
    appliesTo { principal: [User], resource: [Order], context: Circumstances };
action "receipts.read"
    appliesTo { principal: [User], resource: [Receipt], context: Circumstances };
action "pages.read"
    appliesTo { principal: [Visitor], resource: [Page], context: Circumstances };
"#;
const POLICIES: &str = r#"
@id("read") permit (principal, action == Action::"orders.read", resource);
@id("change-after-a-challenge") permit (principal is User, action == Action::"orders.change", resource)
when { context.assurance has challenge_age_seconds && context.assurance.challenge_age_seconds <= 300 };
@id("approve-after-mfa") permit (principal is User, action == Action::"orders.approve", resource)
when { context.assurance has mfa_age_seconds && context.assurance.mfa_age_seconds <= 300 };
@id("receipts") permit (principal, action == Action::"receipts.read", resource);
@id("for-an-actor") permit (principal, action == Action::"orders.delegated", resource)
when { context.actor has id && context.actor.id == "intranet" };
@id("from-the-office") permit (principal, action == Action::"orders.from_here", resource)
when { context.network has ip && context.network.ip.isInRange(ip("203.0.113.0/24")) };
@id("pages") permit (principal is Visitor, action == Action::"pages.read", resource);
@id("not-this-one") @reason("This order is closed.")
forbid (principal, action == Action::"orders.read", resource == Order::"closed");
"#;

const GATEWAY: &str = r#"
[gateway]
certificate_from = "client-cert"
audiences = ["https://shop.example"]
identity = { X-User-Id = "subject.id", X-User-Roles = "claim.roles" }
origins = ["https://app.example"]
[gateway.login]
url = "https://login.example/step-up"
return_hosts = ["shop.example"]
[[gateway.routes]]
name = "orders"
hosts = ["shop.example"]
path = "/orders/{id}"
action = { GET = "orders.read", PUT = "orders.change", POST = "orders.approve", DELETE = "orders.delete" }
resource = { type = "Order", id = "{id}" }
[[gateway.routes]]
name = "approve-in-a-browser"
hosts = ["shop.example"]
path = "/browser/{id}"
action = "orders.approve"
resource = { type = "Order", id = "{id}" }
step_up = "redirect"
[[gateway.routes]]
name = "with-a-token"
hosts = ["shop.example"]
path = "/api/orders/{id}"
action = "orders.read"
resource = { type = "Order", id = "{id}" }
token = { audience = "https://orders.internal", scope = ["orders.read", "orders.delete"] }
[[gateway.routes]]
name = "delegated"
hosts = ["shop.example"]
path = "/delegated/{id}"
action = "orders.delegated"
resource = { type = "Order", id = "{id}" }
[[gateway.routes]]
name = "office"
hosts = ["shop.example"]
path = "/office/{id}"
action = "orders.from_here"
resource = { type = "Order", id = "{id}" }
[[gateway.routes]]
name = "pages"
hosts = ["shop.example"]
path = "/pages/{name}"
subject = { type = "Visitor", id = "anyone" }
action = "pages.read"
resource = { type = "Page", id = "{name}" }
[[gateway.routes]]
name = "as-a-service"
hosts = ["shop.example"]
path = "/as-a-service/{id}"
subject = { type = "Service", from = ["User"] }
action = "orders.read"
resource = { type = "Order", id = "{id}" }
[[gateway.routes]]
name = "of-a-session"
hosts = ["shop.example"]
path = "/of-a-session/{id}"
subject = { type = "User", claim = "sid" }
action = { GET = "orders.read", POST = "orders.approve" }
resource = { type = "Order", id = "{id}" }
[[gateway.routes]]
name = "receipts"
hosts = ["shop.example"]
path = "/receipts/{id}"
action = "receipts.read"
resource = { type = "Receipt", id = "{id}" }
token = { audience = "https://shop.example" }
[[gateway.routes]]
name = "a-token-for-another"
hosts = ["shop.example"]
path = "/wrong/{id}"
action = "orders.read"
resource = { type = "Order", id = "{id}" }
token = { audience = "https://else.example" }
[[gateway.routes]]
name = "tenants"
hosts = ["tenants.example"]
path = "/orders/{id}"
claims = { tenant = "acme" }
action = "orders.read"
resource = { type = "Order", id = "{claim.tenant}/{id}" }
[gateway.callers.nginx]
statuses = "auth_request"
[gateway.callers.envoy-certificates]
certificate_from = "x-forwarded-client-cert"
"#;

/// The engine with its gateways, and the keys of those who sign.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) site: Site,
    /// The engine's own signing key.
    pub(super) signer: SigningKey,
    /// That of the issuer `https://idp.example`.
    pub(super) idp: SigningKey,
    /// That of a client, for proofs.
    pub(super) device: SigningKey,
    pub(super) gateways: [Holder; 3],
    pub(super) certificates: Holder,
    proofs: std::cell::Cell<u32>,
}

/// A request of a client.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) target: String,
    /// The client's headers, and those that its gateway adds.
    pub(super) headers: Vec<(String, String)>,
}

impl Asked {
    /// `GET https://shop.example/orders/7`.
    pub(super) fn read(line: &str) -> Self {
        let (method, url) = line.split_once(' ').unwrap();
        let rest = url.strip_prefix("https://").unwrap();
        let at = rest.find('/').unwrap();
        Self {
            method: method.to_owned(),
            host: rest[..at].to_owned(),
            target: rest[at..].to_owned(),
            headers: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The URL as a proof names it.
    pub(super) fn url(&self) -> String {
        let path = self.target.split('?').next().unwrap();
        format!("https://{}{path}", self.host)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the engine under test runs by the same clock"
)]
pub(super) fn seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Policies in a folder: the shop's, with what the engine offers.
fn write_policies(folder: &std::path::Path) {
    std::fs::create_dir_all(folder).unwrap();
    let words = root().join("policies/schema.cedarschema");
    std::fs::copy(words, folder.join("schema.cedarschema")).unwrap();
    std::fs::write(folder.join("shop.cedarschema"), SCHEMA).unwrap();
    std::fs::write(folder.join("shop.cedar"), POLICIES).unwrap();
}

impl World {
    pub(super) fn new() -> Self {
        Self::with("", "")
    }

    /// With more settings, and further issuers.
    pub(super) fn with(more: &str, issuers: &str) -> Self {
        let site = Site::with(&format!(
            "{GATEWAY}{more}\n[tokens]\nclient_cert_from = ['127.0.0.1/32']\n\
             client_cert_roots = {:?}\nspiffe_trust_domains = ['example.org']\n",
            root().join("tests/certificates/root.pem")
        ));
        let policies = site.folder.path().join("policies");
        write_policies(&policies);
        let idp = SigningKey::generate(Algorithm::Es256).unwrap();
        let keys = site.folder.path().join("issuer.json");
        std::fs::write(&keys, json!({ "keys": [idp.public()] }).to_string()).unwrap();
        let settings = std::fs::read_to_string(site.config()).unwrap();
        let settings = format!(
            "grpc_listen = 'off'\nissuers = [{{ issuer = 'https://idp.example', jwks_file = {keys:?}, \
             audience = 'portreeve', life_max_seconds = 86400 }}{issuers}]\n{settings}\n\
             [policies]\ndir = {policies:?}\n"
        );
        std::fs::write(site.config(), settings).unwrap();
        let signer = SigningKey::generate(Algorithm::Es256).unwrap();
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(site.data())
            .unwrap();
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(site.data().join("signing-key.p8"))
            .unwrap();
        std::io::Write::write_all(&mut file, &signer.to_der().unwrap()).unwrap();
        let gateway = |name: &str| Holder::new(&site, "gateway", name, &[]);
        let gateways = [gateway("caddy"), gateway("nginx"), gateway("envoy")];
        let certificates = gateway("envoy-certificates");
        Self {
            engine: site.start(),
            signer,
            idp,
            device: SigningKey::generate(Algorithm::Es256).unwrap(),
            gateways,
            certificates,
            proofs: std::cell::Cell::new(0),
            site,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.engine.address)
    }

    /// The key of who stands for a form.
    pub(super) fn key(&self, form: Form) -> &str {
        &self.gateways[form as usize].key
    }

    /// Asks as a gateway of this form does, with its key.
    pub(super) fn ask(&self, form: Form, asked: &Asked) -> Response {
        self.ask_with(form, asked, Some(self.key(form)))
    }

    pub(super) fn ask_with(&self, form: Form, asked: &Asked, key: Option<&str>) -> Response {
        let mut sent = self.message(form, asked, key);
        let mut client = self.engine.client("");
        let response = client.raw(std::mem::take(&mut sent).as_bytes());
        response.unwrap_or_else(|| panic!("no answer to {asked:?}"))
    }

    /// What a gateway of this form sends.
    pub(super) fn message(&self, form: Form, asked: &Asked, key: Option<&str>) -> String {
        let Asked {
            method,
            host,
            target,
            headers,
        } = asked;
        let mut lines = match form {
            Form::Forwarded => vec![
                "GET /gateway/forward-auth HTTP/1.1".to_owned(),
                "Host: engine".to_owned(),
                format!("X-Forwarded-Method: {method}"),
                format!("X-Forwarded-Uri: {target}"),
                format!("X-Forwarded-Host: {host}"),
                "X-Forwarded-Proto: https".to_owned(),
            ],
            Form::Nginx => vec![
                "GET /gateway/forward-auth HTTP/1.1".to_owned(),
                "Host: engine".to_owned(),
                format!("X-Original-Method: {method}"),
                format!("X-Original-URI: {target}"),
                format!("X-Original-Host: {host}"),
            ],
            Form::Envoy => vec![
                format!("{method} /gateway/envoy{target} HTTP/1.1"),
                format!("Host: {host}"),
                "X-Forwarded-Proto: https".to_owned(),
                "Content-Length: 0".to_owned(),
            ],
        };
        let is_said = |wanted: &str| {
            headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        if !is_said("X-Forwarded-For") {
            lines.push("X-Forwarded-For: 198.51.100.7".to_owned());
        }
        lines.extend(key.map(|key| format!("Portreeve-Key: {key}")));
        lines.extend(
            headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}")),
        );
        lines.push("\r\n".to_owned());
        lines.join("\r\n")
    }

    /// A session of alice, opened by the gateway of this form: its id and its handle.
    pub(super) fn session(&self, form: Form, more: &Value) -> (String, String) {
        let mut context = json!({ "ip": "198.51.100.7" });
        for (name, value) in more.as_object().into_iter().flatten() {
            context[name] = value.clone();
        }
        let body = json!({ "subject": { "type": "User", "id": "alice" }, "context": context });
        let response = self
            .engine
            .client(self.key(form))
            .post("/v1/sessions", &body);
        assert_eq!(response.status, 201, "{}", response.json());
        let opened = response.json();
        let word = |member: &str| opened[member].as_str().unwrap().to_owned();
        (word("id"), word("handle"))
    }

    /// A token of ours about alice, with some claims changed; `null` takes one away.
    pub(super) fn own(&self, form: Form, changes: &Map<String, Value>) -> String {
        let now = seconds();
        let claims = json!({
            "iss": self.url(), "sub": "User/alice", "aud": "https://shop.example",
            "client_id": self.gateways[form as usize].id, "iat": now, "nbf": now,
            "exp": now + 300, "jti": self.fresh(), "acr": "urn:portreeve:acr:1fa",
            "scope": "orders.read orders.change orders.approve orders.delegated",
        });
        token::mint(&self.signer, "at+jwt", &changed(claims, changes)).unwrap()
    }

    /// One of the issuer.
    pub(super) fn foreign(&self, changes: &Map<String, Value>) -> String {
        let now = seconds();
        let claims = json!({
            "iss": "https://idp.example", "sub": "alice", "aud": "portreeve", "iat": now,
            "exp": now + 3600, "jti": self.fresh(), "roles": ["clerk", "a,b"],
            "scope": "openid profile",
        });
        token::mint(&self.idp, "at+jwt", &changed(claims, changes)).unwrap()
    }

    /// A proof of the client's key for a request and its token.
    pub(super) fn proof(&self, asked: &Asked, token: &str, changes: &Map<String, Value>) -> String {
        let mut jwk = serde_json::to_value(self.device.public()).unwrap();
        for member in ["kid", "use", "alg"] {
            jwk.as_object_mut().unwrap().remove(member);
        }
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk});
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
        let claims = json!({
            "jti": self.fresh(), "htm": asked.method, "htu": asked.url(), "iat": seconds(),
            "ath": BASE64URL_NOPAD.encode(hash.as_ref()),
        });
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&changed(claims, changes)));
        let signature = self.device.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    pub(super) fn fresh(&self) -> String {
        self.proofs.set(self.proofs.get() + 1);
        format!("made-{}-{}", std::process::id(), self.proofs.get())
    }

    /// Stops the engine, does something to its database, and starts it again.
    pub(super) fn restart(&mut self, sql: &str) {
        self.engine.signal("TERM");
        let (status, log) = self.engine.wait();
        assert!(status.success(), "{log}");
        self.sql(sql);
        self.engine = self.site.start();
    }

    /// Does something to the database by a connection of its own.
    pub(super) fn sql(&self, sql: &str) {
        use sqlx::{ConnectOptions as _, Connection as _};
        let path = self.site.data().join("portreeve.db");
        assert!(path.exists(), "{}", path.display());
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = options.connect().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
    }

    /// Everything that the journal holds, as text.
    pub(super) fn journal(&self) -> String {
        let files = std::fs::read_dir(self.site.data().join("journal")).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    }
}

/// Claims that a token has otherwise than usual.
pub(super) fn changes(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn changed(mut claims: Value, changes: &Map<String, Value>) -> Value {
    for (name, value) in changes {
        // `+300` is so many seconds from now.
        let value = match value.as_str().and_then(|text| text.strip_prefix("now")) {
            Some("") => json!(seconds()),
            Some(offset) => json!(seconds() + offset.parse::<i64>().unwrap()),
            None => value.clone(),
        };
        claims[name] = value;
    }
    let members = claims.as_object_mut().unwrap();
    members.retain(|_, value| !value.is_null());
    claims
}

/// A certificate's DER as RFC 9440 writes it.
pub(super) fn client_cert(name: &str) -> String {
    format!(":{}:", BASE64.encode(&der(name)))
}

/// One as Envoy passes it on.
pub(super) fn forwarded_cert(name: &str, chain: &[&str]) -> String {
    let pem = |names: &[&str]| -> String {
        let all: String = names.iter().map(|name| pem_of(name)).collect();
        percent(&all)
    };
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der(name));
    let hash: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut whole = vec![name];
    whole.extend(chain);
    format!(
        "By=spiffe://example.org/envoy;Hash={hash};Cert=\"{}\";Chain=\"{}\"",
        pem(&[name]),
        pem(&whole)
    )
}

fn pem_of(name: &str) -> String {
    std::fs::read_to_string(root().join("tests/certificates").join(name)).unwrap()
}

fn der(name: &str) -> Vec<u8> {
    let pem = pem_of(name);
    let inside: String = pem
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    BASE64.decode(inside.as_bytes()).unwrap()
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
