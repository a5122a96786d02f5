//! The service thread of a participant: serves our services, calls remote ones, and runs topic
//! subscriptions that bypass the hub. A service that hangs costs only its own call the timeout.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::dds::engine::Participant;
use crate::dds::engine::wait_set::WaitSet;
use crate::dds::local_writers::LocalWriters;
use crate::dds::service_broker::{ResponseTarget, ServiceBroker, ServiceCommand};
use crate::dds::service_client::{PendingCall, ServiceClient};
use crate::dds::service_server::ServiceServer;
use crate::dds::topic_listener::Listener;
use crate::{CallError, Reply, Service, SourceError, StopFlag};

/// Bounds how late an opened or closed service, or a stop, is noticed.
const TICK: Duration = Duration::from_millis(100);
/// The broker's waker.
const BROKER: usize = 0;
/// The maximum number of service clients; the least recently used idle one is evicted.
const MAX_CLIENTS: usize = 256;

/// Runs until `stop` is set.
pub(super) fn run(
    broker: &Arc<ServiceBroker>,
    commands: Receiver<ServiceCommand>,
    participant: &dyn Participant,
    own: &LocalWriters,
    stop: &StopFlag,
) {
    // A bug in the library surfaces as a panic. It ends the services, but not the telemetry.
    let run = || {
        ServiceThread::new(broker.clone(), commands, participant, own).and_then(|mut thread| thread.run(stop))
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("services are neither offered nor called: {error}"),
        Err(_) => tracing::error!("services are offered and called no longer: the DDS library failed"),
    }
}

/// The owner of a poll token.
#[derive(Clone, PartialEq)]
enum PollTarget {
    Server(u64),
    Client(String),
    Listener(u64),
}

struct ServiceThread<'a> {
    broker: Arc<ServiceBroker>,
    commands: Receiver<ServiceCommand>,
    participant: &'a dyn Participant,
    own: &'a LocalWriters,
    waits: WaitSet,
    tokens: HashMap<usize, PollTarget>,
    next: u64,
    /// By number; `None` if it could not be opened.
    servers: BTreeMap<u64, Option<ServiceServer>>,
    clients: BTreeMap<String, ServiceClient>,
    listeners: BTreeMap<u64, Listener>,
    /// Calls whose service is not in the graph yet.
    unresolved: Vec<PendingCall>,
    /// Calls of our own services.
    local: BTreeMap<u64, PendingCall>,
    /// The number of pending requests of all services.
    requests: Arc<AtomicUsize>,
}

