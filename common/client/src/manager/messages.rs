//! What endpoints say.

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::native::{
    Binary, FLAG_REPLAYED, FLAG_STORED, Gap, Level, SampleHeader, ServerMessage, TopicInfo,
};
use roverline_protocol::resume::Seen;
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::EndpointDocument;
use roverline_protocol::{Delivery, limits};

use crate::manager::{Manager, unix_ns};
use crate::resubscribe::Tally;
use crate::{Event, LinkSample};

impl Manager {
    pub(super) async fn message(&mut self, at: usize, message: ServerMessage, now: Duration) {
        let slot = &mut self.slots[at];
        match message {
            ServerMessage::Hello { endpoint, .. } => {
                slot.greeted(endpoint, now);
                self.changed = true;
                self.select(now).await;
            }
            ServerMessage::Topics { up, down } => {
                let topics = &mut slot.session.topics;
                down.iter().for_each(|id| drop(topics.remove(id)));
                for info in up.into_iter().take(limits::TOPICS) {
                    topics.insert(info.id, Arc::new(info));
                }
                if self.active == Some(at) {
                    self.tell_topics().await;
                }
            }
            ServerMessage::Directory { endpoints, .. } => self.directory(at, endpoints),
            ServerMessage::Time { t0_ns, t1_ns, t2_ns } => slot.answered(now, t0_ns, t1_ns, t2_ns),
            ServerMessage::Subscribed { id, matching } => {
                if let Some(join) = &mut slot.session.join {
                    join.subscribed(id, matching);
                }
                self.settle(now).await;
            }
            ServerMessage::Resumed { gaps, .. } => {
                self.resumed(at, &gaps);
                self.settle(now).await;
            }
            ServerMessage::Drain { deadline_ms, .. } => {
                self.drain(at, Duration::from_millis(deadline_ms), now).await;
            }
            ServerMessage::Service { level, reason, shed } => {
                slot.session.service = level;
                self.changed = true;
                let url = slot.url.clone();
                self.tell(Event::Service { url, level, reason, shed }).await;
            }
            ServerMessage::Event(event) => self.tell(Event::Gateway(event)).await,
            ServerMessage::Schema { type_name, text, .. } => {
                self.tell(Event::Schema { type_name, text }).await;
            }
            ServerMessage::Dropped { topics } => {
                let count: u64 = topics.iter().map(|drop| drop.count).sum();
                slot.session.dropped = slot.session.dropped.saturating_add(count);
                let text = format!("this console was too slow for {count} samples");
                self.tell(Event::Notice { level: Level::Warning, text }).await;
            }
            ServerMessage::Command { id, accepted, message } => {
                self.tell(Event::Command { id, accepted, message }).await;
            }
            ServerMessage::Response { id, status, body } => self.answered(id, status, body).await,
            ServerMessage::Status { code, message, .. } if code == "full" => {
                slot.full_until = Some(now + Duration::from_millis(limits::FULL_RETRY_MS));
                slot.last_error = Some(message);
                self.changed = true;
                self.refused(at).await;
            }
            ServerMessage::Status { level, message, .. } => {
                self.tell(Event::Notice { level, text: message }).await;
            }
        }
    }

    /// An endpoint knows best of itself; of those that we cannot ask, what others say is better
    /// than what was last known.
    fn directory(&mut self, at: usize, endpoints: Vec<EndpointDocument>) {
        let speaker = self.slots[at].document.as_ref().map(|own| (own.tier, own.port));
        for entry in endpoints.into_iter().take(limits::PEERS) {
            let who = (entry.tier, entry.port);
            if speaker == Some(who) {
                self.slots[at].document = Some(entry);
                self.changed = true;
                continue;
            }
            let same = |known: &EndpointDocument| (known.tier, known.port) == who;
            let unasked = self.slots.iter_mut().filter(|slot| !slot.session.greeted);
            for slot in unasked.filter(|slot| slot.document.as_ref().is_some_and(same)) {
                slot.document = Some(entry.clone());
                self.changed = true;
            }
        }
    }

