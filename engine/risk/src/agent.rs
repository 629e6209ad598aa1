//! The client program behind a `User-Agent`: its family, never its version, because versions
//! change with every update and mean nothing (B16).

use woothee::parser::Parser;

const UNKNOWN: &str = "UNKNOWN";

/// A client program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// For example `Firefox`, or the product token of something that is no browser.
    pub family: String,
    /// For example `Windows 10`, where it says so.
    pub os: Option<String>,
    /// `pc`, `smartphone`, `mobilephone`, `appliance`, `crawler`, `misc`, where it says so.
    pub device_type: Option<String>,
}

impl Agent {
    /// Reads a `User-Agent`. None when it holds nothing to go by.
    #[must_use]
    pub fn parse(user_agent: &str) -> Option<Self> {
        let text = user_agent.trim();
        if text.is_empty() {
            return None;
        }
        let known = Parser::new().parse(text);
        let os = known
            .as_ref()
            .filter(|known| known.os != UNKNOWN)
            .map(|known| known.os.to_owned());
        let device_type = known
            .as_ref()
            .filter(|known| known.category != UNKNOWN)
            .map(|known| known.category.to_owned());
        let family = match known {
            Some(known) if known.name != UNKNOWN => known.name.to_owned(),
            _ => product_token(text)?.to_owned(),
        };
        Some(Self {
            family,
            os,
            device_type,
        })
    }
}

/// The first product token (RFC 9110 §10.1.5), without its version.
fn product_token(text: &str) -> Option<&str> {
    text.trim_start_matches(['[', '"'])
        .split(['/', ' ', ';', ']', '"'])
        .next()
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b16_families_survive_updates() {
        for (agent, wanted) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
                "Firefox",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0",
                "Firefox",
            ),
            (
                "Boto3/1.26.165 Python/3.10.6 Linux/5.19.0-46-generic",
                "Boto3",
            ),
            ("[Boto3/1.26.165 Python/3.10.6]", "Boto3"),
            ("console.ec2.amazonaws.com", "console.ec2.amazonaws.com"),
            ("nightly-report/2.4", "nightly-report"),
        ] {
            assert_eq!(
                Agent::parse(agent).map(|agent| agent.family),
                Some(wanted.to_owned())
            );
        }
        assert_eq!(Agent::parse("   "), None);
    }
}
