"""Small files of a store that are no artifacts (records of runs, moves of the champion): whole or not there at all.

They lie in the remote itself where the store is remote: every machine sees the same ones. Knows nothing of what they
say.
"""

from tsrec.store.disk_errors import explain_disk_errors
from tsrec.store.store import ArtifactStore
from tsrec.store.work_files import write_text_whole


def write_note(store: ArtifactStore, relative: str, text: str) -> None:
    """Write a note, over an older one of that name. Raises ArtifactError where the disk refuses."""
    if store.remote:
        store.remote.write_note(relative, text)
        return
    path = store.root / relative
    with explain_disk_errors(store.root):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(path, text)


def read_notes(store: ArtifactStore, pattern: str) -> dict[str, bytes]:
    """Path relative to the store -> content of the notes that match a glob; none, where one cannot be read."""
    if store.remote:
        return store.remote.notes(pattern)
    found = {}
    for path in store.root.glob(pattern):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # removed since it was listed
            continue
        except OSError:  # a folder, or another's: whoever reads notes knows what an unreadable one means
            content = b""
        found[path.relative_to(store.root).as_posix()] = content
    return found


def names(store: ArtifactStore, pattern: str) -> list[str]:
    """Paths relative to the store, in order, of what matches a glob; nothing is read."""
    if store.remote:
        return store.remote.names(pattern)
    return sorted(path.relative_to(store.root).as_posix() for path in store.root.glob(pattern))


def remove_note(store: ArtifactStore, relative: str) -> None:
    """Remove a note, where it is still there."""
    if store.remote:
        store.remote.remove_note(relative)
    else:
        (store.root / relative).unlink(missing_ok=True)
