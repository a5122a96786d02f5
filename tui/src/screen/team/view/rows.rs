//! The rows of the Team screen: columns, cells, and the lines below a row.

use std::time::Duration;

use ratatui::style::Style;
use roverline_protocol::api::locks::{LockDocument, LockType};

use crate::format;
use crate::model::Model;
use crate::screen::team::locks::who;
use crate::screen::team::model::{LOCK_TTL_MS, PRESENCE, Pane, RowName};
use crate::screen::team::values::short;
use crate::screen::team::view::doubt;
use crate::theme::Theme;
use crate::widget::{Align, Cell, Column};

/// Messages that wait this long in a queue that nobody works on are worth a word.
const UNTAKEN: Duration = Duration::from_secs(60);
/// Below this width there is room for the first columns only.
const NARROW: u16 = 60;

const fn left(title: &'static str, width: u16) -> Column {
    Column { title, width, align: Align::Left }
}

const fn right(title: &'static str, width: u16) -> Column {
    Column { title, width, align: Align::Right }
}

/// The columns of a pane.
pub(super) fn columns(pane: Pane, width: u16) -> Vec<Column> {
    let is_narrow = width < NARROW;
    match pane {
        Pane::Locks if is_narrow => vec![left("", 10), left("", 0), right("ttl", 5)],
        Pane::Locks => {
            vec![left("", 13), left("holder", 0), right("ttl", 5), left("waiting", 20), right("token", 7)]
        }
        Pane::Queues if is_narrow => vec![left("", 0), right("ready", 5), right("work", 5), right("dead", 5)],
        Pane::Queues => vec![
            left("", 13),
            right("ready", 5),
            right("in work", 7),
            right("later", 5),
            right("dead", 4),
            right("oldest", 6),
            right("in/min", 6),
            right("out/min", 7),
            left("", 0),
        ],
        Pane::Values if is_narrow => vec![left("", 14), left("", 0)],
        Pane::Values => vec![left("", 22), left("", 0), right("version", 7), left("by", 14), right("age", 6)],
        Pane::People if is_narrow => vec![left("", 0), left("", 10)],
        Pane::People => vec![left("", 26), left("looks at", 12), left("holds", 0), right("last sign", 9)],
        Pane::Robots if is_narrow => vec![left("", 0), left("", 13)],
        Pane::Robots => vec![left("", 24), left("", 14), left("", 0), right("since", 6)],
    }
}

/// The heading of a pane, and why it may not be true now.
pub(super) fn title(model: &Model, pane: Pane) -> (String, Option<String>) {
    let state = &model.screens.team;
    let rows = state.rows();
    let count = rows.iter().filter(|row| row.pane == pane).count();
    let held = state.locks.value.as_ref().map_or(0, |list| list.locks.len());
    match pane {
        Pane::Locks => (format!("LOCKS {held}"), doubt(model, &state.locks)),
        Pane::Queues => {
            let total = state.queues.value.as_ref().map_or(0, |list| list.total);
            (format!("QUEUES {total}"), doubt(model, &state.queues))
        }
        Pane::Values => {
            let more = state.values.value.as_ref().is_some_and(|list| list.next.is_some());
            (format!("VALUES {count}{}", if more { "+" } else { "" }), doubt(model, &state.values))
        }
        Pane::People => (format!("PEOPLE {count}"), None),
        Pane::Robots => (format!("ROBOTS {count}"), doubt(model, &state.robots)),
    }
}

/// What an empty pane says.
pub(super) fn empty(model: &Model, pane: Pane) -> &'static str {
    let state = &model.screens.team;
    let has_come = match pane {
        Pane::Locks => state.locks.value.is_some(),
        Pane::Queues => state.queues.value.is_some(),
        Pane::Values | Pane::People => state.values.value.is_some(),
        Pane::Robots => state.robots.value.is_some(),
    };
    if has_come { "none" } else { "not received yet" }
}

/// The cells of a row.
pub(super) fn row(model: &Model, theme: &Theme, name: &RowName, width: u16) -> Vec<Cell> {
    let cells = match name.pane {
        Pane::Locks => lock(model, theme, &name.name, width),
        Pane::Queues => queue(model, theme, &name.name, width),
        Pane::Values => value(model, theme, &name.name, width),
        Pane::People => person(model, theme, &name.name, width),
        Pane::Robots => robot(model, theme, &name.name, width),
    };
    cells.unwrap_or_default()
}

