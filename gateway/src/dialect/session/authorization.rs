//! What a client does to the rover: only what its role allows, and only what this endpoint serves.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use roverline_source::Publication;

use crate::access::{Deed, Denied, Role};
use crate::dialect::session::Context;

const BOOL: &str = "std_msgs/msg/Bool";

impl Context {
    /// Whether this client may do this.
    pub fn may(&self, deed: Deed<'_>) -> Result<(), Denied> {
        self.endpoint.access.may(self.info.identity().role, deed)
    }

    /// The client shows a token after its session has begun; its role from now on.
    pub fn authenticate(&self, token: &str) -> Result<Role, Denied> {
        let identity = self.endpoint.access.holder(token)?;
        let role = identity.role;
        tracing::info!(session = self.info.id, role = role.name(), holder = identity.name, "token shown");
        *self.info.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
        Ok(role)
    }

    /// Whether this client may publish this topic here.
    pub fn may_publish(&self, topic: &str, type_name: &str) -> Result<(), Denied> {
        if topic == self.endpoint.stop_topic && type_name == BOOL {
            return self.may(Deed::EngageStop);
        }
        self.may(Deed::Publish(topic))?;
        if topic == self.endpoint.stop_topic && type_name != BOOL {
            // A topic has one type: with another one, the stop itself could not be published.
            return Err(Denied(format!("{topic} is the emergency stop, a {BOOL}")));
        }
        self.in_scope(topic, type_name)
    }

    /// Whether this client may call or offer this service (or action) here.
    pub fn may_call(&self, service: &str, type_name: &str) -> Result<(), Denied> {
        self.may(Deed::Call(service))?;
        self.in_scope(service, type_name)
    }

    fn in_scope(&self, name: &str, type_name: &str) -> Result<(), Denied> {
        match self.endpoint.is_in_scope(name, type_name) {
            true => Ok(()),
            false => {
                let name = name.chars().take(256).collect::<String>();
                let tier = self.endpoint.tier;
                Err(Denied(format!("{name} is not in the scope of the {tier} endpoint; use the primary one")))
            }
        }
    }

    /// Publishes for this client, if it may. What goes to the emergency stop's topic engages or
    /// releases the stop itself, which every endpoint then publishes; that takes the right to stop,
    /// and no rule about topics.
    pub fn publish(&self, publication: Publication) -> Result<(), String> {
        if publication.topic == self.endpoint.stop_topic && publication.type_name == BOOL {
            return self.publish_stop(publication.payload.get(4).is_some_and(|byte| *byte != 0));
        }
        self.may_publish(&publication.topic, &publication.type_name).map_err(|denied| denied.to_string())?;
        self.endpoint.ros.publish(publication).map_err(|error| error.to_string())
    }

    fn publish_stop(&self, engage: bool) -> Result<(), String> {
        let deed = if engage { Deed::EngageStop } else { Deed::ReleaseStop };
        self.may(deed).map_err(|denied| denied.to_string())?;
        if engage {
            self.info.published_stop.store(true, Ordering::Relaxed);
        } else if !self.info.published_stop.load(Ordering::Relaxed) {
            // Some publish that they do not stop, again and again: that releases nobody else's stop.
            return Ok(());
        }
        let id = format!("publish-{}-{}", self.info.id, roverline_source::clock::unix_ns());
        let reason = format!("published by {}", self.info.client());
        let endpoint = self.endpoint.clone();
        tokio::spawn(async move {
            // Some publish it many times a second: that is not to be as many writes to the disk. Looked
            // at only now, when what was said before is done.
            if endpoint.stop_stands(engage) {
                return;
            }
            if let Err(why) = endpoint.emergency_stop(&id, engage, &reason).await {
                tracing::warn!(why, "a published emergency stop was not carried out");
            }
        });
        Ok(())
    }
}
