"""Calls a runner, as a client that shares no code with the server: lines of JSON
say what to call, and lines of JSON are what came of it.

Arguments: the folder of the generated messages, the socket.
"""

import json
import sys
import threading

sys.path.insert(0, sys.argv[1])

import grpc

# The library is a package of that name itself.
grpc.__path__.append(sys.argv[1] + "/grpc")

from google.protobuf import json_format
from buildbarn.runner import runner_pb2, runner_pb2_grpc
from buildbarn.resourceusage import resourceusage_pb2
from grpc.health.v1 import health_pb2

channel = grpc.insecure_channel(
    "unix:" + sys.argv[2],
    options=[("grpc.max_send_message_length", -1),
             ("grpc.initial_reconnect_backoff_ms", 50),
             ("grpc.max_reconnect_backoff_ms", 100)],
)
stub = runner_pb2_grpc.RunnerStub(channel)
health = channel.unary_unary(
    "/grpc.health.v1.Health/Check",
    request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
    response_deserializer=health_pb2.HealthCheckResponse.FromString,
)
watch = channel.unary_stream(
    "/grpc.health.v1.Health/Watch",
    request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
    response_deserializer=health_pb2.HealthCheckResponse.FromString,
)
METHODS = {
    "run": (stub.Run, runner_pb2.RunRequest),
    "checkReadiness": (stub.CheckReadiness, runner_pb2.CheckReadinessRequest),
    "health": (health, health_pb2.HealthCheckRequest),
}
calls = {}
lock = threading.Lock()


def say(what):
    with lock:
        print(json.dumps(what), flush=True)


def outcome(call):
    """What a call ended with."""
    try:
        response = call.result()
    except grpc.FutureCancelledError:
        return {"status": "CANCELLED", "message": ""}
    except grpc.RpcError as error:
        return {"status": error.code().name, "message": error.details()}
    return {
        "status": "OK",
        "response": json_format.MessageToDict(
            response, always_print_fields_with_no_presence=True
        ),
    }


def begin(line):
    method, message = METHODS[line["method"]]
    request = json_format.ParseDict(line.get("request", {}), message())
    call = method.future(
        request, timeout=line.get("timeout"), wait_for_ready=line.get("wait", False)
    )
    number = line["id"]
    calls[number] = call
    call.add_done_callback(lambda call: say({"id": number, **outcome(call)}))


def watching(line):
    request = health_pb2.HealthCheckRequest(service=line["service"])
    try:
        for response in watch(request):
            name = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
            say({"id": line["id"], "watched": name})
    except grpc.RpcError as error:
        say({"id": line["id"], "status": error.code().name})
        return
    say({"id": line["id"], "status": "OK"})


for text in sys.stdin:
    line = json.loads(text)
    if "cancel" in line:
        calls[line["cancel"]].cancel()
    elif line["method"] == "watch":
        threading.Thread(target=watching, args=(line,), daemon=True).start()
    else:
        begin(line)
