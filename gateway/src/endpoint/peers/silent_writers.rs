//! Finds writers that another endpoint of this computer hears and this one does not, and decides when to join the
//! ROS graph anew. A damaged or forged packet can silence the writer that it names in one DDS participant for good;
//! a new participant hears it at once.

use std::collections::HashMap;
use std::time::Duration;

use roverline_protocol::writer_progress::WriterProgress;
use roverline_protocol::{Guid, Tier};

/// Time after which a writer counts as silent if a peer receives its samples and this endpoint does not.
const SILENT_AFTER_MS: u64 = 2_000;
/// Samples that a peer must get while this endpoint gets none: a single one may be lost.
const ADVANCE_SAMPLES: u64 = 3;
/// Delay between two endpoints that detect the same silence, so that they do not rejoin at the same time.
const STAGGER_MS: u64 = 1_500;
/// The shortest time between two attempts.
const FIRST_RETRY_MS: u64 = 10_000;
/// The longest. An attempt that does not help doubles the time to the next.
const LAST_RETRY_MS: u64 = 640_000;
/// Writers that are followed.
const MAX_FOLLOWED: usize = 1_024;

/// What peers hear, and since when.
#[derive(Debug)]
pub(crate) struct SilentWriters {
    stagger: Duration,
    followed: HashMap<Guid, Comparison>,
    retry: Duration,
    attempted: Option<Duration>,
}

/// Samples of a writer that a peer and this endpoint had received at their first comparison.
#[derive(Clone, Debug)]
struct Comparison {
    theirs: u64,
    own: Option<u64>,
    since: Duration,
    seen: Duration,
    topic: String,
    by: Tier,
    /// Whether only the peer has what this endpoint should have.
    lacking: bool,
}

/// A writer that is heard by another endpoint only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SilentWriter {
    pub(crate) topic: String,
    pub(crate) writer: Guid,
    /// The endpoint that hears it.
    pub(crate) by: Tier,
    pub(crate) silent: Duration,
}

impl SilentWriters {
    /// Of the endpoint of this tier.
    pub(crate) fn new(tier: Tier) -> SilentWriters {
        SilentWriters {
            stagger: Duration::from_millis(STAGGER_MS * u64::from(tier.port_offset())),
            followed: HashMap::new(),
            retry: Duration::from_millis(FIRST_RETRY_MS),
            attempted: None,
        }
    }

