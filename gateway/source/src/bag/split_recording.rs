//! Split recordings: several files played as one.

use std::collections::HashMap;

use crate::StopFlag;
use crate::bag::recording::{
    Channel, CorruptRecording, Event, Message, Recording, RecordingStats, Skipped, Span, add, keep_last,
};

/// The parts of a recording, in order. Channels of different parts are the same channel if topic, type
/// and the recorder's channel id are equal.
pub(super) struct SplitRecording {
    parts: Vec<Box<dyn Recording>>,
    current: usize,
    channels: Vec<Channel>,
    /// For each part: our channel index by the part's own.
    maps: Vec<Vec<usize>>,
    indexes: HashMap<(String, String, u32), usize>,
    ignored: Vec<usize>,
}

impl SplitRecording {
    pub(super) fn new(parts: Vec<Box<dyn Recording>>) -> SplitRecording {
        let maps = vec![Vec::new(); parts.len()];
        let mut split_recording = SplitRecording {
            parts,
            current: 0,
            channels: Vec::new(),
            maps,
            indexes: HashMap::new(),
            ignored: Vec::new(),
        };
        (0..split_recording.parts.len()).for_each(|part| split_recording.map_channels(part));
        split_recording
    }

    /// Assigns our own index to channels of a part that are not known yet.
    fn map_channels(&mut self, part: usize) {
        while let Some(channel) = self.parts[part].channels().get(self.maps[part].len()).cloned() {
            let key = (channel.topic.clone(), channel.type_name.clone(), channel.id);
            let fresh = self.channels.len();
            let index = *self.indexes.entry(key).or_insert(fresh);
            if index == fresh {
                self.channels.push(channel);
            } else if self.ignored.contains(&index) {
                let local = self.maps[part].len();
                self.parts[part].ignore(local);
            }
            self.maps[part].push(index);
        }
    }

    /// Reads the rest of a part, all of which lies before the seek target.
    fn read_rest(
        &mut self,
        part: usize,
        into: &mut Skipped,
        stop: &StopFlag,
    ) -> Result<(), CorruptRecording> {
        while let Some(event) = self.parts[part].next()? {
            match event {
                Event::Channels => self.map_channels(part),
                Event::Message(message) => {
                    let message = self.message(part, message);
                    add(&mut into.counts, message.channel, 1);
                    let ordinal = into.counts[message.channel];
                    self.keep_latched(&mut into.latched, ordinal, message);
                }
            }
            if stop.is_set() {
                break;
            }
        }
        Ok(())
    }

    /// Adds a message to the last ones of its channel.
    fn keep_latched(&self, latched: &mut Vec<(u64, Message)>, ordinal: u64, message: Message) {
        let (channel, most) = (message.channel, self.channels[message.channel].kept_messages());
        if most == 0 {
            return;
        }
        let mut last: Vec<_> = latched.drain(..).map(|held| (held.1.channel, held)).collect();
        keep_last(&mut last, channel, (ordinal, message), most);
        latched.extend(last.into_iter().map(|(_, held)| held));
    }

    /// Translates a part's message to our channel index.
    fn message(&self, part: usize, message: Message) -> Message {
        Message { channel: self.maps[part][message.channel], ..message }
    }

    fn add(&self, part: usize, to: &mut Vec<u64>, counts: &[u64]) {
        for (local, n) in counts.iter().enumerate() {
            if let Some(index) = self.maps[part].get(local) {
                add(to, *index, *n);
            }
        }
    }
}

impl Recording for SplitRecording {
    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    fn span(&self) -> Option<Span> {
        let spans = self.parts.iter().map(|part| part.span()).collect::<Option<Vec<_>>>()?;
        spans.into_iter().reduce(|a, b| Span { first: a.first.min(b.first), last: a.last.max(b.last) })
    }

    fn knows_all_channels(&self) -> bool {
        self.parts.iter().all(|part| part.knows_all_channels())
    }

    fn part_read(&self) -> Option<f64> {
        let current = self.parts.get(self.current)?;
        Some((self.current as f64 + current.part_read().unwrap_or(0.0)) / self.parts.len() as f64)
    }

    fn ignore(&mut self, channel: usize) {
        self.ignored.push(channel);
        for (part, map) in self.parts.iter_mut().zip(&self.maps) {
            let local = map.iter().enumerate().filter(|(_, index)| **index == channel);
            local.for_each(|(local, _)| part.ignore(local));
        }
    }

    fn rewind(&mut self) -> Result<(), CorruptRecording> {
        self.current = 0;
        self.parts.first_mut().map_or(Ok(()), |part| part.rewind())
    }

    fn skip_to(&mut self, from: i64, stop: &StopFlag) -> Result<Skipped, CorruptRecording> {
        let mut all = Skipped::default();
        while self.current < self.parts.len() {
            let part = self.current;
            let skipped = self.parts[part].skip_to(from, stop)?;
            for (ordinal, message) in skipped.latched {
                let message = self.message(part, message);
                let before = all.counts.get(message.channel).copied().unwrap_or(0);
                self.keep_latched(&mut all.latched, before + ordinal, message);
            }
            self.add(part, &mut all.counts, &skipped.counts);
            // The part that contains the target is read on from its current position.
            let before = self.parts[part].span().is_some_and(|span| span.last < from);
            if !before || part + 1 == self.parts.len() || stop.is_set() {
                break;
            }
            self.read_rest(part, &mut all, stop)?;
            self.current += 1;
            self.parts[self.current].rewind()?;
        }
        Ok(all)
    }

    fn next(&mut self) -> Result<Option<Event>, CorruptRecording> {
        while let Some(part) = self.parts.get_mut(self.current) {
            match part.next()? {
                Some(Event::Channels) => {
                    self.map_channels(self.current);
                    return Ok(Some(Event::Channels));
                }
                Some(Event::Message(message)) => {
                    return Ok(Some(Event::Message(self.message(self.current, message))));
                }
                None => {
                    self.current += 1;
                    if let Some(next) = self.parts.get_mut(self.current) {
                        next.rewind()?;
                    }
                }
            }
        }
        Ok(None)
    }

    fn read_stats(&mut self, stop: &StopFlag) -> Result<Option<RecordingStats>, CorruptRecording> {
        let mut all = RecordingStats::default();
        for part in 0..self.parts.len() {
            let Some(stats) = self.parts[part].read_stats(stop)? else { return Ok(None) };
            // Reading may have revealed channels that were not declared at the start.
            self.map_channels(part);
            self.add(part, &mut all.counts, &stats.counts);
            if let Some(span) = stats.span {
                all.span = Some(Span::with(Some(Span::with(all.span, span.first)), span.last));
            }
        }
        Ok(Some(all))
    }
}
