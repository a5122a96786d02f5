//! Metrics of alarms: how many are open, by severity.

use roverline_protocol::alarms::list::AlarmFilter;
use roverline_source::clock::unix_ns;

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Exposition;

pub(super) fn render(page: &mut Exposition, endpoint: &Endpoint) {
    let list = endpoint.alarms.list(&endpoint.coordination.alarms, &AlarmFilter::default(), unix_ns());
    let totals = list.totals;
    let name = "roverline_alarms_open";
    page.family(
        "gauge",
        name,
        "Alarms that are raised or acknowledged, without the shelved ones, by severity.",
    );
    for (severity, count) in &totals.by_severity {
        page.sample(name, &[("severity", severity.name())], *count as f64);
    }
    for (name, help, value) in [
        (
            "roverline_alarms_unacknowledged",
            "Open alarms that nobody has acknowledged.",
            totals.unacknowledged,
        ),
        ("roverline_alarms_shelved", "Alarms that are shelved and would be open otherwise.", totals.shelved),
        ("roverline_alarms_dropped", "Alarms that are left out because there are too many.", list.dropped),
    ] {
        page.one("gauge", name, help, value as f64);
    }
    let unshared = f64::from(u8::from(list.unshared.is_some()));
    let what = "1 while alarms cannot be shared, so that they cannot be acknowledged.";
    page.one("gauge", "roverline_alarms_unshared", what, unshared);
}
