//! Alarms of the gateway itself: redundancy, clocks, queues, disks.

use std::time::Duration;

use roverline_coordination::queues::QueueView;
use roverline_protocol::Tier;
use roverline_protocol::alarms::debounce::Delays;
use roverline_protocol::alarms::id::alarm_id;
use roverline_protocol::alarms::limit::Limits;
use roverline_protocol::api::alarms::{AlarmSeverity, AlarmSource};
use roverline_protocol::api::metrics::ComputerDocument;

use crate::endpoint::Endpoint;
use crate::endpoint::alarms::finding::{Finding, above, clip, comparison, number, subject};
use crate::endpoint::peers::promotion::TierView;

/// Queues that are looked at; of more, the first by name.
const QUEUES: usize = 64;
/// Samples older than this say nothing of a clock.
const RECENT: Duration = Duration::from_secs(2);
/// A disk that is fuller is critical, percent.
const DISK_CRITICAL_PERCENT: f64 = 98.0;
/// How much of a disk has to become free again, percent.
const DISK_HYSTERESIS_PERCENT: f64 = 1.0;
const DELAYS: Delays = Delays { on: Duration::from_secs(3), off: Duration::from_secs(3) };
const NANOSECONDS: f64 = 1e9;

/// The endpoints of the rover that serve, of those that are known.
pub(super) fn redundancy(tier: Tier, views: [TierView; 4]) -> Finding {
    let others = Tier::ALL.into_iter().filter(|other| *other != tier);
    let known: Vec<Tier> = others.filter(|other| views[*other as usize] != TierView::Unknown).collect();
    let missing = known.iter().filter(|other| views[**other as usize] == TierView::Missing);
    let missing: Vec<&str> = missing.map(|tier| tier.name()).collect();
    let (all, living) = (known.len() + 1, known.len() + 1 - missing.len());
    let severity = match (missing.len(), living) {
        (0, _) => None,
        (_, 1) => Some(AlarmSeverity::Critical),
        _ => Some(AlarmSeverity::Warning),
    };
    let verb = if missing.len() == 1 { "is" } else { "are" };
    let mut text = format!("{living} of {all} endpoints");
    if !missing.is_empty() {
        text += &format!(": {} {verb} down", missing.join(", "));
    }
    if living == 1 && all > 1 {
        text += ", none in reserve";
    }
    Finding {
        id: "redundancy".to_owned(),
        severity: Some(severity),
        delays: DELAYS,
        value: Some(living as f64),
        limit: Some(all as f64),
        text,
        subject: subject(AlarmSource::Redundancy, "redundancy"),
        ..Finding::default()
    }
}

/// Publishers' stamps against this computer's clock. A stamp ahead is a wrong clock; if all are far behind, either the
/// clock is wrong or the network is slow.
pub(super) fn clock(
    endpoint: &Endpoint,
    limit_s: f64,
    now: Duration,
    current: Option<AlarmSeverity>,
) -> Option<Finding> {
    let mut ahead: Option<(f64, String)> = None;
    let mut least_behind = f64::INFINITY;
    endpoint.hub.with_topics(|topics| {
        for topic in topics {
            let Some(latest) = &topic.latest else { continue };
            let sample = &latest.sample;
            if sample.source_time_ns == 0 || now.saturating_sub(latest.at) > RECENT {
                continue;
            }
            let behind = sample.receive_time_ns.saturating_sub(sample.source_time_ns) as f64 / NANOSECONDS;
            least_behind = least_behind.min(behind);
            if ahead.as_ref().is_none_or(|(most, _)| -behind > *most) {
                ahead = Some((-behind, topic.info.name.clone()));
            }
        }
    });
    let (ahead, topic) = ahead?;
    Some(clock_finding(ahead, least_behind, &topic, limit_s, current))
}

fn clock_finding(
    ahead: f64,
    least_behind: f64,
    topic: &str,
    limit_s: f64,
    current: Option<AlarmSeverity>,
) -> Finding {
    let limits = Limits { limits: vec![above(limit_s, AlarmSeverity::Warning)], hysteresis: limit_s * 0.2 };
    let is_ahead = ahead > least_behind;
    let offset = ahead.max(least_behind);
    let mut finding = Finding::of_value("clock".to_owned(), &limits, offset, current);
    finding.delays = DELAYS;
    finding.text = match is_ahead {
        true => format!("{topic} is stamped {} s ahead of this computer's clock", number(ahead)),
        false => format!("every topic is stamped {} s or more before it arrives", number(least_behind)),
    };
    finding.subject = subject(AlarmSource::Clock, "clock offset");
    finding.subject.topic = is_ahead.then(|| topic.to_owned());
    finding.subject.unit = "s".to_owned();
    finding
}

