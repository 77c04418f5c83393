"""The artefact as an MLflow model, so that the registry knows what goes in and what comes out (models from code)."""

from pathlib import Path

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

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        """The probabilities, (N,). MLflow would take type hints here for a schema."""
        rows = zip(model_input["text"], model_input["features"], strict=True)
        return self.artefact.predict([Example(text, np.asarray(numbers, dtype=np.float32)) for text, numbers in rows])


mlflow.models.set_model(Scorer())
