import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BackupRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetNodeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Node(_message.Message):
    __slots__ = ("node", "owner", "role", "epoch", "seq", "lag", "owner_address", "reaches_owner", "takeover_reason", "takeover_time", "takeover_at", "commit", "confirm", "commit_retries", "etcd")
    class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ROLE_UNSPECIFIED: _ClassVar[Node.Role]
        OWNER: _ClassVar[Node.Role]
        STANDBY: _ClassVar[Node.Role]
    ROLE_UNSPECIFIED: Node.Role
    OWNER: Node.Role
    STANDBY: Node.Role
    NODE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    OWNER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    REACHES_OWNER_FIELD_NUMBER: _ClassVar[int]
    TAKEOVER_REASON_FIELD_NUMBER: _ClassVar[int]
    TAKEOVER_TIME_FIELD_NUMBER: _ClassVar[int]
    TAKEOVER_AT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_RETRIES_FIELD_NUMBER: _ClassVar[int]
    ETCD_FIELD_NUMBER: _ClassVar[int]
    node: str
    owner: str
    role: Node.Role
    epoch: int
    seq: int
    lag: _duration_pb2.Duration
    owner_address: str
    reaches_owner: bool
    takeover_reason: str
    takeover_time: _duration_pb2.Duration
    takeover_at: _timestamp_pb2.Timestamp
    commit: Latency
    confirm: Latency
    commit_retries: int
    etcd: Etcd
    def __init__(self, node: _Optional[str] = ..., owner: _Optional[str] = ..., role: _Optional[_Union[Node.Role, str]] = ..., epoch: _Optional[int] = ..., seq: _Optional[int] = ..., lag: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., owner_address: _Optional[str] = ..., reaches_owner: bool = ..., takeover_reason: _Optional[str] = ..., takeover_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., takeover_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., commit: _Optional[_Union[Latency, _Mapping]] = ..., confirm: _Optional[_Union[Latency, _Mapping]] = ..., commit_retries: _Optional[int] = ..., etcd: _Optional[_Union[Etcd, _Mapping]] = ...) -> None: ...

