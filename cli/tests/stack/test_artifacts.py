"""Artifacts: what does not match its pin is never used."""

import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from grace_cli.errors import CliError
from grace_cli.stack.artifacts import Artifact, ArtifactCache, kafka_artifacts, postgres_artifact
from grace_cli.stack.progress import Silent

CONTENT = b"a jar"


def pinned(content: bytes, name: str = "thing") -> Artifact:
    return Artifact("org.example", name, "1.0", len(content), sha256(content).hexdigest())


class Registry:
    """Gives out prepared contents, one after the other, and the last one for ever."""

    def __init__(self, folder: Path, *contents: bytes) -> None:
        self._folder = folder
        self._contents = list(contents)
        self.asked = 0

    def fetch(self, artifact: Artifact, advance: Callable[[int], None]) -> Path:
        self.asked += 1
        content = self._contents.pop(0) if len(self._contents) > 1 else self._contents[0]
        path = self._folder / f"download-{self.asked}"
        path.write_bytes(content)
        advance(len(content))
        return path


def test_an_artifact_is_fetched_once(tmp_path: Path) -> None:
    registry = Registry(tmp_path, CONTENT)
    cache = ArtifactCache(tmp_path / "cache", Silent(), registry.fetch)
    for _ in range(2):
        [path] = cache.jars("Thing", [pinned(CONTENT)])
        assert path.read_bytes() == CONTENT
    assert registry.asked == 1


def test_a_changed_artifact_is_refused_and_both_digests_are_named(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache", Silent(), Registry(tmp_path, b"another jar").fetch)
    with pytest.raises(CliError) as raised:
        cache.jars("Thing", [pinned(CONTENT)])
    assert sha256(b"another jar").hexdigest() in raised.value.message
    assert sha256(CONTENT).hexdigest() in raised.value.message
    assert not list((tmp_path / "cache").rglob("*.jar"))


def test_a_torn_download_is_fetched_again(tmp_path: Path) -> None:
    registry = Registry(tmp_path, CONTENT[:3], CONTENT)
    cache = ArtifactCache(tmp_path / "cache", Silent(), registry.fetch)
    [path] = cache.jars("Thing", [pinned(CONTENT)])
    assert path.read_bytes() == CONTENT


def test_a_file_that_changed_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    registry = Registry(tmp_path, CONTENT)
    cache = ArtifactCache(tmp_path / "cache", Silent(), registry.fetch)
    [path] = cache.jars("Thing", [pinned(CONTENT)])
    path.write_bytes(b"A JAR")
    [path] = cache.jars("Thing", [pinned(CONTENT)])
    assert path.read_bytes() == CONTENT


def test_the_archive_inside_a_jar_is_unpacked_once(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tree:
        entry = tarfile.TarInfo("bin/postgres")
        entry.size, entry.mode = 4, 0o755
        tree.addfile(entry, io.BytesIO(b"run!"))
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("build.txz", lzma.compress(packed.getvalue()))
    registry = Registry(tmp_path, jar.getvalue())
    cache = ArtifactCache(tmp_path / "cache", Silent(), registry.fetch)
    for _ in range(2):
        folder = cache.unpacked("Thing", pinned(jar.getvalue()), tmp_path / "programs")
        assert (folder / "bin" / "postgres").read_bytes() == b"run!"
        assert (folder / "bin" / "postgres").stat().st_mode & 0o111
    assert registry.asked == 1
    assert [path.name for path in (tmp_path / "programs").iterdir()] == ["thing-1.0"]


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = ArtifactCache(tmp_path / "file" / "cache", Silent(), Registry(tmp_path, CONTENT).fetch)
    with pytest.raises(CliError, match="cannot be made") as raised:
        cache.jars("Thing", [pinned(CONTENT)])
    assert "GRACE_CACHE" in raised.value.advice


def test_every_pin_has_a_digest_and_both_platforms_have_a_postgres() -> None:
    artifacts = [*kafka_artifacts(), postgres_artifact("Linux", "x86_64"), postgres_artifact("Linux", "aarch64")]
    assert len({artifact.filename for artifact in artifacts}) == len(artifacts)
    assert all(len(artifact.sha256) == 64 and artifact.size > 0 for artifact in artifacts)


def test_a_platform_without_a_build_is_told_what_to_do_instead() -> None:
    with pytest.raises(CliError, match="sunos-sparc") as raised:
        postgres_artifact("SunOS", "sparc")
    assert "GRACE_DATABASE_URL" in raised.value.advice
