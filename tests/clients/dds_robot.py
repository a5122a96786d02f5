#!/usr/bin/env python3
"""A robot with services, an action and parameters, like rmw_cyclonedds_cpp provides them.

    dds_robot.py --domain 42 --seconds 30

Answers `/robot/trigger` and `/robot/count` (the number of its call) immediately, `/robot/late` after a second and `/robot/never` not at all
(std_srvs/srv/Trigger). Serves the action `/fibonacci` (example_interfaces/action/Fibonacci) with a step
every `--step` seconds, and the parameters of the node `/robot`. Prints what it receives on
`/robot/cmd_vel`. Exits when its input ends, or after `--seconds`.
"""

import argparse
import itertools
import os
import select
import sys
import time

from dds_common import qos, report
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
import ros_services as srv
import ros_types as ros

ACCEPTED, EXECUTING, CANCELING, SUCCEEDED, CANCELED = 1, 2, 3, 4, 5


class Service:
    """A reader of requests and a writer of replies."""

    def __init__(self, participant, name, request, response, answer):
        depth = qos(depth=50)
        self.answer = answer
        self.reader = DataReader(participant, Topic(participant, f"rq{name}Request", request), qos=depth)
        self.writer = DataWriter(participant, Topic(participant, f"rr{name}Reply", response), qos=depth)
        self.count = 0

    def serve(self):
        for sample in self.reader.take(N=50):
            if sample.sample_info.valid_data:
                self.count += 1
                response = self.answer(sample)
                if response is not None:
                    self.reply(sample, response)

    def reply(self, request, response):
        response.client, response.number = request.client, request.number
        self.writer.write(response)


class Fibonacci:
    """An action server: every step appends one number."""

    def __init__(self, participant, step):
        base, self.step = "/fibonacci/_action", step
        self.goals = {}
        self.send = Service(participant, f"{base}/send_goal", srv.SendGoalRequest, srv.SendGoalResponse, self.on_goal)
        self.result = Service(
            participant, f"{base}/get_result", srv.GetResultRequest, srv.GetResultResponse, self.on_result)
        self.cancel = Service(
            participant, f"{base}/cancel_goal", srv.CancelGoalRequest, srv.CancelGoalResponse, self.on_cancel)
        feedback = Topic(participant, f"rt{base}/feedback", srv.FeedbackMessage)
        status = Topic(participant, f"rt{base}/status", srv.GoalStatusArray)
        self.feedback = DataWriter(participant, feedback, qos=qos(depth=50))
        self.status = DataWriter(participant, status, qos=qos(latched=True, depth=1))

    def on_goal(self, request):
        accepted = 0 < request.order < 1000
        if accepted:
            goal = {"order": request.order, "sequence": [0, 1], "status": EXECUTING, "next": time.monotonic() + self.step,
                    "asked": []}
            self.goals[bytes(request.goal_id.uuid)] = goal
        return srv.SendGoalResponse(accepted=accepted)

    def on_result(self, request):
        goal = self.goals.get(bytes(request.goal_id.uuid))
        if goal is None:
            return srv.GetResultResponse(status=0)
        goal["asked"].append(request)
        return None

    def on_cancel(self, request):
        key = bytes(request.goal_info.goal_id.uuid)
        goal = self.goals.get(key)
        if goal is None or goal["status"] != EXECUTING:
            return srv.CancelGoalResponse(return_code=2)
        goal["status"] = CANCELING
        return srv.CancelGoalResponse(goals_canceling=[request.goal_info])

    def serve(self):
        for service in (self.send, self.cancel, self.result):
            service.serve()
        now = time.monotonic()
        for key, goal in self.goals.items():
            if goal["status"] == EXECUTING and now >= goal["next"]:
                goal["next"] += self.step
                goal["sequence"].append(sum(goal["sequence"][-2:]) & 0x3FFFFFFF)
                self.feedback.write(srv.FeedbackMessage(srv.UUID(list(key)), list(goal["sequence"])))
                if len(goal["sequence"]) > goal["order"]:
                    goal["status"] = SUCCEEDED
            elif goal["status"] == CANCELING:
                goal["status"] = CANCELED
            if goal["status"] in (SUCCEEDED, CANCELED):
                for request in goal["asked"]:
                    self.result.reply(request, srv.GetResultResponse(status=goal["status"], numbers=goal["sequence"]))
                goal["asked"].clear()
        statuses = [srv.GoalStatus(srv.GoalInfo(srv.UUID(list(key))), goal["status"]) for key, goal in self.goals.items()]
        if statuses != getattr(self, "told", []):
            self.told = statuses
            self.status.write(srv.GoalStatusArray(statuses))


