//! Renewal of TLS files in a program that runs for days. Each connection checks whether they have changed and
//! reads them again if so, so a renewed certificate is used.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::tls::{Connector, TlsError, TlsOptions};

/// The files' metadata, which shows that one has changed; none for a missing file.
type FileState = Vec<Option<(SystemTime, u64, u64)>>;

/// Makes connectors from the files as they are.
#[derive(Clone)]
pub(crate) struct Connectors(Arc<Shared>);

struct Shared {
    options: TlsOptions,
    made: Mutex<Made>,
}

struct Made {
    files: FileState,
    connector: Result<Connector, TlsError>,
}

impl Connectors {
    /// Reads the files for the first time.
    pub(crate) fn new(options: &TlsOptions) -> Connectors {
        let made = Made { files: state(options), connector: Connector::new(options) };
        Connectors(Arc::new(Shared { options: options.clone(), made: Mutex::new(made) }))
    }

    /// The connector of the files as they are now. If they cannot be used, as in the middle of a renewal, it is that
    /// of the last ones that could, and the error is beside it.
    pub(crate) async fn current(&self) -> Result<(Connector, Option<TlsError>), TlsError> {
        let shared = self.0.clone();
        // A disk can be slow.
        let refreshed = tokio::task::spawn_blocking(move || shared.refresh()).await;
        refreshed.unwrap_or_else(|_| self.0.made.lock().connector.clone().map(|connector| (connector, None)))
    }
}

impl Shared {
    fn refresh(&self) -> Result<(Connector, Option<TlsError>), TlsError> {
        let mut made = self.made.lock();
        let files = state(&self.options);
        if files == made.files
            && let Ok(connector) = &made.connector
        {
            return Ok((connector.clone(), None));
        }
        let connector = match (Connector::new(&self.options), &made.connector) {
            // Certificates that were pinned on first use stay pinned.
            (Ok(connector), Ok(before)) => connector.with_known_hosts_of(before),
            (Ok(connector), Err(_)) => connector,
            // The files are checked again for the next connection.
            (Err(error), Ok(before)) => return Ok((before.clone(), Some(error))),
            (Err(error), Err(_)) => {
                made.connector = Err(error.clone());
                return Err(error);
            }
        };
        *made = Made { files, connector: Ok(connector.clone()) };
        Ok((connector, None))
    }
}

fn state(options: &TlsOptions) -> FileState {
    let files = [&options.ca, &options.cert, &options.key];
    let state = |file: &std::path::PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    files.into_iter().flatten().map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_ca(path: &std::path::Path) {
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = rcgen::CertificateParams::new(["rover".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(path, cert.pem()).unwrap();
    }

    #[tokio::test]
    async fn files_that_cannot_be_used_are_reported_until_they_can() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.crt");
        let options = TlsOptions { ca: Some(ca.clone()), ..TlsOptions::default() };
        let connectors = Connectors::new(&options);
        assert!(connectors.current().await.is_err(), "there is none yet");
        write_ca(&ca);
        assert!(connectors.current().await.is_ok_and(|(_, error)| error.is_none()));
        std::fs::write(&ca, "half a certificate").unwrap();
        for _ in 0..2 {
            let (_, error) = connectors.current().await.ok().unwrap();
            assert!(error.unwrap().to_string().contains("ca.crt"));
        }
        write_ca(&ca);
        assert!(connectors.current().await.is_ok_and(|(_, error)| error.is_none()));
    }
}
