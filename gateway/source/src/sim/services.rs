//! The rover's inputs: the messages it accepts and the services it serves. Services of clients are
//! callable by clients of the same process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_protocol::SampleId;
use roverline_schema::cdr::{Reader, Writer};
use tokio::sync::mpsc;

use crate::clock::unix_ns;
use crate::limits;
use crate::ros::parameter;
use crate::ros::parameter::cdr::{self, CdrError, SetResult};
use crate::ros::{ParameterDescription, ParameterValue};
use crate::sim::clock::Clock;
use crate::sim::input::PendingInput;
use crate::sim::input_log::{InputLog, submit};
use crate::sim::mission::MAX_SPEED;
use crate::{
    Call, CallError, MAX_SERVICES, Publication, PublishError, RawSample, Reply, Service, SourceControl,
    TopicListener,
};

/// The node with parameters.
pub(super) const NAVIGATION: &str = "/navigation";

/// The rover's services: name, type, node.
pub(super) const SERVICES: [(&str, &str, &str); 6] = [
    ("/autonomy/enable", "std_srvs/srv/SetBool", NAVIGATION),
    ("/mission/restart", "std_srvs/srv/Trigger", "/mission_manager"),
    ("/navigation/describe_parameters", "rcl_interfaces/srv/DescribeParameters", NAVIGATION),
    ("/navigation/get_parameters", "rcl_interfaces/srv/GetParameters", NAVIGATION),
    ("/navigation/list_parameters", "rcl_interfaces/srv/ListParameters", NAVIGATION),
    ("/navigation/set_parameters", "rcl_interfaces/srv/SetParameters", NAVIGATION),
];

/// The state of the rover's services, and the services of clients.
#[derive(Default)]
pub(super) struct Services {
    seed: u64,
    max_speed: Mutex<f64>,
    offered: Mutex<Vec<Service>>,
    /// The subscribers to parameter events.
    listeners: Mutex<Vec<mpsc::Sender<RawSample>>>,
    changes: AtomicU64,
}

impl Services {
    pub(super) fn new(seed: u64) -> Services {
        Services { seed, max_speed: Mutex::new(MAX_SPEED), ..Services::default() }
    }

