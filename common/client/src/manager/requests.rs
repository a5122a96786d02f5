//! Requests for what the HTTP API answers, and paths that are watched: said to the endpoint in use,
//! and to the next one when that is lost.

use std::collections::BTreeMap;

use roverline_protocol::native::ClientMessage;
use serde_json::{Value, json};

use crate::manager::Manager;
use crate::{Event, REQUEST_LOST};

/// Requests and watches that a link keeps; more are refused.
const ASKED: usize = 1_024;

/// What was asked and is not answered, and what is watched.
#[derive(Debug, Default)]
pub(super) struct Asked {
    all: BTreeMap<u64, Question>,
    /// The connection that has heard all of it but what is marked otherwise.
    told: Option<u64>,
}

#[derive(Debug)]
struct Question {
    message: ClientMessage,
    said: bool,
}

impl Question {
    fn is_watch(&self) -> bool {
        matches!(self.message, ClientMessage::Watch { .. })
    }

    /// Whether it may be said twice.
    fn only_reads(&self) -> bool {
        match &self.message {
            ClientMessage::Request { method, .. } => method == "GET",
            _ => true,
        }
    }
}

impl Manager {
    /// Asks something, now or when an endpoint is there.
    pub(super) async fn ask(&mut self, id: u64, message: ClientMessage) {
        if self.asked.all.len() >= ASKED {
            self.tell(lost(id, "too many requests wait for their answers")).await;
            return;
        }
        self.asked.all.insert(id, Question { message, said: false });
        self.say_asked().await;
    }

    /// Nobody wants to know any more.
    pub(super) fn unwatch(&mut self, id: u64) {
        if self.asked.all.remove(&id).is_some()
            && let Some(active) = self.active
        {
            self.slots[active].say(ClientMessage::Unwatch { id });
        }
    }

    /// Says what the endpoint in use has not heard. What may have been done by one that is lost is
    /// not said again.
    pub(super) async fn say_asked(&mut self) {
        let Some(active) = self.active.filter(|active| self.slots[*active].session.greeted) else { return };
        let connection = self.slots[active].connection.as_ref().map(|connection| connection.id);
        if self.asked.told != connection {
            let of_old =
                |slot: &&crate::endpoint::Slot| slot.connection.as_ref().map(|c| c.id) == self.asked.told;
            if let Some(old) = self.slots.iter().find(of_old) {
                for id in self.asked.all.iter().filter(|(_, q)| q.is_watch()).map(|(id, _)| *id) {
                    old.say(ClientMessage::Unwatch { id });
                }
            }
            self.asked.told = connection;
            let in_doubt =
                self.asked.all.iter().filter(|(_, q)| q.said && !q.only_reads()).map(|(id, _)| *id);
            for id in in_doubt.collect::<Vec<_>>() {
                self.asked.all.remove(&id);
                self.tell(lost(id, "the endpoint was lost before it answered: it may have been done")).await;
            }
            self.asked.all.values_mut().for_each(|question| question.said = false);
        }
        for question in self.asked.all.values_mut().filter(|question| !question.said) {
            question.said = true;
            self.slots[active].say(question.message.clone());
        }
    }

    /// An answer came.
    pub(super) async fn answered(&mut self, id: u64, status: u16, body: Value) {
        let Some(question) = self.asked.all.get(&id) else { return };
        if !question.is_watch() {
            self.asked.all.remove(&id);
        }
        self.tell(Event::Response { id, status, body }).await;
    }
}

fn lost(id: u64, why: &str) -> Event {
    let body = json!({"type": "about:blank", "title": "Lost", "status": REQUEST_LOST, "detail": why});
    Event::Response { id, status: REQUEST_LOST, body }
}
