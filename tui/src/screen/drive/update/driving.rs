//! The driving mode: takes the lock, sends velocities, and ends with a zero whenever nobody can be known to drive.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use roverline_protocol::api::authority::AuthorityList;

use crate::effect::Effect;
use crate::model::{Model, Overlay, Screen};
use crate::screen::drive::model::driving::{Driving, message, time_to_live};
use crate::screen::drive::model::pad::{Pad, PadButton, PadEvent};
use crate::screen::drive::model::stick::{Direction, Gear, Velocity};
use crate::screen::team;

/// The authority, and its lock.
pub(in crate::screen::drive) const DRIVE: &str = team::model::USUAL_LOCKS[0];
/// Longest wait for the lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// More keys than this at once were not typed.
const MOST_TOGETHER: usize = 6;

/// Begins to drive: takes the lock, or asks its holder for it.
pub(in crate::screen::drive) fn enter(model: &mut Model) -> Vec<Effect> {
    let is_held = model.screens.team.lock(DRIVE).is_some_and(|lock| !lock.holders.is_empty());
    let is_own = model.screens.team.lock(DRIVE).is_some_and(|lock| model.own().holds(lock));
    if !model.network.is_responsive() {
        model.notify(true, "no endpoint answers: the rover cannot be driven".to_owned());
        return Vec::new();
    }
    if is_held && !is_own {
        return team::drive(model);
    }
    let mut effects = if is_own { Vec::new() } else { team::drive(model) };
    let state = &mut model.screens.drive;
    let mut driving = Driving::new(state.stick.clone(), state.pad.clone());
    driving.took_lock = !is_own;
    driving.waiting = (!is_own).then_some(model.now.mono);
    state.driving = Some(driving);
    let watch = model.watch("/api/v2/authority", |model, answer| {
        let now = model.now;
        if let Some(driving) = &mut model.screens.drive.driving {
            driving.authority.take(answer, now, |_: &AuthorityList| 0);
        }
    });
    if let (Effect::Watch { number, .. }, Some(driving)) = (&watch, &mut model.screens.drive.driving) {
        driving.watch = Some(*number);
    }
    effects.extend([watch, Effect::DrivingInput(true)]);
    effects
}

/// Ends with a zero; the lock goes back if it was taken for this.
pub(in crate::screen::drive) fn leave(model: &mut Model) -> Vec<Effect> {
    end(model, None)
}

fn end(model: &mut Model, why: Option<&str>) -> Vec<Effect> {
    let Some(mut driving) = model.screens.drive.driving.take() else { return Vec::new() };
    driving.clear();
    model.screens.drive.stick = driving.stick.clone();
    let mut effects = Vec::new();
    if driving.waiting.is_none() {
        effects.push(publish(model, &driving, Velocity::ZERO));
    }
    effects.extend(driving.watch.into_iter().flat_map(|watch| model.unwatch(watch)));
    effects.push(Effect::DrivingInput(false));
    let has_lock = model.screens.team.lock(DRIVE).is_some_and(|lock| model.own().holds(lock));
    if driving.took_lock && has_lock && model.network.is_connected() {
        effects.extend(team::release(model, DRIVE));
    }
    if let Some(why) = why {
        model.notify(true, format!("driving has ended, zero was sent: {why}"));
    }
    effects
}

fn publish(model: &Model, driving: &Driving, velocity: Velocity) -> Effect {
    let topic = driving.topic(DRIVE);
    let known = model.topics.rows.get(&topic).map(|row| row.info.type_name.as_str());
    let (type_name, body) = message(known, velocity);
    let holders = model.screens.team.lock(DRIVE).map(|lock| lock.holders.as_slice()).unwrap_or_default();
    let own = model.own();
    let holder = holders.iter().find(|holder| own.is(&holder.client, holder.by.as_deref()));
    Effect::Publish {
        topic,
        type_name,
        body,
        ttl: time_to_live(velocity),
        token: holder.map(|holder| holder.token),
    }
}

/// Sends the velocity that is due; several times a second while the mode is on.
pub fn pulse(model: &mut Model) -> Vec<Effect> {
    let now = model.now.mono;
    let Some(mut driving) = model.screens.drive.driving.take() else { return Vec::new() };
    let due = driving.due(now).map(|velocity| publish(model, &driving, velocity));
    model.screens.drive.driving = Some(driving);
    due.into_iter().collect()
}

/// Sends a velocity that has changed at once.
fn changed(model: &mut Model) -> Vec<Effect> {
    let now = model.now.mono;
    let has_changed = model.screens.drive.driving.as_ref().is_some_and(|driving| driving.has_changed(now));
    if has_changed { pulse(model) } else { Vec::new() }
}

/// Takes a key that moves the rover, or its release. `None`: the key has another meaning.
pub fn take_key(model: &mut Model, event: &KeyEvent, together: usize) -> Option<Vec<Effect>> {
    let now = model.now.mono;
    let driving = model.screens.drive.driving.as_mut()?;
    let is_release = event.kind == KeyEventKind::Release;
    if together > MOST_TOGETHER {
        // A paste, or what a stuck terminal held back: it may be old.
        driving.clear();
        return (event.code != KeyCode::Char('!')).then(|| changed(model));
    }
    let has_modifier = event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    if let Some(direction) = direction(event.code).filter(|_| is_release || !has_modifier) {
        let is_upper = matches!(event.code, KeyCode::Char(c) if c.is_ascii_uppercase());
        let is_boosted = is_upper || event.modifiers.contains(KeyModifiers::SHIFT);
        match is_release {
            true => driving.stick.release(direction, now),
            false => driving.stick.press(direction, is_boosted, now),
        }
    } else if event.code == KeyCode::Char(' ') {
        match (is_release, driving.stick.needs_dead_man) {
            (true, _) => driving.stick.release_dead_man(now),
            (false, true) => driving.stick.press_dead_man(now),
            (false, false) => driving.clear(),
        }
    } else if is_release {
        driving.stick.see_release(now);
    } else {
        return None;
    }
    Some(changed(model))
}

