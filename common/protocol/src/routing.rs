//! Topic routing: a table of rules from topic globs and type names to a [`Route`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::topic_pattern::{InvalidPattern, TopicPattern};
use crate::{Scope, ScopeSet};

/// A topic's priority in the outbox; declaration order is service order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// The emergency stop.
    Emergency,
    /// Boundary, proximity.
    Safety,
    /// Autonomy mode and the like.
    State,
    /// The mission.
    Mission,
    /// Location, health, battery.
    Vital,
    /// Streams.
    Sensors,
}

impl Priority {
    /// Every priority, first served first.
    pub const ALL: [Priority; 6] = [
        Priority::Emergency,
        Priority::Safety,
        Priority::State,
        Priority::Mission,
        Priority::Vital,
        Priority::Sensors,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Priority::Emergency => "emergency",
            Priority::Safety => "safety",
            Priority::State => "state",
            Priority::Mission => "mission",
            Priority::Vital => "vital",
            Priority::Sensors => "sensors",
        }
    }

    /// The default priority of a topic with these scopes: that of its most urgent one.
    pub fn of(scopes: ScopeSet) -> Priority {
        scopes.iter().map(Priority::of_scope).min().unwrap_or(Priority::Sensors)
    }

    const fn of_scope(scope: Scope) -> Priority {
        match scope {
            Scope::Emergency => Priority::Emergency,
            Scope::Safety => Priority::Safety,
            Scope::State | Scope::Commands => Priority::State,
            Scope::Mission => Priority::Mission,
            Scope::Location | Scope::Health | Scope::Battery => Priority::Vital,
            Scope::Sensors => Priority::Sensors,
        }
    }
}

/// What happens when samples arrive faster than a client reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// A newer sample replaces the older: one slot.
    Latest,
    /// Samples are queued, with a bound.
    Every,
}

/// One row of the table. A rule applies when its topic glob and its type glob (if given) match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Topic glob: `/motor/*/temperature`, `**/estop`. Absent: any topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Type glob: `sensor_msgs/msg/Imu`, `nav_msgs/**`. Absent: any type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// Scopes of the topic.
    pub scopes: ScopeSet,
    /// Priority in the outbox. Absent: derived from the scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Absent: `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Most samples per second that leave an endpoint. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rate_hz: Option<f64>,
    /// Samples per second that its publishers should send, for metrics and alerts. Absent: none is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_rate_hz: Option<f64>,
}

/// The routing of one topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route {
    /// Its scopes.
    pub scopes: ScopeSet,
    /// Its priority in the outbox.
    pub priority: Priority,
    /// What happens when a client is slow.
    pub delivery: Delivery,
    /// Most samples per second.
    pub max_rate_hz: Option<f64>,
    /// Samples per second that are expected of its publishers.
    pub expected_rate_hz: Option<f64>,
}

/// A rule that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {index}: {kind}")]
pub struct RuleError {
    /// Its index in the list, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub kind: RuleErrorKind,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleErrorKind {
    /// It matches every topic.
    #[error("give `topic`, `type` or both")]
    NoGlob,
    /// It assigns no scope.
    #[error("give at least one scope")]
    NoScope,
    /// Its rate is zero, negative or not finite.
    #[error("`max_rate_hz` must be greater than 0")]
    Rate,
    /// The rate that it expects is zero, negative or not finite.
    #[error("`expected_rate_hz` must be greater than 0")]
    ExpectedRate,
    /// One of its globs is malformed.
    #[error(transparent)]
    Glob(#[from] InvalidPattern),
}

struct CompiledRule {
    topic: Option<TopicPattern>,
    type_name: Option<TopicPattern>,
    route: Route,
}

/// The compiled table: the configured rules first, then the defaults; the first match wins.
///
/// ```
/// use roverline_protocol::{Priority, Routing, Scope};
/// let route = Routing::default().route("/imu/data", "sensor_msgs/msg/Imu");
/// assert!(route.scopes.contains(Scope::Sensors));
/// assert_eq!(route.priority, Priority::Sensors);
/// ```
pub struct Routing {
    rules: Vec<CompiledRule>,
}

impl Default for Routing {
    fn default() -> Self {
        // The defaults are data of this crate; a test proves that they compile.
        Routing::new(&[]).unwrap_or(Routing { rules: Vec::new() })
    }
}

impl Routing {
    /// Compiles `own` rules in front of the defaults.
    pub fn new(own: &[Rule]) -> Result<Routing, RuleError> {
        let defaults = default_rules();
        let rules = own
            .iter()
            .chain(&defaults)
            .enumerate()
            .map(|(index, rule)| compile(rule).map_err(|kind| RuleError { index, kind }))
            .collect::<Result<_, _>>()?;
        Ok(Routing { rules })
    }

