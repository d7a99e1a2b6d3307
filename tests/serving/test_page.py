"""The explorer's page in a real browser: every part, by mouse and keyboard, against a real server. Slow; needs the
extra `browser` and Chromium.

pytest tests/serving/test_page.py -m slow       with axe-core: TSREC_AXE=FOLDER/axe.min.js
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.keywords import conftest as teacher
from tests.serving.conftest import FEWER
from tests.serving.live_app import at_an_address
from tsrec import pipeline
from tsrec.config import Config, with_overrides
from tsrec.store import ArtifactStore, FlowRun, record_run
from tsrec.store.champions import promote

playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
AXE = os.environ.get("TSREC_AXE")
server, allowed = teacher.server, teacher.allowed  # fixtures: who describes tokens
PATIENCE_S = 60
VIEWS = ("#try-it?h=i1&h=i7&h=nosuch&with=popular&deny=i13", "#tokens", "#tokens?path=a_0", "#new-item", "#model")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def url(store: Path) -> Iterator[str]:
    # No list is cut for time: a busy machine would change what is compared here.
    with at_an_address(store, deadline_ms=60_000) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def _page(browser: Any, **more: Any) -> Iterator[Any]:
    """A new visitor's page; an error of its scripts is one of the test."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **more})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield page
        assert not errors
    finally:
        context.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    with _page(browser) as page:
        yield page


def _titles(page: Any, of: str = "#list") -> list[str]:
    return [text.strip() for text in page.locator(f"{of} > li button.title").all_inner_texts()]


def _wait(what: Callable[[], Any]) -> Any:
    """What is true in the end. (The page's policy forbids what `wait_for_function` does.)"""
    end = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def _settled(page: Any) -> None:
    """Everything that was asked for is shown."""
    page.locator("#dataset", has_text="shop").wait_for()
    busy = page.locator("section.view:not([hidden]) [aria-busy=true]")
    _wait(lambda: busy.count() == 0)


def _go(page: Any, url: str, to: str = "") -> None:
    page.goto("about:blank")  # else only the fragment would change
    page.goto(url + to)
    _settled(page)


def _changed(page: Any, act: Callable[[], None]) -> list[str]:
    """The list after something was done that changes it."""
    before = _titles(page)
    act()
    _wait(lambda: _titles(page) != before)
    _settled(page)
    return _titles(page)


def test_items_are_found_by_words_and_the_list_follows(page: Any, url: str) -> None:
    _go(page, url)
    field = page.get_by_role("combobox", name="Add an item to the history")
    field.press_sequentially("glue mod")
    found = page.get_by_role("listbox", name="Add an item to the history").get_by_role("option")
    _wait(lambda: found.count() and all("glue stick model" in text for text in found.all_inner_texts()))

    def choose() -> None:
        field.press("ArrowDown")
        field.press("Enter")

    listed = _changed(page, choose)
    assert len(listed) == 10 and field.input_value() == ""
    (chosen,) = _titles(page, "#history")
    assert "glue stick" in chosen and sum("glue" in title for title in listed) > 2
    assert re.search(r"#try-it\?h=i\d+$", page.url)
    reasons = page.locator("#list .reason").all_inner_texts()
    assert len(reasons) == 10 and all(reasons) and any(chosen in reason for reason in reasons)
    assert page.locator("#list .by .tag").count() >= 10
    assert page.locator("#answered a").inner_text()


def test_a_search_without_a_find_says_so(page: Any, url: str) -> None:
    _go(page, url)
    page.get_by_role("combobox", name="Add an item to the history").press_sequentially("zeppelin")
    page.get_by_text("No title has these words.").wait_for()


def test_order_is_changed_by_keyboard_and_undone_by_the_back_button(page: Any, url: str) -> None:
    _go(page, url, "#try-it?h=i1&h=i6&h=i2")
    first, second, third = _titles(page, "#history")
    page.get_by_role("button", name=f"Earlier: {third}").focus()
    page.keyboard.press("Enter")
    _wait(lambda: _titles(page, "#history") == [first, third, second])
    page.keyboard.press("Enter")  # the same button has kept the focus
    _wait(lambda: _titles(page, "#history") == [third, first, second])
    page.get_by_role("status").filter(has_text=f"{third} is now at place 1 of 3. The list begins with").wait_for()
    page.keyboard.press("Enter")  # it is the first already
    assert page.url.endswith("#try-it?h=i2&h=i1&h=i6")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Earlier: {third}"
    page.go_back()
    _wait(lambda: _titles(page, "#history") == [first, third, second])
    page.get_by_role("button", name=f"Remove: {third}").press("Enter")
    _wait(lambda: _titles(page, "#history") == [first, second])
    page.get_by_role("button", name="Clear").click()
    _wait(lambda: _titles(page, "#history") == [])
    page.get_by_text("Nothing yet").wait_for()


