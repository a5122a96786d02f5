//! What the keys of the composer do.

use roverline_protocol::api::ServiceList;
use roverline_protocol::api::authority::AuthorityList;
use roverline_protocol::api::commands::{CommandDocument, CommandKind, CommandRequest};
use roverline_protocol::printable::is_unprintable;

use crate::composer::catalogue::{KINDS, Target, targets};
use crate::composer::form::{Form, FormError};
use crate::composer::model::{SentCommand, Stage};
use crate::composer::saved::SavedCommand;
use crate::effect::Effect;
use crate::format;
use crate::model::{Answer, Model, Overlay};

const PATH: &str = "/api/v2/commands";
/// Services that are listed.
const SERVICES: &str = "/api/v2/services?limit=1000";
/// How long a command may wait to be dispatched, and a service to answer, milliseconds.
const TIME_TO_LIVE_MS: u64 = 5_000;

/// Opens the composer, for commands of a kind or of all.
pub fn open(model: &mut Model, kind: Option<CommandKind>) -> Vec<Effect> {
    if !model.has_room_for_question() {
        return Vec::new();
    }
    if model.rewind.is_some() {
        model.notify(true, "nothing is sent from the past: Esc is now".to_owned());
        return Vec::new();
    }
    model.overlay = Overlay::Composer;
    let state = &mut model.composer;
    (state.stage, state.kind, state.cursor) = (Stage::Pick, kind, 0);
    state.query.clear();
    list(model);
    let mut effects =
        model.request("list the services", ("GET", SERVICES.to_owned()), None, |model, answer| {
            if let Ok(found) = answer.document::<ServiceList>() {
                let services = found.services.into_iter().map(|service| (service.name, service.type_name));
                model.composer.services = services.collect();
                list(model);
            }
            Vec::new()
        });
    let path = ("GET", "/api/v2/authority".to_owned());
    effects.extend(model.request("read the authorities", path, None, |model, answer| {
        model.composer.authority = answer.document::<AuthorityList>().ok();
        list(model);
        Vec::new()
    }));
    effects
}

/// The key of every screen that opens it.
pub fn open_all(model: &mut Model) -> Vec<Effect> {
    open(model, None)
}

/// Lists the targets, from what is known now.
fn list(model: &mut Model) {
    let topics = model.topics.rows.values().map(|row| (row.info.name.as_str(), row.info.type_name.as_str()));
    let guarded = model.composer.authority.iter().flat_map(|list| &list.authorities);
    // A topic that nobody publishes yet is in no list, and a rover may wait for it.
    let guarded =
        guarded.flat_map(|authority| &authority.topics).filter(|topic| topic.as_str() == "/cmd_vel");
    let guarded = guarded.map(|topic| (topic.as_str(), "geometry_msgs/msg/Twist"));
    let known: Vec<_> = topics.collect();
    let guarded = guarded.filter(|(name, _)| known.iter().all(|(topic, _)| topic != name));
    let services = model.composer.services.iter().map(|(name, kind)| (name.as_str(), kind.as_str()));
    let found = targets(known.iter().copied().chain(guarded), services);
    model.composer.targets = found;
}

pub(super) fn close(model: &mut Model) -> Vec<Effect> {
    model.overlay = Overlay::None;
    let watch = model.composer.sent.as_mut().and_then(|sent| sent.watch.take());
    watch.into_iter().flat_map(|watch| model.unwatch(watch)).collect()
}

pub(super) fn back(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.composer;
    let is_sent = state.stage == Stage::Sent;
    state.stage = if is_sent { Stage::Fill } else { Stage::Pick };
    let watch = state.sent.as_mut().and_then(|sent| sent.watch.take());
    watch.into_iter().flat_map(|watch| model.unwatch(watch)).collect()
}

pub(super) fn kind(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.composer;
    let at = state.kind.and_then(|kind| KINDS.iter().position(|known| *known == kind));
    state.kind = KINDS.get(at.map_or(0, |at| at + 1)).copied();
    state.cursor = 0;
    Vec::new()
}

pub(super) fn move_cursor<const BY: isize>(model: &mut Model) -> Vec<Effect> {
    let last = model.composer.found().len().saturating_sub(1);
    model.composer.cursor = model.composer.cursor.saturating_add_signed(BY).min(last);
    Vec::new()
}