    /// The route of a topic. Without a matching rule it counts as a sensor.
    pub fn route(&self, topic: &str, type_name: &str) -> Route {
        let hit = self.rules.iter().find(|rule| {
            rule.topic.as_ref().is_none_or(|glob| glob.is_match(topic))
                && rule.type_name.as_ref().is_none_or(|glob| glob.is_match(type_name))
        });
        hit.map_or(
            Route {
                scopes: ScopeSet::of(&[Scope::Sensors]),
                priority: Priority::Sensors,
                delivery: Delivery::Every,
                max_rate_hz: None,
                expected_rate_hz: None,
            },
            |rule| rule.route,
        )
    }
}

/// A topic pattern as used by clients and rules: `*` stays within one name, `**` crosses `/`.
///
/// ```
/// use roverline_protocol::routing::topic_glob;
/// assert!(topic_glob("/motor/*")?.is_match("/motor/temperature"));
/// assert!(!topic_glob("/motor/*")?.is_match("/motor/left/temperature"));
/// # Ok::<(), roverline_protocol::topic_pattern::InvalidPattern>(())
/// ```
pub fn topic_glob(pattern: &str) -> Result<TopicPattern, InvalidPattern> {
    TopicPattern::parse(pattern)
}

fn compile(rule: &Rule) -> Result<CompiledRule, RuleErrorKind> {
    if rule.topic.is_none() && rule.type_name.is_none() {
        return Err(RuleErrorKind::NoGlob);
    }
    if rule.scopes.is_empty() {
        return Err(RuleErrorKind::NoScope);
    }
    if rule.max_rate_hz.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(RuleErrorKind::Rate);
    }
    if rule.expected_rate_hz.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(RuleErrorKind::ExpectedRate);
    }
    Ok(CompiledRule {
        topic: rule.topic.as_deref().map(topic_glob).transpose()?,
        type_name: rule.type_name.as_deref().map(topic_glob).transpose()?,
        route: Route {
            scopes: rule.scopes,
            priority: rule.priority.unwrap_or_else(|| Priority::of(rule.scopes)),
            delivery: rule.delivery.unwrap_or(Delivery::Every),
            max_rate_hz: rule.max_rate_hz,
            expected_rate_hz: rule.expected_rate_hz,
        },
    })
}

