"""`tsrec api`: the live server of a data set's champion, until it is told to end."""

import atexit
import gc
import logging
import math
import os
import shutil
import socket
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from tsrec.config import load_config
from tsrec.errors import ConfigError, in_one_line
from tsrec.machine.addresses import is_loopback, is_url, url_host
from tsrec.store import ArtifactStore, Lineage

if TYPE_CHECKING:
    from tsrec.serving.live_model import LiveModel

logger = logging.getLogger("tsrec.serving")

_PROFILE = (".yaml", ".yml")
_SELDOM = 1_000_000  # new objects, after which the collector looks for garbage


def api(options: Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ConfigError: nobody would be asked for a key, nothing can listen there, or there is no such store.
        ArtifactError: the store has no such model.
    """
    host, port, workers = options.host, options.port, options.workers
    if workers > 1:
        _share_metrics()
    often = gc.get_threshold()
    gc.set_threshold(_SELDOM)  # libraries and the model are millions of objects that stay: it would visit them again
    from tsrec.recommenders.model_lookup import find_model
    from tsrec.serving.access import check_exposure, keys_of_environment
    from tsrec.serving.app import create_app
    from tsrec.serving.workers import run_workers

    keys = keys_of_environment()
    check_exposure(host, keys, options.without_auth)
    store, dataset = _place(options)
    if not is_url(store) and not Path(store).is_dir():
        raise ConfigError(f"{store}: no such store; --store says where the artifacts of a run are")
    find_model(Lineage(ArtifactStore(store)), dataset, options.model)
    _check_free(host, port)

    def say_open(live: "LiveModel") -> None:
        if workers == 1:  # else `run_workers` does so
            gc.freeze()
        gc.set_threshold(*often)
        who = "asks for a key" if keys else "answers this machine alone" if is_loopback(host) else "asks for no key"
        url = f"http://{url_host(host)}:{port}"
        logger.info(
            "%s serves %s by model %s and %s; the page is %s/, the API %s/docs",
            *(url, live.dataset, live.fingerprint, who, url, url),
        )

    app = create_app(
        store,
        dataset,
        model=options.model,
        deadline_ms=options.deadline_ms,
        keys=keys,
        listens_on=host,
        when_open=say_open if workers == 1 else None,
    )

    def open_and_say() -> None:
        engine = app.state.service.engine
        engine.open()
        say_open(engine.live)

    import uvicorn

    config = uvicorn.Config(
        app,
        host,
        port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=math.ceil(options.deadline_ms / 1000),
    )
    if workers > 1:
        run_workers(config, open_and_say, workers)
    else:
        uvicorn.Server(config).run()


def _check_free(host: str, port: int) -> None:
    """Raise ConfigError where nothing can listen."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port}: nothing can listen there ({in_one_line(error)}); give others"
        ) from None


def _share_metrics() -> None:
    """Have each worker tell what all of them counted: prometheus_client reads this when it is imported."""
    folder = tempfile.mkdtemp(prefix="tsrec-metrics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


def _place(options: Namespace) -> tuple[str, str]:
    """Where the store is, and the name of the data set."""
    if Path(options.dataset).suffix not in _PROFILE:
        if options.set:
            raise ConfigError("--set changes a profile; give one in place of the data set's name, or --store alone")
        return options.store or "artifacts", options.dataset
    config = load_config(options.dataset, options.set)
    return options.store or config.store, config.dataset
