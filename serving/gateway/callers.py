"""What tells callers apart and keeps them within bounds, as the settings say."""

import time
from typing import TYPE_CHECKING

from serving.gateway.limits import Lockouts, Rates
from serving.gateway.principals import Limits
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.authentication.issuer import IssuerKeys
    from serving.authentication.tokens import Tokens


class Callers:
    """The limits, and the reader of an issuer's tokens where one is set (`tokens` is None otherwise)."""

    def __init__(self, settings: Settings) -> None:
        self.limits = Limits(Rates(settings.rate, settings.burst, time.monotonic), Lockouts(time.monotonic))
        self.tokens: Tokens | None = None
        self._keys: IssuerKeys | None = None
        if settings.oidc_issuer:
            self._read_tokens(settings)

    async def close(self) -> None:
        """Close the connections to the issuer."""
        if self._keys is not None:
            await self._keys.close()

    def _read_tokens(self, settings: Settings) -> None:
        from serving.authentication.issuer import IssuerKeys  # imported where an issuer is set: the start stays lean
        from serving.authentication.tokens import Tokens

        self._keys = IssuerKeys(settings.oidc_issuer, settings.oidc_jwks)
        self.tokens = Tokens(self._keys, settings.oidc_issuer, settings.oidc_audience)
