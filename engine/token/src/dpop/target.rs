//! Whether two URLs name one target (RFC 9449 §4.3, check 9): compared without query and fragment,
//! after what RFC 3986 §6.2.2 and §6.2.3 call normalisation.

/// Whether `htu` names the URL of the request.
#[must_use]
pub fn same_target(htu: &str, url: &str) -> bool {
    match (normal(htu), normal(url)) {
        (Some(claimed), Some(actual)) => claimed == actual,
        _ => false,
    }
}

/// Scheme and host in small letters, no default port, no escapes that need not be, a path, and
/// nothing after it. None for what is no URL of a web server, and for what has dots for steps in
/// its path: nobody needs those, and servers differ over them.
fn normal(url: &str) -> Option<String> {
    if url.len() > 4096 || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    let authority = authority.strip_suffix(':').unwrap_or(authority);
    if authority.is_empty() || authority.contains(['@', '%', '\\']) {
        return None;
    }
    let path = unescape(path)?;
    if path.split('/').any(|step| matches!(step, "." | "..")) {
        return None;
    }
    Some(format!("{scheme}://{authority}{path}"))
}

/// Escapes of what needs none are undone, the others written in capitals.
fn unescape(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut parts = path.split('%');
    normal.push_str(parts.next()?);
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            normal.push(char::from(byte));
        } else {
            normal.push('%');
            normal.push_str(&digits.to_ascii_uppercase());
        }
        normal.push_str(rest);
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_target_however_it_is_written() {
        let url = "https://pdp.example/oauth2/token";
        for same in [
            url,
            "HTTPS://PDP.Example/oauth2/token",
            "https://pdp.example:443/oauth2/token",
            "https://pdp.example/oauth2/token?x=1",
            "https://pdp.example/oauth2/token#x",
            "https://pdp.example/%6fauth2/tok%65n",
        ] {
            assert!(same_target(same, url), "{same}");
        }
        assert!(same_target(
            "http://127.0.0.1:8181",
            "http://127.0.0.1:8181/"
        ));
        assert!(same_target("https://a/%c3%a4", "https://a/%C3%A4"));
    }

    #[test]
    fn another_target_is_another() {
        let url = "https://pdp.example/oauth2/token";
        for other in [
            "http://pdp.example/oauth2/token",
            "https://pdp.example:8443/oauth2/token",
            "https://evil.example/oauth2/token",
            "https://pdp.example.evil/oauth2/token",
            "https://pdp.example@evil/oauth2/token",
            "https://x@pdp.example/oauth2/token",
            "https://pdp.example/oauth2/token/",
            "https://pdp.example/OAuth2/token",
            "https://pdp.example/oauth2%2Ftoken",
            "https://pdp.example/x/../oauth2/token",
            "https://pdp.example/x/%2e%2E/oauth2/token",
            "https://pdp.example/oauth2/token%",
            "https://pdp.example/oauth2/token%+1",
            "https://pdp.example /oauth2/token",
            "//pdp.example/oauth2/token",
            "/oauth2/token",
            "",
        ] {
            assert!(!same_target(other, url), "{other}");
        }
    }
}
