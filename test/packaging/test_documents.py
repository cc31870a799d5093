"""What the documents say about the tree and the command: rooms, files and options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lift3d_ros.cli import train
from lift3d_ros.cli.main import build_parser
from lift3d_ros.cli.train_options import check_options

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "lift3d_ros"
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
DOCUMENTS = [
    path for pattern in ("*.md", "docs/*.md", "models/*.md", "demo/*/*.md") for path in REPOSITORY.glob(pattern)
]


def rooms_of_the_picture() -> set[str]:
    picture = ARCHITECTURE.split("```")[1]
    return {word for line in picture.splitlines() for word in re.split(r"\s{4,}", line.strip())[0].split()}


def test_the_picture_of_the_rooms_shows_all_of_them() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists() and path.name != "msg"}
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert rooms_of_the_picture() == folders | files


def test_files_that_the_architecture_names_without_their_ending_exist() -> None:
    named = re.findall(r"(?<![\w./])((?:[a-z]\w*/)+\w+)(?![\w./])", ARCHITECTURE)
    assert len(named) > 10
    places = [(PACKAGE, ""), (PACKAGE, ".py"), (REPOSITORY, ""), (REPOSITORY, ".py")]
    missing = [name for name in named if not any((base / f"{name}{ending}").exists() for base, ending in places)]
    assert missing == []


def test_names_that_the_architecture_seeks_in_a_file_are_there() -> None:
    sought = re.findall(r"((?:`\w+`(?:, )?)+) (?:of|in) `([\w/]+\.py)`", ARCHITECTURE)
    assert len(sought) > 3
    for names, file in sought:
        text = (PACKAGE / file).read_text(encoding="utf-8")
        assert [name for name in re.findall(r"\w+", names) if not re.search(rf"\b{name}\b", text)] == [], file


def anchors(document: Path) -> set[str]:
    """Return what can stand behind '#' in a link to a document: its headings, as GitHub writes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    links = re.findall(r"\]\((?!\w+:)([^)\s#]*)#?([^)\s]*)\)", document.read_text(encoding="utf-8"))
    for name, heading in links:
        target = document.parent / name if name else document
        assert target.exists(), name
        assert not heading or heading in anchors(target), f"{name}#{heading}"


def test_launch_arguments_of_the_documents_are_declared() -> None:
    lines = [line for path in DOCUMENTS for line in path.read_text(encoding="utf-8").splitlines()]
    calls = [match.groups() for line in lines for match in re.finditer(r"([a-z_]+)\.launch\.py((?: +\w+:=\S+)+)", line)]
    assert len(calls) > 5
    shared = (PACKAGE / "nodes/launch_description.py").read_text(encoding="utf-8")
    for name, arguments in calls:
        describing = PACKAGE / "nodes" / ("launch_perception.py" if name == "perception" else "launch_node.py")
        own = (REPOSITORY / "launch" / f"{name}.launch.py").read_text(encoding="utf-8")
        source = shared + describing.read_text(encoding="utf-8") + own
        assert [one for one in re.findall(r"(\w+):=", arguments) if f'"{one}": ' not in source] == [], name


def documented_commands() -> list[tuple[str, str]]:
    """Return the lines that call the command, each with the name of its document."""
    call = re.compile(r"^ *(?:\.venv/bin/)?(lift3d \S.*)$", re.MULTILINE)
    lines = [(path.name, line) for path in DOCUMENTS for line in call.findall(path.read_text(encoding="utf-8"))]
    return [(name, re.split(r" #| {2,}", line)[0]) for name, line in lines]  # what follows explains


def test_commands_of_the_documents_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    commands = documented_commands()
    assert len(commands) > 20
    misunderstood = []
    for document, line in commands:
        try:
            build_parser().parse_args(shlex.split(line)[1:])
        except SystemExit:
            misunderstood.append(f"{document}: {line}: {capsys.readouterr().err.splitlines()[-1]}")
    assert misunderstood == []


def test_trainings_of_the_documents_begin_before_they_go_on_and_have_no_option_without_effect() -> None:
    help_lines = re.findall(r"^  (lift3d .*)$", train.DESCRIPTION, re.MULTILINE)
    commands = documented_commands() + [("train --help", re.split(r" {2,}", line)[0]) for line in help_lines]
    begun, gone_on = set(), 0
    for document, line in commands:
        if not line.startswith("lift3d train "):
            continue
        args = build_parser().parse_args(shlex.split(line)[1:])
        check_options(args)
        run = (document, args.method, args.config, args.out)
        if args.resume:
            gone_on += 1
            assert run in begun, f"{document}: {line}"
        begun.add(run)
    assert gone_on >= 4