/// The disk of the state directory.
pub(super) fn disk(
    computer: &ComputerDocument,
    percent: f64,
    current: Option<AlarmSeverity>,
) -> Option<Finding> {
    let disk = computer.disk.as_ref().filter(|disk| disk.size_bytes > 0)?;
    let used = 100.0 * (1.0 - disk.available_bytes as f64 / disk.size_bytes as f64);
    let mut limits = vec![above(percent, AlarmSeverity::Warning)];
    if percent < DISK_CRITICAL_PERCENT {
        limits.push(above(DISK_CRITICAL_PERCENT, AlarmSeverity::Critical));
    }
    let limits = Limits { limits, hysteresis: DISK_HYSTERESIS_PERCENT };
    let id = alarm_id(&["disk", &computer.name]);
    let mut finding = Finding::of_value(id, &limits, used, current);
    let free_gb = disk.available_bytes as f64 / 1e9;
    let full = comparison(used, None, "%");
    finding.text = format!("{} is {full} full, {} GB free", clip(&disk.mountpoint), number(free_gb));
    finding.subject = subject(AlarmSource::Disk, &format!("disk of {}", computer.name));
    finding.subject.unit = "%".to_owned();
    finding.delays = DELAYS;
    Some(finding)
}

/// Queues with messages of which nobody takes.
pub(super) async fn queues(endpoint: &Endpoint, age_s: f64, now_ns: i64) -> Option<Vec<Finding>> {
    let queues = &endpoint.coordination.queues;
    let mut names = queues.names().await.ok()?;
    names.sort();
    names.truncate(QUEUES);
    let views = queues.views(&names).await.ok()?;
    Some(views.iter().map(|view| queue(view, age_s, now_ns)).collect())
}

fn queue(view: &QueueView, age_s: f64, now_ns: i64) -> Finding {
    let oldest = view.oldest_ns.and_then(|at| i64::try_from(at).ok());
    let age = oldest.map_or(0.0, |at| now_ns.saturating_sub(at).max(0) as f64 / NANOSECONDS);
    let is_taken = view.in_flight > 0;
    let is_stuck = view.ready > 0 && !is_taken && age > age_s;
    let mut subject = subject(AlarmSource::Queue, &format!("queue {}", view.name));
    subject.unit = "s".to_owned();
    Finding {
        id: alarm_id(&["queue", &view.name]),
        severity: Some(is_stuck.then_some(AlarmSeverity::Warning)),
        value: Some(age),
        limit: Some(age_s),
        // To minutes, so that the text does not change all the time.
        text: format!("{} ready, nobody takes; the oldest waits {} min", view.ready, (age / 60.0) as u64),
        subject,
        ..Finding::default()
    }
}

#[cfg(test)]
mod tests {
    use roverline_coordination::queues::Settings;
    use roverline_protocol::api::metrics::DiskDocument;

    use super::*;
    use TierView::{Living, Missing, Unknown};

    #[test]
    fn fewer_endpoints_than_known_are_an_alarm() {
        let found = |views| redundancy(Tier::Primary, views);
        assert_eq!(found([Unknown, Living, Living, Living]).severity, Some(None));
        assert_eq!(found([Unknown; 4]).severity, Some(None), "what was never there is not missed");
        let one = found([Unknown, Living, Missing, Living]);
        assert_eq!(one.severity, Some(Some(AlarmSeverity::Warning)));
        assert_eq!(one.text, "3 of 4 endpoints: tertiary is down");
        let last = found([Unknown, Missing, Missing, Missing]);
        assert_eq!(last.severity, Some(Some(AlarmSeverity::Critical)));
        assert!(last.text.ends_with("are down, none in reserve"), "{}", last.text);
    }

    #[test]
    fn a_clock_is_ahead_or_everything_is_late() {
        let found = |ahead, behind| clock_finding(ahead, behind, "/odom", 0.5, None);
        assert_eq!(found(-0.01, 0.01).severity, Some(None));
        let ahead = found(1.25, -1.25);
        assert_eq!(ahead.severity, Some(Some(AlarmSeverity::Warning)));
        assert_eq!(ahead.text, "/odom is stamped 1.25 s ahead of this computer's clock");
        assert!(found(-3.0, 3.0).text.starts_with("every topic"));
    }

    #[test]
    fn a_queue_that_nobody_takes_of() {
        let view = |ready, in_flight, oldest_s: u64| QueueView {
            name: "waypoints".to_owned(),
            ready,
            in_flight,
            delayed: 0,
            dead: 0,
            enqueued: 5,
            oldest_ns: Some(oldest_s * 1_000_000_000),
            settings: Settings::default(),
        };
        let severity = |view| queue(&view, 120.0, 1_000_000_000_000).severity;
        assert_eq!(severity(view(3, 0, 700)), Some(Some(AlarmSeverity::Warning)));
        assert_eq!(severity(view(3, 1, 700)), Some(None), "somebody takes");
        assert_eq!(severity(view(3, 0, 900)), Some(None), "not for long");
        assert_eq!(severity(view(0, 0, 700)), Some(None), "nothing is ready");
        assert_eq!(severity(view(3, 0, 5_000)), Some(None), "a clock that was set back");
    }

    #[test]
    fn a_disk_fills() {
        let computer = |available_bytes| ComputerDocument {
            name: "Rover 1".to_owned(),
            disk: Some(DiskDocument { mountpoint: "/".to_owned(), size_bytes: 100, available_bytes }),
            ..ComputerDocument::default()
        };
        let found = |available| disk(&computer(available), 90.0, None).unwrap();
        assert_eq!((found(11).severity, found(11).id.as_str()), (Some(None), "disk/rover-1"));
        assert_eq!(found(9).severity, Some(Some(AlarmSeverity::Warning)));
        assert_eq!(found(1).severity, Some(Some(AlarmSeverity::Critical)));
        assert!(disk(&ComputerDocument::default(), 90.0, None).is_none());
    }
}
