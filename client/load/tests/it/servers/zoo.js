// The service zoo.v1.Keeper with grpc-js, which describes itself by reflection: zoo.js PROTO. Prints its address.
"use strict";

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const { ReflectionService } = require("@grpc/reflection");

const definition = loader.loadSync(process.argv[2], { longs: String, enums: String, bytes: String });
const { Keeper } = grpc.loadPackageDefinition(definition).zoo.v1;

const seen = (animal, count, call) => ({
  text: JSON.stringify(animal),
  animal,
  count,
  tenant: String(call.metadata.get("x-tenant")[0] ?? ""),
});

const server = new grpc.Server();
server.addService(Keeper.service, {
  Feed: (call, callback) => callback(null, seen(call.request, 1, call)),
  Refuse: (call, callback) => callback({ code: call.request.code, details: "as you wanted" }),
  Watch: (call) => {
    for (let number = 1; number <= call.request.count; number++) call.write({ count: number });
    call.end();
  },
  Collect: (call, callback) => {
    let count = 0;
    call.on("data", () => count++);
    call.on("end", () => callback(null, { count }));
  },
  Chat: (call) => {
    let count = 0;
    call.on("data", (animal) => call.write(seen(animal, ++count, call)));
    call.on("end", () => call.end());
  },
});
new ReflectionService(definition).addToServer(server);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`127.0.0.1:${port}`);
});
// The test closes standard input when it is done.
process.stdin.resume().on("end", () => process.exit(0));
