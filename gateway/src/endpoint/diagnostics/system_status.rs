//! The diagnostics of process and computer: what is measured, and what is near its limit.

use roverline_protocol::Tier;
use roverline_protocol::api::metrics::{ComputerDocument, ProcessDocument, RuntimeDocument};
use roverline_protocol::status::MemoryDocument;

use crate::endpoint::diagnostics::status::{ERROR, Status, WARN};

/// Use of a limit (memory for data, file descriptors) that is a warning, and an error.
const LIMIT_USED_PERCENT: (f64, f64) = (80.0, 95.0);
/// Time for which the thread of all clients was not free.
const STALL_S: (f64, f64) = (0.5, 2.0);
/// What is left of disk and memory.
const DISK_FREE_PERCENT: (f64, f64) = (10.0, 3.0);
const MEMORY_FREE_PERCENT: (f64, f64) = (10.0, 3.0);
/// Most boards slow down somewhat above the first and stop above the second.
const TEMPERATURE_C: (f64, f64) = (85.0, 100.0);
/// Load of 5 minutes per core.
const LOAD_PER_CORE: (f64, f64) = (2.0, 6.0);

/// The finding about a value that should not be high.
fn high(value: Option<f64>, (warn, error): (f64, f64), text: impl Fn(f64) -> String) -> Option<(u8, String)> {
    let value = value.filter(|value| *value >= warn)?;
    Some((if value >= error { ERROR } else { WARN }, text(value)))
}

/// The finding about a value that should not be low.
fn low(value: Option<f64>, (warn, error): (f64, f64), text: impl Fn(f64) -> String) -> Option<(u8, String)> {
    let value = value.filter(|value| *value < warn)?;
    Some((if value < error { ERROR } else { WARN }, text(value)))
}

fn percent(part: Option<u64>, whole: Option<u64>) -> Option<f64> {
    Some(part? as f64 * 100.0 / whole.filter(|whole| *whole > 0)? as f64)
}

fn mib(bytes: Option<u64>) -> Option<String> {
    bytes.map(|bytes| (bytes >> 20).to_string())
}

