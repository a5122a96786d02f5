//! Broker between service users on any thread and the service thread: queues commands for it and holds
//! the state that it shares with the reader thread. Nothing here blocks.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_protocol::Guid;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError as TrySample;

use crate::dds::engine::cdr::{REQUIRED_ENCODING, is_plain_little_endian};
use crate::dds::engine::wait_set::Trigger;
use crate::dds::names;
use crate::dds::request_correlation::RequestId;
use crate::limits;
use crate::{Call, Graph, MAX_SERVICES, PublishError, RawSample, RequestFailure, Service, TopicListener};

/// Pending service calls of one endpoint.
const CALLS: usize = 512;

/// Capacity of the command queue: the sum of what calls, subscriptions and responses may occupy, so
/// that a response always fits.
const MAX_COMMANDS: usize = CALLS + limits::LISTENERS + limits::WAITING_REQUESTS;
/// Service names that one participant may ever offer; the library never frees a topic.
const MAX_NAMES: usize = 4_096;

/// A command for the service thread.
pub(super) enum ServiceCommand {
    Call(Call, Permit),
    Listen(TopicListener, Permit),
    /// The response to a remote request, with its permits, which are held until it is sent.
    Respond(ResponseTarget, Bytes, Option<[Permit; 2]>),
    /// The response to our own call with this number, or the reason of its failure.
    CompleteLocal(u64, Result<Bytes, RequestFailure>),
}

/// The recipient of a response: a remote client, over DDS, through the service with this number.
pub(super) struct ResponseTarget {
    pub(super) service: u64,
    pub(super) from: Guid,
    pub(super) request_id: RequestId,
}

/// A permit of a bounded count, released on drop.
#[derive(Debug)]
pub(super) struct Permit(Arc<AtomicUsize>);

impl Permit {
    pub(super) fn try_acquire(taken: &Arc<AtomicUsize>, most: usize) -> Option<Permit> {
        let free = |now: usize| (now < most).then_some(now + 1);
        let got = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free);
        got.is_ok().then(|| Permit(taken.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The shared state.
pub(super) struct ServiceBroker {
    commands: SyncSender<ServiceCommand>,
    waker: OnceLock<Trigger>,
    offered: Mutex<Vec<(u64, Service)>>,
    /// Every service name ever offered.
    names: Mutex<HashSet<String>>,
    next: AtomicU64,
    call_permits: Arc<AtomicUsize>,
    listener_permits: Arc<AtomicUsize>,
    /// The services of the graph with their types; `None` before the graph was first read.
    graph_services: Mutex<Option<Arc<BTreeMap<String, String>>>>,
    /// Readers and writers of our open services.
    served: Mutex<(Vec<Guid>, Vec<Guid>)>,
    /// Local listeners of what we write ourselves.
    local_listeners: Mutex<Vec<(String, mpsc::Sender<RawSample>)>>,
}

impl ServiceBroker {
    /// A broker and the receiving end of its command queue.
    pub(super) fn new() -> (ServiceBroker, Receiver<ServiceCommand>) {
        let (commands, receiver) = sync_channel(MAX_COMMANDS);
        let broker = ServiceBroker {
            commands,
            waker: OnceLock::new(),
            offered: Mutex::default(),
            names: Mutex::default(),
            next: AtomicU64::new(0),
            call_permits: Arc::default(),
            listener_permits: Arc::default(),
            graph_services: Mutex::default(),
            served: Mutex::default(),
            local_listeners: Mutex::default(),
        };
        (broker, receiver)
    }

    /// Sets the waker of the service thread.
    pub(super) fn wake_with(&self, waker: Trigger) {
        let _ = self.waker.set(waker);
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.fire();
        }
    }

    /// Queues a command. An error says why it will not be executed.
    pub(super) fn submit(&self, command: ServiceCommand) -> Result<(), PublishError> {
        let queued = self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => PublishError::Busy(MAX_COMMANDS),
            TrySendError::Disconnected(_) => PublishError::Failed("the source has stopped".to_owned()),
        });
        self.wake();
        queued
    }

    pub(super) fn call(&self, call: Call) -> Result<(), PublishError> {
        if names::service(&call.service, &call.type_name).is_none() {
            let why = format!("{:?} of type {:?} is not a ROS service", call.service, call.type_name);
            return Err(PublishError::Failed(why));
        }
        if !is_plain_little_endian(&call.request) {
            return Err(PublishError::Failed(format!("{}: {REQUIRED_ENCODING}", call.service)));
        }
        let permit = Permit::try_acquire(&self.call_permits, CALLS).ok_or(PublishError::Busy(CALLS))?;
        self.submit(ServiceCommand::Call(call, permit))
    }

    pub(super) fn listen(&self, listen: TopicListener) -> Result<(), PublishError> {
        if names::dds_topic(&listen.topic).and(names::dds_type(&listen.type_name)).is_none() {
            let why = format!("{:?} of type {:?} is not a ROS topic", listen.topic, listen.type_name);
            return Err(PublishError::Failed(why));
        }
        let permit = Permit::try_acquire(&self.listener_permits, limits::LISTENERS)
            .ok_or(PublishError::Busy(limits::LISTENERS))?;
        self.submit(ServiceCommand::Listen(listen, permit))
    }

