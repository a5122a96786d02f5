//! Every topic that was ever listed, how fast it comes and how old it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_client::LinkSample;
use roverline_protocol::limits;
use roverline_protocol::native::TopicInfo;
use roverline_protocol::quality::{Horizon, Quality};
use roverline_protocol::rate::RateMeter;

use crate::model::Now;
use crate::topic_mapping;

/// Payloads above this are kept of the selected topic only.
const KEPT_BYTES: usize = 64 << 10;
/// What is expected of a topic whose period is not known yet.
const DEFAULT_PERIOD: Duration = Duration::from_secs(1);
/// Characters of a filter.
pub const FILTER_CHARS: usize = 64;

/// By what the list is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By name.
    #[default]
    Name,
    /// By type.
    Type,
    /// Fastest first.
    Rate,
    /// Biggest first.
    Bandwidth,
    /// Youngest first.
    Age,
}

impl Sort {
    /// The next column.
    #[must_use]
    pub const fn next(self) -> Sort {
        match self {
            Sort::Name => Sort::Type,
            Sort::Type => Sort::Rate,
            Sort::Rate => Sort::Bandwidth,
            Sort::Bandwidth => Sort::Age,
            Sort::Age => Sort::Name,
        }
    }
}

/// Which half of the screen takes the arrow keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Focus {
    /// The list.
    #[default]
    List,
    /// The fields.
    Fields,
}

/// What is known of a topic.
#[derive(Clone, Debug)]
pub struct TopicRow {
    /// As the endpoint describes it.
    pub info: Arc<TopicInfo>,
    /// Whether the endpoint in use lists it.
    pub listed: bool,
    /// Whether samples were asked for.
    pub subscribed: bool,
    /// Samples and bytes per second.
    pub rate: (f64, f64),
    /// When the newest sample was made, on our clock.
    pub at: Option<Duration>,
    /// Why the newest sample cannot be used.
    pub fault: Option<String>,
    /// The newest payload, unless it is big.
    pub latest: Option<Bytes>,
    /// Bytes of the newest payload.
    pub latest_bytes: usize,
    /// Its place in the overview, and the mapping's rule.
    pub slot: Option<(topic_mapping::Slot, usize)>,
    /// Until when a latched value was certainly still valid.
    confirmed: Duration,
    period: Option<Duration>,
    receive_time_ns: i64,
    meter: RateMeter,
}

impl TopicRow {
    fn new(info: Arc<TopicInfo>, now: Now) -> TopicRow {
        TopicRow {
            slot: topic_mapping::slot(&info.name, &info.type_name),
            info,
            listed: true,
            subscribed: false,
            rate: (0.0, 0.0),
            at: None,
            fault: None,
            latest: None,
            latest_bytes: 0,
            confirmed: now.mono,
            period: None,
            receive_time_ns: 0,
            meter: RateMeter::default(),
        }
    }

    /// Whether it is only subscribed while it is selected.
    pub fn heavy(&self) -> bool {
        topic_mapping::is_heavy(&self.info.type_name)
    }

    /// Samples received.
    pub fn samples(&self) -> u64 {
        self.meter.totals().0
    }

    /// The age of the newest sample.
    pub fn age(&self, now: Now) -> Option<Duration> {
        self.at.map(|at| now.since(at))
    }

    /// How far the newest sample can be trusted.
    pub fn quality(&self, now: Now) -> Quality {
        if self.fault.is_some() { Quality::Invalid } else { self.quality_of(self.at, now) }
    }

    /// How far a value of this topic from `at` can be trusted by its age. A latched value does not
    /// age while an endpoint still lists its topic; without one nobody knows whether it holds.
    pub fn quality_of(&self, at: Option<Duration>, now: Now) -> Quality {
        if self.info.latched {
            let horizon = Horizon::from_period(Some(DEFAULT_PERIOD));
            return horizon.quality(at.map(|_| now.since(self.confirmed)));
        }
        let horizon = Horizon::from_period(Some(self.period.unwrap_or(DEFAULT_PERIOD)));
        horizon.quality(at.map(|at| now.since(at)))
    }

    /// Takes in a sample made at `at`.
    pub fn take(&mut self, sample: &LinkSample, at: Duration, selected: bool, now: Now) {
        self.observe_period(sample);
        self.meter.count(now.mono, sample.payload.len());
        self.at = Some(self.at.map_or(at, |old| old.max(at)));
        self.fault = None;
        self.latest_bytes = sample.payload.len();
        self.latest =
            Some(&sample.payload).filter(|payload| selected || payload.len() <= KEPT_BYTES).cloned();
    }

    /// By the gateway's stamps, not by arrival: what is replayed after a failover comes in one go.
    /// A gap counts at most fourfold, so that an outage does not pass for a slow topic.
    fn observe_period(&mut self, sample: &LinkSample) {
        let gap_ns = sample.receive_time_ns.saturating_sub(self.receive_time_ns);
        let first = self.receive_time_ns == 0;
        self.receive_time_ns = self.receive_time_ns.max(sample.receive_time_ns);
        if first || gap_ns <= 0 || sample.stored || sample.replayed {
            return;
        }
        let gap = Duration::from_nanos(gap_ns.unsigned_abs()).min(Duration::from_secs(600));
        self.period = Some(match self.period {
            None => gap,
            Some(period) => period.mul_f64(0.8) + gap.min(period.saturating_mul(4)).mul_f64(0.2),
        });
    }

