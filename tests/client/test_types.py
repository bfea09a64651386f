"""The client's types are the server's shapes."""

from typing import Any

import pytest
from pydantic import BaseModel

from inhouse.access import schemas as access
from inhouse.apps import schemas as apps
from inhouse.client import types
from inhouse.data import schemas as data
from inhouse.gateway import schemas as gateway
from inhouse.gateway.audit import schemas as audit
from inhouse.knowledge import schemas as knowledge
from inhouse.loop import schemas as loop
from inhouse.models import schemas as models
from inhouse.serving import schemas as serving
from inhouse.training import schemas as training
from inhouse.training.studies import schemas as studies
from inhouse.training.versions import schemas as versions
from inhouse.workflow import schemas as workflow

SHAPES: dict[type, type[BaseModel]] = {
    types.Problem: data.ProblemOut,
    types.Preview: data.PreviewOut,
    types.DatasetVersion: data.VersionOut,
    types.Dataset: data.DatasetOut,
    types.Example: data.ExampleOut,
    types.Examples: data.ExampleList,
    types.DataFormat: data.FormatOut,
    types.Augmenter: data.AugmenterOut,
    types.Alike: data.AlikeOut,
    types.LengthBin: data.BinOut,
    types.LabelConflict: data.ConflictOut,
    types.DataReport: data.ReportOut,
    types.DatasetChange: data.ChangeOut,
    types.DatasetDiff: data.DiffOut,
    types.DatasetMix: data.MixOut,
    types.AugmentedDataset: data.AugmentedOut,
    types.ErasedRows: data.ErasedOut,
    types.Recipe: training.RecipeOut,
    types.Run: training.RunOut,
    types.ComparedLine: training.LineOut,
    types.RunCurves: training.CurvesOut,
    types.RunComparison: training.ComparisonOut,
    types.ModelVersion: models.ModelVersionOut,
    types.Model: models.ModelOut,
    types.ModelSummary: models.ModelSummary,
    types.Lineage: models.Lineage,
    types.Variant: models.VariantOut,
    types.Evaluation: models.EvaluationOut,
    types.EvaluationReport: versions.ReportOut,
    types.EvaluationRows: versions.RowList,
    types.ExplainedToken: versions.TokenOut,
    types.Explanation: versions.ExplanationOut,
    types.Comparison: versions.ComparisonOut,
    types.Trial: studies.TrialOut,
    types.Study: studies.StudyOut,
    types.Deployment: serving.DeploymentOut,
    types.KnowledgeBase: knowledge.KnowledgeBaseOut,
    types.Document: knowledge.DocumentOut,
    types.FoundPassage: knowledge.PassageOut,
    types.Found: knowledge.SearchOut,
    types.Passage: knowledge.PassageInContext,
    types.WorkflowVersion: workflow.VersionOut,
    types.Workflow: workflow.WorkflowOut,
    types.WorkflowRun: workflow.RunOut,
    types.TraceSummary: workflow.TraceSummary,
    types.Trace: workflow.TraceOut,
    types.Texts: apps.Texts,
    types.App: apps.AppOut,
    types.Source: apps.SourceOut,
    types.Intent: apps.IntentOut,
    types.Opinion: apps.FeedbackOut,
    types.Message: apps.MessageOut,
    types.ShortAnswer: apps.ChatOut,
    types.Conversation: apps.ConversationOut,
    types.Feedback: loop.FeedbackOut,
    types.LoopState: loop.LoopOut,
    types.NewDataset: loop.NewDataset,
    types.Verdict: loop.VerdictOut,
    types.Release: loop.ReleaseOut,
    types.Upstream: gateway.UpstreamOut,
    types.FoundUpstream: gateway.FoundOut,
    types.GatewayProblem: gateway.ProblemOut,
    types.GatewayState: gateway.GatewayOut,
    types.Policy: gateway.PolicyOut,
    types.Target: gateway.TargetOut,
    types.Arm: gateway.ArmOut,
    types.GatewayModel: gateway.ModelOut,
    types.Prompt: gateway.PromptOut,
    types.Usage: gateway.UsageOut,
    types.KeptRequest: audit.RequestOut,
    types.KeptRequestDetail: audit.RequestDetail,
    types.KeptRequestsVerified: audit.RequestsVerified,
    types.Me: access.Me,
    types.User: access.UserOut,
    types.Key: access.KeyOut,
    types.NewKey: access.KeyCreated,
}


@pytest.mark.parametrize(("shape", "schema"), SHAPES.items(), ids=lambda cls: cls.__name__)
def test_a_type_has_the_fields_that_the_server_sends(shape: type[Any], schema: type[BaseModel]):
    assert shape.__required_keys__ == schema.model_fields.keys()
