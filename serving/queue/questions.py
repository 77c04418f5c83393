"""Questions of the client: those of one name that are asked in one turn of the loop go out in one request."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serving.errors import ClarionError, Refused
from serving.queue.limits import MAX_QUESTIONS, parameters_limit
from serving.queue.link import Link
from serving.queue.values import encode, from_json

Parameters = Mapping[str, Any]
Rows = list[dict[str, Any]]
Asked = tuple[Parameters, "asyncio.Future[Rows]"]


class Questions:
    """Asks over a link: another one takes more than a turn to open. `serial` gives numbers that no other request
    bears."""

    def __init__(self, serial: Callable[[], int]) -> None:
        self._serial = serial
        self._asked: dict[str, list[Asked]] = {}

    async def one(self, link: Link, name: str, parameters: Parameters) -> Rows:
        """The rows, asked for alone, as a command has to be. Raises Refused and BrokerUnavailable."""
        rows: Rows = from_json(await self._send(link, name, parameters))
        return rows

    def together(self, link: Link, name: str, parameters: Parameters) -> "asyncio.Future[Rows]":
        """The rows of a query, asked for with those that others ask in this turn. Raises as `one` does."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Rows] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._go_out, link)
        self._asked.setdefault(name, []).append((parameters, future))
        return future

    def _go_out(self, link: Link) -> None:
        asked, self._asked = self._asked, {}
        for name, questions in asked.items():
            for start in range(0, len(questions), MAX_QUESTIONS):
                self._ask(link, name, questions[start : start + MAX_QUESTIONS])

    def _ask(self, link: Link, name: str, questions: Sequence[Asked]) -> None:
        parameters = [each for each, _ in questions]
        try:
            answer = self._send(link, name, parameters if len(parameters) > 1 else parameters[0])
        except ClarionError as error:
            self._failed(link, name, questions, error)
            return
        answer.add_done_callback(lambda answered: self._answered(link, name, questions, answered))

    def _answered(self, link: Link, name: str, questions: Sequence[Asked], answer: "asyncio.Future[bytes]") -> None:
        error = None if answer.cancelled() else answer.exception()
        if answer.cancelled() or error is not None:
            self._failed(link, name, questions, error)
            return
        found = from_json(answer.result())
        for (_, future), rows in zip(questions, found if len(questions) > 1 else [found], strict=True):
            if not future.done():
                future.set_result(rows)

    def _failed(self, link: Link, name: str, questions: Sequence[Asked], error: BaseException | None) -> None:
        """One that is refused must not take the others with it: then each is asked alone."""
        if isinstance(error, Refused) and len(questions) > 1:
            for question in questions:
                self._ask(link, name, [question])
            return
        for _, future in questions:
            if future.done():
                continue
            if error is None:
                future.cancel()
            else:
                future.set_exception(error)

    def _send(self, link: Link, name: str, parameters: Parameters | list[Parameters]) -> "asyncio.Future[bytes]":
        serial = self._serial()
        answer: asyncio.Future[bytes] = link.expect(serial)
        try:
            limit = parameters_limit(link.max_body)
            link.request_with_body("directory", "ask", serial, name, body=encode(parameters), limit=limit)
        except BaseException:
            answer.cancel()
            raise
        return answer
