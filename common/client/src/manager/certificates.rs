//! Reports certificates that were seen for the first time or are not trusted, and refused tokens.

use roverline_protocol::native::Level;

use crate::Event;
use crate::connection::DisconnectReason;
use crate::manager::Manager;
use crate::tls::{FirstUse, TlsError};

/// The last report about a certificate. All endpoints of a computer have the same one, so it is reported once.
pub(super) type ReportedCertificate = Option<(String, Level)>;

const UNKNOWN_TOKEN: &str =
    "the token is not known here: looking on as an observer, without a right to command";
const PLAIN_TOKEN: &str = "the token was refused, because everybody on the network can read it over ws://: use \
                           wss://, or set `insecure = true` under [access] at the gateway; looking on as an \
                           observer, without a right to command";

impl Manager {
    /// Reports a certificate that is trusted because it is the first one.
    pub(super) async fn on_first_use(&mut self, first: FirstUse) {
        self.report_certificate(first.fingerprint.to_string(), Level::Warning, first.text).await;
    }

    /// Reports that the TLS files have changed and cannot be used.
    pub(super) async fn on_unusable_files(&mut self, error: &TlsError) {
        let text = format!("the changed TLS files cannot be used: {error}; the ones before stay in use");
        self.report_certificate(text.clone(), Level::Warning, text).await;
    }

    /// Reports a reason that the operator has to know.
    pub(super) async fn report_refusal(&mut self, reason: &DisconnectReason) {
        match reason {
            DisconnectReason::Untrusted { cause, text } => {
                self.report_certificate(cause.clone(), Level::Error, text.clone()).await;
            }
            DisconnectReason::UnknownToken => self.report_token(UNKNOWN_TOKEN).await,
            DisconnectReason::PlainToken => self.report_token(PLAIN_TOKEN).await,
            _ => {}
        }
    }

    async fn report_certificate(&mut self, cause: String, level: Level, text: String) {
        let report = Some((cause, level));
        if self.reported_certificate != report {
            self.reported_certificate = report;
            self.emit(Event::Certificate { level, text }).await;
        }
    }

    async fn report_token(&mut self, text: &str) {
        if !self.token_reported {
            self.token_reported = true;
            self.emit(Event::Notice { level: Level::Error, text: text.to_owned() }).await;
        }
    }
}
