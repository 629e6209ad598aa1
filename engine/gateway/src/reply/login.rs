//! Browsers are sent to the login page, and come back to where they were, and nowhere else.

use http::{StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::is_safe;
use crate::host::{Authority, HostPattern};
use crate::original::{Original, Scheme};
use crate::path::{EmptySegments, Target};

/// Where a browser may come back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnHost {
    host: HostPattern,
    port: Option<u16>,
}

impl ReturnHost {
    /// Reads `shop.example`, `*.shop.example` or `shop.example:8443`; without a port, the usual.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (wildcard, rest) = match text.strip_prefix("*.") {
            Some(rest) => ("*.", rest),
            None => ("", text),
        };
        let authority = Authority::parse(rest)?;
        Some(Self {
            host: HostPattern::parse(&format!("{wildcard}{}", authority.host))?,
            port: authority.port,
        })
    }

    fn holds(&self, scheme: Scheme, authority: &Authority) -> bool {
        let usual = match scheme {
            Scheme::Https => 443,
            Scheme::Http => 80,
        };
        self.host.matches(&authority.host)
            && authority.port.unwrap_or(usual) == self.port.unwrap_or(usual)
    }
}

/// The login page, and where it may send back to.
#[derive(Clone, Debug)]
pub struct Login {
    url: String,
    parameter: String,
    hosts: Vec<ReturnHost>,
}

impl Login {
    /// Checks the page's URL and the name of the parameter that holds where to go back to.
    ///
    /// # Errors
    /// With a sentence on what is wrong.
    pub fn new(url: &str, parameter: &str, hosts: Vec<ReturnHost>) -> Result<Self, String> {
        let uri = url.parse::<Uri>().ok();
        let scheme = uri
            .as_ref()
            .and_then(Uri::scheme_str)
            .and_then(Scheme::parse);
        let authority = uri.as_ref().and_then(Uri::authority);
        let authority = authority.and_then(|authority| Authority::parse(authority.as_str()));
        let is_safe = match (scheme, &authority) {
            (Some(Scheme::Https), Some(_)) => true,
            (Some(Scheme::Http), Some(authority)) => authority.host.is_loopback(),
            _ => false,
        };
        let is_plain =
            url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains(['#', '\\']);
        if !is_safe || !is_plain {
            return Err(format!(
                "`url`: `{url}` is no `https` URL without a fragment, for example \
                 `https://login.example/step-up`"
            ));
        }
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let is_own = ["acr_values", "max_age"].contains(&parameter);
        if parameter.is_empty() || is_own || !parameter.bytes().all(is_known) {
            return Err(format!(
                "`return_parameter`: `{parameter}` is no name of a parameter, for example `return_to`"
            ));
        }
        Ok(Self {
            url: url.to_owned(),
            parameter: parameter.to_owned(),
            hosts,
        })
    }

    /// Where a browser goes with this request. None: it could not come back, so it stays.
    ///
    /// What changes something cannot be asked again by coming back, so from there the way leads
    /// to the beginning of the site, with 303 (RFC 9110 §15.4.4).
    pub(super) fn send(
        &self,
        original: &Original,
        acr_values: Option<&str>,
    ) -> Option<(StatusCode, String)> {
        let status = match is_safe(original) {
            true => StatusCode::FOUND,
            false => StatusCode::SEE_OTHER,
        };
        let target = match is_safe(original) {
            true => original.target.written(),
            false => "/".to_owned(),
        };
        let scheme = match original.authority.host.is_loopback() {
            true => original.scheme,
            false => Scheme::Https,
        };
        let back = format!("{}://{}{target}", scheme.as_str(), original.authority);
        let back = self.returns_to(&back)?;
        let value = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let sign = if self.url.contains('?') { '&' } else { '?' };
        let mut location = format!("{}{sign}{}={}", self.url, self.parameter, value(&back));
        if let Some(acr_values) = acr_values {
            location.push_str(&format!("&acr_values={}&max_age=0", value(acr_values)));
        }
        Some((status, location))
    }

