//! Line 1, the same on every screen and at every size: screens, alarms, who we are, redundancy, and who serves us.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use roverline_client::{EndpointView, LinkState};
use unicode_width::UnicodeWidthStr;

use crate::format;
use crate::model::{Model, Rewind, Screen, Serving};
use crate::overview_rows;
use crate::theme::Theme;
use crate::widget::put;

/// Widest name of an identity, columns.
const NAME_COLUMNS: usize = 14;
/// How much is said, from everything to the least.
const DETAILS: [Detail; 8] = [
    Detail { tabs: Tabs::Spaced, serving: Words::Long, role: Words::Long },
    Detail { tabs: Tabs::Tight, serving: Words::Long, role: Words::Long },
    Detail { tabs: Tabs::Tight, serving: Words::Middle, role: Words::Long },
    Detail { tabs: Tabs::Tight, serving: Words::Middle, role: Words::Middle },
    Detail { tabs: Tabs::Tight, serving: Words::Short, role: Words::Middle },
    Detail { tabs: Tabs::Numbers, serving: Words::Middle, role: Words::Middle },
    Detail { tabs: Tabs::Current, serving: Words::Middle, role: Words::Middle },
    Detail { tabs: Tabs::Current, serving: Words::Short, role: Words::Short },
];

#[derive(Clone, Copy, PartialEq)]
enum Tabs {
    Spaced,
    Tight,
    /// The current one, and the numbers of the others.
    Numbers,
    /// The current one; the others are counted.
    Current,
}

#[derive(Clone, Copy)]
enum Words {
    Long,
    Middle,
    Short,
}

#[derive(Clone, Copy)]
struct Detail {
    tabs: Tabs,
    serving: Words,
    role: Words,
}

/// A piece of the line.
type Piece = (String, Style);

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let width = |pieces: &[Piece]| pieces.iter().map(|(text, _)| text.width()).sum::<usize>();
    let mut line = (Vec::new(), Vec::new());
    for detail in DETAILS {
        line = (tabs(model, theme, detail.tabs), state(model, theme, detail));
        if width(&line.0) + width(&line.1) + 3 <= usize::from(area.width) {
            break;
        }
    }
    let (tabs, state) = line;
    let mut x = area.x + 1;
    for (text, style) in &tabs {
        x = put(buf, x, area.y, area.right().saturating_sub(x + 1), text, *style);
    }
    let needed = width(&state) as u16;
    let mut x = area.right().saturating_sub(needed + 1).max(x + 1);
    for (text, style) in &state {
        x = put(buf, x, area.y, area.right().saturating_sub(x), text, *style);
    }
}

fn tabs(model: &Model, theme: &Theme, tabs: Tabs) -> Vec<Piece> {
    let text = |screen: Screen| match tabs {
        Tabs::Spaced => format!(" {} {} ", screen.number(), screen.title()),
        _ if screen == model.screen => format!("[{}{}]", screen.number(), screen.title()),
        Tabs::Numbers => format!(" {}", screen.number()),
        _ => format!(" {}{}", screen.number(), screen.title()),
    };
    let style = |screen| if screen == model.screen { theme.selected } else { theme.dim };
    if tabs == Tabs::Current {
        let others = format!("+{}", Screen::ALL.len() - 1);
        return vec![(text(model.screen), theme.selected), (others, theme.dim)];
    }
    Screen::ALL.iter().map(|&screen| (text(screen), style(screen))).collect()
}

/// What is to the right of the screens.
fn state(model: &Model, theme: &Theme, detail: Detail) -> Vec<Piece> {
    let mut pieces = match model.rewind {
        Some(_) => Vec::new(),
        None => alarms(model, theme),
    };
    let mut add = |more: Vec<Piece>| {
        if !more.is_empty() {
            if !pieces.is_empty() {
                pieces.push((" ".to_owned(), theme.screen));
            }
            pieces.extend(more);
        }
    };
    add(identity(model, theme, detail.role));
    match &model.rewind {
        Some(rewind) => add(past(model, rewind, theme)),
        None => {
            add(redundancy(model, theme));
            add(serving(model, theme, detail.serving));
        }
    }
    pieces
}

