//! What the store says, as answers over HTTP.

use http::{StatusCode, header};
use roverline_coordination::store::StoreError;

use crate::api::response::Failure;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let status = match &error {
            StoreError::Key | StoreError::Parts(_) | StoreError::Twice(_) | StoreError::Ttl => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            StoreError::Value(_) => StatusCode::PAYLOAD_TOO_LARGE,
            StoreError::LeaseEnded => StatusCode::CONFLICT,
            StoreError::Compacted(_) => StatusCode::GONE,
            StoreError::Future(_) => StatusCode::NOT_FOUND,
            StoreError::Busy | StoreError::Unavailable(_) | StoreError::Unknown(_) => {
                return Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                    .with(header::RETRY_AFTER, "1");
            }
        };
        Failure::new(status, error.to_string())
    }
}
