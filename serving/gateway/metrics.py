"""/metrics for Prometheus: what the processes of all services counted.

BentoML's own page comes with a series for every path that was ever asked for, ids included; this one has none.
"""

import os

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def page() -> Starlette:
    """The app to mount at the root."""
    return Starlette(routes=[Route("/metrics", _metrics)])


def _metrics(_: Request) -> Response:
    """Reads files: Starlette runs a plain function in a thread."""
    return Response(generate_latest(_registry()), media_type=CONTENT_TYPE_LATEST)


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
