//! Alerts as messages of syslog (RFC 5424), a datagram each (RFC 5426).

use std::borrow::Cow;
use std::io;

use domain::Timestamp;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

/// Facility 10: security (RFC 5424 §6.2.1).
const FACILITY: u8 = 10;
/// Bytes of an alert in a message at most. A datagram takes 64 KB, but common servers cut what is
/// longer than 8 KB, and cut JSON is none.
const ALERT_BYTES_MAX: usize = 8000 - 400;
/// What says what is wrong in few bytes, and stays whatever else is too long.
const KEPT: [&str; 11] = [
    "version",
    "id",
    "type",
    "severity",
    "timestamp",
    "initiator",
    "session_id",
    "decision_id",
    "score",
    "done",
    "why",
];
/// Bytes of one of these then.
const KEPT_BYTES_MAX: usize = 200;

/// The alert, or as much of it as a message takes. Then it says so itself: `"cut": true`.
fn fitting<'a>(alert: &'a str, read: &Value) -> Cow<'a, str> {
    if alert.len() <= ALERT_BYTES_MAX {
        return Cow::Borrowed(alert);
    }
    let mut short = read.clone();
    if let Some(members) = short.as_object_mut() {
        members.insert("cut".to_owned(), json!(true));
    }
    // The factors matter most, the first of them most of all.
    for name in ["data", "policies", "factors"] {
        while short.to_string().len() > ALERT_BYTES_MAX {
            let is_gone = match short.get_mut(name) {
                Some(Value::Array(all)) => all.pop().is_none(),
                Some(other) => std::mem::take(other).is_null(),
                None => true,
            };
            if is_gone {
                break;
            }
        }
    }
    if short.to_string().len() > ALERT_BYTES_MAX {
        let kept = KEPT.iter().filter_map(|name| {
            let value = match read.get(*name)? {
                Value::String(text) => {
                    let end = text.floor_char_boundary(KEPT_BYTES_MAX);
                    json!(text.get(..end))
                }
                other => other.clone(),
            };
            Some(((*name).to_owned(), value))
        });
        let cut = ("cut".to_owned(), json!(true));
        short = kept.chain([cut]).collect();
    }
    Cow::Owned(short.to_string())
}

/// A message of RFC 5424 whose text is the alert. The host is the engine's own name.
pub(super) fn line(alert: &str, at: Timestamp, public_url: &str) -> String {
    let read: Value = serde_json::from_str(alert).unwrap_or_default();
    let alert = fitting(alert, &read);
    let severity = match read.get("severity").and_then(Value::as_str) {
        Some("high") => 1,
        Some("medium") => 4,
        _ => 5,
    };
    let word = |text: &str, most: usize| -> String {
        let kept: String = text
            .chars()
            .filter(char::is_ascii_graphic)
            .take(most)
            .collect();
        if kept.is_empty() {
            "-".to_owned()
        } else {
            kept
        }
    };
    let host = public_url.split("://").nth(1).unwrap_or_default();
    let host = host.split(['/', ':']).next().unwrap_or_default();
    let kind = read.get("type").and_then(Value::as_str).unwrap_or_default();
    format!(
        "<{}>1 {} {} portreeve - {} - {alert}",
        FACILITY * 8 + severity,
        wire::time::format(at),
        word(host, 255),
        word(kind, 32),
    )
}

/// Sends a message to all that the host's name stands for, until one goes off.
///
/// # Errors
/// When none did.
pub(super) async fn datagram(address: &str, message: &[u8]) -> io::Result<()> {
    let mut last = io::Error::other("no such host");
    for found in tokio::net::lookup_host(address).await? {
        let from = if found.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(from).await?;
        match socket.send_to(message, found).await {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether a message is longer than the way to its receiver takes, now and later.
pub(super) fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Value {
        let start = line.find(" - {").unwrap() + 3;
        serde_json::from_str(line.get(start..).unwrap()).unwrap()
    }

    const AT: Timestamp = Timestamp::from_seconds(1_795_215_660);

    #[test]
    fn m16_an_alert_is_a_message_of_rfc_5424() {
        let alert = json!({"type": "risk-threshold", "severity": "high"}).to_string();
        let line = line(&alert, AT, "https://pdp.example:8443/x");
        let start = "<81>1 2026-11-20T23:01:00.000Z pdp.example portreeve - risk-threshold - {";
        assert!(line.starts_with(start), "{line}");
        assert_eq!(read(&line).get("cut"), None);
    }

    #[test]
    fn m16_what_is_too_long_is_cut_and_says_so() {
        let long = |bytes: usize| "é".repeat(bytes / 2);
        let control = "\u{1}".repeat(5000);
        for (more, kept) in [
            (json!({"factors": vec![long(500); 32]}), "factors"),
            (
                json!({"factors": ["why"], "policies": vec![long(500); 32]}),
                "factors",
            ),
            (
                json!({"factors": ["why"], "data": {"claims": vec![long(500); 500]}}),
                "factors",
            ),
            (
                json!({"subject": {"type": "User", "id": long(70_000)}}),
                "id",
            ),
            (json!({"why": control, "done": control}), "why"),
        ] {
            let mut alert =
                json!({"id": "sev_7", "type": "policy", "severity": "high", "why": "so"});
            for (name, value) in more.as_object().unwrap() {
                alert[name] = value.clone();
            }
            let line = line(&alert.to_string(), AT, "https://pdp.example");
            assert!(line.len() <= 8000, "{}", line.len());
            let read = read(&line);
            assert_eq!((&read["cut"], &read["id"]), (&json!(true), &json!("sev_7")));
            let kept = &read[kept];
            assert!(kept.is_string() || kept[0].is_string(), "{read}");
        }
    }

    #[tokio::test]
    async fn m16_what_no_datagram_takes_is_refused_for_good() {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = receiver.local_addr().unwrap().to_string();
        let refused = datagram(&address, &[b'x'; 70_000]).await.unwrap_err();
        assert!(is_too_long(&refused), "{refused}");
    }
}
