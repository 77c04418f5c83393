"""The main job, end to end: python -m serving.demo [--mail MAILBOX --limit N] [--json] [--chaos SEED]."""

import argparse
import asyncio
import json
import logging
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from data.readers import Aside
from serving import core_dumps, scratch
from serving.demo.cast import cast_of, sample_cast
from serving.demo.mailbox import newest, sample_mail
from serving.demo.play import Script, play
from serving.demo.running import demo_settings
from serving.demo.view import Picture, View, summary, wide_console
from serving.errors import ClarionError
from serving.settings import Settings
from serving.startup import prepare
from serving.stopping import cancel_on_signals
from serving.supervisor import ensure_idle
from training.artefact import describe

INTERRUPTED = 130


def main() -> int:
    """0 when everything is accounted for and nobody was charged twice; 1 when not; 2 when it could not start; 130 when
    it was interrupted."""
    arguments = _arguments()
    core_dumps.forbid()
    console = wide_console(stderr=arguments.json)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")
    try:
        settings = demo_settings(arguments.home)
        report = asyncio.run(_run(arguments, settings, console))
    except ClarionError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("interrupted before any mail was posted; nothing is left running")
        return INTERRUPTED
    _publish(report, arguments, settings, console)
    if report["interrupted"]:
        return INTERRUPTED
    return 0 if report["unaccounted"] == 0 and report["double_charged"] == 0 else 1


def _publish(report: Mapping[str, Any], arguments: argparse.Namespace, settings: Settings, console: Console) -> None:
    path = settings.home / "report.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    console.print(summary(report))
    if report["interrupted"]:
        console.print(f"interrupted; what was accepted is kept in {settings.home} until the next demo", soft_wrap=True)
    places = f"report {path} · mail {settings.maildir} · recipients' test keys {settings.home / 'recipients'}"
    console.print(places, highlight=False, soft_wrap=True)


async def _run(arguments: argparse.Namespace, settings: Settings, console: Console) -> dict[str, Any]:
    cancel_on_signals()
    with View(console, Picture()) as view:
        view.say("preparing keys and the champion")
        ensure_idle(settings.home)
        _clear(settings.home)
        artefact = await prepare(settings)
        view.say("reading the mailbox")
        script = await asyncio.to_thread(_script, arguments, settings, artefact)
        return await play(script, settings, artefact, view)


def _script(arguments: argparse.Namespace, settings: Settings, artefact: Path) -> Script:
    if arguments.mail is None:
        return Script(sample_mail(), sample_cast(), chaos=arguments.chaos)
    aside = Aside(settings.home / "aside")
    mails = newest(arguments.mail, arguments.limit, describe(artefact).trained_until, time.time(), aside)
    messages = [mail.message for mail in mails if mail.message is not None]
    return Script(mails, cast_of(messages, settings.price), len(aside.reasons), arguments.chaos)


def _clear(home: Path) -> None:
    """A demo begins empty; the registry stays, so that the champion is imported once."""
    scratch.remove(home / "run" / "scratch")
    for name in ("store", "run", "maildir", "recipients", "keys", "log", "aside", "provider.jsonl", "report.json"):
        path = home / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving.demo", description=__doc__)
    parser.add_argument("--mail", type=Path, help="an mbox, mbox.xz, Maildir or tar of mails; the sample without it")
    parser.add_argument("--limit", type=_positive, default=500, help="how many of its newest mails (default 500)")
    parser.add_argument("--home", type=Path, default=Path("var/demo"), help="where everything goes (default var/demo)")
    parser.add_argument("--json", action="store_true", help="the report on standard output, the rest on standard error")
    parser.add_argument("--chaos", type=int, metavar="SEED", help="kill -9 a random process every few seconds")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError("give a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
