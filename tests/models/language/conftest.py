from pathlib import Path

import pytest

from inhouse.testing.language import tiny_language_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random chat model."""
    return tiny_language_model(tmp_path_factory.mktemp("models") / "tiny")
