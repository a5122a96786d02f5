//! Opens a store by name: `sqlite`, or the address of an etcd cluster.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "etcd")]
use crate::store::etcd::{EtcdConfigError, EtcdStore};
use crate::store::traced::TracedStore;
use crate::store::{SqliteStore, Store};

/// The name of the store on this computer's disk.
pub const SQLITE: &str = "sqlite";

/// Why a store cannot be opened by its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreNameError {
    /// It is neither `sqlite` nor the address of a cluster.
    #[error("write sqlite, or where a cluster is: etcd://host:2379,host:2379")]
    Unknown,
    /// It is the address of a cluster, and this program has no etcd client.
    #[cfg(not(feature = "etcd"))]
    #[error("this program was built without etcd: build it with `--features etcd`")]
    NoEtcd,
    /// It is not a valid address of a cluster.
    #[cfg(feature = "etcd")]
    #[error(transparent)]
    Etcd(#[from] EtcdConfigError),
}

/// Checks that this program can open a store with this name.
pub fn check_name(name: &str) -> Result<(), StoreNameError> {
    match name {
        SQLITE => Ok(()),
        name if name.starts_with("etcd://") || name.starts_with("etcds://") => check_etcd(name),
        // The name is not repeated in the error: it may contain a secret.
        _ => Err(StoreNameError::Unknown),
    }
}

/// Opens the store with this name; SQLite keeps its file in `directory`. Needs a tokio runtime.
pub fn open(name: &str, directory: &Path) -> Result<Arc<dyn Store>, StoreNameError> {
    check_name(name)?;
    match name {
        SQLITE => Ok(traced(SqliteStore::open(directory), SQLITE)),
        name => open_etcd(name),
    }
}

fn traced(store: impl Store + 'static, system: &'static str) -> Arc<dyn Store> {
    Arc::new(TracedStore::new(Arc::new(store), system))
}

#[cfg(feature = "etcd")]
fn check_etcd(name: &str) -> Result<(), StoreNameError> {
    Ok(EtcdStore::check(name)?)
}

#[cfg(feature = "etcd")]
fn open_etcd(name: &str) -> Result<Arc<dyn Store>, StoreNameError> {
    Ok(traced(EtcdStore::open(name)?, "etcd"))
}

#[cfg(not(feature = "etcd"))]
fn check_etcd(_name: &str) -> Result<(), StoreNameError> {
    Err(StoreNameError::NoEtcd)
}

#[cfg(not(feature = "etcd"))]
fn open_etcd(_name: &str) -> Result<Arc<dyn Store>, StoreNameError> {
    Err(StoreNameError::NoEtcd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_stores_are_checked() {
        assert_eq!(check_name(SQLITE), Ok(()));
        for name in ["", "postgres://x", "SQLite"] {
            assert!(check_name(name).unwrap_err().to_string().contains("etcd://"), "{name}");
        }
        let etcd = check_name("etcd://a:2379,b:2379");
        match cfg!(feature = "etcd") {
            true => assert_eq!(etcd, Ok(())),
            false => assert!(etcd.unwrap_err().to_string().contains("--features etcd")),
        }
    }
}