def test_order_is_changed_by_dragging(page: Any, url: str) -> None:
    _go(page, url, "#try-it?h=i1&h=i6&h=i2")
    first, second, third = _titles(page, "#history")
    grip = page.locator("#history .grip").first.bounding_box()
    below = page.locator("#history li").last.bounding_box()
    page.mouse.move(grip["x"] + 4, grip["y"] + 4)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(grip["x"] + 4, grip["y"] + (below["y"] + below["height"] - grip["y"]) * step / 10)
    page.mouse.up()
    _wait(lambda: _titles(page, "#history") == [second, third, first])
    assert page.url.endswith("#try-it?h=i6&h=i2&h=i1")


def test_two_lists_are_compared_and_what_differs_is_marked(page: Any, url: str) -> None:
    _go(page, url, "#try-it?h=i1")
    page.get_by_label("Compare with").select_option("popular")
    page.locator("#other-list li").first.wait_for()
    _settled(page)
    mine, theirs = _titles(page), _titles(page, "#other-list")
    for titles, others, of in ((mine, theirs, "#list"), (theirs, mine, "#other-list")):
        rows = page.locator(f"{of} > li")
        marks = [" ".join(rows.nth(row).locator(".mark").all_inner_texts()) for row in range(rows.count())]
        for row, (title, mark) in enumerate(zip(titles, marks, strict=True)):
            if title not in others:
                assert mark == "only here"
            else:
                apart = others.index(title) - row
                assert mark == (f"▲ {apart} higher" if apart > 0 else f"▼ {-apart} lower" if apart else "")
    assert f"{len(set(mine) & set(theirs))} of 10 in both lists" in page.locator("#other-heading").inner_text()
    page.get_by_label("Compare with").select_option("nobody")
    page.locator("#other-panel").wait_for(state="hidden")
    assert page.locator("#list .mark").count() == 0


def test_filters_are_constraints_that_keep_the_list_full(page: Any, url: str) -> None:
    _go(page, url, "#try-it?h=i1")
    unwanted = _titles(page)[0]
    listed = _changed(page, page.get_by_role("button", name=f"Not this: {unwanted}").click)
    assert unwanted not in listed and len(listed) == 10
    assert page.locator("#filter-count").inner_text() == "1 set"
    page.locator("#filters > summary").click()
    page.get_by_label("description", exact=True).select_option("copper wire")
    listed = _wait(lambda: all("copper wire" in title for title in _titles(page)) and _titles(page))
    assert 0 < len(listed) <= 8 and f"Only {len(listed)} items" in page.locator("#said").inner_text()
    page.get_by_role("button", name="Remove all filters").click()
    _wait(lambda: unwanted in _titles(page))
    field = page.get_by_role("combobox", name="Recommend only these items")
    for n_chosen, words in enumerate(("hammer model b", "hammer model c"), start=1):
        field.fill(words)
        field.press("Enter")  # before its answer can be there
        _wait(lambda n=n_chosen: page.evaluate("location.hash").count("allow=") == n)
        page.wait_for_timeout(400)
        assert page.locator(".found:not([hidden])").count() == 0, "nothing covers the page once an item is chosen"
    _wait(lambda: sorted(_titles(page)) == [f"steel hammer model {letter} heavy duty" for letter in "bc"])
    assert page.url.count("allow=") == 2


def test_repeats_are_the_visitors_choice(page: Any, url: str) -> None:
    _go(page, url, "#try-it?h=i1&h=i7&repeats=keep&k=50")
    had = _titles(page, "#history")
    assert set(had) <= set(_titles(page))
    page.locator("#filters > summary").click()
    page.get_by_label("Items of the history").select_option("leave-out")
    _wait(lambda: not set(had) & set(_titles(page)))


