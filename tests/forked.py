"""Children of one process that has imported what they need, so that each starts at once.

It is one for a whole test run of a process, and whoever starts it first says what it imports: so all say the same.
"""

import multiprocessing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "tests.finetune.stage_run",
        "tests.store.test_locks",
        "tests.store.two_machines",
        "tests.training.training_run",
        "tsrec.finetune.rl",
        "tsrec.finetune.stage",
    ]
)
