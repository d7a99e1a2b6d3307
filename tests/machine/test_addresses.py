"""What is a URL is one everywhere, and what is almost one is never taken for a folder."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tsrec.config import Ablation, BatchRequest, IngestConfig, load_config
from tsrec.errors import ConfigError
from tsrec.machine.addresses import is_url, location, open_filesystem, place_problem
from tsrec.store import ArtifactStore

SCHEMES = st.sampled_from(["s3", "gs", "abfs", "memory", "file", "https", "S3", "a+b-c.d", "github"])
RESTS = st.text(alphabet="ab./:@%?#[] \\~", max_size=12)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/x", True),
        ("S3://bucket/x", True),
        ("hdfs+x.y-1://host", True),
        ("/data/x://f", False),
        ("x://f", False),  # a folder called `x:`
        ("./s3://bucket", False),
        ("1s://x", False),
        ("s3:/bucket", False),
        ("", False),
    ],
)
def test_what_counts_as_a_url(text: str, url: bool) -> None:
    assert is_url(text) == url


@given(SCHEMES, RESTS)
def test_a_path_made_of_a_url_is_refused_and_never_a_folder(scheme: str, rest: str) -> None:
    mangled = str(Path(f"{scheme}://{rest}"))
    assume(".." not in rest)  # Path leaves `..` as it is
    assert not is_url(mangled) and place_problem(mangled)
    with pytest.raises(ConfigError, match=r"^store: "):
        ArtifactStore(Path(f"{scheme}://{rest}"))


@given(SCHEMES, RESTS)
def test_no_address_is_a_traceback(scheme: str, rest: str) -> None:
    url = f"{scheme}://{rest}"
    assert "/".join(["", *location(url)]).lower().startswith(f"/{scheme.lower()}/")
    if scheme in ("memory", "file", "gs", "github"):  # nothing is asked yet
        try:
            open_filesystem(url, "store")
        except ConfigError as error:
            assert str(error).startswith("store: ") and len(str(error).splitlines()) == 1


@pytest.mark.parametrize("text", ["s3:/bucket/x", "s3:", " s3://bucket/x", "memory:", "simplecache::s3://b", "S3:/b"])
@pytest.mark.parametrize("field", ["store", "ingest.path", "ingest.items_file", "sids.import_file", "backbone.model"])
def test_what_is_almost_a_url_is_refused_where_it_is_set(text: str, field: str) -> None:
    setting = f"{field}='{text}'"
    given = ["ingest.source=tables", setting] if field.startswith("ingest") else [setting]
    with pytest.raises(ConfigError, match=rf"^{field}: the value (is almost a URL|joins addresses)") as error:
        load_config(None, given)
    assert "bucket" not in str(error.value)  # it may hold a key


def test_a_profile_does_not_make_a_folder_beside_it_of_what_is_almost_a_url(tmp_path: Path) -> None:
    profile = tmp_path / "shop.yaml"
    for text in ("store: s3:/bucket/x", "ingest: {source: tables, path: s3:/bucket}", "embed: {encoder: 'https:/h'}"):
        profile.write_text(text)
        with pytest.raises(ConfigError, match="is almost a URL"):
            load_config(profile)


@pytest.mark.parametrize("field", ["ingest.path", "sids.import_file", "sa_init.import_file", "embed.encoder"])
def test_a_url_is_refused_where_only_this_machine_is_read(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{field}: a URL, but it names something on this machine; "):
        load_config(None, ["ingest.source=tables", f"{field}=s3://bucket/x"])


@pytest.mark.parametrize("out", ["s3://bucket/x", "s3:/bucket/x"])
def test_results_are_never_written_to_a_folder_called_s3(out: str) -> None:
    for section in (BatchRequest, Ablation):
        with pytest.raises(ValueError, match="URL"):
            section(out=out)
    for name in ("users", "allow", "deny"):
        with pytest.raises(ValueError, match="URL"):
            BatchRequest.model_validate({name: out})


@pytest.mark.parametrize("name", ["s3://bucket/shop.yaml", "https://host/shop.yaml"])
def test_a_profile_by_url_is_named_as_it_was_written(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^profile {name}: a URL, "):
        load_config(name)


@pytest.mark.parametrize("text", ["zip://a::s3://b", "zip://a\n::s3://b", "simplecache::s3:/b", " zip::s3://b"])
def test_joined_addresses_are_refused(text: str) -> None:
    assert "joins addresses" in str(place_problem(text))


def test_urls_stay_where_they_are_taken() -> None:
    assert load_config(None, ["store=s3://bucket/x"]).store == "s3://bucket/x"
    assert IngestConfig(source="tables", path="x:/f", items_file="s3://bucket/*.csv").path == "x:/f"
    assert IngestConfig(source="tables", path="log::2026", items_file="a::b.csv").items_file == "a::b.csv"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://b/x", "the package that reads gs:// is missing: .*gcsfs"),
        ("abfs://c@a/x", "the package that reads abfs:// is missing: .*adlfs"),
        ("sftp://host/x", "the package that reads sftp:// is missing: .*paramiko"),
        ("nowhere://x", "not an address that can be opened .*nowhere"),
        ("github://x", "not an address that can be opened "),
        ("s3://a\u2100b/x", "not an address that can be opened "),
        ("memory://a::file:///b", "joins addresses with `::`"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^store: {url}.*{message}") as error:
        ArtifactStore(url)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("field", ["store", "ingest.items_file"])
@pytest.mark.parametrize(
    "text", ["sftp://user:geheim@host/x", "s3://key:geheim@bucket/x", "FTP://:geheim@host/x", "s3://key:geh/eim@b/x"]
)
def test_a_password_in_an_address_is_refused_and_not_repeated(field: str, text: str) -> None:
    with pytest.raises(ConfigError, match="must not hold a password") as refused:
        load_config(None, [f"{field}={text}"])
    assert "geh" not in str(refused.value)
    with pytest.raises(ConfigError, match="must not hold a password") as refused:
        open_filesystem(text, field)
    assert "geh" not in str(refused.value)


@pytest.mark.parametrize("text", ["github://owner:project@main/x", "sftp://user@host:22/x", "s3://bucket/a:b@c"])
def test_what_only_looks_like_a_password_is_none(text: str) -> None:
    assert place_problem(text) is None
