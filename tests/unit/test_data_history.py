"""The history fold: causal, additive, and complete in its keys."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from data.history import FEATURES, Counter, Increment, acted, features, grow, keys, seen
from data.replay import History, replay
from data.schema import Message

DAY = 86_400.0
START = 1_700_000_000.0


def mail(number: int, sender: str, to: Sequence[str], parent: int | None = None, cc: Sequence[str] = ()) -> Message:
    """An invented mail, one an hour."""
    return Message(
        list="team",
        message_id=f"{number}@team.invalid",
        date=START + number * 3_600.0,
        sender=f"{sender}@team.invalid",
        sender_name=sender,
        to=tuple(f"{name}@team.invalid" for name in to),
        cc=tuple(f"{name}@team.invalid" for name in cc),
        subject=f"matter {number}",
        in_reply_to=None if parent is None else f"{parent}@team.invalid",
        body="words",
        body_len=5,
        sender_id=sender,
    )


def conversation() -> list[Message]:
    """Forty mails between four people, a third of them replies."""
    people = ("ada", "ben", "cleo", "dan")
    mails = []
    for number in range(40):
        sender, receiver = people[number % 4], people[(number * 3 + 1) % 4]
        receiver = receiver if receiver != sender else people[(number + 2) % 4]
        mails.append(mail(number, sender, [receiver], number - 3 if number % 3 == 2 and number > 3 else None, ["eve"]))
    return mails


def everyone(message: Message) -> tuple[str, ...]:
    return message.recipients


def history_of(messages: list[Message]) -> dict[tuple[str, str], bytes]:
    return {(found.message_id, who): vector.tobytes() for found, who, vector in replay(messages, everyone)}


def value(vector: np.ndarray, name: str) -> float:
    return float(vector[FEATURES.index(name)])


@pytest.mark.parametrize("cut", [1, 7, 20, 39])
def test_the_future_changes_no_feature(cut: int) -> None:
    """A feature that knows the future makes every benchmark figure worthless."""
    mails = conversation()
    silent = mails[:cut] + [replace(later, in_reply_to=None, sender="zoe@team.invalid") for later in mails[cut:]]

    before, after = history_of(mails), history_of(silent)

    past = {f"{number}@team.invalid" for number in range(cut)}
    assert {pair: v for pair, v in before.items() if pair[0] in past} == {
        pair: v for pair, v in after.items() if pair[0] in past
    }
    assert before != after


def test_a_reply_counts_from_the_moment_it_was_sent() -> None:
    """Counting it at the mail that it answers would leak the label into everything in between."""
    asked, between, reply, later = (
        mail(1, "ada", ["ben"]),
        mail(2, "ada", ["ben"]),
        mail(3, "ben", ["ada"], parent=1),
        mail(4, "ada", ["ben"]),
    )

    rows = {message.message_id: vector for message, _, vector in replay([asked, between, reply, later], everyone)}

    assert value(rows["2@team.invalid"], "pair_acted") == 0.0
    assert value(rows["4@team.invalid"], "pair_acted") == 1.0
    assert value(rows["4@team.invalid"], "recipient_acted_hours") == 1.0


def test_a_reply_from_another_address_counts_for_the_address_that_received() -> None:
    """People answer from their phones; the history of the address that was written to must learn of it."""
    known = replace(mail(0, "ben", ["ada"]), sender="ben@team.invalid", sender_id="ben stone")
    asked = mail(1, "ada", ["ben"])
    reply = replace(mail(2, "ben", ["ada"], parent=1), sender="ben@phone.invalid", sender_id="ben stone")
    later = mail(3, "ada", ["ben"])

    rows = {message.message_id: vector for message, _, vector in replay([known, asked, reply, later], everyone)}

    assert value(rows["3@team.invalid"], "pair_acted") == 1.0


def test_two_replays_are_equal() -> None:
    """Training and evaluation must see the same numbers."""
    assert history_of(conversation()) == history_of(conversation())


def test_keys_name_everything_that_features_read() -> None:
    """Serving reads only the named rows; a counter that is not named would silently be zero there."""
    history = History()
    for message in conversation():
        for who in message.recipients:
            named = keys(message, who)
            first = {key: history.counters[key] for key in named.first if key in history.counters}
            rows = first | {key: history.counters[key] for key in named.second(first) if key in history.counters}

            assert np.array_equal(features(message, who, rows), history.features(message, who))
            assert seen(message, who, 0, rows) == seen(message, who, 0, history.counters)
        history.observe(message)
    assert any(key.startswith("heard") for key in history.counters)


def test_many_recipients_count_the_mail_once() -> None:
    """Ten notifications of one mail must not look like ten mails."""
    history = History()

    history.observe(mail(1, "ada", ["ben", "cleo", "dan"]))

    assert history.counters["sent\nada@team.invalid"].count == 1
    assert history.counters["addressed\nada@team.invalid"].count == 3
    assert history.counters["received\nben@team.invalid"].count == 1


def test_a_thread_is_one_however_it_is_entered() -> None:
    """A reply to a reply belongs to the first mail's thread, and siblings of an unknown parent to each other's."""
    history = History()
    for message in (mail(1, "ada", ["ben"]), mail(2, "ben", ["ada"], parent=1), mail(3, "ada", ["ben"], parent=2)):
        history.observe(message)
    fourth = history.features(mail(4, "cleo", ["ben"], parent=3), "ben@team.invalid")
    history.observe(mail(5, "ada", ["ben"], parent=99))
    sibling = history.features(mail(6, "ada", ["ben"], parent=99), "ben@team.invalid")

    assert value(fourth, "thread_posts") == 3.0
    assert value(fourth, "thread_recipient_posts") == 1.0
    assert value(sibling, "thread_posts") == 1.0


def test_increments_commute() -> None:
    """Serving commits hops in whatever order they come."""
    increments = [Increment("k", 1, START, 7), Increment("k", 1, START + 5), Increment("k", 2, START + 2)]

    forward, backward = Counter(), Counter()
    for increment in increments:
        forward = grow(forward, increment)
    for increment in reversed(increments):
        backward = grow(backward, increment)

    assert forward == backward == Counter(4, START + 5, 7)


def test_unknown_people_have_finite_features() -> None:
    """The first mail ever is scored too."""
    vector = features(mail(1, "ada", ["ben"]), "stranger@else.invalid", {})

    assert vector.shape == (len(FEATURES),)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()


def test_what_a_reaction_grows_was_named_by_the_mail_alone() -> None:
    """The store keeps these keys with the notification and knows nothing else when somebody reacts."""
    message = mail(1, "ada", ["ben"])
    history = History()
    history.observe(message)

    history.react(message, "ben@team.invalid", START + DAY)

    assert {history.counters[key].last for key in acted(message, "ben@team.invalid")} == {START + DAY}
