"""`lift3d doctor --jetson` judges the files of a Jetson, made here below a fake root, and works elsewhere too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from jetson_root import JetsonRoot

from lift3d_ros.bench.jetson_facts import PowerMode, fastest_power_mode, read_power_mode
from lift3d_ros.bench.model_run import Start
from lift3d_ros.cli.main import main
from lift3d_ros.doctor import jetson
from lift3d_ros.doctor.jetson import check_libraries, check_model_memory, check_system
from lift3d_ros.doctor.report import Check, Report, Section
from lift3d_ros.errors import EngineError


@pytest.fixture
def root(tmp_path: Path) -> JetsonRoot:
    return JetsonRoot(tmp_path)


def named(section: Section, name: str) -> Check:
    (check,) = [check for check in section.checks if check.name == name]
    return check


def system(root: JetsonRoot, name: str) -> Check:
    return named(check_system(root.path), name)


def start(peak: int | None, resident: int | None = None) -> Start:
    return Start(0.1, 1.0, 1.5, 2.0, resident or peak, peak, imports_torch=False)


def test_a_well_set_jetson_is_fine(root: JetsonRoot) -> None:
    section = check_system(root.path)
    assert {check.level for check in section.checks} == {"OK"}
    assert "Orin Nano" in named(section, "board").text
    assert named(section, "Jetson Linux").text == "R36.4.3, nvidia-jetpack 6.2+b77; expected R36 (JetPack 6)"
    assert named(section, "power mode").text.startswith("MAXN_SUPER (2), the fastest of 15W (0), 25W (1)")
    assert named(section, "clocks").text.endswith("GPU 1020 to 1020 MHz: fixed")
    assert {check.level for check in check_libraries(root.path).checks} == {"OK"}
    assert "zram lies in memory itself" in named(section, "swap").text


def test_a_slow_power_mode_names_the_command_for_the_fastest(root: JetsonRoot) -> None:
    root.mode(0)
    check = system(root, "power mode")
    assert check.level == "WARN"
    assert "15W (0); the fastest of 15W (0), 25W (1), MAXN_SUPER (2), 7W (3) is MAXN_SUPER (2)" in check.text
    assert check.remedy.startswith("sudo nvpmodel -m 2")


def test_without_maxn_the_mode_with_the_most_watts_is_the_fastest(root: JetsonRoot) -> None:
    root.write("etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n")
    assert fastest_power_mode(root.path) == 0
    root.write("etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=3 NAME=50W >\n")
    assert fastest_power_mode(root.path) == 0


@pytest.mark.parametrize(
    ("change", "name", "text", "remedy"),
    [
        (lambda r: r.clocks(fixed=False), "clocks", "GPU 306 to 1020 MHz: they follow the load", "sudo jetson_clocks"),
        (lambda r: r.remove("var/lib/nvpmodel/status"), "power mode", "does not tell", "into the container"),
        (lambda r: r.remove("etc/nv_tegra_release"), "Jetson Linux", "was not found", "-v /etc/nv_tegra_release"),
        (
            lambda r: r.write("etc/nv_tegra_release", "# R35 (release), REVISION: 4.1, GCID: 1\n"),
            "Jetson Linux",
            "R35.4.1, nvidia-jetpack 6.2+b77; expected R36",
            "flash JetPack 6",
        ),
        (
            lambda r: r.write("etc/nv_tegra_release", "# R38 (release), REVISION: 2.0, GCID: 1\n"),
            "Jetson Linux",
            "newer ones were not looked at",
            "lift3d bench all",
        ),
        (lambda r: r.swaps(), "swap", "none: building an engine may run out of memory", "swap file"),
        (lambda r: r.swaps("/dev/zram0 partition 1000 900 5"), "swap", "memory is short", "stop other programs"),
        (lambda r: r.desktop(), "desktop", "takes memory from the models", "set-default multi-user.target"),
    ],
)
def test_what_costs_speed_or_memory_is_named(
    root: JetsonRoot, change: Callable[[JetsonRoot], None], name: str, text: str, remedy: str
) -> None:
    change(root)
    check = system(root, name)
    assert check.level == "WARN"
    assert text in check.text
    assert remedy in check.remedy


def test_a_desktop_is_no_matter_on_a_large_board(root: JetsonRoot) -> None:
    root.desktop()
    root.memory(total_kb=62_000_000, free_kb=50_000_000)
    assert "desktop" not in [check.name for check in check_system(root.path).checks]


def test_a_swap_file_is_listed_beside_zram(root: JetsonRoot) -> None:
    root.swaps("/dev/zram0 partition 649000 0 5", "/mnt/8GB.swap file 8388604 0 -2")
    assert system(root, "swap").text == "zram 664.6 MB, /mnt/8GB.swap 8.6 GB, 0 kB used"


def test_the_longest_version_of_a_library_is_told(root: JetsonRoot) -> None:
    assert named(check_libraries(root.path), "TensorRT").text.startswith("10.3.0, ")


def test_an_old_and_a_missing_library_say_what_to_install(root: JetsonRoot) -> None:
    for name in ("libnvinfer.so.10.3.0", "libnvinfer.so.10", "libcudnn.so.9.3.0"):
        root.remove(f"usr/lib/aarch64-linux-gnu/{name}")
    root.write("usr/lib/aarch64-linux-gnu/libnvinfer.so.8.6.2", "")
    section = check_libraries(root.path)
    assert "expected 10.3 or newer" in named(section, "TensorRT").text
    assert "apt install nvidia-jetpack" in named(section, "cuDNN").remedy


def test_elsewhere_it_says_not_a_jetson_and_misses_nothing(tmp_path: Path) -> None:
    checks = [*check_system(tmp_path).checks, *check_libraries(tmp_path).checks]
    assert {check.level for check in checks} == {"OK"}
    assert checks[0].text.startswith("not a Jetson")
    assert read_power_mode(tmp_path) == PowerMode("unknown", "")


def test_elsewhere_the_power_mode_is_the_governor(tmp_path: Path) -> None:
    path = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    path.parent.mkdir(parents=True)
    path.write_text("performance\n")
    assert read_power_mode(tmp_path) == PowerMode("cpu governor", "performance")
    assert read_power_mode(tmp_path).text() == "cpu governor performance"


@pytest.mark.parametrize(("peak_mb", "level"), [(300, "OK"), (5_700, "WARN"), (6_500, "FAIL")])
def test_each_model_is_compared_with_what_is_free(root: JetsonRoot, peak_mb: int, level: str) -> None:
    section = check_model_memory(root.path, lambda _: start(peak_mb * 1_000_000), ["a"])
    check = named(section, "a")
    assert check.level == level
    assert "6.1 GB are free" in check.text


def test_all_models_together_are_compared_too(root: JetsonRoot) -> None:
    section = check_model_memory(root.path, lambda _: start(3_000_000_000), ["a", "b"])
    assert [check.level for check in section.checks] == ["OK", "OK", "WARN"]
    assert named(section, "all of them").text == "6.0 GB in processes of their own; 6.1 GB are free"


def test_a_model_that_does_not_open_or_tells_nothing_costs_only_itself(root: JetsonRoot) -> None:
    def measure(model: str) -> Start:
        if model == "broken":
            raise EngineError("no graph in the cache")
        return start(None)

    section = check_model_memory(root.path, measure, ["broken", "silent"])
    assert [check.level for check in section.checks] == ["WARN", "OK"]
    assert "no graph in the cache" in section.checks[0].text
    assert "lift3d export" in section.checks[0].remedy


def test_the_first_export_of_a_graph_is_not_taken_for_the_memory_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [Start(0, 0, 0, 60, 9, 9, imports_torch=True), Start(0, 0, 0, 2, 1, 1, imports_torch=False)]

    class Answer:
        def __init__(self) -> None:
            self.start = answers.pop(0)

    monkeypatch.setattr(jetson, "choose_backend", lambda _: "onnxruntime")
    monkeypatch.setattr(jetson, "ask_model_run", lambda *_: Answer())
    assert jetson.measure_start("a").peak_bytes == 1


def test_the_command_prints_the_sections_before_those_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jetson, "measure_start", lambda _: start(100_000_000))
    monkeypatch.setattr(jetson, "check_machine", lambda _: Report("", (Section("environment", ()),)))
    assert main(["doctor", "--jetson"]) == 0
    text = capsys.readouterr().out
    titles = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert titles[1:-1] == ["Jetson", "libraries of NVIDIA", "memory of the models", "environment"]
    assert main(["doctor", "--jetson", "--params", "x.yaml"]) == 2