/// How many alarms are open: those that need attention now, and the others.
fn alarms(model: &Model, theme: &Theme) -> Vec<Piece> {
    let (alarms, cautions) = overview_rows::alarm_counts(model);
    // Without an endpoint it is not known which are open.
    let is_known = model.network.is_connected() || model.screens.alarms.list.value.is_none();
    if !is_known {
        return vec![(format!("?■{alarms}▲{cautions}"), theme.stale)];
    }
    let count = |n: usize, mark: &str, style| (n > 0).then(|| (format!("{mark}{n}"), style));
    count(alarms, "■", theme.alarm).into_iter().chain(count(cautions, "▲", theme.caution)).collect()
}

/// Name and role, as the endpoint sees us; our own name until one has said so.
fn identity(model: &Model, theme: &Theme, words: Words) -> Vec<Piece> {
    let own = model.client.split('@').next().unwrap_or_default();
    let Some(identity) = model.network.identity() else {
        return vec![(format::fit(&format::printable(own), NAME_COLUMNS), theme.faint)];
    };
    // Without a token an address is all that is known: then our own name says more.
    let is_address = format::is_address(&identity.name);
    let name = if is_address && !own.is_empty() { own } else { &identity.name };
    let name = format::fit(&format::printable(name), NAME_COLUMNS);
    let role = match (identity.role.as_str(), words) {
        (role, Words::Long) => format!(" {}", format::printable(role)),
        ("operator", _) => ":op".to_owned(),
        ("commander", _) => ":cmd".to_owned(),
        ("observer", _) => ":obs".to_owned(),
        _ => String::new(),
    };
    vec![(name, theme.screen), (role, theme.dim)]
}

/// The moment that is shown instead of now.
fn past(model: &Model, rewind: &Rewind, theme: &Theme) -> Vec<Piece> {
    let time = format::clock(rewind.past.now.wall_ns);
    let ago = format::age(model.now.since(rewind.at));
    vec![(format!("◀◀ {time} -{ago}"), theme.replay)]
}

/// One sign for each endpoint, in the order of the tiers.
fn redundancy(model: &Model, theme: &Theme) -> Vec<Piece> {
    let mut endpoints: Vec<&EndpointView> = model.network.endpoints.iter().collect();
    endpoints.sort_by(|a, b| (a.tier.is_none(), a.tier, &a.url).cmp(&(b.tier.is_none(), b.tier, &b.url)));
    let sign = |endpoint: &EndpointView| {
        let (sign, style) = match endpoint.state {
            LinkState::Active => ("▶", theme.strong),
            LinkState::Standby => ("◇", theme.screen),
            LinkState::Suspect => ("◐", theme.caution),
            LinkState::Connecting if endpoint.failures == 0 => ("◌", theme.dim),
            LinkState::Connecting | LinkState::Down => ("✗", theme.alarm),
        };
        (sign.to_owned(), style)
    };
    endpoints.into_iter().map(sign).collect()
}

fn serving(model: &Model, theme: &Theme, words: Words) -> Vec<Piece> {
    let piece = |text: &str, style| vec![(text.to_owned(), style)];
    match model.network.serving(model.now) {
        Serving::By(endpoint) => {
            let silent = endpoint.state == LinkState::Suspect;
            let style = if silent { theme.caution } else { theme.screen };
            let tier = endpoint.tier.map_or("active", |tier| tier.name());
            let name = match words {
                Words::Long => model.network.name_of(&endpoint.url),
                Words::Middle => tier.to_owned(),
                Words::Short => tier.chars().take(3).collect(),
            };
            let delay = match (silent, endpoint.rtt) {
                (true, _) => " silent".to_owned(),
                (false, Some(rtt)) => format!(" {}", format::millis(rtt).replace(' ', "")),
                (false, None) => String::new(),
            };
            vec![(name, style), (delay, style)]
        }
        Serving::Connecting => piece("connecting", theme.dim),
        Serving::NeverReached => piece("not connected", theme.caution),
        Serving::AllDown(_) => piece("all down", theme.alarm),
    }
}
