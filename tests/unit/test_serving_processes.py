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
