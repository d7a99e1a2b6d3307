"""What a run may do is the operator's to say: addresses, keys, folders."""

import contextlib
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec import pipeline
from tsrec.config import OpenAIConfig, load_config
from tsrec.errors import ConfigError, TeacherError
from tsrec.machine.addresses import address_problem
from tsrec.permissions import check_readable, check_url, check_writable, teacher_endpoint

SECRET = "tok-0123456789"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEACHER_URLS", "TEACHER_KEY_ENV", "READ_ROOTS", "READ_URLS", "WRITE_ROOTS"):
        monkeypatch.delenv(f"TSREC_{name}", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("DATABASE_PASSWORD", SECRET)


def test_the_key_goes_to_openai_alone_unless_the_operator_says_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert teacher_endpoint(None).key == "sk-1"
    assert teacher_endpoint("https://API.openai.com:443/v1/").key == "sk-1"
    for url in ("https://llm.example.com/v1", "http://api.openai.com/v1", "https://api.openai.com:8443/v1"):
        with pytest.raises(ConfigError, match="TSREC_TEACHER_URLS"):
            teacher_endpoint(url)
    monkeypatch.setenv("TSREC_TEACHER_URLS", "http://gpu1:8000/v1/, https://llm.example.com")
    monkeypatch.setenv("TSREC_TEACHER_KEY_ENV", "LLM_KEY")
    monkeypatch.setenv("LLM_KEY", "k2")
    assert teacher_endpoint("http://gpu1:8000/v1").key == teacher_endpoint("https://llm.example.com/a/v1").key == "k2"
    for url in (None, "http://gpu1:8000/v1evil", "http://gpu1:8000", "https://llm.example.com.evil.org/v1"):
        with pytest.raises(ConfigError, match="TSREC_TEACHER_URLS"):
            teacher_endpoint(url)


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "http://127.0.0.1/v1", "http://[::1]:11434/v1"])
def test_this_machine_needs_no_key_and_gets_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert teacher_endpoint(url).key == ""
    monkeypatch.setenv("TSREC_TEACHER_URLS", url)
    assert teacher_endpoint(url).key == "sk-1"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert teacher_endpoint(url).key == ""


def test_a_missing_or_spoilt_key_is_said_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\u2026")
    with pytest.raises(TeacherError, match="OPENAI_API_KEY holds characters") as error:
        teacher_endpoint(None)
    assert SECRET not in str(error.value)
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    with pytest.raises(TeacherError, match="OPENAI_API_KEY holds no key"):
        teacher_endpoint(None)


def test_the_key_is_in_no_repr() -> None:
    assert "sk-1" not in repr(teacher_endpoint(None))


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@llm.example.com/v1",
        f"https://{SECRET}@llm.example.com/v1",
        f"https://llm.example.com/v1?api_key={SECRET}",
        f"https://llm.example.com/v1#{SECRET}",
        f"https://api.openai.com\\@{SECRET}.example.com/v1",
        f"ftp://{SECRET}/v1",
        f"https://llm.example.com/v1/{SECRET} x",
        f"https://llm.example.com/{SECRET}/../v1",
        f"https://llm.example.com:99999/{SECRET}",
        f"https://llm.example.com/%2e%2e/{SECRET}",
        f"{SECRET}.example.com",
    ],
)
def test_addresses_with_secrets_or_tricks_are_refused_without_repeating_them(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"keywords.openai.base_url: the address ") as error:
        load_config(None, [f"keywords.openai.base_url='{url}'"])
    assert SECRET not in str(error.value)
    monkeypatch.setenv("TSREC_TEACHER_URLS", url)
    with pytest.raises(ConfigError, match="TSREC_TEACHER_URLS: an address ") as listed:
        teacher_endpoint(None)
    assert SECRET not in str(listed.value)


@given(st.text(alphabet="htps:/@?#.a1[]%\\ ", max_size=30))
def test_no_address_is_a_traceback(text: str) -> None:
    if address_problem(f"http://{text}") is None:
        assert OpenAIConfig(base_url=f"http://{text}").base_url
        with contextlib.suppress(ConfigError):
            assert teacher_endpoint(f"http://{text}").key == ""  # an address of this machine, such as [::1]


