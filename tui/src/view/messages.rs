//! Messages of line 2, each in several wordings: the stop, the links, alarms, notifications.

use std::time::Duration;

use ratatui::style::Style;
use roverline_client::{EndpointView, LinkState};
use roverline_protocol::api::alarms::AlarmDocument;
use unicode_width::UnicodeWidthStr;

use crate::format;
use crate::model::{Model, Serving, StopCommand, StopState};
use crate::overview_rows::{self, AlarmLevel, Row};
use crate::screen::alarms::model::URGENT;
use crate::theme::Theme;

/// While the endpoint in use is not silent, an answer is expected within this time.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// A text in several wordings, the longest first, and its style.
pub(super) type Line = (Vec<String>, Style);

fn line(text: String, style: Style) -> Line {
    (vec![text], style)
}

/// What the operator must see of the stop: the own command, an engaged one, or that nothing is known any more.
pub(super) fn stop(model: &Model, theme: &Theme) -> Option<Line> {
    command(model, theme).or_else(|| engaged(model, theme)).or_else(|| state(model, theme))
}

/// The stop while all is well.
pub(super) fn quiet_stop(model: &Model, theme: &Theme) -> Option<Line> {
    if stop(model, theme).is_some() {
        return None;
    }
    Some(match model.stop_state() {
        StopState::Never => line("? stop state never received".to_owned(), theme.dim),
        _ => line("○ stop released".to_owned(), theme.dim),
    })
}

fn engaged(model: &Model, theme: &Theme) -> Option<Line> {
    if model.stop_state() != StopState::Engaged {
        return None;
    }
    let since = model.rover.stop_since.map(|at| format::age(model.now.since(at)));
    let since = since.map_or_else(String::new, |since| format!(" for {since}"));
    let wordings = vec![
        format!("■ EMERGENCY STOP ENGAGED{since}   R releases"),
        format!("■ EMERGENCY STOP ENGAGED{since}"),
        "■ E-STOP ENGAGED".to_owned(),
    ];
    Some((wordings, theme.alarm_fill))
}

/// That nothing on the screen is now.
pub(super) fn past(model: &Model, theme: &Theme) -> Option<Line> {
    let rewind = model.rewind.as_ref()?;
    let (first, _) = model.history.span()?;
    let back = format::age(rewind.at.saturating_sub(first));
    if rewind.is_frozen {
        let age = format::age(model.now.since(rewind.at));
        let wordings = vec![
            format!(
                "FROZEN {age} ago. Nothing here is now. Space or Esc back to now; ← and → into the last half hour"
            ),
            format!("FROZEN {age} ago. Nothing here is now. Space back to now"),
            format!("FROZEN {age} ago. Space: now"),
        ];
        return Some((wordings, theme.replay));
    }
    let wordings = vec![
        format!(
            "REPLAY of this console's last half hour. Nothing here is now. Esc back to now; {back} further back"
        ),
        format!("REPLAY. Nothing here is now. Esc back to now; {back} further back"),
        "REPLAY, not now. Esc: now".to_owned(),
    ];
    Some((wordings, theme.replay))
}

fn wordings(model: &Model, alarm: &AlarmDocument) -> Vec<String> {
    let sign = if alarm.severity >= URGENT { "■" } else { "▲" };
    let (name, text) = (format::printable(&alarm.name), format::printable(&alarm.text));
    let age = format::age(model.now.since_wall(alarm.raised_ns));
    let over = if alarm.latched { " (over)" } else { "" };
    vec![format!("{sign} {name} {text}{over}  {age}"), format!("{sign} {name}{over}")]
}

/// A request for one of our locks.
pub(super) fn request(model: &Model, theme: &Theme) -> Option<Line> {
    let (resource, request) = model.screens.team.request_to(model.own())?;
    let (name, asker) = (format::printable(resource), format::printable(&request.client));
    let message = match request.message.as_str() {
        "" => String::new(),
        text => format!(": \"{}\"", format::printable(text)),
    };
    let wordings = vec![
        format!("? {asker} asks for {name}{message} → Team, y or n"),
        format!("? {asker} asks for {name} → Team"),
    ];
    Some((wordings, theme.caution))
}

/// How long a new alarm stands out.
const NEWS: Duration = Duration::from_secs(2);

