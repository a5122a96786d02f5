//! Evaluates all conditions of an endpoint, several times a second.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::ScopeSet;
use roverline_protocol::alarms::debounce::Debounce;
use roverline_protocol::alarms::id::alarm_id;
use roverline_protocol::alarms::record::{Observation, Reading};
use roverline_protocol::alarms::rule::LimitRule;
use roverline_protocol::api::alarms::AlarmSeverity;
use roverline_protocol::routing::Rule;
use roverline_source::clock::{monotonic, unix_ns};
use tokio::time::MissedTickBehavior;

use crate::config::{AlarmSettings, SourceKind};
use crate::endpoint::Endpoint;
use crate::endpoint::alarms::finding::Finding;
use crate::endpoint::alarms::limit_watch::LimitWatch;
use crate::endpoint::alarms::rates::RateWatch;
use crate::endpoint::alarms::settings::{Settings, follow_settings};
use crate::endpoint::alarms::statuses::StatusWatch;
use crate::endpoint::alarms::{system, writer};
use crate::endpoint::peers::promotion::TierView;
use crate::endpoint::peers::state::PeerState;

/// Interval of evaluations.
const PERIOD: Duration = Duration::from_millis(200);
/// Evaluations between two reports of changed values of active alarms: each is a list for every session that watches.
const REPORT_EVALUATIONS: u32 = 25;
/// Interval at which queues and disks are read.
const SYSTEM_PERIOD: Duration = Duration::from_secs(10);
/// How long the first snapshot of the store is waited for.
const STORE_GRACE: Duration = Duration::from_secs(3);
/// A condition that nobody has evaluated for so long is over.
const UNEVALUATED: Duration = Duration::from_secs(600);

/// What an endpoint evaluates.
pub(crate) struct AlarmPlan {
    /// The settings.
    pub(crate) settings: AlarmSettings,
    /// The compiled rules.
    pub(crate) rules: Vec<LimitRule>,
    /// The routing rules, for expected rates.
    pub(crate) routes: Vec<Rule>,
}

/// Evaluates, writes and follows alarms forever.
pub(crate) async fn evaluate_alarms(endpoint: Arc<Endpoint>, plan: AlarmPlan) {
    let shared = &endpoint.coordination.alarms;
    let system = Mutex::new(Vec::new());
    let disks = async {
        loop {
            let found = read_system(&endpoint, &plan.settings).await;
            *system.lock() = found;
            writer::remove_old(shared, unix_ns()).await;
            tokio::time::sleep(SYSTEM_PERIOD).await;
        }
    };
    let follow = async {
        let mut changes = shared.changes();
        // The sender lives as long as the endpoint.
        while changes.changed().await.is_ok() {
            endpoint.alarms.notify();
        }
    };
    tokio::join!(
        shared.run_replica(),
        follow,
        writer::write_records(&endpoint.alarms, shared),
        follow_settings(&endpoint),
        disks,
        Evaluator::new(&endpoint, &plan).run(&system),
    );
}

/// Queues and disks, as far as they can be read.
async fn read_system(endpoint: &Endpoint, settings: &AlarmSettings) -> Vec<Finding> {
    let shared = &endpoint.coordination.alarms;
    let snapshot = endpoint.system.read().await;
    let current = |id: &str| endpoint.alarms.current(shared, id);
    let id = alarm_id(&["disk", &snapshot.computer.name]);
    let mut found: Vec<Finding> =
        system::disk(&snapshot.computer, settings.disk_percent, current(&id)).into_iter().collect();
    // Only where they are written: counting a queue reads it.
    if better_scopes(endpoint).is_empty()
        && let Some(queues) = system::queues(endpoint, settings.queue_age_s, unix_ns()).await
    {
        found.extend(queues);
    }
    found
}

/// The scopes of each better endpoint that lives.
pub(super) fn better_scopes(endpoint: &Endpoint) -> Vec<ScopeSet> {
    let now = monotonic();
    endpoint.peers.with(|known| {
        let better = known.iter().filter(|peer| peer.view(now) == TierView::Living);
        let better = better.map(PeerState::document).filter(|document| document.tier < endpoint.tier);
        better.map(|document| document.scopes).collect()
    })
}

