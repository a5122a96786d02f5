//! The TLS files of a program that runs for days: they are looked at for each connection, and read again when
//! they have changed, so that a renewed certificate is shown.

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

    /// The connector of the files as they are now; if they cannot be used, as in the middle of a renewal, that of
    /// the last ones that could.
    pub(crate) async fn current(&self) -> Result<Connector, TlsError> {
        let shared = self.0.clone();
        // A disk can be slow.
        let refreshed = tokio::task::spawn_blocking(move || shared.refresh()).await;
        refreshed.unwrap_or_else(|_| self.0.made.lock().connector.clone())
    }
}

impl Shared {
    fn refresh(&self) -> Result<Connector, TlsError> {
        let mut made = self.made.lock();
        let files = state(&self.options);
        if files == made.files && made.connector.is_ok() {
            return made.connector.clone();
        }
        match (Connector::new(&self.options), &made.connector) {
            (Ok(connector), Ok(before)) => {
                // Certificates that were pinned on first use stay pinned.
                let connector = connector.with_known_hosts_of(before);
                *made = Made { files, connector: Ok(connector) };
            }
            (Ok(connector), Err(_)) => *made = Made { files, connector: Ok(connector) },
            (Err(error), Err(_)) => made.connector = Err(error),
            // They are looked at again for the next connection.
            (Err(_), Ok(_)) => {}
        }
        made.connector.clone()
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
