import subprocess
import sys

import pytest

from inhouse.core.registry import UnknownName
from inhouse.training.recipe import LANGUAGES, BadConfig, configure, recipes

SCRIPT = """
import sys
import inhouse.training.api
from inhouse.training.recipe import recipes
from inhouse.training.schemas import RecipeOut
RecipeOut.of(recipes["classify"])
print([name for name in ("torch", "transformers", "onnxruntime", "tokenizers") if name in sys.modules])
"""


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", list(recipes))
def test_every_recipe_and_setting_is_described(name: str, language: str):
    texts = recipes[name].texts(language)

    assert texts["title"]
    assert texts["description"]
    assert texts["fields"].keys() == recipes[name].model_fields.keys()
    assert all(field["title"] and field["description"] for field in texts["fields"].values())


def test_an_unknown_setting_is_refused_and_the_known_ones_are_named():
    with pytest.raises(BadConfig, match="epoch: Extra inputs") as refused:
        configure("classify", {"epoch": 3})

    assert "epochs" in refused.value.hint


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(UnknownName) as refused:
        configure("classfy", {})

    assert "classify" in refused.value.hint


def test_drawing_forms_and_listing_runs_never_loads_torch():
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"
