"""Pages from the templates, and the headers that every answer carries."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from serving.web.amounts import iso, money, utc

TEMPLATES = Path(__file__).parent / "templates"
HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}


class Pages:
    """Writes HTML without scripts, and tells browsers to run none."""

    def __init__(self) -> None:
        style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._environment.filters |= {"money": money, "utc": utc, "iso": iso}
        self._environment.globals["style"] = Markup(style)
        self._digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    def page(
        self, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        """The template, filled in; every value is escaped."""
        text = self._environment.get_template(f"{template}.html").render(values)
        return HTMLResponse(text, status, headers=headers)

    def guarded(self, response: Response, provider: str) -> Response:
        """The response with the headers that keep it out of frames, caches, search engines and other sites' logs.

        `provider` is the origin to which a form may lead, like `https://checkout.example`; none when empty.
        """
        policy = (
            "default-src 'none'",
            f"style-src 'sha256-{self._digest}'",
            f"form-action 'self' {provider}".rstrip(),
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
        response.headers.update({**HEADERS, "Content-Security-Policy": "; ".join(policy)})
        return response
