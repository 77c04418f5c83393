"""The router that the settings ask for."""

import ipaddress
from random import Random

from serving.addresses import canonical_domain, own_domain
from serving.delivery.routes import Login, Router, Security, Smarthost
from serving.settings import Settings

SMTP_PORT = 25


def router(settings: Settings, random: Random) -> Router:
    """To the smarthost, or by MX; made where the loop runs."""
    hostname = settings.smtp_hostname or own_domain(settings.mail_from)
    if settings.delivery == "mx":
        return _by_mx(settings, hostname, random)
    password = settings.smtp_password.get_secret_value()
    login = Login(settings.smtp_user, password) if settings.smtp_user else None
    return Smarthost(settings.smtp_host, settings.smtp_port, hostname, Security(settings.tls_policy), login)


def _by_mx(settings: Settings, hostname: str, random: Random) -> Router:
    from serving.delivery.exchangers import Exchangers
    from serving.delivery.names import DnsNames
    from serving.delivery.sts import StsPolicies, fetcher

    servers, port = settings.dns_servers, settings.dns_port
    return Exchangers(
        hostname,
        DnsNames(servers, port=port),
        random,
        port=settings.mx_port,
        # The domain of our address is no name of this machine: its mail server may be another.
        ours={settings.smtp_hostname.lower()} if settings.smtp_hostname else (),
        is_alone=settings.mx_port == SMTP_PORT,
        security=Security(settings.tls_policy),
        exceptions={
            canonical_domain(domain) or domain.lower(): Security(policy)
            for domain, policy in settings.tls_exceptions.items()
        },
        networks=[ipaddress.ip_network(network) for network in settings.mx_networks],
        policies=StsPolicies(fetcher(servers, port=port)) if settings.mta_sts else None,
    )
