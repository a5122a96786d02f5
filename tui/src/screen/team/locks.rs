//! Locks: taking, releasing, waiting, handing over, and taking away.

use std::time::Duration;

use roverline_protocol::api::locks::{
    AcquireBody, ForceRelease, HandoverAnswer, HandoverBody, HandoverOutcome, LockClient, LockClientStatus,
    LockType,
};
use serde::Serialize;
use serde_json::Value;

use crate::effect::Effect;
use crate::format::{self, escape};
use crate::model::{Answer, Form, Model, QuestionKind};
use crate::screen::team::model::{LOCK_TTL_MS, OwnLock, Pane, RowName, USUAL_LOCKS};

/// Time between two signs of life of a lock: two may be lost.
const RENEW_EVERY: Duration = Duration::from_millis(LOCK_TTL_MS / 3);
/// Time the holder has for an answer, milliseconds.
const HANDOVER_WAIT_MS: u64 = 30_000;

fn body(value: &impl Serialize) -> Option<Value> {
    serde_json::to_value(value).ok()
}

fn path(resource: &str, operation: &str) -> (&'static str, String) {
    ("POST", format!("/api/v2/locks/{}/{operation}", escape(resource)))
}

/// The selected lock.
fn selected(model: &Model) -> Option<String> {
    let row = model.screens.team.selected();
    (row.pane == Pane::Locks && !row.name.is_empty()).then_some(row.name)
}

/// `ann@base` of the identity `ann`; `ann (bob@base)` if it calls itself so.
pub(super) fn who(by: Option<&str>, client: &str) -> String {
    match by {
        Some(by) if by == client || client.strip_prefix(by).is_some_and(|rest| rest.starts_with('@')) => {
            format::printable(client)
        }
        // An address says less than the name.
        Some(by) if format::is_address(by) => format::printable(client),
        Some(by) => format::printable(&format!("{by} ({client})")),
        None => format::printable(client),
    }
}

/// Takes a free lock, returns an own one or the place in its queue, and asks for one that another has.
pub(super) fn take_or_release(model: &mut Model) -> Vec<Effect> {
    let Some(resource) = selected(model) else { return Vec::new() };
    let lock = model.screens.team.lock(&resource);
    let is_own = lock.is_some_and(|lock| model.own().holds(lock) || model.own().waits(lock));
    match lock {
        Some(_) if is_own => release(model, &resource),
        Some(lock) if !lock.holders.is_empty() => open_handover(model),
        _ => acquire(model, &resource, Some(0)),
    }
}

/// Takes the lock `drive` if it is free, returns it if it is ours, and asks for it otherwise.
pub fn drive(model: &mut Model) -> Vec<Effect> {
    if model.rewind.is_some() {
        model.notify(true, "no lock is taken in the past: Esc is now".to_owned());
        return Vec::new();
    }
    let before = std::mem::replace(
        &mut model.screens.team.cursor,
        RowName { pane: Pane::Locks, name: USUAL_LOCKS[0].to_owned() },
    );
    let effects = take_or_release(model);
    model.screens.team.cursor = before;
    effects
}

fn acquire(model: &mut Model, resource: &str, wait_ms: Option<u64>) -> Vec<Effect> {
    let client = model.client.clone();
    let wish = AcquireBody { client, mode: LockType::Exclusive, ttl_ms: LOCK_TTL_MS, wait_ms };
    let (name, sent) = (resource.to_owned(), model.now.mono);
    model.request(
        &format!("take {resource}"),
        path(resource, "acquire"),
        body(&wish),
        move |model, answer| {
            match answer.document::<LockClientStatus>() {
                Ok(LockClientStatus::Held { token }) => {
                    keep(model, &name, sent);
                    model.notify(false, format!("you have {} (token {token})", format::printable(&name)));
                }
                Ok(LockClientStatus::Waiting { place }) => {
                    keep(model, &name, sent);
                    model.notify(false, format!("{}: you wait, place {place}", format::printable(&name)));
                }
                Ok(LockClientStatus::Gone { .. }) => {
                    let text =
                        format!("{} is held by somebody else → h asks for it", format::printable(&name));
                    model.notify(true, text);
                }
                Err(_) => {}
            }
            Vec::new()
        },
    )
}

/// From now on the lock is kept alive.
fn keep(model: &mut Model, resource: &str, sent: Duration) {
    model.screens.team.own.insert(resource.to_owned(), OwnLock { renewed: sent, sent });
}

pub(super) fn wait(model: &mut Model) -> Vec<Effect> {
    let Some(resource) = selected(model) else { return Vec::new() };
    let lock = model.screens.team.lock(&resource);
    if lock.is_some_and(|lock| model.own().holds(lock) || model.own().waits(lock)) {
        return Vec::new();
    }
    acquire(model, &resource, None)
}

