"""The messages and stubs of the contract soloist.v1, as protoc makes them."""
