//! All topics that were ever listed, with rate and age.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::quality::{AgeThresholds, Quality};
use bytes::Bytes;
use roverline_client::LinkSample;
use roverline_protocol::limits;
use roverline_protocol::native::TopicInfo;
use roverline_protocol::rate::RateMeter;

use crate::model::Now;
use crate::model::history::Kept;
use crate::topic_mapping;

/// Larger payloads are kept for the selected topic only.
const KEPT_BYTES: usize = 64 << 10;
/// Assumed period of a topic before it is measured.
const DEFAULT_PERIOD: Duration = Duration::from_secs(1);
/// Without any endpoint, values are ageing at once and stale after this time, however slow their
/// topic is.
const UNSERVED_STALE: Duration = Duration::from_secs(2);
/// Most characters of a filter.
pub const FILTER_CHARS: usize = 64;

/// Sort order of the list.
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
    /// Newest first.
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

/// Which pane has the focus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Focus {
    /// The list.
    #[default]
    List,
    /// The fields.
    Fields,
}

/// State of a topic.
#[derive(Clone, Debug)]
pub struct TopicRow {
    /// Description from the endpoint.
    pub info: Arc<TopicInfo>,
    /// Whether the endpoint in use lists it.
    pub listed: bool,
    /// Whether it is subscribed.
    pub subscribed: bool,
    /// Samples and bytes per second.
    pub rate: (f64, f64),
    /// When the newest sample was created, on our clock.
    pub at: Option<Duration>,
    /// Why the newest sample cannot be used.
    pub fault: Option<String>,
    /// The newest payload, unless it is large.
    pub latest: Option<Bytes>,
    /// Size of the newest payload in bytes.
    pub latest_bytes: usize,
    /// Its slot in the overview, and the mapping's rule.
    pub slot: Option<(topic_mapping::Slot, usize)>,
    /// Until when a latched value was known to be valid.
    confirmed: Duration,
    /// Since when no endpoint is connected.
    unserved_since: Option<Duration>,
    period: Option<Duration>,
    receive_time_ns: i64,
    /// Whether its value is one that the gateway kept.
    is_stored: bool,
    meter: RateMeter,
    /// Samples when its value was last recorded.
    recorded: u64,
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
            unserved_since: None,
            period: None,
            receive_time_ns: 0,
            is_stored: false,
            meter: RateMeter::default(),
            recorded: 0,
        }
    }

    /// Whether it is subscribed only while it is selected.
    pub fn heavy(&self) -> bool {
        topic_mapping::is_heavy(&self.info.type_name)
    }

    /// Whether the endpoint was not asked for it: nothing is known of its samples then.
    pub fn is_unasked(&self) -> bool {
        self.listed && !self.subscribed
    }

    /// The stamp of its value, if that is a stored one still.
    pub fn stored_stamp_ns(&self) -> Option<i64> {
        (self.is_stored && self.receive_time_ns > 0).then_some(self.receive_time_ns)
    }

    /// Whether samples have come since its value was recorded.
    pub fn has_unrecorded(&self) -> bool {
        self.samples() != self.recorded
    }

    /// Its value has been recorded.
    pub fn set_recorded(&mut self) {
        self.recorded = self.samples();
    }

    /// The period of its samples, once it is known.
    pub fn period(&self) -> Option<Duration> {
        self.period
    }

    /// Sets it to a recorded value. Its rate is not known then.
    pub fn restore(&mut self, kept: &Kept) {
        self.at = Some(kept.at);
        self.period = kept.period;
        self.latest_bytes = kept.payload.len();
        self.latest = Some(kept.payload.clone());
        self.subscribed = true;
        self.rate = (f64::NAN, f64::NAN);
    }

    /// Samples received.
    pub fn samples(&self) -> u64 {
        self.meter.totals().0
    }

    /// Age of the newest sample.
    pub fn age(&self, now: Now) -> Option<Duration> {
        self.at.map(|at| now.since(at))
    }

    /// Quality of the newest sample.
    pub fn quality(&self, now: Now) -> Quality {
        if self.fault.is_some() { Quality::Invalid } else { self.quality_of(self.at, now) }
    }

    /// Quality of a value of this topic from `at`, by its age. A latched value does not age while
    /// an endpoint still lists its topic; without one its validity is unknown. Nothing is fresh
    /// while no endpoint is connected.
    pub fn quality_of(&self, at: Option<Duration>, now: Now) -> Quality {
        let by_age = match self.info.latched {
            true => {
                let horizon = AgeThresholds::from_period(Some(DEFAULT_PERIOD));
                horizon.quality(at.map(|_| now.since(self.confirmed)))
            }
            false => {
                let horizon = AgeThresholds::from_period(Some(self.period.unwrap_or(DEFAULT_PERIOD)));
                horizon.quality(at.map(|at| now.since(at)))
            }
        };
        match self.unserved_since {
            Some(_) if by_age == Quality::Never => Quality::Never,
            Some(since) if now.since(since) > UNSERVED_STALE => by_age.max(Quality::Stale),
            Some(_) => by_age.max(Quality::Ageing),
            None => by_age,
        }
    }

    /// Until when a value from `at` was known to be true.
    pub fn vouched(&self, at: Duration) -> Duration {
        if self.info.latched { at.max(self.confirmed) } else { at }
    }

    /// Records a sample created at `at`.
    pub fn take(&mut self, sample: &LinkSample, at: Duration, selected: bool, now: Now) {
        self.observe_period(sample);
        self.meter.count(now.mono, sample.payload.len());
        self.is_stored = sample.stored;
        self.at = Some(self.at.map_or(at, |old| old.max(at)));
        self.fault = None;
        self.latest_bytes = sample.payload.len();
        self.latest =
            Some(&sample.payload).filter(|payload| selected || payload.len() <= KEPT_BYTES).cloned();
    }

    /// Counts a sample that came after a newer one, whose value is shown.
    pub fn take_late(&mut self, sample: &LinkSample, now: Now) {
        self.meter.count(now.mono, sample.payload.len());
    }

    /// By the gateway's stamps, not by arrival: a replay after a failover arrives at once. A gap
    /// counts at most fourfold, so that an outage does not make the topic look slow.
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

    fn refresh(&mut self, now: Now, heard: bool) {
        if self.listed && heard {
            self.confirmed = now.mono;
        }
        let (hz, bytes) = self.meter.rates(now.mono);
        self.rate = match self.period {
            // Below one per second a count per second alternates between 0 and 1: the period is
            // better.
            Some(period) if period >= Duration::from_secs(1) && self.quality(now) != Quality::Stale => {
                let hz = 1.0 / period.as_secs_f64();
                (hz, hz * self.latest_bytes as f64)
            }
            _ => (hz, bytes),
        };
    }
}