const fn direction(code: KeyCode) -> Option<Direction> {
    match code {
        KeyCode::Up | KeyCode::Char('w' | 'W') => Some(Direction::Forward),
        KeyCode::Down | KeyCode::Char('s' | 'S') => Some(Direction::Back),
        KeyCode::Left | KeyCode::Char('a' | 'A') => Some(Direction::Left),
        KeyCode::Right | KeyCode::Char('d' | 'D') => Some(Direction::Right),
        _ => None,
    }
}

/// The terminal gained or lost the focus: without it, a release goes elsewhere.
pub fn focus(model: &mut Model, has_focus: bool) -> Vec<Effect> {
    let Some(driving) = &mut model.screens.drive.driving else { return Vec::new() };
    driving.has_focus = has_focus;
    driving.clear();
    changed(model)
}

/// Takes an event of the game controller. It drives only in the mode; its stop button always stops.
pub fn take_pad(model: &mut Model, event: &PadEvent) -> Vec<Effect> {
    let state = &mut model.screens.drive;
    let pads = state.driving.iter_mut().map(|driving| &mut driving.pad).chain([&mut state.pad]);
    for pad in pads {
        match (event, pad) {
            (PadEvent::Connected(name), pad) => *pad = Some(Pad::new(name)),
            (PadEvent::Disconnected, pad) => *pad = None,
            (PadEvent::Axis(axis, value), Some(pad)) => pad.set_axis(*axis, *value),
            (PadEvent::Button(button, is_pressed), Some(pad)) => pad.set_button(*button, *is_pressed),
            (_, None) => {}
        }
    }
    if *event == PadEvent::Button(PadButton::Stop, true) {
        return vec![Effect::EmergencyStop { engage: true }];
    }
    // A stick moves hundreds of times a second: the next pulse sends where it is, and only rest is sent at once.
    let now = model.now.mono;
    let rests = model.screens.drive.driving.as_ref().is_some_and(|driving| driving.velocity(now).is_zero());
    match event {
        PadEvent::Axis(..) if !rests => Vec::new(),
        _ => changed(model),
    }
}

/// Ends the mode when nobody can be known to drive. Called after every message, with its effects.
pub fn supervise(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(driving) = &mut model.screens.drive.driving else { return };
    let (now, waiting) = (model.now, driving.waiting);
    if effects.iter().any(|effect| matches!(effect, Effect::EmergencyStop { engage: true })) {
        driving.clear();
        effects.extend(changed(model));
    }
    let lock = model.screens.team.lock(DRIVE);
    let is_own = lock.is_some_and(|lock| model.own().holds(lock));
    let why = if effects.iter().any(|effect| matches!(effect, Effect::Quit | Effect::Suspend)) {
        Some("the console leaves the terminal")
    } else if !model.network.is_responsive() {
        Some("the link is lost")
    } else if model.overlay != Overlay::None || model.rewind.is_some() {
        Some("a dialog is open")
    } else if model.screen != Screen::Drive || !model.has_room_for_question() {
        Some("the Drive screen is not shown")
    } else if waiting.is_some_and(|since| now.since(since) > LOCK_WAIT) {
        Some("the lock drive was not granted")
    } else if waiting.is_none() && !is_own {
        Some("you do not have the lock drive any more")
    } else {
        if is_own && let Some(driving) = &mut model.screens.drive.driving {
            driving.waiting = None;
        }
        return;
    };
    // Before what leaves the terminal.
    let last = end(model, why);
    effects.splice(0..0, last);
}

/// A key that was handled before the table.
pub(in crate::screen::drive) fn ignore(_model: &mut Model) -> Vec<Effect> {
    Vec::new()
}

pub(in crate::screen::drive) fn ignore_char(_model: &mut Model, _c: char) -> Vec<Effect> {
    Vec::new()
}

pub(in crate::screen::drive) fn gear<const N: usize>(model: &mut Model) -> Vec<Effect> {
    let gear = [Gear::Slow, Gear::Normal, Gear::Turbo].get(N).copied().unwrap_or_default();
    if let Some(driving) = &mut model.screens.drive.driving {
        driving.stick.gear = gear;
    }
    changed(model)
}

pub(in crate::screen::drive) fn speed_limit<const UP: bool>(model: &mut Model) -> Vec<Effect> {
    if let Some(driving) = &mut model.screens.drive.driving {
        driving.stick.step_speed(UP);
    }
    changed(model)
}

pub(in crate::screen::drive) fn rotation_limit<const UP: bool>(model: &mut Model) -> Vec<Effect> {
    if let Some(driving) = &mut model.screens.drive.driving {
        driving.stick.step_rotation(UP);
    }
    changed(model)
}

/// Whether Space has to be held: only where the terminal reports releases, because it repeats one key alone.
pub(in crate::screen::drive) fn change_dead_man(model: &mut Model) -> Vec<Effect> {
    let Some(driving) = &mut model.screens.drive.driving else { return Vec::new() };
    driving.clear();
    if driving.stick.needs_dead_man || driving.stick.reports_release {
        driving.stick.needs_dead_man = !driving.stick.needs_dead_man;
    } else {
        let text = "this terminal reports no key releases: a held direction is the dead-man key";
        model.notify(false, text.to_owned());
    }
    changed(model)
}
