"""The other ends: `python -m experiments.benchmarks.queue.echo PEER ADDRESS` sends back what comes, until its end."""

import asyncio
import sys
from collections.abc import Callable
from multiprocessing.connection import Listener
from typing import Any

MOST = 8 << 20  # octets


def connection(address: str) -> None:
    """multiprocessing.connection on a Unix socket."""
    with Listener(address, "AF_UNIX") as listener, listener.accept() as peer:
        while True:
            peer.send_bytes(peer.recv_bytes())


def zeromq(address: str) -> None:
    """pyzmq: a ROUTER, which serves one at a time and many as well."""
    import zmq

    socket = zmq.Context().socket(zmq.ROUTER)
    socket.bind(f"ipc://{address}")
    while True:
        socket.send_multipart(socket.recv_multipart())


def http(address: str) -> None:
    """HTTP/1.1 by aiohttp on a Unix socket."""
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = web.Application(client_max_size=MOST)
    app.router.add_post("/", answer)
    web.run_app(app, path=address, print=None)


def grpc(address: str) -> None:
    """grpc.aio with octets as they are: no message is parsed."""
    import grpc as library

    async def echo(octets: bytes, _: Any) -> bytes:
        return octets

    async def serve() -> None:
        server = library.aio.server(options=[("grpc.max_receive_message_length", MOST)])
        handler = library.unary_unary_rpc_method_handler(echo)
        server.add_generic_rpc_handlers((library.method_handlers_generic_handler("bench", {"echo": handler}),))
        server.add_insecure_port(f"unix:{address}")
        await server.start()
        await server.wait_for_termination()

    asyncio.run(serve())


def nats(address: str) -> None:
    """A subscriber of NATS core; the server in between is a process of its own."""
    import nats as library

    async def serve() -> None:
        client = await library.connect(address)
        subscription = await client.subscribe("echo")
        async for message in subscription.messages:
            await message.respond(message.data)

    asyncio.run(serve())


SERVERS: dict[str, Callable[[str], None]] = {each.__name__: each for each in (connection, zeromq, http, grpc, nats)}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](sys.argv[2])
