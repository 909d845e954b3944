/** A registry on loopback that speaks JSR's protocol, to publish to and use. */

import { missingPermission } from "../support/testing.ts";

/** A package's files by path, which starts with a slash. */
export type Files = Map<string, Uint8Array<ArrayBuffer>>;

interface Version {
  readonly files: Files;
  /** What `VERSION_meta.json` says, the checksums as they were at first. */
  readonly meta: unknown;
}

/** What stands in the way of a registry, null when nothing does. */
export async function missingLoopback(): Promise<string | null> {
  const missing = missingPermission(["net"]);
  if (missing !== null) return missing;
  const hostname = "127.0.0.1";
  using listener = Deno.listen({ hostname, port: 0 });
  try {
    (await Deno.connect({ hostname, port: listener.addr.port })).close();
    return null;
  } catch (error) {
    // As in a new network namespace: ENETUNREACH.
    if (error instanceof Error && "code" in error) {
      return "needs a loopback interface that is up";
    }
    throw error;
  }
}

/** Serves what was published to it until it is disposed of. */
export class Registry implements AsyncDisposable {
  readonly #versions = new Map<string, Version>();
  readonly #server: Deno.HttpServer<Deno.NetAddr> = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => this.#answer(request),
  );

  /** For the environment variable `JSR_URL`. */
  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  /** Publishes files, `deno.json` among them. */
  async publish(files: Files): Promise<void> {
    const config = JSON.parse(
      new TextDecoder().decode(files.get("/deno.json")),
    );
    const exports = typeof config.exports === "string"
      ? { ".": config.exports }
      : config.exports;
    const meta = { exports, manifest: await manifest(files) };
    this.#versions.set(`${config.name}/${config.version}`, { files, meta });
  }

  /** The files of a version. */
  files(name: string, version: string): Files {
    return this.#versions.get(`${name}/${version}`)!.files;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const found = pathname.startsWith("/api/")
      ? await this.#api(request, pathname)
      : this.#read(pathname);
    return found ?? Response.json({ code: "notFound" }, { status: 404 });
  }

  /** What `deno publish` asks for. */
  async #api(request: Request, pathname: string): Promise<Response | null> {
    if (request.method === "POST") {
      await this.publish(await untar(request));
      return Response.json({ id: "1", status: "success", error: null });
    }
    const asksForVersion = /\/versions\/[^/]+$/.test(pathname);
    return asksForVersion ? null : Response.json({});
  }

  #read(pathname: string): Response | null {
    const [, name = "", rest = ""] =
      /^\/(@[^/]+\/[^/]+)\/(.+)$/.exec(pathname) ??
        [];
    if (rest === "meta.json") {
      const versions = [...this.#versions.keys()]
        .filter((id) => id.startsWith(`${name}/`))
        .map((id) => [id.slice(name.length + 1), {}]);
      return Response.json({ versions: Object.fromEntries(versions) });
    }
    const [, metaOf] = /^([^/]+)_meta\.json$/.exec(rest) ?? [];
    const asked = this.#versions.get(`${name}/${metaOf}`);
    if (asked !== undefined) return Response.json(asked.meta);
    const [, version, path = ""] = /^([^/]+)(\/.+)$/.exec(rest) ?? [];
    const file = this.#versions.get(`${name}/${version}`)?.files.get(path);
    return file === undefined ? null : new Response(file, {
      headers: { "content-type": "application/octet-stream" },
    });
  }
}

async function manifest(
  files: Files,
): Promise<Record<string, { size: number; checksum: string }>> {
  const entries = [...files].map(async ([path, bytes]) => {
    const digest = await crypto.subtle.digest("SHA-256", bytes);
    const checksum = [...new Uint8Array(digest)]
      .map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const size = bytes.length;
    return [path, { size, checksum: `sha256-${checksum}` }] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** The files of a gzipped tar archive, as `deno publish` uploads one. */
async function untar(request: Request): Promise<Files> {
  const plain = request.body!.pipeThrough(new DecompressionStream("gzip"));
  const tar = await new Response(plain).bytes();
  const text = (at: number, length: number) =>
    new TextDecoder().decode(tar.subarray(at, at + length)).split("\0")[0]!;
  const files: Files = new Map();
  // Headers of 512 bytes, name at 0 and octal size at 124; an empty one ends it.
  for (let at = 0; text(at, 100) !== "";) {
    const size = parseInt(text(at + 124, 12), 8);
    files.set(`/${text(at, 100)}`, tar.slice(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}