impl<'a> ServiceThread<'a> {
    fn new(
        broker: Arc<ServiceBroker>,
        commands: Receiver<ServiceCommand>,
        participant: &'a dyn Participant,
        own: &'a LocalWriters,
    ) -> Result<ServiceThread<'a>, SourceError> {
        let broken = |error: std::io::Error| SourceError(format!("cannot wait for requests: {error}"));
        let waits = WaitSet::new().map_err(broken)?;
        broker.wake_with(waits.trigger(BROKER));
        Ok(ServiceThread {
            broker,
            commands,
            participant,
            own,
            waits,
            tokens: HashMap::new(),
            next: 1,
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            listeners: BTreeMap::new(),
            unresolved: Vec::new(),
            local: BTreeMap::new(),
            requests: Arc::default(),
        })
    }

    fn run(&mut self, stop: &StopFlag) -> Result<(), SourceError> {
        let mut ready = Vec::new();
        while !stop.is_set() {
            self.reconcile_servers();
            self.waits
                .wait(self.next_timeout(), &mut ready)
                .map_err(|error| SourceError(format!("cannot wait for requests: {error}")))?;
            for token in &ready {
                self.on_event(*token);
            }
            while let Ok(command) = self.commands.try_recv() {
                self.execute(command);
            }
            self.poll_timeouts(Instant::now());
        }
        Ok(())
    }

    /// The time until the next timer expires.
    fn next_timeout(&self) -> Duration {
        let calls = self.unresolved.iter().chain(self.local.values()).map(|call| call.deadline);
        let due = calls.chain(self.clients.values().filter_map(ServiceClient::due));
        let due = due.chain(self.servers.values().flatten().filter_map(ServiceServer::due)).min();
        due.map_or(TICK, |due| due.saturating_duration_since(Instant::now()).min(TICK))
    }

    /// Opens and closes servers to match the offered services.
    fn reconcile_servers(&mut self) {
        let offered = self.broker.offered();
        let open = |number: &u64| {
            offered.iter().any(|(known, service)| known == number && service.open.load(Ordering::Relaxed))
        };
        let before = self.servers.len();
        self.servers.retain(|number, _| open(number));
        let mut changed = before != self.servers.len();
        if changed {
            let servers = &self.servers;
            self.tokens
                .retain(|_, target| !matches!(target, PollTarget::Server(n) if !servers.contains_key(n)));
        }
        for (number, service) in offered {
            if service.open.load(Ordering::Relaxed) && !self.servers.contains_key(&number) {
                let server = self.open_server(number, service);
                self.servers.insert(number, server);
                changed = true;
            }
        }
        if changed {
            let ids = self.servers.values().flatten().map(ServiceServer::ids);
            let (readers, writers) = ids.unzip();
            self.broker.set_served(readers, writers);
            self.own.notify_changed();
        }
    }

    fn open_server(&mut self, number: u64, service: Service) -> Option<ServiceServer> {
        let token = self.token(PollTarget::Server(number));
        let waiting = self.requests.clone();
        let opened = ServiceServer::open(number, service, self.participant, waiting)
            .and_then(|mut server| server.attach(&self.waits, token).map(|()| server));
        opened.map_err(|error| tracing::warn!("{error}")).ok()
    }

    /// Allocates a token.
    fn token(&mut self, target: PollTarget) -> usize {
        let token = self.next as usize;
        self.next += 1;
        self.tokens.insert(token, target);
        token
    }

    fn on_event(&mut self, token: usize) {
        match self.tokens.get(&token) {
            Some(PollTarget::Server(number)) => {
                if let Some(Some(server)) = self.servers.get_mut(number) {
                    server.drive(&self.broker);
                }
            }
            Some(PollTarget::Client(service)) => {
                if let Some(client) = self.clients.get_mut(service) {
                    client.drive(Instant::now());
                }
            }
            // Closed listeners are removed in `poll_timeouts`.
            Some(PollTarget::Listener(number)) => drop(self.listeners.get_mut(number).map(Listener::drain)),
            None => {}
        }
    }

    fn execute(&mut self, command: ServiceCommand) {
        match command {
            ServiceCommand::Call(call, permit) => self.dispatch(PendingCall::new(call, permit)),
            ServiceCommand::Listen(listen, permit) => {
                let number = self.next;
                let token = self.token(PollTarget::Listener(number));
                let opened = Listener::open(listen, permit, self.participant, &self.broker)
                    .and_then(|mut listener| listener.attach(&self.waits, token).map(|()| listener));
                match opened {
                    Ok(listener) => drop(self.listeners.insert(number, listener)),
                    Err(error) => tracing::warn!("{error}"),
                }
            }
            ServiceCommand::CompleteLocal(number, response) => {
                if let Some(call) = self.local.remove(&number) {
                    let service = call.service.clone();
                    call.complete(response.map_err(|why| CallError::Failed(format!("{service}: {why}"))));
                }
            }
            ServiceCommand::Respond(ResponseTarget { service, from, request_id }, body, permits) => {
                if let Some(Some(server)) = self.servers.get_mut(&service) {
                    server.respond(from, request_id, body, permits);
                }
            }
        }
    }

    fn dispatch(&mut self, call: PendingCall) {
        if let Some(service) = self.broker.open_services().into_iter().find(|one| one.name == call.service) {
            return self.call_local(&service, call);
        }
        let known = self.broker.graph_services().get(&call.service).cloned();
        match known {
            None => self.unresolved.push(call),
            Some(type_name) if type_name != call.type_name => {
                let why = format!("{} is a {type_name}, not a {}", call.service, call.type_name);
                call.complete(Err(CallError::Failed(why)));
            }
            Some(_) => self.call_remote(call),
        }
    }

    /// A participant does not receive its own samples, so our own services are called directly.
    fn call_local(&mut self, service: &Service, mut call: PendingCall) {
        if service.type_name != call.type_name {
            let why = format!("{} is a {}, not a {}", call.service, service.type_name, call.type_name);
            return call.complete(Err(CallError::Failed(why)));
        }
        let number = self.next;
        self.next += 1;
        let request = std::mem::take(&mut call.request);
        self.local.insert(number, call);
        let broker = self.broker.clone();
        let reply = Reply::fallible(move |response| {
            if let Err(error) = broker.submit(ServiceCommand::CompleteLocal(number, response)) {
                tracing::debug!("a call was not answered: {error}");
            }
        });
        (service.handler)(request, reply);
    }

    fn call_remote(&mut self, call: PendingCall) {
        let service = call.service.clone();
        if !self.clients.contains_key(&service)
            && let Err(SourceError(why)) = self.open_client(&call)
        {
            return call.complete(Err(CallError::Failed(why)));
        }
        if let Some(client) = self.clients.get_mut(&service) {
            client.submit(call);
            client.drive(Instant::now());
        }
    }

    fn open_client(&mut self, call: &PendingCall) -> Result<(), SourceError> {
        if self.clients.len() >= MAX_CLIENTS {
            let idle = self.clients.iter().filter(|(_, client)| client.is_idle());
            let oldest = idle.min_by_key(|(_, client)| client.used()).map(|(service, _)| service.clone());
            let full = || SourceError(format!("{MAX_CLIENTS} services are being called already"));
            let oldest = oldest.ok_or_else(full)?;
            self.close_client(&oldest);
        }
        let token = self.token(PollTarget::Client(call.service.clone()));
        let mut client = ServiceClient::open(call, self.participant)?;
        client.attach(&self.waits, token)?;
        self.clients.insert(call.service.clone(), client);
        Ok(())
    }

    fn close_client(&mut self, service: &str) {
        self.clients.remove(service);
        self.tokens.retain(|_, target| !matches!(target, PollTarget::Client(of) if of == service));
    }

    /// Handles what is due: calls whose service appeared, and expired calls.
    fn poll_timeouts(&mut self, now: Instant) {
        let known = self.broker.graph_services();
        for call in std::mem::take(&mut self.unresolved) {
            if known.contains_key(&call.service) {
                self.dispatch(call);
            } else if let Some(call) = call.fail_without_server(now) {
                self.unresolved.push(call);
            }
        }
        let late: Vec<u64> =
            self.local.iter().filter(|(_, call)| call.is_over(now)).map(|(number, _)| *number).collect();
        late.iter().filter_map(|number| self.local.remove(number)).for_each(PendingCall::time_out);
        for server in self.servers.values_mut().flatten() {
            server.poll_timeouts(now);
        }
        let mut unused = Vec::new();
        for (service, client) in &mut self.clients {
            client.poll_timeouts(now, known.get(service) == Some(client.type_name()));
            if client.is_unused(now) || known.get(service).is_some_and(|other| other != client.type_name()) {
                unused.push(service.clone());
            }
        }
        unused.iter().for_each(|service| self.close_client(service));
        let closed: Vec<u64> =
            self.listeners.iter().filter(|(_, one)| one.is_closed()).map(|(number, _)| *number).collect();
        for number in closed {
            self.listeners.remove(&number);
            self.tokens.retain(|_, target| *target != PollTarget::Listener(number));
        }
    }
}
