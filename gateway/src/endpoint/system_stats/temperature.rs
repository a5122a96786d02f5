//! The temperatures of thermal zones and hardware monitors, bounded in number; none on a computer that has none.

use std::path::{Path, PathBuf};

use roverline_protocol::api::metrics::{TemperatureDocument, TemperatureKind};

use crate::endpoint::system_stats::text;

/// Temperatures of each kind that are listed.
const SENSOR_ENTRIES: usize = 16;
/// Files of one directory that are looked at.
const DIRECTORY_ENTRIES: usize = 1_024;
/// Bytes of a name or a value.
const VALUE_BYTES: u64 = 64;
/// What a sensor can mean, degrees Celsius. Others report that they have no value.
const PLAUSIBLE_C: std::ops::RangeInclusive<f64> = -100.0..=300.0;

/// The temperatures, and how many were left out.
pub(super) fn read(sys: &Path) -> (Vec<TemperatureDocument>, usize) {
    let mut all = Vec::new();
    let mut left_out = 0;
    for kind in [thermal_zones(&sys.join("class/thermal")), hwmon(&sys.join("class/hwmon"))] {
        left_out += kind.len().saturating_sub(SENSOR_ENTRIES);
        all.extend(kind.into_iter().take(SENSOR_ENTRIES));
    }
    (all, left_out)
}

fn thermal_zones(class: &Path) -> Vec<TemperatureDocument> {
    let zone = |dir: &PathBuf| {
        let chip = dir.file_name()?.to_str()?.strip_prefix("thermal_zone")?.to_owned();
        let celsius = celsius(&dir.join("temp"))?;
        let sensor = value(&dir.join("type")).unwrap_or_default();
        Some(TemperatureDocument { kind: TemperatureKind::ThermalZone, chip, sensor, celsius })
    };
    entries(class).iter().filter_map(zone).collect()
}

fn hwmon(class: &Path) -> Vec<TemperatureDocument> {
    let mut all = Vec::new();
    for dir in entries(class) {
        let device = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let chip = match value(&dir.join("name")) {
            Some(name) => format!("{name} {device}"),
            None => device,
        };
        for input in entries(&dir) {
            let Some(name) = input.file_name().and_then(|name| name.to_str()) else { continue };
            let Some(sensor) = name.strip_suffix("_input").filter(|name| name.starts_with("temp")) else {
                continue;
            };
            if let Some(celsius) = celsius(&input) {
                let (chip, sensor) = (chip.clone(), sensor.to_owned());
                all.push(TemperatureDocument { kind: TemperatureKind::Hwmon, chip, sensor, celsius });
            }
        }
    }
    all
}

/// The entries of a directory, sorted, so that the same ones are listed each time.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(all) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut all: Vec<_> = all.take(DIRECTORY_ENTRIES).flatten().map(|entry| entry.path()).collect();
    all.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    all
}

fn value(path: &Path) -> Option<String> {
    text(path, VALUE_BYTES).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The kernel gives thousandths of a degree.
fn celsius(path: &Path) -> Option<f64> {
    let celsius = value(path)?.parse::<i64>().ok()? as f64 / 1e3;
    PLAUSIBLE_C.contains(&celsius).then_some(celsius)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensors_are_read_bounded_and_those_without_a_value_are_absent() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for zone in 0..40 {
            write(&format!("class/thermal/thermal_zone{zone}/temp"), "41000\n");
            write(&format!("class/thermal/thermal_zone{zone}/type"), "cpu-thermal\n");
        }
        write("class/thermal/cooling_device0/cur_state", "0\n");
        write("class/hwmon/hwmon0/name", "k10temp\n");
        write("class/hwmon/hwmon0/temp1_input", "61250\n");
        write("class/hwmon/hwmon0/temp2_input", "-273150\n");
        write("class/hwmon/hwmon0/temp3_input", "N/A\n");
        write("class/hwmon/hwmon0/fan1_input", "1200\n");
        write("class/hwmon/hwmon1/temp1_input", "-5500\n");
        let (all, left_out) = read(root.path());
        assert_eq!((all.len(), left_out), (SENSOR_ENTRIES + 2, 40 - SENSOR_ENTRIES));
        assert_eq!(
            (all[2].chip.as_str(), all[2].sensor.as_str(), all[2].celsius),
            ("2", "cpu-thermal", 41.0)
        );
        let hwmon: Vec<_> =
            all[SENSOR_ENTRIES..].iter().map(|t| (t.chip.as_str(), t.sensor.as_str(), t.celsius)).collect();
        assert_eq!(hwmon, [("k10temp hwmon0", "temp1", 61.25), ("hwmon1", "temp1", -5.5)]);
        assert_eq!(read(&root.path().join("none")), (Vec::new(), 0));
    }
}
