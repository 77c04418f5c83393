"""The other sides of an exchange: a ledger as the broker keeps it, a provider, and a power that fails."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from serving.payment.provider import Absent, Answer, Done, Order, Unknown
from serving.payment.topup import top_up

LOOKUP = bytes(range(32))
WALLET = f"wallet:{LOOKUP.hex()}"


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Power:
    """Goes off at the n-th of the moments around each effect; never, when `left` is None."""

    left: int | None = None

    def tick(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left == 0:
            self.left = None
            raise Killed


@dataclass
class Ledger:
    """Intents and accounts as the broker keeps them: each command is one commit."""

    power: Power
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    accounts: Counter[str] = field(default_factory=Counter)

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        assert name == "intents"
        _, after = parameters.get("after", (0.0, ""))
        found = [
            {"key": key, "opened_at": 0.0, **intent} for key, intent in sorted(self.intents.items()) if key > after
        ]
        loose = [each for each in found if each["notification"] is None and each["state"] == parameters["state"]]
        return loose[:2]

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        self.power.tick()
        commands = {"open_intent": self._open, "close_intent": self._close, "remember_intent": self._remember}
        done = commands[name](parameters)
        self.power.tick()
        return done

    def _open(self, parameters: dict[str, Any]) -> dict[str, Any]:
        known = self.intents.get(parameters["key"])
        if known is None:
            self._move(parameters.pop("reserve"))
            self.intents[parameters["key"]] = {**parameters, "state": "open", "outcome": None}
            return {"state": "opened", "outcome": None}
        return {"state": known["state"], "outcome": known["outcome"], "reference": known["payload"].get("reference")}

    def _close(self, parameters: dict[str, Any]) -> dict[str, Any]:
        intent = self.intents[parameters["key"]]
        if intent["state"] != "open":
            return {"state": intent["state"]}
        intent |= {"state": parameters["state"], "outcome": parameters["outcome"]}
        self._move(parameters["transfer"])
        return {"state": parameters["state"]}

    def _remember(self, parameters: dict[str, Any]) -> dict[str, Any]:
        self.intents[parameters["key"]]["payload"]["reference"] = parameters["reference"]
        return {}

    def _move(self, transfer: dict[str, Any] | None) -> None:
        postings = (transfer or {"postings": []})["postings"]
        assert sum(posting["amount"] for posting in postings) == 0
        self.accounts.update({posting["account"]: posting["amount"] for posting in postings})


@dataclass
class Provider:
    """Idempotent by key; `answers` says what goes wrong with the next calls (None: nothing)."""

    power: Power
    answers: list[Callable[["Provider", Order], Answer] | None] = field(default_factory=list)
    committed: dict[str, Order] = field(default_factory=dict)
    asked: int = 0
    name: str = "sandbox"

    async def perform(self, order: Order) -> Answer:
        self.power.tick()
        trouble = self.answers.pop(0) if self.answers else None
        answer = trouble(self, order) if trouble else self._commit(order)
        self.power.tick()
        return answer

    async def find(self, order: Order) -> Answer | Absent:
        self.asked += 1
        self.power.tick()
        return Done("1") if order.key in self.committed else Absent()

    def _commit(self, order: Order) -> Answer:
        assert self.committed.setdefault(order.key, order) == order
        return Done("1")


def timed_out_after_committing(provider: Provider, order: Order) -> Answer:
    provider.committed[order.key] = order
    return Unknown("no answer")


def always(answer: Answer) -> Callable[[Provider, Order], Answer]:
    return lambda _, __: answer


async def pay_in(ledger: Ledger, provider: Provider) -> Answer:
    return await top_up(ledger, provider, wallet=WALLET, amount=500, currency="EUR", key="top-up:1")
