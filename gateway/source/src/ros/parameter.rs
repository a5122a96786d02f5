//! Node parameters (rcl_interfaces): every node serves its own through services below its name, and
//! publishes changes on `/parameter_events`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use roverline_schema::cdr::{Reader, Writer};

pub(crate) mod cdr;
mod events;
mod value;

use crate::limits;
use crate::ros::parameter::cdr::CdrError;
pub(super) use crate::ros::parameter::events::ParameterEvents;
pub use crate::ros::parameter::value::{Parameter, ParameterDescription, ParameterValue};
use crate::ros::{CallError, Ros, RosError};

/// How long a node may take to answer a parameter query.
const PARAMETER_TIMEOUT_MS: u64 = 2_000;

const LIST: &str = "rcl_interfaces/srv/ListParameters";
/// The topic on which nodes publish parameter changes.
pub(crate) const EVENTS: &str = "/parameter_events";
/// Its type.
pub(crate) const EVENT: &str = "rcl_interfaces/msg/ParameterEvent";

impl Ros {
    /// The names of a node's parameters.
    pub async fn list_parameters(&self, node: &str) -> Result<Vec<String>, RosError> {
        let mut request = Writer::new();
        // No prefixes; unlimited depth.
        request.string_seq::<&str>(&[]).u64(0);
        let answer = self.call_node(node, "list_parameters", LIST, request).await?;
        let mut names = read(node, &answer, cdr::read_strings)?;
        names.truncate(limits::PARAMETERS_PER_NODE);
        names.sort();
        Ok(names)
    }

    /// The parameters of a node with these names, without those it does not have; all of them if `names`
    /// is empty.
    pub async fn get_parameters(&self, node: &str, names: &[String]) -> Result<Vec<Parameter>, RosError> {
        let names = match names {
            [] => self.list_parameters(node).await?,
            names => names.to_vec(),
        };
        let mut request = Writer::new();
        request.string_seq(&names);
        let service = "rcl_interfaces/srv/GetParameters";
        let answer = self.call_node(node, "get_parameters", service, request).await?;
        let values = read(node, &answer, |reader| cdr::read_seq(reader, cdr::read_value))?;
        let parameters = names.into_iter().zip(values).filter(|(_, v)| *v != ParameterValue::NotSet);
        Ok(parameters.map(|(name, value)| Parameter { node: full(node), name, value }).collect())
    }

    /// A node's descriptions of these parameters; of all if `names` is empty.
    pub async fn describe_parameters(
        &self,
        node: &str,
        names: &[String],
    ) -> Result<Vec<ParameterDescription>, RosError> {
        let names = match names {
            [] => self.list_parameters(node).await?,
            names => names.to_vec(),
        };
        let mut request = Writer::new();
        request.string_seq(&names);
        let service = "rcl_interfaces/srv/DescribeParameters";
        let answer = self.call_node(node, "describe_parameters", service, request).await?;
        read(node, &answer, |reader| cdr::read_seq(reader, cdr::read_description))
    }

    /// All parameters of all nodes that serve them. A node that does not answer is left out after its
    /// timeout, and named in the errors.
    pub async fn all_parameters(&self) -> (Vec<Parameter>, Vec<RosError>) {
        let requests = futures_util::stream::iter(self.parameter_nodes()).map(|node| async move {
            // On the heap, because several run concurrently.
            Box::pin(self.get_parameters(&node, &[])).await
        });
        let mut answers = requests.buffer_unordered(limits::QUERIED_NODES);
        let (mut parameters, mut errors) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => parameters.extend(answer),
                Err(error) => errors.push(error),
            }
        }
        parameters.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
        (parameters, errors)
    }

    /// The nodes that serve parameters.
    pub fn parameter_nodes(&self) -> Vec<String> {
        let graph = self.graph();
        let lists = graph.services.iter().filter(|service| service.type_name == LIST);
        let nodes = lists.filter_map(|service| service.name.strip_suffix("/list_parameters"));
        nodes.take(limits::NODES).map(str::to_owned).collect()
    }

    /// Sets a parameter; the error contains the node's reason.
    pub async fn set_parameter(&self, parameter: &Parameter) -> Result<(), RosError> {
        let Parameter { node, name, value } = parameter;
        let mut request = Writer::new();
        request.len(1).string(name);
        cdr::write_value(&mut request, value);
        let service = "rcl_interfaces/srv/SetParameters";
        let answer = self.call_node(node, "set_parameters", service, request).await?;
        let results = read(node, &answer, |reader| cdr::read_seq(reader, cdr::read_result))?;
        let reason = match results.into_iter().next() {
            Some(result) if result.successful => return Ok(()),
            Some(result) if !result.reason.is_empty() => result.reason,
            _ => "it gives no reason".to_owned(),
        };
        Err(CallError::Failed(format!("{} does not set {name}: {reason}", full(node))).into())
    }

    async fn call_node(
        &self,
        node: &str,
        service: &str,
        type_name: &str,
        request: Writer,
    ) -> Result<Bytes, RosError> {
        let service = format!("{}/{service}", full(node));
        let timeout = Duration::from_millis(PARAMETER_TIMEOUT_MS);
        self.call(&service, type_name, Bytes::from(request.finish()), timeout).await
    }
}

fn full(node: &str) -> String {
    format!("/{}", node.trim_matches('/'))
}

fn read<T>(
    node: &str,
    cdr: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, CdrError>,
) -> Result<T, RosError> {
    let result = Reader::new(cdr).map_err(CdrError::from).and_then(|mut reader| read(&mut reader));
    result.map_err(|error| RosError::Message(format!("what {} says of its parameters: {error}", full(node))))
}

#[cfg(test)]
mod tests;