    /// The URL in its one form, if a browser may come back to it. For whoever ends a login, too:
    /// what came back from there went through the browser.
    #[must_use]
    pub fn returns_to(&self, url: &str) -> Option<String> {
        let (scheme, rest) = match url.strip_prefix("https://") {
            Some(rest) => (Scheme::Https, rest),
            None => (Scheme::Http, url.strip_prefix("http://")?),
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let authority = Authority::parse(authority)?;
        if scheme == Scheme::Http && !authority.host.is_loopback() {
            return None;
        }
        let target = if target.is_empty() { "/" } else { target };
        // The strictest reading, whatever the routes take.
        let target = Target::parse(target.as_bytes(), EmptySegments::Refuse).ok()?;
        let is_known = self.hosts.iter().any(|host| host.holds(scheme, &authority));
        is_known.then(|| format!("{}://{authority}{}", scheme.as_str(), target.written()))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;
    use crate::original::Reading;

    fn login() -> Login {
        let hosts = [
            "shop.example",
            "*.apps.example",
            "shop.example:8443",
            "localhost:3000",
        ];
        let hosts = hosts.map(|host| ReturnHost::parse(host).unwrap()).to_vec();
        Login::new("https://login.example/step-up?app=1", "return_to", hosts).unwrap()
    }

    #[test]
    fn a_browser_comes_back_to_known_hosts_alone() {
        for good in [
            "https://shop.example/",
            "https://shop.example/orders/7?x=//evil.example",
            "https://shop.example:443/",
            "https://shop.example:8443/a",
            "https://SHOP.example./a",
            "https://a.apps.example/",
            "http://localhost:3000/",
        ] {
            assert!(login().returns_to(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "/",
            "/orders",
            "//shop.example/",
            "//evil.example/",
            "https:shop.example",
            "https:/shop.example",
            "https:///shop.example",
            "https:\\\\shop.example",
            "https://evil.example/",
            "https://evil.example/https://shop.example/",
            "https://shop.example.evil.example/",
            "https://evilshop.example/",
            "https://shop.example@evil.example/",
            "https://shop.example:443@evil.example/",
            "https://evil.example#@shop.example/",
            "https://evil.example?@shop.example/",
            "https://evil.example\\@shop.example/",
            "https://shop.example\\.evil.example/",
            "https://shop.example%2eevil.example/",
            "https://shop.example%00.evil.example/",
            "https://shop.example\t.evil.example/",
            " https://shop.example/",
            "https://shop.example/ ",
            "https://shop.example/\r\nSet-Cookie: a=b",
            "HTTPS://shop.example/",
            "http://shop.example/",
            "ftp://shop.example/",
            "javascript:alert(1)//https://shop.example/",
            "data:text/html,https://shop.example/",
            "https://apps.example/",
            "https://a.b.apps.example/",
            "https://shop.example:444/",
            "https://shop。example/",
            "https://ѕhop.example/",
            "https://[::1]/",
            "https://shop.example//evil.example/",
            "https://shop.example/..//evil.example",
            "https://shop.example/%5cevil",
            "https://shop.example/a#b",
        ] {
            assert_eq!(login().returns_to(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_page_is_https() {
        let hosts = || vec![ReturnHost::parse("shop.example").unwrap()];
        for good in [
            "https://login.example",
            "http://localhost:9000/x",
            "https://a.example/x?y=z",
        ] {
            assert!(Login::new(good, "return_to", hosts()).is_ok(), "{good}");
        }
        for bad in [
            "http://login.example",
            "login.example",
            "/login",
            "https://a.example/#x",
            "javascript:x",
            "https://me@a.example",
            "https://a.example/ü",
        ] {
            assert!(Login::new(bad, "return_to", hosts()).is_err(), "{bad}");
        }
        for bad in ["", "acr_values", "a b", "a&b"] {
            assert!(
                Login::new("https://a.example", bad, hosts()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_way_there_and_back() {
        let ask = |method: &str, host: &str, target: &str| {
            let headers = HeaderMap::new();
            let original = Original::direct(
                method,
                Scheme::Http,
                host,
                target.as_bytes(),
                &headers,
                Reading::default(),
            );
            login().send(&original.unwrap(), Some("urn:x mfa"))
        };
        let found = |back: &str| {
            format!(
                "https://login.example/step-up?app=1&return_to={back}&acr_values=urn%3Ax%20mfa&max_age=0"
            )
        };
        assert_eq!(
            ask("GET", "shop.example", "/a?b=c&d"),
            Some((
                StatusCode::FOUND,
                found("https%3A%2F%2Fshop%2Eexample%2Fa%3Fb%3Dc%26d")
            ))
        );
        assert_eq!(
            ask("POST", "shop.example", "/a?b=c&d"),
            Some((
                StatusCode::SEE_OTHER,
                found("https%3A%2F%2Fshop%2Eexample%2F")
            ))
        );
        assert_eq!(
            ask("GET", "localhost:3000", "/"),
            Some((StatusCode::FOUND, found("http%3A%2F%2Flocalhost%3A3000%2F")))
        );
        assert_eq!(ask("GET", "evil.example", "/a"), None);
    }

    proptest! {
        /// As the URL library of a browser reads it, the host is a known one.
        #[test]
        fn nothing_leads_elsewhere(
            url in "(https?:)?[/\\\\]{0,3}(shop\\.example|evil\\.example|localhost|[@:.#?%\\\\/a-z0-9 \t]{0,6}){1,4}",
        ) {
            if let Some(back) = login().returns_to(&url) {
                let uri: Uri = back.parse().unwrap();
                let host = uri.host().unwrap();
                prop_assert!(["shop.example", "localhost"].contains(&host) || host.ends_with(".apps.example"), "{} -> {}", url, back);
                prop_assert!(!back.contains(['\\', '@', '#']) || uri.path_and_query().is_some_and(|at| at.as_str().contains('@')));
                let again = login().returns_to(&back);
                prop_assert_eq!(again.as_deref(), Some(back.as_str()));
            }
        }
    }
}
