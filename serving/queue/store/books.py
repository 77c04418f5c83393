"""What the books are kept in: one currency, and one provider that has the money which wallets hold."""

from dataclasses import dataclass

from serving.errors import ConfigurationError
from serving.queue.store.database import Database

_OTHERWISE = "or begin new books with another CLARION_HOME or CLARION_DATABASE"


@dataclass(frozen=True, slots=True)
class Books:
    """As the settings have them."""

    currency: str
    provider: str

    def check(self, database: Database) -> None:
        """ConfigurationError where the store's books are others: each mail that is to be paid would end in an error.

        The provider may change once nothing is left of what was paid in by way of the last one. What senders paid at
        the door (x402) is ours already, a card's hold is the card's provider's, and an advance is our own: none of
        them is asked back from anybody.
        """
        database.begin_reading()
        try:
            other = database.run("other_currency", {"currency": self.currency}).fetchone()
            last = database.run("last_clearing", {}).fetchone()
            kept = database.run("money_kept", {}).fetchone()["amount"]
        finally:
            database.roll_back()
        if other is not None:
            raise ConfigurationError(
                f"the books are in {other['currency']}; set CLARION_CURRENCY={other['currency']} again, {_OTHERWISE}"
            )
        keeper = self.provider if last is None else last["name"].partition(":")[2]
        if keeper != self.provider and kept > 0:
            raise ConfigurationError(
                f"wallets hold money that {keeper} keeps; set CLARION_PROVIDER={keeper} again, give it all back with "
                f"`clarion wallet refund` first, {_OTHERWISE}"
            )
