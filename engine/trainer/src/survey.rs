//! The first look at events: how many, from when to when, by whom and from where.

use std::collections::BTreeSet;
use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use domain::{EntityRef, Timestamp};
use geo::Geo;
use wire::Event;
use wire::event::WrittenEvent;

use crate::events::ReadError;
use crate::guard::{Counts, source_of};
use crate::train::TrainError;

/// What a first pass over events finds out.
#[derive(Clone, Debug)]
pub struct Survey {
    /// How many events.
    pub events: usize,
    /// The first one's time.
    pub from: Timestamp,
    /// The last one's.
    pub to: Timestamp,
    /// SHA-256 over all of them, in order.
    pub sha256: String,
    /// Who did something.
    pub subjects: BTreeSet<EntityRef>,
    /// What it was done to.
    pub resources: BTreeSet<EntityRef>,
    /// Events by subject and source.
    pub counts: Counts,
}

impl Survey {
    /// Goes over the events. `progress` is told how many have been read.
    ///
    /// # Errors
    /// When they cannot be read, or are not in order of time, or there are none.
    pub fn of(
        events: impl Iterator<Item = Result<Event, ReadError>>,
        geo: &Geo,
        mut progress: impl FnMut(usize),
    ) -> Result<Self, TrainError> {
        let mut hash = Context::new(&SHA256);
        let mut text = Vec::new();
        let mut survey = Self {
            events: 0,
            from: Timestamp::MIN,
            to: Timestamp::MIN,
            sha256: String::new(),
            subjects: BTreeSet::new(),
            resources: BTreeSet::new(),
            counts: Counts::new(),
        };
        for event in events {
            let event = event?;
            survey.events += 1;
            if survey.events == 1 {
                survey.from = event.time;
            } else if event.time < survey.to {
                return Err(TrainError::OutOfOrder {
                    number: survey.events,
                });
            }
            survey.to = event.time;
            text.clear();
            let written = WrittenEvent {
                event: &event,
                as_question: false,
            };
            serde_json::to_writer(&mut text, &written).map_err(io::Error::from)?;
            hash.update(&text);
            survey.note(event, geo);
            if survey.events.is_multiple_of(1000) {
                progress(survey.events);
            }
        }
        if survey.events == 0 {
            return Err(TrainError::TooFew {
                found: 0,
                purpose: "look at",
                needed: 1,
            });
        }
        progress(survey.events);
        survey.sha256 = hex::encode(hash.finish());
        Ok(survey)
    }

    fn note(&mut self, event: Event, geo: &Geo) {
        let request = event.request;
        let subject = request.subject.entity;
        let ip = request.context.ip;
        let asn = ip.and_then(|ip| geo.locate(ip).network.known().map(|network| network.asn));
        let key = (subject.to_string(), source_of(ip, asn));
        *self.counts.entry(key).or_default() += 1;
        if !self.subjects.contains(&subject) {
            self.subjects.insert(subject);
        }
        if !self.resources.contains(&request.resource.entity) {
            self.resources.insert(request.resource.entity);
        }
    }

    /// The moment at which this share of the time has gone.
    #[must_use]
    pub fn at(&self, share: f64) -> Timestamp {
        let length = (self.to.millis() - self.from.millis()) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "milliseconds of some months"
        )]
        let offset = (length * share) as i64;
        Timestamp::from_millis(self.from.millis() + offset)
    }
}