    fn refresh(&mut self, now: Now, served: bool) {
        if self.listed && served {
            self.confirmed = now.mono;
        }
        let (hz, bytes) = self.meter.rates(now.mono);
        self.rate = match self.period {
            // Below one a second a count per second says 0, 1, 0, 0: the period says it better.
            Some(period) if period >= Duration::from_secs(1) && self.quality(now) != Quality::Stale => {
                let hz = 1.0 / period.as_secs_f64();
                (hz, hz * self.latest_bytes as f64)
            }
            _ => (hz, bytes),
        };
    }
}

/// All topics and the list that shows them.
#[derive(Debug, Default)]
pub struct Topics {
    /// By name.
    pub rows: BTreeMap<String, TopicRow>,
    /// What the list shows, in its order.
    pub visible: Vec<String>,
    /// The line one is on.
    pub selected: Option<String>,
    /// By what it is ordered.
    pub sort: Sort,
    /// Whether the order is turned round.
    pub reversed: bool,
    /// Only topics that have this in their name or type.
    pub filter: String,
    /// Whether the filter is being typed.
    pub filtering: bool,
    /// Which half takes the arrow keys.
    pub focus: Focus,
}

impl Topics {
    /// Takes in the list of the endpoint in use. What it does not have stays, and grows old.
    pub fn list(&mut self, infos: &[TopicInfo], now: Now) {
        self.rows.values_mut().for_each(|row| row.listed = false);
        for info in infos.iter().take(limits::TOPICS) {
            match self.rows.get_mut(&info.name) {
                Some(row) => {
                    row.listed = true;
                    if *row.info != *info {
                        row.slot = topic_mapping::slot(&info.name, &info.type_name);
                        row.info = Arc::new(info.clone());
                    }
                }
                None => self.add(Arc::new(info.clone()), now),
            }
        }
        self.arrange(now);
    }

    fn add(&mut self, info: Arc<TopicInfo>, now: Now) {
        if self.rows.len() >= limits::TOPICS {
            let gone = self.rows.iter().find(|(_, row)| !row.listed).map(|(name, _)| name.clone());
            let Some(gone) = gone else { return };
            self.rows.remove(&gone);
        }
        self.rows.insert(info.name.clone(), TopicRow::new(info, now));
    }

    /// The row a sample belongs to; a sample may come ahead of the list.
    pub fn row_for(&mut self, info: &Arc<TopicInfo>, now: Now) -> Option<&mut TopicRow> {
        if !self.rows.contains_key(&info.name) {
            self.add(info.clone(), now);
            self.arrange(now);
        }
        self.rows.get_mut(&info.name)
    }

    /// The selected row.
    pub fn selected_row(&self) -> Option<&TopicRow> {
        self.rows.get(self.selected.as_ref()?)
    }

    /// Its place in the list.
    pub fn selected_index(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.visible.iter().position(|name| name == selected)
    }

    /// Moves the selection, staying in the list.
    pub fn select(&mut self, by: isize) {
        let last = self.visible.len().saturating_sub(1);
        let at = self.selected_index().unwrap_or(0).saturating_add_signed(by).min(last);
        self.selected = self.visible.get(at).cloned();
    }

    /// Once a tick: rates, and the order where it depends on them.
    pub fn refresh(&mut self, now: Now, served: bool) {
        self.rows.values_mut().for_each(|row| row.refresh(now, served));
        if !matches!(self.sort, Sort::Name | Sort::Type) {
            self.arrange(now);
        }
    }

    /// Filters and orders anew. The selection follows its topic, not its line.
    pub fn arrange(&mut self, now: Now) {
        let needle = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&needle);
        let mut rows: Vec<&TopicRow> =
            self.rows.values().filter(|row| has(&row.info.name) || has(&row.info.type_name)).collect();
        // Letters here and there only when the word itself is nowhere: they hit more than is meant.
        if rows.is_empty() {
            rows.extend(self.rows.values().filter(|row| matches_fuzzily(&row.info.name, &needle)));
        }
        match self.sort {
            Sort::Name => {}
            Sort::Type => rows.sort_by(|a, b| a.info.type_name.cmp(&b.info.type_name)),
            Sort::Rate => rows.sort_by(|a, b| b.rate.0.total_cmp(&a.rate.0)),
            Sort::Bandwidth => rows.sort_by(|a, b| b.rate.1.total_cmp(&a.rate.1)),
            Sort::Age => rows.sort_by_key(|row| row.age(now).unwrap_or(Duration::MAX)),
        }
        if self.reversed {
            rows.reverse();
        }
        self.visible = rows.into_iter().map(|row| row.info.name.clone()).collect();
        if self.selected_index().is_none() {
            self.selected = self.visible.first().cloned();
        }
    }
}

/// The filter's characters in their order, anywhere in the name: `mflt` finds
/// `/motor/front_left/temperature`.
fn matches_fuzzily(name: &str, needle: &str) -> bool {
    let mut rest = name.chars().flat_map(char::to_lowercase);
    needle.chars().all(|wanted| rest.any(|c| c == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_finds_letters_in_order() {
        assert!(matches_fuzzily("/motor/front_left/temperature", "mflt"));
        assert!(matches_fuzzily("/IMU/data", "imu"));
        assert!(!matches_fuzzily("/imu/data", "umi"));
    }
}
