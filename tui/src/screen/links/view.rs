//! One row per link, and the failover history.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use roverline_client::BreakerState;
use roverline_client::{EndpointView, LinkState};
use roverline_protocol::ScopeSet;
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::HealthStatus;

use crate::format;
use crate::model::{Model, Serving};
use crate::theme::Theme;
use crate::widget::{Align, Cell, Column, below, heading, line, put, put_right};

const fn left(title: &'static str, width: u16) -> Column {
    Column { title, width, align: Align::Left }
}

const fn right(title: &'static str, width: u16) -> Column {
    Column { title, width, align: Align::Right }
}

const NARROW: [Column; 8] = [
    right("#", 1),
    left("TIER", 9),
    left("ADDRESS", 0),
    left("STATE", 12),
    left("HEALTH", 11),
    right("RTT", 7),
    right("LOSS", 6),
    right("CLIENTS", 7),
];

/// For the smallest terminals.
const COMPACT: [Column; 5] =
    [right("#", 1), left("TIER", 9), left("ADDRESS", 0), left("STATE", 12), right("RTT", 8)];

const WIDE: [Column; 13] = [
    right("#", 2),
    left("TIER", 10),
    left("ADDRESS", 22),
    left("STATE", 13),
    left("HEALTH", 12),
    right("RTT", 8),
    right("JITTER", 8),
    right("LOSS", 6),
    right("CLIENTS", 8),
    right("UP", 6),
    right("FAILED", 6),
    right("RECEIVED", 9),
    left("SCOPES", 0),
];

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let wide = area.width >= 150;
    heading(buf, area, "ENDPOINTS", theme.strong, theme.faint);
    let columns: &[Column] = match area.width {
        150.. => &WIDE,
        70.. => &NARROW,
        _ => &COMPACT,
    };
    let titles: Vec<Cell> = columns.iter().map(|c| (c.title.to_owned(), theme.dim)).collect();
    line(buf, below(area, 1), columns, &titles);
    let mut used = 2;
    let endpoints = &model.network.endpoints;
    if endpoints.is_empty() {
        put(buf, area.x, area.y + used, area.width, "none known yet", theme.faint);
        used += 1;
    }
    // The history keeps a few lines, however many endpoints there are.
    let most = area.height.saturating_sub(6);
    for endpoint in endpoints.iter() {
        if used >= most {
            break;
        }
        let cells = cells_for(columns, endpoint, theme);
        line(buf, below(area, used), columns, &cells);
        used += 1;
        used += details(endpoint, theme, below(area, used), wide, buf);
    }
    history(model, theme, below(area, used + 1), buf);
}

fn details(endpoint: &EndpointView, theme: &Theme, area: Rect, wide: bool, buf: &mut Buffer) -> u16 {
    let mut used = 0;
    let width = area.width.saturating_sub(4);
    if !wide && area.height > 0 {
        let text = format!(
            "up {}  jitter {}  failed {}  {}",
            endpoint.connected_for.map_or_else(|| "–".to_owned(), format::age),
            endpoint.jitter.map_or_else(|| "–".to_owned(), format::millis),
            endpoint.failures,
            scopes(endpoint.scopes),
        );
        put(buf, area.x + 2, area.y, width, &text, theme.dim);
        used = 1;
    }
    // Shown only if it is not normal.
    let mut unusual = Vec::new();
    if endpoint.breaker != BreakerState::Closed {
        unusual.push(format!("breaker {}", endpoint.breaker.word()));
    }
    if endpoint.service != ServiceLevel::Full {
        unusual.push(format!("service {}", endpoint.service.word()));
    }
    if endpoint.draining {
        unusual.push("about to restart".to_owned());
    }
    if endpoint.missed > 0 {
        unusual.push(format!("{} missed", endpoint.missed));
    }
    if !unusual.is_empty() && area.height > used {
        let text = format!("└ {}", unusual.join(", "));
        put(buf, area.x + 2, area.y + used, width, &text, theme.caution);
        used += 1;
    }
    // A past error is not shown.
    let trouble = !matches!(endpoint.state, LinkState::Active | LinkState::Standby);
    if let Some(error) = endpoint.last_error.as_ref().filter(|_| trouble && area.height > used) {
        let text = format!("└ {}", format::printable(error));
        put(buf, area.x + 2, area.y + used, width, &text, theme.caution);
        used += 1;
    }
    used
}

fn scopes(scopes: ScopeSet) -> String {
    match scopes {
        _ if scopes.is_empty() => "–".to_owned(),
        ScopeSet::ALL => "all scopes".to_owned(),
        some => some.to_string(),
    }
}

/// Cells by column title: one place defines what each column shows.
fn cells_for(columns: &[Column], endpoint: &EndpointView, theme: &Theme) -> Vec<Cell> {
    let all = cells(endpoint, theme);
    let of = |column: &Column| WIDE.iter().position(|wide| wide.title == column.title);
    columns.iter().filter_map(of).filter_map(|at| all.get(at).cloned()).collect()
}

