/** Services of gRPC by the generated descriptions of their protocols. */
import {
  type handleUnaryCall,
  type MethodDefinition,
  type sendUnaryData,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import { Buffer } from "node:buffer";
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
  HealthCheckResponseSchema,
} from "./generated/grpc/health/v1/health_pb.ts";
import { status, StatusError, statusOf } from "./status.ts";

/** Describes a service to the server. */
export function definitionOf(service: DescService): ServiceDefinition {
  return Object.fromEntries(
    service.methods.map((method) => [method.localName, definition(method)]),
  );
}

function definition(
  method: DescMethod,
  // deno-lint-ignore no-explicit-any
): MethodDefinition<any, any> {
  const { input, output, methodKind } = method;
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: /^client|^bidi/.test(methodKind),
    responseStream: /^server|^bidi/.test(methodKind),
    requestSerialize: (message) => Buffer.from(toBinary(input, message)),
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(output, message)),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
  };
}

/**
 * Handles calls of one request and one answer.
 *
 * @param answer Answers it. The signal is aborted when the client needs no
 * answer any more, or its deadline has come.
 * @param calls The set that holds each call until its answer is on its way.
 */
export function unary<Request, Response>(
  answer: (
    request: Request,
    signal: AbortSignal,
  ) => Response | Promise<Response>,
  calls: Set<Promise<void>>,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    // The library says so, too, once the answer is on its way.
    const over = new Promise<void>((resolve) => call.on("cancelled", resolve));
    calls.add(over);
    over.then(() => calls.delete(over));
    return answerCall(call, callback, answer);
  };
}

async function answerCall<Request, Response>(
  call: ServerUnaryCall<Request, Response>,
  callback: sendUnaryData<Response>,
  answer: (
    request: Request,
    signal: AbortSignal,
  ) => Response | Promise<Response>,
): Promise<void> {
  using over = new DisposableStack();
  const abort = new AbortController();
  const end = (name: "CANCELLED" | "DEADLINE_EXCEEDED", message: string) =>
    abort.abort(new StatusError(name, message));
  let answered = false;
  const cancel = () => {
    if (!answered) end("CANCELLED", "The client cancelled the call");
  };
  call.on("cancelled", cancel);
  const deadline = call.getDeadline();
  if (deadline !== Infinity) {
    const expire = () =>
      end("DEADLINE_EXCEEDED", "The call's deadline has passed");
    const timer = setTimeout(expire, Number(deadline) - Date.now());
    over.defer(() => clearTimeout(timer));
  }
  if (call.cancelled) cancel();
  try {
    const response = await answer(call.request, abort.signal);
    abort.signal.throwIfAborted();
    answered = true;
    callback(null, response);
  } catch (error) {
    const { status: name, message } = statusOf(error);
    answered = true;
    callback({ code: status[name], details: shorten(message) });
  }
}

/**
 * Clients take 16384 bytes of such at the most, some 8192, and nine may be for a
 * character.
 */
const MOST_DETAILS = 800;

/** With its begin and its end, which says what the system answered. */
function shorten(message: string): string {
  const half = MOST_DETAILS / 2;
  const short = message.length <= MOST_DETAILS
    ? message
    : `${message.slice(0, half)}…${message.slice(-half)}`;
  // Half a character would end the whole process: the library throws.
  return short.toWellFormed();
}

/**
 * Leaves the answer to a call whose deadline has come to who handles it: the
 * library alone would give one at once, while there is still something to end.
 */
export const answerWhenOver: ServerInterceptor = (_method, call) => {
  const send = call.sendStatus;
  let handled = false;
  let answered = false;
  call.sendStatus = (sent) => {
    const early = sent.code === status.DEADLINE_EXCEEDED && !answered;
    if (!(handled && early)) send.call(call, sent);
  };
  return new ServerInterceptingCall(call as ServerInterceptingCallInterface, {
    start(next) {
      next({
        onReceiveHalfClose(pass) {
          handled = true;
          pass();
        },
      });
    },
    sendStatus(sent, pass) {
      answered = true;
      pass(sent);
    },
  });
};

/** The health of services: the protocol of grpc.health.v1. */
export class Health {
  readonly #services: readonly string[];
  readonly #watchers = new Set<Watcher>();
  #status = ServingStatus.SERVING;

  /** @param services The services; an empty name is the server as a whole. */
  constructor(services: readonly string[]) {
    this.#services = services;
  }

  /** The implementation of each method. */
  readonly handlers = {
    check: (
      { request }: { request: HealthCheckRequest },
      callback: Parameters<
        handleUnaryCall<HealthCheckRequest, HealthCheckResponse>
      >[1],
    ): void => {
      if (this.#services.includes(request.service)) {
        callback(null, this.#response(request.service));
      } else {
        callback({
          code: status.NOT_FOUND,
          details: "There is no such service",
        });
      }
    },
    watch: (call: Watcher): void => {
      call.write(this.#response(call.request.service));
      this.#watchers.add(call);
      call.on("cancelled", () => this.#watchers.delete(call));
    },
  };

  #response(service: string): HealthCheckResponse {
    return create(HealthCheckResponseSchema, {
      status: this.#services.includes(service)
        ? this.#status
        : ServingStatus.SERVICE_UNKNOWN,
    });
  }

  /** Tells all watchers that nothing is served any more. */
  stop(): void {
    this.#status = ServingStatus.NOT_SERVING;
    for (const call of this.#watchers) {
      call.write(this.#response(call.request.service));
      call.end();
    }
    this.#watchers.clear();
  }
}

type Watcher = ServerWritableStream<HealthCheckRequest, HealthCheckResponse>;