fn lock(model: &Model, theme: &Theme, name: &str, width: u16) -> Option<Vec<Cell>> {
    let state = &model.screens.team;
    let shown = format::printable(name);
    let Some(lock) = state.lock(name) else {
        let free = if state.locks.value.is_some() { "– free" } else { "? not received yet" };
        let mut cells = vec![(shown, theme.screen), (free.to_owned(), theme.dim)];
        cells.resize(5, (String::new(), theme.dim));
        return Some(cells);
    };
    let own = model.own();
    let is_own = own.holds(lock);
    let others = lock.holders.len().saturating_sub(1);
    let first = lock.holders.first();
    let mut holder = match first {
        _ if is_own => "▶ YOU".to_owned(),
        Some(first) => format!("  {}", who(first.by.as_deref(), &first.client)),
        None => "– free".to_owned(),
    };
    if others > 0 {
        holder += &format!(" +{others}");
    }
    if lock.mode == LockType::Shared {
        holder += " shared";
    }
    if own.waits(lock) {
        holder += "  (you wait)";
    }
    let style = if is_own { theme.strong } else { theme.screen };
    let left_ms = state.own.get(name).filter(|_| is_own).map(|own| {
        let gone = model.now.since(own.renewed).as_millis() as u64;
        LOCK_TTL_MS.saturating_sub(gone)
    });
    let ttl = left_ms.map_or_else(|| "–".to_owned(), |ms| format!("{} s", ms / 1_000));
    let ttl_style = if left_ms.is_some_and(|ms| ms < LOCK_TTL_MS / 3) { theme.caution } else { theme.screen };
    let token = first.map_or_else(|| "–".to_owned(), |first| first.token.to_string());
    let ttl = (ttl, ttl_style);
    Some(match width {
        NARROW.. => vec![
            (shown, theme.screen),
            (holder, style),
            ttl,
            (waiting(lock), theme.screen),
            (token, theme.dim),
        ],
        _ => vec![(shown, theme.screen), (holder, style), ttl],
    })
}

fn waiting(lock: &LockDocument) -> String {
    let names = lock.waiting.iter().map(|waiter| who(waiter.by.as_deref(), &waiter.client));
    let names: Vec<String> = names.collect();
    if names.is_empty() { "–".to_owned() } else { names.join(", ") }
}

fn queue(model: &Model, theme: &Theme, name: &str, width: u16) -> Option<Vec<Cell>> {
    let list = model.screens.team.queues.value.as_ref()?;
    let queue = list.queues.iter().find(|queue| queue.name == name)?;
    let number = |n: usize| (n.to_string(), if n == 0 { theme.dim } else { theme.screen });
    let dead = (queue.dead.to_string(), if queue.dead == 0 { theme.dim } else { theme.caution });
    let name = (format::printable(name), theme.screen);
    if width < NARROW {
        return Some(vec![name, number(queue.ready), number(queue.in_flight), dead]);
    }
    let oldest = queue.oldest_ns.map(|at| model.now.since_wall(i64::try_from(at).unwrap_or(i64::MAX)));
    let is_untaken = queue.ready > 0 && queue.in_flight == 0 && oldest.is_some_and(|age| age > UNTAKEN);
    let word = if is_untaken { "▲ nobody takes" } else { "" };
    let age = oldest.map_or_else(|| "–".to_owned(), format::age);
    let rates = model.screens.team.rates.of(&queue.name);
    let rate = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| format::number(rate, 0, ""));
    Some(vec![
        name,
        number(queue.ready),
        number(queue.in_flight),
        number(queue.delayed),
        dead,
        (age, theme.screen),
        (rate(rates.map(|(inward, _)| inward)), theme.screen),
        (rate(rates.map(|(_, outward)| outward)), theme.screen),
        (word.to_owned(), theme.caution),
    ])
}

fn value(model: &Model, theme: &Theme, name: &str, width: u16) -> Option<Vec<Cell>> {
    let list = model.screens.team.values.value.as_ref()?;
    let value = list.keys.iter().find(|value| value.key == name)?;
    let (key, text) = ((format::printable(name), theme.screen), (short(&value.value), theme.screen));
    if width < NARROW {
        return Some(vec![key, text]);
    }
    let by = who(Some(&value.by), value.client.as_deref().unwrap_or(&value.by));
    let age = format::age(model.now.since_wall(value.written_ns));
    let version = if value.expires { "expires".to_owned() } else { value.version.to_string() };
    Some(vec![key, text, (version, theme.dim), (by, theme.dim), (age, theme.dim)])
}

