//! Shared values: changing one that is selected, and putting one under any key.

use roverline_protocol::api::kv::KvWritten;

use crate::effect::Effect;
use crate::format;
use crate::model::{Form, Model, QuestionKind};
use crate::screen::team::model::Pane;
use crate::screen::team::queues::value;
use crate::shared_values::path;

/// Most characters of a value that is typed.
const VALUE_CHARS: usize = 2_000;

/// Opens the question for another value. It is written only if nobody has changed it since.
pub(super) fn open_edit(model: &mut Model) -> Vec<Effect> {
    let row = model.screens.team.selected();
    let values = model.screens.team.values.value.iter().flat_map(|list| &list.keys);
    let Some(document) = values.into_iter().find(|one| one.key == row.name && row.pane == Pane::Values)
    else {
        return Vec::new();
    };
    let lines = vec![
        format!("now, version {}: {}", document.version, short(&document.value)),
        "Any JSON; a text that is none is stored as a string.".to_owned(),
    ];
    let subject = vec![document.key.clone(), document.version.to_string()];
    let title = format!("Change {}", format::printable(&document.key));
    let form = Form::text(&title, lines, "Value", subject, |model, form, typed| {
        let [key, version] = form.subject.as_slice() else { return Vec::new() };
        put(model, key, &format!("?version={version}"), typed)
    });
    model.open_question(QuestionKind::Other(Form { max_chars: VALUE_CHARS, ..form }));
    Vec::new()
}

/// Opens the question for a key and a value.
pub(super) fn open_put(model: &mut Model) -> Vec<Effect> {
    let lines = vec!["A key, then any JSON: mission/goal \"north gate\"".to_owned()];
    let form = Form::text("Put a value", lines, "Key, value", Vec::new(), |model, _, typed| {
        match typed.split_once(' ') {
            Some((key, value)) => put(model, key, "", value.trim()),
            None => {
                model.notify(true, "nothing was written: a key and a value belong there".to_owned());
                Vec::new()
            }
        }
    });
    model.open_question(QuestionKind::Other(Form { max_chars: VALUE_CHARS, ..form }));
    Vec::new()
}

fn put(model: &mut Model, key: &str, query: &str, text: &str) -> Vec<Effect> {
    let (what, name) = (format!("put {key}"), format::printable(key));
    let request = ("PUT", path(key, query));
    model.request(&what, request, Some(value(text)), move |model, answer| {
        if let Ok(written) = answer.document::<KvWritten>() {
            model.notify(false, format!("{name} has version {}", written.version));
        }
        Vec::new()
    })
}

/// Most characters of a value in a line.
const LINE_CHARS: usize = 120;

/// A value in a line.
pub(super) fn short(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::String(text) => format!("\"{text}\""),
        other => other.to_string(),
    };
    format::printable(&format::fit(&text, LINE_CHARS))
}
