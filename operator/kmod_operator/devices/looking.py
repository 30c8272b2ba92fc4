"""Asks a source of devices, each question in a thread of its own and with a limit: a driver may never answer."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from kmod_operator.devices.answers import read_description, read_health, sentence
from kmod_operator.devices.inventory import Seen
from kmod_operator.devices.model import Description, Device, Health, is_device_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_operator.devices.source import DeviceSource

_T = TypeVar("_T")
_MOST_DEVICES = 1024
# Of a list that never ends; more than the above, because some of it may be wrong or said twice.
_MOST_LISTED = 4096
_AT_ONCE = 128


class LookError(Exception):
    """Nobody knows which devices there are; the message says why."""


class _UnansweredError(Exception):
    pass


class _RaisedError(Exception):
    """What a source raised, in words: it may be what a future does not take, such as StopIteration."""


@dataclass
class _Question:
    answer: asyncio.Future[Any]
    begun: float


class Looker:
    """Looks at the devices of a source.

    A question that has not been answered is not asked again until it is: of a driver that hangs, one thread is lost for
    each of its devices, and not one more with every look.
    """

    def __init__(self, source: DeviceSource, *, limit_s: float) -> None:
        self._source = source
        self._limit_s = limit_s
        self._open: dict[str, _Question] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def look(self) -> tuple[list[Seen], list[str]]:
        """Return the devices that are there, and a sentence for each that cannot be one.

        Raises:
            LookError: the source does not say which there are.
        """
        try:
            found = await self._ask("", lambda: list(islice(self._source.discover(), _MOST_LISTED)))
        except (_UnansweredError, _RaisedError) as error:
            raise LookError(f"which devices there are is not known: {error}") from error
        devices, refused = _sort(found)
        return list(await asyncio.gather(*map(self._look_at, devices))), refused

    async def _look_at(self, device: Device) -> Seen:
        try:
            async with self._room:
                description, health = await self._ask(device.id, lambda: self._describe_and_check(device))
        except (_UnansweredError, _RaisedError) as error:
            description, health = None, Health(well=False, reason=f"how well it is, is not known: {error}")
        return Seen(device=device, description=description, health=health)

    def _describe_and_check(self, device: Device) -> tuple[Description | None, Health]:
        description: Description | None = None
        try:
            description = read_description(self._source.describe(device))
            health = read_health(self._source.check(device))
        except Exception as error:  # noqa: BLE001 - as above
            return description, Health(well=False, reason=f"how well it is, is not known: {_words(error)}")
        return description, health

    async def _ask(self, name: str, work: Callable[[], _T]) -> _T:
        if (question := self._open.get(name)) and not question.answer.done():
            raise _UnansweredError(f"no answer for {time.monotonic() - question.begun:.0f} s")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_T] = loop.create_future()
        answer.add_done_callback(_forget)
        try:
            threading.Thread(target=_answer, args=(loop, answer, work), daemon=True).start()
        except RuntimeError as error:  # the pod has as many as it may have
            raise _UnansweredError(f"it cannot be asked: {error}") from error
        self._open[name] = _Question(answer=answer, begun=time.monotonic())
        try:
            async with asyncio.timeout(self._limit_s):
                found = await asyncio.shield(answer)
        except TimeoutError:
            raise _UnansweredError(f"no answer for {self._limit_s:.0f} s") from None
        except _RaisedError:
            self._open.pop(name, None)
            raise
        self._open.pop(name, None)
        return found


def _forget(answer: asyncio.Future[Any]) -> None:
    """Take note of a failure that nobody waits for any more: else it is told as a program's fault."""
    if not answer.cancelled():
        answer.exception()


def _answer(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Any], work: Callable[[], object]) -> None:
    result: object = None
    failure: _RaisedError | None = None
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - it goes to whoever asked, who would wait for ever
        failure = _RaisedError(_words(error))
    try:
        loop.call_soon_threadsafe(_settle, answer, result, failure)
    except RuntimeError:  # the loop has ended meanwhile
        return


def _settle(answer: asyncio.Future[Any], result: object, failure: _RaisedError | None) -> None:
    if answer.done():
        return
    if failure:
        answer.set_exception(failure)
    else:
        answer.set_result(result)


def _sort(found: list[Any]) -> tuple[list[Device], list[str]]:
    """Return the devices that kubelet and the runtime can name, and what is wrong with the others."""
    devices: dict[str, Device] = {}
    refused = []
    for device in found:
        if not isinstance(device, Device):
            refused.append(f"discover returned {device!r:.100}, which is no Device")
        elif not is_device_id(device.id):
            refused.append(f"{device.id!r:.100} cannot be a device's name: letters, digits, '-', '_', '.', at most 253")
        elif device.id in devices:
            refused.append(f"{device.id!r} was found twice")
        elif len(devices) == _MOST_DEVICES:
            refused.append(f"more than {_MOST_DEVICES} devices: the others are left out")
            break
        else:
            devices[device.id] = device
    return list(devices.values()), refused


def _words(error: BaseException) -> str:
    return sentence(f"{type(error).__name__}: {error}")