fn cells(e: &EndpointView, theme: &Theme) -> [Cell; 13] {
    let or_dash = |text: Option<String>| (text.unwrap_or_else(|| "–".to_owned()), theme.screen);
    let (glyph, state_style) = state(e.state, theme);
    let loss = if e.loss >= 0.01 { theme.caution } else { theme.screen };
    let full = e.clients.is_some_and(|(now, most)| now >= most);
    let clients = if full { theme.caution } else { theme.screen };
    [
        (e.rank.to_string(), theme.dim),
        or_dash(e.tier.map(|tier| tier.to_string())),
        (format::address(&e.url).to_owned(), theme.screen),
        (format!("{glyph} {}", e.state.word()), state_style),
        health(e.health, theme),
        or_dash(e.rtt.map(format::millis)),
        or_dash(e.jitter.map(format::millis)),
        (format!("{:.1} %", e.loss * 100.0), loss),
        (e.clients.map_or_else(|| "–".to_owned(), |(now, most)| format!("{now}/{most}")), clients),
        or_dash(e.connected_for.map(format::age)),
        (e.failures.to_string(), theme.screen),
        (e.received.to_string(), theme.screen),
        (scopes(e.scopes), theme.dim),
    ]
}

fn state(state: LinkState, theme: &Theme) -> (&'static str, Style) {
    match state {
        LinkState::Active => ("▶", theme.strong),
        LinkState::Standby => ("◇", theme.screen),
        LinkState::Suspect => ("◐", theme.caution),
        LinkState::Connecting => ("◌", theme.dim),
        LinkState::Down => ("✗", theme.alarm),
    }
}

fn health(health: Option<HealthStatus>, theme: &Theme) -> Cell {
    let Some(health) = health else { return ("–".to_owned(), theme.faint) };
    let (glyph, style) = match health {
        HealthStatus::Healthy => ("●", theme.screen),
        HealthStatus::Degraded => ("▲", theme.caution),
        HealthStatus::Unhealthy | HealthStatus::Down => ("✗", theme.alarm),
    };
    (format!("{glyph} {}", health.word()), style)
}

fn history(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    heading(buf, area, "FAILOVERS (UTC)", theme.strong, theme.faint);
    let history = &model.network.history;
    if history.is_empty() && area.height > 1 {
        put(buf, area.x, area.y + 1, area.width, "none", theme.faint);
    }
    let room = usize::from(area.height.saturating_sub(1));
    let skip = model.screens.links.scroll.min(history.len().saturating_sub(room));
    for (failover, y) in history.iter().skip(skip).zip(area.y + 1..area.bottom()) {
        let name = |url: &Option<String>| match url.as_deref() {
            None => "–".to_owned(),
            Some(url) if area.width < 100 => model.network.short_name_of(url),
            Some(url) => model.network.name_of(url),
        };
        let text = format!(
            "{}  {:<11}  {} → {}",
            format::clock(failover.at_ns),
            failover.cause.word(),
            name(&failover.from),
            name(&failover.to)
        );
        let text = match (failover.replayed, failover.missing) {
            (0, 0) => text,
            (replayed, 0) => format!("{text}  {replayed} replayed"),
            (replayed, missing) => format!("{text}  {replayed} replayed, {missing} lost"),
        };
        let style = if failover.to.is_none() || failover.missing > 0 { theme.caution } else { theme.screen };
        put(buf, area.x, y, area.width.saturating_sub(12), &text, style);
        let blackout = failover.blackout.map_or_else(|| "–".to_owned(), format::millis);
        put_right(buf, area.right(), y, 11, &blackout, theme.screen);
    }
}

const SUMMARY: [Column; 4] = [left("TIER", 9), left("ADDRESS", 0), left("STATE", 12), right("RTT", 8)];
const SUMMARY_NARROW: [Column; 3] = [left("TIER", 0), left("STATE", 12), right("RTT", 8)];
const SUMMARY_ROWS: usize = 8;

/// The links in a few lines, for the overview; returns the lines used.
pub fn summary(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) -> u16 {
    heading(buf, area, "LINKS", theme.strong, theme.faint);
    let columns: &[Column] = if area.width >= 46 { &SUMMARY } else { &SUMMARY_NARROW };
    let mut used = 1;
    for endpoint in model.network.endpoints.iter().take(SUMMARY_ROWS) {
        line(buf, below(area, used), columns, &cells_for(columns, endpoint, theme));
        used += 1;
    }
    let last = match (model.network.serving(model.now), model.network.history.front()) {
        (Serving::Connecting, None) => "connecting".to_owned(),
        (_, None) => "no change of endpoint yet".to_owned(),
        (_, Some(f)) => format!("last change {} UTC, {}", format::clock(f.at_ns), f.cause.word()),
    };
    let at = below(area, used);
    put(buf, at.x, at.y, at.width, &last, theme.faint);
    used + 1
}
