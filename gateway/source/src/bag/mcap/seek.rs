//! Seeks in an indexed MCAP file: skips the chunks before a point in time without unpacking them.

use std::collections::HashMap;

use mcap::records::{MessageIndex, Record, op};

use crate::StopFlag;
use crate::bag::mcap::frame::HEAD;
use crate::bag::mcap::summary::ChunkLocation;
use crate::bag::mcap::{McapRecording, Reading, time};
use crate::bag::recording::{Channel, CorruptRecording, Message, Skipped, add};

/// Per latched channel, the last messages before the seek target: their log times and chunks.
type LastMessages = HashMap<usize, Vec<(i64, ChunkLocation)>>;

/// Removes the chunks that end before `from` from the pass and returns what they contained. All of their
/// messages come before `from`, so they can be counted in any order.
pub(super) fn skip_to(
    recording: &mut McapRecording,
    from: i64,
    stop: &StopFlag,
) -> Result<Skipped, CorruptRecording> {
    let Reading::Indexed(merge) = &mut recording.reading else { return Ok(Skipped::default()) };
    let (before, rest): (Vec<_>, Vec<_>) =
        merge.pending().iter().copied().partition(|chunk| chunk.last < from);
    merge.set_pending(rest);

    let (mut counts, mut last) = (Vec::new(), LastMessages::new());
    for location in before {
        if stop.is_set() {
            break;
        }
        let indexes = match indexes(recording, location) {
            Some(indexes) => indexes,
            None => indexes_by_reading(recording, location)?,
        };
        for (id, times) in indexes {
            let Some(channel) = recording.definitions.index(id) else { continue };
            add(&mut counts, channel, times.len() as u64);
            let most = kept_messages(recording, channel);
            if most > 0 {
                let held = last.entry(channel).or_default();
                held.extend(times.into_iter().map(|time| (time, location)));
                held.sort_by_key(|(time, _)| *time);
                held.drain(..held.len().saturating_sub(most));
            }
        }
    }
    let latched = latched(recording, &last, &counts)?;
    Ok(Skipped { counts, latched })
}

fn kept_messages(recording: &McapRecording, channel: usize) -> usize {
    recording.definitions.channels.get(channel).map_or(0, Channel::kept_messages)
}

/// Log times per channel from the message indexes after a chunk; `None` if they are missing.
fn indexes(recording: &mut McapRecording, location: ChunkLocation) -> Option<Vec<(u16, Vec<i64>)>> {
    let start = location.offset.checked_add(location.length)?;
    let bytes = recording.frames.as_mut()?.bytes(start, location.index_length).ok()??;
    let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
    while let Some((head, body)) = rest.split_at_checked(HEAD as usize) {
        let len = usize::try_from(u64::from_le_bytes(head.get(1..)?.try_into().ok()?)).ok()?;
        let (body, after) = body.split_at_checked(len)?;
        if head.first() != Some(&op::MESSAGE_INDEX) {
            return None;
        }
        let Record::MessageIndex(MessageIndex { channel_id, records }) =
            mcap::parse_record(op::MESSAGE_INDEX, body).ok()?
        else {
            return None;
        };
        found.push((channel_id, records.iter().map(|entry| time(entry.log_time)).collect()));
        rest = after;
    }
    (rest.is_empty() && !found.is_empty()).then_some(found)
}

/// The same, by unpacking the chunk.
fn indexes_by_reading(
    recording: &mut McapRecording,
    location: ChunkLocation,
) -> Result<Vec<(u16, Vec<i64>)>, CorruptRecording> {
    let mut found: HashMap<u16, Vec<i64>> = HashMap::new();
    for entry in recording.read_chunk(location)? {
        found.entry(entry.header.channel_id).or_default().push(time(entry.header.log_time));
    }
    Ok(found.into_iter().collect())
}

/// Reads the last messages of each latched channel; a chunk with several of them is read once.
fn latched(
    recording: &mut McapRecording,
    last: &LastMessages,
    counts: &[u64],
) -> Result<Vec<(u64, Message)>, CorruptRecording> {
    let mut locations: Vec<ChunkLocation> = last.values().flatten().map(|(_, location)| *location).collect();
    locations.sort_by_key(|location| location.offset);
    locations.dedup();
    let mut found: HashMap<usize, Vec<Message>> = HashMap::new();
    for location in locations {
        for entry in recording.read_chunk(location)? {
            let Some(channel) = recording.definitions.index(entry.header.channel_id) else { continue };
            let is_chosen = |all: &Vec<_>| all.iter().any(|(_, chosen)| *chosen == location);
            if last.get(&channel).is_some_and(is_chosen)
                && let Some(message) = recording.message(entry)
            {
                let held = found.entry(channel).or_default();
                held.push(message);
                held.sort_by_key(|message| message.log_time);
                held.drain(..held.len().saturating_sub(kept_messages(recording, channel)));
            }
        }
    }
    let mut latched = Vec::new();
    for (channel, messages) in found {
        let count = counts.get(channel).copied().unwrap_or(0);
        // The newest is the last of them all.
        let first = (count + 1).saturating_sub(messages.len() as u64);
        latched.extend((first..).zip(messages));
    }
    Ok(latched)
}