def test_a_link_shows_the_same_to_somebody_else(page: Any, browser: Any, url: str) -> None:
    _go(page, url, "#try-it?h=i1&h=nosuch&with=transitions&where=description%3Aglue+stick&deny=i7&repeats=keep&k=5")
    page.get_by_text("not in the catalogue").first.wait_for()
    assert "nosuch" in page.locator("#said").inner_text()
    with _page(browser) as other:
        _go(other, page.url)
        for of in ("#history", "#list", "#other-list"):
            assert _titles(other, of) == _titles(page, of) != []


def test_a_users_history_is_loaded(page: Any, url: str) -> None:
    _go(page, url)
    page.get_by_label("History of a user").fill("u1")
    listed = _changed(page, page.get_by_role("button", name="Load").click)
    assert page.url.endswith("#try-it?user=u1") and listed and len(_titles(page, "#history")) >= 4
    page.get_by_label("History of a user").fill("nobody")
    page.get_by_role("button", name="Load").click()
    page.get_by_text("No user of this id has any event.").wait_for()
    _changed(page, page.get_by_role("button", name="Clear").click)
    _changed(page, page.get_by_role("button", name="Show an example").click)
    assert re.search(r"#try-it\?user=u\d+$", page.url)


def test_a_member_that_had_no_time_is_named(browser: Any, store: Path) -> None:
    with at_an_address(store, deadline_ms=1) as url, _page(browser) as page:
        _go(page, url, "#try-it?h=i1&with=popular")
        page.locator("#said").get_by_text("Language model: no time before the server's deadline.").wait_for()
        assert len(_titles(page)) == 10
        assert "no time" not in page.locator("#other-said").inner_text()


