import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from soloist.v1 import state_pb2 as _state_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Machine(_message.Message):
    __slots__ = ("name", "key_prefix", "initial", "states", "revision")
    class State(_message.Message):
        __slots__ = ("next", "timeout", "timeout_next")
        NEXT_FIELD_NUMBER: _ClassVar[int]
        TIMEOUT_FIELD_NUMBER: _ClassVar[int]
        TIMEOUT_NEXT_FIELD_NUMBER: _ClassVar[int]
        next: _containers.RepeatedScalarFieldContainer[str]
        timeout: _duration_pb2.Duration
        timeout_next: str
        def __init__(self, next: _Optional[_Iterable[str]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., timeout_next: _Optional[str] = ...) -> None: ...
    class StatesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Machine.State
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Machine.State, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_PREFIX_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    key_prefix: str
    initial: str
    states: _containers.MessageMap[str, Machine.State]
    revision: int
    def __init__(self, name: _Optional[str] = ..., key_prefix: _Optional[str] = ..., initial: _Optional[str] = ..., states: _Optional[_Mapping[str, Machine.State]] = ..., revision: _Optional[int] = ...) -> None: ...

class DefineMachineRequest(_message.Message):
    __slots__ = ("machine", "expect", "validate_only")
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    machine: Machine
    expect: _state_pb2.Condition
    validate_only: bool
    def __init__(self, machine: _Optional[_Union[Machine, _Mapping]] = ..., expect: _Optional[_Union[_state_pb2.Condition, _Mapping]] = ..., validate_only: bool = ...) -> None: ...

class GetMachineRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListMachinesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListMachinesResponse(_message.Message):
    __slots__ = ("machines", "next_page_token")
    MACHINES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    machines: _containers.RepeatedCompositeFieldContainer[Machine]
    next_page_token: str
    def __init__(self, machines: _Optional[_Iterable[_Union[Machine, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteMachineRequest(_message.Message):
    __slots__ = ("name", "force")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    def __init__(self, name: _Optional[str] = ..., force: bool = ...) -> None: ...

class DeleteMachineResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
