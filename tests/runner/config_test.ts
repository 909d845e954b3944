import { ConfigError, parseConfig } from "../../src/runner/config.ts";
import { assertEquals, assertThrows } from "@std/assert";

const LEAST = {
  buildDirectoryPath: "/worker/build",
  grpcServers: [{ listenPaths: ["/worker/runner"] }],
};

function parse(config: unknown) {
  return parseConfig(JSON.stringify(config));
}

Deno.test("parseConfig() reads what bb_runner has", () => {
  assertEquals(parse(LEAST), {
    options: {
      buildDirectory: "/worker/build",
      socket: ["/worker/runner"],
      grace: 0,
      setTmpdir: false,
      readinessPaths: [],
    },
  });
  const all = {
    buildDirectoryPath: "/b",
    grpcServers: [{
      listenPaths: ["/a", "/b"],
      authenticationPolicy: { allow: { public: {} } },
      maximumReceivedMessageSizeBytes: "16777216",
      healthCheckService: "service",
      stopGracefully: true,
    }],
    global: { setUmask: { umask: 18 } },
    setTmpdirEnvironmentVariable: true,
    chrootIntoInputRoot: true,
    cleanProcessTable: true,
    readinessCheckingPathnames: ["/nfs"],
    runCommandsAs: { userId: 1, groupId: 2, additionalGroupIds: [3, 4] },
  };
  const expected = {
    options: {
      buildDirectory: "/b",
      socket: ["/a", "/b"],
      grace: 3_600_000,
      maxMessageSize: 16777216,
      healthService: "service",
      uid: 1,
      gid: 2,
      groups: [3, 4],
      setTmpdir: true,
      readinessPaths: ["/nfs"],
    },
    umask: 18,
  };
  assertEquals(parse(all), expected);
  // Names as the protocol has them mean the same.
  const underscored = JSON.stringify(all).replace(
    /"(\w+)":/g,
    (_, name) =>
      `"${name.replace(/[A-Z]/g, (c: string) => `_${c.toLowerCase()}`)}":`,
  );
  assertEquals(parseConfig(underscored), expected);
});

Deno.test("parseConfig() refuses by its name what it can't honour", () => {
  const server = { listenPaths: ["/s"] };
  const cases: [config: Record<string, unknown>, message: string][] = [
    [
      { cleanTemporaryDirectories: ["/tmp"] },
      "cleanTemporaryDirectories can't",
    ],
    [{ symlinkTemporaryDirectories: ["/tmp"] }, "symlinkTemporaryDirectories"],
    [{ runCommandCleaner: ["true"] }, "runCommandCleaner can't be honoured: "],
    [{ temporaryDirectoryInstaller: {} }, "temporaryDirectoryInstaller can't"],
    [
      { appleXcodeDeveloperDirectories: { "1": "/x" } },
      "appleXcodeDeveloperDirectories can't",
    ],
    [{ chrootIntoInputRoot: false }, "chrootIntoInputRoot can't be false"],
    [
      { global: { diagnosticsHttpServer: {} } },
      "global.diagnosticsHttpServer can't",
    ],
    [{ global: { tracing: {} } }, "global.tracing can't"],
    [{ global: { logPaths: ["/x"] } }, "global.logPaths can't"],
    [{ global: { setUmask: { mask: 1 } } }, "global.setUmask.mask is no field"],
    [{ global: { setUmask: { umask: 512 } } }, "umask must be"],
    [
      { grpcServers: [{ ...server, tls: {} }] },
      "grpcServers[].tls can't be honoured: the socket's directory",
    ],
    [{ grpcServers: [{ ...server, alts: {} }] }, "grpcServers[].alts can't"],
    [
      { grpcServers: [{ ...server, listenAddresses: [":1"] }] },
      "grpcServers[].listenAddresses can't be honoured: over the network",
    ],
    [
      { grpcServers: [{ ...server, authenticationPolicy: { deny: "" } }] },
      "grpcServers[].authenticationPolicy can only be allow",
    ],
    [
      { grpcServers: [{ ...server, keepaliveEnforcementPolicy: {} }] },
      "grpcServers[].keepaliveEnforcementPolicy can't",
    ],
    [{ grpcServers: [{ ...server, relays: [{}] }] }, "grpcServers[].relays"],
    [
      { grpcServers: [{ ...server, tracing: { a: {} } }] },
      "grpcServers[].tracing can't",
    ],
    [{ grpcServers: [{}] }, "grpcServers must have a server with listenPaths"],
    [{ grpcServers: [] }, "grpcServers must have a server with listenPaths"],
    [{ grpcServers: {} }, "grpcServers must have a server with listenPaths"],
    [
      { grpcServers: [server, { ...server, stopGracefully: true }] },
      "grpcServers must agree",
    ],
    [{ grpcServers: [{ listenPaths: "/s" }] }, "listenPaths must be a list"],
    [{ buildDirectoryPath: "build" }, "must be an absolute path"],
    [{ buildDirectoryPath: "" }, "buildDirectoryPath is missing"],
    [{ buildDirectoryPath: 1 }, "buildDirectoryPath must be a string"],
    [{ build_directory_path: "/b" }, "buildDirectoryPath is given more than"],
    [{ setTmpdirEnvironmentVariable: 1 }, "must be true or false"],
    [{ runCommandsAs: { userId: -1 } }, "userId must be a whole number"],
    [{ runCommandsAs: { additionalGroupIds: 1 } }, "must be a list"],
    [
      { runCommandsAs: { additionalGroupIds: ["x"] } },
      "must be a whole number",
    ],
    [{ runCommandsAs: [] }, "runCommandsAs must be an object"],
    [
      { buildDirectoryPat: "/b" },
      "buildDirectoryPat is no field of it; did you mean",
    ],
    [{ anything: null }, "anything is no field of it"],
    [{ toString: null }, "toString is no field of it"],
  ];
  for (const [config, message] of cases) {
    const wrong = () => parse({ ...LEAST, ...config });
    assertThrows(wrong, ConfigError, message);
  }
  assertThrows(() => parse([]), ConfigError, "The configuration must be an");
  assertThrows(
    () => parseConfig("local x = 1; {}"),
    ConfigError,
    "Jsonnet is to be printed as JSON before: jsonnet FILE",
  );
});

Deno.test("parseConfig() names all that it can't honour at once", () => {
  const server = { listenPaths: ["/s"], tls: {} };
  const config = {
    ...LEAST,
    global: { tracing: {}, log_paths: ["/x"] },
    grpcServers: [server, { ...server, alts: {} }],
    runCommandCleaner: ["true"],
  };
  const { message } = assertThrows(() => parse(config), ConfigError);
  assertEquals(
    message.split("; ").map((one) => one.split(" ")[0]).sort(),
    [
      "global.logPaths",
      "global.tracing",
      "grpcServers[].alts",
      "grpcServers[].tls",
      "runCommandCleaner",
    ],
  );
});

Deno.test("parseConfig() takes what holds by default anyway", () => {
  const config = {
    ...LEAST,
    cleanTemporaryDirectories: [],
    symlinkTemporaryDirectories: null,
    runCommandCleaner: [],
    appleXcodeDeveloperDirectories: {},
    cleanProcessTable: false,
    runCommandsAs: null,
    global: { logPaths: [], mutexProfileFraction: 0, tracing: null },
    grpcServers: [{
      ...LEAST.grpcServers[0],
      listenAddresses: [],
      maximumReceivedMessageSizeBytes: "0",
      initialWindowSizeBytes: 0,
      tracing: {},
      tls: null,
    }],
  };
  assertEquals(parse(config), parse(LEAST));
});