/// All topics, and the list that shows them.
#[derive(Debug, Default)]
pub struct Topics {
    /// By name.
    pub rows: BTreeMap<String, TopicRow>,
    /// Names in the list, in order.
    pub visible: Vec<String>,
    /// Index of the cursor's row.
    pub selected: Option<String>,
    /// Sort column.
    pub sort: Sort,
    /// Whether the order is reversed.
    pub reversed: bool,
    /// Only topics with this in their name or type.
    pub filter: String,
    /// Whether the filter is being typed.
    pub filtering: bool,
    /// Which pane has the focus.
    pub focus: Focus,
    /// Whether an endpoint is connected.
    served: bool,
}

impl Topics {
    /// Applies the list of the endpoint in use. Topics missing from it stay and age.
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

    /// Records whether an endpoint is connected.
    pub fn set_served(&mut self, served: bool, now: Now) {
        if std::mem::replace(&mut self.served, served) != served {
            let since = (!served).then_some(now.mono);
            self.rows.values_mut().for_each(|row| row.unserved_since = since);
        }
    }

    /// The row of a sample, which may arrive before the list.
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

    /// Its index in the list.
    pub fn selected_index(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.visible.iter().position(|name| name == selected)
    }

    /// Moves the selection within the list.
    pub fn select(&mut self, by: isize) {
        let last = self.visible.len().saturating_sub(1);
        let at = self.selected_index().unwrap_or(0).saturating_add_signed(by).min(last);
        self.selected = self.visible.get(at).cloned();
    }

    /// Takes over what the list of another moment shows: filter, order, focus and selection.
    pub fn adopt(&mut self, other: &Topics, now: Now) {
        self.filter.clone_from(&other.filter);
        (self.sort, self.reversed, self.focus) = (other.sort, other.reversed, other.focus);
        self.selected.clone_from(&other.selected);
        self.arrange(now);
    }

    /// Updates rates once per tick, and the order if it depends on them. `heard`: the endpoint in
    /// use is not silent.
    pub fn refresh(&mut self, now: Now, heard: bool) {
        self.rows.values_mut().for_each(|row| row.refresh(now, heard));
        if !matches!(self.sort, Sort::Name | Sort::Type) {
            self.arrange(now);
        }
    }

    /// Filters and sorts. The selection follows its topic, not its row.
    pub fn arrange(&mut self, now: Now) {
        let needle = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&needle);
        let mut rows: Vec<&TopicRow> =
            self.rows.values().filter(|row| has(&row.info.name) || has(&row.info.type_name)).collect();
        // Scattered letters match only if the word itself matches nothing: they match too much.
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

/// Whether the filter's characters occur in this order in the name: `mflt` matches
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
