//! `--fail-if 'newly_denied > 0.1%'`: when a replay is a no.

use std::fmt;
use std::str::FromStr;

use super::report::{Kind, Report};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    NewlyDenied,
    NewlySteppedUp,
    Eased,
    Changed,
    NotComparable,
}

impl Count {
    const ALL: [(&'static str, Self); 5] = [
        ("newly_denied", Self::NewlyDenied),
        ("newly_stepped_up", Self::NewlySteppedUp),
        ("eased", Self::Eased),
        ("changed", Self::Changed),
        ("not_comparable", Self::NotComparable),
    ];

    /// How many, and of how many.
    fn of(self, report: &Report) -> (u64, u64) {
        let compared = report.compared();
        match self {
            Self::NewlyDenied => (report.count(Kind::NewlyDenied), compared),
            Self::NewlySteppedUp => (report.count(Kind::NewlySteppedUp), compared),
            Self::Eased => (report.count(Kind::Eased), compared),
            Self::Changed => (report.changed(), compared),
            Self::NotComparable => (report.uncompared(), compared + report.uncompared()),
        }
    }
}

/// One limit: a count, and a number or a share in per cent of what it is held against.
///
/// Shares are of the decisions compared, `not_comparable` of all of them. Where nobody set a
/// limit to that, one in a hundred is one too many: see [`FailIf::unheard`].
#[derive(Clone, Debug, PartialEq)]
pub struct FailIf {
    text: String,
    count: Count,
    or_equal: bool,
    limit: f64,
    is_share: bool,
}

impl FailIf {
    /// A limit says nothing where most decisions could not be compared: in words, when that is so
    /// and none of the limits is about it.
    #[must_use]
    pub fn unheard(limits: &[Self], report: &Report) -> Option<String> {
        let is_limited = limits
            .iter()
            .any(|limit| limit.count == Count::NotComparable);
        let (number, all) = Count::NotComparable.of(report);
        let too_many = number.saturating_mul(100) > all;
        (!limits.is_empty() && !is_limited && too_many).then(|| {
            format!(
                "{number} of {all} decisions could not be compared, which says little of the \
                 rest; `--fail-if 'not_comparable > …'` allows for it"
            )
        })
    }
}

impl FromStr for FailIf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let names = Count::ALL.map(|(name, _)| name).join(", ");
            format!(
                "`{text}` is no limit: write one of {names}, then `>` or `>=`, then a number or a \
                 share, for example `newly_denied > 0.1%`"
            )
        };
        let (name, rest) = text.split_once('>').ok_or_else(wrong)?;
        let (or_equal, rest) = match rest.strip_prefix('=') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (number, is_share) = match rest.trim().strip_suffix('%') {
            Some(number) => (number.trim_end(), true),
            None => (rest.trim(), false),
        };
        let count = Count::ALL.iter().find(|(known, _)| *known == name.trim());
        let (_, count) = count.ok_or_else(wrong)?;
        let limit: f64 = number.parse().map_err(|_| wrong())?;
        if !limit.is_finite() || limit < 0.0 {
            return Err(wrong());
        }
        Ok(Self {
            text: text.trim().to_owned(),
            count: *count,
            or_equal,
            limit,
            is_share,
        })
    }
}

impl fmt::Display for FailIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FailIf {
    /// Whether it holds, and so whether the replay is a no; in words then. Where nothing could be
    /// compared nothing is known to be well, and that is a no too.
    #[must_use]
    pub fn holds(&self, report: &Report) -> Option<String> {
        if report.compared() == 0 {
            return Some(format!("`{self}`: no decision could be compared"));
        }
        let (number, of) = self.count.of(report);
        let share = 100.0 * number as f64 / of as f64;
        let value = if self.is_share { share } else { number as f64 };
        let holds = if self.or_equal {
            value >= self.limit
        } else {
            value > self.limit
        };
        holds.then(|| format!("`{self}` holds: {number} of {of}, {share:.3} %"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 compared, 2 of them newly denied, 1 stepped up, 3 eased; 10 not comparable.
    fn report() -> Report {
        let mut report = Report::default();
        report.matrix[0] = [994, 1, 0, 2];
        report.matrix[3] = [3, 0, 0, 0];
        report.not_comparable.insert("gone".to_owned(), 10);
        report
    }

    #[test]
    fn limits_hold_from_where_they_say() {
        for (limit, holds) in [
            ("newly_denied > 0.1%", true),
            ("newly_denied > 0.2 %", false),
            ("newly_denied>=0.2%", true),
            ("newly_denied > 1", true),
            ("newly_denied > 2", false),
            ("newly_denied >= 2", true),
            ("newly_stepped_up > 0", true),
            ("eased >= 3", true),
            ("changed > 5", true),
            ("changed > 6", false),
            ("not_comparable > 0.9%", true),
            ("not_comparable > 1%", false),
        ] {
            let parsed: FailIf = limit.parse().unwrap();
            assert_eq!(parsed.holds(&report()).is_some(), holds, "{limit}");
        }
        let limit: FailIf = "newly_denied > 5".parse().unwrap();
        assert!(
            limit.holds(&Report::default()).is_some(),
            "nothing compared"
        );
    }

    #[test]
    fn what_is_no_limit_is_refused_with_an_example() {
        for text in [
            "",
            "denied > 1",
            "newly_denied",
            "eased < 1",
            "eased > many",
            "eased > -1",
        ] {
            let error = text.parse::<FailIf>().unwrap_err();
            assert!(error.contains("newly_denied > 0.1%"), "{text}: {error}");
        }
    }
}
