//! Metrics of the process, under the names of Prometheus' client libraries, and of the computer, under those of its
//! node exporter, so that their dashboards and rules work.

use roverline_protocol::api::metrics::{
    ComputerDocument, InterfaceDocument, ProcessDocument, TemperatureKind,
};

use crate::endpoint::Endpoint;
use crate::endpoint::memory;
use crate::endpoint::metrics::exposition::Exposition;
use crate::endpoint::system_stats::SystemSnapshot;

/// Adds process and computer to the page. What the system does not report is absent.
pub(super) fn render(page: &mut Exposition, endpoint: &Endpoint, system: &SystemSnapshot) {
    process(page, &system.process);
    computer(page, &system.computer);
    let what = "Readings of process and computer that did not come in time.";
    page.one("counter", "roverline_system_late_reads_total", what, endpoint.system.late() as f64);
}

fn float(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

fn process(page: &mut Exposition, process: &ProcessDocument) {
    page.one("counter", "process_cpu_seconds_total", "Processor time spent.", process.cpu_s);
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Memory in use.", float(process.resident_bytes)),
        ("process_virtual_memory_bytes", "Address space in use.", float(process.virtual_bytes)),
        ("process_open_fds", "Open file descriptors.", float(process.open_fds)),
        ("process_max_fds", "Most file descriptors that may be open.", float(process.max_fds)),
        ("process_threads", "Threads.", float(process.threads)),
        ("process_start_time_seconds", "When it started, since the Unix epoch.", process.start_time_s),
    ] {
        page.known("gauge", name, help, value);
    }
    let memory = memory::document();
    let help = "Memory allocated for data, which the limit counts.";
    page.one("gauge", "roverline_memory_data_bytes", help, memory.data_bytes as f64);
    let help = "The limit of a process's memory for data; absent if there is none.";
    page.known("gauge", "roverline_memory_limit_bytes", help, float(memory.limit_bytes));
}

fn computer(page: &mut Exposition, computer: &ComputerDocument) {
    let name = "node_cpu_seconds_total";
    page.family("counter", name, "Processor time by mode, of all cores.");
    for (mode, seconds) in &computer.cpu_s {
        page.sample(name, &[("mode", mode)], *seconds);
    }
    for (name, help, value) in [
        ("roverline_computer_cpus", "Processor cores.", computer.cpus.map(|cpus| cpus as f64)),
        ("node_load1", "Load average of 1 minute.", computer.load1),
        ("node_load5", "Load average of 5 minutes.", computer.load5),
        ("node_load15", "Load average of 15 minutes.", computer.load15),
        ("node_memory_total_bytes", "Memory.", float(computer.memory_total_bytes)),
        (
            "node_memory_available_bytes",
            "Memory that programs can still get.",
            float(computer.memory_available_bytes),
        ),
        ("node_memory_swap_total_bytes", "Swap space.", float(computer.swap_total_bytes)),
        ("node_memory_swap_free_bytes", "Free swap space.", float(computer.swap_free_bytes)),
        ("roverline_computer_uptime_seconds", "Since the computer booted.", computer.uptime_s),
    ] {
        page.known("gauge", name, help, value);
    }
    disk(page, computer);
    network(page, computer);
    temperatures(page, computer);
}

fn disk(page: &mut Exposition, computer: &ComputerDocument) {
    let Some(disk) = &computer.disk else { return };
    for (name, help, value) in [
        ("node_filesystem_size_bytes", "Size of the file system of the state directory.", disk.size_bytes),
        ("node_filesystem_avail_bytes", "What can still be used of it.", disk.available_bytes),
    ] {
        page.family("gauge", name, help);
        page.sample(name, &[("mountpoint", &disk.mountpoint)], value as f64);
    }
}

fn network(page: &mut Exposition, computer: &ComputerDocument) {
    let mut family = |name, help, value: fn(&InterfaceDocument) -> u64| {
        page.family("counter", name, help);
        for interface in &computer.interfaces {
            page.sample(name, &[("device", &interface.name)], value(interface) as f64);
        }
    };
    family("node_network_receive_bytes_total", "Bytes received.", |one| one.received_bytes);
    family("node_network_receive_packets_total", "Packets received.", |one| one.received_packets);
    family("node_network_receive_errs_total", "Errors while receiving.", |one| one.receive_errors);
    family("node_network_transmit_bytes_total", "Bytes sent.", |one| one.sent_bytes);
    family("node_network_transmit_packets_total", "Packets sent.", |one| one.sent_packets);
    family("node_network_transmit_errs_total", "Errors while sending.", |one| one.send_errors);
    let what = "Network interfaces without series of their own because there are too many.";
    page.one("gauge", "roverline_interfaces_without_series", what, computer.interfaces_left_out as f64);
}

fn temperatures(page: &mut Exposition, computer: &ComputerDocument) {
    for (kind, name, labels) in [
        (TemperatureKind::ThermalZone, "node_thermal_zone_temp", ["zone", "type"]),
        (TemperatureKind::Hwmon, "node_hwmon_temp_celsius", ["chip", "sensor"]),
    ] {
        page.family("gauge", name, "Temperature, degrees Celsius; absent on a computer without sensors.");
        for one in computer.temperatures.iter().filter(|one| one.kind == kind) {
            page.sample(name, &[(labels[0], &one.chip), (labels[1], &one.sensor)], one.celsius);
        }
    }
    let what = "Temperature sensors without series of their own because there are too many.";
    page.one("gauge", "roverline_sensors_without_series", what, computer.temperatures_left_out as f64);
}
