//! The places that connections take, and who has to leave when there are too many.
//!
//! Anybody can open connections and keep them, so that connections alone must shut nobody out.
//! Those over which a client has shown who it is are not pushed out as long as it goes on to ask:
//! a gateway is one address with many of them. Clients share what there is for them. All others
//! may take what is free; when nothing is, the network that has most of these gives up its oldest.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::HEADERS_WITHIN;
use super::neighbourhood;

/// Time to say who one is, before one has to leave for others who came later.
const YOUNG_FOR: Duration = Duration::from_secs(1);
/// More connections than this have none of that from one network: no flood may last by being young.
const YOUNG_MAX: usize = 16;
/// How often it is looked who has not shown for long who they are.
const LAPSED_EVERY: Duration = Duration::from_secs(1);

/// The places of one or more listeners.
#[derive(Debug)]
pub(super) struct Places {
    began: Instant,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    most: usize,
    next: u64,
    open: HashMap<u64, Open>,
    /// Those of strangers, oldest first, by where they come from.
    strangers: HashMap<IpAddr, BTreeSet<u64>>,
    /// How many they are by [`network`].
    networks: HashMap<IpAddr, usize>,
    /// Those of clients, by whose they are.
    clients: HashMap<Arc<str>, BTreeSet<u64>>,
    known: usize,
    /// When the last ones came, the oldest first.
    young: VecDeque<(Duration, u64)>,
    looked_at: Duration,
}

#[derive(Debug)]
struct Open {
    seat: Arc<Seat>,
    /// Whose it is; none: a stranger's.
    client: Option<Arc<str>>,
}

/// What a connection and the list of them share.
#[derive(Debug)]
struct Seat {
    from: IpAddr,
    is_known: AtomicBool,
    /// When its client last showed who it is, milliseconds.
    shown_at: AtomicU64,
    leave: Notify,
}

