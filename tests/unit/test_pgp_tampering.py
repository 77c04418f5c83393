"""EFAIL: whatever is done to a sealed mail, our opener lets nothing out, and its refusals all look the same."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from resource import RUSAGE_CHILDREN, getrusage

import pytest
from pysequoia import Tsk

from serving.encryption.opening import open_sealed
from serving.encryption.opening_process import MEMORY, SECONDS, opened
from serving.errors import Unsealable
from tests.unit.ciphertexts import bomb, compressed, decipher, packets, seal
from tests.unit.tampered_pgp import (
    ANN,
    ANN_GPG,
    CERTIFICATE,
    GATEWAY,
    MANNERS,
    OURS,
    PAYLOAD,
    RANDOM,
    SEALED,
    SESSION,
    SIGNED,
    UNUSED_BIT,
    flipped,
    leaking,
    mail,
)


@pytest.mark.parametrize("manner", MANNERS)
def test_nothing_that_was_tampered_with_yields_plaintext(manner: str) -> None:
    """Each leak is somebody's mail. The decision is made here, without the process around it, lest it take minutes."""
    make, at_least = MANNERS[manner]
    outcomes, seconds = [], []
    for key, message in make():
        start = time.perf_counter()
        outcomes.append(_released(key, message))
        seconds.append(time.perf_counter() - start)

    assert len(outcomes) >= at_least
    assert set(outcomes) == {None}
    assert max(seconds) < SECONDS


@pytest.mark.parametrize("manner", MANNERS)
def test_no_refusal_tells_why(manner: str) -> None:
    """Each difference between refusals is an oracle that leaks a mail slowly; a few of each manner show it."""
    tampered = list(MANNERS[manner][0]())
    outcomes = {_outcome(key, mail(message)) for key, message in RANDOM.sample(tampered, 12)}

    assert outcomes == {_outcome(ANN, b"")}
    assert str(_outcome(ANN, b"")).endswith(" None True")


def test_what_was_tampered_with_was_a_mail_that_opens() -> None:
    """If they did not open, nothing would be shown; what was tampered with differs from them, and from one another."""
    for key, message in (*OURS, (ANN, SEALED)):
        assert _outcome(key, mail(message)) == _released(key, message) == PAYLOAD
    everything = [message for make, _ in MANNERS.values() for _, message in make()]

    assert len(set(everything)) > 5000
    assert not {SEALED, *(message for _, message in OURS)} & set(everything)


def test_the_bit_that_the_cipher_ignores_changes_nothing() -> None:
    """The only bit that can be flipped: the point, the session key and the plaintext stay what they were."""
    assert _released(ANN_GPG, flipped(OURS[0][1], UNUSED_BIT)) == PAYLOAD


def test_the_gadget_is_real() -> None:
    """A reader that believes the cipher alone sends the mail away; a gadget that did not work would prove nothing."""
    seen = decipher(leaking(8), SESSION)
    start, end = seen.index(b"<img src='//"), seen.rindex(b"'>")

    assert b"eve.example/?" in seen[start:end]
    assert b"secret-canary: 97 %" in seen[start:end]


@pytest.mark.parametrize("name", ["large", "nested", "one-pass"])
def test_a_bomb_ends_in_bounded_time_and_memory(name: str) -> None:
    """Anybody can encrypt to a certificate; a few KiB must not take the recipient's machine."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        outcome, seconds, octets = pool.submit(_measure, bytes(ANN), seal(_bomb(name), CERTIFICATE, SESSION)).result(
            100
        )

    assert outcome == _outcome(ANN, b"")
    assert seconds < 10 * SECONDS  # by the clock, beside other work
    assert octets < MEMORY


def _bomb(name: str) -> bytes:
    """3.9 GiB from 4 MiB, the same from some KiB, and 1.5 MB of one-pass signatures, which take minutes to be read."""
    one_pass = packets(SIGNED)[0]
    return {
        "large": lambda: bomb(4000),
        "nested": lambda: compressed(bomb(4000)),
        "one-pass": lambda: (one_pass[:-1] + b"\0") * 100_000 + SIGNED,
    }[name]()


def _measure(key: bytes, message: bytes) -> tuple[str | bytes, float, int]:
    """What came of it, the seconds that it took, and the largest process that it started, in octets."""
    start = time.perf_counter()
    outcome = _outcome(Tsk.from_bytes(key), mail(message))
    return outcome, time.perf_counter() - start, getrusage(RUSAGE_CHILDREN).ru_maxrss * 1024


def _released(key: Tsk, message: bytes) -> bytes | None:
    """The plaintext that the process would write, None where it would end."""
    try:
        return opened(message, bytes(key), bytes(GATEWAY.extract_certificate()))
    except Exception:
        return None


def _outcome(key: Tsk, text: bytes) -> str | bytes:
    """The plaintext, or all that the refusal shows: itself, its cause, and whether what came before it is hidden."""
    try:
        return open_sealed(text, key, GATEWAY.extract_certificate())
    except Unsealable as refusal:
        return f"{refusal!r} {refusal.__cause__!r} {refusal.__suppress_context__}"
