"""Debian's Chromium as a phone, and the pay page on a port for it."""

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from serving.web.desk import Due
from serving.web.pay import application
from tests.unit.pay_page.desks import NOW, TOKEN, FakeDesk

SIZE = {"width": 360, "height": 740}
AGENT = (
    "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Mobile Safari/537.36"
)


@dataclass
class Served:
    """The pay page over a desk that a test may exchange; `elsewhere` is another origin, the provider's."""

    port: int
    page: Starlette
    desk: FakeDesk = field(default_factory=FakeDesk)

    @property
    def url(self) -> str:
        """The page of the token of a payment."""
        return f"{self.origin}/pay/{TOKEN}"

    @property
    def origin(self) -> str:
        """Where the pages are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def elsewhere(self) -> str:
        """The same server under another name."""
        return f"http://localhost:{self.port}"

    def use(self, desk: FakeDesk) -> FakeDesk:
        """Serve this desk from now on."""
        self.desk = self.page.state.desk = desk
        return desk

    def now(self) -> Due:
        """What the desk says is due."""
        return self.desk.now


@contextlib.contextmanager
def serving() -> Iterator[Served]:
    """The page on a free port of this machine, in a thread."""
    page = application(clock=lambda: NOW)
    with answering(Starlette(routes=[Mount("/pay", page), Route("/provider", _provider)])) as port:
        served = Served(port, page)
        served.use(FakeDesk())
        page.state.provider = served.elsewhere
        yield served


@contextlib.contextmanager
def answering(app: Starlette) -> Iterator[int]:
    """The app on a free port of this machine, in a thread; which port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            _wait_for(server)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser that Debian has, never one that is downloaded."""
    found = shutil.which("chromium")
    if found is None:
        pytest.fail("no chromium; install Debian's package, see tests/interop/packages.txt")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])  # it may be root's
        yield browser
        browser.close()


@contextlib.contextmanager
def phone(browser: Browser, **options: Any) -> Iterator[BrowserContext]:
    """A phone that was never here before."""
    context = browser.new_context(
        viewport={"width": 360, "height": 740},
        user_agent=AGENT,
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
        **options,
    )
    context.set_default_timeout(15_000)
    yield context
    context.close()


async def _provider(_: Request) -> Response:
    return PlainTextResponse("the provider's own page")


def _wait_for(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + 15
    while not server.started:
        assert time.monotonic() < deadline, "the page is not served"
        time.sleep(0.02)