    /// What is replayed follows; what cannot be is counted, unless it has come another way.
    fn resumed(&mut self, at: usize, gaps: &[Gap]) {
        let slot = &mut self.slots[at];
        slot.session.resumed += 1;
        let Some(join) = &mut slot.session.join else { return };
        if slot.session.resumed <= join.before {
            return;
        }
        for gap in gaps.iter().take(limits::CURSORS_PER_RESUME) {
            let after = self.cursors.newest(gap.source).map_or(gap.after, |newest| newest.max(gap.after));
            let missing = Gap { after, ..*gap }.count();
            self.cursors.give_up(gap.source, gap.after, gap.before);
            if missing > 0 && join.gapped.insert(gap.source) {
                join.tally.missing = join.tally.missing.saturating_add(missing);
                slot.missed = slot.missed.saturating_add(missing);
            }
        }
    }

    pub(super) async fn binary(&mut self, at: usize, binary: Binary, now: Duration) {
        if let Binary::Sample(header, payload) = binary {
            self.sample(at, header, payload, now);
            if self.switch.is_some() {
                self.settle(now).await;
            }
        }
    }

    fn sample(&mut self, at: usize, header: SampleHeader, payload: bytes::Bytes, now: Duration) {
        let Some(topic) = self.slots[at].session.topics.get(&header.topic).cloned() else { return };
        let (stored, replayed) = (header.flags & FLAG_STORED != 0, header.flags & FLAG_REPLAYED != 0);
        if let Some(join) = &mut self.slots[at].session.join {
            join.sample(replayed, now);
        }
        match self.cursors.see(header.id, now) {
            Seen::Echo => {
                if !stored {
                    self.tally(|tally| tally.duplicates += 1);
                }
                return;
            }
            seen => {
                if replayed {
                    self.tally(|tally| tally.replayed += 1);
                }
                self.account(at, &topic, &header, seen);
            }
        }
        let sample = LinkSample {
            topic,
            id: header.id,
            stored,
            replayed,
            source_time_ns: header.source_time_ns,
            receive_time_ns: header.receive_time_ns,
            payload,
        };
        if self.events.try_send(Event::Sample(sample)).is_err() {
            tracing::debug!("a sample was dropped: events are not read");
        }
    }

    /// Counts what should have come before this sample and did not, unless the reason is known:
    /// only the newest was asked for, or the endpoint said that it leaves some out.
    fn account(&mut self, at: usize, topic: &TopicInfo, header: &SampleHeader, seen: Seen) {
        if self.known.len() >= limits::CURSORS_PER_RESUME {
            self.known.clear();
        }
        let heard_before = !self.known.insert(header.id.source);
        let Seen::After(skipped) = seen else { return };
        let full_rate = self.subscriptions.values().all(Option::is_none)
            || self.subscriptions.get(&topic.name).is_some_and(Option::is_none);
        if topic.delivery != Delivery::Every || !full_rate || !heard_before {
            return;
        }
        let session = &mut self.slots[at].session;
        let told = skipped.min(session.dropped);
        session.dropped -= told;
        let announced = session.join.as_mut().is_some_and(|join| join.gapped.remove(&header.id.source));
        if session.service != ServiceLevel::Full || announced {
            return;
        }
        let missing = skipped - told;
        self.slots[at].missed = self.slots[at].missed.saturating_add(missing);
        self.tally(|tally| tally.missing = tally.missing.saturating_add(missing));
    }

    /// Counts for the switch that is under way, if one is.
    fn tally(&mut self, count: impl FnOnce(&mut Tally)) {
        let joining = if self.switch.is_some() { self.active } else { self.backup };
        if let Some(join) = joining.and_then(|at| self.slots[at].session.join.as_mut()) {
            count(&mut join.tally);
        }
    }

    /// Asks an endpoint for the time.
    pub(super) fn probe(&mut self, at: usize, now: Duration) {
        let slot = &mut self.slots[at];
        let t0_ns = unix_ns();
        slot.session.probe.get_or_insert((t0_ns, now));
        slot.session.probed_at = now;
        slot.asked(t0_ns, now);
        slot.say(roverline_protocol::native::ClientMessage::Time { t0_ns });
    }
}
