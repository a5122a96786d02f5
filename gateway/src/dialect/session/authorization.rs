//! Authorization of what a client does to the rover: its role must allow it, and the endpoint must serve
//! it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use roverline_protocol::api::commands::CommandKind;
use roverline_source::Publication;
use roverline_source::clock::monotonic;
use roverline_source::ros::{Advertised, RosError};

use crate::access::{AuthenticationError, Permission, PermissionDenied, Role};
use crate::authority::Claimant;
use crate::dialect::session::SessionContext;
use crate::emergency_stop::StopRequest;
use crate::endpoint::authority::{CommandRefused, Commander};
use crate::endpoint::capacity::ProvenHolder;
use crate::endpoint::command_streams::{StreamClient, StreamKey};

const BOOL: &str = "std_msgs/msg/Bool";

/// Why a client's message is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishRejected {
    /// The client may not publish it here.
    #[error(transparent)]
    Denied(#[from] PermissionDenied),
    /// Somebody else commands it, or the command is not allowed.
    #[error(transparent)]
    Command(#[from] CommandRefused),
    /// The source does not take it.
    #[error(transparent)]
    Source(#[from] RosError),
}

impl SessionContext {
    /// Checks whether the client's role has this permission. A page of another site has none, regardless
    /// of the permissions of an observer.
    pub fn authorize(&self, permission: Permission<'_>) -> Result<(), PermissionDenied> {
        self.info.check_not_confined()?;
        self.endpoint.access.authorize(self.info.identity().role, permission)
    }

    /// Changes the session's identity to that of a token shown after the session began; returns the new
    /// role.
    pub fn authenticate(&self, token: &str) -> Result<Role, AuthenticationError> {
        self.endpoint.access.check_token_transport(self.info.is_confidential())?;
        let identity = self.endpoint.access.authenticate(token, self.info.peer().ip(), monotonic())?;
        let role = identity.role;
        tracing::info!(session = self.info.id, role = role.name(), holder = identity.name, "token shown");
        self.info.slot().set_proven(ProvenHolder::of(&identity));
        self.info.set_identity(identity);
        Ok(role)
    }

    /// Checks whether this client may publish this topic on this endpoint.
    pub fn authorize_publish(&self, topic: &str, type_name: &str) -> Result<(), PermissionDenied> {
        if self.endpoint.is_stop_topic(topic) && type_name == BOOL {
            return self.authorize(Permission::EngageStop);
        }
        self.authorize(Permission::Publish(topic))?;
        if self.endpoint.is_stop_topic(topic) && type_name != BOOL {
            // A topic has one type: with another one, the stop itself could not be published.
            return Err(PermissionDenied(format!("{topic} is the emergency stop, a {BOOL}")));
        }
        self.check_scope(topic, type_name)
    }

    /// Checks the same of a client that shows the fencing token of a lock, if it does. Whoever holds a guarded topic may
    /// command it at every endpoint, in its scopes or not, so that another endpoint takes over at once.
    pub fn authorize_command(
        &self,
        topic: &str,
        type_name: &str,
        token: Option<u64>,
    ) -> Result<(), PermissionDenied> {
        let is_held = token.is_some() && self.endpoint.guards.of_topic(topic).is_some();
        match is_held && !self.endpoint.is_stop_topic(topic) {
            true => self.authorize(Permission::Publish(topic)),
            false => self.authorize_publish(topic, type_name),
        }
    }

    /// Checks whether this client may advertise this service or action on this endpoint. To serve is not to command: it
    /// takes no authority.
    pub fn authorize_serve(&self, service: &str, type_name: &str) -> Result<(), PermissionDenied> {
        self.authorize(Permission::Call(service))?;
        self.check_scope(service, type_name)
    }

    /// Checks whether this client may call this service, or send a goal to this action, on this endpoint.
    pub fn authorize_call(&self, service: &str, type_name: &str) -> Result<(), PermissionDenied> {
        self.authorize_serve(service, type_name)?;
        match self.endpoint.guards.of_service(service) {
            None => Ok(()),
            Some(guard) => {
                let admitted = self.endpoint.guarded_rover().admit_call(guard, self.commander(None));
                admitted.map(drop).map_err(|refused| PermissionDenied(refused.to_string()))
            }
        }
    }

    /// This client as one that commands. A session has a name of its own: two dashboards on one computer are two.
    fn commander(&self, token: Option<u64>) -> Commander {
        let (tier, started_ns) = (self.endpoint.tier.name(), self.endpoint.started_ns);
        let (label, dialect) = (self.info.label(), self.info.dialect());
        Commander {
            claimant: Claimant::session(label, dialect, tier, self.info.id, started_ns),
            session: Some(Arc::downgrade(&self.info)),
            token,
        }
    }

    fn check_scope(&self, name: &str, type_name: &str) -> Result<(), PermissionDenied> {
        match self.endpoint.is_in_scope(name, type_name) {
            true => Ok(()),
            false => {
                let name = name.chars().take(256).collect::<String>();
                let tier = self.endpoint.tier;
                Err(PermissionDenied(format!(
                    "{name} is not in the scope of the {tier} endpoint; use the primary one"
                )))
            }
        }
    }

    /// Publishes for this client if it may. A message on the emergency stop's topic engages or releases
    /// the stop itself, which every endpoint then publishes; that needs the permission to stop and no
    /// rule about topics.
    pub fn publish(&self, publication: Publication) -> Result<(), PublishRejected> {
        self.publish_with_token(publication, None)
    }

    /// The same for a client that shows the fencing token of its lock.
    pub fn publish_with_token(
        &self,
        publication: Publication,
        token: Option<u64>,
    ) -> Result<(), PublishRejected> {
        let kind = CommandKind::Publish;
        let key = StreamKey { session: self.info.id, kind, target: publication.topic.clone() };
        let type_name = publication.type_name.clone();
        let result = self.publish_unrecorded(publication, token);
        // What its role does not allow leaves nothing behind: it would cost those who may publish.
        if !matches!(result, Err(PublishRejected::Denied(_))) {
            let streams = &self.endpoint.command_streams;
            let failure = result.as_ref().err().map(ToString::to_string);
            streams.record(key, &type_name, || StreamClient::of(&self.info), failure, monotonic());
        }
        result
    }

    fn publish_unrecorded(
        &self,
        publication: Publication,
        token: Option<u64>,
    ) -> Result<(), PublishRejected> {
        if self.endpoint.is_stop_topic(&publication.topic) && publication.type_name == BOOL {
            let engage = publication.payload.get(4).is_some_and(|byte| *byte != 0);
            return Ok(self.publish_stop(engage)?);
        }
        self.authorize_command(&publication.topic, &publication.type_name, token)?;
        match self.endpoint.guards.of_topic(&publication.topic) {
            None => Ok(self.endpoint.ros.publish(publication)?),
            Some(guard) => {
                let commander = self.commander(token);
                let outcome = self.endpoint.guarded_rover().publish(guard, commander, publication);
                Ok(outcome.map(drop)?)
            }
        }
    }

    /// Opens the writer of a topic that this client may publish to, so that the graph shows it at once.
    pub fn open_writer(&self, topic: &str, type_name: &str, latched: bool) -> Option<Advertised> {
        if self.endpoint.is_stop_topic(topic) {
            return None; // the endpoints publish it themselves
        }
        let advertised = self.endpoint.ros.advertise(topic, type_name, latched);
        advertised.inspect_err(|error| tracing::debug!("{topic} is not advertised: {error}")).ok()
    }

    fn publish_stop(&self, engage: bool) -> Result<(), PermissionDenied> {
        let permission = if engage { Permission::EngageStop } else { Permission::ReleaseStop };
        self.authorize(permission)?;
        if engage {
            self.info.published_stop.store(true, Ordering::Relaxed);
        } else if !self.info.published_stop.load(Ordering::Relaxed) {
            // Some clients publish "not stopped" repeatedly; that must not release a stop that another
            // client engaged.
            return Ok(());
        }
        // Some clients publish it many times a second, which must not become as many writes to the disk. A
        // release may have to wait until this client's engage is stored, and is never left out.
        if engage && self.endpoint.emergency_stop_is(true) {
            return Ok(());
        }
        let id = format!("publish-{}-{}", self.info.id, roverline_source::clock::unix_ns());
        let reason = format!("published by {}", self.info.client());
        let endpoint = self.endpoint.clone();
        if !engage && endpoint.emergency_stop_is(false) {
            return Ok(());
        }
        let by = self.info.label();
        let request = StopRequest { by: &by, id: &id, engage, reason: &reason };
        let pending = endpoint.begin_emergency_stop(request, self.info.client_name());
        tokio::spawn(async move {
            if let Err(error) = endpoint.finish_emergency_stop(pending).await {
                tracing::warn!(%error, "a published emergency stop was not carried out");
            }
        });
        Ok(())
    }
}