class Parameters:
    """The parameters of `/robot`."""

    def __init__(self, participant):
        self.values = {
            "speed": srv.ParameterValue(type=3, double_value=0.5),
            "limits.near": srv.ParameterValue(type=8, double_array_value=[float("inf"), -1.5]),
            "name": srv.ParameterValue(type=4, string_value="Rosie"),
        }
        base = "/robot"
        self.services = [
            Service(participant, f"{base}/list_parameters", srv.ListParametersRequest, srv.ListParametersResponse,
                    lambda _: srv.ListParametersResponse(names=list(self.values))),
            Service(participant, f"{base}/get_parameters", srv.GetParametersRequest, srv.GetParametersResponse, self.get),
            Service(participant, f"{base}/set_parameters", srv.SetParametersRequest, srv.SetParametersResponse, self.set),
        ]
        topic = Topic(participant, "rt/parameter_events", srv.ParameterEvent)
        self.events = DataWriter(participant, topic, qos=qos(depth=50))

    def get(self, request):
        unset = srv.ParameterValue()
        return srv.GetParametersResponse(values=[self.values.get(name, unset) for name in request.names])

    def set(self, request):
        results = []
        for parameter in request.parameters:
            known = self.values.get(parameter.name)
            good = known is not None and known.type == parameter.value.type
            results.append(srv.SetParametersResult(good, "" if good else "it is of another type"))
            if good:
                self.values[parameter.name] = parameter.value
                self.events.write(srv.ParameterEvent(node="/robot", changed_parameters=[parameter]))
        return srv.SetParametersResponse(results=results)

    def serve(self):
        for service in self.services:
            service.serve()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--step", type=float, default=0.1)
    args = parser.parse_args()

    participant = DomainParticipant(args.domain)
    trigger = Service(participant, "/robot/trigger", ros.TriggerRequest, ros.TriggerResponse,
                      lambda request: ros.TriggerResponse(success=True, message=f"number {request.number}"))
    calls = itertools.count(1)
    count = Service(participant, "/robot/count", ros.TriggerRequest, ros.TriggerResponse,
                    lambda _: ros.TriggerResponse(success=True, message=f"call {next(calls)}"))
    never = Service(participant, "/robot/never", ros.TriggerRequest, ros.TriggerResponse, lambda _: None)
    late = []
    later = Service(participant, "/robot/late", ros.TriggerRequest, ros.TriggerResponse,
                    lambda request: late.append((time.monotonic() + 1.0, request)))
    parts = [trigger, count, never, later, Fibonacci(participant, args.step), Parameters(participant)]
    twists = DataReader(participant, Topic(participant, "rt/robot/cmd_vel", ros.Twist), qos=qos(depth=50))
    node = ros.NodeEntitiesInfo(node_name="robot")
    graph = DataWriter(participant, Topic(participant, "ros_discovery_info", ros.ParticipantEntitiesInfo),
                       qos=qos(latched=True, depth=1))
    graph.write(ros.ParticipantEntitiesInfo(node_entities_info_seq=[node]))
    report(ready=True)
    speeds, end = [], time.monotonic() + args.seconds
    while time.monotonic() < end:
        for part in parts:
            part.serve()
        while late and late[0][0] <= time.monotonic():
            request = late.pop(0)[1]
            later.reply(request, ros.TriggerResponse(success=True, message=f"number {request.number}"))
        for sample in twists.take(N=50):
            if sample.sample_info.valid_data:
                speeds.append(sample.linear.x)
                report(speed=sample.linear.x)
        if select.select([sys.stdin], [], [], 0.005)[0] and not os.read(0, 64):
            break
    report(triggered=trigger.count, never=never.count, speeds=speeds)


if __name__ == "__main__":
    main()
