//! Queues: their first messages, and enqueue, redrive and purge.

use roverline_protocol::api::queues::{
    CountDocument, DeadDocument, Enqueue, EnqueueDocument, EnqueuedMessage, PeekDocument, Purge, Redrive,
};
use serde_json::Value;

use crate::effect::Effect;
use crate::format::{self, escape};
use crate::model::{Answer, Form, Model, QuestionKind};

/// Most characters of a message that is typed.
const MESSAGE_CHARS: usize = 2_000;

fn path(queue: &str, operation: &str) -> String {
    format!("/api/v2/queues/{}/{operation}", escape(queue))
}

/// Reads the first messages of the selected queue, after it has changed.
pub(super) fn read_detail(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.team;
    if !state.is_detail_old || !model.network.is_connected() {
        return Vec::new();
    }
    state.is_detail_old = false;
    let Some(queue) = state.selected_queue() else { return Vec::new() };
    if state.detail.queue != queue {
        state.detail = super::model::QueueDetail { queue: queue.clone(), ..Default::default() };
    }
    let (peek, dead) = (path(&queue, "peek?max=1"), path(&queue, "dead?max=1"));
    let of = queue.clone();
    let mut effects = model.request("", ("GET", peek), None, move |model, answer| {
        let detail = &mut model.screens.team.detail;
        if let Ok(found) = answer.document::<PeekDocument>()
            && detail.queue == of
        {
            detail.next = found.messages.into_iter().next();
        }
        Vec::new()
    });
    effects.extend(model.request("", ("GET", dead), None, move |model, answer| {
        let detail = &mut model.screens.team.detail;
        if let Ok(found) = answer.document::<DeadDocument>()
            && detail.queue == queue
        {
            detail.dead = found.messages.into_iter().next();
        }
        Vec::new()
    }));
    effects
}

/// Opens the question for a message.
pub(super) fn open_enqueue(model: &mut Model) -> Vec<Effect> {
    let Some(queue) = model.screens.team.selected_queue() else { return Vec::new() };
    let title = format!("Enqueue to {}", format::printable(&queue));
    let lines = vec!["Any JSON; a text that is none is sent as a string.".to_owned()];
    open_form(
        model,
        Form::text(&title, lines, "Message", vec![queue], |model, form, typed| {
            let Some(queue) = form.subject.first() else { return Vec::new() };
            enqueue(model, queue, typed)
        }),
    )
}

/// Opens the question for a queue and a message.
pub(super) fn open_new(model: &mut Model) -> Vec<Effect> {
    let lines = vec!["The name of a queue, then any JSON: waypoints {\"x\": 3, \"y\": 4}".to_owned()];
    open_form(
        model,
        Form::text("Enqueue a message", lines, "Queue, message", Vec::new(), |model, _, typed| {
            match typed.split_once(' ') {
                Some((queue, message)) => enqueue(model, queue, message.trim()),
                None => {
                    model.notify(
                        true,
                        "nothing was sent: a queue's name and a message belong there".to_owned(),
                    );
                    Vec::new()
                }
            }
        }),
    )
}

fn open_form(model: &mut Model, form: Form) -> Vec<Effect> {
    model.open_question(QuestionKind::Other(Form { max_chars: MESSAGE_CHARS, ..form }));
    Vec::new()
}

/// JSON, or a string where it is none.
pub(super) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Enqueues a message, once, however often the request arrives.
pub fn enqueue(model: &mut Model, queue: &str, message: &str) -> Vec<Effect> {
    let dedup_id = Some(format!("{}-{:x}", model.client.replace('/', "-"), model.now.wall_ns));
    let message = EnqueuedMessage { message: value(message), priority: 0, delay_ms: None, dedup_id };
    let body = serde_json::to_value(Enqueue { messages: vec![message] }).ok();
    let (what, name) = (format!("enqueue to {queue}"), format::printable(queue));
    model.request(&what, ("POST", path(queue, "enqueue")), body, move |model, answer| {
        if answer.document::<EnqueueDocument>().is_ok() {
            model.notify(false, format!("the message is in {name}"));
        }
        Vec::new()
    })
}

/// Opens the question whether to put dead messages back.
pub(super) fn open_redrive(model: &mut Model) -> Vec<Effect> {
    let Some(queue) = model.screens.team.selected_queue() else { return Vec::new() };
    let queues = model.screens.team.queues.value.iter().flat_map(|list| &list.queues);
    let dead = queues.filter(|one| one.name == queue).map(|one| one.dead).sum::<usize>();
    let name = format::printable(&queue);
    if dead == 0 {
        model.notify(false, format!("{name} has no dead messages"));
        return Vec::new();
    }
    let lines = vec![format!("{dead} dead messages are tried again, from the first try on.")];
    let form = Form::yes_or_no(&format!("Redrive {name}?"), lines, vec![queue], |model, form, _| {
        let Some(queue) = form.subject.first() else { return Vec::new() };
        let body = serde_json::to_value(Redrive::default()).ok();
        let what = format!("redrive {queue}");
        let name = format::printable(queue);
        model.request(&what, ("POST", path(queue, "redrive")), body, move |model, answer| {
            count(model, answer, &format!("of {name} are tried again"))
        })
    });
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

/// Opens the question why all messages are deleted.
pub(super) fn open_purge(model: &mut Model) -> Vec<Effect> {
    let Some(queue) = model.screens.team.selected_queue() else { return Vec::new() };
    let name = format::printable(&queue);
    let lines = vec![format!("All messages of {name} are deleted, dead ones as well. A commander may.")];
    let form = Form::text(&format!("Purge {name}?"), lines, "Reason", vec![queue], |model, form, typed| {
        let Some(queue) = form.subject.first() else { return Vec::new() };
        let body = serde_json::to_value(Purge { dead: true, reason: Some(typed.to_owned()) }).ok();
        let what = format!("purge {queue}");
        let name = format::printable(queue);
        model.request(&what, ("POST", path(queue, "purge")), body, move |model, answer| {
            count(model, answer, &format!("of {name} are deleted"))
        })
    });
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

fn count(model: &mut Model, answer: &Answer, done: &str) -> Vec<Effect> {
    if let Ok(count) = answer.document::<CountDocument>() {
        model.notify(false, format!("{} messages {done}", count.messages));
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_a_string() {
        assert_eq!(value("{\"x\": 1}"), serde_json::json!({"x": 1}));
        assert_eq!(value("north gate"), serde_json::json!("north gate"));
    }
}