/// The values that are known.
fn values(all: Vec<(&str, Option<String>)>) -> Vec<(String, String)> {
    all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The status of this process.
pub(super) fn process(
    tier: Tier,
    process: &ProcessDocument,
    runtime: &RuntimeDocument,
    memory: &MemoryDocument,
) -> Status {
    let used = percent(Some(memory.data_bytes), memory.limit_bytes);
    let fds = percent(process.open_fds, process.max_fds);
    let findings = [
        high(used, LIMIT_USED_PERCENT, |used| format!("{used:.0} % of its memory limit is used")),
        high(fds, LIMIT_USED_PERCENT, |fds| format!("{fds:.0} % of its file descriptors are open")),
        high(Some(runtime.recent_stall_s), STALL_S, |stall| {
            format!("clients waited {:.0} ms for its thread", stall * 1e3)
        }),
    ];
    let values = values(vec![
        ("cpu (s)", Some(format!("{:.1}", process.cpu_s))),
        ("memory (MiB)", mib(process.resident_bytes)),
        ("memory limit (MiB)", mib(memory.limit_bytes)),
        ("open files", process.open_fds.map(|fds| fds.to_string())),
        ("threads", process.threads.map(|threads| threads.to_string())),
        ("longest stall of the last minute (ms)", Some(format!("{:.1}", runtime.recent_stall_s * 1e3))),
    ]);
    Status::of_findings(
        format!("roverline: {tier} process"),
        findings.into_iter().flatten().collect(),
        values,
    )
}

/// The status of the computer. All endpoints of one publish it under the same name.
pub(super) fn computer(computer: &ComputerDocument) -> Status {
    let disk = computer.disk.as_ref();
    let disk_free = disk.and_then(|disk| percent(Some(disk.available_bytes), Some(disk.size_bytes)));
    let memory_free = percent(computer.memory_available_bytes, computer.memory_total_bytes);
    let load = computer.load5.zip(computer.cpus).map(|(load, cpus)| load / cpus.max(1) as f64);
    let hottest = computer.temperatures.iter().max_by(|a, b| a.celsius.total_cmp(&b.celsius));
    let mut findings = vec![
        low(disk_free, DISK_FREE_PERCENT, |free| format!("{free:.1} % of the disk is free")),
        low(memory_free, MEMORY_FREE_PERCENT, |free| format!("{free:.1} % of the memory is free")),
        high(load, LOAD_PER_CORE, |load| format!("the load is {load:.1} per core")),
    ];
    if let Some(hot) = hottest {
        let text = |celsius: f64| format!("{} {} has {celsius:.0} degrees", hot.chip, hot.sensor);
        findings.push(high(Some(hot.celsius), TEMPERATURE_C, text));
    }
    let loads = [computer.load1, computer.load5, computer.load15];
    let loads: Option<Vec<String>> = loads.into_iter().map(|load| Some(format!("{:.2}", load?))).collect();
    let values = values(vec![
        ("cores", computer.cpus.map(|cpus| cpus.to_string())),
        ("load (1, 5, 15 min)", loads.map(|loads| loads.join(" "))),
        ("memory (MiB)", mib(computer.memory_total_bytes)),
        ("memory available (MiB)", mib(computer.memory_available_bytes)),
        ("disk", disk.map(|disk| disk.mountpoint.clone())),
        ("disk free (MiB)", mib(disk.map(|disk| disk.available_bytes))),
        ("disk free (%)", disk_free.map(|free| format!("{free:.1}"))),
        ("hottest (C)", hottest.map(|hot| format!("{:.1}", hot.celsius))),
        ("uptime (s)", computer.uptime_s.map(|uptime| format!("{uptime:.0}"))),
    ]);
    let name = format!("roverline: computer {}", computer.name);
    Status::of_findings(name, findings.into_iter().flatten().collect(), values)
}

#[cfg(test)]
mod tests {
    use roverline_protocol::api::metrics::{DiskDocument, TemperatureDocument, TemperatureKind};

    use super::*;
    use crate::endpoint::diagnostics::status::OK;

    #[test]
    fn what_approaches_its_limit_is_named_with_the_worst_level() {
        let status = |open_fds, data_bytes, recent_stall_s| {
            let document = ProcessDocument { open_fds, max_fds: Some(100), ..ProcessDocument::default() };
            let runtime = RuntimeDocument { recent_stall_s, longest_stall_s: 9.0 };
            let memory = MemoryDocument { resident_bytes: 0, data_bytes, limit_bytes: Some(1_000) };
            process(Tier::Primary, &document, &runtime, &memory)
        };
        let Status { level, name, message, .. } = status(Some(10), 100, 0.01);
        assert_eq!((level, name.as_str(), message.as_str()), (OK, "roverline: primary process", "ok"));
        let Status { level, message, .. } = status(Some(80), 960, 0.5);
        let wanted = "96 % of its memory limit is used; 80 % of its file descriptors are open; \
                      clients waited 500 ms for its thread";
        assert_eq!((level, message.as_str()), (ERROR, wanted));
    }

    #[test]
    fn a_computer_is_judged_by_what_it_reports() {
        assert_eq!(computer(&ComputerDocument::default()).level, OK);
        let hot = TemperatureDocument {
            kind: TemperatureKind::ThermalZone,
            chip: "0".to_owned(),
            sensor: "cpu".to_owned(),
            celsius: 86.0,
        };
        let document = ComputerDocument {
            cpus: Some(4),
            load5: Some(2.0),
            memory_total_bytes: Some(0),
            memory_available_bytes: Some(0),
            disk: Some(DiskDocument { mountpoint: "/".to_owned(), size_bytes: 100, available_bytes: 2 }),
            temperatures: vec![hot],
            ..ComputerDocument::default()
        };
        let Status { level, message, values, .. } = computer(&document);
        assert_eq!((level, message.as_str()), (ERROR, "2.0 % of the disk is free; 0 cpu has 86 degrees"));
        assert!(!values.iter().any(|(key, _)| key.starts_with("uptime")), "{values:?}");
    }
}
