//! Sample handling: counts, and decodes if fields are needed.

mod extract;

use std::time::Duration;

use roverline_client::LinkSample;
use roverline_protocol::MessageEncoding;
use roverline_protocol::native::TopicInfo;
use roverline_schema::Value;

use crate::effect::Effect;
use crate::format;
use crate::model::history::Kept;
use crate::model::{Model, Now, Reading, Rover, Screen, Topics};
use crate::screen::topics::plot;
use crate::screen::{camera, log, map};
use crate::topic_mapping::{self, Slot};

/// Update interval of the selected topic's fields: people cannot read faster.
const DECODE_EVERY: Duration = Duration::from_millis(100);
/// Most types whose definition is pending.
const MAX_PENDING_TYPES: usize = 256;

pub(super) fn take(model: &mut Model, sample: &LinkSample) -> Vec<Effect> {
    let now = model.now;
    if !sample.stored && !sample.replayed {
        let is_first = model.stamps.observe(sample.receive_time_ns, gateway_now_ns(model), now.mono);
        if is_first {
            restamp(model);
        }
    }
    let at = made_at(model, sample);
    let watched =
        model.screen == Screen::Topics && model.topics.selected.as_ref() == Some(&sample.topic.name);
    let Some(row) = model.topics.row_for(&sample.topic, now) else { return Vec::new() };
    if sample.late {
        row.take_late(sample, now);
        return Vec::new();
    }
    row.take(sample, at, watched, now);
    let slot = row.slot;
    plot::feed(model, &sample.topic, &sample.payload, at);
    if sample.topic.type_name == log::ROSOUT && sample.topic.encoding.is_cdr() {
        log::take_rosout(model, sample);
    }
    model.screens.topics.fields.pending |= watched;
    if let Some((slot, rank)) = slot.filter(|_| sample.topic.encoding.is_cdr()) {
        fill(model, &sample.topic, &sample.payload, (slot, rank), at);
    }
    map::feed(model, sample, at);
    if watched { decode_selected(model) } else { camera::feed(model, sample, at) }
}

/// When a sample was created, on our clock. Stored and replayed samples use the gateway's stamp,
/// once the clock offset is known; all others count as new, regardless of their stamps.
fn made_at(model: &Model, sample: &LinkSample) -> Duration {
    let now = model.now;
    if !sample.stored && !sample.replayed {
        return now.mono;
    }
    if sample.receive_time_ns <= 0 || clock_offset_s(model).is_none() {
        return now.mono;
    }
    now.mono.saturating_sub(model.stamps.age(sample.receive_time_ns, gateway_now_ns(model), now.mono))
}

fn clock_offset_s(model: &Model) -> Option<f64> {
    model.network.active().and_then(|endpoint| endpoint.clock_offset_s)
}

/// The gateway's clock; ours until the difference is known.
fn gateway_now_ns(model: &Model) -> i64 {
    let offset_s = clock_offset_s(model).unwrap_or(0.0);
    model.now.wall_ns.saturating_add((offset_s * 1e9) as i64)
}

/// Corrects the ages of stored values that came before it was known that a recording is played: by its old
/// stamps they looked stale.
fn restamp(model: &mut Model) {
    let (now, gateway_now_ns) = (model.now.mono, gateway_now_ns(model));
    for (topic, row) in &mut model.topics.rows {
        let Some(stamp_ns) = row.stored_stamp_ns() else { continue };
        let at = now.saturating_sub(model.stamps.age(stamp_ns, gateway_now_ns, now));
        row.at = Some(at);
        model.rover.set_time(topic, at);
    }
}

/// Sets a topic of a past moment to its value of then.
pub fn restore(model: &mut Model, kept: &Kept) {
    let now = model.now;
    let Some(row) = model.topics.row_for(&kept.info, now) else { return };
    row.restore(kept);
    if let Some(slot) = row.slot.filter(|_| kept.info.encoding.is_cdr()) {
        fill(model, &kept.info, &kept.payload, slot, kept.at);
    }
}

fn fill(model: &mut Model, info: &TopicInfo, payload: &[u8], (slot, rank): (Slot, usize), at: Duration) {
    let Ok(plan) = model.registry.plan(&info.type_name) else { return };
    let topic = info.name.as_str();
    let decoded = plan.decode(payload);
    let fault = decoded.as_ref().err().map(ToString::to_string);
    if let (Some(fault), Some(row)) = (fault, model.topics.rows.get_mut(topic)) {
        row.fault = Some(fault);
    }
    let mut taker = SampleDecoder { topic, rank, at, topics: &model.topics, now: model.now };
    taker.fill(&mut model.rover, slot, decoded.as_ref().ok());
}

/// One sample on its way into the overview.
struct SampleDecoder<'a> {
    topic: &'a str,
    rank: usize,
    at: Duration,
    topics: &'a Topics,
    now: Now,
}

