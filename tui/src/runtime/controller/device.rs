//! Finds a controller among the event devices and reads it until it is unplugged.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use evdev::{AbsoluteAxisCode, AttributeSetRef, Device, KeyCode};
use tokio::sync::mpsc::Sender;

use crate::runtime::controller::reading::Reading;
use crate::screen::drive::model::pad::PadEvent;

const DEVICES: &str = "/dev/input";
/// Between two looks for a controller.
const INTERVAL: Duration = Duration::from_secs(2);
/// Event devices that are looked at.
const MAX_DEVICES: usize = 256;

/// Reads one controller after the other, until nobody receives its events any more.
pub(super) fn read_controllers(events: &Sender<PadEvent>) {
    let mut others = BTreeSet::new();
    while !events.is_closed() {
        if let Some(device) = find(&mut others) {
            read(device, events).unwrap_or_default();
        }
        std::thread::sleep(INTERVAL);
    }
}

/// The first controller that is there. What is none, a keyboard or a mouse, is not opened again.
fn find(others: &mut BTreeSet<PathBuf>) -> Option<Device> {
    let present = event_devices();
    others.retain(|path| present.contains(path));
    for path in present {
        // One that may not be read is tried again later: permissions of a new device come after it.
        let Some(device) = (!others.contains(&path)).then(|| Device::open(&path).ok()).flatten() else {
            continue;
        };
        if is_controller(&device) {
            return Some(device);
        }
        others.insert(path);
    }
    None
}

/// The paths of the event devices.
fn event_devices() -> BTreeSet<PathBuf> {
    let Ok(entries) = std::fs::read_dir(DEVICES) else { return BTreeSet::new() };
    let is_event = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("event"))
    };
    entries.flatten().map(|entry| entry.path()).filter(is_event).take(MAX_DEVICES).collect()
}

/// Whether it has the buttons and the left stick of a gamepad.
fn is_controller(device: &Device) -> bool {
    let has_buttons = device.supported_keys().is_some_and(|keys| keys.contains(KeyCode::BTN_SOUTH));
    let stick = [AbsoluteAxisCode::ABS_X, AbsoluteAxisCode::ABS_Y];
    let has_stick = |axes: &AttributeSetRef<AbsoluteAxisCode>| stick.iter().all(|axis| axes.contains(*axis));
    has_buttons && device.supported_absolute_axes().is_some_and(has_stick)
}

/// Passes on what the controller does; ends when it is unplugged or nobody receives any more.
fn read(mut device: Device, events: &Sender<PadEvent>) -> Option<()> {
    let axes = device.get_absinfo().ok()?;
    let axes: Vec<_> =
        axes.map(|(code, info)| (code, info.minimum()..=info.maximum(), info.value())).collect();
    let mut reading = Reading::new(axes.iter().map(|(code, range, _)| (*code, range.clone())));
    let name = device.name().unwrap_or("game controller").to_owned();
    events.blocking_send(PadEvent::Connected(name)).ok()?;
    // Where the sticks are now. Buttons count from their next press on: the dead-man button above all.
    for event in axes.iter().filter_map(|(code, _, value)| reading.stick(*code, *value)) {
        events.blocking_send(event).ok()?;
    }
    while let Ok(arrived) = device.fetch_events() {
        for event in arrived.filter_map(|event| reading.event(&event.destructure())) {
            events.blocking_send(event).ok()?;
        }
    }
    events.blocking_send(PadEvent::Disconnected).ok()
}
