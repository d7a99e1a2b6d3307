"""The artifact store: fingerprints, manifests, atomic writes, verification. The only way stages exchange data."""

from tsrec.store.artifact import Artifact, ArtifactWriter, matrix_of
from tsrec.store.fingerprint import canonical_json, file_sha256, fingerprint
from tsrec.store.hash_cache import cached_sha256
from tsrec.store.lineage import Lineage
from tsrec.store.manifest import SHARED, ArtifactKey, Manifest, base_role, is_base
from tsrec.store.runs import FlowRun, record_run
from tsrec.store.store import ArtifactStore

__all__ = [
    "SHARED",
    "Artifact",
    "ArtifactKey",
    "ArtifactStore",
    "ArtifactWriter",
    "FlowRun",
    "Lineage",
    "Manifest",
    "base_role",
    "cached_sha256",
    "canonical_json",
    "file_sha256",
    "fingerprint",
    "is_base",
    "matrix_of",
    "record_run",
]
