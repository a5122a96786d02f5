//! Endpoints and rover in print, for people and programs.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use crate::model::{Model, Reading, Serving};
use crate::theme::quality_glyph;
use crate::{format, overview_rows};

/// Text for people.
pub(super) fn text(model: &Model) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "ENDPOINTS");
    for e in model.network.endpoints.iter() {
        let tier = e.tier.map_or("–", |tier| tier.name());
        let rtt = e.rtt.map_or_else(|| "–".to_owned(), format::millis);
        let health = e.health.map_or("–", |health| health.word());
        let error = e.last_error.as_deref().map(format::printable).unwrap_or_default();
        let _ = writeln!(
            out,
            "  {tier:<10} {:<22} {:<11} {health:<10} {rtt:>9}  {error}",
            format::address(&e.url),
            e.state.word()
        );
    }
    rover_text(model, &mut out);
    out
}

/// The rover's values, one line each.
pub(super) fn rover_text(model: &Model, out: &mut String) {
    for group in overview_rows::groups(model) {
        let _ = writeln!(out, "\n{}", group.title);
        for row in group.rows {
            let age = row.age.map_or_else(|| "–".to_owned(), format::age);
            let value = format!("{}{}", row.tone.mark(), row.value);
            let _ = writeln!(
                out,
                "  {} {} {} {:<8} {age:>6}",
                format::left(&row.label, 14),
                format::left(&value, 40),
                quality_glyph(row.quality),
                row.quality.word()
            );
        }
    }
}

/// JSON for programs.
pub(super) fn json(model: &Model) -> Json {
    let endpoints: Vec<Json> = model.network.endpoints.iter().map(endpoint).collect();
    let (state, active) = match model.network.serving(model.now) {
        Serving::By(endpoint) => ("active", Some(endpoint.url.as_str())),
        Serving::Connecting => ("connecting", None),
        Serving::NeverReached => ("unreachable", None),
        Serving::AllDown(_) => ("down", None),
    };
    json!({
        "link": {"state": state, "endpoint": active},
        "endpoints": endpoints,
        "topics": model.topics.rows.values().filter(|row| row.listed).count(),
        "rover": rover_json(model),
    })
}

fn endpoint(e: &roverline_client::EndpointView) -> Json {
    let ms = |time: Option<std::time::Duration>| time.map(|time| time.as_secs_f64() * 1e3);
    json!({
        "url": e.url, "rank": e.rank, "tier": e.tier, "scopes": e.scopes, "state": e.state.word(),
        "health": e.health, "rtt_ms": ms(e.rtt), "jitter_ms": ms(e.jitter), "loss": e.loss,
        "clients": e.clients.map(|(now, _)| now), "max_clients": e.clients.map(|(_, most)| most),
        "connected_s": e.connected_for.map(|time| time.as_secs_f64()), "failures": e.failures,
        "last_error": e.last_error, "received": e.received, "missed": e.missed,
        "breaker": e.breaker.word(), "service": e.service, "draining": e.draining, "full": e.full,
    })
}

/// The rover's values by name, each with age and quality; null if never received.
pub(super) fn rover_json(model: &Model) -> Json {
    let rover = &model.rover;
    let diagnostics = rover.diagnostics.iter().map(|(name, reading)| {
        let status = |s: &crate::model::Status| json!({"level": s.severity.word(), "message": s.message});
        (name.clone(), value(model, Some(reading), status))
    });
    let temperatures = rover
        .temperatures
        .iter()
        .map(|(name, reading)| (name.clone(), value(model, Some(reading), |c| json!({"celsius": c}))));
    let text = |s: &String| json!({"value": s});
    json!({
        "position": value(model, rover.fix.as_ref(), |f| {
            json!({"latitude": f.latitude, "longitude": f.longitude, "altitude_m": f.altitude})
        }),
        "odometry": value(model, rover.odometry.as_ref(), |o| {
            json!({"x_m": o.x, "y_m": o.y, "heading_deg": o.heading, "speed_mps": o.speed, "turn_dps": o.turn})
        }),
        "heading": value(model, rover.imu_heading.as_ref(), |h| json!({"degrees": h})),
        "battery": value(model, rover.battery.as_ref(), |b| {
            json!({"percent": b.percent, "volts": b.voltage, "amperes": b.current})
        }),
        "mission": value(model, rover.mission_name.as_ref(), text),
        "mission_status": value(model, rover.mission_status.as_ref(), text),
        "samples_collected": value(model, rover.samples.as_ref(), |n| json!({"value": n})),
        "mode": value(model, rover.mode.as_ref(), text),
        "autonomous": value(model, rover.autonomous.as_ref(), |on| json!({"value": on})),
        "led": value(model, rover.led.as_ref(), |led| json!({"value": led.word()})),
        "emergency_stop": value(model, rover.emergency_stop.as_ref(), |on| json!({"engaged": on})),
        "boundary": value(model, rover.boundary.as_ref(), |on| json!({"violated": on})),
        "temperatures": temperatures.collect::<Map<_, _>>(),
        "diagnostics": diagnostics.collect::<Map<_, _>>(),
    })
}

fn value<T>(model: &Model, reading: Option<&Reading<T>>, fields: impl Fn(&T) -> Json) -> Json {
    let Some(reading) = reading else { return Json::Null };
    let mut json = fields(&reading.value);
    if let Json::Object(map) = &mut json {
        let quality = reading.quality(&model.topics, model.now);
        map.insert("age_s".to_owned(), json!(model.now.since(reading.at).as_secs_f64()));
        map.insert("quality".to_owned(), json!(quality.word()));
        map.insert("topic".to_owned(), json!(reading.topic));
    }
    json
}
