//! The session cookie: read strictly, written so that no other site and no script has it (F17).

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// What the name must begin with: browsers then want `Secure`, `Path=/` and no `Domain`, so that
/// no neighbouring host can set it (RFC 6265bis §4.1.3.2).
const PREFIX: &str = "__Host-";

/// The longest value.
const VALUE_MAX: usize = 1_024;

/// The name of a session cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieName(String);

/// Why the session cookie cannot be read. Each is a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CookieFault {
    /// It came twice: one of them is somebody else's.
    #[error("the session cookie came more than once; delete this site's cookies")]
    Duplicate,
    /// Something that other readers take for it.
    #[error("a cookie came that looks like the session cookie; delete this site's cookies")]
    LookAlike,
    /// Not a value that was ever set.
    #[error("the session cookie's value is not one that was set")]
    Malformed,
}

impl CookieName {
    /// Checks a name.
    ///
    /// # Errors
    /// With a sentence on what is wrong.
    pub fn parse(name: &str) -> Result<Self, String> {
        let own = name.strip_prefix(PREFIX).unwrap_or_default();
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if own.is_empty() || name.len() > 64 || !own.bytes().all(is_known) {
            return Err(format!(
                "`{name}` does not begin with `{PREFIX}`, followed by letters, digits, `_` and \
                 `-`; for example `__Host-portreeve`"
            ));
        }
        Ok(Self(name.to_owned()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cookie's value, from all `Cookie` fields (HTTP/2 may send several).
    ///
    /// # Errors
    /// When it is there twice, or in a form that only some readers would take for it.
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, CookieFault> {
        let mut found = None;
        for pair in pairs(headers) {
            let Some(value) = self.value_in(pair)? else {
                continue;
            };
            if found.is_some() {
                return Err(CookieFault::Duplicate);
            }
            found = Some(value);
        }
        let Some(value) = found else {
            return Ok(None);
        };
        let is_known = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        if value.is_empty() || value.len() > VALUE_MAX || !value.iter().all(is_known) {
            return Err(CookieFault::Malformed);
        }
        std::str::from_utf8(value)
            .map(Some)
            .map_err(|_| CookieFault::Malformed)
    }

    fn value_in<'a>(&self, pair: &'a [u8]) -> Result<Option<&'a [u8]>, CookieFault> {
        let at = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = pair
            .split_at_checked(at.unwrap_or(pair.len()))
            .unwrap_or_default();
        if name == self.0.as_bytes() && at.is_some() {
            return Ok(value.get(1..));
        }
        // `=__Host-x=v` and `__host-x=v` are it to some, and a neighbouring host may set them.
        let own = self.0.as_bytes();
        let is_like = |text: &[u8]| {
            text.get(..own.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(own))
                && matches!(text.get(own.len()), None | Some(b'=' | b' ' | b'\t'))
        };
        let behind = value.get(1..).unwrap_or_default().trim_ascii();
        if is_like(name.trim_ascii()) || name.trim_ascii().is_empty() && is_like(behind) {
            return Err(CookieFault::LookAlike);
        }
        Ok(None)
    }

    /// The client's other cookies, for the app: a session is ours alone to read. Empty where there
    /// is no other.
    #[must_use]
    pub fn others(&self, headers: &HeaderMap) -> HeaderValue {
        let others: Vec<&[u8]> = pairs(headers)
            .filter(|pair| matches!(self.value_in(pair), Ok(None)))
            .collect();
        HeaderValue::from_bytes(&others.join(&b"; "[..])).unwrap_or(HeaderValue::from_static(""))
    }

    /// `Set-Cookie` with a value of base64url or a handle. None: it cannot be a value.
    #[must_use]
    pub fn set(&self, value: &str, max_age_seconds: u64) -> Option<HeaderValue> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if value.is_empty() || value.len() > VALUE_MAX || !value.bytes().all(is_known) {
            return None;
        }
        let mut header = HeaderValue::from_str(&format!(
            "{}={value}; Path=/; Max-Age={max_age_seconds}; Secure; HttpOnly; SameSite=Lax",
            self.0
        ))
        .ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// `Set-Cookie` that takes it away, with the attributes it was set with.
    #[must_use]
    pub fn clear(&self) -> HeaderValue {
        let text = format!(
            "{}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax",
            self.0
        );
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .map(|pair| pair.trim_ascii())
        .filter(|pair| !pair.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> CookieName {
        CookieName::parse("__Host-portreeve").unwrap()
    }

    fn headers(fields: &[&str]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|field| (COOKIE, HeaderValue::from_str(field).unwrap()));
        fields
            .collect::<Vec<_>>()
            .into_iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn one_cookie_is_the_session() {
        use CookieFault::*;
        for (fields, wanted) in [
            (&["__Host-portreeve=sh_abc"][..], Ok(Some("sh_abc"))),
            (&["a=b; __Host-portreeve=sh_abc; c=d"], Ok(Some("sh_abc"))),
            (&["a=b", "__Host-portreeve=sh_abc"], Ok(Some("sh_abc"))),
            (&["a=b;__Host-portreeve=a=b"], Ok(Some("a=b"))),
            (&[], Ok(None)),
            (&["a=b"], Ok(None)),
            (&["portreeve=x"], Ok(None)),
            (&["__Host-portreeve2=x"], Ok(None)),
            (&["x__Host-portreeve=x"], Ok(None)),
            (&["a=__Host-portreeve=x"], Ok(None)),
            (&["__Host-portreeve=a; __Host-portreeve=b"], Err(Duplicate)),
            (&["__Host-portreeve=a; __Host-portreeve=a"], Err(Duplicate)),
            (
                &["__Host-portreeve=a", "__Host-portreeve=b"],
                Err(Duplicate),
            ),
            (&["__Host-portreeve=a; __host-Portreeve=b"], Err(LookAlike)),
            (&["=__Host-portreeve=b"], Err(LookAlike)),
            (&["= __Host-portreeve=b"], Err(LookAlike)),
            (&["__Host-portreeve =b"], Err(LookAlike)),
            (&["__Host-portreeve"], Err(LookAlike)),
            (&["__Host-portreeve="], Err(Malformed)),
            (&["__Host-portreeve=\"a\""], Err(Malformed)),
            (&["__Host-portreeve=a b"], Err(Malformed)),
            (&["__Host-portreeve=a,b"], Err(Malformed)),
        ] {
            assert_eq!(name().read(&headers(fields)), wanted, "{fields:?}");
        }
    }

    #[test]
    fn it_is_written_for_this_host_alone() {
        let set = name().set("sh_abc", 28_800).unwrap();
        let wanted =
            "__Host-portreeve=sh_abc; Path=/; Max-Age=28800; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(set, wanted);
        assert!(set.is_sensitive());
        for bad in ["", "a;b", "a b", "a\r\nb", "a\"", "ü"] {
            assert_eq!(name().set(bad, 1), None, "{bad}");
        }
        let clear = name().clear();
        assert_eq!(
            clear,
            wanted.replace("sh_abc", "").replace("28800", "0").as_str()
        );
        let headers = headers(&["a=b; __Host-portreeve=x", "c=d; __host-portreeve=y"]);
        assert_eq!(name().others(&headers), "a=b; c=d");
    }

    #[test]
    fn names_begin_with_host() {
        for bad in [
            "portreeve",
            "__Host-",
            "__host-x",
            "__Secure-x",
            "__Host-a b",
            "__Host-a=b",
            "__Host-ü",
        ] {
            assert!(CookieName::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_set_is_read(value in "[A-Za-z0-9._~+/=-]{1,80}", before in "[ -:<-~]{0,20}") {
            prop_assume!(!before.to_ascii_lowercase().contains("portreeve"));
            let set = name().set(&value, 1).unwrap();
            let set = set.to_str().unwrap().split(';').next().unwrap();
            let headers = headers(&[&format!("{before}; {set}")]);
            prop_assert_eq!(name().read(&headers), Ok(Some(value.as_str())));
            prop_assert!(!name().others(&headers).to_str().unwrap().contains("portreeve"));
        }
    }
}
