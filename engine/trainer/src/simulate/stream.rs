//! The events of a whole scenario in order of time, a day at a time, so that no more than about
//! two days are held at once.

use jiff::Span;
use jiff::civil::Date;
use wire::Event;

use super::Organisation;
use super::calendar::number_of;
use super::draft::Draft;

/// The earliest local midnight is this long before UTC's.
const EARLIEST_ZONE: i64 = 14 * 3_600_000;

/// Everything that happens, page by page.
#[derive(Debug)]
pub struct Stream<'a> {
    organisation: &'a Organisation,
    /// Next day, counted from the scenario's first; negative in the prologue.
    next: i64,
    /// Events of days past that may still be preceded by some of the next.
    waiting: Vec<Draft>,
}

/// About a day's events, in order of time, none before any of the page before.
#[derive(Debug)]
pub struct Page(Vec<Draft>);

impl Page {
    /// The events; each is made when it is asked for.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.0.iter().filter_map(Draft::event)
    }
}

impl<'a> Stream<'a> {
    /// From the first day of the organisation's scenario on.
    #[must_use]
    pub fn new(organisation: &'a Organisation) -> Self {
        Self {
            organisation,
            next: -i64::from(organisation.scenario.dormancy.prologue_days),
            waiting: Vec::new(),
        }
    }

    /// Days to come, those of the prologue included.
    #[must_use]
    pub fn days(&self) -> u64 {
        let last = i64::from(self.organisation.scenario.organisation.days);
        u64::try_from(last - self.next).unwrap_or_default()
    }

    fn date(&self, number: i64) -> Option<Date> {
        let from = self.organisation.scenario.organisation.from;
        from.checked_add(Span::new().try_days(number).ok()?).ok()
    }
}

impl Iterator for Stream<'_> {
    type Item = Page;

    fn next(&mut self) -> Option<Page> {
        let scenario = &self.organisation.scenario;
        let number = self.next;
        if number > i64::from(scenario.organisation.days) {
            return None;
        }
        self.next += 1;
        if number == i64::from(scenario.organisation.days) {
            return Some(Page(std::mem::take(&mut self.waiting)));
        }
        let date = self.date(number)?;
        if number < 0 {
            self.organisation.write_prologue(date, &mut self.waiting);
        } else {
            let attacked = number >= i64::from(scenario.attacks.after_days);
            self.organisation
                .write_day(date, attacked, &mut self.waiting);
        }
        // Stable, and quick on what is in order already.
        self.waiting.sort_by_key(|draft| draft.at);
        // Some days end late and the next one begins early, by the sun of its people: what may
        // still be preceded has to wait.
        let settled = (number_of(date) + 1) * 86_400_000 - EARLIEST_ZONE;
        let later = self.waiting.partition_point(|draft| draft.at < settled);
        let later = self.waiting.split_off(later);
        Some(Page(std::mem::replace(&mut self.waiting, later)))
    }
}