    /// A counter of changes to the served services.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    pub(super) fn offered(&self) -> Vec<Service> {
        let mut offered = self.offered.lock().clone();
        offered.retain(|service| service.open.load(Ordering::Relaxed));
        offered
    }

    pub(super) fn set_max_speed(&self, speed: f64) {
        let before = std::mem::replace(&mut *self.max_speed.lock(), speed);
        if before != speed {
            self.send_parameter_event("max_speed", &ParameterValue::Double(speed));
        }
    }

    /// Sends a rcl_interfaces/msg/ParameterEvent to its subscribers.
    fn send_parameter_event(&self, name: &str, value: &ParameterValue) {
        let now = unix_ns();
        let mut event = Writer::new();
        event.i32((now / 1_000_000_000) as i32).u32((now % 1_000_000_000) as u32).string(NAVIGATION);
        event.len(0).len(1).string(name);
        cdr::write_value(&mut event, value);
        event.len(0);
        let payload = Bytes::from(event.finish());
        let mut listeners = self.listeners.lock();
        listeners.retain(|listener| !listener.is_closed());
        for listener in listeners.iter() {
            let id = SampleId::default();
            // A full channel misses it.
            let payload = payload.clone();
            let sample = RawSample { id, source_time_ns: now, receive_time_ns: now, payload };
            drop(listener.try_send(sample));
        }
    }

    /// The current parameters.
    fn parameters(&self) -> [(ParameterDescription, ParameterValue); 4] {
        let max_speed = *self.max_speed.lock();
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

/// Why a parameter was not set.
#[derive(Debug, thiserror::Error)]
enum SetError {
    #[error("{NAVIGATION} has no parameter {0}")]
    Unknown(String),
    #[error("{0} cannot be set")]
    ReadOnly(String),
    #[error("max_speed is a number from 0 to {MAX_SPEED} m/s")]
    Range,
    #[error(transparent)]
    Submit(#[from] PublishError),
}

/// Publishing to the rover, and calling its services.
pub(super) struct SimControl {
    pub(super) input_log: Arc<InputLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) services: Arc<Services>,
}

impl SourceControl for SimControl {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let input = PendingInput::from_publication(&publication, self.clock.now_unix_ns())?;
        submit(&self.input_log, input)
    }

    fn offer(&self, service: Service) -> Result<(), PublishError> {
        if SERVICES.iter().any(|(name, ..)| *name == service.name) {
            return Err(PublishError::Failed(format!("{} is the rover's own", service.name)));
        }
        let mut offered = self.services.offered.lock();
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
        self.services.offered.lock().retain(|known| known.name != name || !closed(known));
        self.services.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn listen(&self, listen: TopicListener) -> Result<(), PublishError> {
        if listen.topic != parameter::EVENTS {
            let why = format!("{}: the built-in rover's topics are heard through the gateway", listen.topic);
            return Err(PublishError::Failed(why));
        }
        let mut listeners = self.services.listeners.lock();
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
                let reply = Reply::fallible(move |response| {
                    let failed = |why| CallError::Failed(format!("{service}: {why}"));
                    drop(answer.send(response.map_err(failed)));
                });
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

impl SimControl {
    fn answer(&self, service: &str, request: &Bytes) -> Result<Bytes, CdrError> {
        let mut writer = Writer::new();
        match service.rsplit_once('/').map_or("", |(_, last)| last) {
            "enable" => {
                let enabled = Reader::new(request)?.bool()?;
                let message =
                    if enabled { "the rover drives by itself" } else { "the rover waits for /cmd_vel" };
                self.submit(&mut writer, PendingInput::autonomy(self.clock.now_unix_ns(), enabled), message);
            }
            "restart" => {
                let input = PendingInput::restart(self.clock.now_unix_ns());
                self.submit(&mut writer, input, "the mission begins anew");
            }
            "list_parameters" => self.list(&mut writer),
            "get_parameters" => self.get(&mut writer, request)?,
            "set_parameters" => self.set(&mut writer, request)?,
            _ => self.describe(&mut writer, request)?,
        }
        Ok(Bytes::from(writer.finish()))
    }

    /// Submits an input and writes the response of std_srvs: success and a message.
    fn submit(&self, writer: &mut Writer, input: PendingInput, message: &str) {
        match submit(&self.input_log, input) {
            Ok(()) => writer.bool(true).string(message),
            Err(error) => writer.bool(false).string(&error.to_string()),
        };
    }

    fn list(&self, writer: &mut Writer) {
        let names = self.services.parameters().map(|(description, _)| description.name);
        writer.string_seq(&names).string_seq::<&str>(&[]);
    }

    fn get(&self, writer: &mut Writer, request: &[u8]) -> Result<(), CdrError> {
        let known = self.services.parameters();
        let mut names = cdr::read_strings(&mut Reader::new(request)?)?;
        // A value takes far more space than a name, and there are only four parameters.
        names.truncate(limits::PARAMETERS_PER_NODE);
        writer.len(names.len() as u32);
        for name in names {
            let value = known.iter().find(|(description, _)| description.name == name);
            cdr::write_value(writer, value.map_or(&ParameterValue::NotSet, |(_, value)| value));
        }
        Ok(())
    }

    fn describe(&self, writer: &mut Writer, request: &[u8]) -> Result<(), CdrError> {
        let known = self.services.parameters();
        let names = cdr::read_strings(&mut Reader::new(request)?)?;
        let described: Vec<&ParameterDescription> = known
            .iter()
            .map(|(description, _)| description)
            .filter(|one| names.contains(&one.name))
            .collect();
        writer.len(described.len() as u32);
        described.into_iter().for_each(|one| cdr::write_description(writer, one));
        Ok(())
    }

    fn set(&self, writer: &mut Writer, request: &[u8]) -> Result<(), CdrError> {
        let requested = cdr::read_seq(&mut Reader::new(request)?, cdr::read_named)?;
        writer.len(requested.len() as u32);
        for (name, value) in requested {
            let error = self.set_one(&name, &value).err();
            let successful = error.is_none();
            let reason = error.map(|error| error.to_string()).unwrap_or_default();
            cdr::write_result(writer, &SetResult { successful, reason });
        }
        Ok(())
    }

    fn set_one(&self, name: &str, value: &ParameterValue) -> Result<(), SetError> {
        if !self.services.parameters().iter().any(|(known, _)| known.name == name) {
            return Err(SetError::Unknown(name.to_owned()));
        }
        if name != "max_speed" {
            return Err(SetError::ReadOnly(name.to_owned()));
        }
        match value {
            ParameterValue::Double(speed) if (0.0..=MAX_SPEED).contains(speed) => {
                let input = PendingInput::max_speed(self.clock.now_unix_ns(), *speed);
                submit(&self.input_log, input)?;
                // The log informs the other processes, and this one shortly.
                self.services.set_max_speed(*speed);
                Ok(())
            }
            _ => Err(SetError::Range),
        }
    }
}
