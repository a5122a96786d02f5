//! `roverline echo`.

mod lines;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use roverline_client::{Config, EndpointView, Event, Events, Link, LinkSample, LinkState};
use roverline_protocol::MessageEncoding;
use roverline_schema::{Plan, Registry, Value};

use crate::cli::OutputArgs;
use crate::command::print::{print, print_line, print_text};
use crate::command::{Failure, no_answer, without_delay};

/// Arguments of `echo`.
#[derive(Debug)]
pub struct What {
    /// Name of the topic.
    pub topic: String,
    /// Print only this field.
    pub field: Option<String>,
    /// Exit after this many messages.
    pub count: Option<u64>,
    /// Output options.
    pub print: OutputArgs,
}

/// Prints messages until the count is reached; the first one must arrive in time.
pub async fn run(config: Config, what: What) -> Result<ExitCode, Failure> {
    let (link, mut events) = Link::open(without_delay(config));
    link.subscribe(&what.topic, None);
    let registry = Registry::bundled();
    let mut pending = HashMap::new();
    let mut endpoints: Arc<[EndpointView]> = Arc::default();
    let mut printed = 0;
    let patience = tokio::time::Instant::now() + what.print.timeout;
    while what.count.is_none_or(|count| printed < count) {
        let Some(event) = next(&mut events, (printed == 0).then_some(patience)).await else {
            return Err(nothing(&what, &pending, &endpoints));
        };
        match event {
            Event::Sample(sample) if sample.topic.name == what.topic => {
                match registry.plan(&sample.topic.type_name) {
                    _ if !sample.topic.encoding.is_cdr() => {
                        show_foreign(&what, &sample)?;
                        printed += 1;
                    }
                    Ok(plan) => {
                        show(&what, &sample, &plan)?;
                        printed += 1;
                        if let Some(receipt) = &sample.receipt {
                            link.report_sample(receipt, Some(receipt.elapsed()), None);
                        }
                    }
                    Err(_) => {
                        let type_name = sample.topic.type_name.clone();
                        pending.entry(type_name).or_insert_with_key(|type_name| link.schema(type_name));
                    }
                }
            }
            Event::Schema { type_name, encoding, text } => {
                let added = registry.add_encoded(&type_name, &encoding, text.as_bytes());
                added.map_err(|error| Failure::Nothing(error.to_string()))?;
            }
            Event::Endpoints(views) => endpoints = views,
            _ => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn next(events: &mut Events, until: Option<tokio::time::Instant>) -> Option<Event> {
    match until {
        Some(until) => tokio::time::timeout_at(until, events.next()).await.ok()?,
        None => events.next().await,
    }
}

fn nothing(what: &What, pending: &HashMap<String, ()>, endpoints: &[EndpointView]) -> Failure {
    if !endpoints.iter().any(|endpoint| endpoint.state == LinkState::Active) {
        let tried: Vec<_> = endpoints.iter().map(|e| (e.url.clone(), e.last_error.clone())).collect();
        return no_answer(&tried);
    }
    let waited = Duration::from_millis(what.print.timeout.as_millis() as u64);
    Failure::Nothing(match pending.keys().next() {
        Some(type_name) => format!("no endpoint knows the definition of {type_name}"),
        None => {
            format!("nothing on {} within {waited:?}: 'roverline topics' lists what there is", what.topic)
        }
    })
}

fn show(what: &What, sample: &LinkSample, plan: &Arc<Plan>) -> Result<(), Failure> {
    if let Some(field) = what.field.as_ref().filter(|field| !plan.has_field(field)) {
        let fields: Vec<&str> = plan.field_names().collect();
        let type_name = plan.type_name();
        return Err(Failure::Usage(format!(
            "{type_name} has no field '{field}'; it has {}",
            fields.join(", ")
        )));
    }
    let broken = |error: roverline_schema::DecodeError| {
        Failure::Nothing(format!("a message on {} cannot be decoded: {error}", what.topic))
    };
    let value = match &what.field {
        Some(field) => plan.field(&sample.payload, field).map_err(broken)?,
        None => Some(plan.decode(&sample.payload).map_err(broken)?),
    };
    // An element beyond the end of an array is absent now and may exist in the next message.
    let Some(value) = value else { return Ok(()) };
    print_value(what, sample, &value)
}

/// Shows a message that is not CDR: JSON, and no other.
fn show_foreign(what: &What, sample: &LinkSample) -> Result<(), Failure> {
    let encoding = &sample.topic.encoding;
    if *encoding != MessageEncoding::Json {
        let name = roverline_protocol::printable::printable(encoding.name());
        return Err(Failure::Nothing(format!(
            "messages on {} are {name}, which roverline does not read",
            what.topic
        )));
    }
    let json = serde_json::from_slice::<serde_json::Value>(&sample.payload)
        .map_err(|error| Failure::Nothing(format!("a message on {} is not JSON: {error}", what.topic)))?;
    let value = Value::from(json);
    let part = what.field.as_ref().map_or(Some(&value), |field| value.get(field));
    part.map_or(Ok(()), |part| print_value(what, sample, part))
}

fn print_value(what: &What, sample: &LinkSample, value: &Value) -> Result<(), Failure> {
    match (what.print.json, &what.field) {
        (true, field) => print_line(&lines::json_line(sample, field.as_deref(), value)),
        (false, Some(_)) => print(&value.to_string()),
        (false, None) => print_text(&lines::tree(value)),
    }
}
