//! The newest sample of each writer, by which endpoints compare what they hear.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use roverline_protocol::Guid;
use roverline_source::{RawSample, TopicKey};

/// Writers that are remembered; the one that has been silent longest makes room.
const MAX_WRITERS: usize = 1024;
/// Writers that are listed for another endpoint: about 15 kB of its answer.
pub(crate) const LISTED_WRITERS: usize = 128;

/// A writer's newest sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewestSample {
    pub(crate) topic: TopicKey,
    pub(crate) seq: u64,
    /// When it arrived (monotonic).
    at: Duration,
    /// When the first one arrived, and how many have.
    first: Duration,
    count: u64,
    /// The interval of its samples when a silence was first reported: it counts as steady from then on, because what
    /// silenced it may do so again at once.
    interval: Option<Duration>,
    /// How often its present silence has been reported.
    reported: u8,
    /// Whether a silence that was reported went on: it is the writer's own, and is not reported again.
    own_silence: bool,
    /// Which of the last 64 numbers have come; the lowest bit is `seq`.
    recent: u64,
}

impl NewestSample {
    /// The interval of its samples, if it has come steadily.
    fn steady_interval(&self) -> Option<Duration> {
        let (time, count) = (self.at - self.first, u32::try_from(self.count).unwrap_or(u32::MAX));
        (self.count >= STEADY_SAMPLES && time >= STEADY_TIME).then(|| time / count)
    }
}

/// A writer that came steadily and does not come any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FellSilent {
    pub(crate) writer: Guid,
    pub(crate) topic: TopicKey,
    pub(crate) silent: Duration,
    /// The rate before, samples per second.
    pub(crate) rate_hz: f64,
}

/// A writer is steady if it has sent this many samples in at least this time.
const STEADY_SAMPLES: u64 = 20;
const STEADY_TIME: Duration = Duration::from_secs(5);
/// It has fallen silent if nothing has come for this time and for so many of its intervals.
const FELL_SILENT: Duration = Duration::from_secs(5);
const SILENT_INTERVALS: u32 = 20;
/// How often one silence is reported: what silenced the writer may go on for a while.
const MAX_REPORTS: u8 = 4;
/// A writer that is silent for longer than this, although its silence was reported, is never reported again.
const REPORTED_ONCE: Duration = Duration::from_secs(15);
/// How long samples may arrive again after a source has rejoined the graph.
const REPEATS_MS: u64 = 10_000;

/// The newest sample of each writer.
#[derive(Debug, Default)]
pub(crate) struct WriterTable {
    newest: HashMap<Guid, NewestSample>,
    /// Until when samples come again, after another run of the source has joined the graph.
    repeats_until: Option<Duration>,
}

impl WriterTable {
    /// Records a sample; returns whether it is new.
    pub(crate) fn record(&mut self, topic: TopicKey, sample: &RawSample, now: Duration) -> bool {
        self.repeats_until.take_if(|until| *until <= now);
        let seq = sample.id.seq;
        if self.repeats_until.is_some()
            && let Some(known) = self.newest.get_mut(&sample.id.source)
            && seq <= known.seq
        {
            // Of two runs one can be ahead: what has not come yet is new.
            let bit = u32::try_from(known.seq - seq).ok().and_then(|behind| 1_u64.checked_shl(behind));
            let is_new = bit.is_some_and(|bit| known.recent & bit == 0);
            known.recent |= bit.unwrap_or_default();
            return is_new;
        }
        match self.newest.get_mut(&sample.id.source) {
            Some(known) => {
                let own_silence =
                    known.own_silence || known.reported > 0 && now.saturating_sub(known.at) >= REPORTED_ONCE;
                let (first, count) = if known.reported > 0 { (now, 0) } else { (known.first, known.count) };
                let ahead = seq.checked_sub(known.seq).and_then(|ahead| u32::try_from(ahead).ok());
                let recent = ahead.and_then(|ahead| known.recent.checked_shl(ahead)).unwrap_or(0) | 1;
                *known = NewestSample {
                    topic,
                    seq,
                    at: now,
                    first,
                    count: count + 1,
                    interval: known.interval,
                    reported: 0,
                    own_silence,
                    recent,
                };
            }
            None => {
                // Earlier samples are history and count as delivered.
                let (reported, own_silence, recent) = (0, false, u64::MAX);
                let interval = None;
                let newest = NewestSample {
                    topic,
                    seq,
                    at: now,
                    first: now,
                    count: 1,
                    interval,
                    reported,
                    own_silence,
                    recent,
                };
                self.insert(sample.id.source, newest);
            }
        }
        true
    }

