//! Checks of the arguments of queue operations.

use std::time::Duration;

use crate::limits;
use crate::queues::error::QUEUE_DELIVERY_MAX_ATTEMPTS;
use crate::queues::{Message, QueueError, Settings, check_name};

pub(super) fn check_batch(messages: &[Message]) -> Result<(), QueueError> {
    check_batch_size(messages.len())?;
    for message in messages {
        if message.priority > limits::QUEUE_PRIORITY_ELEMENTS {
            return Err(QueueError::InvalidPriority(message.priority));
        }
        if let Some(delay) = message.delay {
            check_duration(delay)?;
        }
        message.dedup.as_deref().map_or(Ok(()), check_name)?;
    }
    let bytes = messages.iter().map(|message| message.body.len()).sum();
    if bytes > limits::QUEUE_BATCH_BYTES { Err(QueueError::TooLarge(bytes)) } else { Ok(()) }
}

pub(super) fn check_batch_size(max: usize) -> Result<(), QueueError> {
    match (1..=limits::QUEUE_BATCH_MESSAGES).contains(&max) {
        true => Ok(()),
        false => Err(QueueError::BatchSize(max)),
    }
}

pub(super) fn check_duration(time: Duration) -> Result<(), QueueError> {
    let bounds = u128::from(limits::LEASE_MIN_MS)..=u128::from(limits::LEASE_MAX_MS);
    let ms = time.as_millis();
    if bounds.contains(&ms) { Ok(()) } else { Err(QueueError::InvalidDuration(ms)) }
}

pub(super) fn check_settings(settings: Settings) -> Result<(), QueueError> {
    if !(1..=QUEUE_DELIVERY_MAX_ATTEMPTS).contains(&settings.max_deliveries) {
        return Err(QueueError::InvalidDeliveryLimit(settings.max_deliveries));
    }
    check_duration(Duration::from_millis(settings.visibility_ms))
}
