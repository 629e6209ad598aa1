//! What waits to be looked at: sessions that were used since the last look, and what something
//! has happened to. Both are bounded, and name everything once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use domain::{EntityRef, Timestamp};

/// What is to be looked at, at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// One session, by its public id.
    Session(String),
    /// All live sessions of a subject.
    Subject(EntityRef),
    /// All live sessions that were last seen on a device.
    Device(String),
    /// The live sessions that a client opened: those after this id, in their order; all of them
    /// when it is empty.
    Client {
        /// Whose.
        id: String,
        /// How far it was looked.
        after: String,
    },
    /// All live sessions: those that changed nothing since are not put to the policies again.
    All,
}

/// Sessions that were used since the last look (B19): one entry each, however often they were.
#[derive(Debug, Default)]
pub(super) struct Due {
    used: HashSet<Box<str>>,
    /// There was no room for all of them.
    has_lost: bool,
}

impl Due {
    /// Notes that a session was used. False when there is no room, so that all are looked at.
    pub(super) fn add(&mut self, id: &str, most: usize) {
        if self.used.contains(id) {
            return;
        }
        if self.used.len() >= most {
            self.has_lost = true;
        } else {
            self.used.insert(id.into());
        }
    }

    /// What waits, and whether more was used than is known of.
    pub(super) fn take(&mut self) -> (HashSet<Box<str>>, bool) {
        (
            std::mem::take(&mut self.used),
            std::mem::take(&mut self.has_lost),
        )
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.used.len()
    }
}

/// Sessions that moved to another device, until the store knows it too.
#[derive(Debug, Default)]
pub(super) struct Moved(HashMap<Box<str>, (Box<str>, Timestamp)>);

/// Long enough for what is written behind to be written, seconds.
const WRITTEN_WITHIN: i64 = 60;

impl Moved {
    /// Notes that a session is on another device. What finds no room is found once it is written.
    pub(super) fn add(&mut self, id: &str, device_id: &str, now: Timestamp, most: usize) {
        if self.0.len() < most || self.0.contains_key(id) {
            self.0.insert(id.into(), (device_id.into(), now));
        }
    }

    /// The sessions that moved to this device.
    pub(super) fn on<'a>(&'a self, device_id: &'a str) -> impl Iterator<Item = String> + 'a {
        let on = self
            .0
            .iter()
            .filter(move |(_, (device, _))| **device == *device_id);
        on.map(|(id, _)| String::from(&**id))
    }

    /// Forgets those that are written by now.
    pub(super) fn forget_before(&mut self, now: Timestamp) {
        self.0
            .retain(|_, (_, at)| now.whole_seconds_since(*at) < WRITTEN_WITHIN);
    }
}

/// What something has happened to, what it was, and since when it waits.
pub(super) type Happened = (Look, &'static str, Instant);

/// What something has happened to, in the order that it happened.
#[derive(Debug, Default)]
pub(super) struct Looks {
    waiting: VecDeque<Happened>,
    known: HashSet<Look>,
    /// All are to be looked at, and why.
    all: Option<&'static str>,
}

impl Looks {
    /// Adds one, unless it waits already.
    pub(super) fn add(&mut self, look: Look, cause: &'static str, most: usize) {
        match look {
            Look::All => self.all = self.all.or(Some(cause)),
            look if self.known.contains(&look) => {}
            // None of them is forgotten: all are looked at, a little later.
            _ if self.waiting.len() >= most => self.all = self.all.or(Some(cause)),
            look => {
                self.known.insert(look.clone());
                self.waiting.push_back((look, cause, Instant::now()));
            }
        }
    }

    /// The oldest ones, at most so many. What happens to them from here on is another look.
    pub(super) fn take(&mut self, most: usize) -> Vec<Happened> {
        let end = self.waiting.len().min(most);
        let taken: Vec<_> = self.waiting.drain(..end).collect();
        for (look, ..) in &taken {
            self.known.remove(look);
        }
        taken
    }

    /// Puts back what could not be looked at, in its place and with the moment since which it
    /// waits. What happened again meanwhile is looked at twice.
    pub(super) fn put_back(&mut self, taken: impl DoubleEndedIterator<Item = Happened>) {
        for happened in taken.rev() {
            self.known.insert(happened.0.clone());
            self.waiting.push_front(happened);
        }
    }

    /// Whether all are to be looked at, and why.
    pub(super) fn take_all(&mut self) -> Option<&'static str> {
        self.all.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b19_a_session_is_due_once_however_often_it_was_used() {
        let mut due = Due::default();
        for _ in 0..3 {
            due.add("ses_1", 2);
            due.add("ses_2", 2);
        }
        assert_eq!(due.len(), 2);
        let (used, has_lost) = due.take();
        assert_eq!((used.len(), has_lost), (2, false));
        for id in ["ses_1", "ses_2", "ses_3"] {
            due.add(id, 2);
        }
        let (used, has_lost) = due.take();
        assert_eq!((used.len(), has_lost), (2, true));
        assert_eq!(due.take(), (HashSet::new(), false));
    }

    #[test]
    fn what_is_put_back_stays_in_its_place_and_has_waited_since_it_happened() {
        let mut looks = Looks::default();
        let session = |number: u8| Look::Session(format!("ses_{number}"));
        for number in [1, 2, 3] {
            looks.add(session(number), "device", 9);
        }
        let taken = looks.take(2);
        looks.put_back(taken.clone().into_iter());
        // It waits already.
        looks.add(session(1), "entity", 9);
        let again = looks.take(9);
        assert_eq!(again.len(), 3);
        assert_eq!(again[..2], taken[..]);
    }

    #[test]
    fn what_finds_no_room_is_looked_at_with_all() {
        let mut looks = Looks::default();
        let session = |number: u8| Look::Session(format!("ses_{number}"));
        for number in [1, 2, 1, 2] {
            looks.add(session(number), "device", 2);
        }
        assert_eq!(looks.take_all(), None);
        looks.add(session(3), "device", 2);
        assert_eq!(looks.take_all(), Some("device"));
        let taken = |looks: &mut Looks, most| -> Vec<_> {
            let taken = looks.take(most).into_iter();
            taken.map(|(look, cause, _)| (look, cause)).collect()
        };
        assert_eq!(taken(&mut looks, 1), [(session(1), "device")]);
        // It happens again while the first look goes on.
        looks.add(session(1), "entity", 2);
        assert_eq!(
            taken(&mut looks, 9),
            [(session(2), "device"), (session(1), "entity")]
        );
        assert!(looks.take(9).is_empty());
    }
}