def test_an_answer_that_comes_late_is_dropped(page: Any, url: str) -> None:
    _go(page, url, "#try-it?h=i1")
    expected = _titles(page)
    held: list[Any] = []

    def hold_the_first(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/recommend", hold_the_first)
    page.get_by_label("Recommended by").select_option("popular")
    _wait(lambda: (page.wait_for_timeout(20), held)[1])
    assert _titles(page) == expected  # the old list stays
    page.get_by_label("Recommended by").select_option("transitions")
    _wait(lambda: page.locator("#list-heading").inner_text() == "Often right after")
    listed = _titles(page)
    held[0].continue_()
    page.wait_for_timeout(500)
    assert _titles(page) == listed and page.locator("#list-heading").inner_text() == "Often right after"


def test_what_a_catalogue_holds_is_never_read_as_html(page: Any, url: str) -> None:
    """Titles are cleaned when they are read; the page relies on nothing of that."""
    hostile = "<img src=x onerror=alert(1)>"

    def with_hostile_titles(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=re.sub('"title":"[^"]*"', f'"title":"{hostile}"', answer.text()))

    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.route(re.compile("/(recommend|items|tokens|new-item)"), with_hostile_titles)
    for view in ("#try-it?h=i0&h=%3Cb%3Egone", "#tokens?path=a_0", "#new-item?title=glue"):
        _go(page, url, view)
        page.get_by_text(hostile).first.wait_for()
        assert page.locator("main").evaluate("main => main.querySelectorAll('img, script').length") == 0
    page.get_by_role("button", name=hostile).first.click()
    page.get_by_role("dialog").get_by_role("heading", name=hostile).wait_for()
    assert page.locator("dialog img").count() == 0
    page.unroute_all(behavior="ignoreErrors")  # some may be under way


def test_an_item_tells_its_tokens_and_its_like(page: Any, url: str) -> None:
    _go(page, url, "#try-it?h=i1")
    title = _titles(page)[0]
    page.locator("#list").get_by_role("button", name=title, exact=True).press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("heading", name=title).wait_for()
    for heading in ("Alike by their texts", "Had by the same users", "Alike by their tokens"):
        dialog.get_by_role("heading", name=heading).wait_for()
    assert dialog.locator(".trail li").count() == 3
    dialog.get_by_role("button", name="Add to the history").click()
    dialog.wait_for(state="hidden")
    _wait(lambda: title in _titles(page, "#history"))


def test_the_tree_of_tokens_is_walked_down(page: Any, url: str) -> None:
    _go(page, url)
    page.get_by_role("link", name="What tokens mean").click()
    page.locator("#token-tree .card").first.wait_for()
    page.get_by_role("link", name="Level 2").click()
    page.get_by_role("link", name="<b_").first.wait_for()
    page.get_by_role("link", name="Level 1").click()
    page.get_by_role("link", name="<a_").first.click()
    heading = page.locator("#token-tree h2").first
    _wait(lambda: heading.inner_text().startswith("<a_"))
    n_items = int(re.search(r" (\d+) item", heading.inner_text())[1])  # type: ignore[index]
    below = [int(text.split()[0]) for text in page.locator("#token-tree .card .number").all_inner_texts()]
    assert sum(below) == n_items > 0 and page.locator("#token-tree .spread li").count() == min(10, n_items)
    page.locator("#token-tree .card").first.click()
    _wait(lambda: heading.inner_text().startswith("<b_"))
    assert re.search(r"#tokens\?path=a_\d+\.b_\d+$", page.url)
    page.go_back()
    _wait(lambda: heading.inner_text().startswith("<a_"))


def test_tokens_are_found_by_items_and_words(page: Any, url: str) -> None:
    _go(page, url, "#tokens")
    page.get_by_label("Find a word, an item or a token").fill("copper wire model")
    found = page.locator("#token-found")
    found.get_by_text("Items with these words").wait_for()
    found.locator(".trail a").nth(2).click()
    _wait(lambda: page.locator(".crumbs li").count() == 4)
    page.get_by_label("Find a word, an item or a token").fill("copper")
    found.get_by_text("Tokens with these words").wait_for()
    page.get_by_label("Find a word, an item or a token").fill("zeppelin")
    found.get_by_text("No token and no item has these words.").wait_for()


def test_tokens_are_in_the_words_that_the_language_model_was_taught(
    page: Any, config: Config, copied: Path, models: tuple[str, str], server: teacher.ChatServer, allowed: None
) -> None:
    """Of a model that was aligned with a teacher's descriptions, and none of them for another model."""
    server.name_field = "name"
    server.always = lambda name: teacher.Reply(
        content=json.dumps({"name": name, "description": f"Things like {name}."})
    )
    asked = ["semantics.teacher=openai", f"keywords.openai.base_url={server.url}", "keywords.openai.model=tiny"]
    aligned = pipeline.run(with_overrides(config, [*asked, FEWER, f"store={copied}"]))["fuse"]
    assert server.requests, "the teacher was asked"
    for model, n_shown in ((aligned.fingerprint, 1), (models[0], 0)):
        with at_an_address(copied, model=model) as url:
            _go(page, url, "#tokens?path=a_0")
            page.locator("#token-tree article").wait_for()
            assert page.get_by_text("In words: Things like <a_0>.").count() == n_shown


def test_a_token_that_is_not_there_is_said(page: Any, url: str) -> None:
    _go(page, url, "#tokens?path=a_99")
    page.get_by_text("No SID of this model can have the token <a_99>.").wait_for()


def test_a_new_item_is_placed(page: Any, url: str) -> None:
    _go(page, url, "#new-item")
    page.get_by_role("button", name="See where it stands").click()
    page.get_by_text("Give it a title or a text first.").wait_for()
    page.get_by_label("Title").fill("glue stick model z")
    page.get_by_label("Title").press("Enter")
    page.get_by_role("heading", name="Its nearest items").wait_for()
    nearest = page.locator(".ranked .title").all_inner_texts()
    assert len(nearest) == 10 and "glue stick" in nearest[0]
    assert page.locator("#new-item-place .trail li").count() == 3
    page.get_by_role("heading", name="Who would see it first").wait_for()
    page.locator("#new-item-place").get_by_role("link", name="User u").first.click()
    page.locator("#history li").first.wait_for()


def test_the_model_shows_its_figures_and_its_moves(page: Any, url: str, models: tuple[str, str]) -> None:
    _go(page, url)
    page.get_by_role("link", name="The model").click()
    page.get_by_role("heading", name="How good its lists are").wait_for()
    shown = page.locator("#model-figures")
    assert models[0] in shown.inner_text() and "answers now" in shown.inner_text()
    table = shown.locator("section").nth(0).locator("tbody tr")
    assert table.count() >= 7 and table.first.inner_text().startswith("All together")
    assert table.first.get_by_role("img").get_attribute("aria-label").startswith("interval from")
    worth = shown.locator("section").nth(1).locator("tbody tr")
    assert worth.count() >= 6 and re.search("helps|harms|no sure difference|too few", worth.first.inner_text())
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Report of its run").click()
    popup.value.get_by_role("heading", level=1, name="shop").wait_for()


def test_the_model_links_to_the_flow_run_that_made_it(browser: Any, copied: Path, models: tuple[str, str]) -> None:
    store, run_url = ArtifactStore(copied), "http://127.0.0.1:4200/runs/flow-run/f1"
    record_run(store, "shop", [store.open(models[0]).manifest.key], FlowRun(id="f1", url=run_url))
    with at_an_address(copied) as url, _page(browser) as page:
        _go(page, url, "#model")
        assert page.get_by_role("link", name="Prefect run").get_attribute("href") == run_url


def test_a_new_champion_is_noticed(browser: Any, copied: Path, models: tuple[str, str]) -> None:
    with at_an_address(copied) as url, _page(browser) as page:
        _go(page, url, "#try-it?h=i1")
        offered = page.locator("#method option[value=sasrec]")
        assert offered.count() == 1
        promote(ArtifactStore(copied), "shop", models[1], "for a test", {})
        clear, example = page.get_by_role("button", name="Clear"), page.get_by_role("button", name="Show an example")

        def answers_now() -> bool:
            (clear if clear.is_enabled() else example).click()
            page.wait_for_timeout(200)
            return bool(page.locator("#answered").get_by_text(models[1]).count())

        _wait(answers_now)
        _wait(lambda: offered.count() == 0)
        page.get_by_role("link", name="The model").click()
        page.get_by_text("for a test").wait_for()


def test_while_the_model_is_being_opened_the_page_says_so_and_waits(browser: Any, store: Path, tmp_path: Path) -> None:
    with at_an_address(tmp_path) as url, _page(browser) as page:
        page.goto(f"{url}#try-it?h=i1")
        page.get_by_text("Not ready yet: ").wait_for()
        assert not _titles(page)
        shutil.copytree(store, tmp_path, dirs_exist_ok=True)
        page.locator("#list li").first.wait_for()
        _settled(page)
        assert len(_titles(page)) == 10 and not page.get_by_text("Not ready yet").count()


def test_a_key_is_asked_for_once(browser: Any, store: Path) -> None:
    with at_an_address(store, keys=["right"]) as url, _page(browser) as page:
        page.goto(f"{url}#try-it?h=i1")
        page.get_by_label("Key", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("This key is not known.").wait_for()
        page.get_by_label("Key", exact=True).fill("right")
        page.keyboard.press("Enter")
        page.locator("#list li").first.wait_for()
        page.reload()
        page.locator("#list li").first.wait_for()
        page.get_by_role("link", name="The model").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Report of its run").click()
        assert download.value.path().read_text(encoding="utf-8").startswith("<!doctype html>")
        assert not page.get_by_role("dialog").is_visible()


@pytest.mark.parametrize("width", [360, 400, 1000])
def test_nothing_is_wider_than_the_window(browser: Any, url: str, width: int) -> None:
    with _page(browser, viewport={"width": width, "height": 800}) as page:
        for view in VIEWS:
            _go(page, url, view)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, view


@pytest.mark.skipif(AXE is None, reason="TSREC_AXE names no axe.min.js (npm pack axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_axe_finds_nothing_serious(browser: Any, url: str, store: Path, scheme: str, width: int) -> None:
    assert AXE
    script = Path(AXE).read_text(encoding="utf-8")
    looks = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}, "bypass_csp": True}

    def check(page: Any, what: str) -> None:
        page.evaluate(script)
        found = page.evaluate("async () => (await axe.run()).violations")
        told = [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found]
        print(scheme, width, what, told)
        assert not [each for each in told if each[1] in ("serious", "critical")], what

    with _page(browser, **looks) as page:
        for view in VIEWS:
            _go(page, url, view)
            if page.locator("#filters > summary").is_visible():
                page.locator("#filters > summary").click()
            check(page, view)
        _go(page, url, "#try-it?h=i1")
        page.locator("#list button.title").first.click()
        page.get_by_role("dialog").get_by_role("heading", name="Alike by their tokens").wait_for()
        check(page, "an item's dialog")
    with at_an_address(store, keys=["right"]) as guarded, _page(browser, **looks) as page:
        page.goto(guarded)
        page.get_by_role("dialog").get_by_label("Key", exact=True).wait_for()
        check(page, "the dialog that asks for a key")
