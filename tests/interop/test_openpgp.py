"""gpg and sq open and verify what we seal, whoever made the key; we open and verify what they seal."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pysequoia import Cert

from serving.encryption.certificates import read_certificate
from serving.encryption.opening import open_sealed
from serving.encryption.outside import Outside
from serving.encryption.sealed import enclose, payload
from serving.encryption.signing import create_signing_key, load_signing_key
from serving.errors import Unsealable
from tests.interop.openpgp_programs import Gpg, Person, Program, Sq
from tests.unit.test_smime import MAIL, SHAPES, shape

ADDRESS = "ann@home.example"
NOW = datetime.now(UTC) + timedelta(minutes=30)  # after the keys are made
OUTSIDE = Outside("0000000000007", "clarion@gate.example", ADDRESS, NOW)
OUTER = (*OUTSIDE.header, ("Subject", "[...]"))
CURVE = "gpg ed25519/cv25519"
KINDS = (CURVE, "gpg rsa3072/rsa3072", "gpg nistp256/nistp256", "gpg rsa4096", "sq cv25519", "sq rsa3k")
PROGRAMS = ("gpg", "sq")
LARGE = b"From: a@b.example\r\nSubject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 555_555


class World:
    """Both programs, the people with their keys, and the gateway."""

    def __init__(self, folder: Path, gpg: Gpg) -> None:
        self.programs: dict[str, Program] = {"gpg": gpg, "sq": Sq(folder)}
        self.people = {kind: self._person(folder, *kind.split()) for kind in KINDS}
        create_signing_key(folder, OUTSIDE.mail_from)
        self.trusted = folder / "signing.public"
        self._signer = load_signing_key(folder)

    def _person(self, folder: Path, maker: str, algorithm: str) -> Person:
        person = Person(folder / algorithm.replace("/", "-"), self.programs[maker].generate(algorithm, ADDRESS))
        for program in self.programs.values():
            program.meet(person)
        return person

    def sealed(self, raw: bytes, kind: str) -> bytes:
        """The mail as the gateway seals it to Ann's uploaded certificate."""
        certificate = read_certificate(self.people[kind].file.read_bytes(), ADDRESS, NOW)
        assert isinstance(certificate, Cert), certificate
        assert self._signer is not None
        return enclose(raw, OUTSIDE, certificate, self._signer)

    def message(self, raw: bytes, kind: str) -> bytes:
        """The armoured message in it, which a mail program hands to either of them."""
        mail = message_from_bytes(self.sealed(raw, kind), policy=policy.SMTP)
        armour = mail.get_payload(1).get_payload(decode=True)  # type: ignore[union-attr]
        assert isinstance(armour, bytes)
        return armour

    def sender(self, kind: str) -> Person:
        """Somebody else, who signs with a key of another kind."""
        return self.people[KINDS[KINDS.index(kind) - 1]]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One for all tests: to make the keys takes longer than all the rest."""
    with TemporaryDirectory(prefix="gpg-") as folder:
        gpg = Gpg(Path(folder))
        try:
            yield World(Path(folder), gpg)
        finally:
            gpg.leave()


def opened(message: bytes, recipient: Person, sender: Person) -> bytes:
    """What our opener lets out."""
    return open_sealed(message, recipient.key, sender.certificate)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_they_open_and_verify_every_shape_octet_for_octet(world: World, program: str, kind: str, name: str) -> None:
    """A mail that only our own library opens is no use to anybody; its header is protected inside (RFC 9788)."""
    raw = shape(name)
    answer = world.programs[program].open(world.message(raw, kind), world.people[kind], world.trusted)
    inner = message_from_bytes(answer.stdout, policy=policy.SMTP)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == payload(raw, OUTER)
    assert inner["Content-Type"].params["hp"] == "cipher"
    assert [str(copy) for copy in inner.get_all("HP-Outer", [])] == [f"{field}: {value}" for field, value in OUTER]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_we_open_and_verify_every_shape_of_theirs_octet_for_octet(
    world: World, program: str, kind: str, name: str
) -> None:
    """A recipient's tool that opens only what we have sealed could not be told from one that checks nothing."""
    content, recipient, sender = payload(shape(name), OUTER), world.people[kind], world.sender(kind)
    message = world.programs[program].seal(content, sender, [recipient])

    assert opened(message, recipient, sender) == content


@pytest.mark.parametrize("program", PROGRAMS)
def test_ten_megabytes_go_both_ways(world: World, program: str) -> None:
    """A large mail is not cut off, nor opened without its end being verified."""
    answer = world.programs[program].open(world.message(LARGE, CURVE), world.people[CURVE], world.trusted)
    theirs = world.programs[program].seal(LARGE, world.sender(CURVE), [world.people[CURVE]])

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == payload(LARGE, OUTER)
    assert opened(theirs, world.people[CURVE], world.sender(CURVE)) == LARGE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_nobody_believes_another_signer(world: World, program: str, kind: str) -> None:
    """The signature is worth something only if somebody else's is told apart, by them and by us."""
    recipient, sender = world.people[kind], world.sender(kind)
    answer = world.programs[program].open(world.message(MAIL, kind), recipient, sender.file)
    theirs = world.programs[program].seal(MAIL, sender, [recipient])

    assert answer.returncode != 0
    with pytest.raises(Unsealable):
        opened(theirs, recipient, recipient)


@pytest.mark.parametrize("program", PROGRAMS)
def test_they_refuse_what_was_altered(world: World, program: str) -> None:
    """Ciphertext that can be changed unseen lets an attacker write into a sealed mail (EFAIL)."""
    lines = world.message(MAIL, CURVE).splitlines()
    altered = [b"\n".join([*lines[:row], lines[row].swapcase(), *lines[row + 1 :], b""]) for row in range(3, 9)]
    person = world.people[CURVE]

    assert all(world.programs[program].open(each, person, world.trusted).returncode != 0 for each in altered)


@pytest.mark.parametrize("program", PROGRAMS)
def test_their_mail_to_several_opens_for_each_of_them(world: World, program: str) -> None:
    """A message holds a session key for each recipient, in any order."""
    sender, everybody = world.people["sq cv25519"], list(world.people.values())
    message = world.programs[program].seal(MAIL, sender, everybody)

    assert [opened(message, person, sender) for person in everybody] == [MAIL] * len(everybody)


@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("gpg", ("--compress-algo", "zip")),
        ("sq", ("--compression", "zip")),
        ("gpg", ("--rfc2440", "--disable-mdc", "--cipher-algo", "AES256")),
        ("gpg", ("--cipher-algo", "3DES")),
    ],
)
def test_what_we_cannot_verify_whole_we_do_not_open(world: World, program: str, options: tuple[str, ...]) -> None:
    """Compressed, where the library looks at no signature; without integrity protection; with a cipher of old."""
    recipient, sender = world.people[CURVE], world.sender(CURVE)
    message = world.programs[program].seal(MAIL * 20, sender, [recipient], *options)

    with pytest.raises(Unsealable):
        opened(message, recipient, sender)