struct Evaluator<'a> {
    endpoint: &'a Endpoint,
    settings: &'a AlarmSettings,
    limits: LimitWatch,
    configured: &'a [LimitRule],
    statuses: StatusWatch,
    rates: RateWatch,
    debounces: HashMap<String, Debounce>,
    /// When each alarm was evaluated last (monotonic).
    evaluated: HashMap<String, Duration>,
    started: Duration,
    /// The limits and rates of operators, as they were adopted.
    adopted: Arc<Settings>,
    /// The alarms of rules and expected rates, as of the last evaluation.
    ruled: HashSet<String>,
    /// What was shown of active alarms.
    shown: u64,
}

impl<'a> Evaluator<'a> {
    fn new(endpoint: &'a Endpoint, plan: &'a AlarmPlan) -> Evaluator<'a> {
        let started = monotonic();
        Evaluator {
            endpoint,
            settings: &plan.settings,
            limits: LimitWatch::new(plan.rules.clone()),
            configured: &plan.rules,
            statuses: StatusWatch::default(),
            rates: RateWatch::new(&plan.routes, plan.settings.topic_rate, started),
            debounces: HashMap::new(),
            evaluated: HashMap::new(),
            started,
            adopted: Arc::default(),
            ruled: HashSet::new(),
            shown: 0,
        }
    }

    async fn run(mut self, system: &Mutex<Vec<Finding>>) {
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0_u32;
        loop {
            tick.tick().await;
            count = count.wrapping_add(1);
            let now = monotonic();
            let mut findings = self.find(now);
            findings.extend(system.lock().iter().cloned());
            self.apply(findings, now);
            if count.is_multiple_of(REPORT_EVALUATIONS) {
                self.end_unevaluated(now);
                self.report_values();
            }
        }
    }

    fn find(&mut self, now: Duration) -> Vec<Finding> {
        let endpoint = self.endpoint;
        let shared = &endpoint.coordination.alarms;
        let current = |id: &str| endpoint.alarms.current(shared, id);
        let better = better_scopes(endpoint);
        let followed = |scopes| better.iter().any(|better| better.intersects(scopes));
        let settings = endpoint.alarms.settings();
        let is_changed = !Arc::ptr_eq(&settings, &self.adopted);
        if is_changed {
            self.limits = LimitWatch::new(settings.rules(self.configured));
            self.adopted = settings.clone();
        }
        let mut findings = self.limits.find(&endpoint.hub, now, current, followed);
        // A relay passes on what the radio allows, and stamps of a recording are old.
        let is_live = !matches!(endpoint.source_kind, SourceKind::Upstream | SourceKind::Bag);
        if is_live {
            findings.extend(self.rates.find(&endpoint.hub, &settings, now, current, followed));
        }
        self.end_removed(findings.iter().map(|finding| finding.id.clone()).collect(), is_changed);
        if self.settings.diagnostics {
            findings.extend(self.statuses.find(&endpoint.hub, now, followed));
        }
        let own = |finding| Finding { is_followed: !better.is_empty(), ..finding };
        findings.push(own(system::redundancy(endpoint.tier, endpoint.peers.views(now))));
        if is_live {
            let clock = system::clock(endpoint, self.settings.clock_offset_s, now, current("clock"));
            findings.extend(clock.map(own));
        }
        findings
    }

    /// Applies delays, and proposes what changes.
    fn apply(&mut self, findings: Vec<Finding>, now: Duration) {
        let board = &self.endpoint.alarms;
        let shared = &self.endpoint.coordination.alarms;
        let unshared = shared.unshared();
        let waits = unshared.is_some() && now.saturating_sub(self.started) < STORE_GRACE;
        let mut readings = HashMap::new();
        for finding in findings {
            let debounce = self.debounces.entry(finding.id.clone()).or_default();
            let record = board.record(shared, &finding.id);
            let before = record.condition.severity;
            let severity = debounce.observe(before, finding.severity, finding.delays, now);
            if finding.severity.is_some() {
                self.evaluated.insert(finding.id.clone(), now);
                let is_own = !finding.is_followed || unshared.is_some();
                let mut observation = self.observation(&finding, severity, severity > before);
                if finding.severity == Some(None) && severity.is_some() {
                    // It only seems to be over yet.
                    let condition = &record.condition;
                    (observation.text, observation.value) = (condition.text.clone(), condition.value);
                }
                if let Some(next) = record.observe(&observation, unix_ns()).filter(|_| is_own && !waits) {
                    board.propose(shared, &finding.id, next);
                }
            }
            let Finding { id, value, quality, severity, text, .. } = finding;
            // While the condition only seems to be over, the text is that of the record.
            let text = if severity == Some(None) { String::new() } else { text };
            readings.insert(id, Reading { value, text, quality });
        }
        self.debounces.retain(|id, _| readings.contains_key(id));
        let is_known =
            |id: &String| readings.contains_key(id) || shared.with(|records| records.contains_key(id));
        self.evaluated.retain(|id, _| is_known(id));
        board.set_readings(readings);
    }

    fn observation(&self, finding: &Finding, severity: Option<AlarmSeverity>, is_new: bool) -> Observation {
        let topic = finding.subject.topic.as_deref().filter(|_| is_new && severity.is_some());
        let ring = self.endpoint.hub.sample_ring();
        let trace = topic.zip(ring).and_then(|(topic, ring)| ring.list(topic, 1).into_iter().next());
        Observation {
            evaluated_by: Some(self.endpoint.tier),
            trace_id: trace.map(|trace| trace.trace_id),
            ..finding.observation(severity)
        }
    }

    /// Ends the conditions of limits and rates that operators have removed.
    fn end_removed(&mut self, ruled: HashSet<String>, is_changed: bool) {
        let before = std::mem::replace(&mut self.ruled, ruled);
        if !is_changed || !better_scopes(self.endpoint).is_empty() {
            return;
        }
        let removed: Vec<String> = before.difference(&self.ruled).cloned().collect();
        for id in removed {
            let record = self.endpoint.alarms.record(&self.endpoint.coordination.alarms, &id);
            if record.condition.severity.is_some() {
                self.end(&id, "the condition of a removed limit or rate is over");
            }
        }
    }

    /// Ends a condition that is not evaluated any more.
    fn end(&self, id: &str, why: &str) {
        let board = &self.endpoint.alarms;
        let shared = &self.endpoint.coordination.alarms;
        let record = board.record(shared, id);
        let subject = record.condition.subject.clone();
        let observation =
            Observation { evaluated_by: Some(self.endpoint.tier), subject, ..Observation::default() };
        if let Some(next) = record.observe(&observation, unix_ns()) {
            tracing::info!(event_type = "alarm.unevaluated", id, "{why}");
            board.propose(shared, id, next);
        }
    }

    /// Ends conditions that nobody evaluates any more: of topics that are gone for long, or rules that are no longer there.
    fn end_unevaluated(&mut self, now: Duration) {
        let shared = &self.endpoint.coordination.alarms;
        if !better_scopes(self.endpoint).is_empty() {
            return;
        }
        let active: Vec<String> = shared.with(|records| {
            let active = records.iter().filter(|(_, record)| record.condition.severity.is_some());
            active.map(|(id, _)| id.clone()).collect()
        });
        for id in active {
            let at = *self.evaluated.entry(id.clone()).or_insert(now);
            if now.saturating_sub(at) < UNEVALUATED {
                continue;
            }
            self.end(&id, "a condition that nobody evaluates any more is over");
        }
    }

    /// Notifies of changed values of active alarms.
    fn report_values(&mut self) {
        let board = &self.endpoint.alarms;
        let shared = &self.endpoint.coordination.alarms;
        let now_ns = unix_ns();
        let mut hasher = DefaultHasher::new();
        for alarm in board.documents(shared, now_ns).iter().filter(|alarm| alarm.active) {
            (&alarm.id, &alarm.text, alarm.quality, alarm.shelved.is_some()).hash(&mut hasher);
        }
        let shown = hasher.finish();
        if std::mem::replace(&mut self.shown, shown) != shown {
            board.notify();
        }
    }
}
