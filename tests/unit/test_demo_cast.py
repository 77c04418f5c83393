"""Who takes part in a demo on a real mailbox."""

from dataclasses import replace

import pytest

from data.parse import parse
from data.schema import Message
from serving.demo.cast import TENTH, Cast, cast_of, sample_cast
from serving.demo.mailbox import sample_mail

PRICE = 5


def message(sender: str, *to: str, cc: tuple[str, ...] = ()) -> Message:
    return replace(parse(b"Subject: s\n\nx"), sender=sender, to=to, cc=cc)


@pytest.fixture
def crowd() -> Cast:
    """Thirty recipients of three mails each."""
    people = [f"p{number:02}@y.example" for number in range(3 * TENTH)]
    return cast_of([message(f"a@d{day}.example", *people) for day in range(3)], PRICE)


def test_every_tenth_has_no_funds_and_another_tenth_no_key(crowd: Cast) -> None:
    """Parking for money and for a key must both happen in a demo that counts."""
    poor = {person.address for person in crowd.people if not person.balance}
    keyless = {person.address for person in crowd.people if not person.has_key}

    assert (len(poor), len(keyless)) == (3, 3)
    assert poor & keyless == set()


def test_the_others_can_pay_for_all_their_mail(crowd: Cast) -> None:
    """Who has funds must never be parked for want of them."""
    assert {person.balance for person in crowd.people} == {0, 3 * PRICE}


def test_a_recipient_in_to_and_cc_is_one_person_and_one_mail() -> None:
    """The gateway makes one notification of it."""
    cast = cast_of([message("a@x.example", "B@Y.example", cc=("b@y.example",))], PRICE)

    assert [(person.address, person.balance) for person in cast.people] == [("b@y.example", PRICE)]


def test_the_relay_speaks_for_every_domain_that_sends(crowd: Cast) -> None:
    """Real mail is submitted by the system that relays it; otherwise all of it would be unverified."""
    (relay,) = crowd.senders

    assert relay.domains == ("d0.example", "d1.example", "d2.example")
    assert crowd.submitter(message("a@d1.example")) == crowd.relay == relay.id


def test_every_mail_of_the_sample_has_a_submitter_among_the_senders() -> None:
    """A mail whose key is missing would end the demo."""
    cast = sample_cast()
    known = {sender.id for sender in cast.senders}
    used = {cast.submitter(mail.message) for mail in sample_mail() if mail.message is not None}

    assert used <= known
    assert len(used) > 1
