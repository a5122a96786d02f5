//! The way back to the rover: what it takes as messages and what it answers as services. Services of
//! clients are served to clients of the same process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roverline_protocol::{SampleId, limits};
use roverline_schema::cdr::{Reader, Writer};
use tokio::sync::mpsc;

use crate::ros::parameter;
use crate::ros::parameter::wire::{self, WireError};
use crate::ros::{ParameterDescription, ParameterValue};
use crate::sim::clock::{Clock, wall_ns};
use crate::sim::input::Given;
use crate::sim::input_log::Inbox;
use crate::sim::mission::MAX_SPEED;
use crate::{
    Call, CallError, Listen, MAX_SERVICES, Publication, PublishError, Publisher, RawSample, Reply, Service,
};

/// The node that has parameters.
pub(super) const NAVIGATION: &str = "/navigation";

/// What the rover serves: name, type, node.
pub(super) const SERVICES: [(&str, &str, &str); 6] = [
    ("/autonomy/enable", "std_srvs/srv/SetBool", NAVIGATION),
    ("/mission/restart", "std_srvs/srv/Trigger", "/mission_manager"),
    ("/navigation/describe_parameters", "rcl_interfaces/srv/DescribeParameters", NAVIGATION),
    ("/navigation/get_parameters", "rcl_interfaces/srv/GetParameters", NAVIGATION),
    ("/navigation/list_parameters", "rcl_interfaces/srv/ListParameters", NAVIGATION),
    ("/navigation/set_parameters", "rcl_interfaces/srv/SetParameters", NAVIGATION),
];

/// What the rover's services know, and those of clients.
#[derive(Default)]
pub(super) struct Services {
    seed: u64,
    max_speed: Mutex<f64>,
    offered: Mutex<Vec<Service>>,
    /// Who listens to what becomes of the parameters.
    listeners: Mutex<Vec<mpsc::Sender<RawSample>>>,
    changes: AtomicU64,
}

impl Services {
    pub(super) fn new(seed: u64) -> Services {
        Services { seed, max_speed: Mutex::new(MAX_SPEED), ..Services::default() }
    }

    /// Changes whenever the offered services do.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    pub(super) fn offered(&self) -> Vec<Service> {
        let mut offered = self.lock().clone();
        offered.retain(|service| service.open.load(Ordering::Relaxed));
        offered
    }

    pub(super) fn set_max_speed(&self, speed: f64) {
        let before =
            std::mem::replace(&mut *self.max_speed.lock().unwrap_or_else(PoisonError::into_inner), speed);
        if before != speed {
            self.tell("max_speed", &ParameterValue::Double(speed));
        }
    }

    /// One rcl_interfaces/msg/ParameterEvent to whoever listens.
    fn tell(&self, name: &str, value: &ParameterValue) {
        let now = wall_ns();
        let mut event = Writer::new();
        event.i32((now / 1_000_000_000) as i32).u32((now % 1_000_000_000) as u32).string(NAVIGATION);
        event.len(0).len(1).string(name);
        wire::write_value(&mut event, value);
        event.len(0);
        let payload = Bytes::from(event.finish());
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| !listener.is_closed());
        for listener in listeners.iter() {
            let id = SampleId::default();
            // One that is full misses it.
            let payload = payload.clone();
            let sample = RawSample { id, source_time_ns: now, receive_time_ns: now, payload };
            drop(listener.try_send(sample));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Service>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The parameters as they are now.
    fn parameters(&self) -> [(ParameterDescription, ParameterValue); 4] {
        let max_speed = *self.max_speed.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |name: &str, description: &str, value: ParameterValue| {
            let description = ParameterDescription {
                name: name.to_owned(),
                kind: value.kind(),
                description: description.to_owned(),
                read_only: true,
                ..ParameterDescription::default()
            };
            (description, value)
        };
        let (mut speed, value) =
            of("max_speed", "The most it drives by itself, m/s", ParameterValue::Double(max_speed));
        (speed.read_only, speed.double_range) = (false, Some((0.0, MAX_SPEED, 0.0)));
        [
            of("frame_id", "The frame of its way-points", ParameterValue::String("map".to_owned())),
            (speed, value),
            of("seed", "What the rover's world was made from", ParameterValue::Integer(self.seed as i64)),
            of("use_sim_time", "The rover keeps wall-clock time", ParameterValue::Bool(false)),
        ]
    }
}

/// Publishing to the rover, and calling it.
pub(super) struct SimPublisher {
    pub(super) inbox: Arc<Inbox>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) services: Arc<Services>,
}

