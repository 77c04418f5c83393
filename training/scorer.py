"""The artefact as an MLflow model, so that the registry knows what goes in and what comes out (models from code)."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from training.artefact import Artefact
from training.render import Example


class Scorer(PythonModel):
    """Takes columns `text` and `features` (a list of numbers a row), gives one probability of "urgent" a row."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the artefact that lies beside this file."""
        self.artefact = Artefact.load(Path(context.artifacts["artefact"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        """The probabilities, (N,)."""
        rows = zip(model_input["text"], model_input["features"], strict=True)
        return self.artefact.predict([Example(text, np.asarray(numbers, dtype=np.float32)) for text, numbers in rows])


mlflow.models.set_model(Scorer())
