import pytest

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.serving.deployments import Deployments
from inhouse.serving.matcher import Matcher, NotAnEmbedder
from inhouse.serving.pool import Pool
from inhouse.serving.predictor import Predictor


async def test_only_an_embedder_compares_questions(pool: Pool, sqlite: Database, principal: Principal):
    predictor = Predictor(pool, Deployments(sqlite))
    await predictor.deploy(principal, "intent", {1: 1})

    with pytest.raises(NotAnEmbedder, match="kind 'classify'"):
        await Matcher.of(predictor, principal, "intent", ["How many days of holiday?"])