impl Publisher for SimPublisher {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let given = Given::from_publication(&publication, self.clock.now_unix_ns())?;
        self.inbox.put(given)
    }

    fn offer(&self, service: Service) -> Result<(), PublishError> {
        if SERVICES.iter().any(|(name, ..)| *name == service.name) {
            return Err(PublishError::Failed(format!("{} is the rover's own", service.name)));
        }
        let mut offered = self.services.lock();
        offered.retain(|known| known.name != service.name);
        if offered.len() >= MAX_SERVICES {
            return Err(PublishError::Busy(MAX_SERVICES));
        }
        offered.push(service);
        self.services.changes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn withdraw(&self, name: &str) {
        let closed = |known: &Service| !known.open.load(Ordering::Relaxed);
        self.services.lock().retain(|known| known.name != name || !closed(known));
        self.services.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn listen(&self, listen: Listen) -> Result<(), PublishError> {
        if listen.topic != parameter::EVENTS {
            let why = format!("{}: the built-in rover's topics are heard through the gateway", listen.topic);
            return Err(PublishError::Failed(why));
        }
        let mut listeners = self.services.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| !listener.is_closed());
        if listeners.len() >= limits::LISTENERS {
            return Err(PublishError::Busy(limits::LISTENERS));
        }
        listeners.push(listen.samples);
        Ok(())
    }

    fn call(&self, call: Call) -> Result<(), PublishError> {
        let Call { service, type_name, request, answer, .. } = call;
        let own = SERVICES.iter().find(|(name, ..)| *name == service).map(|(_, type_name, _)| *type_name);
        let offered = self.services.offered().into_iter().find(|known| known.name == service);
        let Some(known) = own.or(offered.as_ref().map(|known| known.type_name.as_str())) else {
            drop(answer.send(Err(CallError::NoServer(service))));
            return Ok(());
        };
        if known != type_name {
            let why = format!("{service} is a {known}");
            drop(answer.send(Err(CallError::Failed(why))));
            return Ok(());
        }
        match offered.filter(|_| own.is_none()) {
            Some(offered) => {
                let reply = Reply::new(move |response| drop(answer.send(Ok(response))));
                (offered.handler)(request, reply);
            }
            None => {
                let response = self.answer(&service, &request);
                drop(answer.send(response.map_err(|why| CallError::Failed(format!("{service}: {why}")))));
            }
        }
        Ok(())
    }
}

impl SimPublisher {
    fn answer(&self, service: &str, request: &Bytes) -> Result<Bytes, String> {
        let mut writer = Writer::new();
        match service.rsplit_once('/').map_or("", |(_, last)| last) {
            "enable" => {
                let enabled = Reader::new(request).and_then(|mut reader| reader.bool());
                let enabled = enabled.map_err(|error| error.to_string())?;
                let says =
                    if enabled { "the rover drives by itself" } else { "the rover waits for /cmd_vel" };
                self.put(&mut writer, Given::autonomy(self.clock.now_unix_ns(), enabled), says);
            }
            "restart" => {
                let given = Given::restart(self.clock.now_unix_ns());
                self.put(&mut writer, given, "the mission begins anew");
            }
            "list_parameters" => self.list(&mut writer),
            "get_parameters" => self.get(&mut writer, request).map_err(|error| error.to_string())?,
            "set_parameters" => self.set(&mut writer, request).map_err(|error| error.to_string())?,
            _ => self.describe(&mut writer, request).map_err(|error| error.to_string())?,
        }
        Ok(Bytes::from(writer.finish()))
    }

    /// Success and a message, as std_srvs have them.
    fn put(&self, writer: &mut Writer, given: Given, says: &str) {
        match self.inbox.put(given) {
            Ok(()) => writer.bool(true).string(says),
            Err(error) => writer.bool(false).string(&error.to_string()),
        };
    }

    fn list(&self, writer: &mut Writer) {
        let names = self.services.parameters().map(|(description, _)| description.name);
        writer.string_seq(&names).string_seq::<&str>(&[]);
    }

    fn get(&self, writer: &mut Writer, request: &[u8]) -> Result<(), WireError> {
        let known = self.services.parameters();
        let mut names = wire::read_strings(&mut Reader::new(request)?)?;
        // A value takes far more room than a name, and nobody needs to ask so often for four.
        names.truncate(limits::PARAMETERS_PER_NODE);
        writer.len(names.len() as u32);
        for name in names {
            let value = known.iter().find(|(description, _)| description.name == name);
            wire::write_value(writer, value.map_or(&ParameterValue::NotSet, |(_, value)| value));
        }
        Ok(())
    }

    fn describe(&self, writer: &mut Writer, request: &[u8]) -> Result<(), WireError> {
        let known = self.services.parameters();
        let names = wire::read_strings(&mut Reader::new(request)?)?;
        let described: Vec<&ParameterDescription> = known
            .iter()
            .map(|(description, _)| description)
            .filter(|one| names.contains(&one.name))
            .collect();
        writer.len(described.len() as u32);
        described.into_iter().for_each(|one| wire::write_description(writer, one));
        Ok(())
    }

    fn set(&self, writer: &mut Writer, request: &[u8]) -> Result<(), WireError> {
        let wanted = wire::read_seq(&mut Reader::new(request)?, wire::read_named)?;
        writer.len(wanted.len() as u32);
        for (name, value) in wanted {
            wire::write_result(writer, &self.set_one(&name, &value));
        }
        Ok(())
    }

    fn set_one(&self, name: &str, value: &ParameterValue) -> Result<(), String> {
        if !self.services.parameters().iter().any(|(known, _)| known.name == name) {
            return Err(format!("{NAVIGATION} has no parameter {name}"));
        }
        if name != "max_speed" {
            return Err(format!("{name} cannot be set"));
        }
        match value {
            ParameterValue::Double(speed) if (0.0..=MAX_SPEED).contains(speed) => {
                let given = Given::max_speed(self.clock.now_unix_ns(), *speed);
                self.inbox.put(given).map_err(|error| error.to_string())?;
                // The file tells the other processes, and this one in a moment.
                self.services.set_max_speed(*speed);
                Ok(())
            }
            _ => Err(format!("max_speed is a number from 0 to {MAX_SPEED} m/s")),
        }
    }
}
