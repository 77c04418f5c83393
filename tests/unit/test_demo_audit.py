"""The demo's judgement from outside: it must see what went wrong, or its zeros mean nothing."""

import json
from collections import Counter
from pathlib import Path

from serving.demo.audit import Found, found_in, money, received, tally
from serving.identifiers import format_id

A, B = format_id(7), format_id(8)


def write_log(path: Path, *operations: tuple[str, str, int]) -> Path:
    path.write_text("".join(json.dumps({"verb": v, "key": k, "amount": a}) + "\n" for v, k, a in operations))
    return path


def test_a_release_under_a_second_key_is_a_double_charge(tmp_path: Path) -> None:
    """The provider never commits one key twice, so a bug would show as another key for the same notification."""
    log = write_log(tmp_path / "log", ("release", "7:capture", 5), ("release", "7:capture:2", 5))

    assert money(log, {A: 1}, ()).double_charged == 1


def test_a_charge_that_no_recipient_made_is_a_double_charge(tmp_path: Path) -> None:
    """A top-up repeated under a new key takes somebody's money."""
    log = write_log(tmp_path / "log", ("charge", "first", 100), ("charge", "first again", 100))

    assert money(log, {}, {"first"}).double_charged == 1


def test_paid_and_delivered_once_is_no_double_charge(tmp_path: Path) -> None:
    """The judgement must be able to acquit."""
    log = write_log(
        tmp_path / "log", ("charge", "first", 100), ("release", "7:capture", 5), ("release", "8:capture", 5)
    )
    found = money(log, {A: 1}, {"first"})

    assert (found.double_charged, found.charged_undelivered, found.delivered_paid) == (0, 1, 1)
    assert (found.charged, found.released) == (100, 10)


def test_delivered_without_a_mail_in_the_maildir_is_unaccounted() -> None:
    """What the system says of itself is no evidence."""
    counts = tally([A, B], {A: Found("delivered"), B: Found("delivered")}, {A: 1})

    assert (counts["delivered"], counts["unaccounted"]) == (2, 1)


def test_delivered_by_a_digest_is_accounted_for_by_the_digest() -> None:
    """A parent's words arrive inside another mail."""
    counts = tally([A], {A: Found("delivered", via=B)}, {B: 1})

    assert counts["unaccounted"] == 0


def test_an_id_nobody_knows_and_one_still_moving_are_unaccounted() -> None:
    """Lost and stuck are both failures of the promise."""
    counts = tally([A, B], {A: None, B: Found("queued")}, {})

    assert (counts["in_flight"], counts["unaccounted"]) == (2, 2)


def test_a_mail_that_arrived_though_it_was_held_back_is_unaccounted() -> None:
    """Parked for want of money, and delivered all the same, would be a free ride."""
    counts = tally([A], {A: Found("parked")}, {A: 1})

    assert counts["unaccounted"] == 1


def test_the_maildir_is_counted_by_the_notifications_that_its_mails_name(tmp_path: Path) -> None:
    """A second copy must be seen."""
    for folder in ("new", "cur"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1").write_bytes(f"Clarion-Notification: {A}\r\n\r\nhello\r\n".encode())

    assert received(tmp_path) == Counter({A: 2})


def test_the_digest_is_read_from_the_history() -> None:
    """The API tells the internal id; mails bear the public one."""
    history = [{"detail": {}}, {"detail": {"via": "8"}}]

    assert found_in({"state": "delivered", "history": history}) == Found("delivered", via=B)
