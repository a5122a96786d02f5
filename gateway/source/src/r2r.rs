//! Live ROS 2 through an installed ROS 2 and its configured RMW, for graphs that plain DDS does not
//! reach (Zenoh, Connext, DDS Security).
//!
//! It needs a build with `--features r2r` in a shell with ROS 2 sourced. Without the feature this is a
//! stub that explains how to get one.

use std::path::PathBuf;

#[cfg(any(feature = "r2r", test))]
use crate::SourceError;

#[cfg(feature = "r2r")]
mod actions;
#[cfg(feature = "r2r")]
mod calls;
#[cfg(feature = "r2r")]
mod control;
#[cfg(any(feature = "r2r", test))]
mod graph;
#[cfg(any(feature = "r2r", test))]
mod json;
#[cfg(any(feature = "r2r", test))]
mod numbering;
#[cfg(feature = "r2r")]
mod publish;
#[cfg(feature = "r2r")]
mod services;
#[cfg(feature = "r2r")]
mod source;
#[cfg(any(feature = "r2r", test))]
mod stamp;
mod transport;

/// Samples that the middleware keeps between two spins.
#[cfg(feature = "r2r")]
const HISTORY_DEPTH: usize = 100;

/// Configuration of our node. The domain comes from `ROS_DOMAIN_ID`, which ROS itself reads.
#[derive(Clone, Debug, Default)]
pub struct R2rOptions {
    /// The name of our node.
    pub node_name: String,
    /// Its namespace; empty means `/`.
    pub namespace: String,
    /// The folder through which the endpoints of this computer agree on the numbers of samples; `None` if there is
    /// only one endpoint.
    pub numbers: Option<PathBuf>,
}

#[cfg(feature = "r2r")]
pub use crate::r2r::source::R2rSource;
#[cfg(not(feature = "r2r"))]
pub use crate::r2r::stub::R2rSource;
pub use crate::r2r::transport::fast_dds_environment;

/// Checks the variables that ROS sets when it is sourced; without them the client library aborts or
/// finds no types.
#[cfg(any(feature = "r2r", test))]
fn check_environment(get: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<(), SourceError> {
    let missing: Vec<&str> = ["AMENT_PREFIX_PATH", "ROS_DISTRO"]
        .into_iter()
        .filter(|name| get(name).is_none_or(|value| value.is_empty()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(SourceError(format!(
        "--source r2r needs a sourced ROS 2, but this is not set: {}; run `source /opt/ros/<distro>/setup.bash` first, \
         or use --source dds, which needs no ROS",
        missing.join(", ")
    )))
}

#[cfg(not(feature = "r2r"))]
mod stub {
    use std::sync::Arc;

    use super::R2rOptions;
    use crate::{Publication, PublishError, Sink, Source, SourceControl, SourceError, StopFlag};

    /// How to get a build with this source.
    const NOT_BUILT: &str = "this build has no r2r source: build it with `cargo build --features r2r` in a shell where \
                       ROS 2 is sourced, or use --source dds, which needs no ROS";

    /// The stub in builds without the feature.
    #[derive(Debug)]
    pub struct R2rSource(());

    impl R2rSource {
        /// Fails with instructions for a build that includes this source.
        pub fn new(_options: &R2rOptions) -> Result<R2rSource, SourceError> {
            Err(SourceError(NOT_BUILT.to_owned()))
        }
    }

    impl Source for R2rSource {
        fn name(&self) -> &'static str {
            "r2r"
        }

        fn control(&self) -> Arc<dyn SourceControl> {
            Arc::new(NoControl)
        }

        fn run(self: Box<Self>, _sink: Arc<dyn Sink>, _stop: StopFlag) -> Result<(), SourceError> {
            Err(SourceError(NOT_BUILT.to_owned()))
        }
    }

    /// Rejects everything.
    struct NoControl;

    impl SourceControl for NoControl {
        fn publish(&self, _publication: Publication) -> Result<(), PublishError> {
            Err(PublishError::Failed(NOT_BUILT.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_ros_is_explained() {
        let error = check_environment(|_| None).unwrap_err().to_string();
        assert!(
            error.contains("AMENT_PREFIX_PATH, ROS_DISTRO") && error.contains("source /opt/ros"),
            "{error}"
        );
        let error = check_environment(|name| (name == "ROS_DISTRO").then(|| "humble".into())).unwrap_err();
        assert!(error.to_string().contains("set: AMENT_PREFIX_PATH;"), "{error}");
        assert!(check_environment(|_| Some("x".into())).is_ok());
    }

    #[cfg(not(feature = "r2r"))]
    #[test]
    fn without_the_feature_it_says_how_to_get_it() {
        let error = R2rSource::new(&R2rOptions::default()).unwrap_err().to_string();
        assert!(error.contains("cargo build --features r2r"), "{error}");
    }
}
