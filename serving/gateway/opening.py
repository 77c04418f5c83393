"""The gateway's parts, made when it starts: its apps, what they ask, and what goes on behind them."""

import asyncio
import time
from collections.abc import Sequence

from starlette.requests import Request

from serving.addresses import own_domain
from serving.gateway import machine_payments
from serving.gateway.api import Api, Keys
from serving.gateway.app import Record, application
from serving.gateway.callers import Callers
from serving.gateway.ears import Reactions, Subscriptions
from serving.gateway.judge import Judge, Score
from serving.gateway.mail import Question
from serving.gateway.webhooks import Webhooks, read_stripe
from serving.keyring import load_sealing
from serving.payment.desk import Offer, PayDesk
from serving.payment.provider import Provider
from serving.payment.providers import PAGES, connect
from serving.queue.client import Client
from serving.sealing import load_lookup
from serving.settings import Settings
from serving.values import Prediction
from serving.web import pay, react
from serving.web.token import Links


class Opened:
    """The apps under /v1, /pay, /r and /u, ready to be served, and the tasks behind them."""

    def __init__(self, settings: Settings, client: Client, score: Score, record: Record) -> None:
        """`score` asks classification, `record` is told of every request. Raises ConfigurationError for a missing key
        or a provider that cannot be what the settings say; needs a running loop."""
        keys = Keys(load_sealing(settings.keys, "content"), load_lookup(settings.keys))
        self._provider = connect(settings)
        self._payments = machine_payments.connect(client, settings)
        self._callers = Callers(settings)
        domain = own_domain(settings.mail_from)
        self._judge = Judge(score, domain)
        self._api = Api(
            client,
            keys,
            self._judge,
            limit=settings.max_body,
            domain=domain,
            webhooks=_webhooks(settings, client, self._provider),
            payments=self._payments,
            tokens=self._callers.tokens,
            limits=self._callers.limits,
        )
        self.public, self.pay = application(), pay.application()
        self.reactions, self.subscriptions = react.application(), react.application()
        self.public.state.api, self.public.state.record = self._api, record
        links, offer = Links(keys.lookup.derive("pay")), Offer(settings.top_ups, settings.currency)
        self.pay.state.desk = PayDesk(client, self._provider, links, offer, time.time)
        self.pay.state.provider = PAGES[settings.provider]
        self.reactions.state.desk = Reactions(client, links, time.time)
        self.subscriptions.state.desk = Subscriptions(client, links, time.time)
        self._tasks = [
            asyncio.create_task(self._payments.keep_resuming()),
            asyncio.create_task(self._api.uses.keep_writing()),
        ]

    async def classify(self, questions: Sequence[Question], request: Request) -> list[Prediction]:
        """In the questions' order; the history counts for callers with an API key. Raises Problem."""
        with_history = await self._api.knows(request)
        return list(await self._judge(questions, with_history))

    async def close(self) -> None:
        """End the tasks, write down what is left, leave the providers."""
        for task in self._tasks:
            task.cancel()
        await self._api.uses.write()
        await self._callers.close()
        await self._payments.close()
        await self._provider.close()


def _webhooks(settings: Settings, client: Client, provider: Provider) -> Webhooks | None:
    """Stripe's, where its secret is set; what nobody tells us is asked every half a minute all the same."""
    secret = settings.stripe_webhook_secret.get_secret_value()
    if settings.provider != "stripe" or not secret:
        return None
    return Webhooks(client, provider, read_stripe(secret, time.time), header="stripe-signature")