/// The place of a connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
    seat: Arc<Seat>,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let taken = Taken {
            most,
            ..Taken::default()
        };
        Arc::new(Self {
            began: Instant::now(),
            taken: Mutex::new(taken),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection. None: all are taken by those that are known.
    pub(super) fn take(self: &Arc<Self>, from: IpAddr) -> Option<Arc<Place>> {
        self.take_at(from, self.began.elapsed())
    }

    fn take_at(self: &Arc<Self>, from: IpAddr, now: Duration) -> Option<Arc<Place>> {
        let seat = Arc::new(Seat {
            from: neighbourhood(from),
            is_known: AtomicBool::new(false),
            shown_at: AtomicU64::new(0),
            leave: Notify::new(),
        });
        let id = self.taken().take(&seat, now)?;
        Some(Arc::new(Place {
            places: Arc::clone(self),
            id,
            seat,
        }))
    }
}

impl Taken {
    fn take(&mut self, seat: &Arc<Seat>, now: Duration) -> Option<u64> {
        if self.open.len() >= self.most {
            self.forget_lapsed(now);
            self.push_one_out(now)?;
        }
        let id = self.next;
        self.next += 1;
        self.young.push_back((now, id));
        if self.young.len() > self.most {
            self.young.pop_front();
        }
        let open = Open {
            seat: Arc::clone(seat),
            client: None,
        };
        self.open.insert(id, open);
        self.enter_stranger(seat.from, id);
        Some(id)
    }

    /// Frees the oldest place of those who have most, or of all where each has just come. None:
    /// there are no strangers.
    fn push_one_out(&mut self, now: Duration) -> Option<()> {
        while let Some((since, _)) = self.young.front()
            && now.saturating_sub(*since) >= YOUNG_FOR
        {
            self.young.pop_front();
        }
        let first_young = self.young.front().map_or(self.next, |(_, id)| *id);
        let spared = YOUNG_MAX.min(self.most / 8);
        let rank = |(from, ids): (&IpAddr, &BTreeSet<u64>)| {
            let oldest = *ids.first()?;
            let of_network = network(*from).and_then(|network| self.networks.get(&network));
            let of_network = of_network.copied().unwrap_or(ids.len());
            let oldest_first = Reverse(oldest);
            if of_network > spared || oldest < first_young {
                Some((true, of_network, ids.len(), oldest_first))
            } else {
                Some((false, 0, 0, oldest_first))
            }
        };
        let (_, _, _, Reverse(id)) = self.strangers.iter().filter_map(rank).max()?;
        self.remove(id)?.leave.notify_one();
        Some(())
    }

    /// Counts as strangers those over whose connections no client has shown for long who it is: it
    /// may have lost its key, or the connection.
    fn forget_lapsed(&mut self, now: Duration) {
        if now.saturating_sub(self.looked_at) < LAPSED_EVERY {
            return;
        }
        self.looked_at = now;
        let has_lapsed = |open: &Open| {
            let shown_at = Duration::from_millis(open.seat.shown_at.load(Ordering::Relaxed));
            open.client.is_some() && now.saturating_sub(shown_at) > HEADERS_WITHIN
        };
        let open = self.open.iter();
        let lapsed: Vec<u64> = open
            .filter_map(|(id, open)| has_lapsed(open).then_some(*id))
            .collect();
        for id in lapsed {
            self.forget_client(id);
        }
    }

    /// Makes room for one more of a client among those that are known. An eighth of the places is
    /// for others, so that not even clients shut each other out; and who has most of the rest gives
    /// up its newest to who has fewer. False: there is no room.
    fn has_room_for(&mut self, client: &str, now: Duration) -> bool {
        let has_room = |taken: &Self| taken.known < taken.most - taken.most / 8;
        if has_room(self) {
            return true;
        }
        self.forget_lapsed(now);
        if has_room(self) {
            return true;
        }
        let own = self.clients.get(client).map_or(0, BTreeSet::len);
        let most = self.clients.values().max_by_key(|ids| ids.len());
        let newest = most.filter(|ids| ids.len() > own + 1);
        let newest = newest.and_then(|ids| ids.last()).copied();
        newest.is_some_and(|id| self.forget_client(id))
    }

    /// Notes whose a stranger's place is. One that was pushed out is nobody's.
    fn know(&mut self, id: u64, client: &str, now: Duration) {
        let is_strangers = |open: &Open| open.client.is_none();
        if !self.open.get(&id).is_some_and(is_strangers) || !self.has_room_for(client, now) {
            return;
        }
        let client: Arc<str> = match self.clients.get_key_value(client) {
            Some((client, _)) => Arc::clone(client),
            None => client.into(),
        };
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        open.client = Some(Arc::clone(&client));
        open.seat.is_known.store(true, Ordering::Relaxed);
        let from = open.seat.from;
        self.leave_stranger(from, id);
        self.clients.entry(client).or_default().insert(id);
        self.known += 1;
    }

    /// Makes a client's place a stranger's again. False: it is none.
    fn forget_client(&mut self, id: u64) -> bool {
        let Some(open) = self.open.get_mut(&id) else {
            return false;
        };
        let Some(client) = open.client.take() else {
            return false;
        };
        open.seat.is_known.store(false, Ordering::Relaxed);
        let from = open.seat.from;
        self.leave_client(&client, id);
        self.enter_stranger(from, id);
        true
    }

    /// Takes a place off. None: it is not there any more.
    fn remove(&mut self, id: u64) -> Option<Arc<Seat>> {
        let Open { seat, client } = self.open.remove(&id)?;
        match client {
            Some(client) => self.leave_client(&client, id),
            None => self.leave_stranger(seat.from, id),
        }
        seat.is_known.store(false, Ordering::Relaxed);
        Some(seat)
    }

    fn leave_client(&mut self, client: &Arc<str>, id: u64) {
        self.known -= 1;
        if let Some(ids) = self.clients.get_mut(client) {
            ids.remove(&id);
            if ids.is_empty() {
                self.clients.remove(client);
            }
        }
    }

    fn enter_stranger(&mut self, from: IpAddr, id: u64) {
        self.strangers.entry(from).or_default().insert(id);
        if let Some(network) = network(from) {
            *self.networks.entry(network).or_default() += 1;
        }
    }

    fn leave_stranger(&mut self, from: IpAddr, id: u64) {
        if let Some(ids) = self.strangers.get_mut(&from) {
            ids.remove(&id);
            if ids.is_empty() {
                self.strangers.remove(&from);
            }
        }
        if let Some(network) = network(from)
            && let Some(count) = self.networks.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

/// What somebody has who has many neighbourhoods, usually a site of its own (IPv6: /48). None: an
/// address is all there is.
fn network(neighbourhood: IpAddr) -> Option<IpAddr> {
    match neighbourhood {
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() >> 80 << 80).into()),
        IpAddr::V4(_) => None,
    }
}

impl Place {
    /// Notes that a client has shown over the connection who it is.
    pub(crate) fn know(&self, client: &str) {
        self.know_at(client, self.places.began.elapsed());
    }

    fn know_at(&self, client: &str, now: Duration) {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.seat.shown_at.store(millis, Ordering::Relaxed);
        if !self.is_known() {
            self.places.taken().know(self.id, client, now);
        }
    }

    /// Whether a client is at the other end.
    pub(crate) fn is_known(&self) -> bool {
        self.seat.is_known.load(Ordering::Relaxed)
    }

    /// Has a stranger's connection leave.
    pub(crate) fn give_up(&self) {
        if !self.is_known() {
            self.seat.leave.notify_one();
        }
    }

    /// Ends when the place has to be given up, since somebody else needs it.
    pub(super) async fn left(&self) {
        self.seat.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.places.taken().remove(self.id);
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

    const SOON: Duration = Duration::from_millis(100);
    const LATER: Duration = Duration::from_secs(5);

    /// Those who still have their places.
    fn staying(places: &[Arc<Place>]) -> usize {
        places.iter().filter(|place| !has_to_leave(place)).count()
    }

    #[test]
    fn who_floods_the_door_pushes_out_itself() {
        let places = Places::new(8);
        let flood = address("192.0.2.1");
        let visitor = places.take(address("192.0.2.2")).unwrap();
        let gateway: Vec<_> = (0..3).map(|_| places.take(flood).unwrap()).collect();
        gateway.iter().for_each(|place| place.know("gateway"));
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
        another.know("another");
        drop((flooding, gateway, visitor, another));
        let taken = places.taken();
        assert_eq!(taken.known, 0);
        assert!(taken.strangers.is_empty() && taken.networks.is_empty());
        assert!(taken.open.is_empty() && taken.clients.is_empty());
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
        clients.iter().for_each(|place| place.know("client"));
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
        clients.iter().for_each(|place| place.know("client"));
        assert!(places.take(from).is_none());
        drop(clients);
        assert!(places.take(from).is_some());
        // What was pushed out is not known any more by what it says then.
        let places = Places::new(1);
        let first = places.take(from).unwrap();
        let second = places.take(from).unwrap();
        first.know("first");
        assert!(has_to_leave(&first) && !first.is_known());
        drop(first);
        second.know("second");
        assert!(second.is_known());
    }

    #[test]
    fn clients_share_what_there_is_for_them() {
        let places = Places::new(64);
        let take = |last: u8| places.take_at([192, 0, 2, last].into(), SOON).unwrap();
        let greedy: Vec<_> = (0..56).map(|_| take(1)).collect();
        greedy
            .iter()
            .for_each(|place| place.know_at("greedy", SOON));
        assert!(greedy.iter().all(|place| place.is_known()));
        let gateway: Vec<_> = (0..6).map(|_| take(2)).collect();
        gateway
            .iter()
            .for_each(|place| place.know_at("gateway", SOON));
        assert!(gateway.iter().all(|place| place.is_known()));
        assert_eq!(greedy.iter().filter(|place| place.is_known()).count(), 50);
        // It gets back what nobody else has, and no more: nobody is robbed by turns.
        greedy
            .iter()
            .for_each(|place| place.know_at("greedy", SOON));
        assert!(gateway.iter().all(|place| place.is_known()));
        assert_eq!(greedy.iter().filter(|place| place.is_known()).count(), 50);
        // Strangers find those of whoever has too many, and none of who has few.
        let strangers: Vec<_> = (3..12).map(take).collect();
        assert_eq!(staying(&gateway), 6);
        assert_eq!(staying(&greedy) + staying(&strangers), 58);
    }

    #[test]
    fn who_does_not_show_any_more_who_it_is_becomes_a_stranger() {
        let places = Places::new(16);
        let take = |last: u8, now| places.take_at([192, 0, 2, last].into(), now).unwrap();
        let revoked: Vec<_> = (0..10).map(|_| take(1, SOON)).collect();
        revoked
            .iter()
            .for_each(|place| place.know_at("revoked", SOON));
        let asking: Vec<_> = (0..4).map(|_| take(2, SOON)).collect();
        asking
            .iter()
            .for_each(|place| place.know_at("asking", SOON));
        let until = SOON + HEADERS_WITHIN;
        asking
            .iter()
            .for_each(|place| place.know_at("asking", until));
        let then = until + LAPSED_EVERY;
        let others: Vec<_> = (3..15).map(|last| take(last, then)).collect();
        assert_eq!(staying(&asking), 4);
        assert!(asking.iter().all(|place| place.is_known()));
        assert!(!revoked.iter().any(|place| place.is_known()));
        assert_eq!((staying(&revoked), staying(&others)), (0, 12));
    }

    #[test]
    fn who_has_just_come_is_spared_where_others_had_their_time() {
        for then in [SOON, LATER] {
            let places = Places::new(64);
            let take = |from: &str, now| places.take_at(address(from), now).unwrap();
            let held = |network: &str, count: u8, now| -> Vec<_> {
                let all = 0..count;
                all.map(|last| take(&format!("{network}{last}"), now))
                    .collect()
            };
            // One connection for each of many addresses; then a gateway opens its own.
            let first = held("192.0.2.", 64, SOON);
            let gateway: Vec<_> = (0..8).map(|_| take("198.51.100.1", then)).collect();
            let second = held("203.0.113.", 12, then);
            assert_eq!(
                [&gateway, &second, &first].map(|places| staying(places)),
                [8, 12, 44]
            );
            // Nobody is spared who has many.
            let flood: Vec<_> = (0..100).map(|_| take("198.51.100.2", then)).collect();
            assert_eq!(staying(&second), 12);
            assert!(staying(&flood) <= 9, "{}", staying(&flood));
        }
    }

    #[test]
    fn who_has_many_networks_has_most() {
        let places = Places::new(32);
        let other = places.take_at(address("2001:db8:2::1"), SOON).unwrap();
        let fours: Vec<_> = (0..2)
            .map(|_| places.take_at(address("192.0.2.1"), SOON).unwrap())
            .collect();
        let many = (0..100).map(|n| address(&format!("2001:db8:1:{n:x}::1")));
        let many: Vec<_> = many
            .map(|from| places.take_at(from, LATER).unwrap())
            .collect();
        assert!(!has_to_leave(&other));
        assert_eq!((staying(&fours), staying(&many)), (2, 29));
    }
}