@pytest.mark.parametrize("host", ["[1]", "[a]"])
def test_brackets_around_no_address_are_refused(host: str) -> None:
    assert address_problem(f"http://{host}") == "has a port above 65535, or a host in brackets that is no IPv6 address"


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data", "store", "outside"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TSREC_READ_ROOTS", f"{tmp_path / 'data'},{tmp_path / 'models'}")
    monkeypatch.setenv("TSREC_WRITE_ROOTS", f"{tmp_path / 'store'}/, s3://bucket/tsrec")
    return tmp_path


def planned(folder: Path, shop: Path, *settings: str) -> None:
    """Plan a run on the tiny shop, put into `folder`, with a permitted store."""
    for file in shop.iterdir() if not folder.is_symlink() else ():
        (folder / file.name).write_bytes(file.read_bytes())
    store = f"store={folder.parent / 'store' / 'mine'}"
    pipeline.plan(load_config(None, ["ingest.source=tables", f"ingest.path={folder}", store, *settings]))


def test_inside_the_roots_everything_goes(roots: Path, shop: Path) -> None:
    planned(roots / "data", shop)
    planned(roots / "data", shop, "store=s3://bucket/tsrec")
    planned(roots / "data", shop, "store=s3://bucket/tsrec/a")
    pipeline.plan(load_config(None, [f"store={roots / 'store'}"]))  # MovieLens comes from its wheel


@pytest.mark.parametrize(
    "store",
    [
        "{roots}/outside",
        "{roots}/store/../outside",
        "{roots}/store-b",
        "s3://bucket/tsrec2",
        "s3://bucket/tsrec/../other",
        "s3://other/tsrec",
        "file://{roots}/outside",
        "~nobody/x",
        "artifacts",
    ],
)
def test_a_store_outside_is_refused(roots: Path, shop: Path, store: str) -> None:
    with pytest.raises(ConfigError, match=r"^store: .* outside .*TSREC_WRITE_ROOTS"):
        planned(roots / "data", shop, f"store={store.format(roots=roots)}")


def test_reading_outside_is_refused(roots: Path, shop: Path) -> None:
    with pytest.raises(ConfigError, match=r"^ingest.path: .* outside .*TSREC_READ_ROOTS"):
        planned(roots / "outside", shop)
    with pytest.raises(ConfigError, match=r"^ingest.path: "):
        planned(roots / "data", shop, f"ingest.path={roots}/data/../outside")
    for field in ("sids.import_file", "sa_init.import_file", "backbone.model", "embed.encoder"):
        with pytest.raises(ConfigError, match=rf"^{field}: .* outside "):
            planned(roots / "data", shop, f"{field}={roots}/outside")


def test_a_file_named_within_the_folder_does_not_lead_out(roots: Path, shop: Path) -> None:
    secret = roots / "outside" / "items.csv"
    secret.write_text("item_id,title\ni1,secret\n")
    for file in ("../outside/items.csv", str(secret)):
        with pytest.raises(ConfigError, match=r"^ingest, .* outside .*TSREC_READ_ROOTS") as error:
            planned(roots / "data", shop, f"ingest.items_file={file}")
        assert "secret" not in str(error.value)


def test_links_do_not_lead_out(roots: Path, shop: Path) -> None:
    (roots / "linked").symlink_to(roots / "outside")
    (roots / "data" / "away").symlink_to(roots / "outside")
    (roots / "store" / "mine").symlink_to(roots / "outside")
    with pytest.raises(ConfigError, match=r"^store: "):
        planned(roots / "data", shop)
    (roots / "store" / "mine").unlink()
    with pytest.raises(ConfigError, match=r"^ingest.path: "):
        planned(roots / "data" / "away", shop, f"store={roots / 'store' / 'mine'}")
    items = next((roots / "data").glob("items*"))
    target = roots / "outside" / items.name
    items.rename(target)
    items.symlink_to(target)
    with pytest.raises(ConfigError, match=r"^ingest, .*outside .*TSREC_READ_ROOTS"):
        pipeline.plan(
            load_config(
                None, ["ingest.source=tables", f"ingest.path={roots / 'data'}", f"store={roots / 'store' / 'mine'}"]
            )
        )