    /// Another run of the source has joined the graph: both deliver for a while, and histories come again.
    pub(crate) fn rejoined(&mut self, now: Duration) {
        self.repeats_until = Some(now + Duration::from_millis(REPEATS_MS));
    }

    fn insert(&mut self, writer: Guid, newest: NewestSample) {
        if self.newest.len() >= MAX_WRITERS
            && let Some(oldest) =
                self.newest.iter().min_by_key(|(_, known)| known.at).map(|(writer, _)| *writer)
        {
            self.newest.remove(&oldest);
        }
        self.newest.insert(writer, newest);
    }

    pub(crate) fn seq(&self, writer: Guid) -> Option<u64> {
        self.newest.get(&writer).map(|newest| newest.seq)
    }

    /// A writer of one of these topics that came steadily and has fallen silent; each silence is reported a few times.
    pub(crate) fn fell_silent(
        &mut self,
        now: Duration,
        watched: impl Fn(TopicKey) -> bool,
    ) -> Option<FellSilent> {
        let is_silent = |known: &NewestSample| {
            let silent = now.saturating_sub(known.at);
            let expected = known.steady_interval().or(known.interval);
            silent >= FELL_SILENT && expected.is_some_and(|interval| silent >= SILENT_INTERVALS * interval)
        };
        // Topics with another active writer are skipped: the silent writer has probably been replaced.
        let going_on: HashSet<TopicKey> = self
            .newest
            .values()
            .filter(|known| now.saturating_sub(known.at) < FELL_SILENT)
            .map(|known| known.topic)
            .collect();
        let mut all = self.newest.iter_mut();
        let (writer, known) = all.find(|(_, known)| {
            known.reported < MAX_REPORTS
                && !known.own_silence
                && is_silent(known)
                && !going_on.contains(&known.topic)
                && watched(known.topic)
        })?;
        known.reported += 1;
        known.interval = known.steady_interval().or(known.interval);
        let rate_hz = 1.0 / known.interval.unwrap_or_default().as_secs_f64().max(1e-6);
        Some(FellSilent {
            writer: *writer,
            topic: known.topic,
            silent: now.saturating_sub(known.at),
            rate_hz,
        })
    }

