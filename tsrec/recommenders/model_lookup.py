"""Finds a data set's finished model: the champion, unless another is named."""

from tsrec.errors import ArtifactError
from tsrec.store import Artifact, Lineage
from tsrec.store.champions import MODEL_STAGE, champion_of


def find_models(lineage: Lineage, dataset: str) -> list[Artifact]:
    """The finished models of a data set, oldest first; neither checked nor fetched."""
    return [a for a in lineage.listed if (a.manifest.key.dataset, a.manifest.key.stage) == (dataset, MODEL_STAGE)]


def find_model(lineage: Lineage, dataset: str, model: str | None = None) -> Artifact:
    """The verified `fuse` artifact of a model.

    Args:
        lineage: of the store.
        dataset: name of the data set.
        model: the first digits of its fingerprint; None: the champion, and the newest where there is no champion.

    Raises:
        ArtifactError: there is no such model, or more than one.
    """
    models = find_models(lineage, dataset)
    if not models:
        raise ArtifactError(
            f"{lineage.store.root} holds no finished recommender of {dataset!r}; give `tsrec run` first"
        )
    prefix = champion_of(lineage.store, dataset) if model is None else model
    if prefix is None:
        return lineage.verified(models[-1])
    matches = [artifact for artifact in models if artifact.fingerprint.startswith(prefix)]
    if len(matches) == 1:
        return lineage.verified(matches[0])
    if model is None:
        raise ArtifactError(f"{dataset}: its champion {prefix} is gone from the store; `tsrec models promote` another")
    found = "no model" if not matches else f"{len(matches)} models"
    raise ArtifactError(f"{found} of {dataset} start with {model!r}; see `tsrec models list`")