impl SampleDecoder<'_> {
    /// `value` is `None` if the sample cannot be decoded.
    fn fill(&mut self, rover: &mut Rover, slot: Slot, value: Option<&Value>) {
        match slot {
            Slot::Fix => self.put(&mut rover.fix, value.map(extract::fix)),
            Slot::Odometry => self.put(&mut rover.odometry, value.map(extract::odometry)),
            Slot::Imu => self.put(&mut rover.imu_heading, value.map(extract::imu_heading)),
            Slot::Battery => self.put(&mut rover.battery, value.map(extract::battery)),
            Slot::MissionName => self.put(&mut rover.mission_name, value.map(extract::text)),
            Slot::MissionStatus => self.put(&mut rover.mission_status, value.map(extract::text)),
            Slot::Samples => self.put(&mut rover.samples, value.map(extract::number)),
            Slot::MissionTime => self.put(&mut rover.mission_time, value.map(extract::number)),
            Slot::Mode => self.put(&mut rover.mode, value.map(extract::text)),
            Slot::Autonomous => self.put(&mut rover.autonomous, value.map(extract::flag)),
            Slot::Led => self.put(&mut rover.led, value.map(extract::led)),
            Slot::EmergencyStop => {
                let before = rover.emergency_stop.as_ref().map(|reading| reading.value);
                self.put(&mut rover.emergency_stop, value.map(extract::flag));
                if before != rover.emergency_stop.as_ref().map(|reading| reading.value) {
                    rover.stop_since = Some(self.at);
                }
            }
            Slot::Boundary => self.put(&mut rover.boundary, value.map(extract::flag)),
            Slot::Fence => self.put(&mut rover.fence, value.map(extract::fence)),
            Slot::Temperature => {
                let label = topic_mapping::temperature_label(self.topic);
                let room = rover.temperatures.len() < crate::model::MAX_TEMPERATURES;
                self.put_into(&mut rover.temperatures, label, value.map(extract::temperature), room);
            }
            Slot::Diagnostics => {
                for (name, status) in value.map(extract::diagnostics).unwrap_or_default() {
                    let room = rover.diagnostics.len() < crate::model::MAX_DIAGNOSTICS;
                    self.put_into(&mut rover.diagnostics, name, Some(Ok(status)), room);
                }
            }
        }
    }

    fn put_into<T>(
        &mut self,
        map: &mut std::collections::BTreeMap<String, Reading<T>>,
        key: String,
        value: Option<Result<T, &'static str>>,
        room: bool,
    ) {
        let mut reading = map.remove(&key);
        if reading.is_some() || room {
            self.put(&mut reading, value);
        }
        if let Some(reading) = reading {
            map.insert(key, reading);
        }
    }

    /// Stores the value, unless another live topic with a better rule fills the slot.
    fn put<T>(&mut self, place: &mut Option<Reading<T>>, value: Option<Result<T, &'static str>>) {
        use crate::model::quality::Quality;
        if let Some(held) = place.as_ref().filter(|held| held.topic != self.topic) {
            let alive = matches!(held.quality(self.topics, self.now), Quality::Fresh | Quality::Ageing);
            if alive && held.rank <= self.rank {
                return;
            }
        }
        match (value.unwrap_or(Err("cannot be decoded")), place) {
            (Ok(value), place) => {
                let (topic, rank, at) = (self.topic.to_owned(), self.rank, self.at);
                *place = Some(Reading { value, topic, rank, at, fault: None });
            }
            // The last good value stays on screen, marked.
            (Err(why), Some(held)) if held.topic == self.topic => held.fault = Some(why),
            (Err(_), _) => {}
        }
    }
}

/// Updates the fields of the selected topic, at most at reading speed.
pub fn decode_selected(model: &mut Model) -> Vec<Effect> {
    let now = model.now;
    let due = model.screens.topics.fields.decoded.is_none_or(|at| now.since(at) >= DECODE_EVERY);
    if model.screen != Screen::Topics || !model.screens.topics.fields.pending || !due {
        return Vec::new();
    }
    model.screens.topics.fields.decoded = Some(now.mono);
    let Some(row) = model.topics.selected_row() else { return Vec::new() };
    let (type_name, encoding) = (row.info.type_name.clone(), row.info.encoding.clone());
    let Some(payload) = row.latest.clone() else {
        model.screens.topics.fields.show_message(waiting_for(row.latest_bytes));
        return Vec::new();
    };
    model.screens.topics.fields.pending = false;
    if !encoding.is_cdr() {
        show_foreign(model, &encoding, &payload);
        return Vec::new();
    }
    match model.registry.plan(&type_name) {
        Ok(plan) => {
            match plan.decode(&payload) {
                Ok(value) => {
                    model.screens.topics.fields.show(&value);
                    plot::follow(model);
                }
                Err(error) => model
                    .screens
                    .topics
                    .fields
                    .show_message(format!("{} bytes, not decoded: {error}", payload.len())),
            }
            Vec::new()
        }
        Err(error) => {
            let asked = model.asked_schemas.contains(&type_name);
            let why = if asked { format!("{error}") } else { "asking for its definition".to_owned() };
            model.screens.topics.fields.show_message(format!(
                "{} bytes of {}: {why}",
                payload.len(),
                format::printable(&type_name)
            ));
            if asked || model.asked_schemas.len() >= MAX_PENDING_TYPES {
                return Vec::new();
            }
            model.asked_schemas.insert(type_name.clone());
            vec![Effect::Schema(type_name)]
        }
    }
}

/// Shows a message that is not CDR: JSON as a tree, others by their size.
fn show_foreign(model: &mut Model, encoding: &MessageEncoding, payload: &[u8]) {
    let json =
        (*encoding == MessageEncoding::Json).then(|| serde_json::from_slice::<serde_json::Value>(payload));
    match json {
        Some(Ok(value)) => {
            model.screens.topics.fields.show(&value.into());
            plot::follow(model);
        }
        Some(Err(error)) => {
            model.screens.topics.fields.show_message(format!("{} bytes, not JSON: {error}", payload.len()))
        }
        None => {
            let name = format::printable(encoding.name());
            model
                .screens
                .topics
                .fields
                .show_message(format!("{} bytes of {name}, which the console does not read", payload.len()));
        }
    }
}

fn waiting_for(bytes: usize) -> String {
    match bytes {
        0 => "nothing received yet".to_owned(),
        _ => format!("{bytes} bytes; waiting for the next one"),
    }
}