/// Default rules for the usual names, so that a rover works without configuration.
pub fn default_rules() -> Vec<Rule> {
    use Scope::{Battery, Commands, Emergency, Health, Location, Mission, Safety, Sensors, State};
    let topic = |glob: &str, scopes: &[Scope]| Rule {
        topic: Some(glob.to_owned()),
        type_name: None,
        scopes: ScopeSet::of(scopes),
        priority: None,
        delivery: None,
        max_rate_hz: None,
        expected_rate_hz: None,
    };
    let of_type = |glob: &str, scopes: &[Scope]| Rule {
        topic: None,
        type_name: Some(glob.to_owned()),
        ..topic("", scopes)
    };
    let latest = |rule: Rule| Rule { delivery: Some(Delivery::Latest), ..rule };
    vec![
        topic("**/{emergency_stop,emergency,estop,e_stop}{,/**}", &[Emergency, Safety]),
        topic("**/{boundary,boundary_violation,geofence,proximity,collision}{,/**}", &[Safety]),
        topic("/safety/**", &[Safety]),
        topic("**/cmd_vel{,_*}", &[Commands]),
        topic("/commands/**", &[Commands]),
        topic("**/{heartbeat,heartbeats}{,/**}", &[Health]),
        topic("**/mission{,/**}", &[Mission]),
        topic("**/{mission_status,current_mission,samples_collected,waypoints,mission_*}", &[Mission]),
        topic("**/{autonomy,autonomous}{,/**}", &[State, Mission]),
        topic("**/{autonomy_mode,autonomous_mode,mode,rover_state,state,status}", &[State]),
        topic("**/led{,/**}", &[State]),
        topic("**/{led_state,led_*}", &[State]),
        of_type("sensor_msgs/msg/BatteryState", &[Battery, Health]),
        topic("**/battery{,/**}", &[Battery, Health]),
        topic("**/battery_*", &[Battery, Health]),
        of_type("sensor_msgs/msg/NavSatFix", &[Location]),
        topic("**/{gps,fix,gnss}{,/**}", &[Location]),
        of_type("nav_msgs/msg/Odometry", &[Location, State]),
        of_type("tf2_msgs/msg/TFMessage", &[Location]),
        of_type("geometry_msgs/msg/Pose*", &[Location]),
        of_type("diagnostic_msgs/msg/**", &[Health]),
        of_type("sensor_msgs/msg/Temperature", &[Health]),
        topic("**/{temperature,temperatures,diagnostics,system_health,health}{,/**}", &[Health]),
        topic("/rosout", &[Health]),
        latest(of_type("sensor_msgs/msg/{Image,CompressedImage,PointCloud2,PointCloud}", &[Sensors])),
        latest(of_type("nav_msgs/msg/OccupancyGrid", &[Sensors])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(topic: &str, type_name: &str) -> String {
        Routing::default().route(topic, type_name).scopes.to_string()
    }

    #[test]
    fn the_defaults_compile_and_know_the_usual_names() {
        assert!(!Routing::new(&[]).unwrap().rules.is_empty());
        for (topic, type_name, expected) in [
            ("/emergency_stop", "std_msgs/msg/Bool", "safety emergency"),
            ("/rover1/estop", "std_msgs/msg/Bool", "safety emergency"),
            ("/imu/data", "sensor_msgs/msg/Imu", "sensors"),
            ("/gps/fix", "sensor_msgs/msg/NavSatFix", "location"),
            ("/fix", "sensor_msgs/msg/NavSatFix", "location"),
            ("/odom", "nav_msgs/msg/Odometry", "state location"),
            ("/battery_state", "sensor_msgs/msg/BatteryState", "health battery"),
            ("/tf_static", "tf2_msgs/msg/TFMessage", "location"),
            ("/mission/status", "std_msgs/msg/String", "mission"),
            ("/autonomy/mode", "std_msgs/msg/String", "state mission"),
            ("/led/state", "std_msgs/msg/ColorRGBA", "state"),
            ("/motor/front_left/temperature", "sensor_msgs/msg/Temperature", "health"),
            ("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", "health"),
            ("/safety/boundary_violation", "std_msgs/msg/Bool", "safety"),
            ("/cmd_vel", "geometry_msgs/msg/Twist", "commands"),
            ("/heartbeat/drive", "std_msgs/msg/Header", "health"),
            ("/servo/position_data", "crab_interfaces/msg/ServoData", "sensors"),
        ] {
            assert_eq!(scopes(topic, type_name), expected, "{topic}");
        }
    }

    #[test]
    fn configured_rules_come_first_and_invalid_ones_are_explained() {
        let mut rule = Rule {
            topic: Some("/imu/**".into()),
            type_name: None,
            scopes: ScopeSet::of(&[Scope::Safety]),
            priority: None,
            delivery: Some(Delivery::Latest),
            max_rate_hz: Some(5.0),
            expected_rate_hz: Some(50.0),
        };
        let route =
            Routing::new(std::slice::from_ref(&rule)).unwrap().route("/imu/data", "sensor_msgs/msg/Imu");
        assert_eq!((route.priority, route.delivery), (Priority::Safety, Delivery::Latest));
        assert_eq!(route.expected_rate_hz, Some(50.0));
        let expecting = Rule { expected_rate_hz: Some(0.0), ..rule.clone() };
        assert!(Routing::new(&[expecting]).err().unwrap().to_string().contains("`expected_rate_hz`"));
        rule.topic = Some("/imu/[".into());
        assert!(Routing::new(std::slice::from_ref(&rule)).is_err());
        rule.topic = None;
        assert!(Routing::new(&[rule]).err().unwrap().to_string().contains("give `topic`"));
    }

    #[test]
    fn images_may_replace_each_other() {
        let route = Routing::default().route("/camera/image", "sensor_msgs/msg/Image");
        assert_eq!(route.delivery, Delivery::Latest);
    }
}
