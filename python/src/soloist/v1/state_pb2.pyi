import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Value(_message.Message):
    __slots__ = ("int", "text", "bytes")
    INT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    int: int
    text: str
    bytes: bytes
    def __init__(self, int: _Optional[int] = ..., text: _Optional[str] = ..., bytes: _Optional[bytes] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("key", "value", "revision", "create_revision", "expire_time", "session", "machine", "state", "state_expire_time")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: Value
    revision: int
    create_revision: int
    expire_time: _timestamp_pb2.Timestamp
    session: str
    machine: str
    state: str
    state_expire_time: _timestamp_pb2.Timestamp
    def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., revision: _Optional[int] = ..., create_revision: _Optional[int] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., session: _Optional[str] = ..., machine: _Optional[str] = ..., state: _Optional[str] = ..., state_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("exists", "revision", "create_revision", "value", "state", "session")
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    exists: bool
    revision: int
    create_revision: int
    value: Value
    state: str
    session: str
    def __init__(self, exists: bool = ..., revision: _Optional[int] = ..., create_revision: _Optional[int] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., state: _Optional[str] = ..., session: _Optional[str] = ...) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("key", "expect")
    KEY_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    key: str
    expect: Condition
    def __init__(self, key: _Optional[str] = ..., expect: _Optional[_Union[Condition, _Mapping]] = ...) -> None: ...

class ReadResponse(_message.Message):
    __slots__ = ("entry", "revision")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    entry: Entry
    revision: int
    def __init__(self, entry: _Optional[_Union[Entry, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("key", "expect", "request_id", "value", "keep_value", "ttl", "session", "keep_lifetime", "return_previous", "session_create_revision")
    KEY_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    KEEP_VALUE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    KEEP_LIFETIME_FIELD_NUMBER: _ClassVar[int]
    RETURN_PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    SESSION_CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    key: str
    expect: Condition
    request_id: str
    value: Value
    keep_value: bool
    ttl: _duration_pb2.Duration
    session: str
    keep_lifetime: bool
    return_previous: bool
    session_create_revision: int
    def __init__(self, key: _Optional[str] = ..., expect: _Optional[_Union[Condition, _Mapping]] = ..., request_id: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., keep_value: bool = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., session: _Optional[str] = ..., keep_lifetime: bool = ..., return_previous: bool = ..., session_create_revision: _Optional[int] = ...) -> None: ...

class WriteResponse(_message.Message):
    __slots__ = ("revision", "create_revision", "replayed", "previous")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    create_revision: int
    replayed: bool
    previous: Entry
    def __init__(self, revision: _Optional[int] = ..., create_revision: _Optional[int] = ..., replayed: bool = ..., previous: _Optional[_Union[Entry, _Mapping]] = ...) -> None: ...

class AddRequest(_message.Message):
    __slots__ = ("key", "expect", "request_id", "delta", "min", "max", "saturate", "ttl", "session", "session_create_revision")
    KEY_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    SATURATE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    key: str
    expect: Condition
    request_id: str
    delta: int
    min: int
    max: int
    saturate: bool
    ttl: _duration_pb2.Duration
    session: str
    session_create_revision: int
    def __init__(self, key: _Optional[str] = ..., expect: _Optional[_Union[Condition, _Mapping]] = ..., request_id: _Optional[str] = ..., delta: _Optional[int] = ..., min: _Optional[int] = ..., max: _Optional[int] = ..., saturate: bool = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., session: _Optional[str] = ..., session_create_revision: _Optional[int] = ...) -> None: ...

class AddResponse(_message.Message):
    __slots__ = ("revision", "create_revision", "replayed", "value", "applied")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    create_revision: int
    replayed: bool
    value: int
    applied: int
    def __init__(self, revision: _Optional[int] = ..., create_revision: _Optional[int] = ..., replayed: bool = ..., value: _Optional[int] = ..., applied: _Optional[int] = ...) -> None: ...

class TransitionRequest(_message.Message):
    __slots__ = ("key", "expect", "request_id", "to", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    expect: Condition
    request_id: str
    to: str
    value: Value
    def __init__(self, key: _Optional[str] = ..., expect: _Optional[_Union[Condition, _Mapping]] = ..., request_id: _Optional[str] = ..., to: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class TransitionResponse(_message.Message):
    __slots__ = ("revision", "create_revision", "replayed")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    revision: int
    create_revision: int
    replayed: bool
    def __init__(self, revision: _Optional[int] = ..., create_revision: _Optional[int] = ..., replayed: bool = ..., **kwargs) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("key", "expect", "request_id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    key: str
    expect: Condition
    request_id: str
    def __init__(self, key: _Optional[str] = ..., expect: _Optional[_Union[Condition, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("revision", "replayed", "previous")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    replayed: bool
    previous: Entry
    def __init__(self, revision: _Optional[int] = ..., replayed: bool = ..., previous: _Optional[_Union[Entry, _Mapping]] = ...) -> None: ...

class DeletePrefixRequest(_message.Message):
    __slots__ = ("prefix", "every_key", "limit", "page_token", "request_id")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    EVERY_KEY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    every_key: bool
    limit: int
    page_token: str
    request_id: str
    def __init__(self, prefix: _Optional[str] = ..., every_key: bool = ..., limit: _Optional[int] = ..., page_token: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeletePrefixResponse(_message.Message):
    __slots__ = ("revision", "deleted_count", "kept_count", "next_page_token", "replayed")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DELETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    KEPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    deleted_count: int
    kept_count: int
    next_page_token: str
    replayed: bool
    def __init__(self, revision: _Optional[int] = ..., deleted_count: _Optional[int] = ..., kept_count: _Optional[int] = ..., next_page_token: _Optional[str] = ..., replayed: bool = ...) -> None: ...

class Op(_message.Message):
    __slots__ = ("read", "write", "add", "transition", "delete")
    READ_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    read: ReadRequest
    write: WriteRequest
    add: AddRequest
    transition: TransitionRequest
    delete: DeleteRequest
    def __init__(self, read: _Optional[_Union[ReadRequest, _Mapping]] = ..., write: _Optional[_Union[WriteRequest, _Mapping]] = ..., add: _Optional[_Union[AddRequest, _Mapping]] = ..., transition: _Optional[_Union[TransitionRequest, _Mapping]] = ..., delete: _Optional[_Union[DeleteRequest, _Mapping]] = ...) -> None: ...

class OpResult(_message.Message):
    __slots__ = ("read", "write", "add", "transition", "delete", "error")
    READ_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    read: ReadResponse
    write: WriteResponse
    add: AddResponse
    transition: TransitionResponse
    delete: DeleteResponse
    error: _status_pb2.Status
    def __init__(self, read: _Optional[_Union[ReadResponse, _Mapping]] = ..., write: _Optional[_Union[WriteResponse, _Mapping]] = ..., add: _Optional[_Union[AddResponse, _Mapping]] = ..., transition: _Optional[_Union[TransitionResponse, _Mapping]] = ..., delete: _Optional[_Union[DeleteResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class BatchRequest(_message.Message):
    __slots__ = ("ops", "request_id")
    OPS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ops: _containers.RepeatedCompositeFieldContainer[Op]
    request_id: str
    def __init__(self, ops: _Optional[_Iterable[_Union[Op, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchResponse(_message.Message):
    __slots__ = ("results", "revision", "replayed")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[OpResult]
    revision: int
    replayed: bool
    def __init__(self, results: _Optional[_Iterable[_Union[OpResult, _Mapping]]] = ..., revision: _Optional[int] = ..., replayed: bool = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("prefix", "page_size", "page_token", "keys_only")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    KEYS_ONLY_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    page_size: int
    page_token: str
    keys_only: bool
    def __init__(self, prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., keys_only: bool = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("entries", "next_page_token", "revision")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    next_page_token: str
    revision: int
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("key", "prefix", "after_revision", "initial", "progress_interval", "store_id", "previous")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    key: str
    prefix: str
    after_revision: int
    initial: bool
    progress_interval: _duration_pb2.Duration
    store_id: str
    previous: bool
    def __init__(self, key: _Optional[str] = ..., prefix: _Optional[str] = ..., after_revision: _Optional[int] = ..., initial: bool = ..., progress_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., store_id: _Optional[str] = ..., previous: bool = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("cause", "entry", "previous", "previous_left_out")
    class Cause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CAUSE_UNSPECIFIED: _ClassVar[Event.Cause]
        INITIAL: _ClassVar[Event.Cause]
        WRITTEN: _ClassVar[Event.Cause]
        TRANSITIONED: _ClassVar[Event.Cause]
        DELETED: _ClassVar[Event.Cause]
        EXPIRED: _ClassVar[Event.Cause]
        SESSION_ENDED: _ClassVar[Event.Cause]
        TIMED_OUT: _ClassVar[Event.Cause]
    CAUSE_UNSPECIFIED: Event.Cause
    INITIAL: Event.Cause
    WRITTEN: Event.Cause
    TRANSITIONED: Event.Cause
    DELETED: Event.Cause
    EXPIRED: Event.Cause
    SESSION_ENDED: Event.Cause
    TIMED_OUT: Event.Cause
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    cause: Event.Cause
    entry: Entry
    previous: Entry
    previous_left_out: bool
    def __init__(self, cause: _Optional[_Union[Event.Cause, str]] = ..., entry: _Optional[_Union[Entry, _Mapping]] = ..., previous: _Optional[_Union[Entry, _Mapping]] = ..., previous_left_out: bool = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("events", "revision", "caught_up")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CAUGHT_UP_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    revision: int
    caught_up: bool
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., revision: _Optional[int] = ..., caught_up: bool = ...) -> None: ...

class PipelineRequest(_message.Message):
    __slots__ = ("ops", "atomic", "request_id", "timeout")
    OPS_FIELD_NUMBER: _ClassVar[int]
    ATOMIC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    ops: _containers.RepeatedCompositeFieldContainer[Op]
    atomic: bool
    request_id: str
    timeout: _duration_pb2.Duration
    def __init__(self, ops: _Optional[_Iterable[_Union[Op, _Mapping]]] = ..., atomic: bool = ..., request_id: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PipelineResponse(_message.Message):
    __slots__ = ("results", "error", "revision", "replayed")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[OpResult]
    error: _status_pb2.Status
    revision: int
    replayed: bool
    def __init__(self, results: _Optional[_Iterable[_Union[OpResult, _Mapping]]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., revision: _Optional[int] = ..., replayed: bool = ...) -> None: ...
