//! The places that connections take, and who has to leave when there are too many.
//!
//! Anybody can open connections and keep them, so that connections alone must shut nobody out.
//! Those over which a client has shown who it is are never pushed out: a gateway is one address
//! with many of them. All others may take what is free; when nothing is, the address that has most
//! of these gives up its oldest.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::neighbourhood;

/// The places of one or more listeners.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    known: usize,
    /// Those of strangers, oldest first, by where they come from.
    strangers: HashMap<IpAddr, BTreeSet<u64>>,
    /// How to tell them.
    tell: HashMap<u64, Arc<Notify>>,
}

/// The place of a connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
    from: IpAddr,
    is_known: AtomicBool,
    leave: Arc<Notify>,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: Mutex::default(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection. None: all are taken by those that are known.
    pub(super) fn take(self: &Arc<Self>, from: IpAddr) -> Option<Arc<Place>> {
        let from = neighbourhood(from);
        let mut taken = self.taken();
        if taken.known + taken.tell.len() >= self.most {
            taken.push_one_out()?;
        }
        let id = taken.next;
        taken.next += 1;
        let leave = Arc::new(Notify::new());
        taken.strangers.entry(from).or_default().insert(id);
        taken.tell.insert(id, Arc::clone(&leave));
        drop(taken);
        Some(Arc::new(Place {
            places: Arc::clone(self),
            id,
            from,
            is_known: AtomicBool::new(false),
            leave,
        }))
    }
}

impl Taken {
    /// Frees the oldest place of those who have most. None: there are no strangers.
    fn push_one_out(&mut self) -> Option<()> {
        let (from, ids) = self.strangers.iter().max_by_key(|(_, ids)| ids.len())?;
        let (from, id) = (*from, *ids.first()?);
        self.forget(from, id)?.notify_one();
        Some(())
    }

    /// Takes a stranger off. None: it is none any more.
    fn forget(&mut self, from: IpAddr, id: u64) -> Option<Arc<Notify>> {
        let leave = self.tell.remove(&id)?;
        if let Some(ids) = self.strangers.get_mut(&from) {
            ids.remove(&id);
            if ids.is_empty() {
                self.strangers.remove(&from);
            }
        }
        Some(leave)
    }
}

impl Place {
    /// Notes that a client has shown over the connection who it is. An eighth of the places is for
    /// others, so that not even clients shut each other out.
    pub(crate) fn know(&self) {
        if self.is_known() {
            return;
        }
        let mut taken = self.places.taken();
        let has_room = taken.known < self.places.most - self.places.most / 8;
        if has_room && taken.forget(self.from, self.id).is_some() {
            taken.known += 1;
            self.is_known.store(true, Ordering::Relaxed);
        }
    }

    /// Whether nothing is to be noted any more.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Ends when somebody else needs the place.
    pub(super) async fn left(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if self.is_known() {
            taken.known -= 1;
        } else {
            let _ = taken.forget(self.from, self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn has_to_leave(place: &Place) -> bool {
        place.left().now_or_never().is_some()
    }

    #[test]
    fn who_floods_the_door_pushes_out_itself() {
        let places = Places::new(8);
        let flood = address("192.0.2.1");
        let visitor = places.take(address("192.0.2.2")).unwrap();
        let gateway: Vec<_> = (0..3).map(|_| places.take(flood).unwrap()).collect();
        gateway.iter().for_each(|place| place.know());
        // The same address as the gateway's: it has but the others.
        let flooding: Vec<_> = (0..50).map(|_| places.take(flood).unwrap()).collect();
        assert_eq!(
            flooding.iter().filter(|place| !has_to_leave(place)).count(),
            4
        );
        assert!(!has_to_leave(flooding.last().unwrap()), "the oldest goes");
        assert!(!has_to_leave(&visitor));
        assert!(!gateway.iter().any(|place| has_to_leave(place)));
        let another = places.take(address("192.0.2.3")).unwrap();
        another.know();
        drop((flooding, gateway, visitor, another));
        let taken = places.taken();
        assert_eq!(taken.known, 0);
        assert!(taken.strangers.is_empty() && taken.tell.is_empty());
    }

    #[test]
    fn a_network_of_one_is_one_address() {
        let places = Places::new(4);
        let other = places.take(address("2001:db8:0:2::1")).unwrap();
        let flooding: Vec<_> = (0..40)
            .map(|n| {
                places
                    .take(address(&format!("2001:db8:0:1::{n:x}")))
                    .unwrap()
            })
            .collect();
        assert!(!has_to_leave(&other));
        assert_eq!(
            flooding.iter().filter(|place| !has_to_leave(place)).count(),
            3
        );
    }

    #[test]
    fn clients_leave_an_eighth_to_others_and_are_never_pushed_out() {
        let places = Places::new(16);
        let from = address("192.0.2.1");
        let clients: Vec<_> = (0..16).map(|_| places.take(from).unwrap()).collect();
        clients.iter().for_each(|place| place.know());
        assert_eq!(clients.iter().filter(|place| place.is_known()).count(), 14);
        let probe = places.take(address("192.0.2.2")).unwrap();
        assert_eq!(
            clients.iter().filter(|place| has_to_leave(place)).count(),
            1
        );
        drop(probe);
        // Where there are so few, clients may have them all, and who comes after is refused.
        let places = Places::new(3);
        let clients: Vec<_> = (0..3).map(|_| places.take(from).unwrap()).collect();
        clients.iter().for_each(|place| place.know());
        assert!(places.take(from).is_none());
        drop(clients);
        assert!(places.take(from).is_some());
        // What was pushed out is not known any more by what it says then.
        let places = Places::new(1);
        let first = places.take(from).unwrap();
        let second = places.take(from).unwrap();
        first.know();
        assert!(has_to_leave(&first) && !first.is_known());
        drop(first);
        second.know();
        assert!(second.is_known());
    }
}
