// The messages that these examples use, as @grpc/proto-loader makes them. Numbers of 64 bits are bigint: a revision may be
// larger than the integers of a JavaScript number.
//
// `proto-loader-gen-types` makes such types of the whole contract.

export type Value = { int: bigint } | { text: string } | { bytes: Uint8Array };

export interface Entry {
  key: string;
  value?: { kind: "int"; int: bigint } | { kind: "text"; text: string } | { kind: "bytes"; bytes: Buffer };
  revision: bigint;
  createRevision: bigint;
  session: string;
}

export interface Condition {
  exists?: boolean;
  revision?: bigint;
  createRevision?: bigint;
  value?: Value;
}

export interface WriteRequest {
  key: string;
  value: Value;
  expect?: Condition;
  session?: string;
  sessionCreateRevision?: bigint;
  requestId?: string;
}

export interface Written {
  revision: bigint;
  createRevision: bigint;
  replayed: boolean;
}

export interface Session {
  id: string;
  createRevision: bigint;
}

export interface WatchRequest {
  key?: string;
  prefix?: string;
  initial?: boolean;
  afterRevision?: bigint;
  storeId?: string;
}

export interface WatchEvent {
  cause: string;
  entry: Entry;
}

export interface WatchResponse {
  events: WatchEvent[];
  revision: bigint;
  caughtUp: boolean;
}

export interface ListResponse {
  entries: Entry[];
  nextPageToken: string;
  revision: bigint;
}
