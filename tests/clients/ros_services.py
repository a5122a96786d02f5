"""Services, actions and parameters as CycloneDDS types. Each request and reply begins with the header
that CycloneDDS's RMW prepends: the client's GUID and a sequence number."""

from dataclasses import dataclass, field

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import array, float64, int8, int32, int64, sequence, uint8, uint64

from ros_types import Time, make


@dataclass
@final
class UUID(IdlStruct, typename="unique_identifier_msgs.msg.dds_.UUID_"):
    uuid: array[uint8, 16] = field(default_factory=lambda: [0] * 16)


@dataclass
@final
class GoalInfo(IdlStruct, typename="action_msgs.msg.dds_.GoalInfo_"):
    goal_id: UUID = make(UUID)
    stamp: Time = make(Time)


@dataclass
@final
class GoalStatus(IdlStruct, typename="action_msgs.msg.dds_.GoalStatus_"):
    goal_info: GoalInfo = make(GoalInfo)
    status: int8 = 0


@dataclass
@final
class GoalStatusArray(IdlStruct, typename="action_msgs.msg.dds_.GoalStatusArray_"):
    status_list: sequence[GoalStatus] = make(list)


@dataclass
@final
class CancelGoalRequest(IdlStruct, typename="action_msgs.srv.dds_.CancelGoal_Request_"):
    client: uint64 = 0
    number: int64 = 0
    goal_info: GoalInfo = make(GoalInfo)


@dataclass
@final
class CancelGoalResponse(IdlStruct, typename="action_msgs.srv.dds_.CancelGoal_Response_"):
    client: uint64 = 0
    number: int64 = 0
    return_code: int8 = 0
    goals_canceling: sequence[GoalInfo] = make(list)


@dataclass
@final
class SendGoalRequest(IdlStruct, typename="example_interfaces.action.dds_.Fibonacci_SendGoal_Request_"):
    client: uint64 = 0
    number: int64 = 0
    goal_id: UUID = make(UUID)
    order: int32 = 0


@dataclass
@final
class SendGoalResponse(IdlStruct, typename="example_interfaces.action.dds_.Fibonacci_SendGoal_Response_"):
    client: uint64 = 0
    number: int64 = 0
    accepted: bool = False
    stamp: Time = make(Time)


@dataclass
@final
class GetResultRequest(IdlStruct, typename="example_interfaces.action.dds_.Fibonacci_GetResult_Request_"):
    client: uint64 = 0
    number: int64 = 0
    goal_id: UUID = make(UUID)


@dataclass
@final
class GetResultResponse(IdlStruct, typename="example_interfaces.action.dds_.Fibonacci_GetResult_Response_"):
    client: uint64 = 0
    number: int64 = 0
    status: int8 = 0
    numbers: sequence[int32] = make(list)


@dataclass
@final
class FeedbackMessage(IdlStruct, typename="example_interfaces.action.dds_.Fibonacci_FeedbackMessage_"):
    goal_id: UUID = make(UUID)
    numbers: sequence[int32] = make(list)


@dataclass
@final
class ParameterValue(IdlStruct, typename="rcl_interfaces.msg.dds_.ParameterValue_"):
    type: uint8 = 0
    bool_value: bool = False
    integer_value: int64 = 0
    double_value: float64 = 0.0
    string_value: str = ""
    byte_array_value: sequence[uint8] = make(list)
    bool_array_value: sequence[bool] = make(list)
    integer_array_value: sequence[int64] = make(list)
    double_array_value: sequence[float64] = make(list)
    string_array_value: sequence[str] = make(list)


@dataclass
@final
class Parameter(IdlStruct, typename="rcl_interfaces.msg.dds_.Parameter_"):
    name: str = ""
    value: ParameterValue = make(ParameterValue)


@dataclass
@final
class ParameterEvent(IdlStruct, typename="rcl_interfaces.msg.dds_.ParameterEvent_"):
    stamp: Time = make(Time)
    node: str = ""
    new_parameters: sequence[Parameter] = make(list)
    changed_parameters: sequence[Parameter] = make(list)
    deleted_parameters: sequence[Parameter] = make(list)


@dataclass
@final
class ListParametersRequest(IdlStruct, typename="rcl_interfaces.srv.dds_.ListParameters_Request_"):
    client: uint64 = 0
    number: int64 = 0
    prefixes: sequence[str] = make(list)
    depth: uint64 = 0


@dataclass
@final
class ListParametersResponse(IdlStruct, typename="rcl_interfaces.srv.dds_.ListParameters_Response_"):
    client: uint64 = 0
    number: int64 = 0
    names: sequence[str] = make(list)
    prefixes: sequence[str] = make(list)


@dataclass
@final
class GetParametersRequest(IdlStruct, typename="rcl_interfaces.srv.dds_.GetParameters_Request_"):
    client: uint64 = 0
    number: int64 = 0
    names: sequence[str] = make(list)


@dataclass
@final
class GetParametersResponse(IdlStruct, typename="rcl_interfaces.srv.dds_.GetParameters_Response_"):
    client: uint64 = 0
    number: int64 = 0
    values: sequence[ParameterValue] = make(list)


@dataclass
@final
class SetParametersRequest(IdlStruct, typename="rcl_interfaces.srv.dds_.SetParameters_Request_"):
    client: uint64 = 0
    number: int64 = 0
    parameters: sequence[Parameter] = make(list)


@dataclass
@final
class SetParametersResult(IdlStruct, typename="rcl_interfaces.msg.dds_.SetParametersResult_"):
    successful: bool = False
    reason: str = ""


@dataclass
@final
class SetParametersResponse(IdlStruct, typename="rcl_interfaces.srv.dds_.SetParameters_Response_"):
    client: uint64 = 0
    number: int64 = 0
    results: sequence[SetParametersResult] = make(list)


@dataclass
@final
class AddTwoIntsRequest(IdlStruct, typename="example_interfaces.srv.dds_.AddTwoInts_Request_"):
    client: uint64 = 0
    number: int64 = 0
    a: int64 = 0
    b: int64 = 0


@dataclass
@final
class AddTwoIntsResponse(IdlStruct, typename="example_interfaces.srv.dds_.AddTwoInts_Response_"):
    client: uint64 = 0
    number: int64 = 0
    sum: int64 = 0
