"""The date of a mail is its sender's word; the history must not believe every word."""

import pytest

from serving.scoring import Scorer
from tests.unit.scorers import CONTENT, LOOKUP, FakeModel, FakeStore, always, work

ACCEPTED_AT = 1.7e9


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"", ACCEPTED_AT),
        (b"Date: Fri, 01 Jan 2100 00:00:00 +0000\r\n", ACCEPTED_AT),
        (b"Date: Fri, 01 Jan 2021 00:00:00 +0000\r\n", 1_609_459_200.0),
    ],
)
async def test_a_mail_is_never_from_after_its_acceptance(field: bytes, expected: float) -> None:
    """One mail from the year 2100 would be the last that its sender ever wrote, for eighty years."""
    mail = field + b"From: ops@example.org\r\nTo: ada@example.net\r\nSubject: s\r\n\r\nbody\r\n"
    judgement = await Scorer(FakeStore(), FakeModel(always(0.5)), CONTENT, LOOKUP).judge(work(mail))

    assert {increment.at for increment in judgement.observation.seen} == {expected}
