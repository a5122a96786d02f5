//! Handling of the messages from endpoints.

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::native::{
    Binary, ClientMessage, FLAG_REPLAYED, FLAG_STORED, FLAG_TRACED, Gap, Level, SampleHeader, ServerMessage,
    TopicInfo,
};
use roverline_protocol::resume::Receipt;
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::EndpointDocument;
use roverline_protocol::{Delivery, SampleId};

use crate::limits;
use crate::manager::{Manager, unix_ns};
use crate::resubscribe::SwitchStats;
use crate::subscriptions::Subscription;
use crate::{Event, LinkSample, SampleReceipt};

impl Manager {
    pub(super) async fn on_message(&mut self, at: usize, message: ServerMessage, now: Duration) {
        let is_first = !self.slots.iter().any(|slot| slot.session.established);
        let slot = &mut self.slots[at];
        match message {
            ServerMessage::Hello { endpoint, traces, client, .. } => {
                slot.session.traces = traces;
                slot.session.identity = client;
                slot.on_hello(endpoint, now);
                self.changed = true;
                if is_first {
                    self.end_outage(now);
                }
                self.select(now).await;
            }
            ServerMessage::Topics { up, down } => {
                let topics = &mut slot.session.topics;
                down.iter().for_each(|id| drop(topics.remove(id)));
                for info in up.into_iter().take(limits::TOPICS) {
                    topics.insert(info.id, Arc::new(info));
                }
                if self.active == Some(at) {
                    self.emit_topics().await;
                }
            }
            ServerMessage::Directory { endpoints, .. } => self.on_directory(at, endpoints),
            ServerMessage::Time { t0_ns, t1_ns, t2_ns } => slot.on_time_answer(now, t0_ns, t1_ns, t2_ns),
            ServerMessage::Subscribed { id, matching } => {
                slot.session.repair.on_subscribed(id);
                if let Some(progress) = &mut slot.session.progress {
                    progress.on_subscribed(id, matching);
                }
                self.finish_switch(now).await;
            }
            ServerMessage::Resumed { replayed, gaps } => {
                self.on_resumed(at, replayed, &gaps);
                self.finish_switch(now).await;
            }
            ServerMessage::Drain { deadline_ms, .. } => {
                self.on_drain(at, Duration::from_millis(deadline_ms), now).await;
            }
            ServerMessage::Service { level, reason, shed } => {
                slot.session.service = level;
                slot.session.repair.on_level(level, &self.known, now);
                self.changed = true;
                let url = slot.url.clone();
                self.emit(Event::Service { url, level, reason, shed }).await;
            }
            ServerMessage::Event(event) => self.emit(Event::Gateway(event)).await,
            ServerMessage::Schema { type_name, encoding, text } => {
                self.emit(Event::Schema { type_name, encoding, text }).await;
            }
            ServerMessage::Dropped { topics } => {
                let count: u64 = topics.iter().map(|drop| drop.count).sum();
                slot.session.dropped = slot.session.dropped.saturating_add(count);
                let text = format!("this console was too slow for {count} samples");
                self.emit(Event::Notice { level: Level::Warning, text }).await;
            }
            ServerMessage::Command { id, accepted, message } => {
                if let Some(span) = self.shared.stops.answered(&slot.url, &id, accepted, &message) {
                    slot.report(&span, unix_ns(), !accepted);
                }
                self.emit(Event::Command { id, accepted, message }).await;
            }
            ServerMessage::Response { id, status, body } => self.on_response(id, status, body).await,
            ServerMessage::Status { code, message, .. } if code == "full" => {
                slot.full_until = Some(now + Duration::from_millis(limits::FULL_RETRY_MS));
                slot.last_error = Some(message);
                self.changed = true;
                self.on_full(at).await;
            }
            ServerMessage::Status { level, message, .. } => {
                self.emit(Event::Notice { level, text: message }).await;
            }
        }
    }

    /// An endpoint's description of itself is authoritative; for endpoints without a session, a
    /// peer's description is better than the last known one.
    fn on_directory(&mut self, at: usize, endpoints: Vec<EndpointDocument>) {
        let sender = self.slots[at].document.as_ref().map(|own| (own.tier, own.port));
        for entry in endpoints.into_iter().take(limits::PEERS) {
            let identity = (entry.tier, entry.port);
            if sender == Some(identity) {
                self.slots[at].document = Some(entry);
                self.changed = true;
                continue;
            }
            let same = |known: &EndpointDocument| (known.tier, known.port) == identity;
            let unconnected = self.slots.iter_mut().filter(|slot| !slot.session.established);
            for slot in unconnected.filter(|slot| slot.document.as_ref().is_some_and(same)) {
                slot.document = Some(entry.clone());
                self.changed = true;
            }
        }
    }

