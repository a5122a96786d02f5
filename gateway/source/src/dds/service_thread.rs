//! The thread of a participant's services: it serves what is offered, calls what others serve, and
//! listens to topics apart from the hub's. A service that does not answer costs its own call the
//! timeout, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustdds::mio1::{Events, Poll, Token, Waker};
use rustdds::{DomainParticipant, Subscriber};

use crate::dds::catalog::Class;
use crate::dds::participant::reader_qos;
use crate::dds::service_broker::{Desk, Order, To};
use crate::dds::service_client::{Asked, Client};
use crate::dds::service_server::Server;
use crate::dds::topic_listener::Listener;
use crate::dds::writers::Own;
use crate::{CallError, Reply, Service, SourceError, Stop};

/// How soon a service that is opened or closed, and a stop, are noticed.
const TICK: Duration = Duration::from_millis(100);
/// Who else than the desk is ready.
const DESK: Token = Token(0);
/// Services that are called at a time; the one that was called longest ago makes room.
const MAX_CLIENTS: usize = 256;

/// Runs until `stop` is set.
pub(super) fn work(
    desk: &Arc<Desk>,
    orders: Receiver<Order>,
    participant: &DomainParticipant,
    own: &Own,
    stop: &Stop,
) {
    // The library answers a bug of its own with a panic: it ends the services, not the telemetry.
    let run = || Thread::new(desk.clone(), orders, participant, own).and_then(|mut thread| thread.run(stop));
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("services are neither offered nor called: {error}"),
        Err(_) => tracing::error!("services are offered and called no longer: the DDS library failed"),
    }
}

/// Whose readiness a token tells.
#[derive(Clone, PartialEq)]
enum Whom {
    Server(u64),
    Client(String),
    Listener(u64),
}

struct Thread<'a> {
    desk: Arc<Desk>,
    orders: Receiver<Order>,
    participant: &'a DomainParticipant,
    own: &'a Own,
    subscriber: Subscriber,
    poll: Poll,
    tokens: HashMap<usize, Whom>,
    next: u64,
    /// By number; `None` where it could not be opened.
    servers: BTreeMap<u64, Option<Server>>,
    clients: BTreeMap<String, Client>,
    listeners: BTreeMap<u64, Listener>,
    /// Calls whose service is not known to be there.
    unknown: Vec<Asked>,
    /// Calls of services that we serve ourselves.
    local: BTreeMap<u64, Asked>,
    /// Requests of all services that wait for their answers.
    requests: Arc<AtomicUsize>,
}

