"""What the books are kept in: one currency, and one provider that has the money which wallets hold."""

from dataclasses import dataclass

from serving.errors import ConfigurationError
from serving.queue.store.database import Database

AT_THE_DOOR = "clearing:x402"
"""What senders paid to a facilitator is ours already: no other provider is ever asked for it."""

_OTHERWISE = "or begin new books with another CLARION_HOME or CLARION_DATABASE"


@dataclass(frozen=True, slots=True)
class Books:
    """As the settings have them."""

    currency: str
    provider: str

    def check(self, database: Database) -> None:
        """ConfigurationError where the store's books are others: each mail that is to be paid would end in an error."""
        database.begin_reading()
        try:
            other = database.run("other_currency", {"currency": self.currency}).fetchone()
            clearings = {"clearing": f"clearing:{self.provider}", "door": AT_THE_DOOR}
            elsewhere = database.run("kept_elsewhere", clearings).fetchone()
            kept = database.run("money_kept", {}).fetchone()["amount"]
        finally:
            database.roll_back()
        if other is not None:
            raise ConfigurationError(
                f"the books are in {other['currency']}; set CLARION_CURRENCY={other['currency']} again, {_OTHERWISE}"
            )
        if elsewhere is not None and kept:
            name = elsewhere["name"].partition(":")[2]
            raise ConfigurationError(
                f"wallets hold money that {name} keeps; set CLARION_PROVIDER={name} again, give it all back with "
                f"`clarion wallet refund` first, {_OTHERWISE}"
            )