pub(super) fn field<const BY: isize>(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.composer;
    let last = state.form.fields.len().saturating_sub(1);
    state.field = state.field.saturating_add_signed(BY).min(last);
    Vec::new()
}

pub(super) fn cycle<const FORWARD: bool>(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.composer;
    if let Some(field) = state.form.fields.get_mut(state.field) {
        field.cycle(FORWARD);
    }
    Vec::new()
}

pub(super) fn type_char(model: &mut Model, c: char) -> Vec<Effect> {
    model.composer.cursor = 0;
    if let Some((text, most)) = model.composer.typed().filter(|_| !is_unprintable(c))
        && text.chars().count() < most
    {
        text.push(c);
    }
    Vec::new()
}

pub(super) fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    for c in text.chars().take(crate::composer::form::VALUE_CHARS) {
        type_char(model, c);
    }
    Vec::new()
}

pub(super) fn erase(model: &mut Model) -> Vec<Effect> {
    model.composer.cursor = 0;
    if let Some((text, _)) = model.composer.typed() {
        text.pop();
    }
    Vec::new()
}

pub(super) fn clear_field(model: &mut Model) -> Vec<Effect> {
    if let Some((text, _)) = model.composer.typed() {
        text.clear();
    }
    Vec::new()
}

pub(super) fn pick(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.composer;
    let picked = state.found().get(state.cursor).map(|target| (*target).clone());
    let Some(target) = picked else { return Vec::new() };
    (state.target, state.stage, state.field, state.recalled) = (Some(target), Stage::Fill, 0, None);
    make_form(model)
}

/// Makes the form of the target; its definition is requested if it is not known.
fn make_form(model: &mut Model) -> Vec<Effect> {
    let form_type = model.composer.target.as_ref().map(Target::form_type);
    let made = match &form_type {
        Some(Some(type_name)) => Form::of(&model.registry, type_name),
        Some(None) => Ok(Form::of_parameter()),
        None => return Vec::new(),
    };
    let state = &mut model.composer;
    match made {
        Ok(form) => {
            (state.form, state.problem) = (form, None);
            Vec::new()
        }
        Err(error) => {
            (state.form, state.problem) = (Form::default(), Some(format::printable(&error.to_string())));
            match error {
                FormError::Unknown(type_name) => vec![Effect::Schema(type_name)],
                FormError::Unusable(_) => Vec::new(),
            }
        }
    }
}

/// A definition has come: it may be that of the form.
pub fn learned(model: &mut Model) {
    if model.overlay == Overlay::Composer && model.composer.problem.is_some() {
        // A definition that is still not there has been requested already.
        make_form(model);
    }
}

/// The command of the form, checked against its type.
fn composed(model: &mut Model) -> Option<SavedCommand> {
    let state = &model.composer;
    let target = state.target.clone().filter(|_| state.problem.is_none())?;
    let checked = match target.form_type() {
        Some(type_name) => state.form.checked_body(&model.registry, &type_name),
        None => state.form.body().map(|body| parameter(&body)),
    };
    match checked {
        Ok(body) => {
            Some(SavedCommand { kind: target.kind(), target: target.name, type_name: target.type_name, body })
        }
        Err(error) => {
            let at = model.composer.form.fields.iter().position(|field| field.path == error.field);
            model.composer.field = at.unwrap_or(model.composer.field);
            model.notify(true, format!("not sent: {}", format::printable(&error.to_string())));
            None
        }
    }
}

/// `{"name": value}` of the form's two fields.
fn parameter(body: &serde_json::Value) -> serde_json::Value {
    let name = body.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
    serde_json::json!({ name: body.get("value").cloned().unwrap_or_default() })
}