    pub(super) fn offer(&self, service: Service) -> Result<(), PublishError> {
        if names::service(&service.name, &service.type_name).is_none() {
            let why = format!("{:?} of type {:?} is not a ROS service", service.name, service.type_name);
            return Err(PublishError::Failed(why));
        }
        let mut offered = self.offered.lock();
        offered.retain(|(_, known)| known.name != service.name);
        if offered.len() >= MAX_SERVICES {
            return Err(PublishError::Busy(MAX_SERVICES));
        }
        let mut names = self.names.lock();
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
        self.offered.lock().retain(|(_, known)| known.name != name || !closed(known));
        self.wake();
    }

    /// The offered services with their numbers, whether open or not.
    pub(super) fn offered(&self) -> Vec<(u64, Service)> {
        self.offered.lock().clone()
    }

    /// The services that currently accept requests.
    pub(super) fn open_services(&self) -> Vec<Service> {
        let offered = self.offered.lock();
        let open = offered.iter().filter(|(_, service)| service.open.load(Ordering::Relaxed));
        open.map(|(_, service)| service.clone()).collect()
    }

    /// Whether the graph has been read.
    pub(super) fn has_graph(&self) -> bool {
        self.graph_services.lock().is_some()
    }

    /// The services of the graph.
    pub(super) fn graph_services(&self) -> Arc<BTreeMap<String, String>> {
        self.graph_services.lock().clone().unwrap_or_default()
    }

    /// Replaces the services of the graph.
    pub(super) fn set_graph_services(&self, graph: &Graph) {
        let services = graph.services.iter();
        let now = services.map(|service| (service.name.clone(), service.type_name.clone())).collect();
        *self.graph_services.lock() = Some(Arc::new(now));
        self.wake();
    }

    /// The readers and writers of our open services.
    pub(super) fn served(&self) -> (Vec<Guid>, Vec<Guid>) {
        self.served.lock().clone()
    }

    pub(super) fn set_served(&self, readers: Vec<Guid>, writers: Vec<Guid>) {
        *self.served.lock() = (readers, writers);
    }

    /// Delivers what we write to the topic to `samples` from now on.
    pub(super) fn add_local_listener(&self, topic: String, samples: mpsc::Sender<RawSample>) {
        let mut local_listeners = self.local_listeners.lock();
        local_listeners.retain(|(_, listener)| !listener.is_closed());
        local_listeners.push((topic, samples));
    }

    /// Delivers a sample that we wrote ourselves to the local listeners.
    pub(super) fn deliver_local(&self, topic: &str, sample: &RawSample) {
        let mut local_listeners = self.local_listeners.lock();
        local_listeners.retain(|(known, listener)| {
            known != topic || !matches!(listener.try_send(sample.clone()), Err(TrySample::Closed(_)))
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

    type Response = oneshot::Receiver<Result<Bytes, crate::CallError>>;

    fn call(service: &str) -> (Call, Response) {
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
    fn calls_are_bounded_and_permits_are_released() {
        let (broker, commands) = ServiceBroker::new();
        for _ in 0..super::CALLS {
            broker.call(call("/a").0).unwrap();
        }
        assert_eq!(broker.call(call("/a").0), Err(PublishError::Busy(super::CALLS)));
        // A response still fits.
        broker.submit(ServiceCommand::CompleteLocal(1, Ok(Bytes::new()))).unwrap();
        drop(commands.try_recv());
        broker.call(call("/a").0).unwrap();
        drop(commands);
        assert!(matches!(broker.call(call("/a").0), Err(PublishError::Failed(_) | PublishError::Busy(_))));
    }

    #[test]
    fn invalid_ros_names_are_rejected() {
        let (broker, _commands) = ServiceBroker::new();
        for name in ["", "a", "/a b", "/a/"] {
            assert!(matches!(broker.call(call(name).0), Err(PublishError::Failed(_))), "{name}");
            assert!(matches!(broker.offer(service(name)), Err(PublishError::Failed(_))), "{name}");
        }
        let mut big_endian = call("/a").0;
        big_endian.request = Bytes::from_static(&[0, 0, 0, 0, 0]);
        assert!(broker.call(big_endian).unwrap_err().to_string().contains("little-endian"));
    }

    #[test]
    fn the_number_of_service_names_is_bounded() {
        let (broker, _commands) = ServiceBroker::new();
        let offer = |name: &str| {
            let offered = service(name);
            let taken = broker.offer(offered.clone());
            offered.open.store(false, Ordering::Relaxed);
            broker.withdraw(name);
            taken
        };
        for at in 0..MAX_NAMES {
            offer(&format!("/s{at}")).unwrap();
        }
        assert!(matches!(offer("/one/more"), Err(PublishError::Failed(_))));
        offer("/s0").unwrap();
    }

    #[test]
    fn withdrawing_leaves_a_replacement_in_place() {
        let (broker, _commands) = ServiceBroker::new();
        let (first, second) = (service("/a"), service("/a"));
        broker.offer(first.clone()).unwrap();
        broker.offer(second.clone()).unwrap();
        first.open.store(false, Ordering::Relaxed);
        broker.withdraw("/a");
        assert_eq!(broker.open_services().len(), 1, "the replacement stays");
        second.open.store(false, Ordering::Relaxed);
        broker.withdraw("/a");
        assert!(broker.offered().is_empty());
        for n in 0..MAX_SERVICES {
            broker.offer(service(&format!("/n{n}"))).unwrap();
        }
        assert_eq!(broker.offer(service("/more")), Err(PublishError::Busy(MAX_SERVICES)));
    }
}
