"""The server as replicas under Ray Serve (extra `[ray]`).

    serve run genir.integrations.ray:app model=/models/handbook replicas=2 \
        tokens=/etc/genir/tokens.json

Every replica loads the same model folder and applies the changes that other replicas make in it.
"""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genir.errors import InputError, MissingPackage
from genir.serving.app import create_app
from genir.serving.model_checks import ModelChecks
from genir.serving.service import open_folder
from genir.serving.settings import Settings

try:
    from ray import serve
    from ray.serve import Application
except ModuleNotFoundError as error:
    raise MissingPackage("ray[serve]", "ray", "serving under Ray") from error


class DeploymentOptions(BaseModel):
    """Arguments for Ray; all others are `Settings`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: Path
    replicas: int = Field(1, ge=1)
    cpus: float = Field(1.0, ge=0, description="CPUs of each replica")
    gpus: float = Field(0.0, ge=0, description="GPUs of each replica")


def app(arguments: dict[str, Any]) -> Application:
    """Return the application that `serve run` deploys.

    Changes need a token, since a replica cannot know which clients reach Ray's proxy.

    Args:
        arguments: `name=value` of the command line, or `args` of a config file.

    Raises:
        InputError: An argument is invalid.
    """
    placement = _placement(arguments)
    own = set(DeploymentOptions.model_fields)
    settings = Settings.of({name: value for name, value in arguments.items() if name not in own})
    folder = placement.model.absolute()

    def replica() -> FastAPI:
        checker = ModelChecks(settings)
        checker.refuse_unsigned(folder)
        served = open_folder(folder, settings.precision)
        return create_app(served, settings=settings, checker=checker)

    deployment = serve.deployment(
        serve.ingress(replica)(),
        name="genir",
        num_replicas=placement.replicas,
        # A replica batches requests itself: admit as many as its queue holds.
        max_ongoing_requests=settings.queue,
        ray_actor_options={"num_cpus": placement.cpus, "num_gpus": placement.gpus},
    )
    return deployment.bind()


def _placement(arguments: dict[str, Any]) -> DeploymentOptions:
    try:
        placement = DeploymentOptions.model_validate(arguments)
    except ValidationError as error:
        first = error.errors()[0]
        missing = first["type"] == "missing"
        reason = "is missing; give it, for example model=DIR" if missing else first["msg"]
        raise InputError(f"{first['loc'][0]}: {reason}") from None
    if not placement.model.is_dir():
        raise InputError(f"model: {placement.model} is not a folder; name a model folder")
    return placement