def test_a_folder_whose_name_looks_like_a_scheme_is_a_folder(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(roots)
    monkeypatch.setenv("TSREC_READ_ROOTS", f"{roots}/data,s3://bucket")
    monkeypatch.setenv("TSREC_WRITE_ROOTS", f"{roots}/store,s3://bucket")
    (roots / "outside" / "f").mkdir()
    for link in ("x:", "s3:", "store/x:"):
        (roots / link).symlink_to(roots / "outside")
    for path in (f"{roots}/x://f", f"{roots}/s3://f", "s3://bucket/f", "s3://bucket", f"{roots}/store/x://f"):
        with pytest.raises(ConfigError, match="TSREC_READ_ROOTS"):
            check_readable("ingest.path", path)
    for path in ("x://f", f"{roots}/x://f", f"{roots}/store/x://f", "./s3://f", "s3:/bucket"):
        with pytest.raises(ConfigError, match="TSREC_WRITE_ROOTS"):
            check_writable("store", path)
    check_writable("store", "S3://bucket/a")


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        ("github://acme:data@main", "github://acme:data@main/x.csv", "github://evil:data@main/x.csv"),
        ("github://acme:data@main", "github://acme:data@main", "github://acme:data@Main/x.csv"),
        ("abfs://logs@acme.dfs.example", "abfs://logs@acme.dfs.example/x", "abfs://other@acme.dfs.example/x"),
        ("sftp://reader@host:22/data", "sftp://reader@host:22/data/x", "sftp://reader@host:2222/data/x"),
        ("sftp://host/data", "sftp://host/data/x", "sftp://root@host/data/x"),
        ("s3://bucket/logs/", "S3://bucket/logs/x", "s3://bucket/logs2/x"),
        ("s3://bucket", "s3://bucket/a?b#c", "s3://bucket?/x"),
        ("s3://bucket", "s3://bucket/x", "s3://bucket#/x"),
        ("s3://bucket", "s3://bucket/a..b/x", "s3://bucket/a/../x"),
        ("s3://bucket", "s3://bucket/x", "s3://bucket/a/%2e%2E/x"),
        ("s3://bucket", "s3://bucket/x", "s3://bucket/a\\..\\x"),
        ("memory://a", "memory://a/x", "memory://a/x::file:///etc/passwd"),
        ("https://host/a", "https://HOST:443/a/x", "https://user@host/a/x"),
        ("https://host/a", "HTTPS://host/a", "https://host:8443/a/x"),
        ("https://host:x/a", "https://host:x/a", "https://host/a"),
        ("data/x://f", "", "data/x://f/y"),
        ("bucket", "", "s3://bucket"),
    ],
)
def test_addresses_are_compared_whole(allowed: str, inside: str, outside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSREC_READ_URLS", f"memory://else, {allowed}")
    if inside:
        check_url("ingest.items_file", inside)
    with pytest.raises(ConfigError, match="TSREC_READ_URLS"):
        check_url("ingest.items_file", outside)


@given(st.text(alphabet="sm3:/@.%2eE\\?#ab-x", max_size=24))
def test_what_passes_begins_as_what_is_allowed_does_and_never_climbs(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSREC_READ_URLS", "sm://a@b/x")
        for url in (text, f"sm://{text}", f"sm://a@b/x{text}"):
            with contextlib.suppress(ConfigError):
                check_url("ingest.items_file", url)
                assert url == "sm://a@b/x" or url.startswith("sm://a@b/x/")
                assert ".." not in unquote(url).replace("\\", "/").split("/")


@pytest.mark.parametrize("scheme", ["file", "local", "FILE"])
def test_links_do_not_lead_out_by_a_url_of_this_machine_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    for folder in ("data", "outside"):
        (tmp_path / folder).mkdir()
    (tmp_path / "data" / "away").symlink_to(tmp_path / "outside")
    (tmp_path / "entry").symlink_to(tmp_path / "data")
    for allowed in ("data", "entry"):
        root = f"{scheme}://{tmp_path}/{allowed}"
        monkeypatch.setenv("TSREC_READ_URLS", root)
        monkeypatch.setenv("TSREC_WRITE_ROOTS", root)
        for path in (root, f"{root}/x", f"{root}/*.csv"):
            check_url("ingest.items_file", path)
            check_writable("store", path)
        for path in (f"{root}/away", f"{root}/away/*.csv"):
            with pytest.raises(ConfigError, match="TSREC_READ_URLS"):
                check_url("ingest.items_file", path)
            with pytest.raises(ConfigError, match="TSREC_WRITE_ROOTS"):
                check_writable("store", path)
