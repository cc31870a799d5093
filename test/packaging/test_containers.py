"""The container files keep the rules that matter: pinned, small, not root, and built from files that exist."""

from __future__ import annotations

import fnmatch
import re
import shlex
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKER = REPOSITORY / "docker"
FILES = sorted(DOCKER.glob("Dockerfile*"))
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")

Instruction = tuple[str, str]


def instructions(path: Path) -> list[Instruction]:
    """Return (word, rest) of each instruction, with continued lines joined and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), rest) for word, rest in found]


def of(path: Path, word: str) -> list[str]:
    return [rest for name, rest in instructions(path) if name == word]


def options_removed(text: str) -> list[str]:
    return [word for word in shlex.split(text) if not word.startswith("--")]


def is_ignored(relative: str) -> bool:
    """Whether .dockerignore keeps a path out; the last line that fits decides."""
    result = False
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        places = [relative, *(str(parent) for parent in Path(relative).parents)]
        if any(fnmatch.fnmatch(place, pattern) for place in places):
            result = not line.startswith("!")
    return result


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def dockerfile(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_both_machines_have_a_file() -> None:
    assert [path.name for path in FILES] == ["Dockerfile.jetson", "Dockerfile.x86"]


def test_bases_are_pinned_by_digest_and_stages_are_named(dockerfile: Path) -> None:
    stages: list[str] = []
    for line in of(dockerfile, "FROM"):
        image, word, name = line.split()
        assert word == "AS", line
        assert image in stages or DIGEST.search(image), f"{image} may change under its tag"
        assert "latest" not in image
        stages.append(name)
    assert len(stages) > 2


def test_the_finished_image_does_not_run_as_root_and_has_no_shell_form(dockerfile: Path) -> None:
    words = instructions(dockerfile)
    last_stage = words[max(number for number, (word, _) in enumerate(words) if word == "FROM") :]
    users = [rest for word, rest in last_stage if word == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    assert f" {users[-1]}" in "".join(rest for word, rest in last_stage if word == "RUN")
    forms = [rest for word, rest in last_stage if word in ("ENTRYPOINT", "CMD")]
    assert len(forms) == 2
    assert all(form.startswith("[") for form in forms), "a shell in between does not pass signals on"


def test_nothing_is_added_from_the_network_by_add_or_piped_into_a_shell(dockerfile: Path) -> None:
    assert of(dockerfile, "ADD") == []
    for run in of(dockerfile, "RUN"):
        assert not re.search(r"(curl|wget)[^|&]*\|\s*(ba|da)?sh", run)
        for command in run.split("&&"):
            if command.split()[0] == "curl":
                assert "--fail" in command


def test_what_is_downloaded_is_checked_before_it_is_used(dockerfile: Path) -> None:
    for run in of(dockerfile, "RUN"):
        if "curl " in run and "--output" in run:
            fetched, checked, used = run.index("--output"), run.index("gpg --show-keys"), run.index("--dearmor")
            assert fetched < checked < used
            assert re.search(r":[0-9A-F]{40}:", run), "the whole fingerprint, not a short one"


def test_lists_and_caches_of_packages_are_not_kept(dockerfile: Path) -> None:
    for run in of(dockerfile, "RUN"):
        if "apt-get install" in run:
            assert "apt-get update" in run.split("apt-get install")[0], "lists of another layer may be old"
            assert run.rstrip().endswith("rm -rf /var/lib/apt/lists/*")
            assert run.count("apt-get install") == run.count("--no-install-recommends") == run.count("install --yes")
        if "pip install" in run:
            assert run.count("pip install") == run.count("--no-cache-dir")
        assert "sudo" not in run.split()
        assert not re.search(r"\bapt (install|update)\b", run)


def test_pipes_fail_where_a_part_fails(dockerfile: Path) -> None:
    assert json_words(of(dockerfile, "SHELL")[0]) == ["/bin/bash", "-o", "pipefail", "-c"]


def json_words(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def test_sources_of_copies_exist_and_reach_the_build(dockerfile: Path) -> None:
    stages = {line.split()[2] for line in of(dockerfile, "FROM")}
    copied = set()
    for line in of(dockerfile, "COPY"):
        stage = re.search(r"--from=(\S+)", line)
        if stage:
            assert stage[1] in stages
            continue
        for source in options_removed(line)[:-1]:
            assert (REPOSITORY / source).exists(), source
            assert not is_ignored(source), f"{source} is kept out by .dockerignore"
            copied.add(source)
    installed = {"package.xml", "CMakeLists.txt", "lift3d_ros", "scripts"}
    cmake = (REPOSITORY / "CMakeLists.txt").read_text()
    installed |= set(re.search(r"install\(DIRECTORY (config[\w ]*) DESTINATION", cmake)[1].split())  # type: ignore[index]
    assert installed <= copied, "CMakeLists.txt installs it"


def test_the_context_holds_only_what_is_copied() -> None:
    assert is_ignored(".git")
    assert is_ignored("benchmarks/start.json")
    assert is_ignored("lift3d_ros/bench/__pycache__") is True
    assert not is_ignored("lift3d_ros/bench/feeding.py")
    assert not is_ignored("models/manifest.yaml")


def test_the_finished_image_holds_no_torch(dockerfile: Path) -> None:
    words = instructions(dockerfile)
    stage, names = "", {}
    for word, rest in words:
        if word == "FROM":
            stage = rest.split()[2]
            names[stage] = rest.split()[0]
        if word == "RUN" and "requirements-graphs" in rest:
            assert stage == "graphs"
    assert not [name for name in ("x86", "jetson") if "torch" in pins(DOCKER / f"requirements-{name}.txt")]
    assert names["runtime"] == "base"
    assert not [line for line in of(dockerfile, "COPY") if "--from=graphs" in line and "/graphs " not in line]


def pins(path: Path) -> dict[str, str]:
    """Return the pinned packages of a list; a line that pins nothing is an error."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    found = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines if line]
    assert all(found), path
    return {pin[1]: pin[2] for pin in found if pin}


def test_python_packages_are_pinned_and_agree_with_those_that_are_tested() -> None:
    tested = {**pins(REPOSITORY / "requirements" / "constraints.txt"), **pins(REPOSITORY / "requirements" / "venv.txt")}
    for name in ("requirements-x86.txt", "requirements-graphs.txt"):
        for package, version in pins(DOCKER / name).items():
            assert tested[package] == version, f"{name}: {package} is tested in {tested[package]}"
    # Ubuntu 22.04 has Python 3.10, for which some of the tested versions do not exist.
    jetson = pins(DOCKER / "requirements-jetson.txt")
    assert set(pins(DOCKER / "requirements-x86.txt")) <= set(jetson)
    assert jetson["numpy"] == tested["numpy"]
    assert jetson["rosbags"] == tested["rosbags"]


def test_the_entry_point_can_be_executed_and_hands_signals_on() -> None:
    path = DOCKER / "entrypoint.sh"
    assert path.stat().st_mode & 0o111
    assert path.read_text().rstrip().endswith('exec "$@"')


def test_the_documents_name_the_release_that_the_image_is_built_on() -> None:
    release = re.search(r"l4t-jetpack:r(\d+\.\d+)", (DOCKER / "Dockerfile.jetson").read_text())
    assert release is not None
    assert f"r{release[1]}" in (REPOSITORY / "docs" / "jetson.md").read_text()