/// Alarms that wait for an acknowledgement, the worst first; values that this console finds abnormal, if the gateway
/// evaluates no alarms.
pub(super) fn alarms(model: &Model, theme: &Theme) -> Vec<Line> {
    let state = &model.screens.alarms;
    if state.list.value.is_some() && model.network.is_connected() {
        let is_new = state.news.is_some_and(|at| model.now.since(at) < NEWS);
        let style = |alarm: &AlarmDocument| match alarm.severity >= URGENT {
            _ if is_new => theme.alarm_fill,
            true => theme.alarm,
            false => theme.caution,
        };
        return state.unacknowledged().map(|alarm| (wordings(model, alarm), style(alarm))).collect();
    }
    let style = |level| if level == AlarmLevel::Alarm { theme.alarm } else { theme.caution };
    let text = |row: &Row| format!("{}{} {}", row.tone.mark(), row.label, row.value);
    overview_rows::abnormal(model).iter().map(|row| line(text(row), style(row.tone))).collect()
}

/// The longest wording that fits, or the shortest one.
pub(super) fn fitting(wordings: &[String], width: u16) -> &str {
    let fits = |text: &&String| text.width() <= usize::from(width);
    wordings.iter().find(fits).or(wordings.last()).map_or("", String::as_str)
}

/// The operator's own stop or release: until the rover has heard a stop, and a while after an answer.
fn command(model: &Model, theme: &Theme) -> Option<Line> {
    let command = model.shown_command()?;
    let word = if command.engage { "stop" } else { "release" };
    let refused = match &command.answer {
        Some(answer) if answer.accepted => {
            return Some(line(format!("✓ {word} accepted: {}", answer.message), theme.strong));
        }
        Some(answer) => Some(&answer.message),
        None => None,
    };
    Some(match refused {
        Some(why) if command.engage => {
            let wordings = vec![
                format!("✗ stop REFUSED, use the red button: {why}"),
                "✗ RED BUTTON: stop REFUSED".to_owned(),
            ];
            (wordings, theme.alarm_fill)
        }
        Some(why) => line(format!("✗ release REFUSED: {why}"), theme.alarm_fill),
        None if is_expected(model, command) => {
            line(format!("… {word} sent, waiting for an answer"), theme.caution)
        }
        None if command.engage => {
            let at = format::clock(command.asked_ns);
            let wordings = vec![
                format!("✗ {at} stop asked, not yet heard by the rover: use the red button"),
                "✗ use the red button: stop not yet heard by the rover".to_owned(),
                "✗ RED BUTTON: stop not heard".to_owned(),
            ];
            (wordings, theme.alarm_fill)
        }
        None => line("✗ release NOT ANSWERED: it is not sent again".to_owned(), theme.alarm_fill),
    })
}

/// Whether the answer may still be on its way.
fn is_expected(model: &Model, command: &StopCommand) -> bool {
    let waited = model.now.since(command.asked);
    match command.engage {
        true => waited < ANSWER_TIME && model.network.is_responsive(),
        false => !command.is_overdue(model),
    }
}

/// A state that was known, and is not any more.
fn state(model: &Model, theme: &Theme) -> Option<Line> {
    if let Some(answer) = model.accepted_without_state() {
        let at = clock(model, answer.at);
        let wordings = vec![
            format!("✓ stop accepted at {at}; the rover's state has not been received since"),
            format!("✓ stop accepted at {at}, no state received since"),
        ];
        return Some((wordings, theme.strong));
    }
    match model.stop_state() {
        StopState::Unknown { engaged, since } => {
            let was = if engaged { "engaged" } else { "released" };
            let since = clock(model, since);
            let wordings = vec![
                format!("■ emergency stop unknown since {since}, it was {was}"),
                format!("■ stop unknown, was {was}"),
            ];
            Some((wordings, if engaged { theme.alarm_fill } else { theme.caution }))
        }
        _ => None,
    }
}

/// The stop in a few words, for a terminal that is too small for more. What to do survives at every size.
pub(super) fn short_stop(model: &Model, theme: &Theme) -> Line {
    if let Some(stop) = model.unheard_stop() {
        let word = if stop.answer.is_some() { "REFUSED" } else { "NOT HEARD" };
        let wordings = vec![
            format!("✗ stop {word}: RED BUTTON"),
            format!("✗ RED BUTTON: {word}"),
            "✗ RED BUTTON".to_owned(),
        ];
        return (wordings, theme.alarm_fill);
    }
    match model.stop_state() {
        StopState::Engaged => line("■ E-STOP ENGAGED".to_owned(), theme.alarm),
        // The answer may be here before the state is.
        _ if model.shown_command().is_some_and(StopCommand::has_engaged)
            || model.accepted_without_state().is_some() =>
        {
            line("✓ stop accepted".to_owned(), theme.strong)
        }
        StopState::Unknown { engaged, since } => {
            let was = if engaged { "■ E-STOP, " } else { "stop " };
            line(format!("{was}unknown since {}", clock(model, since)), theme.caution)
        }
        StopState::Never => line("stop state unknown, ! stops the rover".to_owned(), theme.dim),
        StopState::Released => line("stop released, ! stops the rover".to_owned(), theme.dim),
    }
}

