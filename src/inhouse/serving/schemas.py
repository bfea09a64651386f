"""Wire shapes of the deployments API."""

from pydantic import BaseModel, Field

from inhouse.serving.store import Deployment


class Traffic(BaseModel):
    """How a model's traffic is shared between its versions."""

    weights: dict[int, float] = Field(description="Version -> weight. Shares are weights divided by their sum.")
    note: str = Field(default="", max_length=1000, description="Why.")


class DeploymentOut(BaseModel):
    model: str
    weights: dict[int, float]
    note: str
    created_at: float
    updated_at: float

    @classmethod
    def of(cls, deployment: Deployment) -> "DeploymentOut":
        return cls(
            model=deployment.model,
            weights=dict(deployment.weights),
            note=deployment.note,
            created_at=deployment.created_at,
            updated_at=deployment.updated_at,
        )


class DeploymentList(BaseModel):
    items: list[DeploymentOut]
