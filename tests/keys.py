"""Keys of artifacts that tests build by hand."""

from tsrec.store import ArtifactKey


def key_of(stage: str, fingerprint: str = "0" * 16, dataset: str = "tiny", **parents: str) -> ArtifactKey:
    """A key with no configuration and no raw inputs; `parents` maps stages to fingerprints."""
    return ArtifactKey(
        dataset=dataset,
        stage=stage,
        fingerprint=fingerprint,
        stage_version=1,
        config={},
        parents=parents,
        raw_inputs={},
    )
