//! An example dialect for tests: it returns every text in capitals, and has no samples.
//!
//! It shows what the code of a dialect needs: this file and one row in the table of `dialect.rs`. The steps in
//! ARCHITECTURE.md name tests and documents as well.

use std::time::Duration;

use tungstenite::protocol::Message;

use crate::connection::close_reason::CloseReason;
use crate::connection::dialect::Dialect;
use crate::connection::frame;
use crate::dialect::DialectEntry;
use crate::dialect::session::driver::{self, DialectSession, MessageError};
use crate::dialect::session::{ServiceReport, SessionContext};

/// The example dialect.
pub(super) const DIALECT: Dialect = Dialect::new("example");

/// The dialect's entry in the table.
pub(super) const ENTRY: DialectEntry = DialectEntry {
    dialect: DIALECT,
    subprotocols: &["example.v1"],
    path: None,
    recognizes: |_| false,
    serve: |context, reader, first| Box::pin(driver::drive(context, reader, Session { context }, first)),
};

struct Session<'a> {
    context: &'a SessionContext,
}

impl Session<'_> {
    fn send(&self, text: &str) {
        self.context.info.outbox().control(frame::text(text.as_bytes()));
    }
}

impl DialectSession for Session<'_> {
    type Malformed = ();

    async fn on_message(&mut self, message: &Message) -> Result<(), MessageError<()>> {
        let Message::Text(text) = message else { return Err(MessageError::Malformed(())) };
        self.send(&text.to_uppercase());
        Ok(())
    }

    fn report_malformed(&mut self, (): ()) {
        self.send("TEXT ONLY");
    }

    fn report_service(&mut self, _: ServiceReport) {}

    fn on_active_tick(&mut self, _: Duration) {}

    async fn next_change(&mut self) -> Result<(), CloseReason> {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::Tier;
    use serde_json::json;

    use crate::access::Role;
    use crate::config::SourceKind;
    use crate::dialect::foxglove::tests::harness::{Harness, Received};

    #[tokio::test]
    async fn a_dialect_is_a_folder_and_a_row_of_the_table() {
        let harness = Harness::new(Tier::Primary, Role::Operator, SourceKind::Dds).await;
        let mut client = harness.connect_with("example.v1").await;
        client.send_json(json!({"a": "b"})).await;
        let Received::Json(answer) = client.next().await else { panic!("no text came back") };
        assert_eq!(answer, json!({"A": "B"}));
        client.send_binary(vec![1]).await;
        let counters = harness.endpoint.counters.dialects.documents(&[]);
        assert!(counters.contains_key("example") && counters.contains_key("plain"), "{counters:?}");
    }
}