class Latency(_message.Message):
    __slots__ = ("count", "p50", "p99")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    P50_FIELD_NUMBER: _ClassVar[int]
    P99_FIELD_NUMBER: _ClassVar[int]
    count: int
    p50: _duration_pb2.Duration
    p99: _duration_pb2.Duration
    def __init__(self, count: _Optional[int] = ..., p50: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., p99: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Etcd(_message.Message):
    __slots__ = ("version", "leader", "file_bytes", "quota_bytes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    version: str
    leader: str
    file_bytes: int
    quota_bytes: int
    def __init__(self, version: _Optional[str] = ..., leader: _Optional[str] = ..., file_bytes: _Optional[int] = ..., quota_bytes: _Optional[int] = ...) -> None: ...

class BackupResponse(_message.Message):
    __slots__ = ("revision", "chunk", "digest", "key_count", "keys_so_far", "key_total")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    KEY_COUNT_FIELD_NUMBER: _ClassVar[int]
    KEYS_SO_FAR_FIELD_NUMBER: _ClassVar[int]
    KEY_TOTAL_FIELD_NUMBER: _ClassVar[int]
    revision: int
    chunk: bytes
    digest: bytes
    key_count: int
    keys_so_far: int
    key_total: int
    def __init__(self, revision: _Optional[int] = ..., chunk: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., key_count: _Optional[int] = ..., keys_so_far: _Optional[int] = ..., key_total: _Optional[int] = ...) -> None: ...

class Info(_message.Message):
    __slots__ = ("version", "store_id", "revision", "oldest_revision", "key_count", "used_bytes", "limits", "cpu_time", "session_count", "machine_count", "watch_count", "request_id_count", "durability", "loss_window", "epoch", "panic_count")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    OLDEST_REVISION_FIELD_NUMBER: _ClassVar[int]
    KEY_COUNT_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    CPU_TIME_FIELD_NUMBER: _ClassVar[int]
    SESSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    MACHINE_COUNT_FIELD_NUMBER: _ClassVar[int]
    WATCH_COUNT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_COUNT_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    LOSS_WINDOW_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PANIC_COUNT_FIELD_NUMBER: _ClassVar[int]
    version: str
    store_id: str
    revision: int
    oldest_revision: int
    key_count: int
    used_bytes: int
    limits: Limits
    cpu_time: _duration_pb2.Duration
    session_count: int
    machine_count: int
    watch_count: int
    request_id_count: int
    durability: str
    loss_window: str
    epoch: int
    panic_count: int
    def __init__(self, version: _Optional[str] = ..., store_id: _Optional[str] = ..., revision: _Optional[int] = ..., oldest_revision: _Optional[int] = ..., key_count: _Optional[int] = ..., used_bytes: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., cpu_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., session_count: _Optional[int] = ..., machine_count: _Optional[int] = ..., watch_count: _Optional[int] = ..., request_id_count: _Optional[int] = ..., durability: _Optional[str] = ..., loss_window: _Optional[str] = ..., epoch: _Optional[int] = ..., panic_count: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_key_bytes", "max_value_bytes", "max_batch_ops", "max_page_size", "max_store_bytes", "request_id_window", "request_id_count", "max_message_bytes", "max_page_bytes", "max_batch_bytes", "max_frames_in_flight", "max_deadline", "watch_ring_events", "watch_ring_bytes", "max_answer_bytes", "max_unread_bytes", "max_name_bytes", "request_id_bytes", "max_sessions", "max_machines", "max_states", "min_timeout_cycle", "max_watches", "max_streams", "max_connections", "max_header_bytes", "max_client_bytes", "idle_timeout", "unread_timeout")
    MAX_KEY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_OPS_FIELD_NUMBER: _ClassVar[int]
    MAX_PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_STORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_WINDOW_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAMES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    WATCH_RING_EVENTS_FIELD_NUMBER: _ClassVar[int]
    WATCH_RING_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_ANSWER_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_UNREAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_NAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_MACHINES_FIELD_NUMBER: _ClassVar[int]
    MAX_STATES_FIELD_NUMBER: _ClassVar[int]
    MIN_TIMEOUT_CYCLE_FIELD_NUMBER: _ClassVar[int]
    MAX_WATCHES_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAMS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_HEADER_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CLIENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    UNREAD_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    max_key_bytes: int
    max_value_bytes: int
    max_batch_ops: int
    max_page_size: int
    max_store_bytes: int
    request_id_window: _duration_pb2.Duration
    request_id_count: int
    max_message_bytes: int
    max_page_bytes: int
    max_batch_bytes: int
    max_frames_in_flight: int
    max_deadline: _duration_pb2.Duration
    watch_ring_events: int
    watch_ring_bytes: int
    max_answer_bytes: int
    max_unread_bytes: int
    max_name_bytes: int
    request_id_bytes: int
    max_sessions: int
    max_machines: int
    max_states: int
    min_timeout_cycle: _duration_pb2.Duration
    max_watches: int
    max_streams: int
    max_connections: int
    max_header_bytes: int
    max_client_bytes: int
    idle_timeout: _duration_pb2.Duration
    unread_timeout: _duration_pb2.Duration
    def __init__(self, max_key_bytes: _Optional[int] = ..., max_value_bytes: _Optional[int] = ..., max_batch_ops: _Optional[int] = ..., max_page_size: _Optional[int] = ..., max_store_bytes: _Optional[int] = ..., request_id_window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id_count: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., max_page_bytes: _Optional[int] = ..., max_batch_bytes: _Optional[int] = ..., max_frames_in_flight: _Optional[int] = ..., max_deadline: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., watch_ring_events: _Optional[int] = ..., watch_ring_bytes: _Optional[int] = ..., max_answer_bytes: _Optional[int] = ..., max_unread_bytes: _Optional[int] = ..., max_name_bytes: _Optional[int] = ..., request_id_bytes: _Optional[int] = ..., max_sessions: _Optional[int] = ..., max_machines: _Optional[int] = ..., max_states: _Optional[int] = ..., min_timeout_cycle: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_watches: _Optional[int] = ..., max_streams: _Optional[int] = ..., max_connections: _Optional[int] = ..., max_header_bytes: _Optional[int] = ..., max_client_bytes: _Optional[int] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., unread_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
