"""What the command line says of money in a policy, of senders and recipients alike."""

from typing import Annotated, Any

import typer

from serving.errors import ConfigurationError

Price = Annotated[int | None, typer.Option(min=0, help="Minor units for an urgent mail.")]
Free = Annotated[int | None, typer.Option(min=0, help="Urgent mails a month that cost the payer nothing.")]
Wait = Annotated[float | None, typer.Option(min=0, help="Hours that urgent mail waits for money.")]
Afterwards = Annotated[str | None, typer.Option(help="expire, deliver or digest what nobody paid for in time.")]


def terms(price: int | None, free: int | None, wait: float | None, then: str | None) -> dict[str, Any]:
    """What the policy says of money, where anything was stated."""
    if then not in (None, "expire", "deliver", "digest"):
        raise ConfigurationError("--then takes expire, deliver or digest")
    stated = {"price": price, "free": free, "wait": None if wait is None else wait * 3_600.0, "then": then}
    return {name: value for name, value in stated.items() if value is not None}