    /// Replayed samples follow; samples that cannot be replayed are counted, unless they arrived
    /// another way.
    fn on_resumed(&mut self, at: usize, replayed: u64, gaps: &[Gap]) {
        let slot = &mut self.slots[at];
        slot.session.resumed += 1;
        if slot.session.repair.on_resumed(replayed, &gaps[..gaps.len().min(limits::CURSORS_PER_RESUME)]) {
            return;
        }
        let Some(progress) = &mut slot.session.progress else { return };
        if slot.session.resumed <= progress.before {
            return;
        }
        for gap in gaps.iter().take(limits::CURSORS_PER_RESUME) {
            let after = self.cursors.newest(gap.source).map_or(gap.after, |newest| newest.max(gap.after));
            let missing = Gap { after, ..*gap }.count();
            self.cursors.give_up(gap.source, gap.after, gap.before);
            if missing > 0 && progress.gapped.insert(gap.source) {
                progress.stats.missing = progress.stats.missing.saturating_add(missing);
                slot.missed = slot.missed.saturating_add(missing);
            }
        }
    }

    pub(super) async fn on_binary(&mut self, at: usize, binary: Binary, now: Duration) {
        if let Binary::Sample(header, payload) = binary {
            self.on_sample(at, header, payload, now);
            if self.switch.is_some() {
                self.finish_switch(now).await;
            }
        }
    }

    fn on_sample(&mut self, at: usize, header: SampleHeader, payload: bytes::Bytes, now: Duration) {
        let Some(topic) = self.slots[at].session.topics.get(&header.topic).cloned() else { return };
        let (stored, replayed) = (header.flags & FLAG_STORED != 0, header.flags & FLAG_REPLAYED != 0);
        if let Some(progress) = &mut self.slots[at].session.progress {
            progress.on_sample(replayed, now);
        }
        let order = self.cursors.record(header.id, now);
        match order {
            Receipt::Duplicate => {
                if !stored {
                    self.count_in_switch(|stats| stats.duplicates += 1);
                }
                return;
            }
            _ => {
                if replayed {
                    self.count_in_switch(|stats| stats.replayed += 1);
                }
                self.detect_gap(at, &topic, &header, order, now);
            }
        }
        self.followed = self.followed.union(topic.scopes);
        let traced = header.flags & FLAG_TRACED != 0 && self.slots[at].session.traces;
        let receipt = if traced { self.receipt(at, header.id, now) } else { None };
        let sample = LinkSample {
            topic,
            traced,
            receipt,
            id: header.id,
            stored,
            replayed,
            late: order == Receipt::Late,
            source_time_ns: header.source_time_ns,
            receive_time_ns: header.receive_time_ns,
            payload,
        };
        if self.events.try_send(Event::Sample(sample)).is_err() {
            tracing::debug!("a sample was dropped: events are not read");
        }
    }

    /// The receipt of a traced sample; `None` if it is not reported, as on a link that does not carry everything.
    fn receipt(&mut self, at: usize, id: SampleId, now: Duration) -> Option<SampleReceipt> {
        let slot = &self.slots[at];
        if slot.session.service != ServiceLevel::Full || !self.sample_reports.admits(now) {
            return None;
        }
        SampleReceipt::new(slot.connection.as_ref()?.id, id, unix_ns(), &slot.session.clock)
    }

    /// Counts samples that should have preceded this one and did not arrive, unless the reason is
    /// known: only the newest was requested, or the endpoint reported a drop.
    fn detect_gap(
        &mut self,
        at: usize,
        topic: &TopicInfo,
        header: &SampleHeader,
        receipt: Receipt,
        now: Duration,
    ) {
        if self.known.len() >= limits::CURSORS_PER_RESUME {
            self.known.clear();
        }
        let known_before = !self.known.insert(header.id.source);
        let gap = self.slots[at].session.repair.on_sample(header.id.source, topic);
        let Receipt::Skipped(skipped) = receipt else { return };
        let is_full_rate = |subscription: &Subscription| subscription.max_rate_hz.is_none();
        let full_rate = self.subscriptions.values().all(is_full_rate)
            || self.subscriptions.get(&topic.name).is_some_and(is_full_rate);
        if topic.delivery != Delivery::Every || !full_rate || !known_before {
            return;
        }
        let session = &mut self.slots[at].session;
        session.repair.on_gap(header.id.source, header.id.seq, gap, now);
        let reported = skipped.min(session.dropped);
        session.dropped -= reported;
        let announced =
            session.progress.as_mut().is_some_and(|progress| progress.gapped.remove(&header.id.source));
        if session.service != ServiceLevel::Full || announced {
            return;
        }
        let missing = skipped - reported;
        self.slots[at].missed = self.slots[at].missed.saturating_add(missing);
        self.count_in_switch(|stats| stats.missing = stats.missing.saturating_add(missing));
    }

    /// Counts for the switch in progress, if there is one.
    fn count_in_switch(&mut self, count: impl FnOnce(&mut SwitchStats)) {
        let subscribing = if self.switch.is_some() { self.active } else { self.backup };
        if let Some(progress) = subscribing.and_then(|at| self.slots[at].session.progress.as_mut()) {
            count(&mut progress.stats);
        }
    }

    /// Starts a time exchange with an endpoint.
    pub(super) fn probe(&mut self, at: usize, now: Duration) {
        let slot = &mut self.slots[at];
        let t0_ns = unix_ns();
        if slot.session.probes.has_room() && slot.send_now(ClientMessage::Time { t0_ns }) {
            slot.session.probes.sent(t0_ns, now);
        }
    }
}
