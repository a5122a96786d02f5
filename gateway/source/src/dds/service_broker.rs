//! Where services and their callers meet: what is asked of the thread that serves them, from any
//! thread, and what that thread and the reading one tell each other. Nothing here blocks.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use roverline_protocol::limits;
use rustdds::GUID;
use rustdds::mio1::Waker;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError as TrySample;

use crate::dds::names;
use crate::dds::request_correlation::Asker;
use crate::{Call, Graph, Listen, MAX_SERVICES, PublishError, RawSample, Service};

/// What waits for the thread: as much as calls, subscriptions and answers may, so that no answer
/// finds it full.
const ORDERS: usize = limits::CALLS + limits::LISTENERS + limits::WAITING_REQUESTS;
/// Services that one participant may offer in its life: the library forgets no topic.
const MAX_NAMES: usize = 4_096;

/// What the thread is asked to do.
pub(super) enum Order {
    Call(Call, Seat),
    Listen(Listen, Seat),
    /// The response to a request, and its places until it is sent.
    Answer(To, Bytes, Option<[Seat; 2]>),
}

/// Where a response goes.
pub(super) enum To {
    /// Over DDS, from the service of this number.
    Remote { service: u64, from: GUID, asker: Asker },
    /// To a call of our own of this number.
    Local(u64),
}

/// One of a bounded number of places, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicUsize>);

