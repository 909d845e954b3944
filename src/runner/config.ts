/** The configuration of `bb_runner`, as far as this runner can honour it. */
import { nearest } from "../base/check.ts";
import { quote } from "../base/text.ts";
import type { ServeOptions } from "./options.ts";

/** A configuration that can't be honoured. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** The content of a configuration. */
export interface Config {
  readonly options: ServeOptions;
  /** The umask, undefined for this process's. */
  readonly umask?: number;
}

type Json = unknown;
type Fields = Readonly<Record<string, Json>>;

/** The milliseconds that actions may go on with `stopGracefully`. */
const GRACE = 3_600_000;

/** Why a field can't be honoured, by its name and those that it is in. */
const REFUSED: Readonly<Record<string, string>> = {
  "appleXcodeDeveloperDirectories": "there is no Xcode on Linux",
  "cleanTemporaryDirectories":
    "each action has a /tmp of its own, which the worker removes",
  "runCommandCleaner":
    "nothing is left of an action, and a command of the host's would see other actions",
  "symlinkTemporaryDirectories":
    "each action has a /tmp of its own, however many run at once",
  "temporaryDirectoryInstaller": "each action has a /tmp of its own",
  "global.diagnosticsHttpServer":
    "there is no HTTP server: health is asked by gRPC, and the log has a line for each action",
  "global.grpcForwardAndReuseMetadata": "no call is passed on",
  "global.grpcKubernetesResolvers": "nothing is connected to",
  "global.logPaths": "the log goes to standard error: redirect that",
  "global.mutexProfileFraction": "there is nothing to profile",
  "global.prometheusPushgateway":
    "there are no metrics: the log has a line for each action",
  "global.setResourceLimits":
    "the runner has its own: commands get limits by --limit",
  "global.tracing": "there is no tracing",
  "grpcServers[].alts": "the socket's directory guards it",
  "grpcServers[].initialConnWindowSizeBytes":
    "the library has one window for all",
  "grpcServers[].initialWindowSizeBytes": "the library has one window for all",
  "grpcServers[].keepaliveEnforcementPolicy":
    "clients of a Unix socket may ask as often as they like",
  "grpcServers[].keepaliveParameters":
    "a Unix socket tells when its client is gone",
  "grpcServers[].listenAddresses":
    "over the network anybody could run commands here: use listenPaths",
  "grpcServers[].relays": "no call is passed on",
  "grpcServers[].tls": "the socket's directory guards it",
  "grpcServers[].tracing": "there is no tracing",
};

/** Whose value is a map: an empty one says nothing. */
const MAPS = [
  "appleXcodeDeveloperDirectories",
  "global.grpcKubernetesResolvers",
  "global.setResourceLimits",
  "grpcServers[].tracing",
];

/**
 * Reads a configuration with the field names of `bb_runner`, as jsonnet prints
 * it. Nothing in it is ignored.
 *
 * @throws {ConfigError} For what is no configuration, or can't be honoured: by
 * its name, with the reason.
 */
export function parseConfig(text: string): Config {
  const json = parseJson(text);
  const refused = new Set(refusedIn("", json));
  if (refused.size > 0) throw new ConfigError([...refused].join("; "));
  const top = fields("", json, [
    "buildDirectoryPath",
    "chrootIntoInputRoot",
    "cleanProcessTable",
    "global",
    "grpcServers",
    "readinessCheckingPathnames",
    "runCommandsAs",
    "setTmpdirEnvironmentVariable",
  ]);
  const buildDirectory = string("buildDirectoryPath", top);
  if (!buildDirectory.startsWith("/")) {
    throw new ConfigError("buildDirectoryPath must be an absolute path");
  }
  if (top["chrootIntoInputRoot"] === false) {
    throw new ConfigError(
      "chrootIntoInputRoot can't be false: the input root is the command's root, always",
    );
  }
  boolean("chrootIntoInputRoot", top);
  boolean("cleanProcessTable", top);
  const global = fields("global", top["global"] ?? {}, ["setUmask"]);
  const umask = global["setUmask"] === undefined ? undefined : number(
    "umask",
    fields("global.setUmask", global["setUmask"], ["umask"]),
    0o777,
  );
  return {
    options: {
      buildDirectory,
      ...servers(top["grpcServers"]),
      ...top["runCommandsAs"] === undefined
        ? {}
        : credentials(top["runCommandsAs"]),
      setTmpdir: boolean("setTmpdirEnvironmentVariable", top),
      readinessPaths: strings("readinessCheckingPathnames", top),
    },
    ...umask === undefined ? {} : { umask },
  };
}

function parseJson(text: string): Json {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ConfigError(
      `${
        (error as SyntaxError).message
      }; Jsonnet is to be printed as JSON before: jsonnet FILE`,
      { cause: error },
    );
  }
}

