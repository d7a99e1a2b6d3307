"""From an artifact to those it was made from, by the fingerprints in its manifest. Needs no configuration."""

from pathlib import Path

from tsrec.errors import ArtifactError
from tsrec.store.artifact import Artifact
from tsrec.store.manifest import is_base
from tsrec.store.store import ArtifactStore


class Lineage:
    """The finished artifacts of a store as they are when this is made, by stage and fingerprint."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        self.listed = store.list()
        self._by_stage_and_fingerprint = {(a.manifest.key.stage, a.manifest.key.fingerprint): a for a in self.listed}

    def newest_of(self, stage: str, role: str, fingerprint: str) -> Artifact | None:
        """The newest artifact of a stage that was handed the one with this fingerprint as `role`, neither checked nor
        fetched; None where there is none."""
        keys = ((artifact, artifact.manifest.key) for artifact in reversed(self.listed))
        return next((a for a, key in keys if key.stage == stage and key.parents.get(role) == fingerprint), None)

    def verified(self, artifact: Artifact) -> Artifact:
        """`ArtifactStore.verified` of the artifact's store."""
        return self.store.verified(artifact)

    def parent(self, artifact: Artifact, role: str) -> Artifact:
        """The artifact that was handed to `artifact`'s stage as `role`.

        A role is a stage's name, with a word after a colon where a stage was handed several of one kind.

        Raises:
            ArtifactError: it had no such parent, or the parent is gone or damaged.
        """
        key = artifact.manifest.key
        if role not in key.parents:
            raise ArtifactError(f"{artifact.path} was not made from any {role}; it was from {', '.join(key.parents)}")
        listed = self.listed_parent(artifact, role)
        if listed is None:
            raise ArtifactError(f"{key.dataset}: {role} {key.parents[role]} is gone; run the pipeline again")
        return self.verified(listed)

    def ancestor(self, artifact: Artifact, role: str) -> Artifact:
        """The nearest artifact, generation by generation, that `artifact` or what it was made from had as `role`.

        Raises:
            ArtifactError: there is none, or it is gone or damaged.
        """
        queue, seen = [artifact], set[Path]()
        while queue:
            child = queue.pop(0)
            if child.path in seen:  # manifests may be anybody's, and lead in a circle
                continue
            seen.add(child.path)
            if role in child.manifest.key.parents:
                return self.parent(child, role)
            above = (self.listed_parent(child, own) for own in child.manifest.key.parents if not is_base(own))
            queue += [parent for parent in above if parent is not None]
        raise ArtifactError(f"{artifact.path} goes back to no {role} that is left; run the pipeline again")

    def listed_parent(self, artifact: Artifact, role: str) -> Artifact | None:
        """The same, neither checked nor fetched; None where it is gone."""
        return self._by_stage_and_fingerprint.get((role.partition(":")[0], artifact.manifest.key.parents[role]))