    /// Takes what a peer hears. `own` is the sequence number of this endpoint's newest sample of a writer; writers
    /// out of scope are left out by the caller.
    pub(crate) fn observe<'a>(
        &mut self,
        now: Duration,
        by: Tier,
        theirs: impl Iterator<Item = &'a WriterProgress>,
        own: impl Fn(Guid) -> Option<u64>,
    ) {
        for progress in theirs {
            let newest = own(progress.writer);
            // This endpoint goes on hearing it: the comparison begins anew.
            if self.followed.get(&progress.writer).is_some_and(|known| known.own != newest) {
                self.followed.remove(&progress.writer);
            }
            let has_room = self.followed.len() < MAX_FOLLOWED;
            match self.followed.get_mut(&progress.writer) {
                Some(known) => {
                    known.seen = now;
                    known.lacking |= progress.seq >= known.theirs.saturating_add(ADVANCE_SAMPLES);
                }
                None if has_room => {
                    let comparison = Comparison {
                        theirs: progress.seq,
                        own: newest,
                        since: now,
                        seen: now,
                        topic: progress.topic.clone(),
                        by,
                        // A latched sample comes whenever it was written.
                        lacking: progress.latched && newest.is_none(),
                    };
                    self.followed.insert(progress.writer, comparison);
                }
                None => {}
            }
        }
        // No longer listed by anybody.
        let stale = Duration::from_millis(2 * SILENT_AFTER_MS);
        self.followed.retain(|_, known| now.saturating_sub(known.seen) < stale);
    }

    /// Whether the last attempt is long enough ago for another.
    pub(crate) fn may_attempt(&self, now: Duration) -> bool {
        self.attempted.is_none_or(|at| now.saturating_sub(at) >= self.retry)
    }

    /// The writer that has been silent longest, if it is time to join anew for it.
    pub(crate) fn due(&self, now: Duration) -> Option<SilentWriter> {
        let silent = self.silent(now)?;
        let patience = Duration::from_millis(SILENT_AFTER_MS) + self.stagger;
        (silent.silent >= patience && self.may_attempt(now)).then_some(silent)
    }

    /// The writer that has been silent longest, and for long enough to be told.
    pub(crate) fn silent(&self, now: Duration) -> Option<SilentWriter> {
        let lacking = self.followed.iter().filter(|(_, known)| known.lacking);
        let (writer, known) = lacking.min_by_key(|(writer, known)| (known.since, **writer))?;
        let silent = now.saturating_sub(known.since);
        (silent >= Duration::from_millis(SILENT_AFTER_MS)).then(|| SilentWriter {
            topic: known.topic.clone(),
            writer: *writer,
            by: known.by,
            silent,
        })
    }

    /// Records an attempt. One that follows soon after another has not helped, and waits longer.
    pub(crate) fn attempt(&mut self, now: Duration) {
        let last = Duration::from_millis(LAST_RETRY_MS);
        let soon = self.attempted.is_some_and(|at| now.saturating_sub(at) < 4 * self.retry);
        self.retry = if soon { (2 * self.retry).min(last) } else { Duration::from_millis(FIRST_RETRY_MS) };
        self.attempted = Some(now);
        self.followed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: Guid = Guid([7; 16]);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A peer hears 100 samples a second of a writer; this endpoint has `own` of it at each second.
    fn run(tier: Tier, own: impl Fn(u64) -> Option<u64>) -> Vec<u64> {
        let mut silent = SilentWriters::new(tier);
        let mut attempts = Vec::new();
        for second in 0..100 {
            let progress = [WriterProgress {
                topic: "/imu/data".into(),
                type_name: "sensor_msgs/msg/Imu".into(),
                writer: WRITER,
                seq: 100 * second,
                latched: false,
            }];
            let now = ms(1_000 * second);
            silent.observe(now, Tier::Secondary, progress.iter(), |_| own(second));
            if let Some(found) = silent.due(now) {
                assert_eq!((found.topic.as_str(), found.by), ("/imu/data", Tier::Secondary));
                attempts.push(second);
                silent.attempt(now);
            }
        }
        attempts
    }

    #[test]
    fn a_writer_that_both_hear_is_not_silent() {
        assert!(run(Tier::Primary, |second| Some(100 * second)).is_empty());
        assert!(
            run(Tier::Primary, |second| Some((100 * second).saturating_sub(90))).is_empty(),
            "a little late"
        );
        assert!(run(Tier::Primary, |second| Some(100 * second + 5)).is_empty(), "ahead");
    }

    #[test]
    fn a_silenced_writer_is_found_after_two_seconds_and_attempts_become_rarer() {
        assert_eq!(run(Tier::Primary, |_| Some(0)), [2, 12, 32, 72]);
        assert_eq!(run(Tier::Primary, |_| None), [2, 12, 32, 72]);
        // A forged sample far ahead is no sign of life.
        assert_eq!(run(Tier::Primary, |_| Some(1 << 40)), [2, 12, 32, 72]);
        let later = run(Tier::Emergency, |_| None);
        assert_eq!(later[0], 7, "staggered by 4.5 s");
    }

    #[test]
    fn one_attempt_that_helps_is_the_last() {
        let attempts = run(Tier::Primary, |second| if second < 12 { Some(0) } else { Some(100 * second) });
        assert_eq!(attempts, [2]);
    }

    #[test]
    fn a_sample_of_long_ago_and_a_forged_number_are_nothing_to_join_for() {
        let mut silent = SilentWriters::new(Tier::Primary);
        let listed = |seq| {
            let (topic, type_name) = ("/a".to_owned(), "x/msg/Y".to_owned());
            [WriterProgress { topic, type_name, writer: WRITER, seq, latched: false }]
        };
        for second in 0..20 {
            // Volatile and written before this endpoint was there.
            silent.observe(ms(1_000 * second), Tier::Tertiary, listed(7).iter(), |_| None);
            assert_eq!(silent.due(ms(1_000 * second)), None);
        }
        for second in 20..40 {
            // The peer believes a forged number; this endpoint goes on.
            silent.observe(ms(1_000 * second), Tier::Tertiary, listed(1 << 40).iter(), |_| Some(second));
            assert_eq!(silent.due(ms(1_000 * second)), None);
        }
    }

    #[test]
    fn a_latched_sample_that_only_a_peer_has_counts() {
        let mut silent = SilentWriters::new(Tier::Primary);
        let progress = [WriterProgress {
            topic: "/map".into(),
            type_name: "x/msg/Y".into(),
            writer: WRITER,
            seq: 1,
            latched: true,
        }];
        for second in 0..3 {
            silent.observe(ms(1_000 * second), Tier::Tertiary, progress.iter(), |_| None);
        }
        assert!(silent.due(ms(2_000)).is_some());
        assert!(silent.silent(ms(1_999)).is_none());
        silent.observe(ms(2_500), Tier::Tertiary, progress.iter(), |_| Some(1));
        assert!(silent.due(ms(2_500)).is_none(), "heard since");
    }

    #[test]
    fn a_writer_that_no_peer_lists_is_forgotten() {
        let mut silent = SilentWriters::new(Tier::Primary);
        let progress = [WriterProgress {
            topic: "/a".into(),
            type_name: "x/msg/Y".into(),
            writer: WRITER,
            seq: 1,
            latched: true,
        }];
        silent.observe(ms(0), Tier::Tertiary, progress.iter(), |_| None);
        silent.observe(ms(3_999), Tier::Tertiary, std::iter::empty(), |_| None);
        assert!(silent.due(ms(3_999)).is_some());
        silent.observe(ms(4_000), Tier::Tertiary, std::iter::empty(), |_| None);
        assert!(silent.due(ms(4_000)).is_none());
    }
}