function servers(list: Json): Omit<ServeOptions, "buildDirectory"> {
  if (!Array.isArray(list) || list.length === 0) {
    throw new ConfigError("grpcServers must have a server with listenPaths");
  }
  const all = list.map((server) => {
    const name = "grpcServers[]";
    const given = fields(name, server, [
      "authenticationPolicy",
      "healthCheckService",
      "listenPaths",
      "maximumReceivedMessageSizeBytes",
      "stopGracefully",
    ]);
    const policy = fields(
      `${name}.authenticationPolicy`,
      given["authenticationPolicy"] ?? { allow: {} },
      null,
    );
    const [kind, ...others] = Object.keys(policy);
    if (kind !== "allow" || others.length > 0) {
      throw new ConfigError(
        `${name}.authenticationPolicy can only be allow: the socket's directory decides who connects`,
      );
    }
    const size = number(
      "maximumReceivedMessageSizeBytes",
      given,
      0x7fff_ffff,
    );
    const service = optional("healthCheckService", given);
    return {
      paths: strings("listenPaths", given),
      same: {
        grace: boolean("stopGracefully", given) ? GRACE : 0,
        ...size === 0 ? {} : { maxMessageSize: size },
        ...service === "" ? {} : { healthService: service },
      },
    };
  });
  const [{ same }] = all as [typeof all[number]];
  if (all.some((one) => JSON.stringify(one.same) !== JSON.stringify(same))) {
    throw new ConfigError(
      "grpcServers must agree but for listenPaths: it is one server with several sockets",
    );
  }
  const socket = all.flatMap(({ paths }) => paths);
  if (socket.length === 0) {
    throw new ConfigError("grpcServers must have a server with listenPaths");
  }
  return { socket, ...same };
}

function credentials(
  value: Json,
): Pick<ServeOptions, "uid" | "gid" | "groups"> {
  const name = "runCommandsAs";
  const given = fields(name, value, [
    "userId",
    "groupId",
    "additionalGroupIds",
  ]);
  const most = 0xffff_fffe;
  const groups = given["additionalGroupIds"] ?? [];
  if (!Array.isArray(groups)) {
    throw new ConfigError("additionalGroupIds must be a list");
  }
  return {
    uid: number("userId", given, most),
    gid: number("groupId", given, most),
    groups: groups.map((group) =>
      number("additionalGroupIds", { additionalGroupIds: group }, most)
    ),
  };
}

/**
 * The fields of a message by their names in JSON; those of the protocol, with
 * underscores, are the same. What is said to be as it is by default is left out.
 *
 * @param known The names that are honoured, null for any.
 * @throws {ConfigError} For any other.
 */
function fields(
  path: string,
  value: Json,
  known: readonly string[] | null,
): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError(
      `${path || "The configuration"} must be an object`,
    );
  }
  const found: Record<string, Json> = {};
  for (const [key, item] of Object.entries(value)) {
    const name = jsonName(key);
    const full = path === "" ? name : `${path}.${name}`;
    if (Object.hasOwn(found, name)) {
      throw new ConfigError(`${full} is given more than once`);
    }
    if (known === null || known.includes(name)) {
      if (item !== null) found[name] = item;
      continue;
    }
    if (!Object.hasOwn(REFUSED, full)) {
      throw new ConfigError(
        `${full} is no field of it${nearest(name, known)}`,
      );
    }
  }
  return found;
}

/** The name in JSON of a field of the protocol. */
function jsonName(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
}

/** Names each field that can't be honoured, with the reason. */
function refusedIn(path: string, value: Json): string[] {
  if (Array.isArray(value)) {
    return value.flatMap((item) => refusedIn(`${path}[]`, item));
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => {
    const full = path === "" ? jsonName(key) : `${path}.${jsonName(key)}`;
    if (!Object.hasOwn(REFUSED, full)) return refusedIn(full, item);
    return isUnset(item, MAPS.includes(full))
      ? []
      : [`${full} can't be honoured: ${REFUSED[full]}`];
  });
}

/** True if a value means the same as none. */
function isUnset(value: Json, isMap: boolean): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (isMap && typeof value === "object" && value !== null) {
    return Object.keys(value).length === 0;
  }
  return [null, false, 0, "0", ""].includes(value as null);
}

function boolean(name: string, { [name]: value = false }: Fields): boolean {
  if (typeof value === "boolean") return value;
  throw new ConfigError(`${name} must be true or false`);
}

/** A number; 64-bit ones are strings in the JSON of a message. */
function number(
  name: string,
  { [name]: value = 0 }: Fields,
  most: number,
): number {
  const given = typeof value === "string" && /^\d+$/.test(value)
    ? Number(value)
    : value;
  if (
    Number.isInteger(given) && given as number >= 0 && given as number <= most
  ) {
    return given as number;
  }
  throw new ConfigError(`${name} must be a whole number up to ${most}`);
}

function optional(name: string, { [name]: value = "" }: Fields): string {
  if (typeof value === "string") return value;
  throw new ConfigError(`${name} must be a string`);
}

function string(name: string, given: Fields): string {
  const value = optional(name, given);
  if (value !== "") return value;
  throw new ConfigError(`${name} is missing`);
}

function strings(name: string, { [name]: value = [] }: Fields): string[] {
  const isList = Array.isArray(value) &&
    value.every((item) => typeof item === "string");
  if (isList) return value;
  throw new ConfigError(
    `${name} must be a list of strings${
      typeof value === "string" ? `: [${quote(value)}]` : ""
    }`,
  );
}
