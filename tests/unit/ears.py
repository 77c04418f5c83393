"""Who hears what the page tells, for tests of the page alone, and a browser on it."""

from dataclasses import dataclass, field, replace

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from serving.web.react import Matter, application

TOKEN = "was_urgent.WzcsMTc5NTY4NzI0MF0.dGhlX3NpZ25hdHVyZS1vZl9pdA"  # every character that a token's alphabet may have
HOME = f"/r/{TOKEN}"
AT = 1_795_618_800.0  # 2026-11-25 15:00 UTC
MATTER = Matter("was_urgent", "City Hospital", AT)


@dataclass
class FakeEar:
    """Knows one token. `error` is raised by whatever is called next."""

    now: Matter = MATTER
    error: Exception | None = None
    heard: list[str] = field(default_factory=list)

    async def matter(self, token: str) -> Matter:
        self._check(token)
        return self.now

    async def hear(self, token: str) -> Matter:
        self._check(token)
        self.heard.append(token)
        self.now = replace(self.now, is_told=True)
        return self.now

    def _check(self, token: str) -> None:
        if self.error is not None:
            raise self.error
        assert token == TOKEN


def browsing(ear: FakeEar) -> TestClient:
    """A browser that follows nothing by itself, on the page as it is mounted."""
    return TestClient(Starlette(routes=[Mount("/r", application(ear))]), follow_redirects=False)