/// Wall clock time of a moment.
fn clock(model: &Model, at: Duration) -> String {
    format::clock(model.now.wall_at(at))
}

pub(super) fn links(model: &Model, theme: &Theme) -> Option<Line> {
    let now = model.now;
    if let Some(full) = full(model, theme) {
        return Some(full);
    }
    match model.network.serving(now) {
        Serving::AllDown(since) => {
            let (why, short) = cause(model).unwrap_or(("is it the radio?", "is it the radio?"));
            let down = format!("✗ all endpoints down for {}:", format::age(since));
            let wordings = vec![
                format!("{down} {why} Values keep their age"),
                format!("{down} {why}"),
                format!("{down} {short}"),
            ];
            Some((wordings, theme.alarm_fill))
        }
        Serving::NeverReached => {
            let asks = "is the gateway running, and the address right?";
            let (why, short) = cause(model).unwrap_or((asks, asks));
            let down = "✗ no endpoint answers:";
            let wordings = vec![
                format!("{down} {why} Trying again"),
                format!("{down} {why}"),
                format!("{down} {short}"),
            ];
            Some((wordings, theme.caution))
        }
        Serving::By(_) | Serving::Connecting => {
            let failover = model.network.recent(now)?;
            let from = model.network.short_name_of(failover.from.as_deref()?);
            let to = model.network.short_name_of(failover.to.as_deref()?);
            let blackout = failover
                .blackout
                .map_or_else(String::new, |time| format!(", {} without data", format::millis(time)));
            let text = format!("↻ now on {to}; {from} was left: {}{blackout}", failover.cause.word());
            Some(line(text, theme.caution))
        }
    }
}

/// The endpoints that answer and have no slot for this console, while no other one serves it.
fn full(model: &Model, theme: &Theme) -> Option<Line> {
    let endpoints = &model.network.endpoints;
    let full = endpoints.iter().filter(|endpoint| endpoint.full).count();
    let is_down = |endpoint: &EndpointView| endpoint.state == LinkState::Down || endpoint.failures > 0;
    // Another one may still answer.
    let is_decided = endpoints.iter().all(|endpoint| endpoint.full || is_down(endpoint));
    if full == 0 || !is_decided || model.network.active().is_some() {
        return None;
    }
    let head = match endpoints.len() {
        all if all == full => "✗ all endpoints are full".to_owned(),
        all => format!("✗ {full} of {all} endpoints are full, the others down"),
    };
    let wordings = vec![
        format!("{head}: no telemetry until another client leaves; ! still stops the rover"),
        format!("{head}: another client has to leave"),
        head,
    ];
    Some((wordings, theme.alarm_fill))
}

/// Why no endpoint can be reached, if all their errors say so; and the same in few words.
fn cause(model: &Model) -> Option<(&'static str, &'static str)> {
    let endpoints = &model.network.endpoints;
    let refuses = |error: &Option<String>| error.as_deref().is_some_and(|error| error.contains("refused"));
    let all_refuse = !endpoints.is_empty() && endpoints.iter().all(|endpoint| refuses(&endpoint.last_error));
    let why = "the computer answers, and nothing listens there: is the gateway running?";
    all_refuse.then_some((why, "is the gateway running?"))
}

/// The endpoints that are down while another one serves, as long as they are.
pub(super) fn redundancy(model: &Model, theme: &Theme) -> Option<Line> {
    let endpoints = &model.network.endpoints;
    if !model.network.is_connected() {
        return None;
    }
    let is_down = |endpoint: &&EndpointView| match endpoint.state {
        LinkState::Down => true,
        LinkState::Connecting => endpoint.failures > 0,
        LinkState::Active | LinkState::Standby | LinkState::Suspect => false,
    };
    let down: Vec<String> =
        endpoints.iter().filter(is_down).map(|endpoint| model.network.short_name_of(&endpoint.url)).collect();
    let left = endpoints.len() - down.len();
    let style = if left == 1 { theme.alarm } else { theme.caution };
    let (all, down_names) = (endpoints.len(), down.join(", "));
    let wordings = vec![
        format!("◐ {left} of {all} endpoints left, down: {down_names}"),
        format!("◐ {left} of {all} left, down: {down_names}"),
    ];
    (!down.is_empty()).then_some((wordings, style))
}

pub(super) fn notification(model: &Model, theme: &Theme) -> Option<Line> {
    let notification = model.notification.as_ref()?;
    let (glyph, style) = if notification.serious { ("▲", theme.caution) } else { ("i", theme.screen) };
    Some(line(format!("{glyph} {}", notification.text), style))
}
