//! Lines below the header: the emergency stop first, then the links or the newest notification.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use roverline_client::{EndpointView, LinkState};

use crate::format;
use crate::model::{Model, Serving, StopCommand, StopState};
use crate::theme::Theme;
use crate::widget::{put, rule};

/// While the endpoint in use is not silent, an answer is expected within this time.
const ANSWER_TIME: Duration = Duration::from_secs(1);

type Line = (String, Style);

/// Draws the messages, or a thin rule if there are none; returns how many lines they take.
pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) -> u16 {
    let stop = command(model, theme).or_else(|| state(model, theme));
    let other = links(model, theme).or_else(|| notification(model, theme));
    let lines: Vec<Line> = stop.into_iter().chain(other).chain(redundancy(model, theme)).collect();
    if lines.is_empty() {
        rule(buf, area.x, area.y, area.right(), theme.faint);
        return 1;
    }
    for ((text, style), y) in lines.iter().zip(area.y..) {
        buf.set_style(Rect { y, height: 1, ..area }, *style);
        put(buf, area.x + 1, y, area.width - 2, text, *style);
    }
    lines.len() as u16
}

/// The operator's own stop or release: until the rover has heard a stop, and a while after an answer.
fn command(model: &Model, theme: &Theme) -> Option<Line> {
    let command = model.shown_command()?;
    let word = if command.engage { "stop" } else { "release" };
    let refused = match &command.answer {
        Some(answer) if answer.accepted => {
            return Some((format!("✓ {word} accepted: {}", answer.message), theme.strong));
        }
        Some(answer) => Some(&answer.message),
        None => None,
    };
    Some(match refused {
        Some(why) if command.engage => {
            (format!("✗ stop REFUSED, use the red button: {why}"), theme.alarm_fill)
        }
        Some(why) => (format!("✗ release REFUSED: {why}"), theme.alarm_fill),
        None if is_expected(model, command) => {
            (format!("… {word} sent, waiting for an answer"), theme.caution)
        }
        None if command.engage => {
            let at = format::clock(command.asked_ns);
            (format!("✗ {at} stop asked, not yet heard by the rover: use the red button"), theme.alarm_fill)
        }
        None => ("✗ release NOT ANSWERED: it is not sent again".to_owned(), theme.alarm_fill),
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
    match model.stop_state() {
        StopState::Unknown { engaged, since } if !model.network.is_connected() => {
            let was = if engaged { "engaged" } else { "released" };
            let text = format!("■ emergency stop unknown since {}, it was {was}", clock(model, since));
            Some((text, if engaged { theme.alarm_fill } else { theme.caution }))
        }
        _ => None,
    }
}

/// The stop in a few words, for a terminal that is too small for more.
pub(super) fn short_stop(model: &Model, theme: &Theme) -> Line {
    if let Some(stop) = model.unheard_stop() {
        let word = if stop.answer.is_some() { "REFUSED" } else { "NOT HEARD" };
        return (format!("✗ stop {word}: RED BUTTON"), theme.alarm_fill);
    }
    match model.stop_state() {
        StopState::Engaged => ("■ E-STOP ENGAGED".to_owned(), theme.alarm),
        StopState::Unknown { engaged, since } => {
            let was = if engaged { "■ E-STOP, " } else { "stop " };
            (format!("{was}unknown since {}", clock(model, since)), theme.caution)
        }
        StopState::Never | StopState::Released => ("! stops the rover".to_owned(), theme.dim),
    }
}

/// Wall clock time of a moment.
fn clock(model: &Model, at: Duration) -> String {
    let ago = i64::try_from(model.now.since(at).as_nanos()).unwrap_or(i64::MAX);
    format::clock(model.now.wall_ns.saturating_sub(ago))
}

fn links(model: &Model, theme: &Theme) -> Option<Line> {
    let now = model.now;
    match model.network.serving(now) {
        Serving::AllDown(since) => {
            let (age, why) = (format::age(since), cause(model).unwrap_or("is it the radio?"));
            Some((format!("✗ all endpoints down for {age}: {why} Values keep their age"), theme.alarm_fill))
        }
        Serving::NeverReached => {
            let why = cause(model).unwrap_or("is the gateway running, and the address right?");
            Some((format!("✗ no endpoint answers: {why} Trying again"), theme.caution))
        }
        Serving::By(_) | Serving::Connecting => {
            let failover = model.network.recent(now)?;
            let from = model.network.short_name_of(failover.from.as_deref()?);
            let to = model.network.short_name_of(failover.to.as_deref()?);
            let blackout = failover
                .blackout
                .map_or_else(String::new, |time| format!(", {} without data", format::millis(time)));
            Some((
                format!("↻ now on {to}; {from} was left: {}{blackout}", failover.cause.word()),
                theme.caution,
            ))
        }
    }
}

/// Why no endpoint can be reached, if their errors say so.
fn cause(model: &Model) -> Option<&'static str> {
    let says = |words: &str| {
        let errors = model.network.endpoints.iter().map(|endpoint| endpoint.last_error.as_deref());
        errors.map(|error| error.is_some_and(|error| error.contains(words))).collect::<Vec<_>>()
    };
    let (refused, full) = (says("refused"), says("full"));
    if !refused.is_empty() && refused.iter().all(|refused| *refused) {
        return Some("the computer answers, and nothing listens there: is the gateway running?");
    }
    full.contains(&true).then_some("an endpoint is full.")
}

/// The endpoints that are down while another one serves, as long as they are.
fn redundancy(model: &Model, theme: &Theme) -> Option<Line> {
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
    let text = format!("◐ {left} of {} endpoints left, down: {}", endpoints.len(), down.join(", "));
    (!down.is_empty()).then_some((text, style))
}

fn notification(model: &Model, theme: &Theme) -> Option<Line> {
    let notification = model.notification.as_ref()?;
    let (glyph, style) = if notification.serious { ("▲", theme.caution) } else { ("i", theme.screen) };
    Some((format!("{glyph} {}", notification.text), style))
}
