//! Days, counted.

use jiff::civil::Date;

const EPOCH: Date = Date::constant(1970, 1, 1);

/// Days since 1970-01-01.
#[must_use]
pub fn number_of(date: Date) -> i64 {
    EPOCH
        .until(date)
        .map_or(0, |span| i64::from(span.get_days()))
}

/// The day of this number.
pub(super) fn date_of(number: i64) -> Option<Date> {
    EPOCH
        .checked_add(jiff::Span::new().try_days(number).ok()?)
        .ok()
}

/// Whether a date is a Saturday or a Sunday.
pub(super) fn is_weekend(date: Date) -> bool {
    date.weekday().to_monday_one_offset() > 5
}

/// Whether reports are due around a date: the last two days of a month and the first three.
pub(super) fn is_month_end(date: Date) -> bool {
    date.day() <= 3 || date.day() + 2 > date.days_in_month()
}
