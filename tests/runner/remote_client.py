"""Executes actions on a cluster by the Remote Execution API: lines of JSON say
which, and lines of JSON are what came of them.

Arguments: the folder of the generated messages, the address.
"""

import hashlib
import json
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])

import grpc
import remote_execution_pb2 as pb
import remote_execution_pb2_grpc as services

channel = grpc.insecure_channel(
    sys.argv[2],
    options=[("grpc.max_send_message_length", -1),
             ("grpc.max_receive_message_length", -1)],
)
grpc.channel_ready_future(channel).result()
execution = services.ExecutionStub(channel)
storage = services.ContentAddressableStorageStub(channel)
known = set()
lock = threading.Lock()


def store(data):
    digest = pb.Digest(hash=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    if data and digest.hash not in known:
        request = pb.BatchUpdateBlobsRequest()
        request.requests.add(digest=digest, data=data)
        response = storage.BatchUpdateBlobs(request)
        assert response.responses[0].status.code == 0, response
        known.add(digest.hash)
    return digest


def load(digest):
    if digest.size_bytes == 0:
        return ""
    response = storage.BatchReadBlobs(pb.BatchReadBlobsRequest(digests=[digest]))
    return response.responses[0].data.decode()


def tree(entries):
    """Stores a directory: names to texts, paths of files, links or directories."""
    directory = pb.Directory()
    for name, entry in sorted(entries.items()):
        if "text" in entry or "file" in entry:
            data = (open(entry["file"], "rb").read() if "file" in entry
                    else entry["text"].encode())
            directory.files.add(name=name, digest=store(data),
                                is_executable=entry.get("executable", False))
        elif "link" in entry:
            directory.symlinks.add(name=name, target=entry["link"])
        else:
            directory.directories.add(name=name, digest=tree(entry["directory"]))
    return store(directory.SerializeToString(deterministic=True))


def execute(line):
    command = pb.Command(arguments=line["command"],
                         output_paths=sorted(line.get("outputs", [])))
    command.environment_variables.add(name="PATH", value="/bin")
    action = pb.Action(
        command_digest=store(command.SerializeToString(deterministic=True)),
        input_root_digest=tree(line["inputs"]),
        do_not_cache=True,
    )
    if "timeout" in line:
        action.timeout.FromMilliseconds(int(line["timeout"] * 1000))
    digest = store(action.SerializeToString(deterministic=True))
    begin = time.monotonic()
    operations = execution.Execute(pb.ExecuteRequest(action_digest=digest))
    for operation in operations:
        if operation.done:
            break
    seconds = time.monotonic() - begin
    response = pb.ExecuteResponse()
    operation.response.Unpack(response)
    result = response.result
    return {
        "code": response.status.code,
        "message": response.status.message,
        "exitCode": result.exit_code,
        "stdout": load(result.stdout_digest) or result.stdout_raw.decode(),
        "stderr": load(result.stderr_digest) or result.stderr_raw.decode(),
        "outputs": {file.path: load(file.digest) for file in result.output_files},
        "logs": {name: load(log.digest) for name, log in response.server_logs.items()},
        "seconds": seconds,
    }


def answer(line):
    try:
        outcome = execute(line)
    except grpc.RpcError as error:
        outcome = {"error": f"{error.code().name}: {error.details()}"}
    with lock:
        print(json.dumps({"id": line["id"], **outcome}), flush=True)


for text in sys.stdin:
    threading.Thread(target=answer, args=(json.loads(text),), daemon=True).start()
