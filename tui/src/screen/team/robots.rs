//! Robots: moving one to a state of its lifecycle.

use roverline_protocol::api::lifecycle::TransitionRequest;
use roverline_protocol::lifecycle::State;

use crate::effect::Effect;
use crate::format::{self, escape};
use crate::model::{Form, Model, QuestionKind};
use crate::screen::team::model::Pane;

/// Opens the question for a state and a reason.
pub(super) fn open_transition(model: &mut Model) -> Vec<Effect> {
    let row = model.screens.team.selected();
    let robots = model.screens.team.robots.value.iter().flat_map(|list| &list.entries);
    let is_selected = |kind: &str, id: &str| row.pane == Pane::Robots && row.name == format!("{kind}/{id}");
    let Some(robot) = robots.into_iter().find(|one| is_selected(&one.kind, &one.id)) else {
        return Vec::new();
    };
    let name = format::printable(&robot.id);
    if robot.kind != "robot" {
        model.notify(false, format!("{name} is an endpoint: its state follows its process"));
        return Vec::new();
    }
    let possible: Vec<&str> = robot.possible.iter().map(|state| state.name()).collect();
    let lines = vec![
        format!("{name} is {}; it can become {}.", robot.state, possible.join(", ")),
        "A state, then the reason: maintenance a new battery".to_owned(),
    ];
    let subject = vec![robot.id.clone()];
    let form = Form::text(&format!("Move {name}"), lines, "State, reason", subject, |model, form, typed| {
        let Some(id) = form.subject.first() else { return Vec::new() };
        transition(model, id, typed)
    });
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

fn transition(model: &mut Model, id: &str, typed: &str) -> Vec<Effect> {
    let (state, reason) = typed.split_once(' ').unwrap_or((typed, ""));
    let (Some(to), false) = (State::named(state), reason.trim().is_empty()) else {
        model.notify(true, "nothing was sent: a state and a reason belong there".to_owned());
        return Vec::new();
    };
    let body = serde_json::to_value(TransitionRequest { to, reason: reason.trim().to_owned() }).ok();
    let name = format::printable(id);
    let request = ("POST", format!("/api/v2/robots/{}/transition", escape(id)));
    model.request(&format!("move {id}"), request, body, move |model, answer| {
        if answer.is_ok() {
            model.notify(false, format!("{name} is {to}"));
        }
        Vec::new()
    })
}