    /// The writers that were heard most recently, [`LISTED_WRITERS`] at most.
    pub(crate) fn newest(&self) -> Vec<(Guid, NewestSample)> {
        let mut newest: Vec<_> = self.newest.iter().map(|(writer, sample)| (*writer, *sample)).collect();
        newest.sort_by_key(|(writer, sample)| (Reverse(sample.at), *writer));
        newest.truncate(LISTED_WRITERS);
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::encoding::test_encoding::sample;

    fn of(writer: u16, seq: u64) -> RawSample {
        let mut sample = sample(seq, 1);
        sample.id.source = Guid([0; 16]);
        sample.id.source.0[..2].copy_from_slice(&writer.to_be_bytes());
        sample
    }

    #[test]
    fn writers_are_listed_by_their_newest_sample() {
        let mut table = WriterTable::default();
        for (writer, seq, at) in [(1, 5, 1), (2, 9, 2), (1, 6, 3)] {
            assert!(table.record(TopicKey(7), &of(writer, seq), Duration::from_secs(at)));
        }
        let listed: Vec<u64> = table.newest().iter().map(|(_, sample)| sample.seq).collect();
        assert_eq!(listed, [6, 9]);
        assert_eq!(table.seq(of(2, 0).id.source), Some(9));
        assert_eq!(table.seq(of(3, 0).id.source), None);
    }

    #[test]
    fn writers_are_bounded_and_the_longest_silent_makes_room() {
        let mut table = WriterTable::default();
        for writer in 0..=MAX_WRITERS as u16 {
            table.record(TopicKey(1), &of(writer, 1), Duration::from_secs(u64::from(writer)));
        }
        assert_eq!(table.newest.len(), MAX_WRITERS);
        assert_eq!(table.seq(of(0, 0).id.source), None, "the oldest is gone");
        assert_eq!(table.newest().len(), LISTED_WRITERS);
    }

    #[test]
    fn a_writer_that_came_steadily_falls_silent_once() {
        let mut table = WriterTable::default();
        let ms = Duration::from_millis;
        let run = |table: &mut WriterTable, writer: u16, interval: u64, from: u64, to: u64| {
            for at in (from..to).step_by(interval as usize) {
                table.record(TopicKey(u32::from(writer)), &of(writer, at), ms(at));
            }
        };
        run(&mut table, 1, 100, 0, 6_000);
        run(&mut table, 2, 100, 0, 3_000);
        run(&mut table, 3, 1_000, 0, 30_000);
        assert_eq!(table.fell_silent(ms(10_899), |_| true), None, "not for long enough");
        assert_eq!(table.fell_silent(ms(11_000), |_| false), None, "not watched");
        let found = table.fell_silent(ms(11_000), |_| true).unwrap();
        assert_eq!((found.writer, found.silent), (of(1, 0).id.source, ms(5_100)));
        assert!((9.0..11.0).contains(&found.rate_hz), "{}", found.rate_hz);
        for _ in 1..MAX_REPORTS {
            assert!(table.fell_silent(ms(12_000), |_| true).is_some(), "it may not have helped yet");
        }
        assert_eq!(
            table.fell_silent(ms(40_000), |_| true),
            None,
            "the second was not steady, the third is slow"
        );
        run(&mut table, 1, 100, 50_000, 56_000);
        let first = |key| key == TopicKey(1);
        assert_eq!(table.fell_silent(ms(62_000), first), None, "joining anew did not help then");
        run(&mut table, 4, 100, 0, 6_000);
        table.record(TopicKey(4), &of(5, 1), ms(10_000));
        let fourth = |key| key == TopicKey(4);
        assert_eq!(table.fell_silent(ms(11_500), fourth), None, "its successor goes on");
        assert!(table.fell_silent(ms(15_500), fourth).is_some(), "and then it does not");
        // What silences a writer does so again, after a few samples.
        run(&mut table, 6, 100, 0, 6_000);
        let sixth = |key| key == TopicKey(6);
        for resumed in [12_000, 18_000, 24_000] {
            assert!(table.fell_silent(ms(resumed - 500), sixth).is_some(), "{resumed}");
            run(&mut table, 6, 100, resumed, resumed + 300);
        }
    }

    #[test]
    fn samples_that_come_again_are_dropped_for_a_while() {
        let mut table = WriterTable::default();
        let (key, s) = (TopicKey(1), Duration::from_secs);
        assert!(table.record(key, &of(1, 5), s(1)));
        table.rejoined(s(2));
        assert!(!table.record(key, &of(1, 4), s(3)) && !table.record(key, &of(1, 5), s(3)));
        assert!(table.record(key, &of(1, 6), s(3)) && table.record(key, &of(2, 1), s(3)));
        assert!(!table.record(key, &of(1, 6), s(4)), "both runs deliver");
        assert!(table.record(key, &of(1, 9), s(4)) && table.record(key, &of(1, 7), s(4)), "one run is ahead");
        assert!(!table.record(key, &of(1, 7), s(4)) && !table.record(key, &of(1, 9), s(4)));
        assert!(table.record(key, &of(1, 1), s(12)), "a writer of the same GUID that began again");
    }
}
