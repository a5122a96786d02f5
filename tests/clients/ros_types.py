"""ROS 2 messages as CycloneDDS types: with the DDS names that every RMW uses, in plain CDR."""

from dataclasses import dataclass, field

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import array, float32, float64, int8, int32, int64, sequence, uint8, uint16, uint32, uint64


def zeros(count):
    return field(default_factory=lambda: [0.0] * count)


def make(cls):
    return field(default_factory=cls)


@dataclass
@final
class Time(IdlStruct, typename="builtin_interfaces.msg.dds_.Time_"):
    sec: int32 = 0
    nanosec: uint32 = 0


@dataclass
@final
class Header(IdlStruct, typename="std_msgs.msg.dds_.Header_"):
    stamp: Time = make(Time)
    frame_id: str = ""


@dataclass
@final
class String(IdlStruct, typename="std_msgs.msg.dds_.String_"):
    data: str = ""


@dataclass
@final
class Bool(IdlStruct, typename="std_msgs.msg.dds_.Bool_"):
    data: bool = False


@dataclass
@final
class Vector3(IdlStruct, typename="geometry_msgs.msg.dds_.Vector3_"):
    x: float64 = 0.0
    y: float64 = 0.0
    z: float64 = 0.0


@dataclass
@final
class Quaternion(IdlStruct, typename="geometry_msgs.msg.dds_.Quaternion_"):
    x: float64 = 0.0
    y: float64 = 0.0
    z: float64 = 0.0
    w: float64 = 1.0


@dataclass
@final
class Transform(IdlStruct, typename="geometry_msgs.msg.dds_.Transform_"):
    translation: Vector3 = make(Vector3)
    rotation: Quaternion = make(Quaternion)


@dataclass
@final
class TransformStamped(IdlStruct, typename="geometry_msgs.msg.dds_.TransformStamped_"):
    header: Header = make(Header)
    child_frame_id: str = ""
    transform: Transform = make(Transform)


@dataclass
@final
class Twist(IdlStruct, typename="geometry_msgs.msg.dds_.Twist_"):
    linear: Vector3 = make(Vector3)
    angular: Vector3 = make(Vector3)


@dataclass
@final
class TFMessage(IdlStruct, typename="tf2_msgs.msg.dds_.TFMessage_"):
    transforms: sequence[TransformStamped] = make(list)


@dataclass
@final
class Imu(IdlStruct, typename="sensor_msgs.msg.dds_.Imu_"):
    header: Header = make(Header)
    orientation: Quaternion = make(Quaternion)
    orientation_covariance: array[float64, 9] = zeros(9)
    angular_velocity: Vector3 = make(Vector3)
    angular_velocity_covariance: array[float64, 9] = zeros(9)
    linear_acceleration: Vector3 = make(Vector3)
    linear_acceleration_covariance: array[float64, 9] = zeros(9)


@dataclass
@final
class NavSatStatus(IdlStruct, typename="sensor_msgs.msg.dds_.NavSatStatus_"):
    status: int8 = 0
    service: uint16 = 1


@dataclass
@final
class NavSatFix(IdlStruct, typename="sensor_msgs.msg.dds_.NavSatFix_"):
    header: Header = make(Header)
    status: NavSatStatus = make(NavSatStatus)
    latitude: float64 = 0.0
    longitude: float64 = 0.0
    altitude: float64 = 0.0
    position_covariance: array[float64, 9] = zeros(9)
    position_covariance_type: uint8 = 0


@dataclass
@final
class BatteryState(IdlStruct, typename="sensor_msgs.msg.dds_.BatteryState_"):
    header: Header = make(Header)
    voltage: float32 = 0.0
    temperature: float32 = 0.0
    current: float32 = 0.0
    charge: float32 = 0.0
    capacity: float32 = 0.0
    design_capacity: float32 = 0.0
    percentage: float32 = 0.0
    power_supply_status: uint8 = 0
    power_supply_health: uint8 = 0
    power_supply_technology: uint8 = 0
    present: bool = True
    cell_voltage: sequence[float32] = make(list)
    cell_temperature: sequence[float32] = make(list)
    location: str = ""
    serial_number: str = ""


@dataclass
@final
class Temperature(IdlStruct, typename="sensor_msgs.msg.dds_.Temperature_"):
    header: Header = make(Header)
    temperature: float64 = 0.0
    variance: float64 = 0.0


@dataclass
@final
class Image(IdlStruct, typename="sensor_msgs.msg.dds_.Image_"):
    header: Header = make(Header)
    height: uint32 = 0
    width: uint32 = 0
    encoding: str = ""
    is_bigendian: uint8 = 0
    step: uint32 = 0
    data: sequence[uint8] = make(list)


@dataclass
@final
class Gid16(IdlStruct, typename="rmw_dds_common.msg.dds_.Gid_"):
    """Iron and later; Humble's is 24 bytes."""

    data: array[uint8, 16] = field(default_factory=lambda: [0] * 16)


@dataclass
@final
class NodeEntitiesInfo(IdlStruct, typename="rmw_dds_common.msg.dds_.NodeEntitiesInfo_"):
    node_namespace: str = "/"
    node_name: str = ""
    reader_gid_seq: sequence[Gid16] = make(list)
    writer_gid_seq: sequence[Gid16] = make(list)


@dataclass
@final
class ParticipantEntitiesInfo(IdlStruct, typename="rmw_dds_common.msg.dds_.ParticipantEntitiesInfo_"):
    gid: Gid16 = make(Gid16)
    node_entities_info_seq: sequence[NodeEntitiesInfo] = make(list)


@dataclass
@final
class KeyValue(IdlStruct, typename="diagnostic_msgs.msg.dds_.KeyValue_"):
    key: str = ""
    value: str = ""


@dataclass
@final
class DiagnosticStatus(IdlStruct, typename="diagnostic_msgs.msg.dds_.DiagnosticStatus_"):
    level: uint8 = 0
    name: str = ""
    message: str = ""
    hardware_id: str = ""
    values: sequence[KeyValue] = make(list)


@dataclass
@final
class DiagnosticArray(IdlStruct, typename="diagnostic_msgs.msg.dds_.DiagnosticArray_"):
    header: Header = make(Header)
    status: sequence[DiagnosticStatus] = make(list)


@dataclass
@final
class TriggerRequest(IdlStruct, typename="std_srvs.srv.dds_.Trigger_Request_"):
    """With the header that CycloneDDS's RMW prepends to every request."""

    client: uint64 = 0
    number: int64 = 0
    structure_needs_at_least_one_member: uint8 = 0


@dataclass
@final
class TriggerResponse(IdlStruct, typename="std_srvs.srv.dds_.Trigger_Response_"):
    client: uint64 = 0
    number: int64 = 0
    success: bool = False
    message: str = ""


TYPES = {
    "sensor_msgs/msg/Imu": Imu,
    "sensor_msgs/msg/NavSatFix": NavSatFix,
    "sensor_msgs/msg/BatteryState": BatteryState,
    "sensor_msgs/msg/Temperature": Temperature,
    "sensor_msgs/msg/Image": Image,
    "std_msgs/msg/String": String,
    "std_msgs/msg/Bool": Bool,
    "geometry_msgs/msg/Twist": Twist,
    "tf2_msgs/msg/TFMessage": TFMessage,
    "rmw_dds_common/msg/ParticipantEntitiesInfo": ParticipantEntitiesInfo,
}