fn person(model: &Model, theme: &Theme, key: &str, width: u16) -> Option<Vec<Cell>> {
    let list = model.screens.team.values.value.as_ref()?;
    let value = list.keys.iter().find(|value| value.key == key)?;
    let name = key.strip_prefix(PRESENCE).unwrap_or(key);
    let own = model.own();
    let is_own = own.is(name, Some(&value.by));
    let mut shown = who(Some(&value.by), name);
    if is_own {
        shown += " (you)";
    }
    let field = |name: &str| value.value.get(name).and_then(serde_json::Value::as_str).unwrap_or("–");
    let screen = (format::printable(field("screen")), theme.screen);
    let person = (shown, if is_own { theme.strong } else { theme.screen });
    if width < NARROW {
        return Some(vec![person, screen]);
    }
    let locks = model.screens.team.locks.value.iter().flat_map(|list| &list.locks);
    let is_holder = |lock: &&LockDocument| {
        lock.holders.iter().any(|holder| holder.client == name && holder.by.as_ref() == Some(&value.by))
    };
    let held: Vec<String> = locks.filter(is_holder).map(|lock| format::printable(&lock.resource)).collect();
    let held = if held.is_empty() { "–".to_owned() } else { held.join(", ") };
    let age = format::age(model.now.since_wall(value.written_ns));
    Some(vec![person, screen, (held, theme.screen), (age, theme.dim)])
}

fn robot(model: &Model, theme: &Theme, name: &str, width: u16) -> Option<Vec<Cell>> {
    let list = model.screens.team.robots.value.as_ref()?;
    let robot = list.entries.iter().find(|robot| format!("{}/{}", robot.kind, robot.id) == name)?;
    use roverline_protocol::lifecycle::State;
    let (mark, style) = match robot.state {
        State::Failed => ("■ ", theme.alarm),
        State::Offline => ("▲ ", theme.caution),
        _ => ("", theme.screen),
    };
    let state = (format!("{mark}{}", robot.state), style);
    let shown = (format::printable(&robot.id), theme.screen);
    if width < NARROW {
        return Some(vec![shown, state]);
    }
    let since = format::age(model.now.since_wall(robot.since_ns));
    Some(vec![shown, state, (format::printable(&robot.reason), theme.dim), (since, theme.dim)])
}

/// The lines below a row.
pub(super) fn details(model: &Model, theme: &Theme, name: &RowName) -> Vec<(String, Style)> {
    match name.pane {
        Pane::Locks => requests(model, theme, &name.name),
        Pane::Queues if model.screens.team.detail.queue == name.name => messages(model, theme),
        _ => Vec::new(),
    }
}

/// Who asks for a lock.
fn requests(model: &Model, theme: &Theme, name: &str) -> Vec<(String, Style)> {
    let own = model.own();
    let lock = model.screens.team.lock(name);
    let is_own = lock.is_some_and(|lock| own.holds(lock));
    let requests = lock.into_iter().flat_map(|lock| &lock.handovers);
    let line = |request: &roverline_protocol::api::locks::HandoverRequest| {
        let asker = who(request.by.as_deref(), &request.client);
        let message = match request.message.as_str() {
            "" => String::new(),
            text => format!("   \"{}\"", format::printable(text)),
        };
        match &request.refused {
            Some(reason) => {
                let why = format::printable(reason);
                (format!("{asker} asked{message}; refused {why}"), theme.dim)
            }
            None if is_own => (format!("? {asker} asks   y hand over  n keep{message}"), theme.caution),
            None => (format!("? {asker} asks{message}"), theme.screen),
        }
    };
    requests.map(line).collect()
}

/// The next and the oldest dead message of the selected queue.
fn messages(model: &Model, theme: &Theme) -> Vec<(String, Style)> {
    let detail = &model.screens.team.detail;
    let ago = |ns: u64| format::age(model.now.since_wall(i64::try_from(ns).unwrap_or(i64::MAX)));
    let mut lines = Vec::new();
    if let Some(next) = &detail.next {
        let by = who(Some(&next.by), next.client.as_deref().unwrap_or(&next.by));
        let text = format!(
            "next  {}  prio {}  by {by}  {} ago",
            short(&next.message),
            next.priority,
            ago(next.enqueued_ns)
        );
        lines.push((text, theme.screen));
    }
    if let Some(dead) = &detail.dead {
        let why = dead.reason.as_deref().map(|why| format!(": \"{}\"", format::printable(why)));
        let text = format!(
            "dead  {}  {} tries{}  {} ago",
            short(&dead.message.message),
            dead.message.deliveries,
            why.unwrap_or_default(),
            ago(dead.dead_ns)
        );
        lines.push((text, theme.caution));
    }
    lines
}
