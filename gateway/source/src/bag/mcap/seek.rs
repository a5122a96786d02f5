//! Passing over the chunks before a point in time without unpacking them.

use std::collections::HashMap;

use mcap::records::{MessageIndex, Record, op};

use crate::Stop;
use crate::bag::mcap::frame::HEAD;
use crate::bag::mcap::summary::ChunkPlace;
use crate::bag::mcap::{McapRecording, Reading, time};
use crate::bag::recording::{Damage, Message, Skipped, add};

/// The last message of a latched channel before the point: its log time, and its chunk.
type Last = HashMap<usize, (i64, ChunkPlace)>;

/// Drops the chunks that end before `from` from the pass, and says what was in them. All of their
/// messages come before `from`, so the order in which they are counted does not matter.
pub(super) fn skip_to(recording: &mut McapRecording, from: i64, stop: &Stop) -> Result<Skipped, Damage> {
    let Reading::Indexed(merge) = &mut recording.reading else { return Ok(Skipped::default()) };
    let (before, rest): (Vec<_>, Vec<_>) =
        merge.pending().iter().copied().partition(|chunk| chunk.last < from);
    merge.keep(rest);

    let (mut counts, mut last) = (Vec::new(), Last::new());
    for place in before {
        if stop.is_set() {
            break;
        }
        let indexes = match indexes(recording, place) {
            Some(indexes) => indexes,
            None => indexes_by_reading(recording, place)?,
        };
        for (id, times) in indexes {
            let Some(channel) = recording.definitions.index(id) else { continue };
            add(&mut counts, channel, times.len() as u64);
            let latest = times.into_iter().max();
            let latched = recording.definitions.channels.get(channel).is_some_and(|c| c.qos.transient_local);
            if let Some(latest) = latest.filter(|_| latched) {
                let held = last.entry(channel).or_insert((latest, place));
                if latest >= held.0 {
                    *held = (latest, place);
                }
            }
        }
    }
    let latched = latched(recording, &last, &counts)?;
    Ok(Skipped { counts, latched })
}

/// Log times per channel from the message indexes behind a chunk; `None` when they are missing.
fn indexes(recording: &mut McapRecording, place: ChunkPlace) -> Option<Vec<(u16, Vec<i64>)>> {
    let start = place.offset.checked_add(place.length)?;
    let bytes = recording.frames.as_mut()?.bytes(start, place.index_length).ok()??;
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

/// The same by unpacking the chunk.
fn indexes_by_reading(
    recording: &mut McapRecording,
    place: ChunkPlace,
) -> Result<Vec<(u16, Vec<i64>)>, Damage> {
    let mut found: HashMap<u16, Vec<i64>> = HashMap::new();
    for entry in recording.load(place)? {
        found.entry(entry.header.channel_id).or_default().push(time(entry.header.log_time));
    }
    Ok(found.into_iter().collect())
}

/// Fetches the last message of each latched channel; a chunk that holds several is read once.
fn latched(
    recording: &mut McapRecording,
    last: &Last,
    counts: &[u64],
) -> Result<Vec<(u64, Message)>, Damage> {
    let mut places: Vec<ChunkPlace> = last.values().map(|(_, place)| *place).collect();
    places.sort_by_key(|place| place.offset);
    places.dedup();
    let mut found: HashMap<usize, Message> = HashMap::new();
    for place in places {
        for entry in recording.load(place)? {
            let Some(channel) = recording.definitions.index(entry.header.channel_id) else { continue };
            if last.get(&channel).is_some_and(|(_, chosen)| *chosen == place)
                && let Some(message) = recording.message(entry)
            {
                found.insert(channel, message);
            }
        }
    }
    Ok(found.into_values().map(|m| (counts.get(m.channel).copied().unwrap_or(0), m)).collect())
}
