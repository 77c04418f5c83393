"""What a serving process carries."""

import subprocess
import sys
from pathlib import Path


def test_no_training_library_enters_a_serving_process() -> None:
    """A gigabyte of torch in each of a dozen processes, for nothing."""
    code = """
import sys
import serving.service, serving.wiring, serving.queue.broker, serving.classification, serving.reanalysis
import serving.digest.stage, serving.encryption.stage, serving.payment.stage, serving.delivery.stage
import training.artefact
print([name for name in ("torch", "transformers", "pandas", "sklearn", "mlflow") if name in sys.modules])
"""
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_a_stage_whose_loop_ends_takes_its_process_along() -> None:
    """A worker that lives and does nothing is never started again by anybody."""
    code = """
import asyncio
from pathlib import Path
from serving import worker
from serving.pipeline import Stage
from serving.settings import Settings
from serving.wiring import Wired

async def serve(*_, **__):
    await asyncio.sleep(0.1)
    raise RuntimeError("canary-text")

async def main():
    stage = worker.StageWorker(Stage.TRIAGE, Settings(home=Path("/nowhere")))
    stage.start()
    await asyncio.sleep(30)

worker.wire, worker.serve = lambda *_: Wired(None), serve
asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert "the triage loop ended (RuntimeError)" in ended.stderr
    assert "canary-text" not in ended.stderr