impl Seat {
    pub(super) fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Seat> {
        let free = |now: usize| (now < most).then_some(now + 1);
        let got = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free);
        got.is_ok().then(|| Seat(taken.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the threads share.
pub(super) struct Desk {
    orders: SyncSender<Order>,
    waker: OnceLock<Waker>,
    offered: Mutex<Vec<(u64, Service)>>,
    /// Every name under which there ever was a service.
    names: Mutex<HashSet<String>>,
    next: AtomicU64,
    calls: Arc<AtomicUsize>,
    listens: Arc<AtomicUsize>,
    /// The services of the graph with their types; nothing before it was looked at.
    known: Mutex<Option<Arc<BTreeMap<String, String>>>>,
    /// Readers and writers of our open services.
    served: Mutex<(Vec<GUID>, Vec<GUID>)>,
    /// Who hears what we write ourselves.
    ears: Mutex<Vec<(String, mpsc::Sender<RawSample>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// A desk and the end that the thread takes.
    pub(super) fn new() -> (Desk, Receiver<Order>) {
        let (orders, receiver) = sync_channel(ORDERS);
        let desk = Desk {
            orders,
            waker: OnceLock::new(),
            offered: Mutex::default(),
            names: Mutex::default(),
            next: AtomicU64::new(0),
            calls: Arc::default(),
            listens: Arc::default(),
            known: Mutex::default(),
            served: Mutex::default(),
            ears: Mutex::default(),
        };
        (desk, receiver)
    }

    /// Whom to wake when something is asked.
    pub(super) fn wake_with(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    pub(super) fn wake(&self) {
        if let Some(Err(error)) = self.waker.get().map(Waker::wake) {
            tracing::debug!("the thread of services was not woken: {error}");
        }
    }

    /// Puts an order; an error says why it will not be done.
    pub(super) fn order(&self, order: Order) -> Result<(), PublishError> {
        let put = self.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => PublishError::Busy(ORDERS),
            TrySendError::Disconnected(_) => PublishError::Failed("the source has stopped".to_owned()),
        });
        self.wake();
        put
    }

    pub(super) fn call(&self, call: Call) -> Result<(), PublishError> {
        if names::service(&call.service, &call.type_name).is_none() {
            let why = format!("{:?} of type {:?} is not a ROS service", call.service, call.type_name);
            return Err(PublishError::Failed(why));
        }
        if !crate::dds::raw::is_plain_little_endian(&call.request) {
            return Err(PublishError::Failed(format!("{}: {}", call.service, crate::dds::raw::WANTED)));
        }
        let seat = Seat::take(&self.calls, limits::CALLS).ok_or(PublishError::Busy(limits::CALLS))?;
        self.order(Order::Call(call, seat))
    }

    pub(super) fn listen(&self, listen: Listen) -> Result<(), PublishError> {
        if names::dds_topic(&listen.topic).and(names::dds_type(&listen.type_name)).is_none() {
            let why = format!("{:?} of type {:?} is not a ROS topic", listen.topic, listen.type_name);
            return Err(PublishError::Failed(why));
        }
        let seat =
            Seat::take(&self.listens, limits::LISTENERS).ok_or(PublishError::Busy(limits::LISTENERS))?;
        self.order(Order::Listen(listen, seat))
    }

    pub(super) fn offer(&self, service: Service) -> Result<(), PublishError> {
        if names::service(&service.name, &service.type_name).is_none() {
            let why = format!("{:?} of type {:?} is not a ROS service", service.name, service.type_name);
            return Err(PublishError::Failed(why));
        }
        let mut offered = lock(&self.offered);
        offered.retain(|(_, known)| known.name != service.name);
        if offered.len() >= MAX_SERVICES {
            return Err(PublishError::Busy(MAX_SERVICES));
        }
        let mut names = lock(&self.names);
        if names.len() >= MAX_NAMES && !names.contains(&service.name) {
            return Err(PublishError::Failed(format!("{MAX_NAMES} services have been offered already")));
        }
        names.insert(service.name.clone());
        offered.push((self.next.fetch_add(1, Ordering::Relaxed), service));
        drop(offered);
        self.wake();
        Ok(())
    }

    pub(super) fn withdraw(&self, name: &str) {
        let closed = |known: &Service| !known.open.load(Ordering::Relaxed);
        lock(&self.offered).retain(|(_, known)| known.name != name || !closed(known));
        self.wake();
    }

    /// The services that were offered, each with its own number, open or not.
    pub(super) fn offered(&self) -> Vec<(u64, Service)> {
        lock(&self.offered).clone()
    }

    /// Those that are there to be asked now.
    pub(super) fn open_services(&self) -> Vec<Service> {
        let offered = lock(&self.offered);
        let open = offered.iter().filter(|(_, service)| service.open.load(Ordering::Relaxed));
        open.map(|(_, service)| service.clone()).collect()
    }

    /// Whether the graph was looked at yet.
    pub(super) fn knows(&self) -> bool {
        lock(&self.known).is_some()
    }

    /// The services of the graph.
    pub(super) fn known(&self) -> Arc<BTreeMap<String, String>> {
        lock(&self.known).clone().unwrap_or_default()
    }

    /// The graph as it is now.
    pub(super) fn set_known(&self, graph: &Graph) {
        let services = graph.services.iter();
        let now = services.map(|service| (service.name.clone(), service.type_name.clone())).collect();
        *lock(&self.known) = Some(Arc::new(now));
        self.wake();
    }

    /// The readers and writers of our open services.
    pub(super) fn served(&self) -> (Vec<GUID>, Vec<GUID>) {
        lock(&self.served).clone()
    }

    pub(super) fn set_served(&self, readers: Vec<GUID>, writers: Vec<GUID>) {
        *lock(&self.served) = (readers, writers);
    }

    /// From now on `samples` hears what we write to the topic ourselves.
    pub(super) fn add_ear(&self, topic: String, samples: mpsc::Sender<RawSample>) {
        let mut ears = lock(&self.ears);
        ears.retain(|(_, ear)| !ear.is_closed());
        ears.push((topic, samples));
    }

    /// We wrote this.
    pub(super) fn hear(&self, topic: &str, sample: &RawSample) {
        let mut ears = lock(&self.ears);
        ears.retain(|(known, ear)| {
            known != topic || !matches!(ear.try_send(sample.clone()), Err(TrySample::Closed(_)))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::Reply;

    type Answer = oneshot::Receiver<Result<Bytes, crate::CallError>>;

    fn call(service: &str) -> (Call, Answer) {
        let (answer, answered) = oneshot::channel();
        let (service, type_name) = (service.to_owned(), "std_srvs/srv/Trigger".to_owned());
        let request = Bytes::from_static(&[0, 1, 0, 0, 0]);
        (Call { service, type_name, request, timeout: Duration::from_secs(1), answer }, answered)
    }

    fn service(name: &str) -> Service {
        let handler = Arc::new(|_: Bytes, reply: Reply| reply.send(Bytes::new()));
        let open = Arc::new(AtomicBool::new(true));
        Service { name: name.into(), type_name: "std_srvs/srv/Trigger".into(), open, handler }
    }

    #[test]
    fn calls_are_bounded_and_their_places_given_back() {
        let (desk, orders) = Desk::new();
        for _ in 0..limits::CALLS {
            desk.call(call("/a").0).unwrap();
        }
        assert_eq!(desk.call(call("/a").0), Err(PublishError::Busy(limits::CALLS)));
        // An answer still finds room.
        desk.order(Order::Answer(To::Local(1), Bytes::new(), None)).unwrap();
        drop(orders.try_recv());
        desk.call(call("/a").0).unwrap();
        drop(orders);
        assert!(matches!(desk.call(call("/a").0), Err(PublishError::Failed(_) | PublishError::Busy(_))));
    }

    #[test]
    fn what_has_no_name_in_ros_is_refused() {
        let (desk, _orders) = Desk::new();
        for name in ["", "a", "/a b", "/a/"] {
            assert!(matches!(desk.call(call(name).0), Err(PublishError::Failed(_))), "{name}");
            assert!(matches!(desk.offer(service(name)), Err(PublishError::Failed(_))), "{name}");
        }
        let mut big_endian = call("/a").0;
        big_endian.request = Bytes::from_static(&[0, 0, 0, 0, 0]);
        assert!(desk.call(big_endian).unwrap_err().to_string().contains("little-endian"));
    }

    #[test]
    fn names_that_were_ever_served_are_bounded() {
        let (desk, _orders) = Desk::new();
        let offer = |name: &str| {
            let offered = service(name);
            let taken = desk.offer(offered.clone());
            offered.open.store(false, Ordering::Relaxed);
            desk.withdraw(name);
            taken
        };
        for at in 0..MAX_NAMES {
            offer(&format!("/s{at}")).unwrap();
        }
        assert!(matches!(offer("/one/more"), Err(PublishError::Failed(_))));
        offer("/s0").unwrap();
    }

    #[test]
    fn a_service_is_withdrawn_by_whom_it_is_of() {
        let (desk, _orders) = Desk::new();
        let (first, second) = (service("/a"), service("/a"));
        desk.offer(first.clone()).unwrap();
        desk.offer(second.clone()).unwrap();
        first.open.store(false, Ordering::Relaxed);
        desk.withdraw("/a");
        assert_eq!(desk.open_services().len(), 1, "the second took its place");
        second.open.store(false, Ordering::Relaxed);
        desk.withdraw("/a");
        assert!(desk.offered().is_empty());
        for n in 0..MAX_SERVICES {
            desk.offer(service(&format!("/n{n}"))).unwrap();
        }
        assert_eq!(desk.offer(service("/more")), Err(PublishError::Busy(MAX_SERVICES)));
    }
}
