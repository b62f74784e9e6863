// A connection, calls with retries, errors with their reasons, and watches that go on after a break.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";
import protobuf from "protobufjs";
import type { WatchRequest, WatchResponse } from "./contract.ts";

const PROTO = fileURLToPath(new URL("../../../proto", import.meta.url));
const FILES = ["admin", "machines", "sessions", "state"].map((name) => `soloist/v1/${name}.proto`);

const definitions = loader.loadSync(FILES, {
  includeDirs: [PROTO],
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});

const details = new protobuf.Root();
details.resolvePath = (_, target) => `${PROTO}/${target}`;
details.loadSync(["google/rpc/status.proto", "google/rpc/error_details.proto"]);
const Status = details.lookupType("google.rpc.Status");
const ErrorInfo = details.lookupType("google.rpc.ErrorInfo");

// Which calls gRPC itself sends again, and when. Every change needs a request id for that: see `call`.
const SERVICE_CONFIG = readFileSync(`${PROTO}/service-config.json`, "utf8");

/** Why the server refused a call. Nothing was applied, unless the reason is OUTCOME_UNKNOWN or absent. */
export class SoloistError extends Error {
  readonly code: grpc.status;
  /** A name of soloist.v1.Error.Reason, such as KEY_EXISTS; absent if the error does not come from the server itself. */
  readonly reason: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(error: grpc.ServiceError) {
    const info = errorInfo(error);
    super(info ? `${error.details} (${info.reason})` : error.message, { cause: error });
    this.code = error.code;
    this.reason = info?.reason;
    this.metadata = info?.metadata ?? {};
  }

  /** Whether a watch may be opened again. */
  get isTransient(): boolean {
    return this.reason === undefined
      ? this.code === grpc.status.UNAVAILABLE
      : ["DRAINING", "OVERLOADED", "OWNER_LOST", "NOT_OWNER", "NOT_CONFIRMED"].includes(this.reason);
  }
}

interface Info {
  domain: string;
  reason: string;
  metadata: Record<string, string>;
}

function errorInfo(error: grpc.ServiceError): Info | undefined {
  const [binary] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!(binary instanceof Buffer)) return undefined;
  const status = Status.decode(binary) as unknown as { details: { type_url: string; value: Uint8Array }[] };
  for (const detail of status.details) {
    if (detail.type_url !== "type.googleapis.com/google.rpc.ErrorInfo") continue;
    const info = ErrorInfo.decode(detail.value) as unknown as Info;
    if (info.domain === "soloist.v1") return info;
  }
  return undefined;
}

export interface Options {
  credentials?: grpc.ChannelCredentials;
  /** What `soloist-server token` made. */
  token?: string;
}

/** A connection to a server. */
export class Soloist {
  readonly #clients = new Map<string, grpc.Client>();
  readonly #address: string;
  readonly #options: Options;

  constructor(address = process.env.SOLOIST_SERVER ?? "127.0.0.1:50051", options: Options = {}) {
    this.#address = address;
    this.#options = options;
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  /** Makes a unary call, such as `call("State", "Read", { key: "a" })`. Rejects with a `SoloistError`. */
  call<Response>(service: string, method: string, request: object): Promise<Response> {
    const definition = this.#method(service, method);
    // A change that is sent again with the same id is applied once.
    const ided = "requestId" in emptyRequest(definition) ? { requestId: randomUUID(), ...request } : request;
    return new Promise((resolve, reject) => {
      this.#client(service).makeUnaryRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        wire(ided),
        this.#metadata(),
        { deadline: Date.now() + 10_000 },
        (error, response) => (error ? reject(new SoloistError(error)) : resolve(bigints(response) as Response)),
      );
    });
  }

  /**
   * Iterates over the messages of a watch, and goes on after a break: each change comes once. Ends with a `SoloistError` when the
   * server cannot go on where the watch broke; then begin anew with `initial`.
   */
  async *watch(request: WatchRequest, signal?: AbortSignal): AsyncGenerator<WatchResponse> {
    // Revisions of another store cannot be compared: the server refuses to go on there.
    const info = await this.call<{ storeId: string }>("Admin", "GetInfo", {});
    let position: WatchRequest = { ...request, storeId: info.storeId };
    for (let attempts = 0; !signal?.aborted; attempts++) {
      const stream = this.#open(position);
      const cancel = () => stream.cancel();
      signal?.addEventListener("abort", cancel, { once: true });
      try {
        for await (const message of stream) {
          const response = bigints(message) as WatchResponse;
          attempts = 0;
          // Until the initial entries have all come there is nothing to go on from.
          if (!position.initial || response.caughtUp) {
            position = { ...position, initial: false, afterRevision: response.revision };
          }
          yield response;
        }
      } catch (failure) {
        if (signal?.aborted) return;
        const error = new SoloistError(failure as grpc.ServiceError);
        if (!error.isTransient || position.initial) throw error;
        await pause(Math.random() * Math.min(1_000, 20 * 2 ** attempts));
      } finally {
        signal?.removeEventListener("abort", cancel);
        stream.cancel();
      }
    }
  }

  #open(request: WatchRequest): grpc.ClientReadableStream<object> {
    const definition = this.#method("State", "Watch");
    return this.#client("State").makeServerStreamRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      wire(request),
      this.#metadata(),
    );
  }

  #client(service: string): grpc.Client {
    let client = this.#clients.get(service);
    if (!client) {
      client = new grpc.Client(this.#address, this.#options.credentials ?? grpc.credentials.createInsecure(), {
        "grpc.service_config": SERVICE_CONFIG,
        "grpc.max_receive_message_length": -1,
        // A server that is gone without a word is noticed after 30 s, also by a watch.
        "grpc.keepalive_time_ms": 20_000,
        "grpc.keepalive_timeout_ms": 10_000,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 2_000,
      });
      this.#clients.set(service, client);
    }
    return client;
  }

  #metadata(): grpc.Metadata {
    const metadata = new grpc.Metadata();
    if (this.#options.token) metadata.set("authorization", `Bearer ${this.#options.token}`);
    return metadata;
  }

  #method(service: string, method: string): grpc.MethodDefinition<object, object> {
    const found = (definitions[`soloist.v1.${service}`] as grpc.ServiceDefinition | undefined)?.[method];
    if (!found) throw new Error(`there is no call soloist.v1.${service}/${method}`);
    return found as grpc.MethodDefinition<object, object>;
  }
}

function emptyRequest(definition: grpc.MethodDefinition<object, object>): object {
  return definition.requestDeserialize(Buffer.alloc(0));
}

// Numbers of 64 bits come as text from the loader, in these fields.
const LONGS = new Set(["revision", "createRevision", "int", "deletedCount", "keyCount", "applied", "afterRevision"]);

/** Makes bigints of the 64-bit numbers of a message, and leaves absent messages out. */
function bigints(message: unknown): unknown {
  if (Array.isArray(message)) return message.map(bigints);
  if (message === null || typeof message !== "object" || message instanceof Uint8Array) return message;
  const converted: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message)) {
    if (value === null) continue;
    converted[name] = LONGS.has(name) && typeof value === "string" ? BigInt(value) : bigints(value);
  }
  return converted;
}

/** Makes text of bigints, which the loader takes. */
function wire(message: unknown): object {
  if (Array.isArray(message)) return message.map(wire);
  if (typeof message === "bigint") return message.toString() as unknown as object;
  if (message === null || typeof message !== "object" || message instanceof Uint8Array) return message as object;
  return Object.fromEntries(Object.entries(message).map(([name, value]) => [name, wire(value)]));
}