impl<'a> Thread<'a> {
    fn new(
        desk: Arc<Desk>,
        orders: Receiver<Order>,
        participant: &'a DomainParticipant,
        own: &'a Own,
    ) -> Result<Thread<'a>, SourceError> {
        let broken = |error: std::io::Error| SourceError(format!("cannot wait for requests: {error}"));
        let poll = Poll::new().map_err(broken)?;
        desk.wake_with(Waker::new(poll.registry(), DESK).map_err(broken)?);
        let subscriber = participant
            .create_subscriber(&reader_qos(Class::Reliable, 1))
            .map_err(|error| SourceError(format!("cannot subscribe in DDS: {error}")))?;
        Ok(Thread {
            desk,
            orders,
            participant,
            own,
            subscriber,
            poll,
            tokens: HashMap::new(),
            next: 1,
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            listeners: BTreeMap::new(),
            unknown: Vec::new(),
            local: BTreeMap::new(),
            requests: Arc::default(),
        })
    }

    fn run(&mut self, stop: &Stop) -> Result<(), SourceError> {
        let mut events = Events::with_capacity(64);
        while !stop.is_set() {
            self.follow_offers();
            match self.poll.poll(&mut events, Some(self.nap())) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(SourceError(format!("cannot wait for requests: {error}")));
                }
                _ => {}
            }
            for event in events.iter() {
                self.note(event.token());
            }
            while let Ok(order) = self.orders.try_recv() {
                self.carry_out(order);
            }
            self.look_after(Instant::now());
        }
        Ok(())
    }

    /// Until something is due.
    fn nap(&self) -> Duration {
        let calls = self.unknown.iter().chain(self.local.values()).map(|asked| asked.deadline);
        let due = calls.chain(self.clients.values().filter_map(Client::due));
        let due = due.chain(self.servers.values().flatten().filter_map(Server::due)).min();
        due.map_or(TICK, |due| due.saturating_duration_since(Instant::now()).min(TICK))
    }

    /// Opens and closes services as they are offered.
    fn follow_offers(&mut self) {
        let offered = self.desk.offered();
        let open = |number: &u64| {
            offered.iter().any(|(known, service)| known == number && service.open.load(Ordering::Relaxed))
        };
        let before = self.servers.len();
        self.servers.retain(|number, _| open(number));
        let mut changed = before != self.servers.len();
        if changed {
            let servers = &self.servers;
            self.tokens.retain(|_, whom| !matches!(whom, Whom::Server(n) if !servers.contains_key(n)));
        }
        for (number, service) in offered {
            if service.open.load(Ordering::Relaxed) && !self.servers.contains_key(&number) {
                let server = self.open_server(number, service);
                self.servers.insert(number, server);
                changed = true;
            }
        }
        if changed {
            let ids = self.servers.values().flatten().map(Server::ids);
            let (readers, writers) = ids.unzip();
            self.desk.set_served(readers, writers);
            self.own.changed();
        }
    }

    fn open_server(&mut self, number: u64, service: Service) -> Option<Server> {
        let token = self.tokens(&Whom::Server(number), 2);
        let waiting = self.requests.clone();
        let opened = Server::open(number, service, self.participant, &self.subscriber, waiting)
            .and_then(|mut server| server.register(self.poll.registry(), token).map(|()| server));
        opened.map_err(|error| tracing::warn!("{error}")).ok()
    }

    /// The first of so many tokens.
    fn tokens(&mut self, whom: &Whom, count: usize) -> usize {
        let first = self.next as usize * 4;
        self.next += 1;
        self.tokens.extend((first..first + count).map(|token| (token, whom.clone())));
        first
    }

    fn note(&mut self, token: Token) {
        match self.tokens.get(&token.0) {
            Some(Whom::Server(number)) => {
                if let Some(Some(server)) = self.servers.get_mut(number) {
                    server.drive(&self.desk);
                }
            }
            Some(Whom::Client(service)) => {
                if let Some(client) = self.clients.get_mut(service) {
                    client.drive(Instant::now());
                }
            }
            // Those that nobody hears any more are looked for elsewhere.
            Some(Whom::Listener(number)) => drop(self.listeners.get(number).map(Listener::drain)),
            None => {}
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Call(call, seat) => self.call(Asked::new(call, seat)),
            Order::Listen(listen, seat) => {
                let number = self.next;
                let token = self.tokens(&Whom::Listener(number), 1);
                let opened = Listener::open(listen, seat, self.participant, &self.subscriber, &self.desk)
                    .and_then(|mut listener| {
                        listener.register(self.poll.registry(), Token(token)).map(|()| listener)
                    });
                match opened {
                    Ok(listener) => drop(self.listeners.insert(number, listener)),
                    Err(error) => tracing::warn!("{error}"),
                }
            }
            Order::Answer(To::Local(number), body, _) => {
                if let Some(asked) = self.local.remove(&number) {
                    asked.answer(Ok(body));
                }
            }
            Order::Answer(To::Remote { service, from, asker }, body, seats) => {
                if let Some(Some(server)) = self.servers.get_mut(&service) {
                    server.answer(from, asker, body, seats);
                }
            }
        }
    }

    fn call(&mut self, asked: Asked) {
        if let Some(service) = self.desk.open_services().into_iter().find(|one| one.name == asked.service) {
            return self.call_own(&service, asked);
        }
        let known = self.desk.known().get(&asked.service).cloned();
        match known {
            None => self.unknown.push(asked),
            Some(type_name) if type_name != asked.type_name => {
                let why = format!("{} is a {type_name}, not a {}", asked.service, asked.type_name);
                asked.answer(Err(CallError::Failed(why)));
            }
            Some(_) => self.call_other(asked),
        }
    }

    /// A participant does not hear itself; so what it serves is asked directly.
    fn call_own(&mut self, service: &Service, mut asked: Asked) {
        if service.type_name != asked.type_name {
            let why = format!("{} is a {}, not a {}", asked.service, service.type_name, asked.type_name);
            return asked.answer(Err(CallError::Failed(why)));
        }
        let number = self.next;
        self.next += 1;
        let request = std::mem::take(&mut asked.request);
        self.local.insert(number, asked);
        let desk = self.desk.clone();
        let reply = Reply::new(move |body| {
            if let Err(error) = desk.order(Order::Answer(To::Local(number), body, None)) {
                tracing::debug!("a call was not answered: {error}");
            }
        });
        (service.handler)(request, reply);
    }

    fn call_other(&mut self, asked: Asked) {
        let service = asked.service.clone();
        if !self.clients.contains_key(&service)
            && let Err(why) = self.open_client(&asked)
        {
            return asked.answer(Err(CallError::Failed(why)));
        }
        if let Some(client) = self.clients.get_mut(&service) {
            client.ask(asked);
            client.drive(Instant::now());
        }
    }

    fn open_client(&mut self, asked: &Asked) -> Result<(), String> {
        if self.clients.len() >= MAX_CLIENTS {
            let idle = self.clients.iter().filter(|(_, client)| client.is_idle());
            let oldest = idle.min_by_key(|(_, client)| client.used()).map(|(service, _)| service.clone());
            let oldest = oldest.ok_or_else(|| format!("{MAX_CLIENTS} services are being called already"))?;
            self.close_client(&oldest);
        }
        let token = self.tokens(&Whom::Client(asked.service.clone()), 3);
        let mut client =
            Client::open(asked, self.participant, &self.subscriber).map_err(|error| error.to_string())?;
        client.register(self.poll.registry(), token).map_err(|error| error.to_string())?;
        self.clients.insert(asked.service.clone(), client);
        Ok(())
    }

    fn close_client(&mut self, service: &str) {
        self.clients.remove(service);
        self.tokens.retain(|_, whom| !matches!(whom, Whom::Client(of) if of == service));
    }

    /// What is due: calls that found their service, or whose time is up.
    fn look_after(&mut self, now: Instant) {
        let known = self.desk.known();
        for asked in std::mem::take(&mut self.unknown) {
            if known.contains_key(&asked.service) {
                self.call(asked);
            } else if let Some(asked) = asked.unless_in_vain(now) {
                self.unknown.push(asked);
            }
        }
        let late: Vec<u64> =
            self.local.iter().filter(|(_, asked)| asked.is_over(now)).map(|(number, _)| *number).collect();
        late.iter().filter_map(|number| self.local.remove(number)).for_each(Asked::time_out);
        for server in self.servers.values_mut().flatten() {
            server.look_after(now);
        }
        let mut unused = Vec::new();
        for (service, client) in &mut self.clients {
            client.look_after(now, known.get(service) == Some(client.type_name()));
            if client.is_unused(now) || known.get(service).is_some_and(|other| other != client.type_name()) {
                unused.push(service.clone());
            }
        }
        unused.iter().for_each(|service| self.close_client(service));
        let deaf: Vec<u64> =
            self.listeners.iter().filter(|(_, one)| one.is_closed()).map(|(number, _)| *number).collect();
        for number in deaf {
            self.listeners.remove(&number);
            self.tokens.retain(|_, whom| *whom != Whom::Listener(number));
        }
    }
}
