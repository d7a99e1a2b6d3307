"""Bars can be watched, by step, from where a stage is run."""

from tsrec.machine.progress import observed_by, progress


def test_a_bar_tells_its_observer_how_far_it_is() -> None:
    seen: list[tuple[str, float, float | None]] = []
    with observed_by(lambda *what: seen.append(what)):
        with progress(desc="embedding", total=4, unit="text") as bar:
            bar.update(4)
        list(progress(["a"], desc="reading", unit="batch"))
    assert seen[0] == ("embedding", 0, 4)
    assert ("embedding", 4, 4) in seen
    assert seen[-1] == ("reading", 1, 1)


def test_nobody_is_told_afterwards() -> None:
    seen: list[str] = []
    with observed_by(lambda step, done, total: seen.append(step)):
        pass
    list(progress(range(2), desc="later"))
    assert seen == []
