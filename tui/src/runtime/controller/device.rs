//! Finds a controller among the event devices and reads it until it is unplugged.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evdev::{AbsoluteAxisCode, Device, KeyCode};
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
        let present = event_devices();
        others.retain(|path| present.contains(path));
        let found = present.iter().filter(|path| !others.contains(*path)).find_map(|path| open(path));
        match found {
            Some(Opened::Controller(device)) => drop(read(device, events)),
            Some(Opened::Other(path)) => {
                others.insert(path);
                continue;
            }
            None => {}
        }
        std::thread::sleep(INTERVAL);
    }
}

/// The paths of the event devices.
fn event_devices() -> BTreeSet<PathBuf> {
    let Ok(entries) = std::fs::read_dir(DEVICES) else { return BTreeSet::new() };
    let is_event = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("event"))
    };
    entries.flatten().map(|entry| entry.path()).filter(is_event).take(MAX_DEVICES).collect()
}

enum Opened {
    Controller(Device),
    /// A keyboard, a mouse: it is not opened again.
    Other(PathBuf),
}

/// Opens a device. One that may not be read is tried again later: permissions of a new device come after it.
fn open(path: &Path) -> Option<Opened> {
    let device = Device::open(path).ok()?;
    let has_buttons = device.supported_keys().is_some_and(|keys| keys.contains(KeyCode::BTN_SOUTH));
    let has_stick = device
        .supported_absolute_axes()
        .is_some_and(|axes| axes.contains(AbsoluteAxisCode::ABS_X) && axes.contains(AbsoluteAxisCode::ABS_Y));
    Some(if has_buttons && has_stick { Opened::Controller(device) } else { Opened::Other(path.to_owned()) })
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
        for event in arrived.filter_map(|event| reading.event(event.destructure())) {
            events.blocking_send(event).ok()?;
        }
    }
    events.blocking_send(PadEvent::Disconnected).ok()
}