pub(super) fn send(model: &mut Model) -> Vec<Effect> {
    let Some(command) = composed(model) else { return Vec::new() };
    let wall_ns = model.now.wall_ns;
    let authority = model.composer.target.as_ref().and_then(|target| {
        target.authority(model.composer.authority.as_ref()?).map(|authority| authority.name.clone())
    });
    let lock = authority.and_then(|name| model.screens.team.lock(&name));
    let own = model.own();
    let token = lock.and_then(|lock| {
        lock.holders
            .iter()
            .find(|holder| own.is(&holder.client, holder.by.as_deref()))
            .map(|holder| holder.token)
    });
    let request = CommandRequest {
        id: model.composer.next_id(wall_ns),
        kind: command.kind,
        target: command.target.clone(),
        type_name: command.type_name.clone(),
        body: command.body.clone(),
        ttl_ms: Some(TIME_TO_LIVE_MS),
        sent_ns: None,
        timeout_ms: Some(TIME_TO_LIVE_MS),
        client: model.client.clone(),
        token,
    };
    let effects = submit(model, request);
    if effects.is_empty() {
        return effects;
    }
    model.composer.saved.remember(command);
    let text = model.composer.saved.text();
    effects.into_iter().chain([Effect::SaveCommands(text)]).collect()
}

/// Sends a command, and follows its states.
fn submit(model: &mut Model, request: CommandRequest) -> Vec<Effect> {
    let id = request.id.clone();
    let body = serde_json::to_value(&request).ok();
    let taken = {
        let id = id.clone();
        move |model: &mut Model, answer: &Answer| {
            take(model, &id, answer, true);
            Vec::new()
        }
    };
    let mut effects = model.request("", ("POST", PATH.to_owned()), body, taken);
    if effects.is_empty() {
        return effects;
    }
    let watch = model.watch(&format!("{PATH}/{id}"), |model, answer| {
        let id = model.composer.sent.as_ref().map(|sent| sent.request.id.clone()).unwrap_or_default();
        take(model, &id, answer, false);
    });
    let number = if let Effect::Watch { number, .. } = &watch { Some(*number) } else { None };
    let old = model.composer.sent.as_mut().and_then(|sent| sent.watch.take());
    effects.extend(old.into_iter().flat_map(|old| model.unwatch(old)));
    let at = model.now.mono;
    let sent = SentCommand { request, states: Vec::new(), document: None, problem: None, at, watch: number };
    (model.composer.sent, model.composer.stage) = (Some(sent), Stage::Sent);
    effects.push(watch);
    effects
}

/// Takes an answer about a command. The watch may see it before it is in the journal: that is no refusal.
fn take(model: &mut Model, id: &str, answer: &Answer, is_answer: bool) {
    let now = model.now.mono;
    let Some(sent) = model.composer.sent.as_mut().filter(|sent| sent.request.id == id) else { return };
    match answer.document::<CommandDocument>() {
        Ok(document) => sent.take(document, now),
        Err(fault) if is_answer && sent.document.as_ref().is_none_or(|known| !known.state.is_final()) => {
            sent.problem = Some(fault.0);
        }
        Err(_) => {}
    }
}

/// The same command under the same id, if nothing is known of it: the rover does it once.
pub(super) fn repeat(model: &mut Model) -> Vec<Effect> {
    let sent = model.composer.sent.as_ref().filter(|sent| sent.problem.is_some());
    match sent.map(|sent| sent.request.clone()) {
        Some(request) => submit(model, request),
        None => Vec::new(),
    }
}

pub(super) fn toggle_kept(model: &mut Model) -> Vec<Effect> {
    let Some(command) = composed(model) else { return Vec::new() };
    let is_kept = model.composer.saved.toggle(command);
    model.notify(
        false,
        if is_kept { "the command is kept" } else { "the command is kept no more" }.to_owned(),
    );
    vec![Effect::SaveCommands(model.composer.saved.text())]
}

/// Fills in an older or newer command to the same target: kept ones, then the last ones.
pub(super) fn recall<const OLDER: bool>(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.composer;
    let Some(target) = &state.target else { return Vec::new() };
    let known: Vec<_> = state.saved.of(target.kind(), &target.name).cloned().collect();
    let next = match (state.recalled, OLDER) {
        (None, true) => Some(0),
        (Some(at), true) => Some((at + 1).min(known.len().saturating_sub(1))),
        (Some(at), false) => at.checked_sub(1),
        (None, false) => None,
    };
    let Some(command) = next.and_then(|at| known.get(at)) else { return Vec::new() };
    let body = match target.form_type() {
        Some(_) => command.body.clone(),
        None => {
            let first = command.body.as_object().and_then(|body| body.iter().next());
            first.map_or_else(
                Default::default,
                |(name, value)| serde_json::json!({"name": name, "value": value}),
            )
        }
    };
    state.form.fill(&body);
    state.recalled = next;
    Vec::new()
}