/// Gives a lock back, or the place in its queue.
pub fn release(model: &mut Model, resource: &str) -> Vec<Effect> {
    model.screens.team.own.remove(resource);
    let request = LockClient { client: model.client.clone() };
    let name = format::printable(resource);
    model.request(
        &format!("release {resource}"),
        path(resource, "release"),
        body(&request),
        move |model, answer| {
            if answer.is_ok() {
                model.notify(false, format!("{name} is released"));
            }
            Vec::new()
        },
    )
}

/// Asks the holder, with a message.
pub(super) fn open_handover(model: &mut Model) -> Vec<Effect> {
    let Some(resource) = selected(model) else { return Vec::new() };
    let Some(lock) = model.screens.team.lock(&resource).filter(|lock| !lock.holders.is_empty()) else {
        return acquire(model, &resource, Some(0));
    };
    if model.own().holds(lock) {
        return Vec::new();
    }
    let holders: Vec<String> =
        lock.holders.iter().map(|holder| who(holder.by.as_deref(), &holder.client)).collect();
    let name = format::printable(&resource);
    let lines = vec![
        format!("{name} is held by {}.", holders.join(", ")),
        "Your message goes with the request; the answer may take 30 s.".to_owned(),
    ];
    let mut form =
        Form::text(&format!("Ask for {name}?"), lines, "Message", vec![resource], |model, form, typed| {
            let Some(resource) = form.subject.first() else { return Vec::new() };
            request_handover(model, resource, typed)
        });
    form.may_be_empty = true;
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

fn request_handover(model: &mut Model, resource: &str, message: &str) -> Vec<Effect> {
    let wish = HandoverBody {
        client: model.client.clone(),
        message: message.to_owned(),
        ttl_ms: LOCK_TTL_MS,
        wait_ms: HANDOVER_WAIT_MS,
    };
    let (resource, sent) = (resource.to_owned(), model.now.mono);
    let (method, path) = path(&resource, "handover");
    // Who asks waits in the queue as well, and is kept there.
    keep(model, &resource, sent);
    model.notify(false, format!("{}: asked for, waiting for the holder", format::printable(&resource)));
    model.request(&format!("ask for {resource}"), (method, path), body(&wish), move |model, answer| {
        let name = format::printable(&resource);
        match answer.document::<HandoverOutcome>() {
            Ok(HandoverOutcome::Granted { token }) => {
                keep(model, &resource, model.now.mono);
                model.notify(false, format!("you have {name} (token {token})"));
            }
            Ok(HandoverOutcome::Refused { reason }) => {
                let why = format::printable(&reason);
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                model.notify(true, format!("{name} is not handed over{why}; you wait in its queue"));
            }
            Ok(HandoverOutcome::Unanswered) => {
                model.notify(true, format!("{name}: no answer within 30 s; you wait in its queue"));
            }
            Err(_) => {
                model.screens.team.own.remove(&resource);
            }
        }
        Vec::new()
    })
}

/// Opens the question whether to hand over to who asks.
pub(super) fn open_grant(model: &mut Model) -> Vec<Effect> {
    open_answer(model, true)
}

/// Opens the question why the lock is kept.
pub(super) fn open_refusal(model: &mut Model) -> Vec<Effect> {
    open_answer(model, false)
}

fn open_answer(model: &mut Model, grant: bool) -> Vec<Effect> {
    let own = model.own();
    let Some((resource, request)) = model.screens.team.request_to(own) else { return Vec::new() };
    let name = format::printable(resource);
    let asker = who(request.by.as_deref(), &request.client);
    let mut lines = vec![format!("{asker} asks for {name}.")];
    if !request.message.is_empty() {
        lines.push(format!("\"{}\"", format::printable(&request.message)));
    }
    let subject = vec![resource.to_owned(), request.client.clone(), request.by.clone().unwrap_or_default()];
    let form = match grant {
        true => {
            lines.push("It is theirs at once, and your token is not valid any more.".to_owned());
            Form::yes_or_no(&format!("Hand {name} over?"), lines, subject, |model, form, _| {
                answer_handover(model, form, true, "")
            })
        }
        false => {
            let confirmed =
                |model: &mut Model, form: &Form, typed: &str| answer_handover(model, form, false, typed);
            let form = Form::text(&format!("Keep {name}?"), lines, "Why", subject, confirmed);
            Form { may_be_empty: true, ..form }
        }
    };
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

fn answer_handover(model: &mut Model, form: &Form, grant: bool, reason: &str) -> Vec<Effect> {
    let [resource, client, by] = form.subject.as_slice() else { return Vec::new() };
    let answer = HandoverAnswer {
        holder: model.client.clone(),
        client: client.clone(),
        by: Some(by.clone()).filter(|by| !by.is_empty()),
        grant,
        reason: reason.to_owned(),
    };
    if grant {
        model.screens.team.own.remove(resource);
    }
    let what = format!("answer about {resource}");
    let (name, asker) = (format::printable(resource), format::printable(client));
    model.request(&what, path(resource, "handover/answer"), body(&answer), move |model, answer| {
        if answer.is_ok() {
            let done = if grant { format!("{name} is {asker}'s now") } else { format!("you keep {name}") };
            model.notify(false, done);
        }
        Vec::new()
    })
}

/// Opens the question why a lock is taken away.
pub(super) fn open_force(model: &mut Model) -> Vec<Effect> {
    let Some(resource) = selected(model) else { return Vec::new() };
    let Some(holder) = model.screens.team.lock(&resource).and_then(|lock| lock.holders.first()) else {
        return Vec::new();
    };
    let name = format::printable(&resource);
    let owner = who(holder.by.as_deref(), &holder.client);
    let lines = vec![
        format!("{owner} loses {name} at once, and gets to see who took it and why."),
        "It goes to who waits first; nobody is asked. A commander may.".to_owned(),
    ];
    let subject = vec![resource.clone(), holder.client.clone(), holder.by.clone().unwrap_or_default()];
    let form = Form::text(&format!("Take {name} away?"), lines, "Reason", subject, force);
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

fn force(model: &mut Model, form: &Form, reason: &str) -> Vec<Effect> {
    let [resource, client, by] = form.subject.as_slice() else { return Vec::new() };
    let request = ForceRelease {
        client: client.clone(),
        by: Some(by.clone()).filter(|by| !by.is_empty()),
        reason: reason.to_owned(),
    };
    let (name, owner) = (format::printable(resource), format::printable(client));
    let what = format!("take {resource} away");
    model.request(&what, path(resource, "force-release"), body(&request), move |model, answer| {
        if answer.is_ok() {
            model.notify(false, format!("{name} was taken from {owner}"));
        }
        Vec::new()
    })
}

/// Sends the signs of life that are due.
pub(super) fn keep_alive(model: &mut Model) -> Vec<Effect> {
    let now = model.now;
    if !model.network.is_connected() {
        return Vec::new();
    }
    let own = &mut model.screens.team.own;
    let due: Vec<String> = own
        .iter_mut()
        .filter(|(_, lock)| now.since(lock.sent) >= RENEW_EVERY)
        .map(|(resource, lock)| {
            lock.sent = now.mono;
            resource.clone()
        })
        .collect();
    due.into_iter().flat_map(|resource| renew(model, resource)).collect()
}

fn renew(model: &mut Model, resource: String) -> Vec<Effect> {
    let request = LockClient { client: model.client.clone() };
    let (at, sent) = (path(&resource, "keep-alive"), model.now.mono);
    model.request("", at, body(&request), move |model, answer| {
        renewed(model, &resource, sent, answer);
        Vec::new()
    })
}

fn renewed(model: &mut Model, resource: &str, sent: Duration, answer: &Answer) {
    let own = &mut model.screens.team.own;
    match answer.status {
        200..300 => {
            if let Some(lock) = own.get_mut(resource) {
                lock.renewed = lock.renewed.max(sent);
            }
        }
        // It is somebody else's, or nobody's; the reason says who took it.
        400..500 if own.remove(resource).is_some() => {
            let text = format!("you lost {}: {}", format::printable(resource), answer.reason());
            model.notify(true, text);
        }
        // Nothing is known: the next one is due soon.
        _ => {}
    }
}

/// The list of locks has changed: a lock that we neither have nor wait for is kept alive no longer.
pub(super) fn changed(model: &mut Model) {
    let (now, client) = (model.now, model.client.clone());
    let own = crate::screen::team::model::Own { client: &client, identity: model.network.identity() };
    let state = &model.screens.team;
    let gone: Vec<String> = state
        .own
        .iter()
        // One that was just asked for is not in the list yet.
        .filter(|(_, lock)| now.since(lock.renewed) > Duration::from_secs(2))
        .filter(|(name, _)| state.lock(name).is_none_or(|lock| !own.holds(lock) && !own.waits(lock)))
        .map(|(name, _)| name.clone())
        .collect();
    for name in gone {
        // The next sign of life is refused, and the refusal says who took it and why.
        if let Some(lock) = model.screens.team.own.get_mut(&name) {
            lock.sent = Duration::ZERO;
        }
    }
}
