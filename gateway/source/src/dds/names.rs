//! Mapping between ROS and DDS names: topics get a prefix, types a namespace and a suffix.

/// The topic on which every ROS context announces its nodes; it has no prefix.
pub(super) const GRAPH_TOPIC: &str = "ros_discovery_info";
/// The DDS type of [`GRAPH_TOPIC`].
pub(super) const GRAPH_TYPE: &str = "rmw_dds_common::msg::dds_::ParticipantEntitiesInfo_";

/// DDS allows names of 256 bytes; ROS reserves room for its prefix.
const MAX_NAME: usize = 250;

/// `rt/imu/data` → `/imu/data`; `None` for anything that is not a ROS topic (services, services of
/// actions, topics of other applications).
pub(super) fn ros_topic(dds: &str) -> Option<String> {
    let name = dds.strip_prefix("rt")?;
    is_topic(name).then(|| name.to_owned())
}

/// `/imu/data` → `rt/imu/data`.
pub(super) fn dds_topic(ros: &str) -> Option<String> {
    is_topic(ros).then(|| format!("rt{ros}"))
}

/// `sensor_msgs::msg::dds_::Imu_` → `sensor_msgs/msg/Imu`.
pub(super) fn ros_type(dds: &str) -> Option<String> {
    let name = dds.strip_suffix('_')?.replacen("::dds_::", "::", 1).replace("::", "/");
    (dds.contains("::dds_::") && is_type(&name)).then_some(name)
}

/// `sensor_msgs/msg/Imu` → `sensor_msgs::msg::dds_::Imu_`.
pub(super) fn dds_type(ros: &str) -> Option<String> {
    let (namespace, name) = ros.rsplit_once('/')?;
    is_type(ros).then(|| format!("{}::dds_::{name}_", namespace.replace('/', "::")))
}

/// The DDS topic and type of a service's request and reply. `/a/b` of `std_srvs/srv/Trigger` →
/// `rq/a/bRequest` of `std_srvs::srv::dds_::Trigger_Request_`, `rr/a/bReply` of `…Trigger_Response_`.
pub(super) fn service(name: &str, type_name: &str) -> Option<[(String, String); 2]> {
    if !is_topic(name) {
        return None;
    }
    let request = dds_type(&format!("{type_name}_Request"))?;
    let response = dds_type(&format!("{type_name}_Response"))?;
    Some([(format!("rq{name}Request"), request), (format!("rr{name}Reply"), response)])
}

/// `rq/a/bRequest` → `/a/b`: the service that receives these requests.
pub(super) fn ros_service(dds: &str) -> Option<String> {
    let name = dds.strip_prefix("rq")?.strip_suffix("Request")?;
    is_topic(name).then(|| name.to_owned())
}

/// `std_srvs::srv::dds_::Trigger_Request_` → `std_srvs/srv/Trigger`.
pub(super) fn ros_service_type(dds: &str) -> Option<String> {
    let request = ros_type(dds)?;
    let name = request.strip_suffix("_Request")?;
    is_type(name).then(|| name.to_owned())
}

/// An absolute name whose segments are valid in ROS.
fn is_topic(name: &str) -> bool {
    name.len() <= MAX_NAME && name.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_token))
}

/// Package, kind, name.
fn is_type(name: &str) -> bool {
    name.len() <= MAX_NAME && name.split('/').count() == 3 && name.split('/').all(is_token)
}

fn is_token(part: &str) -> bool {
    let bytes = part.as_bytes();
    bytes.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_map_both_ways() {
        assert_eq!(ros_topic("rt/imu/data").as_deref(), Some("/imu/data"));
        assert_eq!(dds_topic("/imu/data").as_deref(), Some("rt/imu/data"));
        assert_eq!(ros_type("sensor_msgs::msg::dds_::Imu_").as_deref(), Some("sensor_msgs/msg/Imu"));
        assert_eq!(dds_type("sensor_msgs/msg/Imu").as_deref(), Some("sensor_msgs::msg::dds_::Imu_"));
        // A name that ends in an underscore or a digit loses only the suffix that DDS added.
        assert_eq!(ros_type("a_b::msg::dds_::C2__").as_deref(), Some("a_b/msg/C2_"));
    }

    #[test]
    fn services_are_two_topics() {
        let [request, reply] = service("/a/b", "std_srvs/srv/Trigger").unwrap();
        assert_eq!(request, ("rq/a/bRequest".into(), "std_srvs::srv::dds_::Trigger_Request_".into()));
        assert_eq!(reply, ("rr/a/bReply".into(), "std_srvs::srv::dds_::Trigger_Response_".into()));
        assert_eq!(ros_service(&request.0).as_deref(), Some("/a/b"));
        assert_eq!(ros_service_type(&request.1).as_deref(), Some("std_srvs/srv/Trigger"));
        assert_eq!((ros_service(&reply.0), ros_service_type(&reply.1)), (None, None));
        assert_eq!(ros_service("rqRequest"), None);
        assert_eq!(ros_service_type("std_srvs::srv::dds_::_Request_"), None);
        assert_eq!(service("a", "std_srvs/srv/Trigger"), None);
        assert_eq!(service("/a", "Trigger"), None);
    }

    #[test]
    fn names_outside_ros_are_ignored() {
        for name in ["rq/add_two_intsRequest", "rr/add_two_intsReply", "ros_discovery_info", "DCPSTopic"] {
            assert_eq!(ros_topic(name), None, "{name}");
        }
        for name in ["rt", "rt/", "rtimu", "rt//x", "rt/x/", "rt/9x", "rt/ü", ""] {
            assert_eq!(ros_topic(name), None, "{name}");
        }
        for name in ["", "_", "::dds_::_", "sensor_msgs::msg::Imu", "ShapeType", "a::dds_::B_"] {
            assert_eq!(ros_type(name), None, "{name}");
        }
        assert_eq!(dds_type("Imu"), None);
        assert_eq!(dds_topic("imu"), None);
        assert_eq!(dds_topic(&format!("/{}", "x".repeat(300))), None);
    }
}
